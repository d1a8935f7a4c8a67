use ringfort::test::TestWorld;
use ringfort_protocol::AckBits;

use super::{Account, Ask, News, Numbered, Tally};
use crate::chaos::{Audit, Ledger};

/// Applies these numbers, one a tick; returns the account and every event.
fn play(numbers: &[u32]) -> (Account, Vec<News>) {
    let mut world = TestWorld::<Tally>::new().check_determinism(true);
    let ada = world.join("ada");
    let mut events = Vec::new();
    for &number in numbers {
        world.input(ada, Numbered { number });
        world.step();
        events.extend(world.events(ada).iter().copied());
    }
    let state = world.state();
    (state.accounts[state.seats[ada].avatar], events)
}

fn ledger(sent: u32, events: &[News]) -> Ledger {
    let mut ledger = Ledger::default();
    (1..=sent).for_each(|number| ledger.acknowledged(number));
    ledger.sent = sent;
    events.iter().for_each(|event| _ = ledger.event(*event));
    ledger
}

#[test]
fn blocks_and_account_tell_exactly_what_was_applied() {
    let numbers: Vec<u32> = (1..=1000).collect();
    let (account, events) = play(&numbers);
    let audit = ledger(1000, &events).audit(&account);
    assert_eq!((account.inputs, account.doubled), (1000, 0));
    assert!(audit.is_clean(), "{audit:?}");
    assert!(events.len() > 25, "{} events", events.len());
}

#[test]
fn an_acknowledged_input_that_was_not_applied_is_missing() {
    for gap in [1, 63, 64, 500, 1000] {
        let numbers: Vec<u32> = (1..=1000).filter(|number| *number != gap).collect();
        let (account, events) = play(&numbers);
        let audit = ledger(1000, &events).audit(&account);
        assert_eq!((audit.inputs_missing, audit.inputs_doubled), (1, 0), "{gap}: {audit:?}");
    }
}

#[test]
fn an_input_that_is_applied_twice_is_doubled() {
    for again in [1, 70, 130, 190] {
        let numbers: Vec<u32> = (1..=200).chain([again]).collect();
        let (account, events) = play(&numbers);
        let audit = ledger(200, &events).audit(&account);
        assert_eq!((audit.inputs_missing, audit.inputs_doubled), (0, 1), "{again}: {audit:?}");
    }
}

#[test]
fn an_event_that_is_left_out_or_comes_twice_is_counted() {
    let (account, events) = play(&(1..=1000).collect::<Vec<u32>>());
    let left_out: Vec<News> = events.iter().copied().enumerate().filter(|(at, _)| *at != 7).map(|(_, event)| event).collect();
    let audit = ledger(1000, &left_out).audit(&account);
    assert_eq!((audit.events_missing, audit.events_doubled), (1, 0), "{audit:?}");
    let twice: Vec<News> = events.iter().copied().chain([events[3]]).collect();
    let audit = ledger(1000, &twice).audit(&account);
    assert_eq!((audit.events_missing, audit.events_doubled), (0, 1), "{audit:?}");
    let cut: Vec<News> = events[..events.len() - 2].to_vec();
    assert_eq!(ledger(1000, &cut).audit(&account).events_missing, 2);
}

#[test]
fn what_was_rejected_is_neither_missing_nor_to_be_applied() {
    let numbers: Vec<u32> = (1..=100).filter(|number| *number != 99).collect();
    let (account, events) = play(&numbers);
    let rejected = |number| {
        let mut ledger = Ledger::default();
        ledger.sent = 100;
        (1..=100).filter(|acked| *acked != number).for_each(|acked| ledger.acknowledged(acked));
        events.iter().for_each(|event| _ = ledger.event(*event));
        ledger.rejected(AckBits { highest: number, bits: 0 }, AckBits::NONE);
        ledger.audit(&account)
    };
    let audit = rejected(99);
    assert_eq!(audit, Audit { inputs_rejected: 1, ..Audit::default() });
    assert_eq!((rejected(98).inputs_missing, rejected(98).inputs_doubled), (1, 1));
}

#[test]
fn commands_that_were_left_out_or_carried_out_twice_are_counted() {
    for (carried_out, missing, doubled) in [(&[1, 2, 3][..], 0, 0), (&[1, 3], 1, 0), (&[1, 2], 1, 0), (&[1, 2, 2, 3], 0, 1)] {
        let mut world = TestWorld::<Tally>::new();
        let ada = world.join("ada");
        for &number in carried_out {
            world.command(ada, Ask::Count { number });
            world.step();
        }
        let account = world.state().accounts[world.state().seats[ada].avatar];
        let mut ledger = Ledger::default();
        ledger.commands = 3;
        let audit = ledger.audit(&Account { events: 0, ..account });
        assert_eq!((audit.commands_missing, audit.commands_doubled), (missing, doubled), "{carried_out:?}");
    }
}

#[test]
fn no_input_is_given_that_would_push_an_unacknowledged_one_out_of_the_datagrams() {
    let mut ledger = Ledger::default();
    ledger.sent = 16;
    assert!(!ledger.has_room(), "the first is still carried, and would not be beside a seventeenth");
    (2..=16).for_each(|number| ledger.acknowledged(number));
    assert!(!ledger.has_room());
    ledger.rejected(AckBits { highest: 1, bits: 0 }, AckBits::NONE);
    assert!(ledger.has_room());
}
