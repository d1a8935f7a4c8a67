//! The echo on quinn as its users run it: tokio, a task for each connection, which has its own interval for the ticks.
//!
//! One thread by default, which is how quinn runs its own measurements (`perf`); with `--threads 0` as many as there are cores, which is what
//! `#[tokio::main]` does.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime};
use ringfort_peers::{EchoArgs, LOOPBACK, PeerError, QuestionKept, announce, period, server};
use socket2::{Domain, Socket, Type};

/// Echo on tokio quinn: takes datagrams, and sends one to each client at every tick
#[derive(Parser)]
#[command(name = "peer-tokio-quinn")]
struct Args {
    #[command(flatten)]
    echo: EchoArgs,
    /// Threads of the runtime; 0 for as many as there are cores
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer-tokio-quinn: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), PeerError> {
    let mut runtime = match args.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if args.threads > 1 {
        runtime.worker_threads(args.threads);
    }
    runtime.enable_all().build()?.block_on(serve(args.echo))
}

async fn serve(args: EchoArgs) -> Result<(), PeerError> {
    let (config, certificate) = server()?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(ringfort_client::limits::SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(ringfort_client::limits::SOCKET_BUFFER_BYTES)?;
    socket.bind(&LOOPBACK.into())?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket.into(), Arc::new(TokioRuntime))?;
    announce(args, endpoint.local_addr()?, &certificate)?;
    let epoch = tokio::time::Instant::now();
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            // A client that fails its handshake is the client's to report.
            if let Ok(connection) = incoming.await {
                answer(connection, epoch, args).await;
            }
        });
    }
    Ok(())
}

/// One datagram at each tick, all connections at the same ones, until the connection is gone.
async fn answer(connection: Connection, epoch: tokio::time::Instant, args: EchoArgs) {
    let period = period(args.hz);
    let elapsed = epoch.elapsed().as_nanos() / period.as_nanos();
    let first = epoch + period * (u32::try_from(elapsed).unwrap_or(0) + 1);
    let mut ticks = tokio::time::interval_at(first, period);
    let mut question = QuestionKept::default();
    loop {
        tokio::select! {
            datagram = connection.read_datagram() => match datagram {
                Ok(datagram) => question.take(Instant::now(), &datagram),
                Err(_) => return,
            },
            _ = ticks.tick() => {
                // A full buffer drops the oldest, as Ringfort's own connections are set to do.
                let _ = connection.send_datagram(question.answer(Instant::now(), args.bytes));
            }
        }
    }
}
