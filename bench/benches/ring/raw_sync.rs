//! The same ring under raw_sync's process-shared mutex: the very code of `Inbox` but for the lock, which here does not survive its
//! holder.

use std::sync::atomic::{AtomicU64, Ordering};

use raw_sync::locks::{LockImpl, LockInit, Mutex};
use ringfort_bench::shared::{Atomics, Shared, Unnamed};
use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::memory::Memory;
use ringfort_shm_state::segment::SegmentSpec;
use zerocopy::IntoBytes;

use crate::RING_BYTES;
use crate::message::message;
use crate::pace::Pace;
use crate::ringfort::{drain, header};

/// Room for the mutex, in cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct MutexPlace([AtomicU64; 8]);

// SAFETY: made of atomics alone.
unsafe impl Atomics for MutexPlace {}

const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= size_of::<MutexPlace>());

/// The ring and raw_sync's mutex.
pub struct Ring {
    segment: Unnamed,
    inbox: Inbox,
    lock: Box<dyn LockImpl>,
    _place: Shared<MutexPlace>,
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Self {
        let segment = Unnamed::create(SegmentSpec::inbox(SegmentKind::InboxNet, RING_BYTES));
        let inbox = Inbox::new(segment.memory(), 0, 0, RING_BYTES).expect("a place in the segment");
        let place = Shared::<MutexPlace>::zeroed();
        let at = place.0.as_ptr().cast_mut().cast::<u8>();
        // SAFETY: `at` is 64 aligned bytes of atomics, which hold a pthread_mutex_t (asserted above), are used for nothing else, and
        // stay mapped as long as the lock, which `Ring` drops first.
        let (lock, _) = unsafe { Mutex::new(at, at) }.unwrap_or_else(|error| panic!("raw_sync makes a mutex: {error}"));
        Self { segment, inbox, lock, _place: place }
    }

    /// Appends messages in batches under raw_sync's lock.
    pub fn produce(&self, pace: &Pace, count: u64, per_batch: u64) {
        let memory = self.segment.memory();
        let mut batch = Batch::default();
        pace.start_producing();
        for first in (0..count).step_by(per_batch as usize) {
            (first..first + per_batch).for_each(|n| batch.push(header(), message(n).as_bytes()));
            while !batch.is_empty() {
                let consumed = pace.consumed.0.load(Ordering::Acquire);
                match self.append(memory, &batch, consumed) {
                    Appended::Part { records, .. } => batch.consume(records),
                    Appended::All(_) => batch.consume(batch.len()),
                    Appended::Busy => unreachable!("the lock is held"),
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

    /// Nanoseconds of an append of one record into a ring that was drained, by this process alone, with or without the lock.
    pub fn append_alone(&self, appends: u64, locked: bool) -> f64 {
        let memory = self.segment.memory();
        let mut batch = Batch::default();
        batch.push(header(), message(0).as_bytes());
        let mut tail = self.inbox.tail(memory);
        super::alone::nanoseconds_each(appends, || {
            let appended =
                if locked { self.append(memory, &batch, tail) } else { self.inbox.append_locked(memory, &batch, tail) };
            let Appended::All(end) = appended else { panic!("the record fits: {appended:?}") };
            tail = end;
        })
    }

    fn append(&self, memory: &Memory, batch: &Batch, consumed: u64) -> Appended {
        let _guard = self.lock.lock().unwrap_or_else(|error| panic!("raw_sync's lock: {error}"));
        self.inbox.append_locked(memory, batch, consumed)
    }
}
