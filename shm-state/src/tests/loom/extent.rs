//! An extent that changes hands in the midst of another zone's tick, while a reader copies a root of its first owner.

use std::sync::Arc;

use super::memory::Broken;
use super::pages::{TORN, commit_old, fill, read_old, world};
use super::{fails, holds};
use crate::limits::WINDOW;
use crate::memory::Fence;
use crate::world::{Published, owner_word};

/// The first owner publishes the root with which the old one leaves the window, then gives its extent back, or first gives it back.
fn model(broken: Broken, give_first: bool) -> impl Fn() + Send + Sync {
    move || {
        let world = Arc::new(world(broken));
        let taken = world.take_extent(&mut 0, owner_word(0, 1));
        assert_eq!(taken, Some(0));
        let now = commit_old(&world, WINDOW);
        let ending = loom::thread::spawn({
            let world = Arc::clone(&world);
            move || {
                if give_first {
                    world.give_extent(0);
                }
                world.publish(0, now, Published { sequence: now.sequence + 1, ..now }).expect("nobody else publishes");
                if !give_first {
                    world.give_extent(0);
                }
            }
        });
        let taking = loom::thread::spawn({
            let world = Arc::clone(&world);
            move || {
                if world.take_extent(&mut 0, owner_word(1, 2)).is_some() {
                    fill(&world, 99);
                }
            }
        });
        read_old(&world, true);
        ending.join().expect("the first owner ends");
        taking.join().expect("the second owner ends");
    }
}

/// Two owners reach for the same free extent.
fn race(broken: Broken) -> impl Fn() + Send + Sync {
    move || {
        let world = Arc::new(world(broken));
        let take = |zone: usize| {
            let world = Arc::clone(&world);
            move || world.take_extent(&mut 0, owner_word(zone, 1)).is_some()
        };
        let other = loom::thread::spawn(take(1));
        let mine = take(0)();
        let both = mine && other.join().expect("the other ends");
        assert!(!both, "an extent has one owner");
    }
}

#[test]
fn an_extent_is_written_by_its_next_owner_only_when_no_reader_can_take_it_for_the_last() {
    holds("extent", model(Broken::Nothing, false));
    fails("without the fence behind taking it", TORN, model(Broken::Fence(Fence::ExtentTaken), false));
    fails("given back before its roots have left", TORN, model(Broken::Nothing, true));
    fails("without the reader's fence", TORN, model(Broken::Fence(Fence::RootCheck), false));
}

#[test]
fn an_extent_is_taken_by_one() {
    holds("extent race", race(Broken::Nothing));
    fails("taken without a compare-and-swap", "an extent has one owner", race(Broken::Swap));
}
