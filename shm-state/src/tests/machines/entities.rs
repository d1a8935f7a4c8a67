//! Entity ids against a stack of freed indices: no id is given twice, and a tick that is run again gives the same ids.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::super::*;
use crate::entities::EntityTable;
use crate::layout::{EntityRow, ZoneMeta};
use crate::table::{Table, TableAt, Tables};

#[test]
fn entity_ids_follow_the_model() {
    super::follow::<Zone>(48, 20..160);
}

type Id = (u32, u32);

#[derive(Clone, Debug)]
enum Step {
    /// So many entities of one owner.
    Spawn(u64, usize),
    Kill(Id),
    /// Puts a killed entity's index on the free list.
    Free(u32),
    Commit,
    /// The tick is lost: rolled back, or with the process that ran it.
    Lose {
        dies: bool,
    },
    /// The tick is lost and run again, by the same process or by its successor.
    RunAgain {
        dies: bool,
    },
}

/// What a step must give.
#[derive(Clone, Debug)]
enum Outcome {
    Spawned(Vec<Option<Id>>),
    Killed(bool),
    Freed,
}

#[derive(Clone, Debug, Default)]
struct World {
    /// By index: its last generation and, while it lives, its owner.
    rows: Vec<(u32, Option<u64>)>,
    freed: Vec<u32>,
    killed: Vec<u32>,
    given: Vec<Id>,
}

impl World {
    fn spawn(&mut self, owner: u64, capacity: u32) -> Option<Id> {
        let index = self.freed.pop().or_else(|| {
            let fresh = self.rows.len() as u32;
            self.rows.resize_with((fresh + 1).min(capacity) as usize, Default::default);
            (fresh < capacity).then_some(fresh)
        })?;
        let row = &mut self.rows[index as usize];
        *row = (row.0 + 1, Some(owner));
        self.given.push((index, row.0));
        Some((index, row.0))
    }

    fn kill(&mut self, (index, generation): Id) -> bool {
        let Some(row) = self.rows.get_mut(index as usize).filter(|r| r.0 == generation && r.1.is_some()) else { return false };
        row.1 = None;
        self.killed.push(index);
        true
    }

    fn free(&mut self, index: u32) {
        self.killed.retain(|killed| *killed != index);
        self.freed.push(index);
    }
}

#[derive(Clone, Debug)]
struct Model {
    capacity: u32,
    now: World,
    committed: World,
    /// What was done in this tick.
    tick: Vec<(Step, Outcome)>,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        // One page holds 169 rows; the smaller tables are full most of the time.
        let capacity = prop::sample::select(vec![1, 7, 60, 400]);
        capacity
            .prop_map(|capacity| Self { capacity, now: World::default(), committed: World::default(), tick: Vec::new() })
            .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let anything = (0..state.capacity + 2, 0..4u32);
        let mut steps = vec![
            (6, (0..9u64, 1..20usize).prop_map(|(owner, count)| Step::Spawn(owner, count)).boxed()),
            (1, anything.prop_map(Step::Kill).boxed()),
            (2, Just(Step::Commit).boxed()),
            (1, any::<bool>().prop_map(|dies| Step::Lose { dies }).boxed()),
            (1, any::<bool>().prop_map(|dies| Step::RunAgain { dies }).boxed()),
        ];
        if !state.now.given.is_empty() {
            // Most of the young ones live, most of the old ones are stale.
            let young = state.now.given[state.now.given.len().saturating_sub(30)..].to_vec();
            steps.push((12, prop::sample::select(young).prop_map(Step::Kill).boxed()));
            steps.push((1, prop::sample::select(state.now.given.clone()).prop_map(Step::Kill).boxed()));
        }
        if !state.now.killed.is_empty() {
            steps.push((9, prop::sample::select(state.now.killed.clone()).prop_map(Step::Free).boxed()));
        }
        prop::strategy::Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        !matches!(step, Step::Free(index) if !state.now.killed.contains(index))
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        let outcome = match step {
            Step::Spawn(owner, count) => Outcome::Spawned((0..*count).map(|_| state.now.spawn(*owner, state.capacity)).collect()),
            Step::Kill(id) => Outcome::Killed(state.now.kill(*id)),
            Step::Free(index) => {
                state.now.free(*index);
                Outcome::Freed
            }
            Step::Commit => {
                state.committed = state.now.clone();
                state.tick.clear();
                return state;
            }
            Step::Lose { .. } => {
                state.now = state.committed.clone();
                state.tick.clear();
                return state;
            }
            Step::RunAgain { .. } => return state,
        };
        state.tick.push((step.clone(), outcome));
        state
    }
}

/// The allocator and its counters in a world.
struct Zone {
    world: Rc<crate::world::World>,
    at: [TableAt; 2],
    logical_pages: u32,
    epoch: u16,
    owner: Option<Owner>,
    /// Ids of the tick and of all commits.
    given: HashSet<Id>,
    committed: HashSet<Id>,
}

