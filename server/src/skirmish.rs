//! The bundled game, whole: move, aim, shoot, hit what you saw, die, come back, score. Distances are in metres, times in seconds.
#![expect(missing_docs, reason = "a game's own names; it is to be read in one go")]

use crate::prelude::*;

#[derive(Component, Clone, Copy, Debug, PartialEq)]
pub struct Body {                                                           // 17+17 + 10+10 + 10 bits on the wire
    #[q(range = -1024.0..=1024.0, step = 0.016)] pub pos: Vec2,
    #[q(range = -16.0..=16.0, step = 0.05)] pub vel: Vec2,
    #[q(angle, bits = 10)] pub aim: f32,
}
#[derive(Component, Clone, Copy, Debug, PartialEq)] pub struct Health { #[q(max = 100)] pub hp: u8 }
#[derive(Component, Clone, Copy, Debug)] pub struct Gun { #[sync(none)] pub ready: TickNo, #[q(max = 30)] pub ammo: u8 }
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)] pub struct Score { pub kills: u16, pub deaths: u16 }
#[derive(Component, Clone, Copy, Debug, PartialEq)] #[repr(u8)] pub enum Phase { Play, Over }
#[derive(Component, Clone, Copy)] pub struct Match { pub goal: u16, pub ends: TickNo, #[sync(none)] pub spawn: f32, pub phase: Phase }
#[derive(Component, Clone, Copy, Debug)] pub struct Seat { pub avatar: Entity, pub respawn: TimerId } // cancelled on leave
#[derive(Component, Clone, Copy, Debug)] pub struct Watch { pub star: Entity }                  // whom a spectator follows

