use std::cell::Cell as Counter;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use zerocopy::FromZeros;

use super::*;
use crate::fsck::check;
use crate::layout::{RootHead, ZoneEntry, ZoneState};
use crate::limits::WINDOW;
use crate::memory::Memory;
use crate::pages::Pages;
use crate::world::RootError;

/// Logical pages of the zone.
const PAGES: u32 = 40;

fn commit(pages: &Pages, tick: u32) {
    for logical in [tick % PAGES, 7, tick * 13 % PAGES] {
        // SAFETY: `write` gives a private page, and its first word lies in it; no reference exists.
        unsafe { pages.write(logical).cast::<u64>().write(u64::from(tick)) };
    }
    // SAFETY: no reference into pages is held.
    unsafe { pages.commit(RootHead { tick, net_cursor: u64::from(tick) * 8, ..RootHead::new_zeroed() }) }
        .expect("room in the arena");
}

/// The memory of a world whose owner commits some ticks when a reader copies for the n-th time.
struct Busy<'a> {
    world: &'a World,
    pages: &'a Pages,
    calls: Counter<u32>,
    at: u32,
    commits: u32,
    tick: Counter<u32>,
}

impl Words for Busy<'_> {
    fn bytes(&self) -> usize {
        self.world.memory().bytes()
    }

    fn load(&self, offset: usize, order: Ordering) -> u64 {
        self.world.memory().load(offset, order)
    }

    fn store(&self, _: usize, _: u64, _: Ordering) {
        unreachable!("a copy is only read")
    }

    fn compare_exchange(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("a copy is only read")
    }

    fn fetch_add(&self, _: usize, _: u64) {
        unreachable!("a copy is only read")
    }

    fn copy_out(&self, offset: usize, to: &mut [u64]) {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() == self.at {
            for _ in 0..self.commits {
                self.tick.set(self.tick.get() + 1);
                commit(self.pages, self.tick.get());
            }
        }
        self.world.memory().copy_out(offset, to);
    }
}

/// A world that consists of the copy of one zone.
fn world_of(copy: &ZoneCopy, zone: usize, extents: usize) -> World {
    let memory = Memory::heap(at::bytes(extents));
    memory.copy_in(at::CONTROLS + zone * at::CONTROL_STRIDE, &copy.control);
    for (extent, owner, words) in copy.extents() {
        memory.copy_in(at::OWNERS + extent * 8, &[owner]);
        memory.copy_in(at::arena(extents) + extent * EXTENT_BYTES, words);
    }
    World::over(memory, extents)
}

#[test]
fn a_copy_is_whole_wherever_its_owner_commits_meanwhile() {
    let (zone, extents) = (3, 24);
    let entry = ZoneEntry { incarnation: 9, state: ZoneState::Open as u32, ..ZoneEntry::new_zeroed() };
    let mut shortened = 0;
    for commits in [0, 1, 5, 30, 31, 32, 33, 90] {
        for at in 1..16 {
            let world = Rc::new(World::heap(extents));
            let pages = Pages::open(Rc::clone(&world), zone, 9, 1, PAGES).expect("a free slot");
            (1..=60).for_each(|tick| commit(&pages, tick));
            let busy = Busy { world: &world, pages: &pages, calls: Counter::new(0), at, commits, tick: Counter::new(60) };
            let mut copy = ZoneCopy::default();
            assert!(World::over(busy, extents).copy_zone(zone, &mut copy));
            let copied = world_of(&copy, zone, extents);
            let found = check(&copied, &[(zone, entry)]);
            assert_eq!(found.problems, [], "{commits} commits at copy {at}");
            let newest = copied.newest(zone).expect("the newest is always whole").head;
            assert!(newest.tick >= 60);
            assert_eq!((copy.consumed(9), copy.consumed(8)), (Some(u64::from(newest.tick) * 8), None));
            let oldest = copied.root(zone, newest.sequence - (WINDOW - 1));
            match oldest {
                Ok(root) => assert_eq!(root.head.tick, newest.tick - (WINDOW as u32 - 1)),
                Err(error) => {
                    assert!(matches!(error, RootError::Gone { .. }), "{error}");
                    shortened += 1;
                }
            }
        }
    }
    assert!(shortened > 0, "some commits came between the root and its pages");
}
