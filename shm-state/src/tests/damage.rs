//! What the fuzz targets found, each as the smallest damage that shows it.

use std::sync::atomic::Ordering;

use zerocopy::IntoBytes;

use super::*;
use crate::directory::DirectoryWriter;
use crate::entities::EntityTable;
use crate::fsck::{Problem, check};
use crate::inbox::{Appended, Batch, Inbox};
use crate::layout::{
    EntityRow, HISTOGRAM_BUCKETS, Header, InboxControl, MAGIC, MailKind, RecordHeader, RecordKind, SegmentKind, VERSION,
    ZoneMeta, directory, inbox, layout_hash, worker, world as at,
};
use crate::limits::{EXTENT_PAGES, MAX_ADOPTED_SEQUENCE, MAX_PROBLEMS, MIN_INBOX_BYTES, PAGE_INDEX_BITS};
use crate::lock::RobustLock;
use crate::memory::{Memory, Words};
use crate::mirror::{Mirror, MirrorError};
use crate::pages::AdoptError;
use crate::segment::{Access, Segment, SegmentError, SegmentSpec, padded};
use crate::table::{Table, Tables};
use crate::worker::{TickHistogram, WorkerPage};
use crate::world::{PageHandle, Published, Root, RootError};

const LOGICAL: u32 = 40;

/// A world of one zone whose pages 0 to 2 were written, after two ticks.
fn sound() -> (Rc<World>, Root) {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, LOGICAL).expect("a free slot");
    for tick in 1..3 {
        (0..3).for_each(|logical| set(&pages, logical, 0, u64::from(logical) + tick));
        commit(&pages, tick as u32);
    }
    let root = world.newest(0).expect("a root");
    (world, root)
}

fn handle(world: &World, root: &Root, place: usize) -> PageHandle {
    let mut word = [0];
    assert!(world.copy_words(root.tables[0], place, &mut word));
    PageHandle(word[0])
}

fn plant(world: &World, root: &Root, place: usize, handle: PageHandle) {
    let page = at::arena(world.extents()) + root.tables[0].index() as usize * PAGE_BYTES;
    world.memory().copy_in(page + place * 8, &[handle.0]);
}

fn adopt(world: &Rc<World>) -> Result<RootHead, AdoptError> {
    Pages::adopt(Rc::clone(world), 0, 1, 2, LOGICAL).map(|(_, head)| head)
}

#[test]
fn a_page_named_twice_or_before_its_birth_is_not_taken_over() {
    let (world, root) = sound();
    let (first, sequence) = (handle(&world, &root, 0), root.head.sequence);
    for (place, bad) in [(1, first), (0, root.tables[0]), (0, PageHandle::new(sequence + 1, first.index()))] {
        let sane = handle(&world, &root, place);
        plant(&world, &root, place, bad);
        assert_eq!(adopt(&world), Err(AdoptError::Unsound { zone: 0, sequence, page: bad.index() }));
        plant(&world, &root, place, sane);
    }
    assert_eq!(adopt(&world), Ok(root.head), "whole again");
}

#[test]
fn a_root_of_a_match_that_begins_after_it_is_damaged() {
    let (world, mut root) = sound();
    let sequence = root.head.sequence;
    root.head.first_sequence = sequence + 1;
    world.write_root(0, &mut root);
    assert_eq!(adopt(&world), Err(RootError::Damaged { zone: 0, sequence }.into()));
}

#[test]
fn a_sequence_that_would_run_into_the_epoch_is_not_gone_on_with() {
    let (world, _) = sound();
    let refused = |sequence| {
        let now = world.published(0);
        world.publish(0, now, Published { sequence, ..now }).expect("nobody else publishes");
        let error = AdoptError::Sequence { zone: 0, sequence };
        assert_eq!((adopt(&world), world.abandon(0, 3)), (Err(error), Err(error)));
        assert_eq!(Pages::open(Rc::clone(&world), 0, 9, 3, LOGICAL).map(drop), Err(error));
        assert_eq!(world.published(0), Published { sequence, ..now }, "not even the epoch is touched");
    };
    refused((1 << 48) - 1);
    refused(MAX_ADOPTED_SEQUENCE);
}

