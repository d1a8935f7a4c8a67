//! Earlier ticks, the state hash, and zones whose root names directory pages.

use super::*;
use crate::fsck::{Problem, check};
use crate::layout::SessionInput;
use crate::limits::{MAX_LOGICAL_PAGES, MAX_TABLES, WINDOW};
use crate::mirror::{Mirror, MirrorError, Refreshed};
use crate::table::{Table, Tables};
use crate::tree::Tree;
use crate::world::RootError;

/// Logical pages on every edge of a zone with two levels of table pages.
const LARGE: u32 = (MAX_TABLES * PAGE_WORDS) as u32 + 5_000;
const EDGES: [u32; 8] = [0, 511, 512, 16_383, 16_384, 16_385, LARGE - 2, LARGE - 1];

#[test]
fn the_root_of_a_large_zone_names_directory_pages() {
    assert_eq!(Tree::new(MAX_TABLES * PAGE_WORDS).top, 1);
    assert_eq!((Tree::new(LARGE as usize).top, Tree::new(LARGE as usize).roots()), (2, 1));
    assert_eq!(Tree::new(MAX_LOGICAL_PAGES).counts, [512 * 512, 512, 1]);
    let world = world(40);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, LARGE).expect("a free slot");
    let mut mirror = Mirror::new(0);
    let mut model = State::new();
    for round in 1..=100u64 {
        for (i, edge) in EDGES.into_iter().enumerate().filter(|(i, _)| (round + *i as u64).is_multiple_of(3)) {
            // Every ninth round a page becomes zeros again.
            let value = if round.is_multiple_of(9) { 0 } else { round * 10 + i as u64 };
            set(&pages, edge, i, value);
            model.insert((edge, i), value);
        }
        model.retain(|_, value| *value != 0);
        let head = commit(&pages, round as u32);
        assert_eq!(state_of(&world, 0, head.sequence), model);
        mirror.refresh(&world).expect("readable");
        assert_eq!(mirror.state_hash(), head.state_hash);
        assert!(EDGES.into_iter().enumerate().all(|(i, e)| mirror.page(e)[i] == *model.get(&(e, i)).unwrap_or(&0)));
        if round.is_multiple_of(10) {
            assert_eq!(check(&world, &[listed(0, 1)]).problems, []);
        }
    }
    drop(pages);
    let (pages, _) = Pages::adopt(Rc::clone(&world), 0, 1, 2, LARGE).expect("whole");
    assert!(EDGES.into_iter().enumerate().all(|(i, e)| get(&pages, e)[i] == *model.get(&(e, i)).unwrap_or(&0)));
    set(&pages, 16_385, 7, 7);
    commit(&pages, 101);
    assert_eq!(check(&world, &[listed(0, 1)]).problems, []);
    end(&pages);
    assert_eq!(mirror.refresh(&world), Ok(Refreshed::Newer));
    assert!(EDGES.into_iter().all(|e| *mirror.page(e) == [0; PAGE_WORDS]));
    assert_eq!(world.extents_used(), 0);
}

#[test]
fn a_mirror_of_some_pages_follows_those_and_copies_no_others() {
    let world = world(40);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, LARGE).expect("a free slot");
    let wanted = |edge: u32| edge == 512 || (16_384..16_386).contains(&edge);
    let mut mirror = Mirror::of_pages(0, vec![512..513, 16_384..16_386]);
    for round in 1..=40u64 {
        EDGES.into_iter().for_each(|edge| set(&pages, edge, 3, if round.is_multiple_of(9) { 0 } else { round }));
        let head = commit(&pages, round as u32);
        mirror.refresh(&world).expect("readable");
        assert_eq!(mirror.head().map(|held| held.sequence), Some(head.sequence));
        let value = |edge: u32| mirror.page(edge)[3];
        let expected = |edge: u32| if wanted(edge) { get(&pages, edge)[3] } else { 0 };
        assert!(EDGES.into_iter().all(|edge| value(edge) == expected(edge)), "round {round}");
        assert!(mirror.changes().iter().all(|change| wanted(change.logical)), "round {round}");
        // Three pages, two table pages and the directory page: each, what it was before, and a spare one.
        assert!(mirror.held_pages() <= 3 * (3 + 3), "{}", mirror.held_pages());
    }
}

/// Two ways to the same content: other pages, another order, a detour over zeros, a take-over on the way.
#[test]
fn equal_worlds_have_equal_state_hashes() {
    let world = world(8);
    let one = Pages::open(Rc::clone(&world), 0, 1, 1, 600).expect("a free slot");
    let opened = commit(&one, 0).state_hash;
    assert_eq!(opened, 0, "an empty world");
    set(&one, 3, 1, 5);
    set(&one, 590, 2, 6);
    let wanted = commit(&one, 1).state_hash;
    let other = Pages::open(Rc::clone(&world), 1, 2, 1, 600).expect("a free slot");
    let mut seen = vec![0];
    for (page, word, value) in [(590, 2, 6), (4, 1, 5), (3, 1, 6), (4, 1, 0), (3, 1, 5)] {
        set(&other, page, word, value);
        let hash = commit(&other, 1).state_hash;
        assert!(!seen.contains(&hash), "another content");
        seen.push(hash);
    }
    assert_eq!(seen.last(), Some(&wanted));
    drop(other);
    let (other, head) = Pages::adopt(Rc::clone(&world), 1, 2, 2, 600).expect("whole");
    assert_eq!(head.state_hash, wanted);
    set(&other, 3, 1, 9);
    commit(&other, 2);
    set(&other, 3, 1, 5);
    assert_eq!(commit(&other, 3).state_hash, wanted, "updated from pages that this process did not write");
}

