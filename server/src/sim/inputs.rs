//! From inputs that arrived to inputs that are applied: each exactly once, evened out over ticks, kept in the session's row.

use ringfort_protocol::ack::{AckBits, Inserted};
use ringfort_protocol::view::{VIEW_BYTES, View};
use ringfort_protocol::{Input, SessionId, TickNo};
use ringfort_shm_state::layout::{SessionInput, SessionRejected, SessionRow, SessionVerdict};
use ringfort_shm_state::limits::MAX_INPUT_BYTES;
use ringfort_shm_state::table::Table;
use zerocopy::FromZeros;

use crate::game::{self, Arrival, Game, SessionInputs, ViewTime};
use crate::limits::{INPUT_COST, INPUT_CREDIT_MAX, INPUT_CREDIT_PER_TICK, INPUTS_PER_TICK};

/// Steps of a view's blend.
const VIEW_STEPS: f32 = 256.0;

/// Inputs of one tick, in the order of their arrival; reused.
#[derive(Default)]
pub struct Arrivals {
    list: Vec<Arrived>,
    /// What was applied in this tick, in the order of the sessions' slots.
    applied: Vec<Applied>,
    /// Inputs that were refused because their sessions had sent more than time allows, until somebody takes the figure.
    pub over_credit: u64,
    /// Ticks of time since the last commit: more than one when the match stood still, because its sim had died or was late.
    pub ticks: u32,
}

/// Inputs of a session that were applied in one tick.
#[derive(Clone, Copy)]
struct Applied {
    slot: u32,
    /// Bit 0 is the highest input applied so far, bit `1 + i` the input `highest - 1 - i`.
    mask: u32,
}

#[derive(Clone, Copy)]
struct Arrived {
    slot: u32,
    /// Position among the arrivals of its tick.
    order: u32,
    sequence: u32,
    given: Given,
}

/// An input as its player gave it: encoded, and what the player saw.
#[derive(Clone, Copy)]
struct Given {
    bytes: [u8; MAX_INPUT_BYTES],
    view: u32,
}

impl Given {
    /// What was kept of an input.
    fn kept(kept: &[u8], view: u32) -> Self {
        let mut bytes = [0; MAX_INPUT_BYTES];
        bytes[..kept.len()].copy_from_slice(kept);
        Self { bytes, view }
    }
}

