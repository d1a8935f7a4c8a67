//! The inbox: a ring that serves several producers at once, and survives any bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use ringfort_shm_state::inbox::{Appended, Batch, Inbox, InboxCorrupt, MAX_RECORD_BYTES};
use ringfort_shm_state::layout::{InboxControl, RecordHeader, RecordKind, SegmentKind, inbox};
use ringfort_shm_state::limits::{MAX_RECORD_PAYLOAD, MAX_ZONES, MIN_INBOX_BYTES};
use ringfort_shm_state::memory::{Memory, Words};
use ringfort_shm_state::segment::{Segment, SegmentSpec};
use zerocopy::FromZeros;

use super::Instance;

const BYTES: u64 = MIN_INBOX_BYTES;
const HEADER: u64 = size_of::<RecordHeader>() as u64;

fn with_ring<R>(check: impl FnOnce(&Memory, Inbox) -> R) -> R {
    let instance = Instance::new();
    let spec = SegmentSpec::inbox(SegmentKind::InboxNet, 2 * BYTES);
    let segment = Segment::create(&instance.0, spec).expect("room in /dev/shm");
    let ring = Inbox::new(segment.memory(), 1, BYTES, BYTES).expect("an area of the segment");
    check(segment.memory(), ring)
}

fn set_tail(memory: &Memory, tail: u64) {
    let at = inbox::CONTROLS + InboxControl::BYTES + InboxControl::TAIL_OFFSET;
    memory.atomic(at).store(tail, Ordering::Release);
}

fn header(sequence: u32) -> RecordHeader {
    RecordHeader { kind: RecordKind::Input as u16, sequence, session: 7, ..RecordHeader::new_zeroed() }
}

fn payload(sequence: u32, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (sequence as u8).wrapping_add(i as u8)).collect()
}

fn record_bytes(payload: usize) -> u64 {
    HEADER + payload.next_multiple_of(8) as u64
}

/// Appends records with these payload sizes, for which there is room.
fn append(memory: &Memory, ring: Inbox, sizes: &[usize], next: u32, consumed: u64) {
    let mut batch = Batch::default();
    (next..).zip(sizes).for_each(|(sequence, size)| batch.push(header(sequence), &payload(sequence, *size)));
    let end = ring.tail(memory) + sizes.iter().map(|size| record_bytes(*size)).sum::<u64>();
    assert_eq!(ring.append(memory, &batch, consumed), Ok(Appended::All(end)));
}