#[test]
fn a_page_that_is_not_what_was_committed_is_found() {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    set(&pages, 0, 0, 1);
    let sequence = commit(&pages, 1).sequence;
    let table = world.newest(0).expect("a root").tables[0];
    let mut words: Page = [0; PAGE_WORDS];
    assert!(world.copy_page(table, &mut words));
    let page = world.page_ptr(crate::world::PageHandle(words[0]).index());
    // SAFETY: the page is PAGE_BYTES long and no other thread uses this world.
    unsafe { page.add(4095).write(1) };
    let found = check(&world, &[listed(0, 1)]).problems;
    assert!(matches!(found[..], [Problem::OtherContent { zone: 0, sequence: s, .. }] if s == sequence), "{found:?}");
}

fn table(pages: &Rc<Pages>) -> Table<SessionInput> {
    let at = Tables::default().add(300, size_of::<SessionInput>());
    // SAFETY: each test binds one table to its pages, which hold nothing else.
    unsafe { Table::bind(pages, at) }
}

fn row(tick: u32) -> SessionInput {
    SessionInput { highest: tick, ..SessionInput::new_zeroed() }
}

/// The owner reads the last WINDOW ticks in place, in the midst of a tick and after a take-over; older ones are refused.
#[test]
fn earlier_ticks_are_read_in_place() {
    const LOGICAL: u32 = 10;
    let world = world(16);
    let mut pages = Rc::new(Pages::open(Rc::clone(&world), 0, 1, 1, LOGICAL).expect("a free slot"));
    let mut rows = table(&pages);
    assert!(pages.at(0).is_none(), "nothing is committed");
    for tick in 1..=100u32 {
        // Ticks are not numbered without gaps: a tick may be put off.
        let tick = tick * 2;
        rows.insert(tick % 300, row(tick));
        rows.insert(7, row(tick));
        if tick.is_multiple_of(6) {
            rows.remove(tick % 300);
        }
        for back in [2, 4, 40, 62, 64, 66].into_iter().filter(|back| *back < tick) {
            let then = tick - back;
            let Some(past) = pages.at(then) else {
                assert!(back > 2 * WINDOW as u32, "{tick} {back}");
                continue;
            };
            assert!(back <= 2 * WINDOW as u32, "{tick} {back}");
            // SAFETY: the only table on the past pages, and as declared.
            let back_then: Table<SessionInput> = unsafe { Table::bind(&past, rows.at()) };
            assert_eq!((past.head().map(|head| head.tick), back_then.get(7)), (Some(then), Some(&row(then))));
            let kept = !then.is_multiple_of(6);
            assert_eq!(back_then.get(then % 300).is_some(), kept);
            assert_eq!(back_then.get(tick % 300), None, "not yet");
            assert!(pages.at(then + 1).is_none(), "no such tick");
        }
        commit(&pages, tick);
        if tick.is_multiple_of(14) {
            drop(rows);
            drop(pages);
            pages = Rc::new(Pages::adopt(Rc::clone(&world), 0, 1, tick as u16, LOGICAL).expect("whole").0);
            rows = table(&pages);
        }
    }
}

#[test]
fn a_mirror_shows_earlier_ticks() {
    let world = world(16);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    let mut mirror = Mirror::new(0);
    for tick in 1..=60u32 {
        set(&pages, tick % 4, 0, tick.into());
        commit(&pages, tick);
        for back in [0, 5, 31, 32] {
            let Some(then) = tick.checked_sub(back).filter(|then| *then > 0) else { continue };
            let shown = mirror.refresh_at(&world, then);
            if back == 32 {
                let refused = RootError::NotInWindow { zone: 0, tick: then, newest: tick };
                assert_eq!(shown, Err(MirrorError::Root(refused)));
                continue;
            }
            let head = mirror.head().expect("shown");
            assert!(shown.is_ok() && head.tick == then && mirror.state_hash() == head.state_hash);
            for page in 0..4 {
                let last = (1..=then).rev().find(|t| t % 4 == page).unwrap_or(0);
                assert_eq!(mirror.page(page)[0], u64::from(last), "page {page} at tick {then} of {tick}");
            }
        }
    }
}

/// Two contents with one hash are two contents: a change is never lost, only the state hash says nothing of it.
#[test]
fn a_collision_of_hashes_loses_no_change() {
    crate::hash::ALL_ALIKE.set(true);
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    for (tick, value) in [(1, 5), (2, 6), (3, 6), (4, 0), (5, 7)] {
        set(&pages, 2, 3, value);
        let before = world.newest(0).ok().map(|root| root.tables);
        let sequence = commit(&pages, tick).sequence;
        assert_eq!(state_of(&world, 0, sequence).get(&(2, 3)).copied().unwrap_or(0), value);
        let root = world.newest(0).expect("a root");
        assert_eq!(Some(root.tables) == before, tick == 3, "tick {tick}: only what is the same is left as it is");
    }
    crate::hash::ALL_ALIKE.set(false);
}

#[test]
fn nothing_is_left_of_the_ticks_of_an_ended_match() {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    for tick in 0..4 {
        set(&pages, 0, 0, u64::from(tick) + 1);
        commit(&pages, tick);
    }
    // SAFETY: no reference into pages.
    unsafe { pages.end(head(3)) }.expect("not fenced");
    for tick in 0..5 {
        assert!(pages.at(tick).is_none(), "tick {tick}");
        let shown = Mirror::new(0).refresh_at(&world, tick);
        assert!(matches!(shown, Err(MirrorError::Root(RootError::NotInWindow { .. }))), "tick {tick}: {shown:?}");
    }
}