#[test]
fn no_root_makes_a_reader_hold_more_pages_than_twice_the_arena_has() {
    let world = world(2);
    const MANY: u32 = 16_000;
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, MANY).expect("a free slot");
    set(&pages, 0, 0, 1);
    commit(&pages, 1);
    let mut root = world.newest(0).expect("a root");
    let sequence = root.head.sequence;
    let content = handle(&world, &root, 0);
    (0..PAGE_WORDS).for_each(|place| plant(&world, &root, place, content));
    root.tables = [root.tables[0]; _];
    world.write_root(0, &mut root);
    let mut mirror = Mirror::new(0);
    assert_eq!(mirror.refresh(&world), Err(MirrorError::TooMany { zone: 0, sequence }));
    assert_eq!(mirror.refresh(&world), Err(MirrorError::TooMany { zone: 0, sequence }));
    assert!(mirror.held_pages() <= 2 * world.pages(), "{}", mirror.held_pages());
    // The same root is more than anybody wants to read about.
    let problems = check(&world, &[listed(0, 1)]).problems;
    assert_eq!((problems.len(), problems.last()), (MAX_PROBLEMS, Some(&Problem::More)));
}

fn entities(rows: u32) -> EntityTable {
    let mut tables = Tables::default();
    let at = tables.add(rows, size_of::<EntityRow>());
    let pages = Rc::new(Pages::open(world(4), 0, 1, 1, tables.pages()).expect("a free slot"));
    // SAFETY: the only table of these pages.
    EntityTable::new(unsafe { Table::bind(&pages, at) })
}

#[test]
fn only_a_killed_entitys_index_is_freed_and_only_once() {
    let (mut entities, mut meta) = (entities(8), ZoneMeta::new_zeroed());
    let ids: Vec<_> = (0..3).map(|_| entities.spawn(&mut meta, 0).expect("room")).collect();
    entities.free(&mut meta, ids[0].0);
    entities.free(&mut meta, 7);
    assert_eq!(meta.entity_free, 0, "neither one that lives nor one that never did");
    assert!(entities.kill(&mut meta, ids[0].0, ids[0].1));
    assert!(entities.kill(&mut meta, ids[1].0, ids[1].1));
    [0, 1, 0, 0, 1].iter().for_each(|id| entities.free(&mut meta, ids[*id].0));
    let again: Vec<_> = (0..3).map(|_| entities.spawn(&mut meta, 0).expect("room").0).collect();
    assert_eq!(again, [ids[1].0, ids[0].0, 3], "each index once");
}

#[test]
fn counters_and_a_free_list_that_lie_give_no_living_index_out() {
    let mut entities = entities(8);
    let mut meta = ZoneMeta::new_zeroed();
    let lives = entities.spawn(&mut meta, 5).expect("room");
    for entity_free in [lives.0 + 1, 8, 9, u32::MAX] {
        let mut lie = ZoneMeta { entity_free, entities_alive: u32::MAX, ..meta };
        let (index, _) = entities.spawn(&mut lie, 0).expect("room");
        assert_ne!(index, lives.0);
    }
    assert_eq!(entities.owner(lives.0, lives.1), Some(5));
    let mut lie = ZoneMeta { entities_alive: 0, ..meta };
    assert!(entities.kill(&mut lie, lives.0, lives.1));
    assert_eq!(lie.entities_alive, 0);
    assert_eq!(entities.spawn(&mut ZoneMeta { entity_used: u32::MAX, ..meta }, 0), None);
}

#[test]
fn sums_of_a_histogram_of_garbage_stop_at_the_greatest_number() {
    let memory = Memory::heap(worker::SIM_BYTES);
    let page = WorkerPage::over(&memory);
    memory.copy_in(worker::HISTOGRAMS + 8, &[u64::MAX; HISTOGRAM_BUCKETS + 1]);
    let found = page.quantiles(0, 0, TickHistogram::Took).expect("of no match");
    assert_eq!((found.count, found.p50, found.p99, found.max), (u64::MAX, 0, 0, u64::MAX));
}

#[test]
fn a_directory_at_the_end_of_its_numbers_is_written_on() {
    let memory = Memory::heap(directory::BYTES);
    memory.store(directory::GENERATION, u64::MAX, Ordering::Relaxed);
    memory.store(directory::MAILBOXES, u64::MAX, Ordering::Relaxed);
    let writer = DirectoryWriter::over(&memory);
    let (_, entry) = listed(0, 1);
    assert_eq!(writer.publish_zone(0, &entry), 0);
    assert_eq!(writer.post(0, u64::MAX, MailKind::End, 0, 0, ""), Ok(()));
    assert_eq!(writer.reader().mail_tail(0), 0);
}

/// A ring, its memory, and the offset of its tail word.
fn ring() -> (Memory, Inbox, usize) {
    let memory = Memory::heap(inbox::DATA + MIN_INBOX_BYTES as usize);
    RobustLock::at(inbox::CONTROLS).initialise(&memory).expect("a mutex");
    let ring = Inbox::new(&memory, 0, 0, MIN_INBOX_BYTES).expect("an area of the segment");
    (memory, ring, inbox::CONTROLS + InboxControl::TAIL_OFFSET)
}

