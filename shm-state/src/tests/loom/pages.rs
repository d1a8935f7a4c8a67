//! Pages that are used again while a reader copies an old root: publish, reuse, copy, validate.

use std::sync::Arc;

use super::memory::{Broken, Modelled};
use super::{fails, holds};
use crate::layout::{RootHead, world as at};
use crate::limits::{MAX_TABLES, PAGE_BYTES, WINDOW};
use crate::memory::{Fence, Words};
use crate::mirror::Mirror;
use crate::world::{PageHandle, Published, Root, RootError, World};
use zerocopy::FromZeros;

/// The first root, its table page and its one page.
const OLD: u64 = 1;
const TABLE: u32 = 0;
const PAGE: u32 = 1;
/// First and last word of a page: a copy that is torn anywhere is torn between these.
const ENDS: [usize; 2] = [0, PAGE_BYTES - 8];
pub(super) const TORN: &str = "what was validated is what was committed";

/// Where a page lies.
pub(super) fn place(page: u32) -> usize {
    at::arena(1) + page as usize * PAGE_BYTES
}

/// A world of one extent in which the published words of the first two zone slots and the ends of the page are loom's.
pub(super) fn world(broken: Broken) -> World<Modelled> {
    let published = at::CONTROLS + at::PUBLISHED;
    let [first, last] = ENDS.map(|end| place(PAGE) + end);
    let words = [published, published + at::CONTROL_STRIDE, at::OWNERS, first, last];
    World::over(Modelled::new(at::bytes(1), &words, broken), 1)
}

pub(super) fn fill(world: &World<Modelled>, value: u64) {
    // What the owner's plain stores through `&mut` are to another process.
    for end in ENDS {
        world.memory().store(place(PAGE) + end, value, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Publishes a root whose one page holds its own sequence, and says so `newest - 1` times.
pub(super) fn commit_old(world: &World<Modelled>, newest: u64) -> Published {
    fill(world, OLD);
    world.memory().copy_in(place(TABLE), &[PageHandle::new(OLD, PAGE).0]);
    let head =
        RootHead { sequence: OLD, incarnation: 1, first_sequence: 1, logical_pages: 1, tables: 1, ..RootHead::new_zeroed() };
    let mut root = Root { head, tables: [PageHandle::NONE; MAX_TABLES] };
    root.tables[0] = PageHandle::new(OLD, TABLE);
    world.write_root(0, &mut root);
    let now = Published { epoch: 1, sequence: newest };
    world.publish(0, world.published(0), now).expect("nobody else publishes");
    now
}

/// Copies the old root; what passes the validation must be what was committed.
pub(super) fn read_old(world: &World<Modelled>, validate: bool) {
    let first = std::cell::Cell::new(true);
    let mut mirror = Mirror::new(0);
    let once = |world: &World<Modelled>, zone| {
        if first.replace(false) { world.root(zone, OLD) } else { Err(RootError::Gone { zone, sequence: OLD }) }
    };
    let [a, b] = if validate {
        if mirror.follow(world, once).is_err() {
            return;
        }
        ENDS.map(|end| mirror.page(0)[end / 8])
    } else {
        if world.root(0, OLD).is_err() {
            return;
        }
        let mut page = [0; 512];
        world.copy_page(PageHandle::new(OLD, PAGE), &mut page);
        ENDS.map(|end| page[end / 8])
    };
    assert!(a == OLD && b == OLD, "{TORN}: {a} {b}");
}

/// The owner publishes until the old root has left the window, or one root less, and uses its page again.
fn model(broken: Broken, early: u64, validate: bool) -> impl Fn() + Send + Sync {
    move || {
        let world = Arc::new(world(broken));
        let mut now = commit_old(&world, OLD + WINDOW - 2);
        let owner = loom::thread::spawn({
            let world = Arc::clone(&world);
            move || {
                for _ in 0..2 - early {
                    let next = Published { sequence: now.sequence + 1, ..now };
                    world.publish(0, now, next).expect("nobody else publishes");
                    now = next;
                }
                fill(&world, 99);
            }
        });
        read_old(&world, validate);
        owner.join().expect("the owner ends");
    }
}

#[test]
fn what_a_reader_validates_was_committed() {
    holds("pages", model(Broken::Nothing, 0, true));
    fails("without the owner's fence", TORN, model(Broken::Fence(Fence::PageReuse), 0, true));
    fails("without the reader's fence", TORN, model(Broken::Fence(Fence::RootCheck), 0, true));
    fails("reused one root too early", TORN, model(Broken::Nothing, 1, true));
    fails("without the reader's second look", TORN, model(Broken::Nothing, 0, false));
}
