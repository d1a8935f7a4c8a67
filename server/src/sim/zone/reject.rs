//! A tick without its inputs and commands: what the game has failed on twice is written to a file, then noted in its sessions' rows.
//!
//! **Invariant**: an input is applied or given up, never both. That it is given up is committed with the tick. The same records are
//! looked at before the tick, for the file, and in it, so both come to the same.

use std::collections::BTreeMap;

use ringfort_protocol::Input;
use ringfort_protocol::view::VIEW_BYTES;
use ringfort_shm_state::inbox::Record;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{JoinRecord, RecordKind, ResumeRecord, SessionFlags, SessionInput, SessionRejected, SessionRow};
use ringfort_shm_state::memory::Memory;
use ringfort_shm_state::segment::unpadded;
use zerocopy::FromBytes;

use super::Zone;
use super::attach::{NO_HASH, joins_again, opens, proves};
use crate::game::{Game, SessionInputs};
use crate::limits::{RECORDS_PER_TICK, REFUSALS_PER_TICK};
use crate::sim::inputs::{give_up, give_up_command, take_waiting};
use crate::sim::letters::{self, Kind, Letter};

/// Sessions by slot, as the records so far leave them.
type Rows = BTreeMap<u32, (SessionRow, SessionInput, SessionRejected)>;

/// As [`Zone::resume`].
fn resume_in(rows: &mut Rows, id: u64, resume: &[u8]) {
    let Ok(resume) = ResumeRecord::read_from_bytes(resume) else { return };
    if let Some((session, ..)) = rows.get_mut(&(id as u32)).filter(|(session, ..)| session.id == id && opens(session, &resume)) {
        session.attachment = session.attachment.wrapping_add(1);
        (session.attempt, session.used_hash, session.resume_hash) = (resume.attempt, resume.shown_hash, resume.token_hash);
    }
}

impl SessionInputs {
    /// Notes an input as given up, if it is one that can be.
    fn give_up(&mut self, slot: u32, sequence: u32) -> bool {
        let (Some(row), mut rejected) = (self.rows.get(slot), self.rejected(slot)) else { return false };
        give_up(row, &mut rejected, sequence) && self.rejected.insert(slot, rejected)
    }
}

impl<G: Game> Zone<G> {
    /// Writes what the tick will give up to the file of dead letters, once. Returns where the tick's records end.
    pub(super) fn write_letters(&mut self, memory: &Memory, tail: u64) -> u64 {
        if let Some(written) = self.retry.written {
            return written;
        }
        let mut letters = Vec::new();
        let tail = self.collect(memory, tail, &mut letters);
        letters::write(self.retry.letters.as_deref(), self.slot, &letters);
        kill_point!("letters:written");
        self.retry.written = Some(tail);
        tail
    }

    /// Goes through the records as the tick will. It ends at the first join that the tick might leave for the next one, as
    /// behind it there would be records that are written to the file and not given up.
    fn collect(&self, memory: &Memory, tail: u64, letters: &mut Vec<Letter>) -> u64 {
        let mut rows = Rows::new();
        for (slot, session) in self.bound.sessions.iter() {
            let inputs = &self.bound.inputs;
            let Some(mut row) = inputs.rows.get(slot).copied() else { continue };
            let (view, mut rejected) = (row.waiting_view, inputs.rejected(slot));
            if let Some(sequence) = take_waiting(&mut row).filter(|sequence| give_up(&row, &mut rejected, *sequence)) {
                let bytes = &inputs.bytes.waiting(slot)[..<G::Input as Input>::wire_bytes()];
                letters.push(self.letter(session, Kind::Input, sequence, bytes, Some(view)));
            }
            rows.insert(slot, (*session, row, rejected));
        }
        let (mut cursor, mut joins, mut record) = (self.net_cursor, 0, Record::empty());
        for _ in 0..RECORDS_PER_TICK {
            let before = cursor;
            if !self.inbox.next_into(memory, &mut cursor, tail, &mut record).unwrap_or(false) {
                break;
            }
            let header = &record.header;
            if header.incarnation != self.entry.incarnation as u32 {
                continue;
            }
            if let Some(kind @ (RecordKind::Join | RecordKind::Resume)) = record.kind {
                joins += 1;
                if joins > REFUSALS_PER_TICK {
                    return before;
                }
                // What an older attachment sent is ignored from here on.
                match kind {
                    RecordKind::Join => self.join_again_in(&mut rows, record.payload()),
                    _ => resume_in(&mut rows, header.session, record.payload()),
                }
                continue;
            }
            let slot = header.session as u32;
            let Some((session, row, rejected)) = rows.get_mut(&slot) else { continue };
            let counts = session.id == header.session && header.attachment == session.attachment;
            if counts && record.kind.is_some_and(proves) {
                session.used_hash = NO_HASH;
            }
            if !counts || session.flags & SessionFlags::SPECTATOR != 0 {
                continue;
            }
            match record.kind {
                Some(RecordKind::Leave) if record.payload().len() >= size_of::<u64>() => drop(rows.remove(&slot)),
                Some(RecordKind::Input) if give_up(row, rejected, header.sequence) => {
                    let (bytes, view) = match record.payload().split_last_chunk::<VIEW_BYTES>() {
                        Some((bytes, view)) => (bytes, Some(u32::from_le_bytes(*view))),
                        None => (record.payload(), None),
                    };
                    letters.push(self.letter(session, Kind::Input, header.sequence, bytes, view));
                }
                Some(RecordKind::Command) if header.sequence == session.command.wrapping_add(1) => {
                    session.command = header.sequence;
                    letters.push(self.letter(session, Kind::Command, header.sequence, record.payload(), None));
                }
                _ => {}
            }
        }
        tail
    }

