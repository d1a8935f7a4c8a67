//! Our own entity: ahead of the server, and brought back when it disagrees.

use std::time::Duration;

use ringfort_protocol::{TickNo, Vec2};

use super::arena::{Arena, drive};
use super::script::{MINE, OTHER, Pair, Record, Rows, TICK, body};
use crate::client::{Error, Fix, Playing, Settings};
use crate::prelude::Entity;

const EAST: Vec2 = Vec2 { x: 1.0, y: 0.0 };

#[track_caller]
fn near(drawn: Option<Vec2>, x: f32, y: f32) {
    let drawn = drawn.expect("it is drawn");
    assert!((drawn.x - x).abs() < 0.06 && (drawn.y - y).abs() < 0.06, "{drawn:?} is not at {x}, {y}");
}

#[test]
fn our_entity_moves_before_the_server_answers_and_stays_when_it_agrees() {
    let mut pair = Pair::live();
    for i in 1..=40u32 {
        pair.send(EAST, &[]);
        near(pair.drawn(MINE), i as f32 * 0.2, 0.0);
        let done = i.saturating_sub(4);
        pair.applied(done);
        pair.tick(&[Record::Update(MINE, body(done as f32 * 0.2, 0.0))]);
        near(pair.drawn(MINE), i as f32 * 0.2, 0.0);
    }
    let net = pair.playing.net(&Default::default());
    assert_eq!((net.corrections, net.unacknowledged), (0, 4));
    let drawn: Vec<_> = pair.playing.view().each(|s| &s.body).map(|(entity, _)| entity).collect();
    assert_eq!(drawn, [MINE, OTHER]);
}

#[test]
fn what_the_server_says_otherwise_is_taken() {
    let mut pair = Pair::live();
    pair.send_times(3, EAST);
    pair.applied(1);
    pair.tick(&[Record::Update(MINE, body(0.2, 5.0))]);
    near(pair.drawn(MINE), 0.6, 5.0);
    assert_eq!(pair.playing.net(&Default::default()).corrections, 1);
}

#[test]
fn a_correction_is_faded_unless_the_program_says_otherwise() {
    let mut settings = Settings::<Arena>::new();
    settings.predict(|s| &s.body, drive);
    let mut pair = Pair::with(settings);
    pair.begin();
    pair.tick(&[Record::Update(MINE, body(0.0, 4.0))]);
    near(pair.drawn(MINE), 0.0, 0.0);
    pair.pass(Duration::from_millis(50));
    near(pair.drawn(MINE), 0.0, 2.0);
    pair.pass(Duration::from_millis(50));
    near(pair.drawn(MINE), 0.0, 4.0);
}

#[test]
fn the_dead_are_not_drawn_and_rise_where_the_server_says() {
    let mut pair = Pair::live();
    pair.send_times(3, EAST);
    pair.tick(&[Record::Bodiless(MINE)]);
    assert_eq!(pair.drawn(MINE), None);
    assert!(pair.playing.view().each(|s| &s.body).all(|(entity, _)| entity != MINE));
    pair.send(EAST, &[]);
    pair.applied(3);
    pair.tick(&[Record::Update(MINE, body(-20.0, 0.0))]);
    near(pair.drawn(MINE), -19.8, 0.0);
    // Drawn at once, although others are drawn at a moment in which we were dead.
    assert!(pair.playing.view().each(|s| &s.body).any(|(entity, _)| entity == MINE));
    assert_eq!(pair.playing.net(&Default::default()).corrections, 0);
}

#[test]
fn of_several_entities_the_first_with_a_row_is_predicted() {
    let mut pair = Pair::live();
    pair.tick(&[Record::Bodiless(MINE)]);
    pair.send(EAST, &[]);
    assert_eq!(pair.drawn(MINE), None);
    pair.tick(&[Record::Update(MINE, Rows { hp: Some(1), ..Rows::default() })]);
    pair.tick(&[Record::Update(MINE, body(1.0, 1.0))]);
    near(pair.drawn(MINE), 1.2, 1.0);
}

#[test]
fn a_repeated_input_is_told_and_counted() {
    let mut pair = Pair::live();
    pair.send_times(2, EAST);
    pair.applied(1);
    pair.tick(&[Record::Update(MINE, body(0.2, 0.0))]);
    (1..=2).for_each(|times| {
        pair.header.repeated = times;
        pair.tick(&[Record::Update(MINE, body(0.2 + 0.2 * f32::from(times), 0.0))]);
    });
    pair.header.repeated = 0;
    near(pair.drawn(MINE), 0.8, 0.0);
    let net = pair.playing.net(&Default::default());
    assert_eq!((net.repeated, net.corrections), (2, 2));
}

#[test]
fn a_new_match_knows_nothing_of_the_last() {
    let mut pair = Pair::live();
    pair.send_times(5, EAST);
    pair.say(&ringfort_protocol::control::ServerMsg::Left { reason: ringfort_client::EndReason::MatchOver });
    assert!(!pair.playing.take_slot(pair.now + TICK));
    near(pair.drawn(MINE), 1.0, 0.0);
    pair.join();
    assert_eq!(pair.playing.view().tick(), TickNo(0));
    pair.header.tick = TickNo(3);
    pair.tick(&[Record::Fresh(MINE, body(9.0, 0.0))]);
    near(pair.drawn(MINE), 9.0, 0.0);
    assert_eq!((pair.playing.net(&Default::default()).unacknowledged, pair.send(EAST, &[])), (0, 1));
}

#[test]
fn an_index_that_is_used_again_is_another_entity() {
    let mut pair = Pair::live();
    let other = Entity { index: OTHER.index, generation: 2 };
    pair.tick(&[Record::Gone(OTHER), Record::Fresh(other, body(8.0, 8.0))]);
    (0..4).for_each(|_| pair.tick(&[]));
    assert_eq!((pair.drawn(OTHER), pair.drawn(other).is_some()), (None, true));
}

#[test]
fn what_cannot_be_predicted_is_refused_before_anything_is_sent() {
    let refused = |settings| Playing::<Arena>::new(std::time::Instant::now(), settings).err();
    let mut settings = Settings::<Arena>::new();
    settings.predict(|s| &s.slow, drive);
    assert!(matches!(refused(settings), Some(Error::NotPredictable { column }) if column == "slow"));
    let mut settings = Settings::<Arena>::new();
    (0..2).for_each(|_| settings.predict(|s| &s.body, drive));
    assert!(matches!(refused(settings), Some(Error::PredictedTwice { column }) if column == "body"));
    let mut settings = Settings::<Arena>::new();
    settings.on_correction(|s| &s.body, |_| Fix::Snap);
    assert!(matches!(refused(settings), Some(Error::NothingToCorrect { column }) if column == "body"));
}
