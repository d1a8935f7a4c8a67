//! The bundled game: move, aim, shoot, hit, die, respawn, score. It is small enough to be read in one go, and is what the load
//! generator plays.

use crate::prelude::*;

/// Half the width of the arena's square, in metres.
const ARENA: f32 = 250.0;
/// Metres a second at full stick.
const SPEED: f32 = 8.0;
/// Health of a new player.
const HEALTH: u8 = 100;
/// Rounds of a new player, and the most that anybody carries.
const AMMO: u8 = 30;
/// Health that a hit takes.
const DAMAGE: u8 = 20;
/// Seconds between two shots.
const RELOAD: f32 = 0.12;
/// Metres that a shot reaches, and that its muzzle flash is seen.
const RANGE: f32 = 60.0;
/// Distance from the line of a shot within which it hits, in metres.
const RADIUS: f32 = 0.5;
/// Distance at which players see each other, in metres.
const SIGHT: f32 = 80.0;
/// Seconds from death to respawn.
const RESPAWN: f32 = 3.0;

/// Where a player is and looks.
#[derive(Component, Clone, Copy, Debug, PartialEq)]
pub struct Body {
    /// Metres from the middle of the arena.
    #[q(range = -256.0..=256.0, step = 0.01)]
    pub pos: Vec2,
    /// Metres a second.
    #[q(range = -16.0..=16.0, step = 0.05)]
    pub vel: Vec2,
    /// Direction, radians.
    #[q(angle, bits = 10)]
    pub aim: f32,
}

/// A living player's health.
#[derive(Component, Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// Points; at 0 the player is dead and has none of this.
    #[q(max = 100)]
    pub hp: u8,
}

/// A living player's gun.
#[derive(Component, Clone, Copy, Debug, PartialEq)]
pub struct Gun {
    /// The tick at which it can fire again.
    #[sync(none)]
    pub ready: TickNo,
    /// Rounds left.
    #[q(max = 30)]
    pub ammo: u8,
}

/// What a player has done since joining.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Others killed.
    pub kills: u16,
    /// Own deaths.
    pub deaths: u16,
}

/// Whether a match runs.
#[derive(Component, Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub enum Phase {
    /// Players move and shoot.
    Play,
    /// Somebody has won, or time is up.
    Over,
}

/// The match.
#[derive(Component, Clone, Copy, Debug)]
pub struct Match {
    /// The tick at which it ends; 0 for never.
    pub ends: TickNo,
    /// Kills that win it; 0 for none.
    pub goal: u16,
    /// Half the width of the square in which players appear, in metres.
    #[sync(none)]
    pub spawn: f32,
    /// Whether it runs.
    pub phase: Phase,
}

/// A session's player.
#[derive(Component, Clone, Copy, Debug)]
pub struct Seat {
    /// Its entity, for as long as the session lasts.
    pub avatar: Entity,
    /// What brings it back while it is dead. It ends with the session, so that players who die and leave, over and over, do not
    /// fill the match with timers.
    pub respawn: TimerId,
}

/// The world of a match. Its fields are the columns.
#[derive(State)]
pub struct Skirmish {
    /// Players.
    pub ents: Entities,
    /// Where the living are.
    #[sync(near = 80.0, priority = 4.0)]
    pub body: Column<Body>,
    /// Health of the living.
    #[sync(near = 80.0)]
    pub hp: Column<Health>,
    /// Guns of the living.
    #[sync(owner)]
    pub gun: Column<Gun>,
    /// Everybody's score.
    #[sync(all)]
    pub score: Column<Score>,
    /// The match.
    #[sync(all)]
    pub game: Global<Match>,
    /// Sessions' players.
    pub seats: Seats<Seat>,
    /// Respawns, and the end.
    pub timers: Timers<Later>,
}

/// What a player does in a tick.
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Cmd {
    /// Where to, at most one long.
    #[q(range = -1.0..=1.0, step = 0.0625)]
    pub wish: Vec2,
    /// Direction, radians.
    #[q(angle, bits = 10)]
    pub aim: f32,
    /// The trigger.
    pub fire: Press,
}

