//! What becomes of a session whose connection is lost.

use std::time::{Duration, Instant};

use ringfort_client::limits::{
    ATTEMPT_PATIENCE, PROBE_EVERY, RECONNECT_DELAY, RECONNECT_DELAY_MAX, RECONNECT_SPREAD, RESUME_MAX, SILENCE_MAX,
};
use ringfort_client::{Code, Credential, Ended, Hub, JoinTarget, Status, Trust};
use ringfort_protocol::control::{EndReason, ServerMsg};
use ringfort_protocol::{Message, TickNo};

use crate::Pair;
use crate::mock::{AVATAR, Ask, Count, Counting, Mock, Step, Told, token};

impl Pair {
    /// Sends an input; whether it was taken.
    fn step(&mut self, by: u16) -> bool {
        let taken = self.hub.send(Instant::now(), self.key, Step { by }).is_some();
        self.hub.flush(Instant::now());
        taken
    }

    fn ask(&mut self) {
        self.hub.session_mut(self.key).command(&Ask::Tell).expect("room");
        self.hub.flush(Instant::now());
    }

    fn sum(&self) -> Option<u32> {
        self.hub.session(self.key).view().get(AVATAR, Counting::COUNT).map(|Count { sum }| sum)
    }

    fn until_live(&mut self) {
        self.until(|pair| pair.hub.session(pair.key).is_live());
    }

    /// Waits until the session has ended, and says how.
    fn until_ended(&mut self) -> Ended {
        self.until(|pair| pair.hub.session(pair.key).is_ended());
        self.hub.session(self.key).ended().cloned().expect("it has ended")
    }
}

#[test]
fn a_session_whose_server_has_forgotten_it_is_resumed_and_loses_nothing() {
    let mut pair = Pair::live();
    pair.step(1);
    pair.until(|pair| pair.sum() == Some(1));
    let tick = pair.hub.session(pair.key).view().tick();
    pair.statuses();
    pair.server.restart();
    for by in 2..=4 {
        assert!(pair.step(by));
    }
    pair.ask();
    pair.until(|pair| pair.hub.session(pair.key).is_resuming());
    assert_eq!(pair.sum(), Some(1), "what was seen last stays to be seen");
    assert!(pair.step(5), "inputs are taken meanwhile");
    pair.until_live();
    pair.until(|pair| pair.sum() == Some(15));
    pair.until(|pair| pair.server.state.commands == [1]);
    let state = &pair.server.state;
    assert_eq!((state.inputs_seen, state.resumes.len()), (5, 1), "each input counts once");
    assert_eq!((state.resumes[0].token, state.resumes[0].events), (token(1), 0));
    assert!(pair.hub.session(pair.key).view().tick() > tick);
    let resumed =
        |status: &Status| matches!(status, Status::Resumed { token, inputs: 4, commands: 1 } if *token == self::token(2));
    let statuses = pair.statuses();
    assert!(matches!(&statuses[..], [Status::Resuming { attempt: 1 }, second, Status::Live] if resumed(second)), "{statuses:?}");
    assert_eq!(pair.hub.session(pair.key).resume_token(), Some(token(2)));
    pair.server.restart();
    pair.step(1);
    pair.until(|pair| pair.sum() == Some(16));
    assert_eq!(pair.server.state.resumes[1].token, token(2), "the last token that was given is shown");
    assert!(pair.server.state.attempts.is_sorted_by(|one, next| one < next), "each connection has a higher number");
}

#[test]
fn inputs_that_are_given_meanwhile_wait_until_the_session_was_given_back() {
    let mut pair = Pair::live();
    for _ in 0..3 {
        pair.server.restart();
        // Each is sent at once where there is a connection that has the session; the server checks that no other gets any.
        pair.until(|pair| pair.hub.session(pair.key).is_resuming());
        pair.until(|pair| {
            pair.step(1);
            pair.hub.session(pair.key).is_live()
        });
    }
}

#[test]
fn a_close_that_asks_to_reconnect_is_followed_at_once() {
    let mut pair = Pair::live();
    pair.statuses();
    pair.server.close(Code::Reconnect);
    pair.until(|pair| pair.server.state.resumes.len() == 1);
    pair.until_live();
    assert!(matches!(pair.statuses()[..], [Status::Resuming { attempt: 1 }, Status::Resumed { .. }, Status::Live]));
}

#[test]
fn other_closes_are_the_end() {
    for code in [Code::ServerStopping, Code::Kicked, Code::BadMessage, Code::EventOverflow] {
        let mut pair = Pair::live();
        pair.server.close(code);
        assert!(matches!(pair.until_ended(), Ended::Closed { code: said, .. } if said == code));
        assert!(pair.server.state.resumes.is_empty());
    }
}

