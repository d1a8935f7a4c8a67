//! Ringfort's inbox: records appended under the robust lock, drained without one.

use std::sync::atomic::Ordering;

use ringfort_bench::shared::{Unnamed, now_ns};
use ringfort_shm_state::inbox::{Appended, Batch, Inbox, Record};
use ringfort_shm_state::layout::{RecordHeader, RecordKind, SegmentKind};
use ringfort_shm_state::segment::SegmentSpec;
use zerocopy::IntoBytes;

use crate::RING_BYTES;
use crate::message::{Expected, message};
use crate::pace::{Pace, pause};

/// An inbox in a segment of its own.
pub struct Ring {
    segment: Unnamed,
    inbox: Inbox,
}

/// The header of each record.
pub fn header() -> RecordHeader {
    RecordHeader { bytes: 0, kind: RecordKind::Input as u16, attachment: 1, session: 1, sequence: 1, incarnation: 1 }
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Self {
        let segment = Unnamed::create(SegmentSpec::inbox(SegmentKind::InboxNet, RING_BYTES));
        let inbox = Inbox::new(segment.memory(), 0, 0, RING_BYTES).expect("a place in the segment");
        Self { segment, inbox }
    }

    /// Appends messages in batches, as a front-end does that tries again at its next loop.
    pub fn produce(&self, pace: &Pace, count: u64, per_batch: u64) {
        let memory = self.segment.memory();
        let mut batch = Batch::default();
        pace.start_producing();
        for first in (0..count).step_by(per_batch as usize) {
            (first..first + per_batch).for_each(|n| batch.push(header(), message(n).as_bytes()));
            while !batch.is_empty() {
                let consumed = pace.consumed.0.load(Ordering::Acquire);
                match self.inbox.append(memory, &batch, consumed).expect("the lock works") {
                    Appended::All(_) => batch.consume(batch.len()),
                    Appended::Part { records, .. } => batch.consume(records),
                    Appended::Busy => std::hint::spin_loop(),
                }
            }
        }
    }

    /// Drains the ring until all messages are there.
    pub fn consume(&self, pace: &Pace, count: u64) {
        pace.wait_for_producer();
        pace.start_consuming();
        drain(&self.segment, &self.inbox, pace, count);
    }

    /// Nanoseconds of an append of one record into a ring that was drained, by this process alone.
    pub fn append_alone(&self, appends: u64) -> f64 {
        let memory = self.segment.memory();
        let mut batch = Batch::default();
        batch.push(header(), message(0).as_bytes());
        let mut tail = self.inbox.tail(memory);
        super::alone::nanoseconds_each(appends, || match self.inbox.append(memory, &batch, tail) {
            Ok(Appended::All(end)) => tail = end,
            other => panic!("the record fits and nobody else holds the lock: {other:?}"),
        })
    }

    /// Nanoseconds a message of each side by itself, this process being both in turn: making and appending batches, and draining.
    pub fn sides_alone(&self, messages: u64, per_batch: u64) -> (f64, f64) {
        let memory = self.segment.memory();
        let mut batch = Batch::default();
        let (mut cursor, mut number) = (self.inbox.tail(memory), 0);
        let (mut producing, mut consuming) = (0, 0);
        let mut expected = Expected::default();
        while number < messages {
            let started = now_ns();
            // Half a ring at a time, as much as leaves room for the header and the end of the ring.
            for _ in 0..RING_BYTES / 2 / 88 / per_batch {
                (0..per_batch).for_each(|_| {
                    batch.push(header(), message(number).as_bytes());
                    number += 1;
                });
                let appended = self.inbox.append(memory, &batch, cursor).expect("the lock works");
                assert!(matches!(appended, Appended::All(_)), "the ring has room");
                batch.consume(batch.len());
            }
            let filled = now_ns();
            drain_once(&self.segment, &self.inbox, &mut cursor, &mut expected);
            producing += filled - started;
            consuming += now_ns() - filled;
        }
        assert_eq!(expected.count(), number, "all arrived");
        (producing as f64 / number as f64, consuming as f64 / number as f64)
    }
}

/// The consumer of our ring, whoever filled it. Its cursor is published after each drain.
pub fn drain(segment: &Unnamed, inbox: &Inbox, pace: &Pace, count: u64) {
    let mut expected = Expected::default();
    let mut cursor = 0;
    while expected.count() < count {
        if drain_once(segment, inbox, &mut cursor, &mut expected) {
            pace.consumed.0.store(cursor, Ordering::Release);
        } else {
            pause();
        }
    }
    pace.end();
}

/// Takes what is there. `false` when that is nothing.
fn drain_once(segment: &Unnamed, inbox: &Inbox, cursor: &mut u64, expected: &mut Expected) -> bool {
    let memory = segment.memory();
    let tail = inbox.tail(memory);
    if tail == *cursor {
        return false;
    }
    let mut record = Record::empty();
    while inbox.next_into(memory, cursor, tail, &mut record).expect("whole records") {
        assert_eq!((record.kind, record.payload().len()), (Some(RecordKind::Input), 64), "the record that was appended");
        let word = |at: usize| u64::from_ne_bytes(record.payload()[at..at + 8].try_into().expect("eight bytes"));
        expected.take(word(0), word(56));
    }
    true
}
