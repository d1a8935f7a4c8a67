//! Sessions and their connections: attached, detached, resumed, and ended when nobody comes back.
//!
//! **Invariant**: the attachment that was committed last counts, and records of older ones are ignored. Two tokens open a session at
//! most: its newest, and the one that was shown for it, until the first record that only who has the newest can send.

use ringfort_protocol::SessionId;
use ringfort_protocol::control::Code;
use ringfort_shm_state::layout::{DETACHED, FlightKind, JoinRecord, RecordKind, ResumeRecord, SessionRow};
use zerocopy::FromBytes;

use super::Zone;
use super::index::bit;
use crate::game::{Game, Refusal, Why};

/// In place of a token's hash: no token has it.
pub(super) const NO_HASH: [u8; 32] = [0; 32];

/// What a client is told that shows a token which opens nothing.
const NOT_RESUMED: &str = "the session has ended, or this is not its newest token";

/// Where a session is attached to from now on.
struct Attachment {
    connection: u64,
    frontend: u32,
    incarnation: u32,
    attempt: u64,
    token_hash: [u8; 32],
}

/// Whether a record of the newest attachment says that the client has the newest token.
pub(super) fn proves(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::Input | RecordKind::Command | RecordKind::EventAck)
}

/// Whether a resume opens a session. The token that was shown before opens it for a later connection only, of the two that show it at
/// the same time.
pub(super) fn opens(row: &SessionRow, resume: &ResumeRecord) -> bool {
    let newest = row.resume_hash == resume.shown_hash;
    let used = row.used_hash == resume.shown_hash && resume.attempt > row.attempt;
    resume.shown_hash != NO_HASH && row.name == resume.name && (newest || used)
}

/// Whether a join by a nonce that is there already is no older one that comes late.
pub(super) fn joins_again(row: &SessionRow, join: &JoinRecord) -> bool {
    join.attempt >= row.attempt
}

impl<G: Game> Zone<G> {
    /// The same client joins again, as it has not heard of its join: its row is attached anew.
    pub(super) fn join_again(&mut self, slot: u32, join: &JoinRecord) {
        let Some(row) = self.bound.sessions.get(slot).copied() else { return };
        if !joins_again(&row, join) {
            self.counters.joins_refused += 1;
            return self.refuse(join.nonce, Code::ResumeRefused, None);
        }
        let JoinRecord { connection, frontend, incarnation, attempt, token_hash, .. } = *join;
        self.attach(slot, &Attachment { connection, frontend, incarnation, attempt, token_hash }, row.resume_hash);
    }

    /// A client wants its session back.
    pub(super) fn resume(&mut self, id: u64, payload: &[u8]) {
        let Ok(resume) = ResumeRecord::read_from_bytes(payload) else {
            self.counters.records_ignored += 1;
            return;
        };
        self.touched_frontends |= bit(resume.frontend);
        let slot = id as u32;
        if !self.bound.sessions.get(slot).is_some_and(|row| row.id == id && opens(row, &resume)) {
            self.counters.resumes_refused += 1;
            let nonce = std::array::from_fn(|i| resume.token_hash[i]);
            return self.refuse(nonce, Code::ResumeRefused, Some(&Refusal::from(NOT_RESUMED)));
        }
        self.counters.sessions_resumed += 1;
        self.flights.add(FlightKind::Resume, id, 0);
        let ResumeRecord { connection, frontend, incarnation, attempt, token_hash, .. } = resume;
        self.attach(slot, &Attachment { connection, frontend, incarnation, attempt, token_hash }, resume.shown_hash);
    }

    fn attach(&mut self, slot: u32, to: &Attachment, used_hash: [u8; 32]) {
        let Some(row) = self.bound.sessions.get_mut(slot) else { return };
        let before = *row;
        row.attachment = row.attachment.wrapping_add(1);
        (row.connection, row.frontend, row.incarnation, row.attempt) = (to.connection, to.frontend, to.incarnation, to.attempt);
        (row.resume_hash, row.used_hash, row.detached) = (to.token_hash, used_hash, 0);
        let after = *row;
        // Who had it is to tell its client.
        self.touched_frontends |= bit(before.frontend);
        self.index.move_session(slot, &before, &after);
        if before.detached != 0 {
            self.bound.game.resumed(&self.tick, SessionId(after.id));
        }
    }

    /// The newest token has arrived: the one before it opens nothing any more.
    pub(super) fn forget_used(&mut self, slot: u32) {
        if let Some(row) = self.bound.sessions.get_mut(slot) {
            row.used_hash = NO_HASH;
        }
    }

    /// A session's connection was lost: the session waits for its client.
    pub(super) fn detach(&mut self, id: u64) {
        if self.entry.grace_ms == 0 {
            return self.end_session(id, Why::TimedOut);
        }
        let (slot, now) = (id as u32, self.tick.now.0);
        let Some(row) = self.bound.sessions.get_mut(slot).filter(|row| row.id == id && row.detached == 0) else { return };
        let before = *row;
        (row.connection, row.frontend, row.incarnation, row.detached) = (0, DETACHED, 0, now);
        let after = *row;
        self.counters.sessions_detached += 1;
        self.flights.add(FlightKind::Detach, id, 0);
        self.touched_frontends |= bit(before.frontend);
        self.index.move_session(slot, &before, &after);
        self.bound.game.dropped(&self.tick, SessionId(id));
    }

    /// Ends the sessions whose clients did not come back in time. Ticks count, so that a replay ends them at the same one, and that no
    /// time passes while the match stands still.
    pub(super) fn end_expired(&mut self) {
        let grace = u64::from(self.entry.grace_ms) * u64::from(self.entry.tick_hz);
        let grace = u32::try_from(grace.div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        let now = self.tick.now.0;
        let is_over = |since: u32| now.saturating_sub(since) >= grace;
        while let Some((since, slot)) = self.index.detached.first().copied().filter(|(since, _)| is_over(*since)) {
            self.index.detached.remove(&(since, slot));
            let Some(id) = self.bound.sessions.get(slot).map(|row| row.id) else { continue };
            self.counters.sessions_expired += 1;
            self.end_session(id, Why::TimedOut);
        }
    }
}

#[cfg(test)]
mod tests;