/// What a player may ask for.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    /// Die at once, and come back elsewhere.
    Suicide,
}

/// What players are told.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub enum Ev {
    /// Somebody near has fired.
    Shot {
        /// Who.
        by: Entity,
        /// From where.
        #[q(range = -256.0..=256.0, step = 0.1)]
        at: Vec2,
        /// In which direction, radians.
        #[q(angle, bits = 10)]
        aim: f32,
    },
    /// You have hit somebody.
    Hurt {
        /// Whom.
        victim: Entity,
        /// Health taken.
        dmg: u8,
    },
    /// You have killed, or were killed.
    #[reliable]
    Kill {
        /// Who killed.
        by: Entity,
        /// Who died.
        victim: Entity,
    },
    /// The match is over.
    #[reliable]
    Over {
        /// Who has won; `Entity::NONE` in an empty match.
        winner: Entity,
    },
}

/// What happens later.
#[derive(Timer, Clone, Copy, Debug)]
pub enum Later {
    /// A player comes back.
    Respawn(Entity),
    /// Time is up.
    End,
}

/// One tick of a player's movement. Shared with clients: pure, one entity, fixed dt in seconds.
pub fn drive(b: &mut Body, c: &Cmd, dt: f32) {
    b.vel = c.wish.clamp_len(1.0) * SPEED;
    b.pos = (b.pos + b.vel * dt).clamp_box(ARENA);
    b.aim = c.aim;
}

impl Game for Skirmish {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 1000;
    const OPTIONS: &'static [OptionDoc] = &[
        OptionDoc {
            name: "minutes",
            doc: "minutes after which the match ends; 0, the default, for never",
            kind: OptionKind::Number { min: 0.0, max: 1440.0, whole: false },
        },
        OptionDoc {
            name: "kills",
            doc: "kills that win the match; 0, the default, for none",
            kind: OptionKind::Number { min: 0.0, max: 65_535.0, whole: true },
        },
    ];
    type Input = Cmd;
    type Command = Ask;
    type Event = Ev;
    type Timer = Later;

    fn max_entities(capacity: u32) -> u32 {
        // An avatar lives as long as its session, and its index rests for the tick in which it left, as the session's own place
        // does.
        capacity + 16
    }

    fn open(&mut self, t: &Tick<Self>) {
        let minutes: f32 = t.option_or("minutes", 0.0);
        let players: f32 = t.option_or("capacity", Self::CAPACITY as f32);
        let ends = if minutes > 0.0 { t.now() + t.secs(minutes * 60.0) } else { TickNo(0) };
        // About the same room for each player, from a duel to a battle.
        let spawn = (players.sqrt() * 8.0).clamp(32.0, ARENA - 10.0);
        *self.game = Match { phase: Phase::Play, ends, goal: t.option_or("kills", 0), spawn };
        if ends.0 > 0 {
            self.timers.at(ends, Later::End);
        }
    }

    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let avatar = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { avatar, respawn: TimerId::NONE });
        self.score.insert(avatar, Score::default());
        self.respawn(t, avatar);
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.timers.cancel(seat.respawn);
            self.ents.despawn(seat.avatar);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, command: &Ask) {
        match command {
            Ask::Suicide => {
                let me = self.seats[who].avatar;
                self.hurt(t, me, me, HEALTH);
            }
        }
    }

    fn timer(&mut self, t: &Tick<Self>, what: Later) {
        match what {
            Later::Respawn(e) => self.respawn(t, e),
            Later::End => self.finish(t),
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        if self.game.phase == Phase::Over {
            return;
        }
        for p in t.players().filter(|p| p.arrival != Arrival::Missing) {
            let me = self.seats[p.session].avatar;
            if let Some(b) = self.body.get_mut(me) {
                drive(b, p.input, t.dt());
            }
        }
        for p in t.players().filter(|p| p.input.fire.held()) {
            let me = self.seats[p.session].avatar;
            self.fire(t, me);
        }
        if t.now().0.is_multiple_of(t.hz()) {
            self.recover();
        }
    }
}

