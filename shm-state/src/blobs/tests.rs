//! Edges of the allocator, and damage planted where no public call can put it.

use std::rc::Rc;

use proptest::prelude::*;
use zerocopy::FromZeros;

use super::*;
use crate::layout::RootHead;
use crate::limits::{BLOB_CLASSES, PAGE_WORDS};
use crate::mirror::Mirror;
use crate::pages::Pages;
use crate::world::World;

struct Zone {
    world: Rc<World>,
    pages: Rc<Pages>,
    at: BlobsAt,
    blobs: Blobs,
}

fn zone(max_blobs: u32, max_pages: u32) -> Zone {
    let mut tables = Tables::default();
    let at = BlobsAt::declare(&mut tables, max_blobs, max_pages * PAGE_BYTES as u32);
    let world = Rc::new(World::heap(64));
    let pages = Rc::new(Pages::open(Rc::clone(&world), 0, 1, 1, tables.pages()).expect("a free slot"));
    // SAFETY: the only space at its place.
    let blobs = unsafe { Blobs::bind(&pages, at) };
    Zone { world, pages, at, blobs }
}

impl Zone {
    /// The space as readers see it after a commit.
    fn committed(&self) -> Mirror {
        // SAFETY: no reference into the space is alive.
        unsafe { self.pages.commit(RootHead::new_zeroed()) }.expect("room in the arena");
        let mut mirror = Mirror::new(0);
        mirror.refresh(&self.world).expect("a root");
        mirror
    }

    fn check(&self) -> Vec<BlobProblem> {
        check(&self.at, &self.committed())
    }

    fn ids(&mut self) -> &mut Table<BlobRow> {
        &mut self.blobs.ids
    }

    fn id_row(&mut self, id: BlobId) -> &mut BlobRow {
        self.blobs.ids.get_mut(id.index).expect("present")
    }

    fn page_row(&mut self, page: u32) -> &mut BlobPageRow {
        self.blobs.slabs.rows().get_mut(page).expect("present")
    }

    fn meta(&mut self) -> &mut BlobMeta {
        self.blobs.meta.get_mut(0).expect("present")
    }

    fn insert(&mut self, len: usize) -> BlobId {
        self.blobs.insert(&vec![0xab; len]).expect("room")
    }
}

#[test]
fn every_length_comes_back_and_one_more_than_a_page_is_refused() {
    let mut zone = zone(4, 2);
    for len in 0..=MAX_BLOB_BYTES {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5a).collect();
        let id = zone.blobs.insert(&bytes).expect("room");
        assert!(zone.blobs.get(id) == Some(&bytes[..]) && zone.blobs.remove(id), "{len}");
    }
    let long = vec![1; MAX_BLOB_BYTES + 1];
    let refused = BlobError::TooLong { bytes: long.len() };
    assert_eq!(zone.blobs.insert(&long), Err(refused));
    let id = zone.insert(1);
    assert_eq!(zone.blobs.replace(id, &long), Err(refused));
    assert_eq!((zone.blobs.get(id), zone.check()), (Some(&[0xab][..]), vec![]));
}

#[test]
fn each_class_fills_its_pages_to_the_last_slot_and_gives_them_to_the_next() {
    let mut zone = zone(600, 2);
    for class in Class::all() {
        let ids: Vec<BlobId> = (0..2 * class.slots()).map(|_| zone.insert(class.bytes())).collect();
        assert_eq!((zone.blobs.bytes_used(), zone.blobs.pages_used()), (2 * PAGE_BYTES as u64, 2));
        let full = Err(BlobError::Full { bytes: 0, pages: 2 });
        assert_eq!((zone.blobs.insert(&[]), zone.check()), (full, vec![]), "{class:?}");
        // From both ends to the middle, so that pages leave their list in every way.
        let (first, second) = ids.split_at(ids.len() / 2);
        assert!(first.iter().zip(second.iter().rev()).all(|(a, b)| zone.blobs.remove(*a) && zone.blobs.remove(*b)));
        assert_eq!((zone.blobs.len(), zone.blobs.pages_used(), zone.check()), (0, 0, vec![]), "{class:?}");
    }
}

