//! What an operator sets: committed with the tick, the same after a takeover, and nothing of it when it makes no sense.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::layout::{FaultEntry, FaultKind, FieldName, MailKind, fault_key};
use ringfort_shm_state::limits::{MAILBOX_RECORDS, MAILBOX_RESERVED};
use zerocopy::FromZeros;

use crate::limits::ATTEMPTS_MAX;
use crate::prelude::*;
use crate::sim::bench::{Bench, ZONE};
use crate::sim::zone::Zone;

#[derive(Component, Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum Mood {
    Calm,
    Angry,
}

#[derive(Component, Clone, Copy, Debug, PartialEq)]
struct Body {
    #[q(range = -100.0..=100.0, step = 0.5)]
    pos: Vec2,
    awake: bool,
    mood: Mood,
    weight: u16,
}

#[derive(Component, Clone, Copy, Debug, Default)]
struct Told {
    near: u32,
    wind: f32,
}

#[derive(State)]
struct Farm {
    ents: Entities,
    body: Column<Body>,
    #[max(8)]
    name: Blobs<str>,
    told: Global<Told>,
    #[index(body.pos, cell = 8.0)]
    grid: Grid,
}

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    press: Press,
}

impl Game for Farm {
    const HZ: u32 = 10;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {
        let e = self.ents.spawn();
        self.body.insert(e, Body { pos: Vec2::ZERO, awake: false, mood: Mood::Calm, weight: 7 });
        let _ = self.name.set(e, "cow");
        self.ents.spawn();
    }
    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
    fn step(&mut self, _t: &Tick<Self>) {
        assert!(self.body.iter().all(|(_, body)| body.weight != 666), "poison");
        self.told.near = self.grid.near(Vec2::new(50.0, 50.0), 5.0).len() as u32;
    }
}

const COW: u64 = 1 << 32;

fn column(field: u16) -> FieldName {
    FieldName { global: false, column: 0, field }
}

impl Bench<Farm> {
    fn set(&self, entity: u64, field: FieldName, value: &[u8]) {
        let consumed = self.world.newest(ZONE).unwrap().head.mail_cursor;
        DirectoryWriter::new(&self.directory).post_set(ZONE, consumed, entity, field, value).unwrap();
    }
}

fn cow(zone: &Zone<Farm>) -> Body {
    zone.committed().body[Entity { index: 0, generation: 1 }]
}

#[test]
fn a_field_is_set_at_the_start_of_a_tick_and_the_grid_shows_it_from_the_next() {
    let mut bench = Bench::<Farm>::new(2, 16);
    let mut zone = bench.start();
    bench.step(&mut zone);
    let place = [50.2f32.to_ne_bytes(), 49.9f32.to_ne_bytes()].concat();
    bench.set(COW, column(0), &place);
    bench.set(COW, column(1), &[1]);
    bench.set(COW, column(2), &[1]);
    bench.set(COW, column(3), &300u16.to_ne_bytes());
    bench.set(0, FieldName { global: true, column: 0, field: 1 }, &(-2.5f32).to_ne_bytes());
    bench.step(&mut zone);
    let expected = Body { pos: Vec2::new(50.0, 50.0), awake: true, mood: Mood::Angry, weight: 300 };
    assert_eq!(cow(&zone), expected, "a synced field has the value that its coding says");
    assert_eq!((zone.committed().told.near, zone.committed().told.wind), (0, -2.5), "grids show the last commit");
    bench.step(&mut zone);
    assert_eq!(zone.committed().told.near, 1);
    assert_eq!((zone.counters.operator_sets, zone.counters.operator_refused), (5, 0));
    bench.check();
}