#[derive(State)]                                                            // the schema is this struct: nothing is registered
pub struct Skirmish {
    pub ents: Entities,
    #[sync(near = 80.0, priority = 4.0)] #[predict(owner)] #[interp(lerp, snap_over = 8.0)] #[keep(400)]
    pub body: Column<Body>,
    #[sync(near = 80.0)] pub hp: Column<Health>,
    #[sync(owner)] pub gun: Column<Gun>,
    #[sync(all, rate = 2)] pub score: Column<Score>,
    #[sync(all, once)] #[max(32)] pub name: Blobs<str>,
    #[sync(all)] pub game: Global<Match>,
    #[index(body.pos, cell = 8.0)] #[keep(400)] pub grid: Grid,             // kept by the engine, of every tick in the window
    pub seats: Seats<Seat>,                                                 // no #[sync]: never leaves the server
    pub watchers: Seats<Watch>,
    pub timers: Timers<Later>,
}
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Cmd { #[q(range = -1.0..=1.0, step = 0.0625)] pub wish: Vec2, #[q(angle, bits = 10)] pub aim: f32, pub fire: Press }
#[derive(Message, Clone, Copy, Debug, PartialEq)] pub enum Ask { Suicide }
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub enum Ev {
    #[predicted] Shot { by: Entity, #[q(range = -1024.0..=1024.0, step = 0.1)] at: Vec2, #[q(angle, bits = 10)] aim: f32 },
    Hurt { victim: Entity, dmg: u8 },
    #[reliable] Kill { by: Entity, victim: Entity },
    #[reliable] Over { winner: Entity },
}
#[derive(Timer, Clone, Copy, Debug)] pub enum Later { Respawn(Entity), End }

/// Shared with clients, who predict with it: pure, one entity, fixed dt.
pub fn drive(b: &mut Body, c: &Cmd, dt: f32) {
    b.vel = c.wish.clamp_len(1.0) * 8.0;
    b.pos = (b.pos + b.vel * dt).clamp_box(1000.0);
    b.aim = c.aim;
}

impl Game for Skirmish {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 1000;
    const INTEREST: Interest = Interest::within(80.0).at_most(128);           // of the others; in a small match everybody sees all scores
    const OPTIONS: &'static [OptionDoc] = &[
        OptionDoc::number("minutes", "minutes after which the match ends; 0, the default, for never", 0.0, 1440.0),
        OptionDoc::whole("kills", "kills that win the match; 0, the default, for none", 0, 65_535),
    ];
    type Input = Cmd; type Command = Ask; type Event = Ev; type Timer = Later;

    fn max_entities(capacity: u32) -> u32 { capacity + 16 }                 // one each; an index rests for a tick
    fn open(&mut self, t: &Tick<Self>) {
        let (minutes, players) = (t.option_or("minutes", 0.0), t.option_or("capacity", Self::CAPACITY as f32));
        let ends = if minutes > 0.0 { t.now() + t.secs(minutes * 60.0) } else { TickNo(0) };
        let spawn = (players.sqrt() * 8.8).clamp(32.0, 980.0);              // about 60 others within sight, however many play
        *self.game = Match { phase: Phase::Play, ends, goal: t.option_or("kills", 0), spawn };
        if ends.0 > 0 { self.timers.at(ends, Later::End); }
    }
    fn join(&mut self, t: &Tick<Self>, who: SessionId, hello: &Hello<'_>) {
        let avatar = self.ents.spawn_for(who);                              // owner = who, used by #[sync(owner)]
        self.seats.insert(who, Seat { avatar, respawn: TimerId::NONE });
        self.score.insert(avatar, Score::default());
        let _ = self.name.set(avatar, hello.name);                          // a name is never too long: 32 bytes fit
        self.respawn(t, avatar);
    }
    fn spectate(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        self.watchers.insert(who, Watch { star: Entity::NONE });
        self.watch(t, who);
    }
    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        self.watchers.remove(who);
        let Some(seat) = self.seats.remove(who) else { return };
        self.timers.cancel(seat.respawn);
        self.ents.despawn(seat.avatar);
    }
    fn command(&mut self, t: &Tick<Self>, who: SessionId, ask: &Ask) {
        match ask { Ask::Suicide => { let e = self.seats[who].avatar; self.hurt(t, e, e, 100) } }
    }
    fn timer(&mut self, t: &Tick<Self>, what: Later) {
        match what { Later::Respawn(e) => self.respawn(t, e), Later::End => self.finish(t) }
    }
    fn step(&mut self, t: &Tick<Self>) {
        if self.game.phase == Phase::Over { return }
        for p in t.players().filter(|p| p.arrival != Arrival::Missing) {
            let me = self.seats[p.session].avatar;
            if let Some(b) = self.body.get_mut(me) { drive(b, p.input, t.dt()) }
        }
        for p in t.players().filter(|p| p.input.fire.held()) {
            let me = self.seats[p.session].avatar;
            let Some(&Body { pos, aim, .. }) = self.body.get(me) else { continue };     // dead
            let gun = &mut self.gun[me];
            if gun.ammo == 0 || gun.ready > t.now() { continue }
            *gun = Gun { ammo: gun.ammo - 1, ready: t.now() + t.secs(0.12) };
            t.send(To::Near(pos, 80.0), Ev::Shot { by: me, at: pos, aim });
            let ray = Ray { from: pos, dir: Vec2::from_angle(aim), len: 60.0, radius: 0.5 };
            let seen = t.rewind(p.view);                                    // the two snapshots and the blend this shooter drew
            let hit = seen.grid(|w| &w.grid).ray(ray, |e| e != me && self.hp.get(e).is_some());
            if let Some((victim, _)) = hit { self.hurt(t, me, victim, 20) }
        }
        if t.now().0.is_multiple_of(t.hz()) {                               // once a second; a page is copied only if written
            for (_, mut h, mut g, b) in (&mut self.hp, &mut self.gun, &self.body).join() {
                if b.vel == Vec2::ZERO && h.hp < 100 { h.hp += 1 }
                if g.ammo < 30 { g.ammo += 1 }
            }
            let alone = self.watchers.iter().filter(|(_, watch)| !self.ents.alive(watch.star)).map(|(who, _)| who);
            for who in alone.collect::<Vec<_>>() { self.watch(t, who) }
        }
    }
}
impl Skirmish {
    fn respawn(&mut self, t: &Tick<Self>, e: Entity) {
        if !self.ents.alive(e) { return }
        let mut r = t.rng(e);                                               // a stream of (seed, tick, e): order does not matter
        let places: [Vec2; 8] = std::array::from_fn(|_| r.point(self.game.spawn));
        let pos = places.into_iter().min_by_key(|p| self.grid.near(*p, 25.0).len()).unwrap_or(Vec2::ZERO);
        self.body.insert(e, Body { pos, vel: Vec2::ZERO, aim: 0.0 });
        self.hp.insert(e, Health { hp: 100 });
        self.gun.insert(e, Gun { ammo: 30, ready: t.now() });
    }
    fn watch(&mut self, t: &Tick<Self>, who: SessionId) {                   // each who comes follows the next player, so they spread
        let next = who.generation() as usize % self.score.len().max(1);
        let Some((star, _)) = self.score.iter().nth(next) else { return };
        self.watchers.insert(who, Watch { star });
        t.follow(who, star);
    }
    fn hurt(&mut self, t: &Tick<Self>, by: Entity, victim: Entity, dmg: u8) {
        let Some(h) = self.hp.get_mut(victim) else { return };              // dead already, or gone
        h.hp = h.hp.saturating_sub(dmg);
        let dead = h.hp == 0;
        let (shooter, target) = (self.ents.owner(by), self.ents.owner(victim));
        if let Some(shooter) = shooter { t.send(To::One(shooter), Ev::Hurt { victim, dmg }) }
        if !dead { return }
        self.body.remove(victim); self.hp.remove(victim); self.gun.remove(victim);
        self.score[victim].deaths = self.score[victim].deaths.saturating_add(1);
        if by != victim { self.score[by].kills = self.score[by].kills.saturating_add(1) }
        for who in [shooter.filter(|s| Some(*s) != target), target].into_iter().flatten() {     // all others see the scores
            t.send(To::One(who), Ev::Kill { by, victim });
        }
        if let Some(seat) = target.and_then(|who| self.seats.get_mut(who)) {
            seat.respawn = self.timers.at(t.now() + t.secs(3.0), Later::Respawn(victim));
        }
        if self.game.goal > 0 && self.score[by].kills >= self.game.goal { self.finish(t) }
    }
    fn finish(&mut self, t: &Tick<Self>) {
        if std::mem::replace(&mut self.game.phase, Phase::Over) == Phase::Over { return }
        let best = self.score.iter().max_by_key(|(_, score)| score.kills);
        t.send(To::All, Ev::Over { winner: best.map_or(Entity::NONE, |(e, _)| e) });
        t.close();                                                          // sessions are told after this tick is committed
    }
}

#[cfg(test)]
mod tests;