    /// As [`Zone::join_again`], for a join that is a repetition.
    fn join_again_in(&self, rows: &mut Rows, join: &[u8]) {
        let Ok(join) = JoinRecord::read_from_bytes(join) else { return };
        let Some(slot) = self.index.by_nonce.get(&join.nonce).filter(|slot| self.is_same_client(**slot, &join)) else { return };
        if let Some((session, ..)) = rows.get_mut(slot).filter(|(session, ..)| joins_again(session, &join)) {
            session.attachment = session.attachment.wrapping_add(1);
            (session.attempt, session.used_hash, session.resume_hash) = (join.attempt, session.resume_hash, join.token_hash);
        }
    }

    fn letter(&self, session: &SessionRow, kind: Kind, sequence: u32, bytes: &[u8], view: Option<u32>) -> Letter {
        Letter {
            at: letters::unix_ms(),
            match_id: self.entry.incarnation,
            name: unpadded(&self.entry.name),
            tick: self.retry.attempt.tick,
            session: session.id,
            player: unpadded(&session.name),
            kind,
            sequence,
            bytes: letters::hex(bytes),
            view,
            reason: self.retry.why.clone(),
            zone: self.slot,
        }
    }

    /// Gives up the inputs that waited in the sessions' rows.
    pub(super) fn reject_waiting(&mut self) {
        let rows = self.bound.inputs.rows.iter();
        let waiting: Vec<u32> = rows.filter(|(_, row)| row.queued != 0).map(|(slot, _)| slot).collect();
        for slot in waiting {
            let waited = self.bound.inputs.rows.get_mut(slot).and_then(take_waiting);
            let noted = waited.is_some_and(|sequence| self.bound.inputs.give_up(slot, sequence));
            self.retry.rejected.0 += u64::from(noted);
        }
    }

    /// Gives an input up instead of applying it.
    pub(super) fn reject_input(&mut self, slot: u32, sequence: u32) {
        let noted = self.bound.inputs.give_up(slot, sequence);
        self.retry.rejected.0 += u64::from(noted);
        self.counters.inputs_refused += u64::from(!noted);
    }

    /// Gives a command up instead of applying it; those behind it are applied later.
    pub(super) fn reject_command(&mut self, slot: u32, number: u32) {
        let Some(session) = self.bound.sessions.get(slot).filter(|row| number == row.command.wrapping_add(1)).map(|row| row.id)
        else {
            self.counters.commands_refused += 1;
            return;
        };
        if let Some(row) = self.bound.sessions.get_mut(slot).filter(|row| row.id == session) {
            row.command = number;
        }
        let mut rejected = self.bound.inputs.rejected(slot);
        give_up_command(&mut rejected, number);
        self.bound.inputs.rejected.insert(slot, rejected);
        self.retry.rejected.1 += 1;
    }
}