struct Owner {
    pages: Rc<Pages>,
    entities: EntityTable,
    meta: Table<ZoneMeta>,
}

impl Owner {
    fn new(pages: Pages, at: [TableAt; 2]) -> Self {
        let pages = Rc::new(pages);
        // SAFETY: two places, a table each, and these pages have no other.
        let (rows, meta): (Table<EntityRow>, Table<ZoneMeta>) =
            unsafe { (Table::bind(&pages, at[0]), Table::bind(&pages, at[1])) };
        Self { pages, entities: EntityTable::new(rows), meta }
    }

    fn run(&mut self, step: &Step) -> Outcome {
        let mut meta = *self.meta.get(0).expect("the counters");
        let outcome = match step {
            Step::Spawn(owner, count) => Outcome::Spawned((0..*count).map(|_| self.entities.spawn(&mut meta, *owner)).collect()),
            Step::Kill((index, generation)) => Outcome::Killed(self.entities.kill(&mut meta, *index, *generation)),
            Step::Free(index) => {
                self.entities.free(&mut meta, *index);
                Outcome::Freed
            }
            Step::Commit | Step::Lose { .. } | Step::RunAgain { .. } => unreachable!("no operation of the allocator"),
        };
        *self.meta.get_mut(0).expect("the counters") = meta;
        outcome
    }
}

impl Zone {
    fn owner(&mut self) -> &mut Owner {
        self.owner.as_mut().expect("an owner")
    }

    fn lose(&mut self, dies: bool) {
        self.given.clone_from(&self.committed);
        if dies {
            self.owner = None;
            self.epoch += 1;
            let adopted = Pages::adopt(Rc::clone(&self.world), 0, 1, self.epoch, self.logical_pages);
            self.owner = Some(Owner::new(adopted.expect("granted").0, self.at));
        } else {
            // SAFETY: no reference into a table is alive.
            unsafe { self.owner().pages.roll_back() };
        }
    }

    fn run(&mut self, step: &Step, expected: &Outcome) {
        match (self.owner().run(step), expected) {
            (Outcome::Spawned(ids), Outcome::Spawned(expected)) => {
                assert_eq!(&ids, expected);
                ids.into_iter().flatten().for_each(|id| assert!(self.given.insert(id), "{id:?} was given before"));
            }
            (Outcome::Killed(killed), Outcome::Killed(expected)) => assert_eq!(killed, *expected),
            (Outcome::Freed, Outcome::Freed) => {}
            (outcome, expected) => panic!("{outcome:?} is not of the kind of {expected:?}"),
        }
    }
}

impl StateMachineTest for Zone {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let mut tables = Tables::default();
        let at = [tables.add(model.capacity, size_of::<EntityRow>()), tables.add(1, size_of::<ZoneMeta>())];
        let (world, logical_pages) = (world(48), tables.pages());
        let pages = Pages::open(Rc::clone(&world), 0, 1, 1, logical_pages).expect("a free slot");
        let mut owner = Owner::new(pages, at);
        assert!(owner.meta.insert(0, ZoneMeta::new_zeroed()));
        commit(&owner.pages, 1);
        Self { world, at, logical_pages, epoch: 1, owner: Some(owner), given: HashSet::new(), committed: HashSet::new() }
    }

    fn apply(mut zone: Self, model: &Model, step: Step) -> Self {
        match step {
            Step::Commit => {
                commit(&zone.owner().pages, 1);
                zone.committed.clone_from(&zone.given);
            }
            Step::Lose { dies } => zone.lose(dies),
            Step::RunAgain { dies } => {
                zone.lose(dies);
                model.tick.iter().for_each(|(step, outcome)| zone.run(step, outcome));
            }
            _ => {
                let (step, outcome) = model.tick.last().expect("the model took the step");
                zone.run(step, outcome);
            }
        }
        zone
    }

    fn check_invariants(zone: &Self, model: &Model) {
        let owner = zone.owner.as_ref().expect("an owner");
        let (entities, reader) = (&owner.entities, owner.entities.reader());
        let mut alive = 0;
        for index in 0..model.capacity + 1 {
            let (generation, owned) = model.now.rows.get(index as usize).copied().unwrap_or_default();
            let lives = owned.map(|_| generation);
            assert_eq!((entities.generation(index), reader.generation(index)), (lives, lives), "index {index}");
            assert_eq!((entities.owner(index, generation), entities.alive(index, generation)), (owned, owned.is_some()));
            assert!(!entities.alive(index, generation + 1) && !reader.alive(index, generation.wrapping_sub(1)));
            alive += u32::from(owned.is_some());
        }
        assert_eq!(owner.meta.get(0).map(|m| (m.entities_alive, m.entity_used)), Some((alive, model.now.rows.len() as u32)));
        assert!(!reader.alive(u32::MAX, 1) && entities.owner(u32::MAX, 1).is_none());
    }
}