#[test]
fn as_many_blobs_as_declared_live_and_the_index_freed_last_comes_first() {
    let mut zone = zone(5, 4);
    let ids: Vec<BlobId> = (0..5).map(|_| zone.insert(20)).collect();
    assert_eq!(zone.blobs.insert(&[1]), Err(BlobError::TooMany { blobs: 5 }));
    assert!(zone.blobs.remove(ids[3]) && zone.blobs.remove(ids[1]) && !zone.blobs.remove(ids[1]));
    assert_eq!(zone.insert(1), BlobId { index: 1, generation: 2 });
    assert_eq!(zone.insert(1), BlobId { index: 3, generation: 2 });
    assert!(zone.blobs.get(ids[1]).is_none() && zone.blobs.get(ids[0]).is_some());
    assert_eq!(zone.blobs.replace(ids[3], &[1]), Err(BlobError::Stale { id: ids[3] }));
    let beyond = BlobId { index: u32::MAX, generation: 1 };
    assert!(zone.blobs.get(beyond).is_none() && !zone.blobs.remove(beyond));
    assert_eq!(zone.check(), []);
}

#[test]
fn a_generation_never_is_zero() {
    let mut zone = zone(1, 1);
    let id = zone.insert(1);
    assert!(zone.blobs.remove(id));
    zone.id_row(id).generation = u32::MAX;
    assert_eq!(zone.insert(1), BlobId { index: 0, generation: 1 });
    assert_eq!(zone.check(), []);
}

#[test]
fn a_full_space_replaces_within_a_class_and_into_the_page_that_it_empties() {
    let mut zone = zone(10, 2);
    let (whole, half) = (zone.insert(4096), zone.insert(2048));
    let other = zone.insert(2000);
    assert_eq!(zone.blobs.replace(half, &[1; 100]), Err(BlobError::Full { bytes: 100, pages: 2 }));
    assert_eq!(zone.blobs.get(half), Some(&[0xab; 2048][..]), "refused means unchanged");
    assert_eq!(zone.blobs.replace(half, &[1; 1025]), Ok(()));
    assert_eq!(zone.blobs.replace(whole, &[2; 3]), Ok(()), "its own page has room then");
    assert_eq!((zone.blobs.get(whole), zone.blobs.get(half)), (Some(&[2; 3][..]), Some(&[1; 1025][..])));
    assert_eq!(zone.blobs.get(other), Some(&[0xab; 2000][..]));
    assert_eq!(zone.check(), []);
}

#[test]
fn freed_bytes_are_zero_and_a_shorter_blob_leaves_none_of_the_longer() {
    let mut zone = zone(10, 3);
    let ids = [zone.insert(30), zone.insert(3000), zone.insert(17)];
    zone.blobs.replace(ids[0], &[7; 18]).expect("same class");
    let mirror = zone.committed();
    assert_eq!((mirror.page(zone.at.base)[2], mirror.page(zone.at.base)[3]), (0x0707, 0));
    assert!(ids.iter().all(|id| zone.blobs.remove(*id)));
    let mirror = zone.committed();
    assert!((0..3).all(|page| mirror.page(zone.at.base + page) == &[0; PAGE_WORDS]));
}

#[test]
fn published_bytes_stay_while_the_next_tick_replaces_and_removes_them() {
    let mut zone = zone(10, 3);
    let (kept, gone) = (zone.insert(40), zone.insert(40));
    let before = zone.committed();
    zone.blobs.replace(kept, &[1; 40]).expect("room");
    assert!(zone.blobs.remove(gone));
    let mut late = Mirror::new(0);
    late.refresh(&zone.world).expect("a root");
    for mirror in [&before, &late] {
        assert_eq!(zone.at.get(mirror, kept), Ok(Some(&[0xab; 40][..])));
        assert_eq!(zone.at.get(mirror, gone), Ok(Some(&[0xab; 40][..])));
    }
    let after = zone.committed();
    assert_eq!((zone.at.get(&after, kept), zone.at.get(&after, gone)), (Ok(Some(&[1; 40][..])), Ok(None)));
}

#[test]
fn a_space_that_was_never_used_is_empty_and_whole() {
    let zone = zone(10, 3);
    let mirror = zone.committed();
    assert_eq!((zone.at.max_blobs(), zone.at.max_pages()), (10, 3));
    assert_eq!((check(&zone.at, &mirror), zone.at.iter(&mirror).count(), zone.at.bytes_used(&mirror)), (vec![], 0, 0));
    assert_eq!(zone.at.get(&mirror, BlobId { index: 0, generation: 0 }), Ok(None));
    assert!(zone.blobs.is_empty() && zone.blobs.iter().next().is_none());
}

