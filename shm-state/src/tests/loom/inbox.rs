//! The inbox at the moment when its ring is full: producers that append over what was consumed, and the drain that consumes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;

use super::memory::{Broken, Modelled};
use super::{fails, holds};
use crate::inbox::{Appended, Batch, Inbox};
use crate::layout::{InboxControl, RecordHeader, RecordKind, inbox};
use crate::limits::MIN_INBOX_BYTES;
use crate::memory::Words;
use zerocopy::{FromZeros, IntoBytes};

const TAIL: usize = inbox::CONTROLS + InboxControl::TAIL_OFFSET;
/// A header and one word.
const RECORD_BYTES: u64 = size_of::<RecordHeader>() as u64 + 8;
const PAYLOAD: usize = inbox::DATA + size_of::<RecordHeader>();
/// Bytes of the ring.
const FULL: u64 = MIN_INBOX_BYTES;
const CHANGED: &str = "each record comes out as it went in, once and in order";

/// What is done wrong.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    /// The memory is.
    Memory(Broken),
    /// The drain commits its cursor before it has copied the record.
    CommitFirst,
    /// Producers take everything for consumed.
    NoLimit,
    /// `tail` moves before the record is copied.
    TailFirst,
    /// Producers do not lock.
    NoLock,
}

fn batch(value: u64) -> Batch {
    let mut batch = Batch::default();
    batch.push(RecordHeader { kind: RecordKind::Input as u16, ..RecordHeader::new_zeroed() }, value.as_bytes());
    batch
}

/// A full ring of which all but the first record, or everything, was drained.
struct Ring {
    memory: Modelled,
    ring: Inbox,
    consumed: AtomicU64,
    lock: loom::sync::Mutex<()>,
}

impl Ring {
    fn new(wrong: Wrong, consumed: u64) -> Arc<Self> {
        let broken = if let Wrong::Memory(broken) = wrong { broken } else { Broken::Nothing };
        let memory = Modelled::new(inbox::DATA + FULL as usize, &[TAIL, PAYLOAD], broken);
        let ring = Inbox::new(&memory, 0, 0, FULL).expect("the whole data area");
        assert_eq!(ring.append_locked(&memory, &batch(1), 0), Appended::All(RECORD_BYTES));
        // Of the others only their place matters.
        memory.store(TAIL, FULL, Ordering::Release);
        Arc::new(Self { memory, ring, consumed: AtomicU64::new(consumed), lock: loom::sync::Mutex::new(()) })
    }

    /// Appends one record as a front-end does; returns it if it fitted. One that dies has copied its record and moves no tail.
    fn produce(&self, wrong: Wrong, value: u64, dies: bool) -> Option<u64> {
        let consumed = if wrong == Wrong::NoLimit { FULL } else { self.consumed.load(Ordering::Acquire) };
        let _guard = (wrong != Wrong::NoLock).then(|| self.lock.lock().expect("no holder panics"));
        if dies || wrong == Wrong::TailFirst {
            if consumed < RECORD_BYTES || self.ring.tail(&self.memory) != FULL {
                return None;
            }
            if !dies {
                self.memory.store(TAIL, FULL + RECORD_BYTES, Ordering::Release);
            }
            self.memory.store(PAYLOAD, value, Ordering::Relaxed);
            return (!dies).then_some(value);
        }
        match self.ring.append_locked(&self.memory, &batch(value), consumed) {
            Appended::All(_) => Some(value),
            Appended::Part { records: 0, .. } => None,
            other => panic!("one record fits or does not: {other:?}"),
        }
    }

    /// Drains what is committed behind a cursor.
    fn drain(&self, cursor: &mut u64, drained: &mut Vec<u64>) {
        let tail = self.ring.tail(&self.memory);
        while let Some(record) = self.ring.next(&self.memory, cursor, tail).expect("records") {
            drained.push(u64::from_ne_bytes(record.payload().try_into().expect("a record of one word")));
        }
    }
}

/// The first record is drained while a producer waits for its place.
fn overwrite(wrong: Wrong) -> impl Fn() + Send + Sync {
    move || {
        let ring = Ring::new(wrong, 0);
        let producer = loom::thread::spawn({
            let ring = Arc::clone(&ring);
            move || ring.produce(wrong, 10, false)
        });
        if wrong == Wrong::CommitFirst {
            ring.consumed.store(RECORD_BYTES, Ordering::Release);
        }
        let (mut cursor, mut drained) = (0, Vec::new());
        let first = ring.ring.next(&ring.memory, &mut cursor, FULL).expect("a record").expect("before the tail");
        assert_eq!((first.payload(), cursor), (1u64.as_bytes(), RECORD_BYTES), "{CHANGED}");
        ring.consumed.store(cursor, Ordering::Release);
        let appended = producer.join().expect("the producer ends");
        ring.drain(&mut { FULL }, &mut drained);
        assert_eq!(drained, Vec::from_iter(appended), "{CHANGED}");
    }
}

/// There is room for one record; two producers, of whom the first may die before it has moved `tail`, and the drain.
fn commit(wrong: Wrong, dies: bool) -> impl Fn() + Send + Sync {
    move || {
        let ring = Ring::new(wrong, RECORD_BYTES);
        let producers = [(10, dies), (11, false)].map(|(value, dies)| {
            let ring = Arc::clone(&ring);
            loom::thread::spawn(move || ring.produce(wrong, value, dies))
        });
        let drain = loom::thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                let (mut cursor, mut drained) = (FULL, Vec::new());
                // The producers run now if they can, so that the tail is seen to move without anything else that orders the two.
                loom::thread::yield_now();
                ring.drain(&mut cursor, &mut drained);
                (cursor, drained)
            }
        });
        let appended: Vec<u64> = producers.into_iter().filter_map(|thread| thread.join().expect("the producer ends")).collect();
        let (mut cursor, mut drained) = drain.join().expect("the drain ends");
        ring.drain(&mut cursor, &mut drained);
        assert_eq!(drained, appended, "{CHANGED}");
        assert!(!dies || appended == [11], "what a dead holder left is overwritten");
    }
}

#[test]
fn a_producer_overwrites_only_what_was_consumed() {
    holds("inbox overwrite", overwrite(Wrong::Nothing));
    fails("cursor before the copy", CHANGED, overwrite(Wrong::CommitFirst));
    fails("no limit", CHANGED, overwrite(Wrong::NoLimit));
}

#[test]
fn the_drain_sees_whole_records_and_each_once() {
    holds("inbox commit", commit(Wrong::Nothing, false));
    holds("inbox commit behind a holder that died", commit(Wrong::Nothing, true));
    fails("tail by a relaxed store", CHANGED, commit(Wrong::Memory(Broken::Relaxed(TAIL)), false));
    fails("tail before the copy", CHANGED, commit(Wrong::TailFirst, false));
    fails("no lock", CHANGED, commit(Wrong::NoLock, false));
}
