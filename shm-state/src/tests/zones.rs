//! Zones that end, die, are taken over and are fenced off.

use super::*;
use crate::layout::RootFlags;
use crate::limits::{KEEP_FREE_PAGES, MAX_TABLES, WINDOW};
use crate::mirror::{Mirror, Refreshed};
use crate::pages::{AdoptError, CommitError};
use crate::world::{PageHandle, Published, Root, RootError};

#[test]
fn pages_that_did_not_change_keep_their_handle() {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    set(&pages, 0, 3, 7);
    set(&pages, 1, 3, 8);
    commit(&pages, 1);
    let before = world.newest(0).expect("a root");
    set(&pages, 0, 3, 9);
    set(&pages, 0, 3, 7);
    set(&pages, 2, 0, 0);
    commit(&pages, 2);
    let after = world.newest(0).expect("a root");
    assert_eq!(after.head.tick, 2);
    assert_eq!(after.tables, before.tables, "nothing changed, so not even the table page did");
    assert_eq!(after.head.pages_used, before.head.pages_used);

    let mut mirror = Mirror::new(0);
    assert_eq!(mirror.refresh(&world), Ok(Refreshed::OtherMatch));
    set(&pages, 1, 3, 1);
    commit(&pages, 3);
    assert_eq!(mirror.refresh(&world), Ok(Refreshed::Newer));
    let changed: Vec<u32> = mirror.changes().iter().map(|c| c.logical).collect();
    assert_eq!(changed, [1]);
    assert_eq!(mirror.changes()[0].before.as_deref().map(|p| p[3]), Some(8));
    assert_eq!((mirror.page(1)[3], mirror.page(0)[3]), (1, 7));
    assert_eq!(mirror.refresh(&world), Ok(Refreshed::Same));
    assert!(mirror.changes().is_empty());
}

#[test]
fn a_full_arena_rolls_the_tick_back_and_the_zone_goes_on() {
    let world = world(2);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 100).expect("a free slot");
    set(&pages, 0, 0, 1);
    commit(&pages, 1);
    for logical in 0..100 {
        set(&pages, logical, 1, 5);
        assert_eq!(get(&pages, logical)[1], 5, "a tick without room still reads what it wrote");
    }
    // SAFETY: no reference into pages.
    let full = unsafe { pages.commit(head(2)) };
    assert_eq!(full, Err(CommitError::ArenaFull { extents: 2 }));
    assert_eq!(get(&pages, 0)[..2], [1, 0]);
    assert_eq!(world.newest(0).expect("a root").head.tick, 1);
    set(&pages, 0, 1, 6);
    commit(&pages, 3);
    assert_eq!(state_of(&world, 0, world.published(0).sequence), State::from([((0, 0), 1), ((0, 1), 6)]));
}

#[test]
fn extents_go_back_when_the_load_shrinks() {
    let world = world(64);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 512).expect("a free slot");
    for tick in 1..=40 {
        (0..16).for_each(|page| set(&pages, page, 0, u64::from(tick)));
        commit(&pages, tick);
    }
    let loaded = world.extents_used();
    assert!(loaded > 30, "{loaded}");
    for tick in 0..2 * WINDOW as u32 {
        commit(&pages, 100 + tick);
    }
    let kept = 2 * KEEP_FREE_PAGES + 17;
    assert!(world.extents_used() * crate::limits::EXTENT_PAGES <= kept + crate::limits::EXTENT_PAGES, "{}", world.extents_used());
    assert_eq!(world.newest(0).expect("a root").head.pages_used, 17, "sixteen pages and their table");
    assert_eq!(pages.extents(), world.extents_used());
    end(&pages);
    assert_eq!(world.extents_used(), 0);
}

#[test]
fn one_zone_takes_what_another_gave_back() {
    let world = world(4);
    let first = Pages::open(Rc::clone(&world), 0, 1, 1, 64).expect("a free slot");
    let second = Pages::open(Rc::clone(&world), 1, 2, 1, 64).expect("a free slot");
    (0..50).for_each(|page| set(&first, page, 0, 1));
    commit(&first, 1);
    (0..50).for_each(|page| set(&second, page, 0, 2));
    // SAFETY: no reference into pages.
    assert!(matches!(unsafe { second.commit(head(1)) }, Err(CommitError::ArenaFull { .. })));
    end(&first);
    (0..50).for_each(|page| set(&second, page, 0, 2));
    commit(&second, 1);
    let state = state_of(&world, 1, world.published(1).sequence);
    assert!(state.len() == 50 && state.values().all(|v| *v == 2));
    assert_eq!(crate::fsck::check(&world, &[listed(1, 2)]).problems, []);
}