/// Blobs of three classes, with dead ids and free pages between: page 0 has two blobs of 16 bytes and room, page 1 a full page,
/// pages 2 and 3 are free, page 4 has room for 1024 bytes, as have 5 and 6, whose list it is in the middle of.
struct Furnished {
    zone: Zone,
    small: [BlobId; 2],
    whole: BlobId,
}

fn furnished() -> Furnished {
    let mut zone = zone(100, 12);
    let small = [zone.insert(10), zone.insert(16)];
    let whole = zone.insert(4000);
    let freed = [zone.insert(200), zone.insert(500)];
    let shelved: Vec<BlobId> = (0..12).map(|_| zone.insert(1000)).collect();
    for id in [freed[0], freed[1], shelved[0], shelved[4], shelved[8]] {
        assert!(zone.blobs.remove(id));
    }
    assert_eq!(zone.check(), []);
    let row = *zone.id_row(small[1]);
    assert_eq!((row.page, row.slot, row.bytes), (1, 1, 16));
    assert_eq!((zone.id_row(whole).page, zone.meta().pages_used, zone.meta().pages_held), (2, 7, 5));
    assert_eq!((zone.page_row(5).next, zone.page_row(5).prev), (5, 7), "the list of 1024 bytes is 6, 5, 4");
    assert_eq!((zone.meta().page_free, zone.page_row(3).next, zone.meta().id_free), (4, 3, 14));
    Furnished { zone, small, whole }
}

/// Plants damage and expects these problems among what the check finds; readers must give an answer for every blob all the same.
#[track_caller]
fn plant(damage: impl Fn(&mut Furnished), expected: &[BlobProblem]) {
    let mut furnished = furnished();
    damage(&mut furnished);
    let zone = &furnished.zone;
    let mirror = zone.committed();
    let found = check(&zone.at, &mirror);
    assert!(expected.iter().all(|problem| found.contains(problem)), "found {found:#?}");
    assert!(zone.at.iter(&mirror).count() <= 100);
}

#[test]
fn a_slot_without_an_id_is_found() {
    plant(|f| f.zone.page_row(0).taken[0] |= 1 << 63, &[BlobProblem::Leaked { page: 0, slot: 63 }]);
    plant(
        |f| {
            let id = f.whole;
            *f.zone.id_row(id) = BlobRow { generation: 1, ..BlobRow::new_zeroed() };
        },
        &[
            BlobProblem::Leaked { page: 1, slot: 0 },
            BlobProblem::Unlisted { list: BlobList::FreeIds, row: 2 },
            BlobProblem::WrongCount { what: "blobs", counted: 12, found: 11 },
            BlobProblem::WrongCount { what: "bytes", counted: 13_026, found: 9026 },
        ],
    );
}

#[test]
fn a_slot_with_two_ids_is_found() {
    plant(
        |f| {
            let (first, second) = (f.small[0], f.small[1]);
            f.zone.id_row(second).slot = 0;
            assert_eq!(f.zone.id_row(first).slot, 0);
        },
        &[
            BlobProblem::DoublyOwned { id: BlobId { index: 1, generation: 1 }, page: 0, slot: 0 },
            BlobProblem::Leaked { page: 0, slot: 1 },
        ],
    );
}

#[test]
fn an_id_that_names_no_taken_slot_is_found_and_reads_as_an_error() {
    // A slot that is free, one beyond the page, a free page, a page beyond the space, and one beyond all.
    for (page, slot) in [(0, 2), (0, 256), (0, u32::from(u16::MAX)), (2, 0), (12, 0), (u32::MAX - 1, 0)] {
        let id = BlobId { index: 0, generation: 1 };
        let damage = |f: &mut Furnished| {
            let row = f.zone.id_row(id);
            (row.page, row.slot) = (page + 1, slot as u16);
        };
        let dangling = BlobProblem::Dangling { id, page, slot };
        plant(damage, &[dangling]);
        let mut f = furnished();
        damage(&mut f);
        assert_eq!(f.zone.at.get(&f.zone.committed(), id), Err(dangling));
    }
}