#[test]
fn a_join_that_was_not_answered_is_sent_again_with_its_nonce() {
    let mut server = Mock::start();
    server.state.silent = true;
    let mut pair = Pair::new(server);
    pair.until(|pair| pair.server.state.nonces.len() == 1);
    pair.server.restart();
    pair.server.state.silent = false;
    pair.until_live();
    let nonces = &pair.server.state.nonces;
    assert!(nonces.len() == 2 && nonces[0] == nonces[1]);
    assert!(pair.server.state.resumes.is_empty());
    let statuses = pair.statuses();
    let expected =
        matches!(statuses[..], [Status::Connecting, Status::Resuming { attempt: 1 }, Status::Joined { .. }, Status::Live]);
    assert!(expected, "{statuses:?}");
}

#[test]
fn commands_that_were_not_acknowledged_are_sent_again_from_the_servers_next_on() {
    let mut pair = Pair::live();
    pair.server.state.mute = true;
    (0..3).for_each(|_| pair.ask());
    pair.until(|pair| pair.server.state.commands == [1, 2, 3]);
    // It has committed two of them.
    pair.server.state.commands_seen = 2;
    pair.server.restart();
    pair.until(|pair| pair.server.state.commands.len() == 4);
    assert_eq!(pair.server.state.commands, [1, 2, 3, 3]);
}

#[test]
fn events_that_come_again_after_a_resume_are_told_once() {
    let mut pair = Pair::live();
    let mut payload = Vec::new();
    Told::Sum { sum: 9 }.to_wire(&mut payload);
    let event = |number| ServerMsg::Event { number, tick: TickNo(4), payload: payload.clone() };
    pair.server.say(&event(3));
    pair.until(|pair| pair.server.state.event_acked == 3);
    pair.server.restart();
    pair.until(|pair| pair.server.state.resumes.len() == 1);
    assert_eq!(pair.server.state.resumes[0].events, 3, "the server is told what we have");
    pair.until(|pair| pair.server.state.event_acks == [0, 3, 3]);
    [3, 5, 5].into_iter().for_each(|number| pair.server.say(&event(number)));
    pair.until(|pair| pair.server.state.event_acked == 5);
    assert_eq!(pair.hub.session_mut(pair.key).events().filter(|event| event.reliable).count(), 2);
}

#[test]
fn every_joined_is_answered_with_an_acknowledgement_that_says_that_the_token_is_here() {
    let mut pair = Pair::live();
    pair.until(|pair| pair.server.state.event_acks == [0]);
    pair.server.restart();
    pair.until(|pair| pair.server.state.event_acks == [0, 0]);
}

#[test]
fn no_more_inputs_wait_than_one_datagram_carries() {
    let mut pair = Pair::live();
    pair.server.state.silent = true;
    pair.server.restart();
    pair.until(|pair| pair.hub.session(pair.key).is_resuming());
    assert_eq!((1..=40).filter(|_| pair.step(1)).count(), 16);
    assert!(!pair.hub.session(pair.key).takes_inputs());
    pair.server.state.silent = false;
    pair.until_live();
    pair.until(|pair| pair.sum() == Some(16));
    assert!(pair.step(1));
    pair.until(|pair| pair.sum() == Some(17));
}

#[test]
fn a_session_that_is_taken_over_ends() {
    let mut pair = Pair::live();
    pair.server.say(&ServerMsg::Left { reason: EndReason::TakenOver });
    assert_eq!(pair.until_ended(), Ended::Session(EndReason::TakenOver));
    assert!(pair.hub.session(pair.key).resume_token().is_none());
}

#[test]
fn a_session_that_is_not_given_back_ends_and_says_why() {
    for code in [Code::ResumeRefused, Code::Kicked, Code::Refused] {
        let mut pair = Pair::live();
        pair.server.state.refuse_resumes = Some(code);
        pair.server.restart();
        assert_eq!(pair.until_ended(), Ended::NotResumed { code, reason: "no".to_owned() });
    }
}

#[test]
fn a_match_that_has_ended_meanwhile_is_over_and_another_can_be_joined() {
    let mut pair = Pair::live();
    pair.server.state.refuse_resumes = Some(Code::MatchOver);
    pair.server.restart();
    pair.until(|pair| pair.statuses().contains(&Status::MatchOver));
    pair.hub.join(pair.key, JoinTarget::Any);
    pair.until_live();
}

