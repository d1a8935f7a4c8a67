//! Sessions that are resumed: over the death of their front-end, by a program that was started again, and by whoever should not have them.

use std::time::{SystemTime, UNIX_EPOCH};

use ringfort_client::{Code, Credential, EndReason, Ended, JoinTarget, ResumeToken};
use ringfort_protocol::control::{ClientMsg, Resume, ServerMsg};
use ringfort_protocol::limits::PROTOCOL_VERSION;
use ringfort_protocol::{SessionId, Wire};
use ringfort_tests::crowd::Game;
use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Instance, pid_of, processes, send_signal};
use rustix::process::Signal;

const PLAYERS: usize = 6;
/// Front-ends that are killed, one after the other.
const KILLS: usize = 4;
/// Inputs after the last kill of which none may be missing.
const AFTER: u32 = 20;

#[test]
fn sessions_outlive_their_front_ends_and_no_input_of_those_who_came_back_is_missing() {
    let instance = Instance::start(&["--sims", "1", "--game-option", "capacity=64"]);
    let mut crowd = Crowd::new(instance.address());
    let all: Vec<usize> = (0..PLAYERS).map(|_| crowd.enter("player", JoinTarget::Any)).collect();
    let sessions: Vec<SessionId> = all.iter().map(|who| crowd.session(*who).id()).collect();
    let avatars: Vec<_> = all.iter().map(|who| crowd.avatar(*who)).collect();
    for kill in 0..KILLS {
        let status = crowd.during(|| {
            instance.wait_for("both front-ends run", |status| {
                processes(status, "frontend").iter().filter(|process| process["state"] == "running").count() == 2
            })
        });
        send_signal(pid_of(processes(&status, "frontend")[kill % 2]), Signal::KILL);
        crowd.check_comes_back(&all);
    }
    let since: Vec<u32> = all.iter().map(|who| crowd.player(*who).sent).collect();
    crowd.until("their inputs are acknowledged", |crowd| {
        all.iter().zip(&since).all(|(who, since)| crowd.acks(*who).highest > since + AFTER)
    });
    for (who, since) in all.iter().zip(since) {
        assert_eq!(crowd.unacknowledged(*who, since + 1..=since + AFTER), None, "player {who}");
    }
    assert!(all.iter().map(|who| crowd.session(*who).id()).eq(sessions), "the sessions are the same");
    assert!(all.iter().map(|who| crowd.avatar(*who)).eq(avatars), "and so are their entities");
    let resumes: u32 = all.iter().map(|who| crowd.session(*who).resumes()).sum();
    assert!(resumes >= KILLS as u32, "{resumes}");
    crowd.during(|| {
        instance.wait_for("nobody is left over", |status| status["sessions"] == PLAYERS);
        instance.check_memory();
    });
}

#[test]
fn a_program_that_was_started_again_has_its_session_back_and_the_first_one_is_told() {
    let instance = Instance::start(&["--sims", "1"]);
    let mut first = Crowd::new(instance.address());
    let ada = first.enter("ada", JoinTarget::Any);
    first.check_plays_on(&[ada]);
    let (session, avatar) = (first.session(ada).id(), first.avatar(ada));
    let token = first.session(ada).resume_token().expect("a token");
    let mut second = Crowd::new(instance.address());
    let again = second.resume("ada", token);
    second.until_live(again);
    assert_eq!((second.session(again).id(), second.avatar(again)), (session, avatar));
    first.until("the first is told", |crowd| crowd.ended(ada).is_some());
    assert_eq!(first.ended(ada), Some(&Ended::Session(EndReason::TakenOver)));
    let sent = first.player(ada).sent;
    assert!(second.player(again).sent >= sent, "numbers go on");
    second.check_plays_on(&[again]);
    // A third start, after the second has ended without a word.
    let token = second.session(again).resume_token().expect("a token");
    second.detach();
    let mut third = Crowd::new(instance.address());
    let ada = third.resume("ada", token);
    third.until_live(ada);
    assert_eq!(third.session(ada).id(), session);
    third.check_plays_on(&[ada]);
    third.during(|| instance.wait_for("there is one session", |status| status["sessions"] == 1));
}

/// Says hello with a token; what the server answers after its welcome.
fn show(instance: &Instance, name: &str, token: ResumeToken) -> ServerMsg {
    let mut stranger = ringfort_tests::Stranger::connect(instance, b"ringfort/1").expect("a connection");
    let attempt = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    stranger.say(&ClientMsg::Hello {
        version: PROTOCOL_VERSION,
        schema_hash: Game::schema().hash(),
        credential: Credential::Name(name.to_owned()),
        attempt,
        resume: Some(Resume { token, events: 0 }),
        rounds: false,
    });
    assert!(matches!(stranger.hear(), ServerMsg::Welcome { .. }));
    stranger.hear()
}

fn is_refused(answer: &ServerMsg) -> bool {
    matches!(answer, ServerMsg::Error { code, .. } if *code == Code::ResumeRefused as u16)
}

#[test]
fn tokens_that_are_guessed_old_of_another_match_or_of_another_player_open_nothing() {
    let instance = Instance::start(&["--sims", "1", "--matches", "2"]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    let token = |crowd: &Crowd| crowd.session(ada).resume_token().expect("a token");
    let stolen = token(&crowd);
    // It is used, and what takes its place arrives: it is dead from then on.
    for process in crowd.during(|| processes(&instance.status(), "frontend").into_iter().map(pid_of).collect::<Vec<_>>()) {
        send_signal(process, Signal::KILL);
    }
    crowd.until("ada is back", |crowd| crowd.session(ada).resumes() > 0 && crowd.session(ada).is_live());
    crowd.check_plays_on(&[ada]);
    let newest = token(&crowd);
    let session = newest.session();
    let mut guessed = newest.to_bytes();
    guessed[31] ^= 1;
    let secret: [u8; 16] = std::array::from_fn(|i| newest.to_bytes()[16 + i]);
    let others = [
        ("stolen and late", "ada", stolen),
        ("guessed", "ada", ResumeToken::from_bytes(guessed)),
        ("all zeros", "ada", ResumeToken::new(newest.match_id(), session, &[0; 16])),
        ("of another match", "ada", ResumeToken::new(newest.match_id() + 1, session, &secret)),
        ("of no match", "ada", ResumeToken::new(u64::MAX, session, &secret)),
        ("of another session", "ada", ResumeToken::new(newest.match_id(), SessionId(session.0 + 1), &secret)),
        ("another player's", "eve", newest),
    ];
    for (refused, (what, name, token)) in (1..).zip(others) {
        let answer = crowd.during(|| show(&instance, name, token));
        assert!(is_refused(&answer), "{what}: {answer:?}");
        crowd.during(|| instance.wait_for("it is counted", |status| counter(status, "fe_resumes_refused") == refused));
    }
    crowd.check_plays_on(&[ada]);
    assert_eq!(token(&crowd), newest, "ada has noticed nothing");
    // Replayed: the right one takes the session over, once.
    let answer = crowd.during(|| show(&instance, "ada", newest));
    let ServerMsg::Joined { token: next, .. } = answer else { panic!("not resumed: {answer:?}") };
    assert_eq!(next.session(), session);
    crowd.until("ada is told", |crowd| crowd.ended(ada) == Some(&Ended::Session(EndReason::TakenOver)));
}
