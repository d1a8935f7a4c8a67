//! Who comes into a zone, who is refused and with which words, who is thrown out, and when an empty match ends.
//!
//! A refusal is part of the committed world like an admission: front-ends read both from the same root, so that no client is
//! told one thing by a tick that is rolled back.

use ringfort_protocol::SessionId;
use ringfort_protocol::control::Code;
use ringfort_shm_state::layout::{FlightKind, JoinRecord, KickedRow, RefusalRow, SessionFlags, SessionInput, SessionRow};
use ringfort_shm_state::limits::PLAYER_NAME_BYTES;
use ringfort_shm_state::segment::{padded, unpadded};
use zerocopy::{FromBytes, FromZeros};

use super::Zone;
use super::index::bit;
use crate::game::{Game, Hello, Refusal, Why};
use crate::limits::INPUT_CREDIT_MAX;

/// What a client is told whose nonce belongs to a session that is not its own.
const OTHER_CLIENT: &str = "this nonce belongs to a session of another name or kind: join with a new one";

/// A join that comes to nothing.
struct Denied {
    code: Code,
    words: Option<Refusal>,
}

impl From<Code> for Denied {
    fn from(code: Code) -> Self {
        Self { code, words: None }
    }
}

impl<G: Game> Zone<G> {
    pub(super) fn join(&mut self, payload: &[u8]) {
        let Ok(join) = JoinRecord::read_from_bytes(payload) else {
            self.counters.records_ignored += 1;
            return;
        };
        self.touched_frontends |= bit(join.frontend);
        if let Some(slot) = self.index.by_nonce.get(&join.nonce).copied() {
            return match self.is_same_client(slot, &join) {
                true => self.join_again(slot, &join),
                false => self.refuse_join(&join, &Denied { code: Code::Refused, words: Some(OTHER_CLIENT.into()) }),
            };
        }
        let name = unpadded(&join.name[..PLAYER_NAME_BYTES]);
        let hello = Hello { name: &name, spectator: join.spectate != 0 };
        match self.admit(&join, &hello) {
            Ok(slot) => self.enter(slot, &join, &hello),
            Err(denied) => self.refuse_join(&join, &denied),
        }
    }

    /// The slot that a join gets.
    fn admit(&self, join: &JoinRecord, hello: &Hello<'_>) -> Result<u32, Denied> {
        if self.bound.meta().closed_at != 0 || self.tick.closed.get() {
            return Err(Code::MatchOver.into());
        }
        if self.was_kicked(&join.nonce) {
            return Err(Code::Kicked.into());
        }
        let capacity = self.entry.capacity;
        let slot = if hello.spectator {
            self.index.free.range(capacity..).next()
        } else if self.tick.is_locked() {
            return Err(Code::MatchStarted.into());
        } else {
            self.index.free.range(..capacity).next()
        };
        let slot = slot.copied().ok_or(Code::MatchFull)?;
        let admitted = self.bound.game.admit(&self.tick, hello);
        admitted.map_err(|words| Denied { code: Code::Refused, words: Some(words) })?;
        Ok(slot)
    }

    fn enter(&mut self, slot: u32, join: &JoinRecord, hello: &Hello<'_>) {
        let generation = self.bound.shared.with_meta(|meta| {
            meta.next_session = meta.next_session.wrapping_add(1).max(1);
            meta.sessions += 1;
            meta.next_session
        });
        let id = SessionId::new(generation, slot);
        let row = SessionRow {
            id: id.0,
            nonce: join.nonce,
            connection: join.connection,
            frontend: join.frontend,
            incarnation: join.incarnation,
            attachment: 1,
            event_cursor: self.bound.meta().next_event,
            joined: self.tick.now.0,
            flags: if hello.spectator { SessionFlags::SPECTATOR } else { 0 },
            resume_hash: join.token_hash,
            attempt: join.attempt,
            name: join.name,
            ..SessionRow::new_zeroed()
        };
        self.index.add(slot, &row);
        self.bound.sessions.insert(slot, row);
        self.flights.add_named(FlightKind::Join, id.0, hello.name);
        if hello.spectator {
            self.bound.game.spectate(&self.tick, id, hello);
        } else {
            self.bound.inputs.insert(slot, SessionInput { credit: INPUT_CREDIT_MAX, ..SessionInput::new_zeroed() });
            self.bound.game.join(&self.tick, id, hello);
        }
        self.note_spawned();
    }

