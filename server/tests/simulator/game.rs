//! A game with something of everything: every way to be seen, every kind of field, entities that come and go, and a row for each
//! player that counts what reached it.

use ringfort::game::Arrival;
use ringfort::prelude::*;

#[derive(Component, Clone, Copy, PartialEq, Debug)]
pub struct Body {
    #[q(range = -256.0..=256.0, step = 0.01)]
    pub pos: Vec2,
    #[q(range = -16.0..=16.0, step = 0.05)]
    pub vel: Vec2,
    #[q(angle, bits = 10)]
    pub aim: f32,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
#[repr(u8)]
pub enum Mood {
    Calm,
    Curious,
    Angry,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
pub struct Tag {
    pub mood: Mood,
    pub alarm: bool,
    pub since: TickNo,
    pub weight: i16,
}

/// What has reached a player's place in the world.
#[derive(Component, Clone, Copy, PartialEq, Debug, Default)]
pub struct Tally {
    pub inputs: u32,
    pub sum: u32,
    pub commands: u32,
    /// A command came twice or out of its order.
    pub disorder: bool,
    /// The newest command.
    #[sync(none)]
    pub newest: u32,
    #[sync(none)]
    pub secret: u64,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
pub struct Spark {
    pub heat: i32,
    #[q(max = 100)]
    pub share: u8,
    pub friend: Entity,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
pub struct Hidden {
    pub secret: u64,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
pub struct Sky {
    pub said: u32,
    pub wind: f32,
    pub mood: Mood,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
pub struct Age {
    pub ticks: u16,
}

#[derive(Component, Clone, Copy)]
pub struct Seat {
    pub avatar: Entity,
    pub pet: Entity,
}

#[derive(State)]
pub struct Menagerie {
    pub ents: Entities,
    #[sync(near = 60.0, priority = 4.0)]
    pub body: Column<Body>,
    #[sync(all)]
    pub tag: Column<Tag>,
    #[sync(owner)]
    pub tally: Column<Tally>,
    #[sync(near = 25.0)]
    pub spark: Column<Spark>,
    pub hidden: Column<Hidden>,
    #[sync(all, rate = 5)]
    pub age: Column<Age>,
    #[sync(all, once)]
    #[max(20)]
    pub label: Blobs<str>,
    #[sync(near = 40.0)]
    #[max(40)]
    pub scent: Blobs<[u8]>,
    #[sync(all)]
    pub sky: Global<Sky>,
    #[sync(all, rate = 3)]
    pub clock: Global<Age>,
    pub seats: Seats<Seat>,
    pub timers: Timers<Later>,
}

#[derive(Input, Clone, Copy, Default)]
pub struct Cmd {
    #[q(range = -1.0..=1.0, step = 0.0625)]
    pub wish: Vec2,
    pub serial: u16,
    pub hop: Press,
}

#[derive(Message, Clone, Copy)]
pub enum Ask {
    Poke { number: u32 },
}

#[derive(Message, Clone, Copy, PartialEq, Debug)]
pub enum Ev {
    Roar {
        by: Entity,
    },
    Whisper {
        number: u32,
    },
    Rustle,
    #[reliable]
    Letter {
        number: u32,
    },
    #[reliable]
    News {
        said: u32,
    },
    #[reliable]
    Smoke {
        at: Entity,
    },
    #[reliable]
    Seen {
        whom: Entity,
    },
}

#[derive(Timer, Clone, Copy)]
pub enum Later {
    Hatch,
}

/// Beasts that nobody owns.
const BEASTS: u32 = 14;

impl Game for Menagerie {
    const HZ: u32 = 30;
    type Input = Cmd;
    type Command = Ask;
    type Event = Ev;
    type Timer = Later;

    fn open(&mut self, t: &Tick<Self>) {
        *self.sky = Sky { said: 0, wind: 0.5, mood: Mood::Calm };
        *self.clock = Age { ticks: 0 };
        for n in 0..BEASTS {
            self.hatch(t, n);
        }
        self.timers.at(t.now() + 7, Later::Hatch);
    }

    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let avatar = self.ents.spawn_for(who);
        let secret = t.rng(avatar).next_u64();
        self.tally.insert(avatar, Tally { secret, ..Tally::default() });
        self.hidden.insert(avatar, Hidden { secret });
        self.tag.insert(avatar, Tag { mood: Mood::Calm, alarm: false, since: t.now(), weight: -3 });
        self.seats.insert(who, Seat { avatar, pet: Entity::NONE });
        self.place(t, avatar, 9);
        self.say(t);
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.avatar);
            self.ents.despawn(seat.pet);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, ask: &Ask) {
        let Ask::Poke { number } = *ask;
        let avatar = self.seats[who].avatar;
        let Some(tally) = self.tally.get_mut(avatar) else { return };
        tally.commands += 1;
        tally.disorder |= number <= tally.newest;
        tally.newest = number;
        t.send(To::One(who), Ev::Letter { number });
        t.send(To::Seeing(avatar), Ev::Seen { whom: avatar });
    }