#[test]
fn what_makes_no_sense_is_counted_and_changes_nothing() {
    let mut bench = Bench::<Farm>::new(2, 16);
    let mut zone = bench.start();
    bench.step(&mut zone);
    let before = cow(&zone);
    let nan = [f32::NAN.to_ne_bytes(), 0f32.to_ne_bytes()].concat();
    let wrong: [(u64, FieldName, &[u8]); 12] = [
        (COW, column(0), &nan),
        (COW, column(1), &[2]),
        (COW, column(2), &[2]),
        (COW, column(3), &[1]),
        (COW, column(3), &[1, 2, 3]),
        (COW, column(3), &[]),
        (COW, column(4), &[1]),
        (COW, FieldName { global: false, column: 1, field: 0 }, &[]),
        (COW, FieldName { global: false, column: 9, field: 0 }, &[1]),
        (COW + (1 << 32), column(1), &[1]),
        (COW + 1, column(1), &[1]),
        (COW + u64::from(u32::MAX), column(1), &[1]),
    ];
    for (entity, field, value) in wrong {
        bench.set(entity, field, value);
    }
    bench.step(&mut zone);
    assert_eq!((cow(&zone), zone.committed().name.iter().count()), (before, 1));
    assert_eq!((zone.counters.operator_sets, zone.counters.operator_refused), (0, wrong.len() as u64));
    bench.check();
}

#[test]
fn what_was_posted_before_a_death_is_set_by_the_next_owner_and_once() {
    let mut bench = Bench::<Farm>::new(2, 16);
    let mut zone = bench.start();
    bench.step(&mut zone);
    bench.set(COW, column(3), &41u16.to_ne_bytes());
    let mut zone = bench.restart(zone);
    bench.step(&mut zone);
    assert_eq!(cow(&zone).weight, 41);
    let mut zone = bench.restart(zone);
    bench.step(&mut zone);
    bench.step(&mut zone);
    assert_eq!((cow(&zone).weight, zone.counters.operator_sets), (41, 0));
    bench.check();
}

#[test]
fn what_makes_the_game_fail_is_given_up_with_the_third_attempt_and_the_match_goes_on() {
    let mut bench = Bench::<Farm>::new(2, 16);
    let mut zone = bench.start();
    bench.step(&mut zone);
    bench.set(COW, column(3), &666u16.to_ne_bytes());
    for _ in 1..ATTEMPTS_MAX {
        assert!(catch_unwind(AssertUnwindSafe(|| bench.step(&mut zone))).is_err(), "it fails on what was set");
        std::mem::forget(zone);
        let attempt = bench.world.attempt(ZONE).unwrap();
        let key = fault_key(attempt.tick, attempt.attempt, attempt.resumes);
        let fault = FaultEntry { key, incarnation: 77, kind: FaultKind::Panic as u32, ..FaultEntry::new_zeroed() };
        bench.world.record_fault(ZONE, &fault);
        bench.entry.epoch += 1;
        zone = bench.start();
    }
    bench.step(&mut zone);
    assert_eq!((cow(&zone).weight, zone.counters.operator_sets, zone.counters.operator_refused), (7, 0, 1));
    bench.set(COW, column(3), &8u16.to_ne_bytes());
    bench.step(&mut zone);
    assert_eq!(cow(&zone).weight, 8);
    bench.check();
}

#[test]
fn which_field_is_meant_goes_into_a_word_and_comes_back() {
    for global in [false, true] {
        let name = FieldName { global, column: u16::MAX, field: 513 };
        assert_eq!(FieldName::from_word(name.to_word()), Some(name));
    }
    assert_eq!([FieldName::from_word(1 << 33), FieldName::from_word(u64::MAX)], [None, None]);
}

#[test]
fn sets_leave_room_in_the_mailbox_for_the_end_of_the_match() {
    let mut bench = Bench::<Farm>::new(2, 16);
    let mut zone = bench.start();
    bench.step(&mut zone);
    let writer = DirectoryWriter::new(&bench.directory);
    let posted = (0..100).take_while(|_| writer.post_set(ZONE, 0, COW, column(1), &[1]).is_ok()).count() as u64;
    assert_eq!(posted, MAILBOX_RECORDS - MAILBOX_RESERVED);
    assert!(writer.post(ZONE, 0, MailKind::End, 0, 0, "").is_ok());
}