impl Skirmish {
    fn fire(&mut self, t: &Tick<Self>, me: Entity) {
        let Some(&Body { pos, aim, .. }) = self.body.get(me) else { return };
        let Some(gun) = self.gun.get(me).filter(|gun| gun.ammo > 0 && gun.ready <= t.now()) else { return };
        let gun = Gun { ammo: gun.ammo - 1, ready: t.now() + t.secs(RELOAD) };
        self.gun[me] = gun;
        let aim = aim + t.rng(me).range(-0.02..0.02);
        t.send(To::Near(pos, SIGHT), Ev::Shot { by: me, at: pos, aim });
        if let Some(victim) = self.first_hit(me, pos, Vec2::from_angle(aim)) {
            self.hurt(t, me, victim, DAMAGE);
        }
    }

    /// Whom a shot meets first.
    fn first_hit(&self, me: Entity, from: Vec2, dir: Vec2) -> Option<Entity> {
        let mut nearest = (RANGE, None);
        for (e, body) in self.body.iter() {
            let to = body.pos - from;
            let along = to.dot(dir);
            let aside = to.dot(Vec2 { x: -dir.y, y: dir.x });
            if e != me && along > 0.0 && along < nearest.0 && aside.abs() < RADIUS {
                nearest = (along, Some(e));
            }
        }
        nearest.1
    }

    /// Once a second: who stands still heals, and everybody finds a round.
    fn recover(&mut self) {
        for (_, mut h, b) in (&mut self.hp, &self.body).join() {
            if b.vel == Vec2::ZERO && h.hp < HEALTH {
                h.hp += 1;
            }
        }
        for (_, mut gun, _) in (&mut self.gun, &self.body).join() {
            if gun.ammo < AMMO {
                gun.ammo += 1;
            }
        }
    }

    fn respawn(&mut self, t: &Tick<Self>, e: Entity) {
        // The player may have left while the timer was pending.
        if !self.ents.alive(e) {
            return;
        }
        let pos = t.rng(e).point(self.game.spawn);
        self.body.insert(e, Body { pos, vel: Vec2::ZERO, aim: 0.0 });
        self.hp.insert(e, Health { hp: HEALTH });
        self.gun.insert(e, Gun { ammo: AMMO, ready: t.now() });
    }

    fn hurt(&mut self, t: &Tick<Self>, by: Entity, victim: Entity, dmg: u8) {
        // Dead already, or gone.
        let Some(h) = self.hp.get_mut(victim) else { return };
        h.hp = h.hp.saturating_sub(dmg);
        let dead = h.hp == 0;
        let (shooter, target) = (self.ents.owner(by), self.ents.owner(victim));
        if let Some(shooter) = shooter {
            t.send(To::One(shooter), Ev::Hurt { victim, dmg });
        }
        if !dead {
            return;
        }
        self.body.remove(victim);
        self.hp.remove(victim);
        self.gun.remove(victim);
        let deaths = &mut self.score[victim].deaths;
        *deaths = deaths.saturating_add(1);
        if by != victim {
            let kills = &mut self.score[by].kills;
            *kills = kills.saturating_add(1);
        }
        // To the two of them: telling a thousand players of each kill, reliably, would be most of the traffic, and the
        // scores tell it anyway.
        for session in [shooter.filter(|s| Some(*s) != target), target].into_iter().flatten() {
            t.send(To::One(session), Ev::Kill { by, victim });
        }
        if let Some(seat) = target.and_then(|session| self.seats.get_mut(session)) {
            seat.respawn = self.timers.at(t.now() + t.secs(RESPAWN), Later::Respawn(victim));
        }
        if self.game.goal > 0 && self.score[by].kills >= self.game.goal {
            self.finish(t);
        }
    }

    fn finish(&mut self, t: &Tick<Self>) {
        if self.game.phase == Phase::Over {
            return;
        }
        self.game.phase = Phase::Over;
        let best = self.score.iter().max_by_key(|(_, score)| score.kills);
        t.send(To::All, Ev::Over { winner: best.map_or(Entity::NONE, |(e, _)| e) });
        t.close();
    }
}

#[cfg(test)]
mod tests;
