//! Players who wander, turn, shoot, are hit and score, without a server: rows of `skirmish`'s components by entity, encoded as a
//! front-end keeps them.

use ringfort::game::Played;
use ringfort::skirmish::{Body, Gun, Health, Score, Skirmish};
use ringfort_protocol::bits::{BitWriter, Row};
use ringfort_protocol::{Component, TickNo, Vec2, Wire, WireLayout};

use super::Scene;

/// Components of an entity, in the order of `skirmish`'s columns: body, health, gun, score.
pub(super) const COMPONENTS: usize = 4;
/// Ticks a second.
const HZ: f32 = 20.0;
/// Half the width of the square in which players are when all are in sight, in metres.
const MELEE: f32 = 30.0;
/// And of the wide one.
const WIDE: f32 = 250.0;
/// Metres a second of who walks.
const SPEED: f32 = 8.0;

/// One player.
#[derive(Clone, Copy)]
pub(super) struct Thing {
    pub(super) body: Body,
    pub(super) health: Health,
    pub(super) gun: Gun,
    pub(super) score: Score,
    heading: f32,
    walks: bool,
    /// The ticks in which each component changed last.
    pub(super) changed: [u32; COMPONENTS],
    words: [[u64; 2]; COMPONENTS],
    bits: [u32; COMPONENTS],
}

/// All players.
pub(super) struct Crowd {
    pub(super) tick: TickNo,
    pub(super) things: Vec<Thing>,
    pub(super) layout: WireLayout,
    /// Positions of the components among the synced columns.
    pub(super) wire: [usize; COMPONENTS],
    pub(super) scene: Scene,
    half: f32,
    random: Random,
}

impl Crowd {
    pub(super) fn new(seed: u64, scene: Scene, entities: u32) -> Crowd {
        let layout = WireLayout::new(Played::<Skirmish>::schema()).expect("the bundled game has a sound schema");
        let columns = [Skirmish::BODY.index, Skirmish::HP.index, Skirmish::GUN.index, Skirmish::SCORE.index];
        let wire = columns.map(|column| layout.wire_column(column).expect("it is on the wire"));
        let mut random = Random(seed);
        let half = if scene == Scene::Wide { WIDE } else { MELEE };
        let thing = |index: u32| {
            let mut place = || (random.unit() * 2.0 - 1.0) * half;
            let pos = Vec2::new(place(), place());
            Thing {
                body: Body { pos, vel: Vec2::ZERO, aim: 0.0 },
                health: Health { hp: 100 },
                gun: Gun { ready: TickNo(0), ammo: 30 },
                score: Score::default(),
                heading: random.unit() * std::f32::consts::TAU,
                walks: scene != Scene::Idle || index.is_multiple_of(10),
                changed: [0; COMPONENTS],
                words: [[u64::MAX; 2]; COMPONENTS],
                bits: [0; COMPONENTS],
            }
        };
        let things = (0..entities).map(thing).collect();
        Crowd { tick: TickNo(0), things, layout, wire, scene, half, random }
    }

    /// The next tick.
    pub(super) fn step(&mut self) {
        self.tick = self.tick + 1;
        for thing in &mut self.things {
            if thing.walks {
                thing.act(&mut self.random, self.half);
            }
            thing.commit(self.tick);
        }
    }
}

impl Thing {
    fn act(&mut self, random: &mut Random, half: f32) {
        if random.chance(5) {
            self.heading += random.unit() * 3.0 - 1.5;
        }
        if self.body.pos.x.abs() > half || self.body.pos.y.abs() > half {
            self.heading = (-self.body.pos.y).atan2(-self.body.pos.x);
        }
        self.body.vel = Vec2::from_angle(self.heading) * SPEED;
        self.body.pos = (self.body.pos + self.body.vel * (1.0 / HZ)).clamp_box(250.0);
        if random.chance(70) {
            self.body.aim = (self.body.aim + random.unit() * 0.4 - 0.2) % std::f32::consts::PI;
        }
        if random.chance(10) {
            self.gun.ammo = self.gun.ammo.checked_sub(1).unwrap_or(30);
        }
        if random.chance(3) {
            self.health.hp = self.health.hp.checked_sub(20).unwrap_or(100);
            self.score.deaths += u16::from(self.health.hp == 100);
        }
        if random.chance(1) {
            self.score.kills += 1;
        }
    }

    /// Brings the rows into the form that is committed, and notes which have changed on the wire.
    fn commit(&mut self, tick: TickNo) {
        self.body.quantise();
        self.encode(0, tick, |thing, to| thing.body.encode(to));
        self.encode(1, tick, |thing, to| thing.health.encode(to));
        self.encode(2, tick, |thing, to| thing.gun.encode(to));
        self.encode(3, tick, |thing, to| thing.score.encode(to));
    }

    fn encode(&mut self, component: usize, tick: TickNo, encode: impl FnOnce(&Thing, &mut BitWriter)) {
        let mut bits = BitWriter::default();
        encode(self, &mut bits);
        let mut words = Vec::with_capacity(2);
        self.bits[component] = bits.copy_words(&mut words);
        words.resize(2, 0);
        if self.words[component] != words[..] {
            self.words[component].copy_from_slice(&words);
            self.changed[component] = tick.0;
        }
    }

    pub(super) fn row(&self, component: usize) -> Row<'_> {
        Row { words: &self.words[component], bits: self.bits[component] }
    }
}

/// SplitMix64: small, and good enough for idle walks.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}
