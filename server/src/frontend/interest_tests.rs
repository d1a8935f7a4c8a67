//! Who is told of what: the edge of interest, its cap, groups, distances of a session's own, and that nothing waits for ever.

use ringfort_derive::{Component, Input, State};
use ringfort_protocol::baseline::Baselines;
use ringfort_protocol::bits::BitReader;
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::{Entity, Press, SessionId, Vec2};
use ringfort_shm_state::layout::SessionRow;
use zerocopy::FromZeros;

use super::counters::{self as count, Counters};
use super::session::Live;
use super::snapshot::SnapshotBuilder;
use super::zone_view::ZoneView;
use crate::auth::Pass;
use crate::game::{Blobs, Column, Description, Entities, Game, Groups, Hello, Interest, Join, Tick, Why, ZoneLimits};
use crate::limits::SNAPSHOT_BYTES_MIN;
use crate::sim::bench::{Bench, ZONE, random};
use crate::sim::zone::Zone;
use crate::skirmish::Skirmish;

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Spot {
    #[q(range = -1000.0..=1000.0, step = 0.1)]
    pos: Vec2,
    beat: u32,
}

#[derive(Component, Clone, Copy)]
struct Mark {
    n: u32,
}

/// Entities that stand where they are put by their numbers, and change every tick.
#[derive(State)]
struct Plain {
    ents: Entities,
    #[sync(all)]
    spot: Column<Spot>,
    #[sync(all)]
    mark: Column<Mark>,
}

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    press: Press,
}

/// Entities along a line, `STRIDE` apart.
const ENTITIES: u32 = 200;
const STRIDE: f32 = 5.0;

impl Game for Plain {
    const HZ: u32 = 20;
    const INTEREST: Interest = Interest::within(50.0).at_most(12);
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(_capacity: u32) -> u32 {
        ENTITIES + 8
    }

    fn open(&mut self, _t: &Tick<Self>) {
        for n in 0..ENTITIES {
            let e = self.ents.spawn();
            self.spot.insert(e, Spot { pos: Vec2::new(n as f32 * STRIDE, 0.0), beat: 0 });
            self.mark.insert(e, Mark { n });
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, t: &Tick<Self>) {
        let now = t.now().0;
        for (_, mut spot, _) in (&mut self.spot, &self.mark).join() {
            spot.beat = now;
        }
        // The first entity walks back and forth: a step away from the others and back.
        if let Some(spot) = self.spot.get_mut(Entity { index: 0, generation: 1 }) {
            spot.pos.x = if now.is_multiple_of(2) { 0.0 } else { -4.0 };
        }
        match now {
            30 => drop(self.spot.remove(Entity { index: 3, generation: 1 })),
            40 => t.show(Entity { index: 2, generation: 1 }, Groups::only(5)),
            // The sixth dies, and another takes its index and its place.
            50 => drop(self.ents.despawn(Entity { index: 6, generation: 1 })),
            52 => {
                let e = self.ents.spawn();
                self.spot.insert(e, Spot { pos: Vec2::new(6.0 * STRIDE, 0.0), beat: now });
                self.mark.insert(e, Mark { n: 6 });
            }
            _ => {}
        }
    }
}

#[derive(Component, Clone, Copy)]
struct Exact {
    pos: Vec2,
}

/// Entities whose positions are what they are put to, and some of those are nowhere.
#[derive(State)]
struct Astray {
    ents: Entities,
    #[sync(all)]
    place: Column<Exact>,
}

impl Game for Astray {
    const HZ: u32 = 20;
    const INTEREST: Interest = Interest::within(50.0).at_most(12);
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(_capacity: u32) -> u32 {
        ENTITIES
    }

