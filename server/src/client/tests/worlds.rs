//! Worlds: what snapshots say, and what is drawn between them.

use std::time::Duration;

use ringfort_protocol::{TickNo, Vec2};

use super::arena::Arena;
use super::script::{MAX_ENTITIES, ME, MINE, OTHER, Pair, Record, Rows, TICK, body};
use crate::client::{Delay, Settings};
use crate::prelude::Entity;

fn at(x: f32, y: f32) -> Option<Vec2> {
    Some(Vec2::new(x, y))
}

#[track_caller]
fn near(drawn: Option<Vec2>, x: f32) {
    let drawn = drawn.expect("it is drawn");
    assert!((drawn.x - x).abs() < 0.06, "{drawn:?} is not at {x}");
}

#[test]
fn before_the_first_snapshot_the_world_is_empty() {
    let pair = Pair::new();
    let view = pair.playing.view();
    assert_eq!((view.tick(), view.each(|s| &s.body).count(), view.owned(ME)), (TickNo(0), 0, None));
    assert_eq!(view.latest().rules.goal, 0);
}

#[test]
fn the_newest_snapshot_is_the_games_own_struct() {
    let mut pair = Pair::live();
    let rows = Rows { hp: Some(70), name: Some("grace"), ..Rows::default() };
    pair.tick(&[Record::Update(OTHER, rows)]);
    let view = pair.playing.view();
    let latest = view.latest();
    assert_eq!((view.tick(), latest.rules.goal), (TickNo(101), 20));
    assert_eq!((latest.hp.get(OTHER).map(|health| health.hp), latest.name.get(OTHER)), (Some(70), Some("grace")));
    assert_eq!((latest.ents.owner(MINE), latest.ents.owner(OTHER)), (Some(ME), None));
    assert_eq!((view.owned(ME), view.all_owned(ME).count()), (Some(MINE), 1));
    pair.tick(&[Record::Gone(OTHER), Record::Fresh(Entity { index: 5, generation: 2 }, Rows::default())]);
    let latest = pair.playing.view().latest();
    assert!(!latest.ents.alive(OTHER) && latest.name.get(Entity { index: 5, generation: 2 }).is_none());
}

#[test]
fn others_are_drawn_between_two_snapshots_and_inputs_say_which() {
    let mut pair = Pair::live();
    (1..=10).for_each(|i| pair.tick(&[Record::Update(OTHER, body(i as f32, 0.0))]));
    // Two ticks behind, as the delay says: the snapshot of tick 108, with 8 metres.
    near(pair.drawn(OTHER), 8.0);
    pair.pass(TICK / 2);
    near(pair.drawn(OTHER), 8.5);
    let seen = pair.playing.seen();
    assert_eq!((seen.tick, seen.span), (TickNo(108), 1));
    assert!(seen.alpha.abs_diff(128) <= 2, "{seen:?}");
    let sequence = pair.send(Vec2::ZERO, &[]);
    assert_eq!(pair.host.inputs[&sequence].1, seen);
    assert_eq!(pair.playing.view().latest().body.get(OTHER).map(|body| body.pos), at(10.0, 0.0));
}

#[test]
fn a_column_without_interp_is_that_of_the_newest_snapshot() {
    let mut pair = Pair::live();
    for hp in 1..=6 {
        pair.tick(&[Record::Update(OTHER, Rows { hp: Some(hp), ..Rows::default() })]);
        let view = pair.playing.view();
        assert_eq!(view.get(OTHER, |s| &s.hp).map(|health| health.hp), Some(hp));
        assert_eq!(view.each(|s| &s.hp).map(|(e, health)| (e, health.hp)).collect::<Vec<_>>(), [(OTHER, hp)]);
    }
}

#[test]
fn the_last_ticks_that_there_are_can_be_drawn() {
    let mut pair = Pair::new();
    pair.header.tick = TickNo(u32::MAX - 6);
    let rows = |i| Rows { body: at(i as f32, 0.0), slow: at(i as f32, 0.0), ..Rows::default() };
    pair.snapshot(&[Record::Fresh(OTHER, rows(0))]);
    (1..=5).for_each(|i| pair.tick(&[Record::Update(OTHER, rows(i))]));
    pair.pass(TICK * 10);
    let view = pair.playing.view();
    assert_eq!((view.tick(), view.get(OTHER, |s| &s.slow).map(|body| body.pos)), (TickNo(u32::MAX), at(5.0, 0.0)));
    assert_eq!(view.each(|s| &s.slow).count(), 1);
}

