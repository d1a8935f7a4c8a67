//! The two baselines: a server on tokio quinn and one on a bare quinn-proto loop, which know no game.
//!
//! Both take a client's datagrams and send one datagram to each client at every tick, as a game server does (or
//! answer each datagram at once, which costs a little less because acknowledgements ride along).

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use quinn_proto::ServerConfig;

use super::bare_loop::{App, BareLoop};
use super::error::CostsError;
use super::trust;

/// What the server is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stack {
    /// quinn on tokio, a task per connection, one thread.
    TokioQuinn,
    /// quinn-proto in one loop.
    QuinnProto,
}

/// When the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answer {
    /// One datagram to each client at every tick.
    Tick,
    /// One datagram for each that arrives.
    Receipt,
}

impl Answer {
    /// As it is typed.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Answer::Tick => "tick",
            Answer::Receipt => "receipt",
        }
    }
}

/// What a baseline server is told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct EchoServerArgs {
    /// What it is made of.
    #[arg(long, value_enum)]
    pub(crate) stack: Stack,
    /// When it answers.
    #[arg(long, value_enum)]
    pub(crate) answer: Answer,
    /// Ticks a second.
    #[arg(long)]
    pub(crate) hz: u32,
    /// Bytes of each answer.
    #[arg(long)]
    pub(crate) bytes: usize,
}

/// Serves until the process is ended; its first line is the port and the certificate in hexadecimal digits.
pub(crate) fn serve(args: EchoServerArgs) -> Result<(), CostsError> {
    match args.stack {
        Stack::QuinnProto => serve_bare(args),
        Stack::TokioQuinn => serve_tokio(args),
    }
}

fn announce(address: io::Result<SocketAddr>, certificate: &str) -> Result<(), CostsError> {
    println!("{} {certificate}", address.map_err(CostsError::Socket)?.port());
    io::stdout().flush().map_err(CostsError::Socket)
}

struct EchoApp {
    answer: Option<Bytes>,
}

impl App for EchoApp {
    type Peer = ();

    fn datagram(&mut self, _peer: &mut (), _bytes: &[u8]) -> Option<Bytes> {
        self.answer.clone()
    }
}

fn serve_bare(args: EchoServerArgs) -> Result<(), CostsError> {
    let payload = Bytes::from(vec![0x01; args.bytes]);
    let mut app = EchoApp { answer: (args.answer == Answer::Receipt).then(|| payload.clone()) };
    let (config, certificate) = trust::server()?;
    let mut endpoint = BareLoop::bind(super::LOOPBACK, Some(config)).map_err(CostsError::Socket)?;
    announce(endpoint.local_addr(), &certificate)?;
    let period = period(args.hz);
    let mut tick = Instant::now() + period;
    loop {
        endpoint.turn(&mut app, tick).map_err(CostsError::Socket)?;
        while tick <= Instant::now() {
            tick += period;
            for index in 0..endpoint.len() {
                if app.answer.is_none() && endpoint.peer(index).is_some() {
                    endpoint.send(index, payload.clone());
                }
            }
        }
    }
}

fn serve_tokio(args: EchoServerArgs) -> Result<(), CostsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CostsError::Socket)?;
    runtime.block_on(async {
        let (config, certificate) = trust::server()?;
        let endpoint = tokio_endpoint(config).map_err(CostsError::Socket)?;
        announce(endpoint.local_addr(), &certificate)?;
        let epoch = tokio::time::Instant::now();
        let payload = Bytes::from(vec![0x01; args.bytes]);
        while let Some(incoming) = endpoint.accept().await {
            let payload = payload.clone();
            tokio::spawn(async move {
                // A client that fails its handshake is the client's to report.
                let Ok(connection) = incoming.await else { return };
                match args.answer {
                    Answer::Tick => answer_at_ticks(connection, payload, epoch, period(args.hz)).await,
                    Answer::Receipt => answer_at_once(connection, payload).await,
                }
            });
        }
        Ok(())
    })
}

async fn answer_at_ticks(connection: quinn::Connection, payload: Bytes, epoch: tokio::time::Instant, period: Duration) {
    let elapsed = epoch.elapsed().as_nanos() / period.as_nanos();
    let first = epoch + period * (u32::try_from(elapsed).unwrap_or(0) + 1);
    let mut ticks = tokio::time::interval_at(first, period);
    loop {
        tokio::select! {
            datagram = connection.read_datagram() => if datagram.is_err() { return },
            _ = ticks.tick() => {
                // A full buffer drops the oldest, as Ringfort's own connections are set to do.
                let _ = connection.send_datagram(payload.clone());
            }
        }
    }
}

async fn answer_at_once(connection: quinn::Connection, payload: Bytes) {
    while connection.read_datagram().await.is_ok() {
        let _ = connection.send_datagram(payload.clone());
    }
}

fn tokio_endpoint(config: ServerConfig) -> io::Result<quinn::Endpoint> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(ringfort_client::limits::SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(ringfort_client::limits::SOCKET_BUFFER_BYTES)?;
    socket.bind(&super::LOOPBACK.into())?;
    quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket.into(), Arc::new(quinn::TokioRuntime))
}

fn period(hz: u32) -> Duration {
    Duration::from_secs(1) / hz.max(1)
}
