//! The same ring under raw_sync's process-shared mutex: same records, same copying, same tail word, same drain. Only the lock is
//! another one, which does not survive its holder.

use std::sync::atomic::{AtomicU64, Ordering};

use raw_sync::locks::{LockImpl, LockInit, Mutex};
use ringfort_bench::shared::{Atomics, Shared, Unnamed};
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{InboxControl, RecordHeader, RecordKind, SegmentKind, inbox};
use ringfort_shm_state::memory::{Memory, Words};
use ringfort_shm_state::segment::SegmentSpec;
use zerocopy::IntoBytes;

use crate::RING_BYTES;
use crate::message::{Message, message};
use crate::pace::Pace;
use crate::ringfort::{drain, header};

/// Words of a record of one message.
const RECORD_WORDS: usize = (size_of::<RecordHeader>() + size_of::<Message>()) / 8;

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
        let mut words = Vec::new();
        pace.start_producing();
        for first in (0..count).step_by(per_batch as usize) {
            words.clear();
            (first..first + per_batch).for_each(|n| push(&mut words, &message(n)));
            let mut at = 0;
            while at < words.len() {
                let consumed = pace.consumed.0.load(Ordering::Acquire);
                at += self.append(memory, &words[at..], consumed).0;
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
        let mut words = Vec::new();
        push(&mut words, &message(0));
        let mut tail = self.inbox.tail(memory);
        super::alone::nanoseconds_each(appends, || {
            let (appended, end) = if locked { self.append(memory, &words, tail) } else { append_words(memory, &words, tail) };
            assert_eq!(appended, words.len(), "the record fits");
            tail = end;
        })
    }

    fn append(&self, memory: &Memory, words: &[u64], consumed: u64) -> (usize, u64) {
        let _guard = self.lock.lock().unwrap_or_else(|error| panic!("raw_sync's lock: {error}"));
        append_words(memory, words, consumed)
    }
}

/// As `Batch::push` lays a record out.
fn push(words: &mut Vec<u64>, message: &Message) {
    let header = RecordHeader { bytes: size_of::<Message>() as u16, ..header() };
    let chunks = header.as_bytes().chunks_exact(8);
    words.extend(chunks.map(|c| u64::from_ne_bytes(c.try_into().expect("chunks of eight"))));
    words.extend(message);
}

/// As `Inbox::append` does under its lock, for slot 0. Returns the words that fitted, and the tail.
fn append_words(memory: &Memory, words: &[u64], consumed: u64) -> (usize, u64) {
    let tail_word = inbox::CONTROLS + InboxControl::TAIL_OFFSET;
    let place = |cursor: u64| inbox::DATA + (cursor % RING_BYTES) as usize;
    let start = memory.load(tail_word, Ordering::Acquire) & !7;
    let limit = consumed.saturating_add(RING_BYTES);
    let (mut tail, mut at) = (start, 0);
    while at < words.len() {
        let room = RING_BYTES - tail % RING_BYTES;
        let pad = if room < RECORD_WORDS as u64 * 8 { room } else { 0 };
        if tail.checked_add(pad + RECORD_WORDS as u64 * 8).is_none_or(|end| end > limit) {
            break;
        }
        if pad > 0 {
            memory.copy_in(place(tail), &[u64::from(RecordKind::Pad as u16) << 16]);
            tail += pad;
        }
        memory.copy_in(place(tail), &words[at..at + RECORD_WORDS]);
        tail += RECORD_WORDS as u64 * 8;
        at += RECORD_WORDS;
    }
    if tail != start {
        memory.store(tail_word, tail, Ordering::Release);
    }
    (at, tail)
}