    fn open(&mut self, _t: &Tick<Self>) {
        for pos in [(0.0, 0.0), (5.0, f32::NAN), (f32::NAN, 5.0), (f32::INFINITY, 0.0), (30.0, 0.0), (90.0, 0.0)] {
            let e = self.ents.spawn();
            self.place.insert(e, Exact { pos: Vec2::new(pos.0, pos.1) });
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, t: &Tick<Self>) {
        // From the third tick on nobody is anywhere.
        if t.now().0 == 3 {
            for index in 0..6 {
                self.place[Entity { index, generation: 1 }].pos.y = f32::NAN;
            }
        }
    }
}

/// Entities that are as wide as their columns allow, and change every tick.
#[derive(State)]
struct Broad {
    ents: Entities,
    #[sync(all)]
    mark: Column<Mark>,
    #[sync(all)]
    #[max(250)]
    left: Blobs<[u8]>,
    #[sync(all)]
    #[max(250)]
    right: Blobs<[u8]>,
}

impl Game for Broad {
    const HZ: u32 = 20;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(_capacity: u32) -> u32 {
        9
    }

    fn open(&mut self, _t: &Tick<Self>) {
        for n in 0..9 {
            let e = self.ents.spawn();
            self.mark.insert(e, Mark { n });
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, t: &Tick<Self>) {
        for index in 0..9 {
            let e = Entity { index, generation: 1 };
            self.left.set(e, &[t.now().0 as u8; 250]).unwrap();
            self.right.set(e, &[!t.now().0 as u8; 250]).unwrap();
        }
    }
}

/// One client of a match, of `Plain` for the most part, looking from its first entity.
struct Watch<G: Game = Plain> {
    bench: Bench<G>,
    zone: Zone<G>,
    view: ZoneView,
    builder: SnapshotBuilder,
    counts: Counters,
    live: Live,
    row: SessionRow,
    world: ClientWorld,
}

impl Watch {
    fn new(interest: crate::config::Interest) -> Self {
        let mut bench = Bench::<Plain>::new(4, 64);
        let zone = bench.start();
        Self::of(bench, zone, interest)
    }
}

impl<G: Game> Watch<G> {
    fn of(bench: Bench<G>, zone: Zone<G>, interest: crate::config::Interest) -> Self {
        let is = bench.mirror().1.with_interest(interest);
        let wire = is.wire.clone();
        let row = SessionRow { id: 1 << 32 | 2, entity_index: 0, entity_generation: 1, ..SessionRow::new_zeroed() };
        let baselines = Baselines::new(wire.columns.len(), wire.globals.len());
        Self {
            zone,
            view: ZoneView::new(ZONE, is, 20),
            builder: SnapshotBuilder::new(),
            counts: Counters::default(),
            live: Live::new(Pass::default(), ZONE, row.id, 1, 0, baselines),
            world: ClientWorld::new(wire, bench.entry.max_entities),
            row,
            bench,
        }
    }

