//! A game with a bug, for the story in `docs/operations.md`: trolls dig, and carry away what they dug. One with a crooked shovel carries everything that
//! it ever dug, in every tick, and so makes its match slow.

use std::hint::black_box;
use std::process::ExitCode;

use ringfort::prelude::*;

/// Trolls of a match.
const TROLLS: i32 = 12;
/// What a troll digs in a tick.
const SPADE: u32 = 400;
/// The most that it carries in a tick, so that a bug makes a match slow and not a hang.
const BACK: u32 = 60_000;
/// Steps of its way for each.
const STEPS: u32 = 40;

/// Where a troll stands.
#[derive(Component, Clone, Copy, Debug)]
pub struct Body {
    /// The place.
    #[q(range = -64.0..=64.0, step = 0.01)]
    pub pos: Vec2,
}

/// What a troll is at.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct Dig {
    /// How deep its hole is.
    pub depth: u32,
    /// What it has dug and not carried away.
    pub spoil: u32,
    /// Whether its shovel is crooked: what it carries away falls back.
    pub crooked: bool,
}

/// The world.
#[derive(State)]
pub struct Quarry {
    /// The trolls.
    pub ents: Entities,
    /// Their places.
    #[sync(all)]
    pub body: Column<Body>,
    /// Their work.
    #[sync(all)]
    pub dig: Column<Dig>,
}

/// Players only watch.
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Nothing {
    /// Unused.
    #[q(max = 1)]
    pub unused: u8,
}

impl Game for Quarry {
    const HZ: u32 = 20;
    const OPTIONS: &'static [OptionDoc] =
        &[OptionDoc::whole("crooked", "the number of the troll with the crooked shovel; 0, the default, for none", 0, TROLLS)];
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(_capacity: u32) -> u32 {
        2 * TROLLS as u32
    }

    fn open(&mut self, t: &Tick<Self>) {
        for number in 1..=TROLLS {
            let troll = self.ents.spawn();
            self.body.insert(troll, Body { pos: t.rng(troll).point(60.0) });
            self.dig.insert(troll, Dig { crooked: t.option_or("crooked", 0) == number, ..Dig::default() });
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, _t: &Tick<Self>) {
        for (_, mut dig, _) in (&mut self.dig, &self.body).join() {
            dig.depth += 1;
            dig.spoil += SPADE;
            for step in 0..dig.spoil.min(BACK) * STEPS {
                black_box(step);
            }
            if !dig.crooked {
                dig.spoil = 0;
            }
        }
    }
}

fn main() -> ExitCode {
    ringfort::main::<Quarry>()
}
