//! A reader that copies all the time while a small arena's pages are reused under its eyes never sees a torn world.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::mirror::{Mirror, MirrorError};
use crate::world::RootError;

const LOGICAL: [u32; 6] = [0, 1, 2, 511, 512, 600];

/// Follows one zone until it is told to stop; returns how many different commits it saw.
fn follow(world: &World, zone: usize, stop: &AtomicBool) -> u64 {
    let mut mirror = Mirror::new(zone);
    let (mut seen, mut last) = (0, (0, 0));
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
        let value = if head.logical_pages == 0 { 0 } else { head.net_cursor };
        for logical in LOGICAL {
            assert!(mirror.page(logical).iter().all(|word| *word == value), "torn page {logical} of {now:?}");
        }
        seen += u64::from(now != last);
        last = now;
    }
    seen
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
    std::thread::scope(|scope| {
        let (shared, stopped): (&World, _) = (&world, &stop);
        let steady = scope.spawn(move || follow(shared, 0, stopped));
        let restless = scope.spawn(move || follow(shared, 1, stopped));
        let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 601).expect("a free slot");
        for value in 1..=3_000u64 {
            fill(&pages, value);
            if value % 50 == 0 {
                let guest = Pages::open(Rc::clone(&world), 1, value, 1, 601).expect("a free slot");
                (1..=20).for_each(|tick| fill(&guest, value * 100 + tick));
                end(&guest);
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(steady.join().expect("no torn page") > 10);
        assert!(restless.join().expect("no torn page") > 1);
    });
}
