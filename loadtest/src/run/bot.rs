//! A player of the bundled game: wanders, turns to the nearest of the players it happens to look at, and shoots.
//!
//! It looks at a few entities only, because the generator shares the machine with the server it measures.

use ringfort::skirmish::{Cmd, Skirmish};
use ringfort_client::View;
use ringfort_protocol::{Entity, Press, Vec2};

use crate::random::Random;

/// The game that bots play, as its clients see it.
pub(super) type Game = ringfort::game::Played<Skirmish>;

/// Entities that a bot looks at for one input.
const GLANCES: usize = 8;
/// How near a player must be to be shot at.
const RANGE: f32 = 60.0;
/// Beyond this, on either axis, a bot turns back to the middle.
const HOME: f32 = 200.0;
/// Of so many inputs one may press the trigger: an input that holds it further is no new shot.
const TRIGGER_EVERY: u32 = 3;
/// After how many inputs, at most, a bot walks another way.
const STROLL_MAX: u64 = 40;

/// One player's mind.
pub(super) struct Bot {
    random: Random,
    heading: f32,
    stroll: u64,
    inputs: u32,
    /// Where among the entities it looks next.
    glance: usize,
}

impl Bot {
    /// The bot of client number `client`: the same seed makes the same moves in the same world.
    pub(super) fn new(seed: u64, client: usize) -> Bot {
        let mut random = Random::new(seed, client as u64);
        let heading = random.angle();
        Bot { random, heading, stroll: 0, inputs: 0, glance: client }
    }

    /// What it does now.
    pub(super) fn input(&mut self, view: View<'_>) -> Cmd {
        self.inputs += 1;
        let body = view.mine().and_then(|me| Some((me, view.get(me, Skirmish::BODY)?.pos)));
        self.wander(body.map(|(_, pos)| pos));
        let wish = Vec2::from_angle(self.heading);
        let Some(target) = body.and_then(|(me, pos)| self.nearest(view, me, pos)) else {
            return Cmd { wish, aim: self.heading, fire: Press::default() };
        };
        let near = target.length() < RANGE;
        let fire = Press::down(near && self.inputs.is_multiple_of(TRIGGER_EVERY));
        Cmd { wish, aim: target.y.atan2(target.x), fire }
    }

    fn wander(&mut self, pos: Option<Vec2>) {
        if let Some(pos) = pos
            && (pos.x.abs() > HOME || pos.y.abs() > HOME)
        {
            self.heading = (-pos.y).atan2(-pos.x);
        } else if self.stroll == 0 {
            self.stroll = 1 + self.random.next() % STROLL_MAX;
            self.heading = self.random.angle();
        }
        self.stroll = self.stroll.saturating_sub(1);
    }

    /// The way to the nearest of the next few players; which few changes from input to input.
    fn nearest(&mut self, view: View<'_>, me: Entity, from: Vec2) -> Option<Vec2> {
        let mut seen = 0;
        let mut nearest: Option<Vec2> = None;
        for entity in view.entities().skip(self.glance).take(GLANCES) {
            seen += 1;
            let Some(body) = view.get(entity, Skirmish::BODY).filter(|_| entity != me) else { continue };
            let way = body.pos - from;
            if nearest.is_none_or(|nearest| way.dot(way) < nearest.dot(nearest)) {
                nearest = Some(way);
            }
        }
        self.glance = if seen < GLANCES { 0 } else { self.glance + GLANCES };
        nearest
    }
}
