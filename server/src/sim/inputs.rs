//! From inputs that arrived to inputs that are applied: each exactly once, evened out over ticks, kept in the session's row.

use ringfort_protocol::ack::{AckBits, Inserted};
use ringfort_protocol::{Input, SessionId};
use ringfort_shm_state::layout::{SessionInput, SessionRow};
use ringfort_shm_state::limits::MAX_INPUT_BYTES;
use ringfort_shm_state::table::Table;

use crate::game::{Arrival, Game};
use crate::limits::INPUTS_PER_TICK;

/// Inputs of one tick, in the order of their arrival; reused.
#[derive(Default)]
pub struct Arrivals {
    list: Vec<Arrived>,
}

#[derive(Clone, Copy)]
struct Arrived {
    slot: u32,
    /// Position among the arrivals of its tick.
    order: u32,
    sequence: u32,
    bytes: [u8; MAX_INPUT_BYTES],
}

impl Arrivals {
    /// Takes an input from the inbox; `false` when it cannot be one.
    pub fn push(&mut self, slot: u32, sequence: u32, payload: &[u8]) -> bool {
        let mut bytes = [0; MAX_INPUT_BYTES];
        let fits = sequence != 0 && payload.len() <= MAX_INPUT_BYTES;
        if fits {
            bytes[..payload.len()].copy_from_slice(payload);
            let order = self.list.len() as u32;
            self.list.push(Arrived { slot, order, sequence, bytes });
        }
        fits
    }

    /// Drops what arrived for a session that has ended.
    pub fn forget(&mut self, slot: u32) {
        self.list.retain(|a| a.slot != slot);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Fills `players` with the inputs of this tick and notes them as applied. Returns how many were refused.
    ///
    /// Of several pending inputs of a session the newest waits for the next tick, in case none arrives then; with one pending
    /// it is applied; with none the last is repeated. So nothing waits for longer than a tick, and jitter of less than a tick
    /// neither doubles nor skips a move.
    pub fn distribute<G: Game>(
        &mut self,
        sessions: &Table<SessionRow>,
        inputs: &mut Table<SessionInput>,
        players: &mut Vec<(SessionId, G::Input, Arrival)>,
    ) -> u64 {
        players.clear();
        // A session's inputs keep the order of the inbox; a stable sort would do that too, but allocates.
        self.list.sort_unstable_by_key(|a| (a.slot, a.order));
        let bytes = <G::Input as Input>::wire_bytes();
        let (mut at, mut refused) = (0, 0);
        for (slot, session) in sessions.iter() {
            while self.list.get(at).is_some_and(|a| a.slot < slot) {
                at += 1;
            }
            let first = at;
            while self.list.get(at).is_some_and(|a| a.slot == slot) {
                at += 1;
            }
            let Some(row) = inputs.get(slot).copied() else { continue };
            let mut apply = Apply::<G> { who: SessionId(session.id), row, bytes, players, refused: 0 };
            apply.session(&self.list[first..at]);
            refused += apply.refused;
            let row = apply.row;
            if let Some(place) = inputs.get_mut(slot) {
                *place = row;
            }
        }
        self.list.clear();
        refused
    }
}

/// One session's turn.
struct Apply<'p, G: Game> {
    who: SessionId,
    row: SessionInput,
    bytes: usize,
    players: &'p mut Vec<(SessionId, G::Input, Arrival)>,
    refused: u64,
}

impl<G: Game> Apply<'_, G> {
    fn session(&mut self, arrived: &[Arrived]) {
        let skip = arrived.len().saturating_sub(INPUTS_PER_TICK);
        self.refused += skip as u64;
        let mut pending = 0;
        let queued = (self.row.queued != 0).then_some((self.row.queued, self.row.waiting));
        self.row.queued = 0;
        for (sequence, bytes) in queued.into_iter().chain(arrived[skip..].iter().map(|a| (a.sequence, a.bytes))) {
            pending += 1;
            // The newest so far waits; the one that waited before it is applied.
            if let Some((sequence, bytes)) = self.replace_waiting(sequence, bytes) {
                self.apply(sequence, &bytes);
            }
        }
        match pending {
            0 => self.repeat(),
            1 => {
                let (sequence, bytes) = (std::mem::take(&mut self.row.queued), self.row.waiting);
                self.row.waiting = [0; MAX_INPUT_BYTES];
                self.apply(sequence, &bytes);
            }
            _ => {}
        }
    }

    fn replace_waiting(&mut self, sequence: u32, bytes: [u8; MAX_INPUT_BYTES]) -> Option<(u32, [u8; MAX_INPUT_BYTES])> {
        let before = (self.row.queued, self.row.waiting);
        (self.row.queued, self.row.waiting) = (sequence, bytes);
        (before.0 != 0).then_some(before)
    }

    fn apply(&mut self, sequence: u32, bytes: &[u8; MAX_INPUT_BYTES]) {
        let mut acks = AckBits { highest: self.row.highest, bits: self.row.bits };
        let input = <G::Input as Input>::from_wire(&bytes[..self.bytes]);
        let (Ok(input), Inserted::New) = (input, acks.insert(sequence)) else {
            self.refused += 1;
            return;
        };
        (self.row.highest, self.row.bits) = (acks.highest, acks.bits);
        (self.row.last, self.row.repeated) = (*bytes, 0);
        self.players.push((self.who, input, Arrival::OnTime));
    }

    fn repeat(&mut self) {
        if self.row.highest == 0 {
            self.players.push((self.who, <G::Input as Default>::default(), Arrival::Missing));
            return;
        }
        self.row.repeated = self.row.repeated.saturating_add(1);
        if let Ok(mut input) = <G::Input as Input>::from_wire(&self.row.last[..self.bytes]) {
            input.repeat();
            self.players.push((self.who, input, Arrival::Repeated(self.row.repeated)));
        }
    }
}