#[test]
fn a_busy_server_is_asked_again_over_another_connection() {
    for code in [Code::Busy, Code::NoRoom] {
        let mut pair = Pair::live();
        pair.server.state.refuse_resumes = Some(code);
        pair.server.restart();
        pair.until(|pair| pair.server.state.resumes.len() == 3);
        pair.server.state.refuse_resumes = None;
        pair.until_live();
        let attempts: Vec<u32> = pair.statuses().iter().filter_map(attempt).collect();
        assert!(attempts.len() >= 4 && attempts.iter().copied().eq(1..=attempts.len() as u32), "{attempts:?}");
    }
}

#[test]
fn a_program_that_was_started_again_goes_on_with_the_session() {
    let mut pair = Pair::live();
    pair.step(7);
    pair.ask();
    pair.until(|pair| pair.sum() == Some(7) && pair.server.state.commands_seen == 1);
    let token = pair.hub.session(pair.key).resume_token().expect("a token");
    let Pair { hub, server, .. } = pair;
    hub.detach();
    let mut hub = Hub::bind("127.0.0.1:0".parse().expect("an address"), Trust::Any).expect("a hub");
    let credential = Credential::Name("ada".to_owned());
    let key = hub.resume(Instant::now(), server.address(), "localhost", credential, token).expect("a start");
    assert!(!hub.session(key).is_joined());
    let mut pair = Pair { hub, key, server, ticking: true };
    pair.until_live();
    let joined = Status::Joined {
        session: pair.hub.session(pair.key).id(),
        match_name: "arena".to_owned(),
        tick_hz: 50,
        token: self::token(2),
    };
    assert_eq!(pair.statuses(), [Status::Connecting, joined, Status::Live]);
    assert_eq!(pair.server.state.resumes[0].token, token);
    assert_eq!(pair.hub.send(Instant::now(), pair.key, Step { by: 1 }), Some(2), "numbers go on");
    pair.ask();
    pair.until(|pair| pair.sum() == Some(8) && pair.server.state.commands == [1, 2]);
    assert_eq!(pair.server.state.inputs, [(2, Step { by: 1 })], "nothing is sent of inputs that we do not know");
}

#[test]
fn a_token_that_was_kept_too_long_is_the_end() {
    let mut server = Mock::start();
    server.state.refuse_resumes = Some(Code::ResumeRefused);
    let mut hub = Hub::bind("127.0.0.1:0".parse().expect("an address"), Trust::Any).expect("a hub");
    let credential = Credential::Name("ada".to_owned());
    let key = hub.resume(Instant::now(), server.address(), "localhost", credential, token(9)).expect("a start");
    let mut pair = Pair { hub, key, server, ticking: true };
    assert!(matches!(pair.until_ended(), Ended::NotResumed { code: Code::ResumeRefused, .. }));
}

#[test]
fn who_leaves_while_it_is_being_resumed_leaves_when_it_is_back() {
    let mut pair = Pair::live();
    pair.server.restart();
    pair.until(|pair| pair.hub.session(pair.key).is_resuming());
    pair.hub.session_mut(pair.key).leave();
    assert_eq!(pair.until_ended(), Ended::Session(EndReason::Left));
    assert_eq!(pair.server.state.resumes.len(), 1);
}

#[test]
fn who_has_left_and_lost_the_answer_is_not_brought_back() {
    for gone in [false, true] {
        let mut pair = Pair::live();
        pair.hub.session_mut(pair.key).leave();
        pair.server.restart();
        // Whether the server had carried it out or not.
        pair.server.state.refuse_resumes = gone.then_some(Code::ResumeRefused);
        assert_eq!(pair.until_ended(), Ended::Session(EndReason::Left));
    }
}

#[test]
fn a_server_that_takes_a_session_back_only_to_lose_it_again_is_asked_ever_more_rarely() {
    let mut pair = Pair::live();
    pair.statuses();
    // A clock of the test's own.
    let mut now = Instant::now();
    for round in 0..7 {
        pair.server.close(Code::Reconnect);
        let mut until = |pair: &mut Pair, done: &dyn Fn(&Pair) -> bool| {
            while !done(pair) {
                now += Duration::from_micros(100);
                pair.server.turn(true);
                pair.hub.pump(now, &mut ()).expect("a pump");
            }
            now
        };
        let lost = until(&mut pair, &|pair| pair.hub.session(pair.key).is_resuming());
        let begun = until(&mut pair, &|pair| pair.hub.session(pair.key).has_status());
        assert_eq!(pair.statuses(), [Status::Resuming { attempt: 1 }]);
        // The first is taken for chance.
        let least = if round == 0 { Duration::ZERO } else { (RECONNECT_DELAY * (1 << (round - 1))).min(RECONNECT_DELAY_MAX) / 2 };
        assert!(begun - lost >= least, "{:?} in round {round}", begun - lost);
        until(&mut pair, &|pair| pair.hub.session(pair.key).is_live());
        pair.statuses();
    }
}

