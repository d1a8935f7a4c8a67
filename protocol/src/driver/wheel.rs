//! Timers: a hashed wheel with slots of one millisecond.
//!
//! An entry is never taken out: a connection remembers the millisecond it stands in (`armed`), and an entry that doesn't
//! match is skipped when its slot comes up. A deadline that moves back, as almost all do, costs nothing until then.
//!
//! Slots are lists in one pool: memory is that of the most entries there ever were at one time, wherever they stood, and not that of
//! every slot at its fullest.

use crate::limits::WHEEL_SLOTS;
use std::time::{Duration, Instant};

const WORD_BITS: usize = 64;

pub(super) struct Wheel {
    base: Instant,
    /// The newest entry of each slot.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    /// The first of the entries that are free.
    free: u32,
    /// A bit per slot that has entries.
    occupied: Vec<u64>,
    /// The millisecond after `base` whose slot is looked at next; never 0, which means unarmed.
    position: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    index: u32,
    /// The next in its slot, or the next that is free.
    next: u32,
}

/// In place of an entry: none.
const NONE: u32 = u32::MAX;

impl Wheel {
    pub(super) fn new(now: Instant) -> Wheel {
        Wheel {
            base: now,
            slots: vec![NONE; WHEEL_SLOTS],
            entries: Vec::new(),
            free: NONE,
            occupied: vec![0; WHEEL_SLOTS / WORD_BITS],
            position: 1,
        }
    }

    /// Sees to it that the timer of `index` comes up at `deadline` at the latest. One beyond the wheel's turn comes up early
    /// and is armed again.
    pub(super) fn arm(&mut self, index: u32, armed: &mut u64, deadline: Instant) {
        let since = deadline.saturating_duration_since(self.base);
        // Rounded up to the nanosecond: a slot before its deadline would be found, and armed again, for ever.
        let millisecond = since.as_nanos().div_ceil(1_000_000) as u64;
        let last = self.position + WHEEL_SLOTS as u64 - 1;
        let at = millisecond.clamp(self.position, last);
        if *armed != 0 && *armed <= at {
            return;
        }
        *armed = at;
        let slot = at as usize % WHEEL_SLOTS;
        self.push(slot, index);
        self.occupied[slot / WORD_BITS] |= 1 << (slot % WORD_BITS);
    }

    /// The next entry of a slot that has come up, and the millisecond up to which timers are due.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(u64, u32)> {
        let current = now.saturating_duration_since(self.base).as_millis() as u64;
        while self.position <= current {
            let slot = self.position as usize % WHEEL_SLOTS;
            if let Some(index) = self.pop(slot) {
                return Some((current, index));
            }
            self.occupied[slot / WORD_BITS] &= !(1 << (slot % WORD_BITS));
            // Empty stretches are skipped; after a long pause one turn is enough, all that is armed lies within it.
            self.position = match self.next_position(self.position + 1) {
                Some(next) => next.min(current + 1),
                None => current + 1,
            };
        }
        None
    }

    fn push(&mut self, slot: usize, index: u32) {
        let entry = Entry { index, next: self.slots[slot] };
        self.slots[slot] = match self.free {
            NONE => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
            place => {
                self.free = std::mem::replace(&mut self.entries[place as usize], entry).next;
                place
            }
        };
    }

    /// The entry that came last.
    fn pop(&mut self, slot: usize) -> Option<u32> {
        let place = self.slots[slot];
        if place == NONE {
            return None;
        }
        let Entry { index, next } = self.entries[place as usize];
        self.slots[slot] = next;
        self.entries[place as usize].next = self.free;
        self.free = place;
        Some(index)
    }

    /// The earliest instant at which a timer may be due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next_position(self.position).map(|at| self.base + Duration::from_millis(at))
    }

    /// The first millisecond from `from` on whose slot has entries.
    fn next_position(&self, from: u64) -> Option<u64> {
        let start = from as usize % WHEEL_SLOTS;
        let words = WHEEL_SLOTS / WORD_BITS;
        for step in 0..=words {
            let word = (start / WORD_BITS + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % WORD_BITS);
            }
            if bits != 0 {
                let slot = word * WORD_BITS + bits.trailing_zeros() as usize;
                return Some(from + ((slot + WHEEL_SLOTS - start) % WHEEL_SLOTS) as u64);
            }
        }
        None
    }
}

const _: () = assert!(WHEEL_SLOTS.is_multiple_of(WORD_BITS));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_come_up_leave_their_room_to_those_in_other_slots() {
        let base = Instant::now();
        let mut wheel = Wheel::new(base);
        for round in 0..2 * WHEEL_SLOTS as u64 {
            let now = base + Duration::from_millis(round);
            for index in 0..100 {
                wheel.arm(index, &mut 0, now + Duration::from_millis(1 + u64::from(index % 2)));
            }
            let mut due: Vec<u32> =
                std::iter::from_fn(|| wheel.next_due(now + Duration::from_millis(2))).map(|due| due.1).collect();
            due.sort_unstable();
            assert_eq!(due, (0..100).collect::<Vec<_>>(), "round {round}");
        }
        assert_eq!((wheel.entries.len(), wheel.next()), (100, None));
    }

    /// A deadline a few hundred nanoseconds into a millisecond was once put into the slot before it: looked at between the
    /// two, its timer was found and armed again without end.
    #[test]
    fn no_timer_comes_up_before_its_deadline() {
        let base = Instant::now();
        for nanos in [1, 499, 500, 999, 1_000, 999_999, 1_000_000] {
            let deadline = base + Duration::from_millis(5) + Duration::from_nanos(nanos);
            let mut wheel = Wheel::new(base);
            let mut armed = 0;
            wheel.arm(7, &mut armed, deadline);
            assert_eq!(wheel.next_due(deadline - Duration::from_nanos(1)), None, "{nanos} ns");
            assert_eq!(wheel.next_due(deadline + Duration::from_millis(1)).map(|due| due.1), Some(7));
        }
    }
}
