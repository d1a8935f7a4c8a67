//! Who is measured.

use clap::ValueEnum;

use super::colyseus;
use super::echo::{self, Echo};
use super::ringfort::{self, Build};
use super::sample::Sample;
use super::{PeersArgs, PeersError};

/// A server that is measured, in the order of a round: Ringfort first, because it gives the echo peers their datagram's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Subject {
    /// Ringfort, all its processes
    Ringfort,
    /// The echo on tokio quinn in one thread, as quinn measures itself
    TokioQuinn,
    /// The echo on tokio quinn with as many threads as there are cores
    TokioQuinnThreads,
    /// The echo in one loop over quinn-proto with Ringfort's timers, on both ends
    OneLoopRounded,
    /// The echo in one loop over quinn-proto with stock timers
    OneLoop,
    /// Colyseus, all clients in a room in which everyone sees everyone
    Colyseus,
    /// Colyseus, all clients in a room in which a StateView holds who is near
    ColyseusView,
}

impl Subject {
    /// Those that are measured when none are named.
    pub(super) const DEFAULT: [Subject; 6] = [
        Subject::Ringfort,
        Subject::TokioQuinn,
        Subject::OneLoopRounded,
        Subject::OneLoop,
        Subject::Colyseus,
        Subject::ColyseusView,
    ];

    /// As it is typed, and the key of its figures in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Subject::Ringfort => "ringfort",
            Subject::TokioQuinn => "tokio-quinn",
            Subject::TokioQuinnThreads => "tokio-quinn-threads",
            Subject::OneLoopRounded => "one-loop-rounded",
            Subject::OneLoop => "one-loop",
            Subject::Colyseus => "colyseus",
            Subject::ColyseusView => "colyseus-view",
        }
    }

    /// Whether it runs in node.
    pub(super) fn needs_node(self) -> bool {
        matches!(self, Subject::Colyseus | Subject::ColyseusView)
    }

    /// Starts it and its load, and measures.
    pub(super) fn measure(self, args: &PeersArgs, down_bytes: usize) -> Result<Sample, PeersError> {
        let plan = args.plan();
        let echo = |program, flags, rounded| echo::measure(Echo { program, flags, rounded }, &plan, down_bytes);
        match self {
            Subject::Ringfort => {
                let players = args.players.unwrap_or(args.clients);
                let build = Build { server: args.ringfort.clone(), generator: None, battle: players >= args.clients };
                ringfort::measure(&plan, players, &build)
            }
            Subject::TokioQuinn => echo("peer-tokio-quinn", &[], false),
            Subject::TokioQuinnThreads => echo("peer-tokio-quinn", &["--threads", "0"], false),
            Subject::OneLoopRounded => echo("peer-one-loop", &["--rounded"], true),
            Subject::OneLoop => echo("peer-one-loop", &[], false),
            Subject::Colyseus => colyseus::measure(&plan, &args.colyseus, false),
            Subject::ColyseusView => colyseus::measure(&plan, &args.colyseus, true),
        }
    }
}