impl Arrivals {
    /// Takes an input and the view behind it from the inbox; `false` when it cannot be one.
    pub fn push(&mut self, slot: u32, sequence: u32, payload: &[u8]) -> bool {
        let Some((encoded, view)) = payload.split_last_chunk::<VIEW_BYTES>() else { return false };
        let fits = sequence != 0 && encoded.len() <= MAX_INPUT_BYTES;
        if fits {
            let mut bytes = [0; MAX_INPUT_BYTES];
            bytes[..encoded.len()].copy_from_slice(encoded);
            let given = Given { bytes, view: u32::from_le_bytes(*view) };
            let order = self.list.len() as u32;
            self.list.push(Arrived { slot, order, sequence, given });
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
        self.applied.clear();
    }

    /// Notes that the tick has sent a predicted event of a session's own: a verdict on the inputs applied in it.
    pub fn confirm(&self, slot: u32, event: usize, inputs: &mut SessionInputs) {
        let Ok(at) = self.applied.binary_search_by_key(&slot, |applied| applied.slot) else { return };
        let Some(highest) = inputs.rows.get(slot).map(|row| row.highest) else { return };
        let before = inputs.verdicts.get(slot).copied().unwrap_or(SessionVerdict::new_zeroed());
        let mut now = SessionVerdict { highest, reserved: 0, verdicts: before.seen_from(highest) };
        let Some(verdicts) = now.verdicts.get_mut(event) else { return };
        *verdicts |= self.applied[at].mask;
        if now != before {
            inputs.verdicts.insert(slot, now);
        }
    }

    /// Fills `players` with the inputs of this tick and notes them as applied. Returns how many were refused.
    ///
    /// Of several pending inputs of a session the newest waits for the next tick, in case none arrives then; with one pending
    /// it is applied; with none the last is repeated. So nothing waits for longer than a tick, and jitter of less than a tick
    /// neither doubles nor skips a move.
    pub fn distribute<G: Game>(
        &mut self,
        sessions: &Table<SessionRow>,
        inputs: &mut SessionInputs,
        newest: TickNo,
        players: &mut Vec<game::Applied<G::Input>>,
    ) -> u64 {
        players.clear();
        self.applied.clear();
        // A session's inputs keep the order of the inbox; a stable sort would do that too, but allocates.
        self.list.sort_unstable_by_key(|a| (a.slot, a.order));
        let bytes = <G::Input as Input>::wire_bytes();
        let credit = self.ticks.max(1).saturating_mul(INPUT_CREDIT_PER_TICK);
        let (mut at, mut refused) = (0, 0);
        // Spectators come behind all players and have no inputs: however many watch, a tick looks at none of them.
        let players_rows = inputs.rows.at().rows;
        for (slot, session) in sessions.iter().take_while(|(slot, _)| *slot < players_rows) {
            while self.list.get(at).is_some_and(|a| a.slot < slot) {
                at += 1;
            }
            let first = at;
            while self.list.get(at).is_some_and(|a| a.slot == slot) {
                at += 1;
            }
            let Some(row) = inputs.rows.get(slot).copied() else { continue };
            let mut apply = Apply::<G> {
                who: SessionId(session.id),
                detached: session.detached != 0,
                rejected: inputs.rejected(slot),
                last: Given::kept(inputs.bytes.last(slot), row.last_view),
                waiting: (row.queued != 0).then(|| (row.queued, Given::kept(inputs.bytes.waiting(slot), row.waiting_view))),
                row,
                bytes,
                newest,
                players,
                refused: 0,
                over_credit: 0,
                applied: 0,
            };
            apply.session(&self.list[first..at], credit);
            refused += apply.refused;
            self.over_credit += apply.over_credit;
            if apply.applied != 0 {
                self.applied.push(Applied { slot, mask: apply.applied });
            }
            apply.keep(slot, inputs);
        }
        self.list.clear();
        refused
    }
}

/// Whether an input was not given up. Of one far below the highest that was, nobody knows, and no honest client sends it.
fn may_be_applied(rejected: &SessionRejected, sequence: u32) -> bool {
    AckBits { highest: rejected.input, bits: rejected.input_bits }.insert(sequence) == Inserted::New
}

/// Notes an input as given up; `false` when it was applied before, or given up, or nobody knows.
pub fn give_up(row: &SessionInput, rejected: &mut SessionRejected, sequence: u32) -> bool {
    let is_new = sequence != 0 && AckBits { highest: row.highest, bits: row.bits }.insert(sequence) == Inserted::New;
    let mut given_up = AckBits { highest: rejected.input, bits: rejected.input_bits };
    let noted = is_new && given_up.insert(sequence) == Inserted::New;
    (rejected.input, rejected.input_bits) = (given_up.highest, given_up.bits);
    noted
}

/// Takes the input that waits, as its sequence.
pub fn take_waiting(row: &mut SessionInput) -> Option<u32> {
    let waited = std::mem::take(&mut row.queued);
    row.waiting_view = 0;
    (waited != 0).then_some(waited)
}

/// Notes a command as given up.
pub fn give_up_command(rejected: &mut SessionRejected, number: u32) {
    let mut given_up = AckBits { highest: rejected.command, bits: rejected.command_bits };
    // Commands come in order: it is above all before it.
    given_up.insert(number);
    (rejected.command, rejected.command_bits) = (given_up.highest, given_up.bits);
}

/// One session's turn.
struct Apply<'p, G: Game> {
    who: SessionId,
    /// Nobody gives inputs: none is repeated.
    detached: bool,
    row: SessionInput,
    rejected: SessionRejected,
    /// The input that was applied last.
    last: Given,
    /// The input that waits, with its sequence.
    waiting: Option<(u32, Given)>,
    bytes: usize,
    newest: TickNo,
    players: &'p mut Vec<game::Applied<G::Input>>,
    refused: u64,
    /// As [`Applied::mask`].
    applied: u32,
    over_credit: u64,
}

