//! The echo in one loop over quinn-proto: about the least that a QUIC server can cost.
//!
//! With `--rounded` it has the same timers as Ringfort: they are rounded to the tick, a connection transmits once a tick, and the answers of a
//! tick are spread over it. Its clients must do the same. Without, it is stock QUIC and answers all at once.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ringfort_peers::limits::SLOTS;
use ringfort_peers::{App, EchoArgs, LOOPBACK, OneLoop, PeerError, QuestionKept, Timers, announce, period, server};

/// Echo in one loop over quinn-proto: takes datagrams, and sends one to each client at every tick
#[derive(Parser)]
#[command(name = "peer-one-loop")]
struct Args {
    #[command(flatten)]
    echo: EchoArgs,
    /// Round timers to the tick and transmit once a tick; the clients must do the same
    #[arg(long)]
    rounded: bool,
}

fn main() -> ExitCode {
    match serve(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer-one-loop: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Echo;

impl App for Echo {
    type Peer = QuestionKept;

    fn datagram(&mut self, now: Instant, peer: &mut QuestionKept, bytes: &[u8]) {
        peer.take(now, bytes);
    }
}

fn serve(args: &Args) -> Result<(), PeerError> {
    let tick = period(args.echo.hz);
    let (config, certificate) = server()?;
    let timers = if args.rounded { Timers::Rounded { tick } } else { Timers::Exact };
    let mut endpoint = OneLoop::bind(LOOPBACK, Some(config), timers)?;
    announce(args.echo, endpoint.local_addr()?, &certificate)?;
    let mut beat = Beat::new(tick, if args.rounded { SLOTS } else { 1 });
    loop {
        endpoint.turn(&mut Echo, beat.next)?;
        while let Some(slot) = beat.due() {
            for index in (slot..endpoint.slots()).step_by(beat.slots) {
                if let Some(question) = endpoint.peer(index) {
                    let answer = question.answer(Instant::now(), args.echo.bytes);
                    endpoint.send(index, answer);
                }
            }
        }
    }
}

/// The ticks' slots: connection `i` is served in slot `i % slots` of each tick. None is left out; one that is late is caught up with.
struct Beat {
    next: Instant,
    between: Duration,
    slot: usize,
    slots: usize,
}

impl Beat {
    fn new(tick: Duration, slots: usize) -> Beat {
        let between = tick / u32::try_from(slots).unwrap_or(1);
        Beat { next: Instant::now() + between, between, slot: 0, slots }
    }

    fn due(&mut self) -> Option<usize> {
        if self.next > Instant::now() {
            return None;
        }
        self.next += self.between;
        self.slot = (self.slot + 1) % self.slots;
        Some(self.slot)
    }
}
