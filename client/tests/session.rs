//! A client against a server of a tiny game in the same thread: what each step of a session says and repeats.

#![forbid(unsafe_code)]

// The derives name everything by paths of the crate that a game depends on.
extern crate self as ringfort;
pub use ringfort_protocol as protocol;
pub use ringfort_shm_state as shm_state;

mod mock;
mod resume;

use std::time::{Duration, Instant};

use mock::{AVATAR, Ask, Count, Counting, Mock, Step, Told, token};
use ringfort_client::{Code, Ended, Error, Hub, JoinTarget, SessionKey, Status, Trust};
use ringfort_protocol::control::{EndReason, ServerMsg};
use ringfort_protocol::{AckBits, Message, SessionId, TickNo, Wire};

/// A hub with one session, and its server.
struct Pair {
    hub: Hub<Counting>,
    key: SessionKey,
    server: Mock,
    ticking: bool,
}

impl Pair {
    fn new(server: Mock) -> Pair {
        let mut hub = Hub::bind("127.0.0.1:0".parse().expect("an address"), Trust::Any).expect("a hub");
        let key = hub.connect(Instant::now(), server.address(), "localhost", "ada").expect("a start");
        hub.join(key, JoinTarget::Any);
        Pair { hub, key, server, ticking: true }
    }

    /// Runs both ends until `done`; panics when that takes unreasonably long.
    fn until(&mut self, mut done: impl FnMut(&mut Pair) -> bool) {
        let patience = Instant::now() + Duration::from_secs(20);
        let mut tick = Instant::now();
        while !done(self) {
            assert!(Instant::now() < patience, "it never happens");
            let due = self.ticking && Instant::now() >= tick;
            if due {
                tick = Instant::now() + Duration::from_millis(20);
            }
            self.server.turn(due);
            self.hub.pump(Instant::now(), &mut ()).expect("a pump");
            self.server.wait();
        }
    }

    fn live() -> Pair {
        let mut pair = Pair::new(Mock::start());
        pair.until(|pair| pair.hub.session(pair.key).is_live());
        pair
    }

    fn statuses(&mut self) -> Vec<Status> {
        self.hub.session_mut(self.key).statuses().collect()
    }
}

#[test]
fn hello_join_live_and_leave() {
    let mut pair = Pair::live();
    let expected = [
        Status::Connecting,
        Status::Joined { session: SessionId::new(1, 2), match_name: "arena".to_owned(), tick_hz: 50, token: token(1) },
        Status::Live,
    ];
    assert_eq!(pair.statuses(), expected);
    assert_eq!(pair.hub.session(pair.key).view().mine(), Some(AVATAR));
    pair.hub.session_mut(pair.key).leave();
    pair.until(|pair| pair.hub.session(pair.key).is_ended());
    assert!(matches!(pair.statuses()[..], [Status::Ended(Ended::Session(_))]));
}

#[test]
fn lost_inputs_are_sent_again_and_count_once() {
    let mut pair = Pair::live();
    pair.server.state.drop_inputs = 3;
    for by in 1..=5 {
        let key = pair.key;
        assert_eq!(pair.hub.send(Instant::now(), key, Step { by }), Some(u32::from(by)));
        pair.hub.flush(Instant::now());
        pair.server.turn(false);
    }
    pair.until(|pair| pair.hub.session(pair.key).view().get(AVATAR, Counting::COUNT) == Some(Count { sum: 15 }));
    assert_eq!(pair.server.state.inputs_seen, 5);
    assert!(pair.hub.net(Instant::now(), pair.key).rtt.is_some());
}

#[test]
fn snapshots_are_acknowledged_without_inputs() {
    let mut pair = Pair::live();
    pair.until(|pair| pair.server.state.acked_ticks.highest > 2);
}

#[test]
fn events_and_commands_are_acknowledged() {
    let mut pair = Pair::live();
    pair.hub.session_mut(pair.key).command(&Ask::Tell).expect("room");
    pair.until(|pair| pair.server.state.commands_seen == 1);
    let mut payload = Vec::new();
    Told::Sum { sum: 9 }.to_wire(&mut payload);
    for number in [3, 5, 5] {
        pair.server.say(&ServerMsg::Event { number, tick: TickNo(4), payload: payload.clone() });
    }
    pair.until(|pair| pair.server.state.event_acked == 5);
    let events: Vec<_> = pair.hub.session_mut(pair.key).events().collect();
    let reliable: Vec<_> = events.iter().filter(|event| event.reliable).collect();
    assert_eq!(reliable.len(), 2, "numbers may have gaps, and the doubled one counts once");
    assert_eq!((reliable[0].tick, reliable[0].what), (TickNo(4), Told::Sum { sum: 9 }));
    assert!(events.iter().any(|event| event.what == Told::Tick && !event.reliable && event.tick.0 > 0));
}

