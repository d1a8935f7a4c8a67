//! The inbox: a byte ring into which front-ends append under a robust lock, and which a sim drains without one.
//!
//! `tail` is the only commit word. A producer copies its records first and moves `tail` last, so one that dies in between
//! leaves nothing to repair but the lock. Producers never overwrite what the zone's last committed root has not consumed:
//! the caller passes that cursor, read from the world. Cursors are bytes since the slot's first use and never go back, unless a
//! hostile process has put the tail where nobody's can be ([`Inbox::mend`], [`Inbox::opening`]).

use std::sync::atomic::Ordering;

use crate::layout::{InboxControl, RecordHeader, RecordKind, inbox};
use crate::limits::{MAX_INBOX_BYTES, MAX_RECORD_PAYLOAD, MAX_ZONES, MIN_INBOX_BYTES};
use crate::lock::{LockBroken, LockHolder, Locked, RobustLock};
use crate::memory::{Memory, Words};
use zerocopy::{FromZeros, IntoBytes};

/// Words of a record's header.
const HEADER_WORDS: usize = size_of::<RecordHeader>() / 8;
/// Cursors of a new match are below this: at a gigabyte a second a ring takes 36 years to get there.
const MAX_OPENING_CURSOR: u64 = 1 << 60;
/// Bytes of the largest record.
pub const MAX_RECORD_BYTES: u64 = (size_of::<RecordHeader>() + MAX_RECORD_PAYLOAD) as u64;

/// One zone's ring in an inbox segment.
#[derive(Clone, Copy, Debug)]
pub struct Inbox {
    control: usize,
    data: usize,
    bytes: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// All of it is committed, and ends at this cursor.
    All(u64),
    /// The first `records` of it fitted and are committed up to `tail`; the ring is full.
    Part {
        /// Records that fitted.
        records: usize,
        /// Where they end.
        tail: u64,
    },
    /// Another process holds the lock. Keep the batch.
    Busy,
}

/// Records to append, built by one front-end for one zone; reused, so appending does not allocate.
#[derive(Debug, Default)]
pub struct Batch {
    words: Vec<u64>,
    records: usize,
}

impl Batch {
    /// Adds a record.
    ///
    /// # Panics
    /// When the payload is longer than [`MAX_RECORD_PAYLOAD`]: the caller bounds what comes from a client.
    #[inline]
    pub fn push(&mut self, header: RecordHeader, payload: &[u8]) {
        assert!(payload.len() <= MAX_RECORD_PAYLOAD, "payload within the record's bound");
        let header = header_words(&RecordHeader { bytes: payload.len() as u16, ..header });
        self.words.reserve(HEADER_WORDS + payload.len().div_ceil(8));
        self.words.extend_from_slice(&header);
        let (whole, rest) = payload.as_chunks::<8>();
        self.words.extend(whole.iter().map(|bytes| u64::from_ne_bytes(*bytes)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.words.push(u64::from_ne_bytes(word));
        }
        self.records += 1;
    }

    /// Records in it.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes that it needs in a ring, without padding.
    pub fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// Takes another batch's records over, behind its own.
    pub fn absorb(&mut self, other: &mut Self) {
        self.words.append(&mut other.words);
        self.records += std::mem::take(&mut other.records);
    }

    /// Forgets the first records, which were appended.
    pub fn consume(&mut self, records: usize) {
        if records == self.records {
            self.words.clear();
            self.records = 0;
            return;
        }
        let mut at = 0;
        for _ in 0..records {
            at += record_words(self.words[at]);
        }
        self.words.drain(..at);
        self.records -= records;
    }
}

/// A header as words, put together field by field: to load words over fields that were just stored would wait for the stores.
#[inline]
fn header_words(header: &RecordHeader) -> [u64; HEADER_WORDS] {
    let RecordHeader { bytes, kind, attachment, session, sequence, incarnation } = *header;
    let first = u64::from(bytes) | u64::from(kind) << 16 | u64::from(attachment) << 32;
    [first, session, u64::from(sequence) | u64::from(incarnation) << 32]
}

/// Words of the record that begins with this word (whose low half is {bytes, kind}).
fn record_words(first: u64) -> usize {
    let bytes = (first & 0xffff) as usize;
    HEADER_WORDS + bytes.div_ceil(8)
}

/// A record that was copied out of the ring. It is unvalidated beyond its length: the bytes are another process's.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its header.
    pub header: RecordHeader,
    /// Its kind; `None` for a number that no record has.
    pub kind: Option<RecordKind>,
    words: [u64; MAX_RECORD_PAYLOAD / 8],
}

impl Record {
    /// A place for records to be copied to.
    pub fn empty() -> Self {
        Self { header: RecordHeader::new_zeroed(), kind: None, words: [0; MAX_RECORD_PAYLOAD / 8] }
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.words.as_bytes()[..usize::from(self.header.bytes)]
    }
}

