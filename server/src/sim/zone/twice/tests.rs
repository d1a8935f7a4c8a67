//! A game that is right, and what it is told when it looks at what it must not.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::prelude::*;
use crate::test::TestWorld;

#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    right: u32,
    wrong: u32,
}

#[derive(State)]
struct Suspect {
    ents: Entities,
    #[sync(all)]
    tally: Column<Tally>,
    #[sync(all)]
    #[max(8)]
    name: Blobs<str>,
    timers: Timers<Ring>,
}

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    button: Press,
}

#[derive(Timer, Clone, Copy)]
enum Ring {
    Again,
}

#[derive(Message, Clone, Copy)]
enum Order {
    WriteCalls,
    GrowByCalls,
    TellCalls,
    Leave,
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
enum Heard {
    #[reliable]
    Rang {
        n: u32,
    },
    Calls {
        n: u32,
    },
}

/// What no tick may depend on.
fn calls() -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed)
}

impl Suspect {
    fn first(&self) -> Entity {
        self.tally.iter().next().expect("somebody is there").0
    }
}

impl Game for Suspect {
    const HZ: u32 = 10;
    type Input = Nothing;
    type Command = Order;
    type Event = Heard;
    type Timer = Ring;

    fn open(&mut self, t: &Tick<Self>) {
        self.timers.at(t.now() + 1, Ring::Again);
    }

    fn join(&mut self, _t: &Tick<Self>, who: SessionId, hello: &Hello<'_>) {
        let e = self.ents.spawn_for(who);
        self.tally.insert(e, Tally::default());
        assert_eq!(self.name.set(e, hello.name), Ok(()));
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        let own: Vec<Entity> = self.tally.iter().map(|(e, _)| e).filter(|e| self.ents.owner(*e) == Some(who)).collect();
        for e in own {
            self.ents.despawn(e);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, order: &Order) {
        let first = self.first();
        match order {
            Order::WriteCalls => self.tally[first].wrong = 10 + calls(),
            Order::GrowByCalls if calls().is_multiple_of(2) => {
                self.tally.remove(first);
            }
            Order::GrowByCalls => {}
            Order::TellCalls => t.send(To::All, Heard::Calls { n: calls() }),
            Order::Leave => self.leave(t, who, Why::Quit),
        }
    }

    fn timer(&mut self, t: &Tick<Self>, _what: Ring) {
        self.timers.at(t.now() + 1, Ring::Again);
        t.send(To::All, Heard::Rang { n: t.now().0 });
    }

    fn step(&mut self, t: &Tick<Self>) {
        let all: Vec<Entity> = self.tally.iter().map(|(e, _)| e).collect();
        for e in all {
            self.tally[e].right += t.rng(e).below(100);
        }
    }
}

#[test]
fn a_game_that_is_right_is_the_same_when_its_ticks_run_twice() {
    let run = |twice: bool| {
        let mut world = TestWorld::<Suspect>::new().capacity(3).check_determinism(twice);
        let (ada, bob) = (world.join("ada"), world.join("bob"));
        world.steps(10);
        world.leave(ada);
        world.steps(2);
        let cy = world.join("cy");
        world.command(bob, Order::Leave);
        world.restart();
        world.steps(20);
        let state = world.state();
        let tallies: Vec<_> = state.tally.iter().map(|(e, tally)| (e, *tally)).collect();
        let names: Vec<_> = state.name.iter().map(|(e, name)| (e, name.to_owned())).collect();
        (tallies, names, world.sessions(), world.events(bob), world.events(cy))
    };
    let (once, twice) = (run(false), run(true));
    assert_eq!(once, twice);
    assert_eq!((once.0.len(), once.3.len() > 30), (1, true), "{once:?}");
}

/// What is said of a game that carries out an order.
fn said_of(order: Order) -> String {
    let stepped = std::panic::catch_unwind(|| {
        let mut world = TestWorld::<Suspect>::new().capacity(3).check_determinism(true);
        let ada = world.join("ada");
        world.command(ada, order);
        world.step();
    });
    let said = stepped.expect_err("it is noticed");
    said.downcast_ref::<String>().expect("in words").clone()
}

#[test]
fn what_came_out_otherwise_is_named_with_both_values() {
    let said = said_of(Order::WriteCalls);
    let parts = ["tick 3 came out otherwise when it ran again: `tally` of entity 0v1, field `wrong`, was 1", " and then 1"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    let said = said_of(Order::GrowByCalls);
    assert!(said.contains("`tally` of entity 0v1 had"), "{said}");
    let said = said_of(Order::TellCalls);
    assert!(said.contains("the engine's events, row 0"), "{said}");
}

#[test]
fn the_match_goes_on_with_the_second() {
    let mut world = TestWorld::<Suspect>::new().capacity(3).check_determinism(true);
    let ada = world.join("ada");
    world.command(ada, Order::WriteCalls);
    let stepped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.step()));
    assert!(stepped.is_err());
    assert_eq!(world.state().tally.iter().filter(|(_, tally)| tally.wrong >= 10).count(), 1);
    let before = world.tick();
    world.steps(3);
    assert!(world.tick().0 > before.0);
}