    /// Whether a join is of the client of a row. The nonce alone does not say so: it is the client's, and a token's name outweighs it.
    pub(super) fn is_same_client(&self, slot: u32, join: &JoinRecord) -> bool {
        let watches = |row: &SessionRow| row.flags & SessionFlags::SPECTATOR != 0;
        self.bound.sessions.get(slot).is_some_and(|row| row.name == join.name && watches(row) == (join.spectate != 0))
    }

    fn refuse_join(&mut self, join: &JoinRecord, denied: &Denied) {
        self.counters.joins_refused += 1;
        self.refuse(join.nonce, denied.code, denied.words.as_ref());
    }

    /// Leaves word of a refusal where the front-end looks for it.
    pub(super) fn refuse(&mut self, nonce: [u8; 16], code: Code, words: Option<&Refusal>) {
        let number = self.tick.life.change(|life| {
            life.refusals += 1;
            life.refusals
        });
        let words = words.map_or("", Refusal::words);
        let row = RefusalRow { number, nonce, code: u16::from(code).into(), reserved: 0, text: padded(words) };
        let rows = u64::from(self.bound.refusals.at().rows);
        self.bound.refusals.insert(((number - 1) % rows) as u32, row);
    }

    /// Ends a session that an operator wants gone, and knows its client again.
    pub(super) fn kick(&mut self, id: u64) {
        let Some(row) = self.bound.sessions.get(id as u32).filter(|row| row.id == id) else {
            // It has left since.
            self.counters.records_ignored += 1;
            return;
        };
        let nonce = row.nonce;
        let number = self.tick.life.change(|life| {
            life.kicked += 1;
            life.kicked
        });
        let rows = u64::from(self.bound.kicked.at().rows);
        self.bound.kicked.insert(((number - 1) % rows) as u32, KickedRow { nonce });
        self.counters.sessions_kicked += 1;
        self.flights.add(FlightKind::Kick, id, 0);
        self.end_session(id, Why::Kicked);
    }

    fn was_kicked(&self, nonce: &[u8; 16]) -> bool {
        self.bound.kicked.iter().any(|(_, row)| row.nonce == *nonce)
    }

    pub(super) fn end_session(&mut self, id: u64, why: Why) {
        let slot = id as u32;
        let Some(row) = self.bound.sessions.get(slot).filter(|row| row.id == id).copied() else { return };
        if why == Why::TimedOut && row.detached == 0 {
            self.bound.game.dropped(&self.tick, SessionId(id));
        }
        self.bound.game.leave(&self.tick, SessionId(id), why);
        self.flights.add(FlightKind::Leave, id, why.to_u64());
        // While its row is there.
        self.name_asks();
        self.arrivals.forget(slot);
        self.bound.inputs.remove(slot);
        self.bound.sessions.remove(slot);
        self.touched_frontends |= bit(row.frontend);
        self.index.remove(slot, &row);
        self.bound.shared.with_meta(|meta| meta.sessions = meta.sessions.saturating_sub(1));
    }

    /// Moves where sessions look from, as the game wants it.
    pub(super) fn follow(&mut self) {
        let follows = std::mem::take(&mut *self.tick.life.follows.borrow_mut());
        for (who, entity) in &follows {
            let alive = self.bound.shared.reader.alive(entity.index, entity.generation);
            if let Some(row) = self.bound.sessions.get_mut(who.slot()).filter(|row| row.id == who.0 && alive) {
                (row.entity_index, row.entity_generation) = (entity.index, entity.generation);
            }
        }
        let mut empty = follows;
        empty.clear();
        self.tick.life.follows.replace(empty);
    }

    /// Ends a match that nobody has been in for as long as it may be empty. Ticks count, so that a replay ends it at the same one.
    pub(super) fn end_when_idle(&mut self) {
        let (now, sessions) = (self.tick.now.0, self.bound.meta().sessions);
        let since = self.tick.life.row.get().empty_since;
        let is_new = (sessions == 0) != (since != 0);
        let since = if sessions == 0 && since == 0 { now } else { since };
        if is_new {
            self.tick.life.change(|life| life.empty_since = if sessions == 0 { since } else { 0 });
        }
        let limit = u64::from(self.entry.idle_minutes) * 60 * u64::from(self.entry.tick_hz);
        if limit != 0 && sessions == 0 && u64::from(now - since.min(now)) >= limit && !self.tick.closed.get() {
            self.counters.idle_ends += 1;
            self.tick.close();
        }
    }
}

#[cfg(test)]
mod tests;