    fn timer(&mut self, t: &Tick<Self>, what: Later) {
        let Later::Hatch = what;
        if !self.rests(t) {
            let salt = t.now().0;
            self.hatch(t, salt);
            self.timers.at(t.now() + 5, Later::Hatch);
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players() {
            let me = self.seats[p.session].avatar;
            if let Some(body) = self.body.get_mut(me).filter(|_| p.arrival != Arrival::Missing) {
                body.vel = p.input.wish.clamp_len(1.0) * 12.0;
                body.pos = (body.pos + body.vel * t.dt()).clamp_box(90.0);
                body.aim = p.input.wish.y * 3.0;
            }
            if p.arrival == Arrival::OnTime
                && let Some(tally) = self.tally.get_mut(me)
            {
                tally.inputs += 1;
                tally.sum = tally.sum.wrapping_add(u32::from(p.input.serial));
            }
            if p.input.hop.pressed() {
                let at = self.body.get(me).map_or(Vec2::ZERO, |body| body.pos);
                t.send(To::Near(at, 40.0), Ev::Roar { by: me });
                t.send(To::One(p.session), Ev::Whisper { number: u32::from(p.input.serial) });
            }
        }
        if !self.rests(t) {
            self.clock.ticks = self.clock.ticks.wrapping_add(3);
            self.live(t);
            self.pets(t);
        }
    }
}

impl Menagerie {
    fn rests(&self, t: &Tick<Self>) -> bool {
        t.now().0 >= t.option_or("rest_at", u32::MAX)
    }

    fn say(&mut self, t: &Tick<Self>) {
        self.sky.said += 1;
        t.send(To::All, Ev::News { said: self.sky.said });
    }

    fn place(&mut self, t: &Tick<Self>, e: Entity, salt: u32) {
        let mut r = t.rng(Entity { index: e.index, generation: e.generation ^ salt << 16 });
        let body = Body { pos: r.point(90.0), vel: Vec2::new(r.range(-9.0..9.0), r.range(-9.0..9.0)), aim: r.range(-3.0..3.0) };
        self.body.insert(e, body);
    }

    fn hatch(&mut self, t: &Tick<Self>, salt: u32) {
        let beasts = self.spark.len();
        if beasts >= BEASTS as usize {
            return;
        }
        let e = self.ents.spawn();
        self.place(t, e, salt);
        let mut r = t.rng(e);
        self.tag.insert(e, Tag { mood: Mood::Curious, alarm: r.unit() < 0.5, since: t.now(), weight: 5 });
        self.spark.insert(e, Spark { heat: r.below(9) as i32 - 4, share: 100, friend: e });
        self.hidden.insert(e, Hidden { secret: r.next_u64() });
        self.age.insert(e, Age { ticks: 0 });
        let _ = self.label.set(e, ["crow", "", "a hedgehog's uncle"][r.below(3) as usize]);
    }

    /// Beasts move, change, lose parts of themselves and get them back, and die.
    fn live(&mut self, t: &Tick<Self>) {
        let beasts: Vec<Entity> = self.spark.iter().map(|(e, _)| e).collect();
        for (n, e) in beasts.iter().copied().enumerate() {
            let mut r = t.rng(e);
            if let Some(age) = self.age.get_mut(e) {
                age.ticks = age.ticks.wrapping_add(1);
            }
            if r.unit() < 0.6
                && let Some(body) = self.body.get_mut(e)
            {
                body.pos = (body.pos + body.vel * t.dt()).clamp_box(95.0);
                body.aim += 0.1;
            }
            match r.below(160) {
                0 => {
                    self.ents.despawn(e);
                }
                1 => {
                    self.body.remove(e);
                }
                2 | 3 => self.place(t, e, 1),
                4 => {
                    self.tag.remove(e);
                }
                5 | 6 => {
                    self.tag.insert(e, Tag { mood: Mood::Angry, alarm: true, since: t.now(), weight: r.below(999) as i16 });
                }
                7..12 => {
                    self.spark[e] = Spark {
                        heat: -(n as i32),
                        share: r.below(101) as u8,
                        friend: beasts[r.below(beasts.len() as u32) as usize],
                    }
                }
                12 => t.send(To::Near(self.body.get(e).map_or(Vec2::ZERO, |b| b.pos), 50.0), Ev::Smoke { at: e }),
                13 => t.send(To::Seeing(e), Ev::Seen { whom: e }),
                14 => t.send(To::All, Ev::Rustle),
                17..22 => {
                    let scent: Vec<u8> = (0..r.below(41)).map(|n| (r.below(200) + n) as u8).collect();
                    let _ = self.scent.set(e, &scent[..]);
                }
                22 => {
                    self.scent.remove(e);
                }
                23 => {
                    let _ = self.label.set(e, "renamed");
                }
                24 => {
                    self.age.remove(e);
                }
                25 => {
                    self.age.insert(e, Age { ticks: 7 });
                }
                26 => t.show(e, Groups::from_bits(r.next_u64() as u32)),
                27 => t.show(e, Groups::only(r.below(2))),
                28..32 => t.show(e, Groups::ALL),
                15 => self.sky.wind = r.range(-1.0..1.0),
                16 => self.say(t),
                _ => {}
            }
        }
    }

    /// Some players have a second entity for a while.
    fn pets(&mut self, t: &Tick<Self>) {
        let mut players: Vec<SessionId> = t.players().map(|p| p.session).collect();
        players.dedup();
        for who in players {
            let seat = self.seats[who];
            let mut r = t.rng(seat.avatar);
            match r.below(120) {
                0 if !self.ents.alive(seat.pet) => {
                    let pet = self.ents.spawn_for(who);
                    self.place(t, pet, 5);
                    self.seats[who].pet = pet;
                }
                1 => {
                    self.ents.despawn(seat.pet);
                }
                2 => {
                    self.body.remove(seat.avatar);
                }
                3 | 4 => self.place(t, seat.avatar, 3),
                5 => t.sees(who, Groups::only(r.below(3))),
                6 => t.sees(who, Groups::ALL),
                7 => t.reach(who, r.range(0.0..120.0)),
                8 => t.reach(who, 0.0),
                9 => t.show(seat.avatar, Groups::NONE),
                10 => t.show(seat.avatar, Groups::ALL),
                _ => {}
            }
        }
    }
}
