//! Mirrors that are refreshed at any time, over commits, deaths and matches: each shows one commit, and tells what changed since
//! the one that it showed before.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::super::*;
use super::roots::{Arena, Start};
use super::zone::{Committed, Deed, Shape, deed, page_of};
use crate::limits::WINDOW;
use crate::memory::{Fence, Memory, Words};
use crate::mirror::{Mirror, MirrorError, Refreshed};
use crate::world::RootError;

#[test]
fn mirrors_follow_the_model() {
    super::follow::<Readers>(24, 20..200);
}

/// Mirrors of each of the two zones.
const MIRRORS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Owner(usize, Deed),
    Refresh(usize),
    /// The zone's owner does something after the reader has read so many times in one refresh.
    RefreshMeanwhile {
        reader: usize,
        reads: u32,
        deed: Deed,
    },
    /// A reader goes to the tick so far before the newest.
    RefreshAt {
        reader: usize,
        back: u32,
    },
    /// A new reader in an old one's place.
    Replace(usize),
}

struct Schedule;

impl ReferenceStateMachine for Schedule {
    type State = Start;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Start> {
        Start::any()
    }

    fn transitions(_: &Start) -> BoxedStrategy<Step> {
        // The first mirror of a zone is seldom far behind, the last one mostly is.
        let mirror = prop_oneof![8 => 0..2usize, 4 => 2..4usize, 1 => 4..6usize];
        // Mostly so much that what is being read leaves the window.
        let meanwhile = prop_oneof![1 => deed(), 2 => (WINDOW - 2..2 * WINDOW).prop_map(Deed::Run), 1 => Just(Deed::End)];
        prop_oneof![
            20 => (0..2usize, deed()).prop_map(|(slot, deed)| Step::Owner(slot, deed)),
            9 => mirror.clone().prop_map(Step::Refresh),
            6 => (mirror.clone(), 1..60u32, meanwhile).prop_map(|(reader, reads, deed)| Step::RefreshMeanwhile { reader, reads, deed }),
            3 => (mirror.clone(), 0..50u32).prop_map(|(reader, back)| Step::RefreshAt { reader, back }),
            1 => mirror.prop_map(Step::Replace),
        ]
        .boxed()
    }

    fn apply(state: Start, _: &Step) -> Start {
        state
    }
}

/// A world's memory in which something happens after so many reads.
struct Interrupted<'w> {
    memory: &'w Memory,
    reads: Cell<u32>,
    meanwhile: RefCell<Option<Box<dyn FnOnce() + 'w>>>,
}

impl Interrupted<'_> {
    fn read(&self) {
        self.reads.set(self.reads.get().saturating_sub(1));
        if self.reads.get() == 0
            && let Some(meanwhile) = self.meanwhile.take()
        {
            meanwhile();
        }
    }
}

impl Words for Interrupted<'_> {
    fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    fn load(&self, offset: usize, order: Ordering) -> u64 {
        self.read();
        self.memory.load(offset, order)
    }

    fn copy_out(&self, offset: usize, to: &mut [u64]) {
        // In two halves, so that a page may be torn.
        let half = to.len() / 2;
        self.read();
        self.memory.copy_out(offset, &mut to[..half]);
        self.read();
        self.memory.copy_out(offset + half * 8, &mut to[half..]);
    }

    fn fence(&self, at: Fence) {
        self.read();
        self.memory.fence(at);
    }

    fn store(&self, _: usize, _: u64, _: Ordering) {
        unreachable!("a reader writes nothing");
    }

    fn compare_exchange(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("a reader writes nothing");
    }

    fn fetch_add(&self, _: usize, _: u64) {
        unreachable!("a reader writes nothing");
    }
}

struct Reader {
    mirror: Mirror,
    shape: Shape,
    /// The sequence that it shows, and what it must show.
    shows: Option<(u64, Committed)>,
}

impl Reader {
    fn new(number: usize, shape: Shape) -> Self {
        Self { mirror: Mirror::new(number % 2), shape, shows: None }
    }

    fn refresh(&mut self, arena: &Arena) {
        let zone = &arena.zones[self.mirror.zone()];
        let refreshed = self.mirror.refresh(&arena.world);
        let newest = zone.roots.last_key_value().map(|(sequence, committed)| (*sequence, committed.clone()));
        match newest {
            Some(newest) => self.check_refreshed(refreshed, newest),
            None => assert_eq!(refreshed, Err(MirrorError::Root(RootError::Nothing { zone: zone.slot }))),
        }
    }

