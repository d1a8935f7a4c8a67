//! What each snapshot says about the inputs it acknowledges: the latencies of a run.

use std::time::{Duration, Instant};

use ringfort_client::{Session, SessionKey, Snapshot, Watch};
use ringfort_protocol::snapshot::WAITED_UNKNOWN;

use super::bot::Game;
use super::partial::Partial;
use crate::limits::INPUTS_IN_FLIGHT;

/// Sequences below the highest that an acknowledgement reaches.
const ACK_REACH: u32 = 32;

/// The figures of one process, and the inputs of all its clients that are under way.
pub(super) struct Figures {
    pub(super) partial: Partial,
    /// Whether snapshots count: from the first input that is due to the last.
    pub(super) measuring: bool,
    flights: Vec<Flight>,
}

/// Inputs of one client, in a ring indexed by sequence.
struct Flight {
    inputs: [Input; INPUTS_IN_FLIGHT],
    /// The lowest sequence that may still be acknowledged.
    oldest: u32,
    newest: u32,
}

#[derive(Clone, Copy)]
struct Input {
    sequence: u32,
    due: Instant,
    sent: Instant,
    acknowledged: bool,
}

impl Figures {
    /// For `clients` clients.
    pub(super) fn new(clients: usize) -> Figures {
        let now = Instant::now();
        let nothing = Input { sequence: 0, due: now, sent: now, acknowledged: true };
        let flight = || Flight { inputs: [nothing; INPUTS_IN_FLIGHT], oldest: 1, newest: 0 };
        Figures { partial: Partial::default(), measuring: false, flights: std::iter::repeat_with(flight).take(clients).collect() }
    }

    /// An input has been sent.
    pub(super) fn sent(&mut self, client: usize, sequence: u32, due: Instant, sent: Instant) {
        self.partial.sent += 1;
        self.partial.late.record(sent - due);
        let flight = &mut self.flights[client];
        flight.inputs[sequence as usize % INPUTS_IN_FLIGHT] = Input { sequence, due, sent, acknowledged: false };
        flight.newest = sequence;
    }

    /// Whether inputs are still under way.
    pub(super) fn outstanding(&self) -> bool {
        self.partial.acknowledged < self.partial.sent
    }
}

impl Watch<Game> for Figures {
    fn snapshot(&mut self, key: SessionKey, _session: &Session<Game>, snapshot: &Snapshot) {
        if self.measuring {
            self.partial.snapshots += 1;
            self.partial.snapshot_bytes += snapshot.bytes as u64;
            self.partial.snapshot_bytes_max = self.partial.snapshot_bytes_max.max(snapshot.bytes as u64);
        }
        let flight = &mut self.flights[key.index()];
        let highest = snapshot.inputs.highest.min(flight.newest);
        // What was overwritten in the ring, or is below the acknowledgement's reach, will never be told about.
        let forgotten = flight.newest.saturating_sub(INPUTS_IN_FLIGHT as u32 - 1);
        flight.oldest = flight.oldest.max(forgotten).max(highest.saturating_sub(ACK_REACH));
        for sequence in flight.oldest..=highest {
            let input = &mut flight.inputs[sequence as usize % INPUTS_IN_FLIGHT];
            if input.sequence != sequence || input.acknowledged || !snapshot.inputs.contains(sequence) {
                continue;
            }
            input.acknowledged = true;
            self.partial.acknowledged += 1;
            self.partial.input_to_snapshot.record(snapshot.arrived.saturating_duration_since(input.due));
            if sequence == snapshot.inputs.highest && snapshot.waited_us != WAITED_UNKNOWN {
                let whole = snapshot.arrived.saturating_duration_since(input.sent);
                self.partial.network.record(whole.saturating_sub(Duration::from_micros(snapshot.waited_us.into())));
            }
        }
        while flight.oldest <= highest && flight.inputs[flight.oldest as usize % INPUTS_IN_FLIGHT].acknowledged {
            flight.oldest += 1;
        }
    }
}
