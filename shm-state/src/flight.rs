//! The flight recorder: a ring of records that one process writes and anybody copies, without either waiting for the other.
//!
//! The writer clears a record's sequence, writes its words, and writes the sequence last; a reader looks at the sequence before it copies and
//! after. What is overwritten meanwhile is told as lost and never as something else.

use std::sync::atomic::Ordering;

use zerocopy::FromZeros;

use crate::layout::{FlightRecord, directory, flight as at, worker};
use crate::limits::FLIGHT_RECORDS;
use crate::memory::{Fence, Words};

/// Where a flight recorder's ring begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightRing {
    offset: usize,
}

/// What has become of a record that a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flown {
    /// Here it is.
    Record(FlightRecord),
    /// It was never written, or is not whole yet.
    NotYet,
    /// A newer one has taken its place.
    Overwritten,
}

impl FlightRing {
    /// That of a worker, in its own segment.
    pub const WORKER: Self = Self::at(worker::FLIGHT);
    /// The supervisor's, in the directory.
    pub const DIRECTORY: Self = Self::at(directory::FLIGHT);

    /// The ring at a byte offset.
    pub const fn at(offset: usize) -> Self {
        Self { offset }
    }

    fn record(self, number: u64) -> usize {
        self.offset + at::RECORDS + (number.wrapping_sub(1) % FLIGHT_RECORDS) as usize * size_of::<FlightRecord>()
    }

    /// Records written so far, by whoever has written here.
    pub fn written(self, memory: &impl Words) -> u64 {
        // SYNC POINT: flight-written
        memory.load(self.offset + at::WRITTEN, Ordering::Acquire)
    }

    /// Writes a record, over the oldest one. Only the segment's one writer may call it. The record's own sequence is not looked at.
    pub fn write(self, memory: &impl Words, record: &FlightRecord) {
        let number = memory.load(self.offset + at::WRITTEN, Ordering::Relaxed).wrapping_add(1);
        let to = self.record(number);
        memory.store(to, 0, Ordering::Relaxed);
        // SYNC POINT: flight-reuse. A reader that sees any of the words stored below also sees that the sequence was cleared.
        memory.fence(Fence::FlightReuse);
        memory.write(to, &FlightRecord { sequence: 0, ..*record });
        // SYNC POINT: flight-publish
        memory.store(to, number, Ordering::Release);
        // SYNC POINT: flight-written
        memory.store(self.offset + at::WRITTEN, number, Ordering::Release);
    }

    /// Copies the record with a number, which counts from 1.
    pub fn read(self, memory: &impl Words, number: u64) -> Flown {
        let from = self.record(number);
        // SYNC POINT: flight-publish
        let before = memory.load(from, Ordering::Acquire);
        if before != number {
            return self.missing(memory, number);
        }
        let record = memory.read::<FlightRecord>(from);
        // SYNC POINT: flight-reuse
        memory.fence(Fence::FlightCheck);
        if memory.load(from, Ordering::Relaxed) != number {
            return self.missing(memory, number);
        }
        Flown::Record(FlightRecord { sequence: number, ..record })
    }

    /// Why a record is not there: what is not counted yet may come, and whatever else is gone does not come back.
    fn missing(self, memory: &impl Words, number: u64) -> Flown {
        if number > self.written(memory) { Flown::NotYet } else { Flown::Overwritten }
    }

    /// The numbers that a reader may find who has read up to `seen`, oldest first, and how many it has missed.
    pub fn since(self, memory: &impl Words, seen: u64) -> (std::ops::RangeInclusive<u64>, u64) {
        let written = self.written(memory);
        if written < seen {
            // Another run's ring: all of it is new.
            return self.since(memory, 0);
        }
        // A damaged count may be the highest number there is.
        let first = written.saturating_sub(FLIGHT_RECORDS).max(seen).saturating_add(u64::from(written > 0));
        (first..=written, first.saturating_sub(seen.saturating_add(1)))
    }
}

/// A record of nothing, for whoever fills in the rest.
pub fn blank() -> FlightRecord {
    FlightRecord::new_zeroed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::FlightKind;
    use crate::memory::Memory;

    fn note(memory: &Memory, a: u64) {
        FlightRing::at(0).write(memory, &FlightRecord { kind: FlightKind::Join as u32, a, ..blank() });
    }

    fn texts(memory: &Memory, seen: u64) -> (Vec<u64>, u64) {
        let (numbers, lost) = FlightRing::at(0).since(memory, seen);
        let read = |number| match FlightRing::at(0).read(memory, number) {
            Flown::Record(record) => record.a,
            other => panic!("{number}: {other:?}"),
        };
        (numbers.map(read).collect(), lost)
    }

    #[test]
    fn records_come_out_as_they_went_in_and_what_was_overwritten_is_counted() {
        let memory = Memory::heap(at::BYTES);
        assert_eq!(texts(&memory, 0).1, 0);
        (1..=3).for_each(|a| note(&memory, a));
        assert_eq!(texts(&memory, 0), (vec![1, 2, 3], 0));
        assert_eq!(texts(&memory, 2), (vec![3], 0));
        assert_eq!(texts(&memory, 3), (vec![], 0));
        (4..=FLIGHT_RECORDS + 10).for_each(|a| note(&memory, a));
        let (found, lost) = texts(&memory, 3);
        assert_eq!((found.len() as u64, found[0], lost), (FLIGHT_RECORDS, 11, 7));
        assert_eq!(FlightRing::at(0).read(&memory, 3), Flown::Overwritten);
        assert_eq!(FlightRing::at(0).read(&memory, FLIGHT_RECORDS + 11), Flown::NotYet);
    }

    #[test]
    fn a_record_whose_writer_was_killed_over_it_is_no_record() {
        let memory = Memory::heap(at::BYTES);
        (1..=2).for_each(|a| note(&memory, a));
        // The third has cleared its sequence, which was 0, and half of its words are there.
        memory.store(at::RECORDS + 2 * size_of::<FlightRecord>() + 8, 77, Ordering::Relaxed);
        assert_eq!(FlightRing::at(0).read(&memory, 3), Flown::NotYet);
        note(&memory, 3);
        assert_eq!(texts(&memory, 0), (vec![1, 2, 3], 0));
    }

    #[test]
    fn a_ring_of_garbage_is_read_to_its_end() {
        let memory = Memory::heap(at::BYTES);
        for word in (0..at::BYTES).step_by(8) {
            memory.store(word, u64::MAX - 3, Ordering::Relaxed);
        }
        let (numbers, _) = FlightRing::at(0).since(&memory, 0);
        assert!(numbers.end() - numbers.start() < FLIGHT_RECORDS);
        for number in numbers {
            let _ = FlightRing::at(0).read(&memory, number);
        }
        memory.store(at::WRITTEN, u64::MAX, Ordering::Relaxed);
        let (numbers, _) = FlightRing::at(0).since(&memory, u64::MAX);
        assert!(numbers.count() <= 1, "whoever has read up to the highest number reads no lap more");
        note(&memory, 1);
        assert_eq!(FlightRing::at(0).written(&memory), 0, "it wraps, and goes on");
    }
}