    /// What is shown then is the newest commit as it was at some moment of the refresh.
    fn refresh_meanwhile(&mut self, arena: &mut Arena, reads: u32, deed: &Deed) {
        let slot = self.mirror.zone();
        let (world, before) = (Rc::clone(&arena.world), arena.zones[slot].newest());
        let zone = RefCell::new(&mut arena.zones[slot]);
        let refreshed = {
            let meanwhile: Box<dyn FnOnce()> = Box::new(|| zone.borrow_mut().apply(deed));
            let (reads, meanwhile) = (Cell::new(reads), RefCell::new(Some(meanwhile)));
            let memory = Interrupted { memory: world.memory(), reads, meanwhile };
            self.mirror.refresh(&World::over(memory, world.extents()))
        };
        let zone = zone.into_inner();
        let shown = self.mirror.head().map(|head| head.sequence);
        match (refreshed, shown) {
            (Ok(refreshed), Some(shown)) => {
                assert!(shown >= before, "an older commit than the newest");
                self.check_refreshed(Ok(refreshed), (shown, zone.roots[&shown].clone()));
            }
            (refreshed, _) => {
                assert_eq!((refreshed, before), (Err(MirrorError::Root(RootError::Nothing { zone: slot })), 0));
            }
        }
    }

    fn refresh_at(&mut self, arena: &Arena, back: u32) {
        let zone = &arena.zones[self.mirror.zone()];
        let newest = zone.roots.last_key_value().map_or(0, |(_, newest)| newest.tick);
        let tick = newest.saturating_sub(back);
        let refreshed = self.mirror.refresh_at(&arena.world, tick);
        match zone.root_at(tick) {
            Some(found) => self.check_refreshed(refreshed, found),
            None if zone.newest() == 0 => {
                assert_eq!(refreshed, Err(MirrorError::Root(RootError::Nothing { zone: zone.slot })));
            }
            None => assert_eq!(refreshed, Err(MirrorError::Root(RootError::NotInWindow { zone: zone.slot, tick, newest }))),
        }
    }

    fn check_refreshed(&mut self, refreshed: Result<Refreshed, MirrorError>, (sequence, committed): (u64, Committed)) {
        let before = self.shows.replace((sequence, committed.clone()));
        let same_match = before.filter(|(_, before)| before.incarnation == committed.incarnation);
        let expected = match &same_match {
            Some((before, _)) if *before == sequence => Refreshed::Same,
            Some(_) => Refreshed::Newer,
            None => Refreshed::OtherMatch,
        };
        assert_eq!(refreshed, Ok(expected));
        assert_eq!(Some(self.mirror.state_hash()), self.mirror.head().map(|head| head.state_hash));
        self.check_changes(&same_match.map(|(_, before)| before).unwrap_or_default(), &committed);
    }

    /// Exactly the pages that another root named last have changed, and before it they were what that root said.
    fn check_changes(&self, before: &Committed, now: &Committed) {
        let changed: Vec<u32> = self.shape.written.into_iter().filter(|p| before.births.get(p) != now.births.get(p)).collect();
        assert_eq!(self.mirror.changes().iter().map(|c| c.logical).collect::<Vec<_>>(), changed);
        for change in self.mirror.changes() {
            let page = before.births.get(&change.logical).map(|_| page_of(&before.state, change.logical));
            assert!(change.before.as_deref() == page.as_ref(), "page {} was something else before", change.logical);
        }
    }

    fn check(&self) {
        let head = self.mirror.head().map(|h| (h.sequence, h.incarnation));
        assert_eq!(head, self.shows.as_ref().map(|(sequence, committed)| (*sequence, committed.incarnation)));
        let empty = State::new();
        let state = self.shows.as_ref().map_or(&empty, |(_, committed)| &*committed.state);
        for logical in self.shape.written.into_iter().chain([4, self.shape.logical_pages, u32::MAX]) {
            assert!(self.mirror.page(logical) == &page_of(state, logical), "page {logical} is not of commit {head:?}");
        }
    }
}

struct Readers {
    arena: Arena,
    readers: [Reader; 2 * MIRRORS],
}

impl StateMachineTest for Readers {
    type SystemUnderTest = Self;
    type Reference = Schedule;

    fn init_test(start: &Start) -> Self {
        Self { arena: Arena::new(start), readers: std::array::from_fn(|number| Reader::new(number, start.shape)) }
    }

    fn apply(mut all: Self, start: &Start, step: Step) -> Self {
        match step {
            Step::Owner(slot, deed) => all.arena.zones[slot].apply(&deed),
            Step::Refresh(reader) => all.readers[reader].refresh(&all.arena),
            Step::RefreshMeanwhile { reader, reads, deed } => {
                all.readers[reader].refresh_meanwhile(&mut all.arena, reads, &deed);
            }
            Step::RefreshAt { reader, back } => all.readers[reader].refresh_at(&all.arena, back),
            Step::Replace(reader) => all.readers[reader] = Reader::new(reader, start.shape),
        }
        all
    }

    fn check_invariants(all: &Self, _: &Start) {
        all.readers.iter().for_each(Reader::check);
    }

    fn teardown(mut all: Self, _: Start) {
        for reader in &mut all.readers {
            reader.refresh(&all.arena);
            reader.check();
        }
        all.arena.finish();
    }
}
