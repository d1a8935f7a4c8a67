//! The server of what was the same game, before one of its components got one more field.

use std::process::ExitCode;

use ringfort::prelude::*;

/// What was applied of a player's, and more.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    inputs: u32,
    sum: u32,
    commands: u32,
    hits: u32,
}

#[derive(State)]
struct Minefield {
    ents: Entities,
    #[sync(all)]
    tally: Column<Tally>,
}

#[derive(Input, Clone, Copy, Debug, Default, PartialEq)]
struct Order {
    number: u32,
}

impl Game for Minefield {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 16;
    type Input = Order;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, _t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let marker = self.ents.spawn_for(who);
        self.tally.insert(marker, Tally::default());
    }

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, _t: &Tick<Self>) {}
}

fn main() -> ExitCode {
    ringfort::main::<Minefield>()
}
