//! Inputs that the server has not acknowledged: repeated in every datagram, so that a lost one costs no retransmission.
//!
//! Second stop of a message on its way up: the program's input gets its sequence here and waits until a snapshot
//! acknowledges it.

use std::time::{Duration, Instant};

use ringfort_protocol::component::Input;
use ringfort_protocol::input::{finish_inputs, push_input, start_inputs};
use ringfort_protocol::limits::MAX_INPUTS;
use ringfort_protocol::snapshot::SnapshotHeader;
use ringfort_protocol::{AckBits, View};

/// The newest inputs, encoded, in a ring indexed by sequence.
pub(crate) struct Inputs<I> {
    stay: u8,
    ring: [Slot; MAX_INPUTS],
    encoded: Vec<u8>,
    stride: usize,
    /// The lowest sequence that is ours: more than 1 when a program has gone on with the session of an earlier one.
    first: u32,
    /// Sequence of the newest; one less than `first` before it.
    newest: u32,
    acked: AckBits,
    /// Given up by the server: never acknowledged, and never sent again.
    rejected: AckBits,
    previous: I,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    sequence: u32,
    sent: Option<Instant>,
    view: View,
}

impl<I: Input> Inputs<I> {
    /// For the connection's join number `stay`, and inputs of `stride` bytes each, from the sequence `first` on.
    pub(crate) fn new(stay: u8, stride: usize, first: u32) -> Inputs<I> {
        Inputs {
            stay,
            ring: [Slot::default(); MAX_INPUTS],
            encoded: vec![0; stride * MAX_INPUTS],
            stride,
            first,
            newest: first.saturating_sub(1),
            acked: AckBits::NONE,
            rejected: AckBits::NONE,
            previous: I::default(),
            scratch: Vec::with_capacity(stride),
        }
    }

    /// Which join of the connection they belong to.
    pub(crate) fn stay(&self) -> u8 {
        self.stay
    }

    /// Goes on under another join number: what is not acknowledged is sent again under it. How long its acknowledgement took will say
    /// nothing of the way.
    pub(crate) fn move_to(&mut self, stay: u8) {
        self.stay = stay;
        self.ring.iter_mut().for_each(|slot| slot.sent = None);
    }

    /// Whether one more would push one out that the server lacks.
    pub(crate) fn is_full(&self) -> bool {
        self.newest + 1 >= self.oldest_needed() + MAX_INPUTS as u32
    }

    /// How many the server lacks, as far as a datagram can carry them.
    pub(crate) fn waiting(&self) -> u32 {
        let needed = self.oldest_needed()..=self.newest;
        needed.filter(|sequence| !self.acked.contains(*sequence) && !self.rejected.contains(*sequence)).count() as u32
    }

    /// Takes the next input, given at the sight of `view`, and returns its sequence and what is sent: rounded to what the wire
    /// carries, and a button that was held before without its edge.
    pub(crate) fn push(&mut self, now: Instant, mut input: I, view: View) -> (u32, I) {
        input.after(&self.previous);
        input.quantise();
        self.previous = input;
        self.scratch.clear();
        input.to_wire(&mut self.scratch);
        self.newest += 1;
        let at = self.newest as usize % MAX_INPUTS;
        self.ring[at] = Slot { sequence: self.newest, sent: Some(now), view };
        self.encoded[at * self.stride..][..self.stride].copy_from_slice(&self.scratch);
        (self.newest, input)
    }

    /// Whether the server still lacks an input that a datagram can carry.
    pub(crate) fn outstanding(&self) -> bool {
        self.oldest_needed() <= self.newest
    }

    /// Writes the datagram: the acknowledgement of `ticks` and every input that is still needed.
    pub(crate) fn write(&self, ticks: AckBits, to: &mut Vec<u8>) {
        start_inputs(to, self.stay, self.newest, ticks);
        for sequence in (self.oldest_needed()..=self.newest).rev() {
            let at = sequence as usize % MAX_INPUTS;
            push_input(to, &self.encoded[at * self.stride..][..self.stride], self.ring[at].view);
        }
        finish_inputs(to);
    }

    /// Notes what a snapshot acknowledges. Returns the round trip of the highest input, without its wait at the
    /// server, when the snapshot is the first to acknowledge it.
    pub(crate) fn acknowledged(&mut self, now: Instant, header: &SnapshotHeader) -> Option<Duration> {
        let before = self.acked.highest;
        self.acked = header.inputs;
        let waited = header.waited.duration()?;
        if header.inputs.highest <= before {
            return None;
        }
        let slot = self.ring[header.inputs.highest as usize % MAX_INPUTS];
        let sent = slot.sent.filter(|_| slot.sequence == header.inputs.highest)?;
        Some(now.saturating_duration_since(sent).saturating_sub(waited))
    }

    /// Notes what the server has given up, and returns what of it is news. A datagram has no gaps: where one reaches over such an input it
    /// has an empty one, which the server knows by its sequence to be given up.
    pub(crate) fn rejected(&mut self, all: AckBits) -> AckBits {
        let (known, ours) = (self.rejected, self.first..=self.newest);
        let news = AckBits::of(all.without(known).filter(|sequence| !known.contains(*sequence) && ours.contains(sequence)));
        self.scratch.clear();
        I::default().to_wire(&mut self.scratch);
        for sequence in news.iter() {
            self.rejected.insert(sequence);
            let at = sequence as usize % MAX_INPUTS;
            if self.ring[at].sequence == sequence {
                self.encoded[at * self.stride..][..self.stride].copy_from_slice(&self.scratch);
            }
        }
        news
    }

    /// What the server has given up so far.
    pub(crate) fn all_rejected(&self) -> AckBits {
        self.rejected
    }

    /// The lowest sequence to send again: neither acknowledged nor given up, and young enough for a datagram to reach.
    fn oldest_needed(&self) -> u32 {
        let reach = self.newest.saturating_sub(MAX_INPUTS as u32 - 1).max(self.first);
        (reach..=self.newest)
            .find(|sequence| !self.acked.contains(*sequence) && !self.rejected.contains(*sequence))
            .unwrap_or(self.newest + 1)
    }
}