#[test]
fn a_rejected_input_is_told_once_and_its_bytes_are_not_sent_again() {
    let mut pair = Pair::live();
    pair.statuses();
    pair.server.state.reject = 2;
    for by in 1..=3 {
        pair.hub.send(Instant::now(), pair.key, Step { by });
        pair.hub.flush(Instant::now());
    }
    let (inputs, commands) = (AckBits { highest: 2, bits: 0 }, AckBits::NONE);
    for told in [inputs, inputs, AckBits { highest: 9, bits: 1 << 6 }] {
        pair.server.say(&ServerMsg::Rejected { inputs: told, commands });
    }
    let mut told = Vec::new();
    pair.until(|pair| {
        told.extend(pair.statuses());
        pair.hub.session(pair.key).view().get(AVATAR, Counting::COUNT) == Some(Count { sum: 4 }) && !told.is_empty()
    });
    assert_eq!(told, [Status::Rejected { inputs, commands }], "9 was never sent");
    assert_eq!(pair.hub.session(pair.key).rejected(), 1);
    pair.hub.send(Instant::now(), pair.key, Step { by: 4 });
    pair.until(|pair| pair.hub.session(pair.key).view().get(AVATAR, Counting::COUNT) == Some(Count { sum: 8 }));
    assert_eq!(pair.server.state.inputs, [(4, Step { by: 4 })], "what lies before it is settled");
}

#[test]
fn where_a_datagram_reaches_over_a_rejected_input_it_has_an_empty_one() {
    let mut pair = Pair::live();
    pair.server.state.drop_inputs = u32::MAX;
    for by in 1..=3 {
        pair.hub.send(Instant::now(), pair.key, Step { by });
        pair.hub.flush(Instant::now());
    }
    pair.server.say(&ServerMsg::Rejected { inputs: AckBits { highest: 2, bits: 0 }, commands: AckBits::NONE });
    pair.until(|pair| pair.hub.session(pair.key).rejected() == 1);
    pair.server.state.drop_inputs = 0;
    pair.server.state.reject = 2;
    pair.until(|pair| pair.hub.session(pair.key).view().get(AVATAR, Counting::COUNT) == Some(Count { sum: 4 }));
    assert_eq!(pair.server.state.inputs, [(3, Step { by: 3 }), (2, Step::default()), (1, Step { by: 1 })]);
}

#[test]
fn a_rejected_command_is_not_sent_again() {
    let mut server = Mock::start();
    server.state.mute = true;
    let mut pair = Pair::new(server);
    pair.until(|pair| pair.hub.session(pair.key).is_live());
    pair.statuses();
    (0..2).for_each(|_| pair.hub.session_mut(pair.key).command(&Ask::Tell).expect("room"));
    pair.until(|pair| pair.server.state.commands == [1, 2]);
    let (inputs, commands) = (AckBits::NONE, AckBits { highest: 1, bits: 0 });
    pair.server.say(&ServerMsg::Rejected { inputs, commands });
    pair.server.say(&ServerMsg::Error { code: Code::Busy.into(), reason: "full inbox".to_owned() });
    pair.until(|pair| pair.server.state.commands.len() > 2);
    assert_eq!(pair.server.state.commands, [1, 2, 2]);
    assert_eq!(pair.statuses(), [Status::Rejected { inputs, commands }]);
}

#[test]
fn a_server_that_has_no_room_is_tried_again() {
    let mut server = Mock::start();
    server.state.full = 3;
    let mut pair = Pair::new(server);
    pair.until(|pair| pair.hub.session(pair.key).is_live());
    assert_eq!(pair.server.state.full, 0);
}

#[test]
fn a_busy_server_is_asked_again() {
    let mut server = Mock::start();
    server.state.busy = 2;
    let mut pair = Pair::new(server);
    pair.until(|pair| pair.hub.session(pair.key).is_live());
}

#[test]
fn a_refused_join_leaves_the_connection() {
    let mut server = Mock::start();
    server.state.refuse = Some(Code::MatchFull);
    let mut pair = Pair::new(server);
    let mut seen = Vec::new();
    pair.until(|pair| {
        seen.extend(pair.statuses());
        seen.len() > 1
    });
    assert_eq!(seen[1], Status::Refused { code: Code::MatchFull, reason: "no".to_owned() });
    pair.server.state.refuse = None;
    pair.hub.join(pair.key, JoinTarget::Named("arena".to_owned()));
    pair.until(|pair| pair.hub.session(pair.key).is_live());
}