#[test]
fn a_leap_beyond_the_columns_distance_is_not_blended() {
    let mut pair = Pair::live();
    (1..=2).for_each(|_| pair.tick(&[]));
    pair.tick(&[Record::Update(OTHER, body(50.0, 0.0))]);
    pair.tick(&[]);
    pair.pass(TICK * 3 / 4);
    near(pair.drawn(OTHER), 0.0);
    pair.pass(TICK / 2);
    near(pair.drawn(OTHER), 50.0);
}

#[test]
fn who_appears_or_vanishes_does_so_at_the_drawn_moment() {
    let third = Entity { index: 9, generation: 4 };
    let mut pair = Pair::live();
    (0..4).for_each(|_| pair.tick(&[]));
    pair.tick(&[Record::Fresh(third, body(3.0, 0.0)), Record::Gone(OTHER)]);
    assert_eq!((pair.drawn(third), pair.drawn(OTHER).is_some()), (None, true));
    assert!(pair.playing.view().latest().ents.alive(third));
    (0..3).for_each(|_| pair.tick(&[]));
    assert_eq!((pair.drawn(third).is_some(), pair.drawn(OTHER)), (true, None));
}

#[test]
fn a_lost_snapshot_is_bridged() {
    let mut pair = Pair::live();
    (1..=4).for_each(|i| pair.tick(&[Record::Update(OTHER, body(i as f32, 0.0))]));
    // Those of 105 and 106 are lost.
    pair.pass(TICK);
    pair.pass(TICK);
    pair.header.tick = TickNo(106);
    pair.tick(&[Record::Update(OTHER, body(7.0, 0.0))]);
    near(pair.drawn(OTHER), 5.0);
    assert_eq!(pair.playing.seen().span, 3);
    pair.pass(TICK / 2);
    near(pair.drawn(OTHER), 5.5);
}

#[test]
fn without_news_the_picture_stands_at_the_newest_snapshot() {
    let mut pair = Pair::live();
    (1..=4).for_each(|i| pair.tick(&[Record::Update(OTHER, body(i as f32, 0.0))]));
    (0..5).for_each(|_| pair.pass(TICK));
    near(pair.drawn(OTHER), 4.0);
    assert_eq!((pair.playing.seen().tick, pair.playing.seen().span), (TickNo(104), 0));
}

/// Its row changes every fourth tick, when it is the entity's turn, and is drawn moving evenly all the same.
#[test]
fn a_column_with_a_rate_is_blended_between_its_own_turns() {
    let mut settings = Settings::<Arena>::new();
    settings.interpolate(Delay::Fixed(TICK * 5));
    let mut pair = Pair::with(settings);
    pair.begin();
    let slow = |x: f32| Rows { slow: Some(Vec2::new(x, 0.0)), ..Rows::default() };
    pair.tick(&[Record::Update(OTHER, slow(1.0))]);
    for tick in 102..=130u32 {
        // (tick + 5) is a multiple of four.
        let records = [Record::Update(OTHER, slow((tick - 100) as f32))];
        pair.tick(if tick % 4 == 3 { &records } else { &[] });
        if tick >= 115 {
            let drawn = pair.playing.view().get(OTHER, |s| &s.slow).map(|body| body.pos);
            near(drawn, (tick - 105) as f32);
        }
    }
}

#[test]
fn the_delay_fits_the_jitter_by_itself() {
    let mut pair = Pair::with(Settings::<Arena>::new());
    pair.begin();
    (0..200).for_each(|_| pair.tick(&[]));
    let even = pair.playing.net(&Default::default());
    // The column with a rate changes every fourth tick.
    assert!(even.jitter < TICK / 20 && even.delay.abs_diff(TICK * 4) < TICK / 10, "{even:?}");
    for i in 0..200u32 {
        // Every other snapshot comes 30 ms late.
        let late = Duration::from_millis(30);
        pair.now += if i % 2 == 0 { TICK + late } else { TICK - late };
        pair.snapshot(&[]);
    }
    let uneven = pair.playing.net(&Default::default());
    assert!(uneven.jitter.abs_diff(Duration::from_millis(30)) < TICK / 20, "{uneven:?}");
    assert!(uneven.delay > even.delay, "{uneven:?}");
}

#[test]
fn bytes_that_make_no_sense_end_the_session_with_a_sentence() {
    let mut pair = Pair::live();
    let far = Record::Gone(Entity { index: MAX_ENTITIES - 1, generation: 1 });
    pair.tick(&[far]);
    assert_eq!(pair.statuses(), []);
    pair.datagram(&[1, pair.header.stay, 0xff, 0xff, 0, 0, 9]);
    let statuses = pair.statuses();
    let [crate::client::Status::Ended(ended)] = &statuses[..] else { panic!("{statuses:?}") };
    assert!(ended.to_string().contains("snapshot"), "{ended}");
    assert!(!pair.playing.take_slot(pair.now));
}
