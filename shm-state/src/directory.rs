//! The directory: which processes run, which zones exist, who may step them, and a mailbox for each. The supervisor writes,
//! everyone else attaches it read-only.

use std::sync::atomic::Ordering;

use crate::cell::Cell;
use crate::layout::{
    AnswerPart, FieldName, InstanceEntry, MailKind, MailRecord, Verdict, WorkerEntry, ZoneEntry, ZoneState, directory as at,
};
use crate::limits::{
    ASK_BODY_BYTES, MAILBOX_PAYLOAD_BYTES, MAILBOX_RECORDS, MAILBOX_RESERVED, MAP_BYTES, MAX_WORKERS, MAX_ZONES,
};
use crate::memory::{Memory, Words};
use crate::segment::{Segment, cut, padded};

/// Reading the directory, from any process.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'m> {
    memory: &'m Memory,
}

/// The mailbox has no room: its sim has not drained it.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("the mailbox of the match is full ({MAILBOX_RECORDS} records): its sim does not drain it; see `ringfort status`")]
pub struct MailboxFull;

/// The game's map is larger than its place.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("the game's map takes {bytes} bytes, the directory has room for {MAP_BYTES}: give the game fewer or shorter names")]
pub struct MapTooLarge {
    /// Bytes of the map.
    pub bytes: usize,
}

const fn worker_cell(slot: usize) -> Cell<WorkerEntry> {
    assert!(slot < MAX_WORKERS, "slot of the process table");
    Cell::at(at::WORKERS + slot * at::WORKER_STRIDE)
}

const fn zone_cell(slot: usize) -> Cell<ZoneEntry> {
    assert!(slot < MAX_ZONES, "slot of the zone table");
    Cell::at(at::ZONES + slot * at::ZONE_STRIDE)
}

const fn mailbox(zone: usize) -> usize {
    assert!(zone < MAX_ZONES, "slot of the zone table");
    at::MAILBOXES + zone * at::MAILBOX_STRIDE
}

const fn mail(zone: usize, number: u64) -> usize {
    mailbox(zone) + 64 + (number % MAILBOX_RECORDS) as usize * size_of::<MailRecord>()
}

impl<'m> Directory<'m> {
    /// The directory in an attached segment.
    pub fn new(segment: &'m Segment) -> Self {
        Self { memory: segment.memory() }
    }

    /// A directory in memory that is no segment.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn over(memory: &'m Memory) -> Self {
        Self { memory }
    }

    /// Grows with every change of a zone.
    pub fn generation(&self) -> u64 {
        // SYNC POINT: directory-generation
        self.memory.load(at::GENERATION, Ordering::Acquire)
    }

    /// Processes of other users that wanted to command the instance.
    pub fn peers_refused(&self) -> u64 {
        self.memory.load(at::PEERS_REFUSED, Ordering::Relaxed)
    }

    /// The instance; `None` before the supervisor has published it.
    pub fn instance(&self) -> Option<InstanceEntry> {
        Cell::<InstanceEntry>::at(at::INSTANCE).read(self.memory)
    }

    /// The JSON of the game's map as the supervisor wrote it before the instance was published.
    pub fn map_json(&self) -> Option<Vec<u8>> {
        let bytes = usize::try_from(self.instance()?.map_bytes).ok().filter(|n| *n <= MAP_BYTES)?;
        let mut words = vec![0u64; bytes.div_ceil(8)];
        self.memory.copy_out(at::MAP, &mut words);
        let mut json: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        json.truncate(bytes);
        Some(json)
    }

    /// A slot of the process table.
    pub fn worker(&self, slot: usize) -> Option<WorkerEntry> {
        if slot >= MAX_WORKERS {
            return None;
        }
        worker_cell(slot).read(self.memory)
    }

    /// The process table's used slots.
    pub fn workers(self) -> impl Iterator<Item = WorkerEntry> + use<'m> {
        (0..MAX_WORKERS).filter_map(move |slot| self.worker(slot)).filter(|w| w.role != 0)
    }

    /// A slot of the zone table; `None` while it is free.
    pub fn zone(&self, slot: usize) -> Option<ZoneEntry> {
        if slot >= MAX_ZONES {
            return None;
        }
        zone_cell(slot).read(self.memory).filter(|z| z.incarnation != 0 && z.state != ZoneState::Free as u32)
    }

    /// The zones, with their slots.
    pub fn zones(self) -> impl Iterator<Item = (usize, ZoneEntry)> + use<'m> {
        (0..MAX_ZONES).filter_map(move |slot| Some((slot, self.zone(slot)?)))
    }

    /// Operator records posted to a zone so far.
    pub fn mail_tail(&self, zone: usize) -> u64 {
        // SYNC POINT: mailbox-tail
        self.memory.load(mailbox(zone), Ordering::Acquire)
    }

    /// The operator record with a number; `None` when it was not posted yet, or was overwritten, which the supervisor does only
    /// after it was consumed.
    pub fn mail(&self, zone: usize, number: u64) -> Option<MailRecord> {
        let tail = self.mail_tail(zone);
        if number >= tail {
            return None;
        }
        (tail - number <= MAILBOX_RECORDS).then(|| self.memory.read(mail(zone, number)))
    }
}

/// Writing the directory. Only the supervisor has its segment writable.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryWriter<'m> {
    memory: &'m Memory,
}

impl<'m> DirectoryWriter<'m> {
    /// The directory in a segment that was created or attached for writing.
    pub fn new(segment: &'m Segment) -> Self {
        Self { memory: segment.memory() }
    }