#[test]
fn a_process_taken_for_dead_is_fenced_and_changes_nothing() {
    let world = world(8);
    let zombie = Pages::open(Rc::clone(&world), 0, 1, 1, 8).expect("a free slot");
    set(&zombie, 0, 0, 1);
    commit(&zombie, 1);
    set(&zombie, 0, 0, 666);
    let (owner, found) = Pages::adopt(Rc::clone(&world), 0, 1, 2, 8).expect("granted");
    assert_eq!(found.tick, 1);
    (0..8).for_each(|page| set(&owner, page, 0, 2));
    commit(&owner, 2);
    let committed = state_of(&world, 0, world.published(0).sequence);
    let fenced = Err(CommitError::Fenced { zone: 0, epoch: 2 });
    // SAFETY: no reference into pages.
    unsafe {
        assert_eq!(zombie.commit(head(2)), fenced);
        assert_eq!(zombie.end(head(2)), fenced);
    }
    assert_eq!(state_of(&world, 0, world.published(0).sequence), committed);
    assert_eq!(crate::fsck::check(&world, &[listed(0, 1)]).problems, []);
    let stale = Pages::adopt(Rc::clone(&world), 0, 1, 1, 8).map(|_| ());
    assert_eq!(stale, Err(AdoptError::Fenced { zone: 0, epoch: 2, granted: 1 }));
    commit(&owner, 3);
}

#[test]
fn an_owner_killed_between_descriptor_and_publication_leaves_the_last_commit() {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 8).expect("a free slot");
    for tick in 1..=50 {
        set(&pages, 0, 0, tick);
        commit(&pages, tick as u32);
    }
    let published = world.published(0);
    let mut unpublished = world.newest(0).expect("a root");
    unpublished.head.sequence += 1;
    unpublished.head.tick = 99;
    world.write_root(0, &mut unpublished);
    drop(pages);
    let (pages, found) = Pages::adopt(Rc::clone(&world), 0, 1, 2, 8).expect("granted");
    assert_eq!((found.tick, found.sequence), (50, published.sequence));
    assert_eq!(get(&pages, 0)[0], 50);
    assert_eq!(crate::fsck::check(&world, &[listed(0, 1)]).problems, []);
}

/// Publishes the first so many roots of an ending, as an owner does that is killed then.
fn begin_to_end(world: &World, roots: u64) {
    for _ in 0..roots {
        let from = world.published(0);
        let newest = world.newest(0).expect("a root").head;
        let ended = RootHead { flags: RootFlags::ENDED, logical_pages: 0, tables: 0, sequence: from.sequence + 1, ..newest };
        world.write_root(0, &mut Root { head: ended, tables: [PageHandle::NONE; MAX_TABLES] });
        world.publish(0, from, Published { sequence: from.sequence + 1, ..from }).expect("one writer");
    }
}

#[test]
fn an_owner_killed_while_it_ends_a_match_leaks_nothing() {
    for roots in [1, 5, WINDOW] {
        for successor in ["opens", "adopts", "finishes"] {
            let world = world(8);
            let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 8).expect("a free slot");
            (1..=40).for_each(|tick| {
                set(&pages, 1, 0, tick);
                commit(&pages, tick as u32);
            });
            let last = world.published(0).sequence;
            drop(pages);
            begin_to_end(&world, roots);
            assert!(world.extents_used() > 0);
            if successor == "opens" {
                let next = Pages::open(Rc::clone(&world), 0, 2, 2, 8).expect("a slot");
                assert_eq!(world.extents_used(), 0);
                set(&next, 0, 0, 3);
                commit(&next, 1);
                assert_eq!(state_of(&world, 0, world.published(0).sequence), State::from([((0, 0), 3)]));
                assert_eq!(crate::fsck::check(&world, &[listed(0, 2)]).problems, []);
            } else if successor == "finishes" {
                assert!(!world.finish_ended(0, 2) && world.extents_used() > 0);
                assert!(world.finish_ended(0, 1) && world.finish_ended(0, 1));
            } else {
                let adopted = Pages::adopt(Rc::clone(&world), 0, 1, 2, 8).map(|_| ());
                assert_eq!(adopted, Err(AdoptError::Ended { zone: 0, incarnation: 1 }));
            }
            assert!(!world.in_window(0, last), "pages went back only after no reader may use them");
            let used = usize::from(successor == "opens");
            assert_eq!(world.extents_used(), used);
        }
    }
}

