//! A game that looks back and around itself, compared with a record of what was committed that is kept beside it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ringfort_shm_state::limits::WINDOW;

use super::bench::{Bench, ZONE, random};
use super::zone::Outcome;
use crate::game::{Blobs, Description, SetError, ZoneLimits};
use crate::prelude::*;

const SNAP_OVER: f32 = 3.0;
const CAPACITY: u32 = 40;

#[derive(Component, Clone, Copy, Debug, PartialEq)]
struct Spot {
    #[q(range = -64.0..=64.0, step = 0.25)]
    pos: Vec2,
}

#[derive(State)]
struct Movers {
    ents: Entities,
    #[sync(all)]
    #[interp(lerp, snap_over = SNAP_OVER)]
    #[keep(1000)]
    spot: Column<Spot>,
    #[index(spot.pos, cell = 0.5)]
    grid: Grid,
    #[sync(all, once)]
    #[max(40)]
    motto: Blobs<str>,
    #[max(300)]
    secret: Blobs<[u8]>,
    count: Global<Count>,
}

#[derive(Component, Clone, Copy)]
struct Count {
    steps: u32,
}

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    press: Press,
}

/// What is known of an entity.
#[derive(Clone, Debug, PartialEq, Default)]
struct Known {
    at: Option<(f32, f32)>,
    motto: Option<String>,
    secret: Option<Vec<u8>>,
}

type World = BTreeMap<Entity, Known>;

thread_local! {
    /// The worlds of all ticks, and the seed of what happens next.
    static RECORD: RefCell<(BTreeMap<u32, World>, u64)> = const { RefCell::new((BTreeMap::new(), 1)) };
}

fn dice(sides: u64) -> u64 {
    RECORD.with_borrow_mut(|(_, seed)| random(seed) % sides)
}

fn world_at(tick: u32) -> World {
    RECORD.with_borrow(|(ticks, _)| ticks.get(&tick).cloned().unwrap_or_default())
}

/// Where an entity is drawn, by the rule as the documents tell it.
fn drawn(older: &World, newer: &World, e: Entity, alpha: f32) -> Option<(f32, f32)> {
    let (x, y) = older.get(&e)?.at?;
    let Some((to_x, to_y)) = newer.get(&e).and_then(|known| known.at) else { return Some((x, y)) };
    let far = ((to_x - x).powi(2) + (to_y - y).powi(2)).sqrt() > SNAP_OVER;
    Some(if far { (x, y) } else { (x + (to_x - x) * alpha, y + (to_y - y) * alpha) })
}

fn close(a: (f32, f32), b: Vec2) -> bool {
    (a.0 - b.x).abs() < 1e-4 && (a.1 - b.y).abs() < 1e-4
}

impl Movers {
    fn world(&self) -> World {
        let mut world = World::new();
        for (e, spot) in self.spot.iter() {
            world.entry(e).or_default().at = Some((spot.pos.x, spot.pos.y));
        }
        for (e, motto) in self.motto.iter() {
            world.entry(e).or_default().motto = Some(motto.to_owned());
        }
        for (e, secret) in self.secret.iter() {
            world.entry(e).or_default().secret = Some(secret.to_vec());
        }
        world
    }

    fn check_past(&self, t: &Tick<Self>) {
        let last = t.now().0 - 1;
        assert_eq!(t.prev().world(), world_at(last));
        for back in [1, 2, dice(40) as u32, WINDOW as u32 - 1, WINDOW as u32, WINDOW as u32 + 1] {
            let Some(then) = t.now().0.checked_sub(back).filter(|then| *then > 0 && back > 0) else { continue };
            let past = t.at(TickNo(then));
            assert_eq!(past.is_some(), back <= WINDOW as u32, "{back} ticks ago");
            if let Some(past) = past {
                assert_eq!(past.world(), world_at(then), "tick {then} in tick {}", t.now());
                assert_eq!(past.count.steps, then - 1);
            }
        }
        assert!(t.at(t.now()).is_none() && t.at(TickNo(u32::MAX)).is_none() && t.at(TickNo(0)).is_none());
    }

    fn check_grid(&self, t: &Tick<Self>) {
        let last = world_at(t.now().0 - 1);
        let (point, radius) = (t.rng(Entity::NONE).point(10.0), dice(8) as f32);
        let near: Vec<Entity> = self.grid.near(point, radius).collect();
        let within = |at: (f32, f32)| (at.0 - point.x).powi(2) + (at.1 - point.y).powi(2) <= radius * radius;
        let expected: Vec<Entity> = last.iter().filter(|(_, k)| k.at.is_some_and(within)).map(|(e, _)| *e).collect();
        assert_eq!(near, expected);
        assert_eq!(self.grid.len(), last.values().filter(|known| known.at.is_some()).count());
    }