#[test]
fn a_connection_is_kept_when_the_address_changes() {
    let mut pair = Pair::live();
    pair.statuses();
    for round in 1..=10 {
        let before = pair.hub.local_addr().expect("an address");
        pair.hub.rebind().expect("another socket");
        assert_ne!(pair.hub.local_addr().expect("an address"), before);
        assert!(pair.step(1));
        pair.until(|pair| pair.sum() == Some(round));
    }
    assert_eq!(pair.statuses(), []);
}

/// A clock of the test's own, which the client believes: nothing is waited for.
fn attempts_in_vain(pair: &mut Pair) -> (Vec<(Duration, u32)>, Duration, Ended) {
    let start = Instant::now();
    let (mut attempts, mut now) = (Vec::new(), start);
    loop {
        now += Duration::from_millis(1);
        pair.hub.pump(now, &mut ()).expect("a pump");
        let passed = now - start;
        for status in pair.statuses() {
            attempts.extend(attempt(&status).map(|attempt| (passed, attempt)));
            if let Status::Ended(ended) = status {
                return (attempts, passed, ended);
            }
        }
        assert!(passed < RESUME_MAX * 2, "it goes on for ever: {attempts:?}");
    }
}

fn attempt(status: &Status) -> Option<u32> {
    match status {
        Status::Resuming { attempt } => Some(*attempt),
        _ => None,
    }
}

#[test]
fn a_server_that_says_nothing_is_asked_ever_more_rarely_until_it_is_given_up() {
    let mut pair = Pair::live();
    pair.step(1);
    pair.until(|pair| pair.sum() == Some(1));
    pair.statuses();
    let (attempts, passed, ended) = attempts_in_vain(&mut pair);
    let (first, number) = attempts[0];
    assert!(number == 1 && first >= SILENCE_MAX && first <= SILENCE_MAX + RECONNECT_SPREAD + PROBE_EVERY, "{first:?}");
    for (before, pair) in attempts.windows(2).enumerate() {
        let [(one, number), (next, following)] = [pair[0], pair[1]];
        assert_eq!(following, number + 1);
        let patience = ATTEMPT_PATIENCE * (1 << before.min(2));
        let delay = (RECONNECT_DELAY * (1 << before.min(10))).min(RECONNECT_DELAY_MAX);
        let waited = next - one;
        let most = patience + delay.mul_f64(1.5) + PROBE_EVERY;
        assert!(waited >= patience + delay / 2 && waited <= most, "attempt {following} after {waited:?}, not {most:?}");
    }
    assert!(passed > RESUME_MAX / 2 && passed < RESUME_MAX + SILENCE_MAX * 2, "{passed:?} {ended:?} {attempts:?}");
    assert!(matches!(ended, Ended::Lost { .. }), "{ended:?}");
}

#[test]
fn a_silent_server_that_still_answers_quic_is_not_left() {
    let mut pair = Pair::live();
    pair.ticking = false;
    pair.statuses();
    let start = Instant::now();
    let mut now = start;
    while now - start < SILENCE_MAX * 4 {
        // The server's own clock is slower; it answers all the same.
        now += Duration::from_millis(5);
        pair.server.turn(false);
        pair.hub.pump(now, &mut ()).expect("a pump");
    }
    assert_eq!(pair.statuses(), []);
}

#[test]
fn a_program_that_has_not_looked_for_long_has_not_lost_its_connection() {
    let mut pair = Pair::live();
    pair.ticking = false;
    pair.statuses();
    let late = Instant::now() + SILENCE_MAX * 2;
    for millis in 0..200 {
        pair.hub.pump(late + Duration::from_millis(millis), &mut ()).expect("a pump");
        pair.server.turn(false);
    }
    assert_eq!(pair.statuses(), []);
}

#[test]
fn without_patience_a_lost_connection_is_the_end() {
    let server = Mock::start();
    let mut hub = Hub::bind("127.0.0.1:0".parse().expect("an address"), Trust::Any).expect("a hub");
    hub.give_up_after(Duration::ZERO);
    let key = hub.connect(Instant::now(), server.address(), "localhost", "ada").expect("a start");
    hub.join(key, JoinTarget::Any);
    let mut pair = Pair { hub, key, server, ticking: true };
    pair.until_live();
    pair.server.restart();
    assert!(matches!(pair.until_ended(), Ended::Lost { reason } if reason.contains("forgotten")));
}