/// The ring holds something that no producer writes.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum InboxCorrupt {
    /// A record's length leaves the committed range.
    #[error(
        "the inbox has a record at {cursor} that does not fit before its tail {tail}: a front-end wrote garbage; what follows is skipped"
    )]
    Length {
        /// Where the record begins.
        cursor: u64,
        /// The committed end.
        tail: u64,
    },
    /// The tail is behind the cursor or more than a ring ahead, or the cursor is not at a word.
    #[error(
        "the inbox tail {tail} cannot belong to cursor {cursor} in a ring of {bytes} bytes: a front-end wrote garbage; the next honest one to append mends it"
    )]
    Tail {
        /// The committed cursor of the zone.
        cursor: u64,
        /// The tail found.
        tail: u64,
        /// Bytes of the ring.
        bytes: u64,
    },
}

impl Inbox {
    /// The ring of a zone slot whose data area the directory names. `None` when that area is not one of this segment.
    pub fn new(memory: &impl Words, zone: usize, offset: u64, bytes: u64) -> Option<Self> {
        let sized = bytes.is_power_of_two() && (MIN_INBOX_BYTES..=MAX_INBOX_BYTES).contains(&bytes) && offset.is_multiple_of(8);
        let inside = (inbox::DATA as u64).checked_add(offset)?.checked_add(bytes)? <= memory.bytes() as u64;
        (sized && inside && zone < MAX_ZONES).then(|| Self {
            control: inbox::CONTROLS + zone * InboxControl::BYTES,
            data: inbox::DATA + offset as usize,
            bytes,
        })
    }

    /// Where it lies in its segment: its control block, which has the tail, then its data.
    pub fn ranges(&self) -> [std::ops::Range<usize>; 2] {
        [self.control..self.control + InboxControl::BYTES, self.data..self.data + self.bytes as usize]
    }

    /// Bytes of the ring.
    pub fn capacity(&self) -> u64 {
        self.bytes
    }

    /// The committed end.
    pub fn tail(&self, memory: &impl Words) -> u64 {
        // SYNC POINT: inbox-tail
        memory.load(self.control + InboxControl::TAIL_OFFSET, Ordering::Acquire)
    }

    /// Where a new match begins to read: at the tail, or at 0 when the tail is so far ahead that only garbage gets it there.
    pub fn opening(&self, memory: &impl Words) -> u64 {
        let tail = self.tail(memory) & !7;
        if tail < MAX_OPENING_CURSOR { tail } else { 0 }
    }

    /// Records that were refused because the ring was full.
    pub fn refused(&self, memory: &impl Words) -> u64 {
        memory.load(self.control + InboxControl::REFUSED_OFFSET, Ordering::Relaxed)
    }

    /// Repairs after a holder's death, and of a tail that no honest holder leaves.
    pub fn repairs(&self, memory: &impl Words) -> u64 {
        memory.load(self.control + InboxControl::REPAIRS_OFFSET, Ordering::Relaxed)
    }

    /// Who holds the lock just now, for whoever watches from outside.
    pub fn holder(&self, memory: &impl Words) -> Option<LockHolder> {
        RobustLock::at(self.control).holder(memory)
    }

    /// Appends a batch, as much as fits. `consumed` is the cursor of the zone's last committed root.
    pub fn append(&self, memory: &Memory, batch: &Batch, consumed: u64) -> Result<Appended, LockBroken> {
        let _guard = match RobustLock::at(self.control).try_lock(memory)? {
            Locked::Busy => return Ok(Appended::Busy),
            Locked::Clean(guard) => guard,
            Locked::OwnerDied(guard) => {
                // What lies beyond `tail` was never committed, and is overwritten by what follows.
                memory.fetch_add(self.control + InboxControl::REPAIRS_OFFSET, 1);
                guard
            }
        };
        Ok(self.append_locked(memory, batch, consumed))
    }

    /// Appends a batch. Only for the holder of the lock.
    pub fn append_locked(&self, memory: &impl Words, batch: &Batch, consumed: u64) -> Appended {
        // Another producer may have left any number there. Aligned it can be written at; one behind what the zone has consumed
        // is nobody's honest one, and one that is too far ahead counts as full until `mend` has looked at it.
        let start = self.tail(memory).max(consumed) & !7;
        let limit = consumed.saturating_add(self.bytes);
        let (mut tail, mut at, mut records) = (start, 0, 0);
        // Nearly always all of it fits before the end of the ring, and is one copy.
        let all = batch.words.len() as u64 * 8;
        if all <= self.room(start) && start.checked_add(all).is_some_and(|end| end <= limit) {
            memory.copy_in(self.place(start), &batch.words);
            (tail, at, records) = (start + all, batch.words.len(), batch.records);
            crate::kill_point!("inbox:record_copied");
        }
        while at < batch.words.len() {
            let words = record_words(batch.words[at]);
            let room = self.room(tail);
            let pad = if room < words as u64 * 8 { room } else { 0 };
            if tail.checked_add(pad + words as u64 * 8).is_none_or(|end| end > limit) {
                break;
            }
            if pad > 0 {
                memory.copy_in(self.place(tail), &[u64::from(RecordKind::Pad as u16) << 16]);
                tail += pad;
            }
            memory.copy_in(self.place(tail), &batch.words[at..at + words]);
            tail += words as u64 * 8;
            at += words;
            records += 1;
            crate::kill_point!("inbox:record_copied");
        }
        if tail != start {
            crate::kill_point!("inbox:copied");
            // SYNC POINT: inbox-tail
            memory.store(self.control + InboxControl::TAIL_OFFSET, tail, Ordering::Release);
            crate::kill_point!("inbox:tail_moved");
        }
        if records == batch.records {
            return Appended::All(tail);
        }
        let refused = (batch.records - records) as u64;
        memory.fetch_add(self.control + InboxControl::REFUSED_OFFSET, refused);
        Appended::Part { records, tail }
    }

