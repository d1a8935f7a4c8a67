//! The order of the stores of which a mistake shows only when a process dies or reads between two of them.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use super::*;
use crate::layout::world as at;
use crate::limits::WINDOW;
use crate::memory::{Fence, Memory, Words};
use crate::pages::CommitError;

/// Memory that notes what becomes of owner words and of the first zone slot's published word.
struct Recorded {
    memory: Memory,
    published: Cell<u64>,
    /// How many roots had been published when each extent was given back.
    given: RefCell<Vec<u64>>,
    fenced: Cell<bool>,
}

impl Words for Recorded {
    fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    fn load(&self, offset: usize, order: Ordering) -> u64 {
        self.memory.load(offset, order)
    }

    fn store(&self, offset: usize, value: u64, order: Ordering) {
        if (at::OWNERS..at::arena(8)).contains(&offset) && value == 0 {
            assert!(self.fenced.get(), "a fence stands between the last root and the extent");
            self.given.borrow_mut().push(self.published.get());
        }
        self.memory.store(offset, value, order);
    }

    fn compare_exchange(&self, offset: usize, from: u64, to: u64) -> Result<u64, u64> {
        let result = self.memory.compare_exchange(offset, from, to);
        if offset == at::CONTROLS + at::PUBLISHED && result.is_ok() && from + 1 == to {
            self.published.set(self.published.get() + 1);
            self.fenced.set(false);
        }
        result
    }

    fn fetch_add(&self, offset: usize, n: u64) {
        self.memory.fetch_add(offset, n);
    }

    fn fence(&self, at: Fence) {
        self.fenced.set(self.fenced.get() || at == Fence::PageReuse);
    }
}

/// A match with three extents that nobody owns any more, in a world that is watched.
fn watched() -> World<Recorded> {
    let memory = Memory::heap(at::bytes(8));
    let world = World::over(Recorded { memory, published: Cell::new(0), given: RefCell::default(), fenced: Cell::new(true) }, 8);
    let claimed = world.claim(0, 1).expect("a free slot");
    for _ in 0..3 {
        world.take_extent(&mut 0, crate::world::owner_word(0, 1)).expect("room");
    }
    let to = crate::world::Published { sequence: 1, ..claimed };
    world.write_root(0, &mut crate::world::Root { head: RootHead { sequence: 1, ..head(1) }, tables: Default::default() });
    world.publish(0, claimed, to).expect("nobody else publishes");
    world.memory().published.set(0);
    world
}

#[test]
fn extents_go_back_only_when_no_root_of_the_window_can_name_them() {
    let world = watched();
    world.abandon(0, 2).expect("granted");
    assert_eq!(*world.memory().given.borrow(), [WINDOW; 3]);
    assert_eq!(world.extents_used(), 0);
    let world = watched();
    let (left, _) = world.leave(0, world.published(0), head(2)).expect("nobody else publishes");
    assert_eq!((*world.memory().given.borrow()).clone(), [WINDOW; 3]);
    assert_eq!(left.sequence, 1 + WINDOW);
}

/// The zone is granted to another between the look at the word and the compare-and-swap: what the fenced process writes after it has
/// been told so reaches no page of the arena, nor the page of zeros.
#[test]
fn a_process_that_was_fenced_off_in_its_commit_writes_no_page() {
    let world = world(8);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 4).expect("a free slot");
    set(&pages, 0, 0, 1);
    set(&pages, 1, 0, 2);
    let before = commit(&pages, 1);
    // One page changes, one is touched without a change, one is new, one becomes zeros.
    set(&pages, 0, 0, 3);
    set(&pages, 1, 0, 2);
    set(&pages, 2, 0, 4);
    set(&pages, 3, 0, 0);
    // SAFETY: no reference into pages.
    let refused = unsafe { pages.commit_after(head(2), || assert!(world.claim(0, 2).is_ok())) };
    assert!(matches!(refused, Err(CommitError::Fenced { epoch: 2, .. })), "{refused:?}");
    let state = state_of(&world, 0, before.sequence);
    let arena: Vec<u64> = (0..world.pages()).map(|page| sum(&world, page as u32)).collect();
    for logical in 0..4 {
        set(&pages, logical, 7, 4_242);
    }
    assert_eq!(
        arena,
        (0..world.pages()).map(|page| sum(&world, page as u32)).collect::<Vec<_>>(),
        "nothing in the arena has changed"
    );
    assert_eq!(state_of(&world, 0, before.sequence), state);
    assert!(get_zeros().iter().all(|word| *word == 0));
    // SAFETY: as above.
    assert!(matches!(unsafe { pages.commit(head(3)) }, Err(CommitError::Fenced { .. })));
    // SAFETY: as above.
    unsafe { pages.roll_back() };
    let (successor, _) = Pages::adopt(Rc::clone(&world), 0, 1, 2, 4).expect("whole");
    assert_eq!((get(&successor, 0)[0], get(&successor, 1)[0], get(&successor, 2)[0]), (1, 2, 0));
}

/// The tick had no room in the arena, so its copies lie on the heap; they are let go of with it, and reads find committed pages.
#[test]
fn a_process_that_was_fenced_off_reads_nothing_that_is_gone() {
    let world = world(2);
    let pages = Pages::open(Rc::clone(&world), 0, 1, 1, 60).expect("a free slot");
    (0..4).for_each(|logical| set(&pages, logical, 0, 1));
    commit(&pages, 1);
    (0..60).for_each(|logical| set(&pages, logical, 0, 2));
    world.claim(0, 2).expect("granted");
    // SAFETY: no reference into pages.
    assert!(matches!(unsafe { pages.commit(head(2)) }, Err(CommitError::Fenced { .. })));
    // SAFETY: as above.
    unsafe { pages.roll_back() };
    for logical in 0..60 {
        assert_eq!(get(&pages, logical)[0], u64::from(logical < 4), "page {logical}");
    }
    set(&pages, 50, 0, 3);
    assert_eq!(get(&pages, 50)[0], 3);
}

fn sum(world: &World, page: u32) -> u64 {
    let mut words: Page = [0; PAGE_WORDS];
    assert!(world.copy_page(crate::world::PageHandle(page.into()), &mut words));
    words.iter().fold(0, |sum, word| sum.wrapping_mul(31).wrapping_add(*word))
}

fn get_zeros() -> Page {
    let mut page = [1; PAGE_WORDS];
    // SAFETY: the page of zeros is PAGE_BYTES long and never written.
    unsafe { std::ptr::copy_nonoverlapping(crate::sheet::zeros().cast_const(), page.as_mut_ptr().cast::<u8>(), PAGE_BYTES) };
    page
}
