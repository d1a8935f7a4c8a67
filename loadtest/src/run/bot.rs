//! A player of the bundled game: wanders, turns to the nearest of the players it happens to look at, and shoots.
//!
//! It looks at a few entities only, and only when it could press the trigger, because the generator shares the machine with the server it
//! measures.

use ringfort::skirmish::{Cmd, Skirmish};
use ringfort_client::View;
use ringfort_protocol::{Entity, Press, Vec2};

use crate::random::Random;

/// The game that bots play, as its clients see it.
pub(super) type Game = ringfort::game::Played<Skirmish>;

/// Entities that a bot looks at at once.
const GLANCES: usize = 8;
/// How near a player must be to be shot at.
const RANGE: f32 = 60.0;
/// After how many inputs, at most, a bot walks another way.
const STROLL_MAX: u64 = 40;

/// One player's mind.
pub(super) struct Bot {
    random: Random,
    /// Beyond this, on either axis, it turns back as a ball does at a wall: were it to go to the middle, that would be crowded.
    home: f32,
    /// Of so many inputs one may press the trigger: an input that holds it further is no new shot.
    trigger_every: u32,
    heading: f32,
    aim: f32,
    stroll: u64,
    inputs: u32,
    /// Where among the entities it looks next.
    glance: usize,
}

impl Bot {
    /// The bot of client number `client`: the same seed makes the same moves in the same world.
    pub(super) fn new(seed: u64, client: usize, home: f32, trigger_every: u32) -> Bot {
        let mut random = Random::new(seed, client as u64);
        let heading = random.angle();
        // So that the triggers of all are not pressed in the same tick.
        let inputs = client as u32 % trigger_every.max(1);
        Bot { random, home, trigger_every: trigger_every.max(1), heading, aim: heading, stroll: 0, inputs, glance: client }
    }

    /// What it does now.
    pub(super) fn input(&mut self, view: View<'_>) -> Cmd {
        self.inputs = self.inputs.wrapping_add(1);
        let body = view.mine().and_then(|me| Some((me, view.get(me, Skirmish::BODY)?.pos)));
        self.wander(body.map(|(_, pos)| pos));
        let wish = Vec2::from_angle(self.heading);
        let target = match body {
            Some((me, pos)) if self.inputs.is_multiple_of(self.trigger_every) => self.nearest(view, me, pos),
            _ => None,
        };
        let Some(target) = target else { return Cmd { wish, aim: self.aim, fire: Press::default() } };
        self.aim = target.y.atan2(target.x);
        Cmd { wish, aim: self.aim, fire: Press::down(target.length() < RANGE) }
    }

    fn wander(&mut self, pos: Option<Vec2>) {
        if self.stroll == 0 {
            self.stroll = 1 + self.random.next() % STROLL_MAX;
            self.heading = self.random.angle();
        }
        self.stroll -= 1;
        let Some(pos) = pos else { return };
        let way = Vec2::from_angle(self.heading);
        let turned = |pos: f32, way: f32| if pos.abs() > self.home && pos * way > 0.0 { -way } else { way };
        let (x, y) = (turned(pos.x, way.x), turned(pos.y, way.y));
        if (x, y) != (way.x, way.y) {
            self.heading = y.atan2(x);
        }
    }

    /// The way to the nearest of the next few players; which few changes from one look to the next.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks bots without a server, by the game's own `drive`.
    #[test]
    fn bots_keep_an_even_density_and_stay_at_home() {
        const BOTS: usize = 5_000;
        const HOME: f32 = 205.0;
        let mut walkers: Vec<_> = (0..BOTS).map(|client| (Bot::new(1, client, HOME, 3), Vec2::ZERO)).collect();
        for (bot, pos) in &mut walkers {
            *pos = Vec2::new(bot.random.angle(), bot.random.angle()) * (HOME / std::f32::consts::PI);
        }
        let (mut inner, mut all) = (0, 0);
        for step in 0..500 {
            for (bot, pos) in &mut walkers {
                bot.wander(Some(*pos));
                *pos += Vec2::from_angle(bot.heading) * 0.8;
                assert!(pos.x.abs() < HOME + 2.0 && pos.y.abs() < HOME + 2.0, "{pos:?}");
                if step > 400 {
                    all += 1;
                    inner += usize::from(pos.x.abs() < HOME / 2.0 && pos.y.abs() < HOME / 2.0);
                }
            }
        }
        let share = inner as f32 / all as f32;
        assert!((0.23..0.27).contains(&share), "a quarter of the square holds {share} of the players");
    }
}
