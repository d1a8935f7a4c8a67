//! What a zone takes and gives back, and what it refuses to be taken over as. Deaths and endings are in the state machines.

use super::*;
use crate::layout::AttemptEntry;
use crate::limits::{KEEP_FREE_PAGES, WINDOW};
use crate::mirror::{Mirror, Refreshed};
use crate::pages::{AdoptError, CommitError};
use crate::world::RootError;

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
fn what_was_given_back_is_used_again_before_more_of_the_arena_is() {
    let world = world(256);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 512).expect("a free slot");
    let (mut tick, mut ever, mut most) = (0, std::collections::BTreeSet::new(), 0);
    for _ in 0..8 {
        for changed in [16, 0] {
            for _ in 0..2 * WINDOW {
                tick += 1;
                (0..changed).for_each(|page| set(&pages, page, 0, u64::from(tick)));
                commit(&pages, tick);
                ever.extend((0..world.extents()).filter(|extent| world.owner(*extent).is_some()));
                most = most.max(world.extents_used());
            }
        }
    }
    assert!(world.extents_used() < most / 2, "the load shrank");
    assert_eq!(ever.len(), most, "no more memory was touched than was used at one time");
    end(&pages);
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
fn a_zone_that_was_released_goes_on_under_the_next_owner_and_under_nobody_else() {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    set(&pages, 0, 0, 7);
    commit(&pages, 1);
    let tried = AttemptEntry { incarnation: 1, tick: 2, attempt: 1, ..AttemptEntry::new_zeroed() };
    world.publish_attempt(0, &tried);
    set(&pages, 1, 0, 8);
    let sequence = world.published(0).sequence;
    // SAFETY: no reference into pages.
    assert_eq!(unsafe { pages.release(2) }, Ok(()));
    assert_eq!((world.published(0).epoch, world.published(0).sequence), (2, sequence), "the newest root stays");
    assert_eq!(world.attempt(0).map(|last| last.tick), Some(0), "a tick that was put off is no death's");
    set(&pages, 0, 0, 9);
    let arena = world.page_ptr(0)..=world.page_ptr(world.pages() as u32 - 1);
    assert!(!arena.contains(&pages.write(0)), "what the last owner writes from then on is in memory of its own");
    // SAFETY: no reference into pages.
    assert_eq!(unsafe { pages.commit(head(2)) }, Err(CommitError::Fenced { zone: 0, epoch: 2 }));
    // SAFETY: no reference into pages.
    assert_eq!(unsafe { pages.release(3) }, Err(CommitError::Fenced { zone: 0, epoch: 2 }));
    let (next, adopted) = Pages::adopt(Rc::clone(&world), 0, 1, 2, 4).expect("released to this one");
    assert_eq!((adopted.tick, get(&next, 0)[0], get(&next, 1)[0]), (1, 7, 0));
    set(&next, 1, 0, 10);
    commit(&next, 2);
    assert_eq!(state_of(&world, 0, world.published(0).sequence), State::from([((0, 0), 7), ((1, 0), 10)]));
    assert_eq!(crate::fsck::check(&world, &[listed(0, 1)]).problems, []);
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