/// Appends a record and expects the drain to find it.
fn passes(memory: &Memory, ring: Inbox, committed: u64) {
    let mut batch = Batch::default();
    batch.push(RecordHeader { kind: RecordKind::Leave as u16, session: 7, ..RecordHeader::new_zeroed() }, &[]);
    let Ok(Appended::All(tail)) = ring.append(memory, &batch, committed) else { panic!("the ring has room") };
    let mut cursor = committed;
    let record = ring.next(memory, &mut cursor, ring.tail(memory)).expect("sound").expect("a record");
    assert_eq!((record.header.session, cursor), (7, tail));
}

#[test]
fn a_tail_behind_what_the_zone_has_consumed_is_mended_by_the_next_append() {
    let (memory, ring, tail) = ring();
    memory.store(tail, 8, Ordering::Relaxed);
    let mut cursor = 1 << 40;
    assert!(ring.next(&memory, &mut cursor, 8).is_err());
    assert_eq!(cursor, 1 << 40);
    passes(&memory, ring, cursor);
}

#[test]
fn a_tail_too_far_ahead_stops_the_drain_until_a_producer_mends_it() {
    let (memory, ring, tail) = ring();
    let mut batch = Batch::default();
    batch.push(RecordHeader::new_zeroed(), &[]);
    for garbage in [1 << 40, u64::MAX, u64::MAX - 7, 4096 + MIN_INBOX_BYTES + 8] {
        memory.store(tail, garbage, Ordering::Relaxed);
        let mut cursor = 4096;
        assert!(ring.next(&memory, &mut cursor, garbage).is_err());
        assert_eq!(cursor, 4096, "following it would use the cursors up");
        assert!(matches!(ring.append(&memory, &batch, cursor), Ok(Appended::Part { records: 0, .. })));
        assert_eq!(ring.mend(&memory, || None), Ok(false), "the match is over");
        assert_eq!(ring.mend(&memory, || Some(garbage)), Ok(false), "the zone has consumed as much");
        assert_eq!(ring.mend(&memory, || Some(cursor)), Ok(true));
        assert_eq!(ring.mend(&memory, || Some(cursor)), Ok(false), "sound now");
        passes(&memory, ring, cursor);
    }
    assert_eq!(ring.repairs(&memory), 4);
}

#[test]
fn a_new_match_does_not_begin_at_a_tail_of_garbage() {
    let (memory, ring, tail) = ring();
    for (found, begins) in [(0, 0), (4099, 4096), (1 << 60, 0), (u64::MAX, 0)] {
        memory.store(tail, found, Ordering::Relaxed);
        assert_eq!(ring.opening(&memory), begins);
    }
    assert_eq!(ring.mend(&memory, || Some(0)), Ok(true));
    passes(&memory, ring, 0);
}

#[test]
fn a_pad_at_the_end_of_the_cursors_ends_the_drain() {
    const END: u64 = u64::MAX - 7;
    let (memory, ring, _) = ring();
    let mut cursor = END;
    cursor -= 64;
    let place = inbox::DATA + (cursor % MIN_INBOX_BYTES) as usize;
    memory.copy_in(place, &[u64::from(RecordKind::Pad as u16) << 16]);
    assert!(ring.next(&memory, &mut cursor, u64::MAX).expect("a pad").is_none());
    assert_eq!(cursor, END);
    assert!(ring.next(&memory, &mut (cursor - 60), u64::MAX).is_err(), "a cursor that is not at a word");
}

#[test]
fn an_arena_beyond_what_handles_can_name_is_not_attached() {
    let spec = SegmentSpec::world((1 << PAGE_INDEX_BITS) / EXTENT_PAGES as u64 + 1);
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        kind: SegmentKind::World as u32,
        layout_hash: layout_hash(),
        bytes: at::bytes(spec.parameter as usize) as u64,
        instance: padded("damage"),
        parameter: spec.parameter,
        ready: 1,
        ..Header::new_zeroed()
    };
    let file = rustix::fs::memfd_create("ringfort-damage", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    rustix::fs::ftruncate(&file, header.bytes).expect("a hole of 64 GiB");
    rustix::io::pwrite(&file, header.as_bytes(), 0).expect("room for a page");
    let refused = Segment::from_fd("damage", spec, file, Access::ReadOnly);
    assert!(matches!(refused, Err(SegmentError::Mismatch { what: "the length", .. })), "{refused:?}");
}
