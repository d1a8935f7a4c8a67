//! A game with nothing but entities, for measuring what looking at them costs: 500 for each player that fits, up to 100,000.
//!
//! `cargo run --release -p ringfort --example field -- up --matches 1 --game-option capacity=200`

use std::process::ExitCode;

use ringfort::prelude::*;

#[derive(Component, Clone, Copy, Debug)]
struct Body {
    #[q(range = -1024.0..=1024.0, step = 0.016)]
    pos: Vec2,
    #[q(range = -16.0..=16.0, step = 0.05)]
    vel: Vec2,
}

#[derive(Component, Clone, Copy, Debug)]
struct Health {
    #[q(max = 100)]
    hp: u8,
}

#[derive(State)]
struct Field {
    ents: Entities,
    #[sync(near = 80.0)]
    body: Column<Body>,
    #[sync(near = 80.0)]
    hp: Column<Health>,
    #[max(24)]
    name: Blobs<str>,
}

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    press: Press,
}

/// Every so many entities, one moves.
const MOVE_EVERY: usize = 100;

impl Game for Field {
    const HZ: u32 = 10;
    const CAPACITY: u32 = 200;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(capacity: u32) -> u32 {
        capacity.saturating_mul(500).min(100_000)
    }
    fn open(&mut self, t: &Tick<Self>) {
        while let Some(e) = self.ents.try_spawn(SessionId::NOBODY) {
            let mut random = t.rng(e);
            self.body.insert(e, Body { pos: random.point(1000.0), vel: Vec2::new(1.0, 0.0) });
            self.hp.insert(e, Health { hp: random.below(101) as u8 });
            if e.index.is_multiple_of(10) {
                let _ = self.name.set(e, &format!("number {}", e.index));
            }
        }
    }
    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
    fn step(&mut self, t: &Tick<Self>) {
        let moving: Vec<Entity> = self.body.iter().map(|(e, _)| e).step_by(MOVE_EVERY).collect();
        for e in moving {
            if let Some(body) = self.body.get_mut(e) {
                body.pos = (body.pos + body.vel * t.dt()).clamp_box(1000.0);
            }
        }
    }
}

fn main() -> ExitCode {
    ringfort::main::<Field>()
}