#[test]
fn a_length_of_another_class_is_found_and_reads_as_an_error() {
    for bytes in [17, 4096, u16::MAX] {
        let id = BlobId { index: 1, generation: 1 };
        let damage = |f: &mut Furnished| f.zone.id_row(id).bytes = bytes;
        let wrong = BlobProblem::WrongLength { id, bytes, slot_bytes: 16 };
        plant(damage, &[wrong]);
        let mut f = furnished();
        damage(&mut f);
        assert_eq!(f.zone.at.get(&f.zone.committed(), id), Err(wrong));
    }
    let id = BlobId { index: 2, generation: 1 };
    plant(|f| f.zone.id_row(id).bytes = 2048, &[BlobProblem::WrongLength { id, bytes: 2048, slot_bytes: 4096 }]);
    // Of the right class, and yet not what was counted: bytes are left that belong to no blob.
    plant(|f| f.zone.id_row(id).bytes = 3000, &[BlobProblem::NotZero { page: 1, slot: 0 }]);
}

#[test]
fn a_class_that_does_not_exist_or_is_not_the_blobs_is_found() {
    for class in [BLOB_CLASSES as u32 + 1, u32::MAX] {
        plant(|f| f.zone.page_row(1).class = class, &[BlobProblem::WrongClass { page: 1, class }]);
    }
    let id = BlobId { index: 1, generation: 1 };
    plant(|f| f.zone.page_row(0).class = 2, &[BlobProblem::WrongLength { id, bytes: 16, slot_bytes: 32 }]);
    plant(
        |f| f.zone.page_row(1).class = 0,
        &[
            BlobProblem::Dangling { id: BlobId { index: 2, generation: 1 }, page: 1, slot: 0 },
            BlobProblem::Unlisted { list: BlobList::FreePages, row: 1 },
            BlobProblem::NotZero { page: 1, slot: 0 },
        ],
    );
}

#[test]
fn a_page_that_miscounts_its_slots_is_found() {
    plant(|f| f.zone.page_row(0).used = 3, &[BlobProblem::WrongUse { page: 0, used: 3, taken: 2, slots: 256 }]);
    plant(|f| f.zone.page_row(1).taken[3] = 1, &[BlobProblem::WrongUse { page: 1, used: 1, taken: 2, slots: 1 }]);
    plant(|f| f.zone.page_row(2).taken[0] = 1, &[BlobProblem::WrongUse { page: 2, used: 0, taken: 1, slots: 0 }]);
    plant(
        |f| {
            let row = f.zone.page_row(2);
            (row.class, row.next) = (1, 0);
        },
        &[BlobProblem::WrongUse { page: 2, used: 0, taken: 0, slots: 256 }],
    );
}

#[test]
fn broken_lists_are_found_and_cycles_end() {
    let room = BlobList::Room(1024);
    let free_ids = |row| BlobProblem::BrokenList { list: BlobList::FreeIds, row };
    let free_pages = |row| BlobProblem::BrokenList { list: BlobList::FreePages, row };
    // A cycle, a living id, and an index beyond the table.
    plant(|f| f.zone.ids().get_mut(3).expect("dead").next_free = 14, &[free_ids(13)]);
    plant(|f| f.zone.meta().id_free = 1, &[free_ids(0), BlobProblem::Unlisted { list: BlobList::FreeIds, row: 13 }]);
    plant(|f| f.zone.meta().id_free = u32::MAX, &[free_ids(u32::MAX - 1)]);
    plant(|f| f.zone.meta().id_free = 0, &[BlobProblem::Unlisted { list: BlobList::FreeIds, row: 3 }]);
    // The same of pages.
    plant(|f| f.zone.page_row(2).next = 4, &[free_pages(3)]);
    plant(|f| f.zone.page_row(2).next = 1, &[free_pages(0)]);
    plant(|f| f.zone.meta().page_free = 100, &[free_pages(99)]);
    plant(|f| f.zone.page_row(3).next = 0, &[BlobProblem::Unlisted { list: BlobList::FreePages, row: 2 }]);
    // The pages with room for 1024 bytes are 6, 5 and 4.
    let broken = |row| BlobProblem::BrokenList { list: room, row };
    plant(|f| f.zone.page_row(4).next = 7, &[broken(6)]);
    plant(|f| f.zone.page_row(5).prev = 0, &[broken(5)]);
    plant(|f| f.zone.page_row(6).next = 1, &[broken(0), BlobProblem::Unlisted { list: room, row: 5 }]);
    plant(|f| f.zone.meta().room[6] = 2, &[broken(1)]);
    plant(|f| f.zone.meta().room[8] = 2, &[BlobProblem::BrokenList { list: BlobList::Room(4096), row: 1 }]);
    plant(|f| f.zone.meta().room[0] = 0, &[BlobProblem::Unlisted { list: BlobList::Room(16), row: 0 }]);
}

