//! The steps of a stay, and the slots of its inputs.

use std::time::Duration;

use ringfort_client::{Code, EndReason, Ended, ResumeToken};
use ringfort_protocol::Vec2;
use ringfort_protocol::control::ServerMsg;
use ringfort_protocol::snapshot::Lapse;

use super::arena::Arena;
use super::script::{ME, OTHER, Pair, Record, TICK, body};
use crate::client::{Settings, Status};
use crate::limits::{SLOTS_DUE_MAX, STALLED_AFTER};

#[test]
fn connecting_joined_live_stalled_and_over() {
    let mut pair = Pair::new();
    let resume = ResumeToken::new(1, ME, &[7; 16]);
    let joined = Status::Joined { session: ME, match_name: "arena".to_owned(), hz: 20, resume };
    assert_eq!(pair.statuses(), [Status::Connecting, joined]);
    pair.tick(&[]);
    assert_eq!(pair.statuses(), [Status::Live]);
    pair.pass(STALLED_AFTER - Duration::from_millis(1));
    assert_eq!(pair.statuses(), []);
    (1..=20).for_each(|_| pair.pass(STALLED_AFTER / 10));
    let silences: Vec<_> = pair.statuses();
    assert_eq!(silences.len(), 2, "{silences:?}");
    assert!(matches!(silences[1], Status::Stalled(silence) if silence >= STALLED_AFTER * 2));
    pair.tick(&[]);
    assert_eq!(pair.statuses(), [Status::Live]);
    pair.say(&ServerMsg::Left { reason: EndReason::MatchOver });
    assert_eq!(pair.statuses(), [Status::MatchOver]);
    pair.pass(STALLED_AFTER * 3);
    assert_eq!(pair.statuses(), [], "after a match nothing is awaited");
}

#[test]
fn a_refused_join_is_told_in_the_servers_words() {
    let mut pair = Pair::live();
    pair.say(&ServerMsg::Left { reason: EndReason::MatchOver });
    pair.statuses();
    pair.host.refuse = Some(Code::MatchFull);
    pair.join();
    assert_eq!(pair.statuses(), [Status::Refused { code: Code::MatchFull, reason: "not today".to_owned() }]);
    pair.host.refuse = None;
    pair.join();
    assert!(matches!(pair.statuses()[..], [Status::Joined { .. }]));
}

#[test]
fn a_session_that_is_ended_says_why() {
    let mut pair = Pair::live();
    pair.say(&ServerMsg::Left { reason: EndReason::Kicked });
    assert!(matches!(pair.statuses()[..], [Status::Ended(Ended::Session(EndReason::Kicked))]));
}

#[test]
fn a_silence_before_the_first_snapshot_ends_with_one_word() {
    let mut pair = Pair::new();
    pair.pass(STALLED_AFTER);
    assert!(matches!(pair.statuses()[..], [Status::Connecting, Status::Joined { .. }, Status::Stalled(_)]));
    pair.tick(&[]);
    assert_eq!(pair.statuses(), [Status::Live]);
}

#[test]
fn an_end_of_our_own_is_told_once_and_nothing_after_it() {
    let mut pair = Pair::live();
    (0..3).for_each(|_| pair.playing.fail("no socket".to_owned()));
    pair.say(&ServerMsg::Left { reason: EndReason::Kicked });
    assert!(matches!(&pair.statuses()[..], [Status::Ended(Ended::Lost { reason })] if reason == "no socket"));
}

#[test]
fn a_slot_that_is_not_taken_wakes_nobody() {
    let mut pair = Pair::live();
    assert!(pair.playing.take_slot(pair.now));
    assert!(pair.playing.wake_at().is_some_and(|at| at > pair.now));
    pair.pass(TICK * 2);
    assert!(pair.playing.next_slot().is_some_and(|at| at <= pair.now), "it stays due");
    assert_eq!(pair.playing.wake_at(), None);
}

#[test]
fn slots_come_at_the_matchs_rate_from_the_join_on() {
    let mut pair = Pair::with(Settings::<Arena>::new());
    let mut sent = 0;
    for _ in 0..200 {
        pair.pass(Duration::from_millis(5));
        while pair.playing.take_slot(pair.now) {
            pair.send(Vec2::ZERO, &[]);
            sent += 1;
        }
    }
    assert_eq!(sent, 20, "one for each tick of a second");
    assert!(pair.playing.next_slot().is_some_and(|next| next > pair.now));
    pair.now += Duration::from_secs(1);
    let owed = (0..50).take_while(|_| pair.playing.take_slot(pair.now)).count();
    assert_eq!(owed as u32, SLOTS_DUE_MAX);
}

#[test]
fn inputs_are_steered_to_arrive_shortly_before_their_tick() {
    let mut pair = Pair::live();
    let (mut slots, mut late) = (0u32, 0u32);
    for tick in 0..200u32 {
        // The server says that inputs come 45 ms early: nearly a tick more than is good.
        for _ in 0..10 {
            pair.pass(TICK / 10);
            while pair.playing.take_slot(pair.now) {
                slots += 1;
                late = pair.send(Vec2::ZERO, &[]);
            }
        }
        pair.header.early = Lapse::from_us(45_000);
        pair.applied(late);
        pair.snapshot(&[]);
        if tick == 40 {
            assert!(pair.playing.net(&Default::default()).input_margin > 0.8);
        }
    }
    // As it goes on saying so, the clock stays slowed by what is allowed: some slots fewer than ticks.
    assert!((190..200).contains(&slots), "{slots}");
}

#[test]
fn who_watches_has_no_slots_and_is_told_of_silence_all_the_same() {
    let mut pair = Pair::live();
    pair.say(&ServerMsg::Left { reason: EndReason::MatchOver });
    pair.spectate();
    assert!(pair.host.watches);
    pair.header.tick = ringfort_protocol::TickNo(10);
    pair.tick(&[Record::Fresh(OTHER, body(1.0, 0.0))]);
    pair.statuses();
    assert!(pair.drawn(OTHER).is_some() && !pair.playing.take_slot(pair.now) && pair.playing.next_slot().is_none());
    pair.pass(STALLED_AFTER);
    assert!(matches!(pair.statuses()[..], [Status::Stalled(_)]));
}
