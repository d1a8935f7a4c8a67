//! The game of these tests.

use ringfort_protocol::Vec2;

use crate::prelude::*;

#[derive(Component, Clone, Copy, Debug, PartialEq)]
pub(super) struct Body {
    #[q(range = -100.0..=100.0, step = 0.1)]
    pub(super) pos: Vec2,
}

#[derive(Component, Clone, Copy, Debug, PartialEq)]
pub(super) struct Health {
    pub(super) hp: u8,
}

#[derive(Component, Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) goal: u16,
}

#[derive(State)]
pub(super) struct Arena {
    pub(super) ents: Entities,
    #[sync(all)]
    #[predict(owner)]
    #[interp(lerp, snap_over = 8.0)]
    pub(super) body: Column<Body>,
    #[sync(all)]
    pub(super) hp: Column<Health>,
    /// Changes at every fourth tick.
    #[sync(all, rate = 5)]
    #[interp(lerp)]
    pub(super) slow: Column<Body>,
    #[sync(all)]
    #[max(16)]
    pub(super) name: Blobs<str>,
    #[sync(all)]
    pub(super) rules: Global<Rules>,
}

#[derive(Input, Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Go {
    #[q(range = -1.0..=1.0, step = 0.0625)]
    pub(super) to: Vec2,
    pub(super) fire: Press,
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub(super) enum Ev {
    Hurt {
        dmg: u8,
    },
    #[predicted]
    Shot {
        by: Entity,
    },
}

/// Four metres a second.
pub(super) fn drive(body: &mut Body, go: &Go, dt: f32) {
    body.pos += go.to * (4.0 * dt);
}

impl Game for Arena {
    const HZ: u32 = 20;
    type Input = Go;
    type Command = ();
    type Event = Ev;
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}
    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
    fn step(&mut self, _t: &Tick<Self>) {}
}
