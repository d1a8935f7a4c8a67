//! Events: predicted, confirmed, cancelled, and those of others.

use ringfort_client::EndReason;
use ringfort_protocol::{AckBits, Message, TickNo, Vec2, control::ServerMsg};

use super::arena::Ev;
use super::script::{MINE, OTHER, Pair, Record, TICK};
use crate::client::{Event, Status, Sure};

const OURS: Ev = Ev::Shot { by: MINE };
const THEIRS: Ev = Ev::Shot { by: OTHER };

fn heard(pair: &mut Pair) -> Vec<(Ev, Sure)> {
    pair.playing.events().map(|Event { what, sure, .. }| (what, sure)).collect()
}

#[test]
fn a_predicted_event_is_heard_at_once_and_not_again_when_the_server_sends_it() {
    let mut pair = Pair::live();
    assert!(pair.playing.can_predict(&OURS, &[]) && !pair.playing.can_predict(&Ev::Hurt { dmg: 1 }, &[]));
    let sequence = pair.send(Vec2::ZERO, &[OURS]);
    assert_eq!(heard(&mut pair), [(OURS, Sure::Predicted)]);
    pair.applied(sequence);
    pair.header.verdicts[0] = 1;
    pair.snapshot_with(&[], &[THEIRS, OURS, Ev::Hurt { dmg: 5 }]);
    assert_eq!(heard(&mut pair), [(THEIRS, Sure::Confirmed), (Ev::Hurt { dmg: 5 }, Sure::Confirmed)]);
}

#[test]
fn an_event_that_the_server_did_not_send_is_taken_back() {
    let mut pair = Pair::live();
    let sequence = pair.send(Vec2::ZERO, &[OURS]);
    heard(&mut pair);
    pair.tick(&[]);
    assert_eq!(heard(&mut pair), []);
    pair.applied(sequence);
    pair.tick(&[]);
    assert_eq!(heard(&mut pair), [(OURS, Sure::Cancelled)]);
    pair.tick(&[]);
    assert_eq!(heard(&mut pair), []);
}

#[test]
fn an_event_of_ours_that_was_not_predicted_is_confirmed() {
    let mut pair = Pair::live();
    pair.snapshot_with(&[], &[OURS]);
    assert_eq!(pair.playing.events().collect::<Vec<_>>(), [Event { tick: TickNo(101), what: OURS, sure: Sure::Confirmed }]);
}

#[test]
fn an_event_of_ours_is_heard_once_although_we_die_in_its_tick() {
    let mut pair = Pair::live();
    let sequence = pair.send(Vec2::ZERO, &[OURS]);
    heard(&mut pair);
    pair.applied(sequence);
    pair.header.verdicts[0] = 1;
    pair.snapshot_with(&[Record::Gone(MINE)], &[OURS]);
    assert_eq!(heard(&mut pair), []);
}

#[test]
fn what_was_predicted_is_taken_back_when_the_match_ends_first() {
    let mut pair = Pair::live();
    pair.send(Vec2::ZERO, &[OURS]);
    heard(&mut pair);
    pair.say(&ServerMsg::Left { reason: EndReason::MatchOver });
    assert_eq!(heard(&mut pair), [(OURS, Sure::Cancelled)]);
    pair.pass(TICK);
    assert_eq!(heard(&mut pair), []);
}

#[test]
fn a_rejected_input_is_told_once_and_takes_its_events_and_its_way_back() {
    let mut pair = Pair::live();
    let east = Vec2 { x: 1.0, y: 0.0 };
    let start = pair.drawn(MINE).expect("a body");
    let rejected = pair.send(east, &[OURS]);
    let kept = pair.send(east, &[]);
    heard(&mut pair);
    pair.statuses();
    let (inputs, commands) = (AckBits { highest: rejected, bits: 0 }, AckBits::NONE);
    for _ in 0..2 {
        pair.say(&ServerMsg::Rejected { inputs, commands });
    }
    assert_eq!(pair.statuses(), [Status::Rejected { inputs, commands }]);
    assert_eq!(heard(&mut pair), [(OURS, Sure::Cancelled)]);
    assert_eq!((pair.playing.net(&Default::default()).unacknowledged, pair.playing.net(&Default::default()).corrections), (1, 1));
    pair.pass(TICK * 100);
    let once = pair.drawn(MINE).expect("a body");
    let twice = pair.send(east, &[]);
    assert_eq!(twice, kept + 1);
    let step = pair.drawn(MINE).expect("a body") - once;
    assert!(((once - start) - step).length() < 0.1, "one step of {step:?} is left of {:?}", once - start);
}

#[test]
fn reliable_events_come_too() {
    let mut pair = Pair::live();
    let mut payload = Vec::new();
    Ev::Hurt { dmg: 9 }.to_wire(&mut payload);
    pair.say(&ServerMsg::Event { number: 1, tick: TickNo(100), payload });
    assert_eq!(heard(&mut pair), [(Ev::Hurt { dmg: 9 }, Sure::Confirmed)]);
}

#[test]
fn a_program_that_takes_no_events_loses_the_oldest() {
    let mut pair = Pair::live();
    for _ in 0..30 {
        pair.snapshot_with(&[], &[Ev::Hurt { dmg: 1 }; 100]);
    }
    assert_eq!(pair.playing.net(&Default::default()).events_dropped, 3000 - 2048);
    assert_eq!(pair.playing.events().count(), 2048);
}