    /// One tick; what the client has after it.
    fn step(&mut self, budget: usize) -> Vec<u32> {
        self.bench.step(&mut self.zone);
        self.view.refresh(&self.bench.world).unwrap();
        let bytes = self.builder.build(&self.view, &mut self.live, &self.row, budget, 0, &mut self.counts);
        assert!(bytes.len() <= budget);
        self.world.apply(bytes, |_: BitReader<'_>| {}).unwrap();
        self.live.baselines.acked(self.world.acks());
        self.world.entities().map(|e| e.index).collect()
    }

    fn tick(&self) -> u32 {
        self.world.tick().0
    }
}

fn numbers(radius: u32, entities: u32) -> crate::config::Interest {
    crate::config::Interest { radius: Some(radius), entities: Some(entities) }
}

#[test]
fn what_a_client_has_it_keeps_a_little_beyond_the_edge() {
    // From 0 the sixth is 30 m away and in; from -4 it is 34 away, which is beyond the radius and below 1.1 times 31.
    let mut watch = Watch::new(numbers(31, 100));
    let mut had = Vec::new();
    while watch.tick() < 20 {
        had.push(watch.step(1150).last().copied());
    }
    assert!(had.iter().all(|last| *last == Some(6)), "{had:?}");
    // Whose edge is so near that the step leads over both distances comes and goes.
    let mut watch = Watch::new(numbers(21, 100));
    let seen: Vec<_> = (0..6).map(|_| watch.step(1150).last().copied()).collect();
    assert_eq!(seen, [4, 3, 4, 3, 4, 3].map(Some));
}

#[test]
fn of_too_many_the_nearest_are_told_and_its_own_beside_them() {
    let mut watch = Watch::new(numbers(100, 5));
    let has = watch.step(1150);
    assert_eq!(has, [0, 1, 2, 3, 4, 5], "the five nearest, and the one that it follows");
    // It looks from the sixth now, 4 and 8 are as far away, 3 and 9 too: what it had counts as nearer.
    watch.row.entity_index = 6;
    assert_eq!(watch.step(1150), [3, 4, 5, 6, 7, 8]);
    // Of two that are as far away, the one with the lower index: 3 and 9 are new to this one.
    let mut other = Watch::of(watch.bench, watch.zone, numbers(100, 5));
    other.row.entity_index = 6;
    assert_eq!(other.step(1150), [3, 4, 5, 6, 7, 8]);
}

#[test]
fn who_takes_an_index_over_is_not_kept_for_the_one_before() {
    let mut watch = Watch::new(numbers(31, 100));
    while watch.tick() < 49 {
        assert!(watch.step(1150).contains(&6), "34 m away at the odd ticks, and kept");
    }
    for _ in 50..53 {
        watch.bench.step(&mut watch.zone);
    }
    assert!(!watch.step(1150).contains(&6), "another one, 34 m away as well, that comes within 31");
    assert!(watch.tick() == 53 && watch.step(1150).contains(&6));
}

#[test]
fn a_match_with_few_entities_is_told_whole() {
    let mut watch = Watch::new(numbers(10, ENTITIES + 8));
    let has = (0..20).map(|_| watch.step(1150)).last().unwrap();
    assert_eq!(has.len(), ENTITIES as usize);
}

#[test]
fn who_has_lost_its_position_counts_as_where_it_was() {
    let mut watch = Watch::new(numbers(31, 100));
    while watch.tick() < 29 {
        assert!(watch.step(1150).contains(&3));
    }
    for _ in 0..8 {
        assert!(watch.step(1150).contains(&3), "it is of interest where it was");
    }
    // A front-end that has never seen it knows as well where it was.
    let mut other = Watch::of(watch.bench, watch.zone, numbers(31, 100));
    assert!(other.step(1150).contains(&3));
    other.row.entity_index = 100;
    assert!(!other.step(1150).contains(&3), "and nowhere else");
}

#[test]
fn who_looks_from_an_entity_without_a_position_looks_from_where_that_was() {
    let mut watch = Watch::new(numbers(31, 100));
    while watch.tick() < 32 {
        watch.step(1150);
    }
    // A front-end that its session has come to since knows that too.
    let mut other = Watch::of(watch.bench, watch.zone, numbers(31, 100));
    other.row.entity_index = 3;
    let has = other.step(1150);
    assert!(has.contains(&3) && has.contains(&9) && !has.contains(&10), "of all within 31 m of where it was, at 15 m: {has:?}");
}

#[test]
fn a_position_that_is_no_place_counts_as_none() {
    let mut bench = Bench::<Astray>::new(4, 64);
    let zone = bench.start();
    let mut watch = Watch::of(bench, zone, numbers(31, 100));
    assert_eq!(watch.step(1150), [0, 1, 2, 3, 4], "those around it, and those that were never anywhere");
    while watch.tick() < 5 {
        watch.step(1150);
    }
    assert_eq!(watch.step(1150), [0, 1, 2, 3, 4, 5], "who is nowhere is no further away than anybody");
}

#[test]
fn the_least_snapshot_has_room_for_the_widest_entity() {
    let mut bench = Bench::<Broad>::new(4, 64);
    let zone = bench.start();
    let mut watch = Watch::of(bench, zone, crate::config::Interest::default());
    let least = watch.view.least_bytes;
    assert!(least < 1150);
    let has = (0..9).map(|_| watch.step(least)).last().unwrap();
    assert_eq!(has, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let narrow = Description::of::<Skirmish>(ZoneLimits::of::<Skirmish>(1000)).unwrap().least_snapshot_bytes();
    assert!(narrow <= SNAPSHOT_BYTES_MIN as usize, "an operator's least is enough for skirmish: {narrow}");
}

#[test]
fn groups_are_shared_or_nothing_is_told() {
    let mut watch = Watch::new(numbers(31, 100));
    while watch.tick() < 39 {
        watch.step(1150);
    }
    watch.row.blind_to = !Groups::only(4).bits();
    let has = watch.step(1150);
    assert!(watch.tick() == 40 && !has.contains(&2) && has.contains(&1), "all but the one that is shown to group 5: {has:?}");
    watch.row.blind_to = !(Groups::only(4) | Groups::only(5)).bits();
    assert!(watch.step(1150).contains(&2));
    watch.row.blind_to = u32::MAX;
    assert_eq!(watch.step(1150), [0u32; 0], "who is in no group is told of nothing but its own");
}

#[test]
fn a_session_s_own_distance_takes_the_place_of_the_game_s() {
    let mut watch = Watch::new(numbers(31, 100));
    watch.row.reach = 101f32.to_bits();
    assert_eq!(watch.step(1150).last(), Some(&20));
    watch.row.reach = 11f32.to_bits();
    watch.step(1150);
    assert_eq!(watch.step(1150).last(), Some(&2));
    watch.row.reach = 0;
    watch.step(1150);
    assert_eq!(watch.step(1150).last(), Some(&6));
}

#[test]
fn its_own_are_told_wherever_they_are() {
    let mut watch = Watch::new(numbers(31, 5));
    watch.row.entity_index = 150;
    let has = watch.step(1150);
    assert!(has.contains(&150) && has.len() == 6, "{has:?}");
}

/// Whatever the budget: what changes every tick is sent within the bound that `by_weight` gives.
#[test]
fn nothing_that_changes_waits_for_ever() {
    let mut seed = 7;
    for _ in 0..6 {
        let budget = 200 + (random(&mut seed) % 400) as usize;
        let mut watch = Watch::new(numbers(10, ENTITIES + 8));
        // Everything has arrived, and from then on all of it changes in each tick.
        for _ in 0..30 {
            watch.step(1150);
        }
        // Index 3 has lost what changes by then.
        let mut told = vec![watch.tick(); ENTITIES as usize];
        let (mut longest, mut least) = (0, usize::MAX);
        for _ in 0..900 {
            let before = watch.counts.0[count::SNAPSHOT_RECORDS];
            watch.step(budget);
            least = least.min((watch.counts.0[count::SNAPSHOT_RECORDS] - before) as usize);
            let now = watch.tick();
            watch.world.touched().iter().for_each(|touched| told[touched.index as usize] = now);
            told[3] = now;
            longest = longest.max(told.iter().map(|at| now - at).max().unwrap());
        }
        // Weights in sixteenths, as they add up: 16 for who stands beside the client, and 1 at the line's far end.
        let far = 1.0 + (ENTITIES as f32 * STRIDE + 4.0) / 32.0;
        let ratio = 16.0 / (16.0 / far).floor().max(1.0);
        let bound = ((ratio + 1.0) * (ENTITIES as usize).div_ceil(least) as f32).ceil() as u32;
        assert!(
            longest <= bound,
            "with {budget} bytes and at least {least} records one waited for {longest} snapshots, not {bound}"
        );
        assert!(longest > 2, "there was too little room");
    }
}
