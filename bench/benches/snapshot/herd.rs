//! Entities that all walk, spread so that whoever looks has about 60 others around it, however many there are.

use std::rc::Rc;

use ringfort::game::{AskRules, Description, ZoneLimits};
use ringfort::prelude::*;
use ringfort::shm_state::directory::Directory;
use ringfort::shm_state::layout::{SegmentKind, ZoneEntry, ZoneState};
use ringfort::shm_state::limits::MIN_INBOX_BYTES;
use ringfort::shm_state::segment::{Segment, SegmentSpec, padded};
use ringfort::shm_state::world::World;
use ringfort::sim::zone::{Outcome, Zone};
use ringfort::skirmish::{Body, Gun, Health, Score};
use zerocopy::FromZeros;

/// The zone's slot.
pub const SLOT: usize = 0;
/// Ticks a second.
pub const HZ: u32 = 10;
/// Half the side of the square, for each root of an entity: in a circle of 80 m are 60 others then.
const HALF_SIDE: f32 = 9.2;

/// Walks one way and turns at the edge.
#[derive(State)]
pub struct Herd {
    ents: Entities,
    #[sync(near = 80.0, priority = 4.0)]
    body: Column<Body>,
    #[sync(near = 80.0)]
    hp: Column<Health>,
    #[sync(owner)]
    gun: Column<Gun>,
    #[sync(all, rate = 2)]
    score: Column<Score>,
    #[sync(all, once)]
    #[max(32)]
    name: Blobs<str>,
}

#[derive(Input, Clone, Copy, Default)]
pub struct Nothing {
    pub press: Press,
}

impl Game for Herd {
    const HZ: u32 = HZ;
    const INTEREST: Interest = Interest::within(80.0).at_most(128);
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(capacity: u32) -> u32 {
        capacity
    }

    fn open(&mut self, t: &Tick<Self>) {
        let count: u32 = t.option_or("entities", 1);
        let half = (count as f32).sqrt() * HALF_SIDE;
        for n in 0..count {
            let e = self.ents.spawn();
            let mut r = t.rng(e);
            let pos = r.point(half);
            self.body.insert(e, Body { pos, vel: Vec2::from_angle(r.range(-3.1..3.1)) * 8.0, aim: 0.0 });
            self.hp.insert(e, Health { hp: 100 });
            self.score.insert(e, Score { kills: 0, deaths: 0 });
            let _ = self.name.set(e, &format!("player {n}"));
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, t: &Tick<Self>) {
        let half = (self.score.len() as f32).sqrt() * HALF_SIDE;
        for (_, mut body, _) in (&mut self.body, &self.hp).join() {
            body.pos = body.pos + body.vel * t.dt();
            if body.pos.x.abs() > half || body.pos.y.abs() > half {
                body.vel = body.pos * (-8.0 / body.pos.length());
            }
            body.aim += 0.1;
        }
    }
}

/// The match, and what its sim has.
pub struct Place {
    pub world: Rc<World>,
    directory: Segment,
    inbox: Segment,
    zone: Zone<Herd>,
    now_us: u64,
}

/// The match's memory and wire.
pub fn description(entities: u32) -> Description {
    Description::of::<Herd>(ZoneLimits { capacity: 16, max_entities: entities, spectators: 0 }).expect("the herd fits a zone")
}

impl Place {
    pub fn new(entities: u32) -> Self {
        let directory = Segment::private(SegmentSpec::DIRECTORY, 1).expect("there is memory");
        let inbox = Segment::private(SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES), 1).expect("there is memory");
        let entry = ZoneEntry {
            incarnation: 1,
            state: ZoneState::Open as u32,
            epoch: 1,
            tick_hz: HZ,
            capacity: 16,
            max_entities: entities,
            inbox_bytes: MIN_INBOX_BYTES,
            seed: 1,
            tables_hash: description(entities).tables_hash,
            name: padded("herd"),
            options: padded(&format!("{{\"entities\":\"{entities}\"}}")),
            ..ZoneEntry::new_zeroed()
        };
        let world = Rc::new(World::heap(2048));
        let zone = Zone::start(&world, inbox.memory(), SLOT, entry, AskRules { timeout_ticks: None }, 1).expect("it opens");
        Self { world, directory, inbox, zone, now_us: 1 }
    }

    pub fn step(&mut self) {
        self.now_us += 1_000_000 / u64::from(HZ);
        let now = self.now_us;
        let outcome = self.zone.step(&self.world, self.inbox.memory(), Directory::new(&self.directory), now, || now);
        assert!(matches!(outcome, Outcome::Committed { .. }), "a tick came to {outcome:?}");
    }
}