    /// Moves a tail back that no honest producer leaves, more than a ring ahead of what the zone has consumed: without it the ring
    /// would be full for good. For a producer whose append took nothing. `consumed` is called under the lock, so that its answer
    /// is no older than what any earlier holder went by; `None` when the match is over. Returns whether there was anything to mend.
    ///
    /// The drain waits meanwhile: were it to follow such a tail, one store of a hostile process would use the cursors up. A tick
    /// that began before the tail was bent may be draining up to the old one, though, and would go on behind it: so mend only a tail
    /// that stood there while two roots were published.
    pub fn mend(&self, memory: &Memory, consumed: impl FnOnce() -> Option<u64>) -> Result<bool, LockBroken> {
        let _guard = match RobustLock::at(self.control).try_lock(memory)? {
            Locked::Busy => return Ok(false),
            Locked::Clean(guard) => guard,
            Locked::OwnerDied(guard) => {
                memory.fetch_add(self.control + InboxControl::REPAIRS_OFFSET, 1);
                guard
            }
        };
        let Some(consumed) = consumed() else { return Ok(false) };
        if self.tail(memory).saturating_sub(consumed) <= self.bytes {
            return Ok(false);
        }
        memory.fetch_add(self.control + InboxControl::REPAIRS_OFFSET, 1);
        // SYNC POINT: inbox-tail
        memory.store(self.control + InboxControl::TAIL_OFFSET, consumed & !7, Ordering::Release);
        Ok(true)
    }

    /// Where a cursor lies. The ring's bytes are a power of two.
    #[inline]
    fn place(&self, cursor: u64) -> usize {
        self.data + (cursor & (self.bytes - 1)) as usize
    }

    /// Bytes from a cursor to the end of the ring.
    #[inline]
    fn room(&self, cursor: u64) -> u64 {
        self.bytes - (cursor & (self.bytes - 1))
    }

    /// Copies the record at a cursor and moves the cursor past it; `false` at the tail. On a garbage record the cursor jumps
    /// to `tail`, so that the drain goes on with what is appended later; on a garbage tail it stays, and the next append mends that.
    pub fn next_into(&self, memory: &impl Words, cursor: &mut u64, tail: u64, record: &mut Record) -> Result<bool, InboxCorrupt> {
        // As the next producer takes it.
        let tail = tail & !7;
        let ahead = tail.checked_sub(*cursor).is_some_and(|ahead| ahead <= self.bytes);
        if !ahead || !cursor.is_multiple_of(8) {
            return Err(InboxCorrupt::Tail { cursor: *cursor, tail, bytes: self.bytes });
        }
        while *cursor < tail {
            let (place, room) = (self.place(*cursor), self.room(*cursor));
            let first = memory.load(place, Ordering::Relaxed);
            if (first >> 16) as u16 == RecordKind::Pad as u16 && first & 0xffff == 0 {
                *cursor = cursor.saturating_add(room).min(tail);
                continue;
            }
            let words = record_words(first);
            if words as u64 * 8 > room.min(tail - *cursor) || (first & 0xffff) as usize > MAX_RECORD_PAYLOAD {
                let error = InboxCorrupt::Length { cursor: *cursor, tail };
                *cursor = tail;
                return Err(error);
            }
            // The word that was checked is what counts: read again it could be another.
            let mut header = [first; HEADER_WORDS];
            memory.copy_out(place + 8, &mut header[1..]);
            record.header = zerocopy::transmute!(header);
            record.kind = RecordKind::from_u16(record.header.kind);
            memory.copy_out(place + HEADER_WORDS * 8, &mut record.words[..words - HEADER_WORDS]);
            *cursor += words as u64 * 8;
            return Ok(true);
        }
        Ok(false)
    }

    /// As [`Inbox::next_into`], in a record of its own.
    pub fn next(&self, memory: &impl Words, cursor: &mut u64, tail: u64) -> Result<Option<Record>, InboxCorrupt> {
        let mut record = Record::empty();
        Ok(self.next_into(memory, cursor, tail, &mut record)?.then_some(record))
    }
}
