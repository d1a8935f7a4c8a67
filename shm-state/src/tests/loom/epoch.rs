//! A process that was taken for dead and its successor publish in one zone slot: one compare-and-swap decides.

use std::sync::Arc;

use super::memory::{Broken, Modelled};
use super::{fails, holds};
use crate::layout::world as at;
use crate::world::{Published, World};

const TWICE: &str = "no sequence is published twice, and none by a process that was fenced off";

/// Publishes the next root if the word is what it was last; returns the sequence.
fn publish(world: &World<Modelled>, from: Published) -> Option<u64> {
    let to = Published { sequence: from.sequence + 1, ..from };
    world.publish(0, from, to).ok().map(|()| to.sequence)
}

fn model(broken: Broken, granted: u16) -> impl Fn() + Send + Sync {
    move || {
        let world = Arc::new(World::over(Modelled::new(at::bytes(1), &[at::CONTROLS + at::PUBLISHED], broken), 1));
        let start = world.claim(0, 1).expect("a free slot");
        let zombie = loom::thread::spawn({
            let world = Arc::clone(&world);
            move || {
                let first = publish(&world, start);
                let second = first.and_then(|sequence| publish(&world, Published { sequence, ..start }));
                [first, second]
            }
        });
        let claimed = world.claim(0, granted).expect("nobody was granted more");
        let own = publish(&world, claimed);
        let older = world.claim(0, 0);
        let late = zombie.join().expect("the zombie ends");
        assert!(older.is_err(), "an older epoch is refused");
        // Whatever the zombie published lies before what was claimed; what the successor publishes is the next.
        let before = late.into_iter().flatten().all(|sequence| sequence <= claimed.sequence);
        assert!(before && own == Some(claimed.sequence + 1), "{TWICE}: {late:?} {claimed:?} {own:?}");
        assert_eq!(world.published(0), Published { epoch: granted, sequence: claimed.sequence + 1 }, "{TWICE}");
    }
}

#[test]
fn a_zombie_cannot_publish_behind_its_successor() {
    holds("epoch", model(Broken::Nothing, 2));
    fails("published without a compare-and-swap", TWICE, model(Broken::Swap, 2));
    fails("granted without a new epoch", TWICE, model(Broken::Nothing, 1));
}
