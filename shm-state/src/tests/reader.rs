//! A reader that copies all the time while a small arena's pages are reused under its eyes never sees a torn world.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::mirror::{Mirror, MirrorError};
use crate::world::RootError;

const LOGICAL: [u32; 6] = [0, 1, 2, 511, 512, 600];

/// Follows one zone until it is told to stop; counts the different commits that it sees.
fn follow(world: &World, zone: usize, stop: &AtomicBool, seen: &AtomicU64) {
    let mut mirror = Mirror::new(zone);
    let mut last = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        match mirror.refresh(world) {
            Ok(_) => {}
            Err(MirrorError::Overtaken { .. } | MirrorError::Root(RootError::Nothing { .. } | RootError::Gone { .. })) => {
                continue;
            }
            Err(error) => panic!("a reader of a live zone found damage: {error}"),
        }
        let head = mirror.head().expect("refreshed");
        let now = (head.sequence, head.incarnation);
        assert!(now.0 >= last.0 && now.1 >= last.1, "commits are seen in order");
        let ended = head.flags & crate::layout::RootFlags::ENDED != 0;
        let value = if ended { 0 } else { head.net_cursor };
        for logical in LOGICAL {
            assert!(mirror.page(logical).iter().all(|word| *word == value), "torn page {logical} of {now:?}");
        }
        seen.fetch_add(u64::from(now != last), Ordering::Relaxed);
        last = now;
    }
}

fn fill(pages: &Pages, value: u64) {
    for logical in LOGICAL {
        (0..PAGE_WORDS).for_each(|word| set(pages, logical, word, value));
    }
    // SAFETY: no reference into pages.
    unsafe { pages.commit(RootHead { net_cursor: value, ..head(value as u32) }) }.expect("room in the arena");
}

/// One zone commits all the time; another opens and ends again and again, so extents move between them.
#[test]
fn a_live_world_is_never_torn() {
    let world = world(34);
    let stop = AtomicBool::new(false);
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    std::thread::scope(|scope| {
        let (shared, stopped): (&World, _) = (&world, &stop);
        let seen = &seen;
        let steady = scope.spawn(move || follow(shared, 0, stopped, &seen[0]));
        let restless = scope.spawn(move || follow(shared, 1, stopped, &seen[1]));
        // A reader that the system hardly runs is given more to see; one that found damage has ended.
        let waits = || {
            let few = seen[0].load(Ordering::Relaxed) <= 10 || seen[1].load(Ordering::Relaxed) <= 1;
            few && !steady.is_finished() && !restless.is_finished()
        };
        let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 601).expect("a free slot");
        let mut value = 0;
        while value < 3_000 || waits() {
            value += 1;
            fill(&pages, value);
            if value % 50 == 0 {
                let guest = Pages::open(Rc::clone(&world), 1, value, 1, 601).expect("a free slot");
                (1..=20).for_each(|tick| fill(&guest, value * 100 + tick));
                end(&guest);
            }
        }
        stop.store(true, Ordering::Relaxed);
        steady.join().expect("no torn page");
        restless.join().expect("no torn page");
    });
}

const ROUND: u64 = 160;

/// At commit n page n % ROUND holds n everywhere, so the tick alone says what every page must hold.
fn check_round(mirror: &Mirror) {
    let newest = u64::from(mirror.head().expect("refreshed").tick);
    for page in 0..ROUND {
        let back = (newest % ROUND + ROUND - page) % ROUND;
        let expected = newest.saturating_sub(back);
        let expected = if expected % ROUND == page { expected } else { 0 };
        let words = mirror.page(page as u32);
        assert!(words.iter().all(|word| *word == expected), "page {page} of commit {newest} is another commit's");
    }
}

/// Copying all pages takes longer than the window lasts, and the arena is so small that pages are reused at once: a reader that did
/// not look at the published word again would be fooled all the time.
#[test]
fn a_slow_reader_is_overtaken_but_not_fooled() {
    let world = world(17);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (shared, stopped): (&World, _) = (&world, &stop);
        scope.spawn(move || {
            let mut steady = Mirror::new(0);
            while !stopped.load(Ordering::Relaxed) {
                let mut fresh = Mirror::new(0);
                for mirror in [&mut fresh, &mut steady] {
                    if mirror.refresh(shared).is_ok() {
                        check_round(mirror);
                    }
                }
            }
            steady.refresh(shared).expect("nobody overtakes now");
            check_round(&steady);
            assert_eq!(steady.head().map(|h| h.tick), Some(20_000));
        });
        let pages = Pages::open(Rc::clone(&world), 0, 1, 1, ROUND as u32).expect("a free slot");
        for tick in 1..=20_000u64 {
            let content: Page = [tick; PAGE_WORDS];
            // SAFETY: `write` gives a private page of PAGE_BYTES, and no reference to it exists.
            unsafe { std::ptr::copy_nonoverlapping(content.as_ptr().cast(), pages.write((tick % ROUND) as u32), PAGE_BYTES) };
            commit(&pages, tick as u32);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