    /// A directory in memory that is no segment.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn over(memory: &'m Memory) -> Self {
        Self { memory }
    }

    /// For reading.
    pub fn reader(&self) -> Directory<'m> {
        Directory { memory: self.memory }
    }

    /// Publishes the instance; the game's map first, as the entry tells its length.
    pub fn publish_instance(&self, entry: &InstanceEntry, map_json: &[u8]) -> Result<(), MapTooLarge> {
        if map_json.len() > MAP_BYTES {
            return Err(MapTooLarge { bytes: map_json.len() });
        }
        for (i, chunk) in map_json.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.memory.copy_in(at::MAP + i * 8, &[u64::from_ne_bytes(word)]);
        }
        Cell::<InstanceEntry>::at(at::INSTANCE)
            .publish(self.memory, &InstanceEntry { map_bytes: map_json.len() as u64, ..*entry });
        Ok(())
    }

    /// Publishes a slot of the process table.
    pub fn publish_worker(&self, slot: usize, entry: &WorkerEntry) {
        worker_cell(slot).publish(self.memory, entry);
    }

    /// Publishes a zone and moves the generation. Returns the generation from which workers know of it.
    pub fn publish_zone(&self, slot: usize, entry: &ZoneEntry) -> u64 {
        let generation = self.reader().generation().wrapping_add(1);
        zone_cell(slot).publish(self.memory, &ZoneEntry { generation, ..*entry });
        // SYNC POINT: directory-generation
        self.memory.store(at::GENERATION, generation, Ordering::Release);
        generation
    }

    /// Counts a process of another user that wanted to command the instance.
    pub fn count_refused_peer(&self) {
        self.memory.store(at::PEERS_REFUSED, self.reader().peers_refused().wrapping_add(1), Ordering::Relaxed);
    }

    /// Has the workers look at the instance again.
    pub fn move_generation(&self) {
        let generation = self.reader().generation().wrapping_add(1);
        // SYNC POINT: directory-generation
        self.memory.store(at::GENERATION, generation, Ordering::Release);
    }

    /// Posts an operator record. `consumed` is the mail cursor of the zone's last committed root.
    pub fn post(&self, zone: usize, consumed: u64, kind: MailKind, a: u64, b: u64, text: &str) -> Result<(), MailboxFull> {
        let text = cut(text, MAILBOX_PAYLOAD_BYTES);
        let (bytes, payload) = (text.len() as u32, padded(text));
        self.post_record(zone, consumed, 0, &MailRecord { kind: kind as u32, bytes, a, b, payload }).map(|_| ())
    }

    /// Posts a value for a field of entity `a`, or of a global. What does not leave [`MAILBOX_RESERVED`] records is refused: an operator who
    /// sets much keeps no match from ending. Returns the record's number; what is beyond the payload is cut.
    pub fn post_set(&self, zone: usize, consumed: u64, a: u64, field: FieldName, value: &[u8]) -> Result<u64, MailboxFull> {
        let value = &value[..value.len().min(MAILBOX_PAYLOAD_BYTES)];
        let mut payload = [0; MAILBOX_PAYLOAD_BYTES];
        payload[..value.len()].copy_from_slice(value);
        let record = MailRecord { kind: MailKind::Set as u32, bytes: value.len() as u32, a, b: field.to_word(), payload };
        self.post_record(zone, consumed, MAILBOX_RESERVED, &record)
    }

    fn post_record(&self, zone: usize, consumed: u64, leave: u64, record: &MailRecord) -> Result<u64, MailboxFull> {
        let tail = self.reader().mail_tail(zone);
        if tail.saturating_sub(consumed) + leave >= MAILBOX_RECORDS {
            return Err(MailboxFull);
        }
        self.memory.write(mail(zone, tail), record);
        // SYNC POINT: mailbox-tail
        self.memory.store(mailbox(zone), tail.wrapping_add(1), Ordering::Release);
        Ok(tail)
    }

    /// Posts an answer to a request in as many records as it takes, all of them at once: whoever sees one sees them all. What does not
    /// leave [`MAILBOX_RESERVED`] records is refused. A text beyond [`ASK_BODY_BYTES`] is cut.
    pub fn post_answer(&self, zone: usize, consumed: u64, ask: u64, verdict: Verdict, text: &str) -> Result<(), MailboxFull> {
        let tail = self.reader().mail_tail(zone);
        let bytes = cut(text, ASK_BODY_BYTES).as_bytes();
        let parts = bytes.len().div_ceil(MAILBOX_PAYLOAD_BYTES).max(1);
        if tail.saturating_sub(consumed) + parts as u64 + MAILBOX_RESERVED > MAILBOX_RECORDS {
            return Err(MailboxFull);
        }
        for part in 0..parts {
            let rest = &bytes[part * MAILBOX_PAYLOAD_BYTES..];
            let rest = &rest[..rest.len().min(MAILBOX_PAYLOAD_BYTES)];
            let mut payload = [0; MAILBOX_PAYLOAD_BYTES];
            payload[..rest.len()].copy_from_slice(rest);
            let b = AnswerPart { verdict, part: part as u16, parts: parts as u16 }.to_word();
            let record = MailRecord { kind: MailKind::Answer as u32, bytes: rest.len() as u32, a: ask, b, payload };
            self.memory.write(mail(zone, tail + part as u64), &record);
        }
        // SYNC POINT: mailbox-tail
        self.memory.store(mailbox(zone), tail.wrapping_add(parts as u64), Ordering::Release);
        Ok(())
    }
}
