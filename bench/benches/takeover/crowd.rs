//! A game with the columns of `skirmish` and as many entities as wanted, all of which move in every tick.

use ringfort::prelude::*;
use ringfort::skirmish::{Body, Cmd, Gun, Health, Score, drive};

/// Ticks in one direction before the crowd turns round: far from the arena's edge, where bodies would stand still.
const TURN_TICKS: u32 = 256;

/// The world: `skirmish`'s columns, and the entity table that the engine adds.
#[derive(State)]
pub struct Crowd {
    ents: Entities,
    #[sync(near = 80.0, priority = 4.0)]
    body: Column<Body>,
    #[sync(near = 80.0)]
    hp: Column<Health>,
    #[sync(owner)]
    gun: Column<Gun>,
    #[sync(all)]
    score: Column<Score>,
}

impl Game for Crowd {
    const HZ: u32 = 20;
    const OPTIONS: &'static [OptionDoc] = &[];
    type Input = Cmd;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, t: &Tick<Self>) {
        for i in 0..t.option_or("entities", 0) {
            let e = self.ents.spawn();
            self.body.insert(e, Body { pos: start(i), vel: Vec2::ZERO, aim: 0.0 });
            self.hp.insert(e, Health { hp: 100 });
            self.gun.insert(e, Gun { ready: t.now(), ammo: 30 });
            self.score.insert(e, Score::default());
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, t: &Tick<Self>) {
        let cmd = Cmd { wish: Vec2 { x: direction(t.now().0), y: 0.0 }, ..Cmd::default() };
        for (_, mut body, _) in (&mut self.body, &self.hp).join() {
            drive(&mut body, &cmd, t.dt());
        }
    }
}

fn start(entity: u32) -> Vec2 {
    Vec2 { x: -100.0 + (entity % 100) as f32, y: (entity % 250) as f32 }
}

fn direction(tick: u32) -> f32 {
    if (tick / TURN_TICKS).is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// Where an entity is after a tick; the opening is tick 1.
pub fn place(entity: u32, tick: u32) -> Vec2 {
    let moved: f32 = (2..=tick).map(direction).sum();
    let mut body = Body { pos: Vec2::ZERO, vel: Vec2::ZERO, aim: 0.0 };
    drive(&mut body, &Cmd { wish: Vec2 { x: 1.0, y: 0.0 }, ..Cmd::default() }, 1.0 / Crowd::HZ as f32);
    Vec2 { x: start(entity).x + moved * body.pos.x, y: start(entity).y }
}