#[test]
fn the_newest_root_is_readable_at_every_step_of_an_ending() {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 8).expect("a free slot");
    for tick in 1..=45 {
        set(&pages, 0, 0, tick);
        commit(&pages, tick as u32);
    }
    let last = world.published(0).sequence;
    for _ in 0..WINDOW {
        begin_to_end(&world, 1);
        let newest = world.newest(0).expect("whole");
        assert!(newest.head.flags & RootFlags::ENDED != 0);
        let oldest = newest.head.sequence - (WINDOW - 1);
        (oldest..=last).for_each(|sequence| drop(state_of(&world, 0, sequence)));
    }
}

#[test]
fn a_mirror_follows_the_end_and_the_next_match() {
    let world = world(8);
    let mut mirror = Mirror::new(3);
    assert!(mirror.refresh(&world).is_err());
    let pages = Pages::open(Rc::clone(&world), 3, 1, 1, 600).expect("a free slot");
    set(&pages, 0, 0, 1);
    set(&pages, 599, 511, 2);
    commit(&pages, 1);
    assert_eq!(mirror.refresh(&world), Ok(Refreshed::OtherMatch));
    assert_eq!((mirror.page(0)[0], mirror.page(599)[511]), (1, 2));
    end(&pages);
    assert_eq!(mirror.refresh(&world), Ok(Refreshed::Newer));
    assert_eq!(mirror.head().map(|h| h.flags), Some(RootFlags::ENDED));
    assert_eq!((mirror.page(0)[0], mirror.page(599)[511]), (0, 0));
    assert_eq!(mirror.changes().len(), 2);
    let pages = Pages::open(Rc::clone(&world), 3, 2, 2, 8).expect("a free slot");
    set(&pages, 1, 0, 9);
    commit(&pages, 1);
    assert_eq!(mirror.refresh(&world), Ok(Refreshed::OtherMatch));
    assert_eq!((mirror.page(0)[0], mirror.page(1)[0], mirror.page(599)[511]), (0, 9, 0));
}

#[test]
fn adopting_what_is_not_there_says_so() {
    let world = world(4);
    let adopt = |incarnation, pages| Pages::adopt(Rc::clone(&world), 0, incarnation, 2, pages).map(|_| ());
    assert_eq!(adopt(1, 4), Err(AdoptError::Root(RootError::Nothing { zone: 0 })));
    let pages = Pages::open(Rc::clone(&world), 0, 1, 2, 4).expect("a free slot");
    set(&pages, 0, 0, 1);
    commit(&pages, 1);
    assert_eq!(adopt(7, 4), Err(AdoptError::OtherMatch { zone: 0, found: 1, wanted: 7 }));
    assert_eq!(adopt(1, 5), Err(AdoptError::OtherTables { zone: 0, found: 4, expected: 5 }));
    assert_eq!(adopt(1, 4), Ok(()));
}

#[test]
fn a_match_that_never_committed_is_cleared_by_the_next() {
    let world = world(4);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    set(&pages, 0, 0, 1);
    drop(pages);
    assert_eq!(world.extents_used(), 1);
    let _pages = Pages::open(Rc::clone(&world), 0, 2, 2, 4).expect("a slot");
    assert_eq!(world.extents_used(), 0);
}

/// Right after a take-over, and in the middle of the successor's first ticks, every root of the window still is what it was.
#[test]
fn a_successor_leaves_the_whole_window_alone() {
    let world = world(32);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 600).expect("a free slot");
    let mut states = BTreeMap::new();
    for tick in 1..=70u32 {
        for page in [tick % 5, 512 + tick % 3] {
            set(&pages, page, 0, tick.into());
        }
        let sequence = commit(&pages, tick).sequence;
        states.insert(sequence, state_of(&world, 0, sequence));
    }
    drop(pages);
    let (pages, _) = Pages::adopt(Rc::clone(&world), 0, 1, 2, 600).expect("granted");
    for tick in 71..=150u32 {
        let newest = world.published(0).sequence;
        assert!(world.in_window(0, newest + 1 - WINDOW) && !world.in_window(0, newest - WINDOW));
        // More pages than are free in the extents that the zone owned.
        (0..60).for_each(|page| set(&pages, page, 1, tick.into()));
        for (sequence, state) in states.range(newest + 1 - WINDOW..=newest) {
            assert_eq!(&state_of(&world, 0, *sequence), state, "root {sequence} in tick {tick}");
        }
        // SAFETY: no reference into pages.
        unsafe { pages.roll_back() };
        if tick % 2 == 0 {
            set(&pages, tick % 7, 2, tick.into());
        }
        let sequence = commit(&pages, tick).sequence;
        states.insert(sequence, state_of(&world, 0, sequence));
    }
    assert_eq!(crate::fsck::check(&world, &[listed(0, 1)]).problems, []);
}
