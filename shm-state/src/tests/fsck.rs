//! Each kind of damage is planted, and `fsck` must find it.

use super::*;
use crate::fsck::{Problem, check};
use crate::limits::{EXTENT_PAGES, ROOT_RING};
use crate::world::{PageHandle, owner_word};

/// A world of one zone with two pages, and its newest root's sequence.
fn sound() -> (Rc<World>, Pages, u64) {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    set(&pages, 0, 0, 1);
    set(&pages, 1, 0, 2);
    let sequence = commit(&pages, 1).sequence;
    let report = check(&world, &[listed(0, 1)]);
    assert_eq!((report.problems.len(), report.zones, report.roots, report.pages, report.extents), (0, 1, 1, 3, 1));
    (world, pages, sequence)
}

/// Overwrites a handle in the newest root's table page.
fn plant(world: &World, place: usize, handle: PageHandle) {
    let table = world.newest(0).expect("a root").tables[0];
    // SAFETY: the table page is PAGE_BYTES long, `place` is one of its words, and no other thread uses this world.
    unsafe { world.page_ptr(table.index()).cast::<u64>().add(place).write(handle.0) };
}

fn handle(world: &World, place: usize) -> PageHandle {
    let mut words: Page = [0; PAGE_WORDS];
    assert!(world.copy_page(world.newest(0).expect("a root").tables[0], &mut words));
    PageHandle(words[place])
}

#[test]
fn a_leaked_extent() {
    let (world, _pages, _) = sound();
    let extent = world.take_extent(&mut 3, owner_word(5, 77)).expect("a free extent");
    let found = check(&world, &[listed(0, 1)]).problems;
    assert_eq!(found, [Problem::Leaked { extent, zone: 5, incarnation: 77 }]);
    world.give_extent(extent);
    let extent = world.take_extent(&mut 3, 77 << 16).expect("a free extent");
    let found = check(&world, &[listed(0, 1)]).problems;
    assert!(matches!(found[..], [Problem::Leaked { extent: e, .. }] if e == extent), "a word without a zone: {found:?}");
}

#[test]
fn an_extent_that_was_given_back_too_early() {
    let (world, _pages, sequence) = sound();
    world.give_extent(handle(&world, 0).index() as usize / EXTENT_PAGES);
    let found = check(&world, &[listed(0, 1)]).problems;
    assert!(!found.is_empty());
    for problem in found {
        assert!(
            matches!(&problem, Problem::Dangling { sequence: s, owner, .. } if *s == sequence && owner == "free"),
            "{problem}"
        );
    }
}

#[test]
fn a_page_beyond_the_arena_and_one_of_another_zone() {
    let (world, _pages, sequence) = sound();
    let other = Pages::open(Rc::clone(&world), 1, 2, 1, 4).expect("a free slot");
    set(&other, 0, 0, 1);
    commit(&other, 1);
    let stolen = other.extents();
    assert_eq!(stolen, 1);
    let foreign = (0..8).find(|e| world.owner(*e) == Some((1, 2))).expect("its extent") * EXTENT_PAGES;
    plant(&world, 2, PageHandle::new(sequence, 8 * EXTENT_PAGES as u32));
    plant(&world, 3, PageHandle::new(sequence, foreign as u32));
    let found = check(&world, &[listed(0, 1), listed(1, 2)]).problems;
    let owners: Vec<&str> =
        found.iter().map(|p| if let Problem::Dangling { owner, .. } = p { owner.as_str() } else { "" }).collect();
    assert_eq!(owners, ["beyond the arena", "zone slot 1's, match 2"]);
}

#[test]
fn a_page_named_twice() {
    let (world, _pages, sequence) = sound();
    let page = handle(&world, 0);
    plant(&world, 2, page);
    let found = check(&world, &[listed(0, 1)]).problems;
    assert_eq!(found, [Problem::DoublyOwned { zone: 0, sequence, page: page.index() }]);
}

#[test]
fn a_page_with_two_lives_in_the_window() {
    let (world, pages, _) = sound();
    set(&pages, 0, 0, 5);
    let sequence = commit(&pages, 2).sequence;
    plant(&world, 1, PageHandle::new(sequence, handle(&world, 1).index()));
    let found = check(&world, &[listed(0, 1)]).problems;
    assert!(matches!(found[..], [Problem::DoublyOwned { .. }]), "{found:?}");
}

#[test]
fn a_page_from_the_future() {
    let (world, _pages, sequence) = sound();
    let page = handle(&world, 0).index();
    plant(&world, 0, PageHandle::new(sequence + 1, page));
    let found = check(&world, &[listed(0, 1)]).problems;
    assert_eq!(found, [Problem::FromTheFuture { zone: 0, sequence, page, birth: sequence + 1 }]);
}

#[test]
fn a_damaged_descriptor() {
    let (world, pages, _) = sound();
    for tick in 2..10 {
        set(&pages, 0, 0, tick);
        commit(&pages, tick as u32);
    }
    let newest = world.newest(0).expect("a root");
    for back in [3, 0] {
        let mut root = newest.clone();
        root.head.sequence = root.head.sequence - back + ROOT_RING;
        world.write_root(0, &mut root);
        let found = check(&world, &[listed(0, 1)]).problems;
        assert!(matches!(found[..], [Problem::Torn(_)]), "{found:?}");
    }
}
