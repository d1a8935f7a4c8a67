//! `ringfort rings`: the inboxes of the matches, how full they are, and what waits in them.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::inbox::{Inbox, InboxCorrupt, Record};
use ringfort_shm_state::layout::{RecordKind, ZoneEntry};
use ringfort_shm_state::memory::Words;
use ringfort_shm_state::segment::unpadded;
use serde::Serialize;

use super::{Paper, Shown, printable, table};
use crate::attach::Attached;
use crate::limits::RING_READ_ATTEMPTS;

/// The inboxes of an instance.
#[derive(Debug, Serialize)]
pub struct Rings {
    /// Name of the instance.
    pub instance: String,
    /// Its matches' inboxes, the fullest first.
    pub rings: Vec<RingShown>,
}

/// A match's inbox.
#[derive(Debug, Serialize)]
pub struct RingShown {
    /// The match.
    #[serde(rename = "match")]
    pub of: String,
    /// Its slot.
    pub slot: usize,
    /// Bytes appended and not yet part of the world.
    pub used_bytes: u64,
    /// Bytes that fit.
    pub capacity_bytes: u64,
    /// Where the newest commit has read to, in bytes since the slot's first use.
    pub cursor: u64,
    /// Where the committed records end.
    pub tail: u64,
    /// Records that were refused because it was full; counted over all matches of the slot.
    pub refused: u64,
    /// Times that its lock was taken from a front-end that died with it, or its end was mended; counted likewise.
    pub repairs: u64,
    /// Records that wait, by kind.
    pub waiting: BTreeMap<&'static str, u64>,
    /// The record that has waited longest, as "kind of session N".
    pub oldest: Option<String>,
    /// What is wrong with it; `None` when nothing is.
    pub damage: Option<String>,
}

/// Looks at the inboxes.
pub fn rings(attached: &Attached) -> Rings {
    let zones = Directory::new(&attached.directory).zones().filter(|(_, entry)| entry.lives());
    let mut rings: Vec<RingShown> = zones.map(|(slot, entry)| ring(attached, slot, &entry)).collect();
    let fill = |ring: &RingShown| ring.used_bytes.saturating_mul(1 << 16) / ring.capacity_bytes.max(1);
    rings.sort_by(|a, b| fill(b).cmp(&fill(a)).then_with(|| a.of.cmp(&b.of)));
    Rings { instance: attached.name.clone(), rings }
}

fn ring(attached: &Attached, slot: usize, entry: &ZoneEntry) -> RingShown {
    let memory = attached.inbox.memory();
    let mut shown = RingShown {
        of: unpadded(&entry.name),
        slot,
        used_bytes: 0,
        capacity_bytes: 0,
        cursor: 0,
        tail: 0,
        refused: 0,
        repairs: 0,
        waiting: BTreeMap::new(),
        oldest: None,
        damage: None,
    };
    let Some(ring) = Inbox::new(memory, slot, entry.inbox_offset, entry.inbox_bytes) else {
        shown.damage = Some("the directory says that it lies where no inbox can".to_owned());
        return shown;
    };
    shown.capacity_bytes = ring.capacity();
    shown.refused = ring.refused(memory);
    shown.repairs = ring.repairs(memory);
    let waits = waiting(&ring, memory, || attached.world.consumed(slot, entry.incarnation));
    (shown.cursor, shown.tail) = (waits.cursor, waits.tail);
    shown.used_bytes = shown.tail.saturating_sub(shown.cursor);
    for record in &waits.records {
        *shown.waiting.entry(record.kind).or_default() += 1;
    }
    shown.oldest = waits.records.first().map(|record| format!("{} of session {}", record.kind, record.session));
    shown.damage = waits.damage.map(|damage| damage.to_string());
    shown
}

/// What waits in a ring, at one moment.
struct Waiting {
    cursor: u64,
    tail: u64,
    records: Vec<WaitingRecord>,
    damage: Option<InboxCorrupt>,
}

struct WaitingRecord {
    /// The cursor at which it is next.
    at: u64,
    kind: &'static str,
    session: u64,
}

/// Reads a ring that may go on: what the match has consumed meanwhile may have been overwritten, and is dropped.
fn waiting(ring: &Inbox, memory: &impl Words, consumed: impl Fn() -> Option<u64>) -> Waiting {
    for _ in 0..RING_READ_ATTEMPTS {
        // The cursor is read before the tail, so that it cannot seem to be ahead of it.
        let before = consumed();
        let mut waits = walk(ring, memory, before);
        // Nothing is overwritten that was not consumed: what is known to be after this was whole when it was read before it.
        fence(Ordering::Acquire);
        let cursor = consumed().filter(|_| before.is_some()).unwrap_or(waits.cursor);
        if cursor >= waits.tail && cursor > waits.cursor {
            return Waiting { cursor, tail: cursor, records: Vec::new(), damage: None };
        }
        // Whoever comes by where the match has come to has read the right lengths up to there.
        let is_whole = cursor == waits.cursor || waits.records.iter().any(|record| record.at == cursor);
        if is_whole {
            waits.records.retain(|record| record.at >= cursor);
            return Waiting { cursor, ..waits };
        }
    }
    // It commits faster than it can be read, so nothing waits for long.
    let cursor = consumed().unwrap_or_else(|| ring.tail(memory));
    Waiting { cursor, tail: ring.tail(memory).max(cursor), records: Vec::new(), damage: None }
}

