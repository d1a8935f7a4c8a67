//! Entity ids against a model, and a replay that gives the same ids.

use std::rc::Rc;

use proptest::prelude::*;
use ringfort_shm_state::entities::EntityTable;
use ringfort_shm_state::layout::{EntityRow, RootHead, ZoneMeta};
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::table::{Table, Tables};
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

const ROWS: u32 = 200;

#[derive(Clone, Debug)]
enum Step {
    Spawn(u64),
    /// One of the living, by position.
    Kill(prop::sample::Index),
    /// An id that may be stale.
    KillOld(prop::sample::Index),
    /// Indices of the killed are free again, and the tick is committed.
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..9u64).prop_map(Step::Spawn),
        4 => any::<prop::sample::Index>().prop_map(Step::Kill),
        1 => any::<prop::sample::Index>().prop_map(Step::KillOld),
        1 => Just(Step::Commit),
    ]
}

/// Runs a schedule against a model; returns every id that was handed out.
fn run(steps: &[Step]) -> Vec<(u32, u32)> {
    let mut tables = Tables::default();
    let at = tables.add(ROWS, size_of::<EntityRow>());
    let pages = Rc::new(Pages::open(Rc::new(World::heap(16)), 0, 1, 1, tables.pages()).expect("a free slot"));
    // SAFETY: the only table of these pages.
    let mut entities = EntityTable::new(unsafe { Table::bind(&pages, at) });
    let mut meta = ZoneMeta::new_zeroed();
    let mut generations = vec![0u32; ROWS as usize];
    let reader = entities.reader();
    let (mut free, mut killed, mut alive, mut given) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Spawn(owner) => {
                let fresh = generations.iter().position(|g| *g == 0).map(|i| i as u32);
                let expected = free.pop().or(fresh).map(|index| {
                    generations[index as usize] += 1;
                    (index, generations[index as usize])
                });
                let id = entities.spawn(&mut meta, *owner);
                assert_eq!(id, expected);
                if let Some((index, generation)) = id {
                    assert_eq!(entities.owner(index, generation), Some(*owner));
                    alive.push((index, generation));
                    given.push((index, generation));
                }
            }
            Step::Kill(which) if !alive.is_empty() => {
                let (index, generation) = alive.swap_remove(which.index(alive.len()));
                assert!(entities.kill(&mut meta, index, generation));
                assert!(!entities.kill(&mut meta, index, generation), "only once");
                killed.push(index);
            }
            Step::KillOld(which) if !given.is_empty() => {
                let id = *which.get(&given);
                let lives = alive.iter().position(|a| *a == id);
                assert_eq!(entities.kill(&mut meta, id.0, id.1), lives.is_some());
                lives.into_iter().for_each(|at| killed.push(alive.swap_remove(at).0));
            }
            Step::Commit => {
                killed.iter().for_each(|index| entities.free(&mut meta, *index));
                free.append(&mut killed);
                // SAFETY: no reference into the table is alive.
                unsafe { pages.commit(RootHead::new_zeroed()) }.expect("room in the arena");
            }
            _ => {}
        }
        assert_eq!(meta.entities_alive as usize, alive.len());
    }
    for id in &given {
        let lives = alive.contains(id);
        assert_eq!((entities.alive(id.0, id.1), reader.alive(id.0, id.1)), (lives, lives));
        assert_eq!(entities.generation(id.0) == Some(id.1), lives);
    }
    assert!(!entities.alive(0, 0) && !entities.alive(ROWS, 1) && entities.owner(u32::MAX, 1).is_none());
    given
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn ids_follow_the_model_and_a_replay_repeats_them(steps in prop::collection::vec(step(), 1..600)) {
        prop_assert_eq!(run(&steps), run(&steps));
    }
}

#[test]
fn a_full_table_spawns_nothing_until_one_dies() {
    let spawns = vec![Step::Spawn(1); ROWS as usize + 3];
    assert_eq!(run(&spawns).len(), ROWS as usize);
}
