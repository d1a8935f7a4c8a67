//! A ring that other producers write, at the drain and at the next honest producer.

use std::sync::atomic::Ordering;

use zerocopy::FromZeros;

use super::{Region, Source, digest};
use crate::inbox::{Appended, Batch, Inbox, InboxCorrupt};
use crate::layout::{InboxControl, RecordHeader, RecordKind, inbox as at};
use crate::limits::{MAX_RECORD_PAYLOAD, MIN_INBOX_BYTES};
use crate::lock::RobustLock;
use crate::memory::{Memory, Words};

const BYTES: u64 = MIN_INBOX_BYTES;
/// The zone slot whose ring is bent; its data area has a neighbour on either side.
const ZONE: usize = 1;

/// Appends, drains and bends in any order, and at the end expects the ring to serve honest processes again.
pub fn inbox(data: &[u8]) {
    let mut source = Source(data);
    let memory = Memory::heap(at::DATA + 3 * BYTES as usize);
    let control = at::CONTROLS + ZONE * InboxControl::BYTES;
    RobustLock::at(control).initialise(&memory).expect("a mutex");
    let ring = Inbox::new(&memory, ZONE, BYTES, BYTES).expect("an area of the segment");
    let data_area = (at::DATA + BYTES as usize, BYTES as usize / 8);
    let words = (control + InboxControl::OPERATION_OFFSET, (InboxControl::BYTES - InboxControl::OPERATION_OFFSET) / 8);
    let tail_word = (control + InboxControl::TAIL_OFFSET, 1);
    let others = [
        (at::CONTROLS, control / 8 - at::CONTROLS / 8),
        (at::DATA, BYTES as usize / 8),
        (at::DATA + 2 * BYTES as usize, BYTES as usize / 8),
    ];
    let before = others.map(|region| digest(&memory, region));

    // What the zone's last root says: honest, and sometimes not.
    memory.store(tail_word.0, source.number(0), Ordering::Relaxed);
    let mut committed = ring.opening(&memory);
    while !source.is_empty() {
        match source.byte() % 8 {
            0 | 1 => append(&memory, ring, &mut source, committed),
            2 => committed = drain(&memory, ring, committed, ring.tail(&memory)),
            3 => hostile_root(&memory, ring, &mut source),
            4 => source.bend(&memory, &[tail_word]),
            5 => near_the_records(&memory, ring, &mut source, committed),
            6 if source.byte() < 8 => source.flood(&memory, data_area),
            _ => source.bend(&memory, &[data_area, words, tail_word]),
        }
    }
    serves_again(&memory, ring, committed);
    assert_eq!(others.map(|region| digest(&memory, region)), before, "the neighbours are as they were");
}

fn batch(source: &mut Source<'_>) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..source.byte() % 8 {
        let bytes = source.below(MAX_RECORD_PAYLOAD + 1);
        batch.push(RecordHeader { kind: RecordKind::Input as u16, ..RecordHeader::new_zeroed() }, &vec![0xab; bytes]);
    }
    batch
}

/// An honest producer, with a cursor that may be another than the committed one if the root lies.
fn append(memory: &Memory, ring: Inbox, source: &mut Source<'_>, committed: u64) {
    let consumed = if source.byte() < 16 { source.number(committed) } else { committed };
    let mut batch = batch(source);
    match ring.append(memory, &batch, consumed).expect("a sound lock") {
        Appended::All(_) => batch.consume(batch.len()),
        Appended::Part { records, .. } => batch.consume(records),
        Appended::Busy => panic!("nobody else has the lock"),
    }
}

/// The drain of one tick; returns the cursor behind what was read.
fn drain(memory: &Memory, ring: Inbox, mut cursor: u64, tail: u64) -> u64 {
    // A ring holds so many records of the smallest size, then perhaps garbage, then the tail.
    for _ in 0..ring.capacity() / size_of::<RecordHeader>() as u64 + 3 {
        let before = cursor;
        match ring.next(memory, &mut cursor, tail) {
            Ok(Some(record)) => {
                assert!(record.payload().len() <= MAX_RECORD_PAYLOAD);
                assert!(cursor > before && cursor <= tail && cursor - before <= ring.capacity());
            }
            Ok(None) => {
                assert_eq!(cursor, tail & !7);
                return cursor;
            }
            Err(InboxCorrupt::Length { .. }) => assert_eq!(cursor, tail & !7),
            Err(InboxCorrupt::Tail { .. }) => return cursor,
        }
    }
    panic!("the drain of {before} to {tail} does not end", before = cursor);
}

/// A drain whose cursor comes from a root that lies.
fn hostile_root(memory: &Memory, ring: Inbox, source: &mut Source<'_>) {
    let cursor = source.number(ring.tail(memory));
    let tail = source.number(cursor);
    drain(memory, ring, cursor, tail);
}

/// Bends a word where the drain reads next, and moves the tail so that it does.
fn near_the_records(memory: &Memory, ring: Inbox, source: &mut Source<'_>, committed: u64) {
    let place = at::DATA + BYTES as usize + (committed % ring.capacity()) as usize;
    let words = (at::DATA + 2 * BYTES as usize - place) / 8;
    let records: Region = (place, words.min(16));
    for _ in 0..source.byte() % 4 {
        source.bend(memory, &[records]);
    }
    let tail = committed.wrapping_add(source.below(BYTES as usize + 16) as u64 & !7);
    memory.store(at::CONTROLS + ZONE * InboxControl::BYTES + InboxControl::TAIL_OFFSET, tail, Ordering::Relaxed);
}

/// Whatever was left, an honest producer and the drain get a record through within a few rounds.
fn serves_again(memory: &Memory, ring: Inbox, mut committed: u64) {
    let mut batch = Batch::default();
    batch.push(RecordHeader { kind: RecordKind::Leave as u16, session: 77, ..RecordHeader::new_zeroed() }, &[1, 2, 3]);
    for _ in 0..4 {
        let appended = ring.append(memory, &batch, committed).expect("a sound lock");
        let tail = ring.tail(memory);
        let mut cursor = committed;
        while let Ok(Some(record)) = ring.next(memory, &mut cursor, tail) {
            if record.header.session == 77 && record.payload() == [1, 2, 3] && appended == Appended::All(cursor) {
                return;
            }
        }
        ring.mend(memory, || Some(cursor)).expect("a sound lock");
        committed = cursor;
    }
    panic!("the ring is dead: tail {}, committed {committed}", ring.tail(memory));
}
