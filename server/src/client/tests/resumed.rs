//! What a program sees when its session's connection is lost and made again.

use ringfort_client::{Code, EndReason, Ended, ResumeToken};
use ringfort_protocol::control::ServerMsg;
use ringfort_protocol::{TickNo, Vec2};

use super::arena::Ev;
use super::script::{ME, MINE, OTHER, Pair, Record, TICK, body};
use crate::client::{Status, Sure};

const EAST: Vec2 = Vec2 { x: 1.0, y: 0.0 };

#[test]
fn over_a_resume_the_prediction_goes_on_and_the_lost_ticks_are_told() {
    let mut pair = Pair::live();
    pair.send_times(3, EAST);
    pair.applied(1);
    pair.tick(&[Record::Update(MINE, body(0.2, 0.0))]);
    let drawn = |pair: &Pair| pair.drawn(MINE).expect("we are seen").x;
    assert!((drawn(&pair) - 0.6).abs() < 0.06);
    pair.statuses();
    pair.restart();
    pair.until_resumed();
    pair.send_times(2, EAST);
    assert!((drawn(&pair) - 1.0).abs() < 0.06, "what was not acknowledged stays predicted: {}", drawn(&pair));
    let mut statuses = pair.statuses();
    statuses.retain(|status| !matches!(status, Status::Stalled(_)));
    assert_eq!(statuses, [Status::Resuming { attempt: 1 }]);
    assert!((1..=5).all(|sequence| pair.host.inputs.contains_key(&sequence)), "all came under the new stay");
    pair.header.tick = TickNo(110);
    pair.applied(4);
    pair.tick(&[Record::Fresh(MINE, body(0.8, 0.0)), Record::Fresh(OTHER, body(0.0, 0.0))]);
    let resume = ResumeToken::new(1, ME, &[8; 16]);
    assert_eq!(pair.statuses(), [Status::Resumed { lost: 9, resume }]);
    assert!((drawn(&pair) - 1.0).abs() < 0.06);
    assert_eq!(pair.playing.net(&Default::default()).corrections, 0);
}

#[test]
fn the_last_tick_is_shown_until_the_first_snapshot_and_then_what_is_there_now() {
    let mut pair = Pair::live();
    pair.restart();
    pair.until_resumed();
    assert!(pair.drawn(OTHER).is_some(), "it was there last");
    pair.tick(&[Record::Fresh(MINE, body(0.0, 0.0))]);
    for _ in 0..4 {
        pair.tick(&[]);
    }
    assert!(pair.drawn(OTHER).is_none() && pair.drawn(MINE).is_some());
}

#[test]
fn a_front_end_that_lags_behind_is_not_believed_until_it_shows_a_newer_tick() {
    let mut pair = Pair::live();
    let shown = pair.header.tick;
    pair.restart();
    pair.until_resumed();
    pair.statuses();
    pair.header.tick = TickNo(shown.0 - 3);
    pair.tick(&[Record::Fresh(MINE, body(3.0, 0.0))]);
    assert_eq!((pair.statuses(), pair.playing.view().tick()), (vec![], shown));
    pair.header.tick = shown;
    pair.tick(&[]);
    assert!(matches!(pair.statuses()[..], [Status::Resumed { lost: 0, .. }]));
    assert!((pair.drawn(MINE).expect("we are seen").x - 3.0).abs() < 0.06, "what the older one brought is there");
    assert!(pair.playing.view().latest().body.get(OTHER).is_none());
}

#[test]
fn predicted_events_are_settled_by_the_verdicts_after_the_resume() {
    let mut pair = Pair::live();
    let (hit, miss) = (pair.send(EAST, &[Ev::Shot { by: MINE }]), pair.send(EAST, &[Ev::Shot { by: MINE }]));
    assert_eq!(pair.playing.events().count(), 2);
    pair.restart();
    pair.until_resumed();
    assert_eq!(pair.playing.events().count(), 0, "nothing is known yet");
    pair.applied(miss);
    pair.header.verdicts[0] = 1 << (miss - hit);
    pair.tick(&[Record::Fresh(MINE, body(0.4, 0.0))]);
    let told: Vec<Sure> = pair.playing.events().map(|event| event.sure).collect();
    assert_eq!(told, [Sure::Cancelled]);
}

#[test]
fn slots_come_for_as_many_inputs_as_may_wait() {
    let mut pair = Pair::live();
    // Nobody answers from here on.
    pair.restart();
    pair.silence(true);
    while !pair.statuses().iter().any(|status| matches!(status, Status::Resuming { .. })) {
        pair.pass(TICK / 5);
    }
    let mut sent = 0;
    for _ in 0..200 {
        pair.pass(TICK / 5);
        while pair.playing.take_slot(pair.now) {
            pair.send(EAST, &[]);
            sent += 1;
        }
    }
    assert_eq!(sent, 16);
    pair.silence(false);
    pair.until_resumed();
    assert!((1..=16).all(|sequence| pair.host.inputs.contains_key(&sequence)));
}

#[test]
fn a_session_that_another_program_has_taken_over_ends() {
    let mut pair = Pair::live();
    pair.say(&ServerMsg::Left { reason: EndReason::TakenOver });
    assert!(matches!(pair.statuses()[..], [Status::Ended(Ended::Session(EndReason::TakenOver))]));
}

#[test]
fn a_session_that_is_not_given_back_ends_with_the_servers_words() {
    let mut pair = Pair::live();
    pair.host.refuse_resumes = Some(Code::ResumeRefused);
    pair.restart();
    pair.until_resumed();
    pair.pass(TICK);
    let statuses = pair.statuses();
    let Some(Status::Ended(Ended::NotResumed { code: Code::ResumeRefused, reason })) = statuses.last() else {
        panic!("{statuses:?}")
    };
    assert_eq!(reason, "not today");
}

#[test]
fn a_match_that_ends_before_it_is_seen_again_says_nothing_of_the_next() {
    let mut pair = Pair::live();
    pair.restart();
    pair.until_resumed();
    pair.say(&ServerMsg::Left { reason: EndReason::MatchOver });
    pair.join();
    pair.statuses();
    pair.header.tick = TickNo(200);
    pair.tick(&[Record::Fresh(MINE, body(0.0, 0.0))]);
    assert_eq!(pair.statuses(), [Status::Live]);
}