#[test]
fn wrong_counters_are_found() {
    let wrong = |what, counted, found| BlobProblem::WrongCount { what, counted, found };
    plant(|f| f.zone.meta().blobs = 11, &[wrong("blobs", 11, 12)]);
    plant(|f| f.zone.meta().bytes += 1, &[wrong("bytes", 13_027, 13_026)]);
    plant(|f| f.zone.meta().pages_held = 6, &[wrong("pages in use", 6, 5)]);
}

#[test]
fn rows_that_were_not_used_or_are_gone_are_found() {
    let (id, page) = (|row| BlobProblem::WrongRow { table: "id", row }, |row| BlobProblem::WrongRow { table: "page", row });
    plant(|f| f.zone.meta().ids_used -= 1, &[id(16)]);
    plant(|f| f.zone.meta().ids_used = u32::MAX, &[id(17), id(99), id(u32::MAX - 1)]);
    plant(|f| f.zone.meta().pages_used = 8, &[page(7)]);
    plant(|f| assert!(f.zone.ids().remove(3).is_some()), &[id(3)]);
    plant(|f| f.zone.ids().get_mut(3).expect("dead").generation = 0, &[id(3)]);
    plant(|f| f.zone.ids().get_mut(3).expect("dead").bytes = 1, &[id(3)]);
    plant(|f| f.zone.ids().get_mut(0).expect("alive").next_free = 1, &[id(0)]);
    plant(|f| assert!(f.zone.blobs.slabs.rows().remove(2).is_some()), &[page(2)]);
    plant(|f| assert!(f.zone.blobs.meta.remove(0).is_some()), &[id(0), page(0)]);
}

#[test]
fn bytes_that_belong_to_no_blob_are_found() {
    for (page, offset, slot) in [(0, 10, 0), (0, 32, 2), (1, 4000, 0), (2, 0, 0), (2, 4095, 0), (5, 100, 0), (11, 7, 0)] {
        let damage = |f: &mut Furnished| {
            // SAFETY: a private page of PAGE_BYTES, the offset lies inside it, and no reference to it exists.
            unsafe { f.zone.pages.write(f.zone.at.base + page).add(offset).write(1) };
        };
        plant(damage, &[BlobProblem::NotZero { page, slot }]);
    }
}

#[test]
#[should_panic(expected = "run `ringfort fsck`")]
fn an_owner_of_damaged_rows_stops_before_it_reads_what_is_not_there() {
    let mut f = furnished();
    f.zone.id_row(f.small[0]).slot = 300;
    f.zone.blobs.get(f.small[0]);
}

fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 64 };
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(config())]
    /// Whatever words stand in the rows, a reader gets an answer, and the check ends and says that something is wrong.
    #[test]
    fn random_words_in_the_rows_never_stop_a_reader(
        words in prop::collection::vec((0..3u32, 0..64usize, prop_oneof![any::<u64>(), 0..40u64, (0..40u64).prop_map(|n| n << 32)]), 1..12)
    ) {
        let mut f = furnished();
        let whole = f.zone.committed();
        let at = f.zone.at;
        for (page, word, value) in words {
            // SAFETY: a private page of PAGE_WORDS words, the index lies inside it, and no reference to it exists.
            unsafe { f.zone.pages.write(page).cast::<u64>().add(word).write(value) };
        }
        let mirror = f.zone.committed();
        let rows = [at.meta.base, at.ids.base, at.pages.base];
        prop_assert_eq!(rows, [0, 1, 2]);
        let unchanged = rows.iter().all(|page| mirror.page(*page) == whole.page(*page));
        let problems = check(&at, &mirror);
        prop_assert!(!unchanged || problems.is_empty());
        for blob in at.iter(&mirror) {
            match blob {
                Ok((id, bytes)) => prop_assert_eq!(at.get(&mirror, id), Ok(Some(bytes))),
                Err(problem) => prop_assert!(problems.contains(&problem)),
            }
        }
        f.whole.generation += 1;
        prop_assert!(at.get(&mirror, f.whole).is_ok() || !problems.is_empty());
    }
}
