//! What the snapshots under way said, until the client's acknowledgements settle them.
//!
//! A client applies snapshots in the order of their ticks, so an acknowledgement of tick `t` settles every snapshot up to `t`: those
//! that it names were applied, and the others never will be. What is remembered is therefore what is in flight, and no more.

use std::collections::VecDeque;

use crate::AckBits;
use crate::limits::{SENT_RECORDS, SENT_RECORDS_KEPT, SENT_WINDOW};

/// In place of an entity's index: the globals.
pub(super) const GLOBALS: u32 = u32::MAX;

/// The records of the snapshots under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct SentLog {
    tick: u32,
    snapshots: VecDeque<SentSnapshot>,
    records: VecDeque<SentRecord>,
}

#[derive(Clone, Copy, Debug)]
struct SentSnapshot {
    tick: u32,
    records: u32,
    /// It had more records than are remembered: its acknowledgement has no effect.
    overflown: bool,
}

/// One record of a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentRecord {
    pub(super) index: u32,
    pub(super) visible: u32,
}

impl SentLog {
    /// The newest tick of which something was sent.
    pub(super) fn tick(&self) -> u32 {
        self.tick
    }

    /// Begins the snapshot of a tick; beyond the window the oldest is forgotten.
    pub(super) fn begin(&mut self, tick: u32) {
        debug_assert!(tick > self.tick, "snapshots are sent in the order of their ticks");
        self.tick = tick;
        if self.snapshots.len() == SENT_WINDOW {
            self.forget_oldest();
        }
        self.snapshots.push_back(SentSnapshot { tick, records: 0, overflown: false });
    }

    /// Adds a record to the snapshot begun last.
    #[inline]
    pub(super) fn push(&mut self, index: u32, visible: u32) {
        while self.records.len() >= SENT_RECORDS && self.snapshots.len() > 1 {
            self.forget_oldest();
        }
        let Some(snapshot) = self.snapshots.back_mut() else { return };
        if self.records.len() >= SENT_RECORDS {
            snapshot.overflown = true;
            return;
        }
        snapshot.records += 1;
        self.records.push_back(SentRecord { index, visible });
    }

    /// Takes out the snapshots that an acknowledgement settles; `applied` gets the tick and the records of each that the client has.
    pub(super) fn settle(&mut self, acks: AckBits, mut applied: impl FnMut(u32, &SentRecord)) {
        while let Some(SentSnapshot { tick, records, overflown }) = self.snapshots.front().copied() {
            if tick > acks.highest {
                break;
            }
            if acks.contains(tick) && !overflown {
                self.records.iter().take(records as usize).for_each(|record| applied(tick, record));
            }
            self.forget_oldest();
        }
        // After a time in which nothing was acknowledged the ring is long; it is not to stay so for ever.
        if self.records.capacity() > SENT_RECORDS_KEPT && self.records.len() < SENT_RECORDS_KEPT / 2 {
            self.records.shrink_to(SENT_RECORDS_KEPT);
        }
    }

    /// Bytes of memory that it has taken.
    pub(super) fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<SentRecord>() + self.snapshots.capacity() * size_of::<SentSnapshot>()
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.snapshots.pop_front() {
            self.records.drain(..oldest.records as usize);
        }
    }
}