#[test]
fn after_a_match_another_can_be_joined() {
    let mut pair = Pair::live();
    pair.hub.send(Instant::now(), pair.key, Step { by: 2 });
    pair.until(|pair| pair.server.state.inputs_seen == 1);
    pair.server.say(&ServerMsg::Left { reason: EndReason::MatchOver });
    pair.server.state.applied = AckBits::NONE;
    pair.until(|pair| pair.statuses().contains(&Status::MatchOver));
    assert_eq!(pair.hub.send(Instant::now(), pair.key, Step { by: 2 }), None);
    pair.hub.join(pair.key, JoinTarget::Any);
    pair.until(|pair| pair.hub.session(pair.key).is_live());
    assert_eq!(pair.hub.send(Instant::now(), pair.key, Step { by: 2 }), Some(1));
    pair.until(|pair| pair.server.state.inputs_seen == 2);
}

#[test]
fn a_place_that_is_asked_for_in_a_match_changes_nothing_there_and_is_asked_for_after_it() {
    let mut pair = Pair::live();
    pair.hub.spectate(pair.key, JoinTarget::Any);
    assert!(!pair.hub.session(pair.key).is_spectator());
    assert_eq!(pair.hub.send(Instant::now(), pair.key, Step { by: 2 }), Some(1));
    pair.hub.session_mut(pair.key).command(&Ask::Tell).expect("who plays may command");
    pair.until(|pair| (pair.server.state.inputs_seen, pair.server.state.commands_seen) == (1, 1));
    assert!(!pair.server.state.watched);
    pair.server.say(&ServerMsg::Left { reason: EndReason::MatchOver });
    pair.until(|pair| pair.hub.session(pair.key).is_spectator());
    assert!(pair.server.state.watched);
    pair.hub.join(pair.key, JoinTarget::Any);
    assert!(pair.hub.session(pair.key).is_spectator());
    assert_eq!(pair.hub.send(Instant::now(), pair.key, Step { by: 2 }), None);
}

#[test]
fn a_place_that_is_asked_for_beside_a_join_waits_for_its_answer() {
    let mut server = Mock::start();
    server.state.refuse = Some(Code::MatchFull);
    let mut pair = Pair::new(server);
    pair.until(|pair| pair.hub.session(pair.key).is_welcomed());
    pair.hub.spectate(pair.key, JoinTarget::Any);
    let mut seen = Vec::new();
    pair.until(|pair| {
        seen.extend(pair.statuses());
        seen.iter().filter(|status| matches!(status, Status::Refused { .. })).count() == 2
    });
}

#[test]
fn a_code_that_is_too_long_is_refused_before_it_is_sent() {
    let mut pair = Pair::live();
    pair.statuses();
    pair.hub.join(pair.key, JoinTarget::Code("x".repeat(5_000)));
    assert!(matches!(pair.statuses()[..], [Status::Refused { code: Code::NoSuchMatch, .. }]));
    assert!(pair.hub.session(pair.key).is_live());
}

#[test]
fn a_match_beyond_the_limits_is_the_end() {
    for size in [(0, 1), (241, 1), (u32::MAX, 1), (50, u32::MAX)] {
        let mut server = Mock::start();
        server.state.size = Some(size);
        let mut pair = Pair::new(server);
        pair.until(|pair| pair.hub.session(pair.key).is_ended());
        let ended = pair.hub.session(pair.key).ended();
        assert!(matches!(ended, Some(Ended::Closed { code: Code::BadMessage, .. })), "{size:?}: {ended:?}");
    }
}

#[test]
fn another_game_is_named_by_its_first_difference() {
    let mut server = Mock::start();
    let mut other = Counting::schema().clone();
    other.columns[0].name = "tally".to_owned();
    server.state.schema = Some(other.clone());
    let mut pair = Pair::new(server);
    pair.until(|pair| pair.hub.session(pair.key).is_ended());
    let first = Counting::schema().first_difference(&other).expect("a difference");
    assert_eq!(pair.hub.session(pair.key).ended(), Some(&Ended::SchemaMismatch { first }));
}

#[test]
fn a_name_that_is_too_long_is_refused_before_anything_is_sent() {
    let name = "a name that is far too long for any player to have".repeat(2);
    let mut hub = Hub::<Counting>::bind("127.0.0.1:0".parse().expect("an address"), Trust::Any).expect("a hub");
    let refused = hub.connect(Instant::now(), "127.0.0.1:1".parse().expect("an address"), "localhost", &name);
    assert!(matches!(refused, Err(Error::NameTooLong)));
}