fn walk(ring: &Inbox, memory: &impl Words, consumed: Option<u64>) -> Waiting {
    let tail = ring.tail(memory);
    let cursor = consumed.unwrap_or(tail);
    let mut waits = Waiting { cursor, tail, records: Vec::new(), damage: None };
    let (mut at, mut record) = (cursor, Record::empty());
    loop {
        let from = at;
        match ring.next_into(memory, &mut at, tail, &mut record) {
            Ok(true) => {
                let kind = record.kind.map_or("garbage", name_of);
                waits.records.push(WaitingRecord { at: from, kind, session: record.header.session });
            }
            Ok(false) => return waits,
            Err(damage) => return Waiting { damage: Some(damage), ..waits },
        }
    }
}

fn name_of(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Join => "join",
        RecordKind::Input => "input",
        RecordKind::Command => "command",
        RecordKind::EventAck => "event_ack",
        RecordKind::Leave => "leave",
        RecordKind::Pad => "pad",
        RecordKind::Detach => "detach",
        RecordKind::Resume => "resume",
    }
}

impl Shown for Rings {
    fn text(&self, paper: &Paper) -> String {
        if self.rings.is_empty() {
            return "no matches, so no inboxes\n".to_owned();
        }
        let row = |ring: &RingShown| {
            let waiting: Vec<String> = ring.waiting.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            vec![
                printable(&ring.of),
                format!("{} %", ring.used_bytes.saturating_mul(100) / ring.capacity_bytes.max(1)),
                ring.used_bytes.to_string(),
                ring.capacity_bytes.to_string(),
                ring.tail.to_string(),
                ring.refused.to_string(),
                ring.repairs.to_string(),
                if waiting.is_empty() { "-".to_owned() } else { waiting.join(", ") },
                ring.oldest.clone().unwrap_or("-".to_owned()),
            ]
        };
        let head = ["MATCH", "FILL", "BYTES", "OF", "TAIL", "REFUSED", "REPAIRS", "WAITING", "OLDEST"];
        let mut text = table(paper, &head, self.rings.iter().map(row).collect());
        for (of, damage) in self.rings.iter().filter_map(|ring| Some((&ring.of, ring.damage.as_ref()?))) {
            text += &format!("match {}: {damage}\n", printable(of));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ringfort_shm_state::inbox::Batch;
    use ringfort_shm_state::layout::{RecordHeader, inbox};
    use ringfort_shm_state::limits::MIN_INBOX_BYTES;
    use ringfort_shm_state::memory::Memory;
    use zerocopy::FromZeros;

    use super::*;

    /// Bytes of a record, header and payload.
    const RECORD: u64 = 64;

    /// The memory of a ring that goes on when a reader copies for the n-th time.
    struct Busy<'a> {
        memory: &'a Memory,
        copies: Cell<u32>,
        at: u32,
        goes_on: &'a dyn Fn(),
    }

    impl Words for Busy<'_> {
        fn bytes(&self) -> usize {
            self.memory.bytes()
        }

        fn load(&self, offset: usize, order: Ordering) -> u64 {
            self.memory.load(offset, order)
        }

        fn store(&self, _: usize, _: u64, _: Ordering) {
            unreachable!("a ring is only read")
        }

        fn compare_exchange(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
            unreachable!("a ring is only read")
        }

        fn fetch_add(&self, _: usize, _: u64) {
            unreachable!("a ring is only read")
        }

        fn copy_out(&self, offset: usize, to: &mut [u64]) {
            self.copies.set(self.copies.get() + 1);
            if self.copies.get() == self.at {
                (self.goes_on)();
            }
            self.memory.copy_out(offset, to);
        }
    }

    /// Inputs of sessions that are numbered, one each.
    fn inputs(sessions: std::ops::Range<u64>, payload: &[u8]) -> Batch {
        let mut batch = Batch::default();
        for session in sessions {
            let header = RecordHeader { kind: RecordKind::Input as u16, session, ..RecordHeader::new_zeroed() };
            batch.push(header, payload);
        }
        batch
    }

    #[test]
    fn what_waits_is_of_one_moment_wherever_the_match_reads_and_front_ends_write_meanwhile() {
        let all = MIN_INBOX_BYTES / RECORD;
        let (read, mut dropped, mut again) = (all / 2, 0, 0);
        for at in 1..3 * all as u32 {
            let memory = Memory::heap(inbox::DATA + MIN_INBOX_BYTES as usize);
            let ring = Inbox::new(&memory, 0, 0, MIN_INBOX_BYTES).expect("it lies there");
            ring.append_locked(&memory, &inputs(0..all, &[1; 40]), 0);
            let consumed = Cell::new(0);
            // Of other lengths, and whoever takes their content for a header reads garbage.
            let goes_on = || {
                consumed.set(read * RECORD);
                ring.append_locked(&memory, &inputs(all..all + read / 2, &[0xff; 72]), read * RECORD);
            };
            let busy = Busy { memory: &memory, copies: Cell::new(0), at, goes_on: &goes_on };
            let waits = waiting(&ring, &busy, || Some(consumed.get()));
            assert!(waits.damage.is_none() && waits.records.iter().all(|record| record.kind == "input"), "at copy {at}");
            let sessions: Vec<u64> = waits.records.iter().map(|record| record.session).collect();
            let is_new = waits.tail > all * RECORD;
            let until = if is_new { all + read / 2 } else { all };
            assert_eq!(sessions, (waits.cursor / RECORD..until).collect::<Vec<u64>>(), "at copy {at}");
            dropped += u32::from(waits.cursor > 0 && !is_new);
            again += u32::from(is_new);
        }
        assert!(dropped > 0 && again > 0, "{dropped} {again}: what is read is overtaken before and behind the match");
    }
}
