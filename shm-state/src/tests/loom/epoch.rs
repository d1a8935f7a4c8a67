//! A process that was taken for dead, or has handed its zone over, and its successor publish in one zone slot: one compare-and-swap
//! decides.

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

/// The owner commits, hands the zone over and goes on as if it had not; who it was handed to waits for that and commits.
fn hand_over(broken: Broken, next: u16) -> impl Fn() + Send + Sync {
    move || {
        let world = Arc::new(World::over(Modelled::new(at::bytes(1), &[at::CONTROLS + at::PUBLISHED], broken), 1));
        let start = world.claim(0, 1).expect("a free slot");
        let owner = loom::thread::spawn({
            let world = Arc::clone(&world);
            move || {
                let committed = Published { sequence: start.sequence + 1, ..start };
                publish(&world, start).expect("it is the owner");
                let released = world.release(0, committed, next).is_ok();
                [publish(&world, committed), released.then_some(0)]
            }
        });
        let seen = world.published(0);
        let adopted = (seen.epoch == 2).then(|| publish(&world, seen));
        let [late, released] = owner.join().expect("the owner ends");
        let end = Published { epoch: 2, sequence: start.sequence + 1 + u64::from(adopted.is_some()) };
        let once = late.is_none() && released.is_some() && adopted.is_none_or(|sequence| sequence == Some(end.sequence));
        assert!(once && world.published(0) == end, "{TWICE}: {late:?} {adopted:?} {:?}", world.published(0));
    }
}

/// The owner was taken for dead while it hands the zone over: who was granted it meanwhile has it, whichever came first.
fn late_hand_over(broken: Broken) -> impl Fn() + Send + Sync {
    move || {
        let world = Arc::new(World::over(Modelled::new(at::bytes(1), &[at::CONTROLS + at::PUBLISHED], broken), 1));
        let start = world.claim(0, 1).expect("a free slot");
        let owner = loom::thread::spawn({
            let world = Arc::clone(&world);
            move || world.release(0, start, 2).is_ok()
        });
        let claimed = world.claim(0, 3).expect("nobody was granted more");
        let own = publish(&world, claimed);
        let released = owner.join().expect("the owner ends");
        let end = Published { epoch: 3, sequence: start.sequence + 1 };
        assert!(own.is_some() && world.published(0) == end, "{TWICE}: released {released}, {own:?} {:?}", world.published(0));
    }
}

#[test]
fn a_zone_that_was_handed_over_is_the_next_owners_alone() {
    holds("hand-over", hand_over(Broken::Nothing, 2));
    holds("hand-over that comes too late", late_hand_over(Broken::Nothing));
    fails("released without a compare-and-swap", TWICE, late_hand_over(Broken::Swap));
    fails("handed over without a new epoch", TWICE, hand_over(Broken::Nothing, 1));
}

#[test]
fn a_zombie_cannot_publish_behind_its_successor() {
    holds("epoch", model(Broken::Nothing, 2));
    fails("published without a compare-and-swap", TWICE, model(Broken::Swap, 2));
    fails("granted without a new epoch", TWICE, model(Broken::Nothing, 1));
}
