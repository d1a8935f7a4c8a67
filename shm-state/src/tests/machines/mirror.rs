//! Mirrors that are refreshed at any time, over commits, deaths and matches: each shows one commit, and tells what changed since
//! the one that it showed before.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::super::*;
use super::roots::{Arena, Start};
use super::zone::{Committed, Deed, WRITTEN, deed, page_of};
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
        prop_oneof![
            20 => (0..2usize, deed()).prop_map(|(slot, deed)| Step::Owner(slot, deed)),
            9 => mirror.clone().prop_map(Step::Refresh),
            1 => mirror.prop_map(Step::Replace),
        ]
        .boxed()
    }

    fn apply(state: Start, _: &Step) -> Start {
        state
    }
}

struct Reader {
    mirror: Mirror,
    /// The sequence that it shows, and what it must show.
    shows: Option<(u64, Committed)>,
}

impl Reader {
    fn new(number: usize) -> Self {
        Self { mirror: Mirror::new(number % 2), shows: None }
    }

    fn refresh(&mut self, arena: &Arena) {
        let zone = &arena.zones[self.mirror.zone()];
        let refreshed = self.mirror.refresh(&arena.world);
        let Some((sequence, committed)) = zone.roots.last_key_value().map(|(s, c)| (*s, c.clone())) else {
            return assert_eq!(refreshed, Err(MirrorError::Root(RootError::Nothing { zone: zone.slot })));
        };
        let before = self.shows.replace((sequence, committed.clone()));
        let same_match = before.filter(|(_, before)| before.incarnation == committed.incarnation);
        let expected = match &same_match {
            Some((before, _)) if *before == sequence => Refreshed::Same,
            Some(_) => Refreshed::Newer,
            None => Refreshed::OtherMatch,
        };
        assert_eq!(refreshed, Ok(expected));
        self.check_changes(&same_match.map(|(_, before)| before).unwrap_or_default(), &committed);
    }

    /// Exactly the pages that another root named last have changed, and before it they were what that root said.
    fn check_changes(&self, before: &Committed, now: &Committed) {
        let changed: Vec<u32> = WRITTEN.into_iter().filter(|p| before.births.get(p) != now.births.get(p)).collect();
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
        for logical in WRITTEN.into_iter().chain([4, 1030, u32::MAX]) {
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
        Self { arena: Arena::new(start), readers: std::array::from_fn(Reader::new) }
    }

    fn apply(mut all: Self, _: &Start, step: Step) -> Self {
        match step {
            Step::Owner(slot, deed) => all.arena.zones[slot].apply(&deed),
            Step::Refresh(reader) => all.readers[reader].refresh(&all.arena),
            Step::Replace(reader) => all.readers[reader] = Reader::new(reader),
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