    fn check_rewind(&self, t: &Tick<Self>) {
        let last = t.now().0 - 1;
        let tick = last.saturating_sub(dice(9) as u32).max(1);
        let next = (tick + dice(4) as u32).min(last);
        let alpha = dice(256) as f32 / 256.0;
        let seen = t.rewind(ViewTime { tick: TickNo(tick), next: TickNo(next), alpha });
        let (older, newer, alpha) = (world_at(tick), world_at(next), if next > tick { alpha } else { 0.0 });
        for e in older.keys().chain(newer.keys()) {
            let (got, expected) = (seen.get(*e, |w| &w.spot), drawn(&older, &newer, *e, alpha));
            assert_eq!(got.is_some(), expected.is_some());
            assert!(got.zip(expected).is_none_or(|(got, expected)| close(expected, got.pos)), "{got:?} {expected:?}");
        }
        assert_eq!(seen.each(|w| &w.spot).count(), older.values().filter(|known| known.at.is_some()).count());
        let ray = Ray {
            from: t.rng(Entity::NONE).point(10.0),
            dir: Vec2::from_angle(dice(628) as f32 / 100.0),
            len: 40.0,
            radius: 1.5,
        };
        let meets = |at: (f32, f32), slack: f32| {
            let to = Vec2::new(at.0, at.1) - ray.from;
            let (along, aside) = (to.dot(ray.dir), to.dot(Vec2::new(-ray.dir.y, ray.dir.x)).abs());
            (along > -slack && along <= ray.len + slack && aside <= ray.radius + slack).then_some(along)
        };
        let all = || older.keys().filter_map(|e| Some((*e, drawn(&older, &newer, *e, alpha)?)));
        let hit = seen.grid(|w| &w.grid).ray(ray, |_| true);
        // Rounding may decide what lies on the very edge either way.
        let sure = all().filter_map(|(_, at)| meets(at, -1e-3)).fold(f32::INFINITY, f32::min);
        match hit {
            Some((e, along)) => {
                let at = drawn(&older, &newer, e, alpha).expect("only what is drawn is hit");
                assert!(meets(at, 1e-3).is_some_and(|here| (here - along).abs() < 1e-3) && along <= sure + 1e-3);
            }
            None => assert_eq!(sure, f32::INFINITY, "somebody was met"),
        }
        let (point, radius) = (t.rng(Entity::NONE).point(9.0), 2.0);
        let near: Vec<Entity> = seen.grid(|w| &w.grid).near(point, radius).collect();
        for (e, at) in all() {
            let distance = ((at.0 - point.x).powi(2) + (at.1 - point.y).powi(2)).sqrt();
            assert!((distance - radius).abs() < 1e-3 || near.contains(&e) == (distance < radius), "{e} at {distance}");
        }
    }

    fn churn(&mut self) {
        for _ in 0..dice(6) {
            match self.ents.try_spawn(SessionId::NOBODY) {
                Some(e) if dice(8) > 0 => {
                    self.spot.insert(e, Spot { pos: Vec2::new(dice(64) as f32 / 4.0 - 8.0, dice(64) as f32 / 4.0 - 8.0) });
                }
                _ => {}
            }
        }
        let all: Vec<Entity> = self.spot.iter().map(|(e, _)| e).collect();
        for e in all {
            match dice(40) {
                0 => drop(self.ents.despawn(e)),
                1 => drop(self.spot.remove(e)),
                2 => self.spot[e].pos = Vec2::new(dice(16) as f32 - 8.0, 0.0),
                3 => self.motto.set(e, &"ä".repeat(dice(21) as usize)).expect("short enough"),
                4 => self.secret.set(e, &vec![7; dice(301) as usize]).expect("short enough"),
                5 => drop(self.motto.remove(e)),
                _ => self.spot[e].pos += Vec2::new(dice(9) as f32 / 4.0 - 1.0, dice(9) as f32 / 4.0 - 1.0),
            }
        }
        let (mut a, mut b) = (None, None);
        for (e, _) in self.spot.iter() {
            (a, b) = (b, Some(e));
        }
        if let (Some(a), Some(b)) = (a, b) {
            let [one, other] = self.spot.pair_mut(a, b).expect("two rows");
            std::mem::swap(one, other);
            assert!(self.spot.pair_mut(a, a).is_none());
            assert_eq!(self.motto.set(a, &"x".repeat(41)), Err(SetError::TooLong { bytes: 41, max: 40 }));
            let stale = Entity { generation: a.generation + 1, ..a };
            assert_eq!(self.motto.set(stale, "x"), Err(SetError::Dead(stale)));
        }
    }
}

impl Game for Movers {
    const HZ: u32 = 10;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, t: &Tick<Self>) {
        assert!(t.prev().world().is_empty() && t.prev().count.steps == 0, "before the first commit the world is empty");
        assert!(self.grid.is_empty() && t.at(TickNo(0)).is_none());
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, t: &Tick<Self>) {
        self.check_past(t);
        self.check_grid(t);
        self.check_rewind(t);
        self.churn();
        // What is looked back to is not what is being changed.
        self.check_past(t);
        self.check_grid(t);
        self.count.steps += 1;
        let mut world = self.world();
        for (e, mut spot) in self.spot.iter().map(|(e, spot)| (e, *spot)) {
            ringfort_protocol::Component::quantise(&mut spot);
            world.entry(e).or_default().at = Some((spot.pos.x, spot.pos.y));
        }
        RECORD.with_borrow_mut(|(ticks, _)| ticks.insert(t.now().0, world));
    }
}

#[test]
fn the_past_is_what_was_committed_through_restarts() {
    for seed in 1..6u64 {
        RECORD.set((BTreeMap::new(), seed * 77));
        let mut bench = Bench::<Movers>::new(CAPACITY, 256);
        let mut zone = bench.start();
        for tick in 2..300u32 {
            assert!(matches!(bench.step(&mut zone), Outcome::Committed { .. }), "tick {tick}");
            if dice(23) == 0 {
                zone = bench.restart(zone);
            }
        }
        let report = crate::fsck::check_world(&bench.world, &[(ZONE, bench.entry)], |capacity, _| {
            Description::of::<Movers>(ZoneLimits::of::<Movers>(capacity))
        });
        assert_eq!(report.problems, []);
    }
}