impl<G: Game> Apply<'_, G> {
    fn session(&mut self, arrived: &[Arrived], credit: u32) {
        self.row.credit = self.row.credit.saturating_add(credit).min(INPUT_CREDIT_MAX);
        let skip = arrived.len().saturating_sub(INPUTS_PER_TICK);
        self.refused += skip as u64;
        let mut pending = 0;
        let queued = self.waiting.take();
        for arrival in queued.into_iter().chain(arrived[skip..].iter().map(|a| (a.sequence, a.given))) {
            pending += 1;
            // The newest so far waits; the one that waited before it is applied.
            if let Some((sequence, given)) = self.waiting.replace(arrival) {
                self.apply(sequence, &given);
            }
        }
        match pending {
            0 => self.repeat(),
            1 => {
                if let Some((sequence, given)) = self.waiting.take() {
                    self.apply(sequence, &given);
                }
            }
            _ => {}
        }
    }

    /// Puts what the tick has made of the session into its rows.
    fn keep(mut self, slot: u32, inputs: &mut SessionInputs) {
        self.row.last_view = self.last.view;
        (self.row.queued, self.row.waiting_view) = self.waiting.map_or((0, 0), |(sequence, given)| (sequence, given.view));
        inputs.bytes.set_last(slot, &self.last.bytes[..self.bytes]);
        if let Some((_, given)) = self.waiting {
            inputs.bytes.set_waiting(slot, &given.bytes[..self.bytes]);
        }
        if let Some(row) = inputs.rows.get_mut(slot) {
            *row = self.row;
        }
    }

    fn apply(&mut self, sequence: u32, given: &Given) {
        // Over any time a session has as many inputs applied as it has ticks, those included that a dead sim left out, and a burst: whoever
        // sends more gains nothing.
        let Some(credit) = self.row.credit.checked_sub(INPUT_COST) else {
            self.over_credit += 1;
            return;
        };
        let mut acks = AckBits { highest: self.row.highest, bits: self.row.bits };
        if !may_be_applied(&self.rejected, sequence) {
            self.refused += 1;
            return;
        }
        let input = <G::Input as Input>::from_wire(&given.bytes[..self.bytes]);
        let (Ok(input), Inserted::New) = (input, acks.insert(sequence)) else {
            self.refused += 1;
            return;
        };
        let ahead = acks.highest - self.row.highest;
        self.applied = self.applied.checked_shl(ahead).unwrap_or(0) | 1u32.checked_shl(acks.highest - sequence).unwrap_or(0);
        (self.row.highest, self.row.bits) = (acks.highest, acks.bits);
        (self.last, self.row.repeated, self.row.credit) = (*given, 0, credit);
        self.push(input, Arrival::OnTime);
    }

    /// Hands an input to the game, with what its player saw: of an input that is repeated, what it saw then.
    fn push(&mut self, input: G::Input, arrival: Arrival) {
        let view = if self.row.highest == 0 {
            ViewTime::at(self.newest)
        } else {
            let seen = View::from_bytes(self.last.view.to_le_bytes(), self.newest);
            let next = TickNo(seen.tick.0.saturating_add(seen.span.into()));
            ViewTime { tick: seen.tick, next, alpha: f32::from(seen.alpha) / VIEW_STEPS }
        };
        self.players.push(game::Applied { session: self.who, input, arrival, view });
    }

    fn repeat(&mut self) {
        if self.row.highest == 0 || self.detached {
            self.push(<G::Input as Default>::default(), Arrival::Missing);
            return;
        }
        self.row.repeated = self.row.repeated.saturating_add(1);
        if let Ok(mut input) = <G::Input as Input>::from_wire(&self.last.bytes[..self.bytes]) {
            input.repeat();
            self.push(input, Arrival::Repeated(self.row.repeated));
        }
    }
}