fn drain(memory: &Memory, ring: Inbox, cursor: &mut u64, model: &mut VecDeque<(u32, usize)>, most: usize) {
    let tail = ring.tail(memory);
    for _ in 0..most {
        let record = ring.next(memory, cursor, tail).expect("a sound ring");
        let expected = model.pop_front();
        assert_eq!(record.is_some(), expected.is_some());
        let (Some(record), Some((sequence, size))) = (record, expected) else { return };
        assert_eq!((record.kind, record.header.sequence, record.header.session), (Some(RecordKind::Input), sequence, 7));
        assert_eq!(record.payload(), payload(sequence, size));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_end_in_an_error_or_a_record(
        seed in any::<u64>(), sizes in prop::collection::vec(0..0x60u64, 1..50), cursor in 0..u64::MAX / 16, ahead in -40_000..40_000i64, odd in 0..8u64, wild in any::<u64>(),
    ) {
        with_ring(|memory, ring| {
            // Words that look like record headers more often than chance would have it.
            let mut word = seed;
            for i in 0..BYTES as usize / 8 {
                word = word.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let like_a_header = sizes[i % sizes.len()] | (word >> 61) << 16;
                let value = if word >> 60 & 1 == 0 { like_a_header } else { word };
                memory.copy_in(inbox::DATA + BYTES as usize + i * 8, &[value]);
            }
            for tail in [(cursor * 8).wrapping_add_signed(ahead & !7), (cursor * 8).wrapping_add_signed(ahead) | odd, wild, u64::MAX, 0] {
                let mut at = cursor * 8;
                for n in 0.. {
                    assert!(n <= BYTES / HEADER + 4, "a drain ends");
                    let before = at;
                    let result = ring.next(memory, &mut at, tail);
                    assert!(at >= before && at.is_multiple_of(8));
                    match result {
                        Ok(Some(record)) => assert!(record.payload().len() <= MAX_RECORD_PAYLOAD && at <= tail),
                        Ok(None) => break,
                        Err(InboxCorrupt::Length { .. }) => assert_eq!(at, tail & !7),
                        Err(InboxCorrupt::Tail { .. }) => break,
                    }
                }
                // A producer that meets such a tail neither panics nor leaves the ring's area.
                set_tail(memory, tail);
                let mut batch = Batch::default();
                batch.push(header(1), &[0; 100]);
                for consumed in [cursor * 8, at, tail, u64::MAX] {
                    ring.append(memory, &batch, consumed).expect("a sound lock");
                }
                assert_eq!(memory.load(inbox::DATA + BYTES as usize - 8, Ordering::Relaxed), 0);
            }
        });
    }
}

#[test]
fn the_drain_goes_on_behind_garbage() {
    with_ring(|memory, ring| {
        append(memory, ring, &[10, 20], 1, 0);
        memory.copy_in(inbox::DATA + BYTES as usize, &[u64::MAX]);
        let (mut cursor, tail) = (0, ring.tail(memory));
        assert_eq!(ring.next(memory, &mut cursor, tail).err(), Some(InboxCorrupt::Length { cursor: 0, tail }));
        append(memory, ring, &[30], 3, cursor);
        drain(memory, ring, &mut cursor, &mut VecDeque::from([(3, 30)]), 2);
        // An unaligned tail that another producer left is aligned by the next.
        set_tail(memory, ring.tail(memory) + 3);
        assert!(ring.next(memory, &mut cursor, ring.tail(memory)).expect("a tail cut to a word").is_none());
        append_after_garbage(memory, ring, cursor);
    });
}

fn append_after_garbage(memory: &Memory, ring: Inbox, cursor: u64) {
    let mut batch = Batch::default();
    batch.push(header(9), &payload(9, 5));
    assert_eq!(ring.append(memory, &batch, cursor), Ok(Appended::All(cursor + record_bytes(5))));
    let mut at = cursor;
    drain(memory, ring, &mut at, &mut VecDeque::from([(9, 5)]), 2);
}

#[test]
fn several_producers_lose_and_reorder_nothing() {
    const PRODUCERS: u32 = 3;
    const RECORDS: u32 = 1_500;
    with_ring(|memory, ring| {
        let committed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                let committed = &committed;
                scope.spawn(move || produce(memory, ring, producer, RECORDS, committed));
            }
            let (mut next, mut cursor) = ([0u32; PRODUCERS as usize], 0);
            while next.iter().any(|n| *n < RECORDS) {
                let tail = ring.tail(memory);
                while let Some(record) = ring.next(memory, &mut cursor, tail).expect("a sound ring") {
                    let (producer, sequence) = (record.header.attachment, record.header.sequence);
                    assert_eq!(sequence, next[producer as usize]);
                    assert_eq!(record.payload(), payload(sequence, sequence as usize % 300));
                    next[producer as usize] += 1;
                }
                committed.store(cursor, Ordering::Release);
                std::thread::yield_now();
            }
            assert_eq!(cursor, ring.tail(memory));
        });
        assert!(cursor_wrapped(ring, memory));
    });
}

fn cursor_wrapped(ring: Inbox, memory: &Memory) -> bool {
    ring.tail(memory) > 4 * ring.capacity()
}

fn produce(memory: &Memory, ring: Inbox, producer: u32, records: u32, committed: &AtomicU64) {
    let (mut batch, mut pushed) = (Batch::default(), 0);
    while pushed < records || !batch.is_empty() {
        while pushed < records && batch.len() < 5 {
            let body = payload(pushed, pushed as usize % 300);
            batch.push(RecordHeader { attachment: producer, ..header(pushed) }, &body);
            pushed += 1;
        }
        match ring.append(memory, &batch, committed.load(Ordering::Acquire)).expect("a sound lock") {
            Appended::All(_) => batch.consume(batch.len()),
            Appended::Part { records, .. } => batch.consume(records),
            Appended::Busy => {}
        }
        std::thread::yield_now();
    }
}

#[test]
fn areas_that_are_not_of_the_segment_are_refused() {
    with_ring(|memory, ring| {
        assert_eq!(ring.capacity(), BYTES);
        assert!(MAX_RECORD_BYTES < ring.capacity() / 2);
        for (zone, offset, bytes) in [
            (MAX_ZONES, 0, BYTES),
            (0, BYTES + 8, BYTES),
            (0, 4, BYTES),
            (0, 0, BYTES + 8),
            (0, 0, BYTES / 2),
            (0, 0, 4 * BYTES),
            (0, 0, 1 << 40),
            (0, u64::MAX - 7, BYTES),
        ] {
            assert!(Inbox::new(memory, zone, offset, bytes).is_none(), "{zone} {offset} {bytes}");
        }
    });
}

#[test]
fn a_record_lies_in_the_ring_as_its_header_is_declared() {
    with_ring(|memory, ring| {
        let header = RecordHeader { bytes: 0, kind: 2, attachment: 0x0a0b_0c0d, session: 7, sequence: 8, incarnation: 9 };
        let mut batch = Batch::default();
        batch.push(header, &[1, 2, 3]);
        assert!(matches!(ring.append(memory, &batch, 0), Ok(Appended::All(32))));
        assert_eq!(memory.read::<RecordHeader>(inbox::DATA + BYTES as usize), RecordHeader { bytes: 3, ..header });
    });
}
