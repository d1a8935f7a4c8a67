//! Two zones in one small arena: the published word, its epochs, the window of roots, endings and successors.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::super::*;
use super::zone::{Deed, LARGE, SMALL, Shape, Zone, deed};
use crate::fsck::check;
use crate::limits::WINDOW;

#[test]
fn roots_follow_the_model() {
    super::follow::<Arena>(16, 20..160);
}

/// How a sequence begins. Whether the arena is full is the arena's to say, so the model proper is beside each zone.
#[derive(Clone, Debug)]
pub(super) struct Start {
    extents: usize,
    epoch: u16,
    pub(super) shape: Shape,
}

impl Start {
    pub(super) fn any() -> BoxedStrategy<Self> {
        // Epochs that wrap, and arenas in which the two zones take each other's room.
        let epoch = prop_oneof![Just(0), Just(u16::MAX - 1), Just(u16::MAX / 2)];
        let shape = prop_oneof![4 => Just(SMALL), 1 => Just(LARGE)];
        (14..30usize, epoch, shape).prop_map(|(extents, epoch, shape)| Self { extents, epoch, shape }).boxed()
    }
}

pub(super) struct Schedule;

impl ReferenceStateMachine for Schedule {
    type State = Start;
    type Transition = (usize, Deed);

    fn init_state() -> BoxedStrategy<Start> {
        Start::any()
    }

    fn transitions(_: &Start) -> BoxedStrategy<(usize, Deed)> {
        (0..2usize, deed()).boxed()
    }

    fn apply(state: Start, _: &(usize, Deed)) -> Start {
        state
    }
}

/// A world and the zones that share it.
pub(super) struct Arena {
    pub(super) world: Rc<World>,
    pub(super) zones: [Zone; 2],
}

impl Arena {
    pub(super) fn new(start: &Start) -> Self {
        let world = world(start.extents);
        let zones = [0, 1].map(|slot| Zone::new(&world, slot, start.epoch, start.shape));
        Self { world, zones }
    }

    fn check(&self) -> crate::fsck::Report {
        let listed: Vec<_> = self.zones.iter().map(|z| listed(z.slot, z.incarnation)).collect();
        let report = check(&self.world, &listed);
        assert_eq!(report.problems, []);
        report
    }

    /// After a window of quiet commits only what the newest roots name is in use, and after the matches nothing.
    pub(super) fn finish(mut self) {
        let mut used = 0;
        for zone in self.zones.iter_mut().filter(|z| z.pages.is_some()) {
            zone.roll_back();
            (0..WINDOW).for_each(|_| zone.commit());
            used += self.world.newest(zone.slot).expect("a root").head.pages_used as usize;
        }
        assert_eq!(used, self.check().pages);
        self.zones.iter_mut().filter(|z| z.pages.is_some()).for_each(Zone::end);
        assert_eq!(self.world.extents_used(), 0);
    }
}

impl StateMachineTest for Arena {
    type SystemUnderTest = Self;
    type Reference = Schedule;

    fn init_test(start: &Start) -> Self {
        Self::new(start)
    }

    fn apply(mut arena: Self, _: &Start, (slot, deed): (usize, Deed)) -> Self {
        arena.zones[slot].apply(&deed);
        // After whatever changes owners; what commits leave is looked at when the sequence is over.
        if !matches!(deed, Deed::Write(_) | Deed::Commit | Deed::Run(_) | Deed::RollBack) {
            arena.check();
        }
        arena
    }

    fn check_invariants(arena: &Self, _: &Start) {
        for zone in &arena.zones {
            zone.check_owner();
            zone.check_window();
        }
        let owned: usize = arena.zones.iter().filter_map(|z| z.pages.as_ref()).map(Pages::extents).sum();
        assert_eq!(arena.world.extents_used(), owned);
    }

    fn teardown(arena: Self, _: Start) {
        arena.finish();
    }
}
