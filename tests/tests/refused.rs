//! Bytes that are none of the protocol: each is answered with its code and counted, and who plays meanwhile notices nothing.

use ringfort_client::{Error, JoinTarget, Trust};
use ringfort_protocol::codec::{FRAME_HEADER_BYTES, encode_frame};
use ringfort_protocol::control::{ClientMsg, Code, Credential, ServerMsg};
use ringfort_protocol::limits::{MAX_CLIENT_FRAME, PROTOCOL_VERSION};
use ringfort_protocol::{Wire, quic};
use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Game, Instance, Stranger};

/// A game that has the name of the bundled one, and another idea of where players look.
mod rival {
    use ringfort::prelude::*;

    #[derive(Component, Clone, Copy, Debug)]
    pub struct Body {
        #[q(range = -1024.0..=1024.0, step = 0.016)]
        pub pos: Vec2,
        #[q(range = -16.0..=16.0, step = 0.05)]
        pub vel: Vec2,
        #[q(angle, bits = 12)]
        pub aim: f32,
    }

    #[derive(State)]
    pub struct Skirmish {
        pub ents: Entities,
        #[sync(near = 80.0)]
        pub body: Column<Body>,
    }

    #[derive(Input, Clone, Copy, Debug, Default)]
    pub struct Nothing {
        pub fire: Press,
    }

    impl Game for Skirmish {
        const HZ: u32 = 20;
        type Input = Nothing;
        type Command = ();
        type Event = ();
        type Timer = ();

        fn open(&mut self, _t: &Tick<Self>) {}
        fn join(&mut self, _t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
            let e = self.ents.spawn_for(who);
            self.body.insert(e, Body { pos: Vec2::ZERO, vel: Vec2::ZERO, aim: 0.0 });
        }
        fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
        fn step(&mut self, _t: &Tick<Self>) {}
    }
}

/// Control messages that come back so slowly that a slow machine makes no difference.
const FEW: &str = "[limits]\ncontrol = { per_second = 1, burst = 1024 }\n";

/// Lets strangers at an instance in which two play. Checks that the counter counts `times` of them, that the players noticed
/// nothing, and that in the end only their connections are there.
fn check(name: &str, times: u64, attack: impl FnOnce(&Instance) + Send) {
    check_at(&Instance::start(&[]), name, times, attack);
}

fn check_at(instance: &Instance, name: &str, times: u64, attack: impl FnOnce(&Instance) + Send) {
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    let before = crowd.during(|| instance.counter(name));
    crowd.during(|| attack(instance));
    crowd.check_plays_on(&players);
    let status = crowd.during(|| {
        instance.wait_for("it is counted, and only the players are left", |status| {
            counter(status, name) >= before + times && counter(status, "fe_connections") == players.len() as u64
        })
    });
    assert_eq!(counter(&status, name), before + times);
    assert_eq!(status["sessions"], players.len() as u64);
}

fn connect(instance: &Instance) -> Stranger {
    Stranger::connect(instance, quic::ALPN).expect("a stranger may connect")
}

/// One who has said hello as it should be.
fn welcomed(instance: &Instance) -> Stranger {
    let mut stranger = connect(instance);
    stranger.hello(Game::schema().hash());
    assert!(matches!(stranger.hear(), ServerMsg::Welcome { .. }));
    stranger
}

#[test]
fn another_protocol() {
    check("fe_handshakes_failed", 2, |instance| {
        for alpn in [b"h3".as_slice(), b"ringfort/2"] {
            let Err(error) = Stranger::connect(instance, alpn) else { panic!("{alpn:?} was accepted") };
            // TLS alert 120, no_application_protocol (RFC 7301, section 3.2).
            let quinn::ConnectionError::ConnectionClosed(close) = &error else { panic!("{error}") };
            assert_eq!(close.error_code, quinn::TransportErrorCode::crypto(120), "{error}");
        }
    });
}

#[test]
fn another_game() {
    check("fe_hellos_refused", 1, |instance| {
        let url = instance.address().to_string();
        let refused = ringfort::client::Client::<rival::Skirmish>::builder().trust(Trust::Any).connect(&url);
        let Err(ringfort::client::Error::Connection(Error::SchemaMismatch { first })) = refused else {
            panic!("{:?}", refused.err())
        };
        assert!(first.contains("Body.aim") && first.contains("12") && first.contains("10"), "{first}");
    });
}

/// Who plays another game may read the schema, and nothing more.
#[test]
fn another_game_that_joins_nevertheless() {
    check("fe_bad_messages", 1, |instance| {
        let mut stranger = connect(instance);
        stranger.hello(Game::schema().hash() ^ 1);
        assert!(matches!(stranger.hear(), ServerMsg::Welcome { .. }));
        let mismatch = u16::from(Code::SchemaMismatch);
        assert!(matches!(stranger.hear(), ServerMsg::Error { code, .. } if code == mismatch));
        stranger.say(&ClientMsg::Join { target: JoinTarget::Any, nonce: [1; 16], spectate: false });
        assert_eq!(stranger.closed().0, Some(Code::BadMessage));
    });
}

/// Nor may it have the schema again, and stay for as long as it asks.
#[test]
fn another_game_that_says_so_again_and_again() {
    check("fe_bad_messages", 1, |instance| {
        let mut stranger = connect(instance);
        stranger.hello(Game::schema().hash() ^ 1);
        assert!(matches!(stranger.hear(), ServerMsg::Welcome { .. }));
        assert!(matches!(stranger.hear(), ServerMsg::Error { .. }));
        stranger.hello(Game::schema().hash() ^ 1);
        assert_eq!(stranger.closed().0, Some(Code::BadMessage));
    });
}

#[test]
fn another_version() {
    check("fe_hellos_refused", 1, |instance| {
        let mut stranger = connect(instance);
        let credential = Credential::Name("stranger".to_owned());
        let schema_hash = Game::schema().hash();
        stranger.say(&ClientMsg::Hello {
            version: PROTOCOL_VERSION + 1,
            schema_hash,
            credential,
            attempt: 0,
            resume: None,
            rounds: false,
        });
        assert_eq!(stranger.closed().0, Some(Code::VersionMismatch));
    });
}

#[test]
fn names_that_nobody_has() {
    check("fe_hellos_refused", 5, |instance| {
        for name in [String::new(), "x".repeat(33), "a\nb".to_owned(), "  ".to_owned(), "\u{202e}ada".to_owned()] {
            let mut stranger = connect(instance);
            let (version, schema_hash) = (PROTOCOL_VERSION, Game::schema().hash());
            stranger.say(&ClientMsg::Hello {
                version,
                schema_hash,
                credential: Credential::Name(name),
                attempt: 0,
                resume: None,
                rounds: false,
            });
            assert_eq!(stranger.closed().0, Some(Code::Refused));
        }
    });
}

#[test]
fn frames_that_are_no_message() {
    let mut with_more_behind = Vec::new();
    encode_frame(&ClientMsg::Leave, &mut with_more_behind).expect("a frame");
    with_more_behind[0] += 1;
    with_more_behind.push(0);
    let frames: [&[u8]; 4] = [&[0, 0], &[4, 0, 0xff, 0xff, 0xff, 0xff], &[1, 0, 0], &with_more_behind];
    check("fe_bad_messages", 2 * frames.len() as u64, |instance| {
        for frame in frames {
            for make in [connect, welcomed] {
                let mut stranger = make(instance);
                stranger.write(frame);
                assert_eq!(stranger.closed().0, Some(Code::BadMessage), "{frame:?}");
            }
        }
    });
}

#[test]
fn messages_out_of_their_order() {
    check("fe_bad_messages", 2, |instance| {
        let mut joins_first = connect(instance);
        joins_first.say(&ClientMsg::Join { target: JoinTarget::Any, nonce: [2; 16], spectate: false });
        assert_eq!(joins_first.closed().0, Some(Code::BadMessage));
        let mut greets_twice = welcomed(instance);
        greets_twice.hello(Game::schema().hash());
        assert_eq!(greets_twice.closed().0, Some(Code::BadMessage));
    });
}

#[test]
fn a_frame_that_is_too_long() {
    check("fe_control_bad", 1, |instance| {
        let mut stranger = welcomed(instance);
        let length = u16::try_from(MAX_CLIENT_FRAME + 1).expect("a frame's length");
        stranger.write(&length.to_le_bytes());
        assert_eq!(length.to_le_bytes().len(), FRAME_HEADER_BYTES);
        assert_eq!(stranger.closed().0, Some(Code::BadMessage));
    });
}

#[test]
fn datagrams_that_are_no_input() {
    let mut too_many = [0; 40];
    (too_many[0], too_many[14]) = (0x02, 200);
    let datagrams: [&[u8]; 4] = [&[0xff; 60], &[0x02; 40], &[0x02], &too_many];
    check("fe_bad_datagrams", datagrams.len() as u64, |instance| {
        for datagram in datagrams {
            let mut stranger = connect(instance);
            stranger.hello(Game::schema().hash());
            stranger.datagram(datagram);
            assert_eq!(stranger.closed().0, Some(Code::BadMessage), "{datagram:?}");
        }
    });
}

/// The server grants no stream beside the control stream, and ends with it.
#[test]
fn another_stream() {
    check("fe_bad_messages", 0, |instance| {
        let mut stranger = welcomed(instance);
        // Long enough for the server to have granted one, if it did.
        let until = instance.counter("fe_loops") + 20;
        assert!(!stranger.opens_another(|| instance.counter("fe_loops") < until));
        stranger.finish();
        assert_eq!(stranger.closed().0, Some(Code::Left));
    });
}

#[test]
fn a_control_stream_that_is_taken_back() {
    check("fe_control_bad", 1, |instance| {
        let mut stranger = welcomed(instance);
        stranger.reset();
        assert_eq!(stranger.closed().0, Some(Code::BadMessage));
    });
}

/// Neither who says nothing nor who stops in mid-frame is waited for.
#[test]
fn a_hello_that_never_comes() {
    check("fe_overdue", 2, |instance| {
        let silent = connect(instance);
        let mut halting = connect(instance);
        halting.write(&[200, 0, 0]);
        assert_eq!(silent.closed().0, Some(Code::TimedOut));
        assert_eq!(halting.closed().0, Some(Code::TimedOut));
    });
}

/// A stranger who has joined, as the server has answered.
fn joined(instance: &Instance, nonce: u8) -> Stranger {
    let mut stranger = welcomed(instance);
    stranger.say(&ClientMsg::Join { target: JoinTarget::Any, nonce: [nonce; 16], spectate: false });
    match stranger.hear() {
        ServerMsg::Joined { .. } => stranger,
        other => panic!("not joined: {other:?}"),
    }
}

fn sessions(status: &serde_json::Value) -> u64 {
    status["sessions"].as_u64().unwrap()
}

#[test]
fn a_second_join_ends_the_session_of_the_first() {
    check("fe_bad_messages", 3, |instance| {
        for nonce in 0..3 {
            let mut stranger = joined(instance, 50 + nonce);
            instance.wait_for("three sessions", |status| sessions(status) == 3);
            stranger.say(&ClientMsg::Join { target: JoinTarget::Any, nonce: [9; 16], spectate: false });
            assert_eq!(stranger.closed().0, Some(Code::BadMessage));
            instance.wait_for("the two that play", |status| sessions(status) == 2);
        }
    });
}

#[test]
fn acknowledgements_without_end() {
    check_at(&Instance::configured(FEW, |_| (), &[]), "fe_bad_messages", 1, |instance| {
        let mut stranger = joined(instance, 60);
        // In one piece: the connection may be closed before the last of them is on its way.
        let mut all = Vec::new();
        (0..1100).for_each(|number| encode_frame(&ClientMsg::EventAck { number }, &mut all).unwrap());
        stranger.write(&all);
        assert_eq!(stranger.closed().0, Some(Code::Flooding));
        instance.wait_for("the two that play", |status| sessions(status) == 2);
    });
}

#[test]
fn leaving_over_and_over() {
    check_at(&Instance::configured(FEW, |_| (), &[]), "fe_bad_messages", 1, |instance| {
        let mut stranger = joined(instance, 61);
        let mut all = Vec::new();
        (0..1100).for_each(|_| encode_frame(&ClientMsg::Leave, &mut all).unwrap());
        stranger.write(&all);
        assert_eq!(stranger.closed().0, Some(Code::Flooding));
        instance.wait_for("the two that play", |status| sessions(status) == 2);
    });
}

#[test]
fn a_join_with_a_nonce_that_plays_takes_the_session_over() {
    let instance = Instance::start(&["--frontends", "1"]);
    let mut first = joined(&instance, 70);
    let mut second = joined(&instance, 70);
    assert!(matches!(first.hear(), ServerMsg::Left { .. }), "the older connection is told");
    instance.wait_for("one session", |status| sessions(status) == 1);
    drop(first);
    // The end of the older connection ends nothing: the session answers a command over the newer one.
    second.say(&ClientMsg::Command { number: 1, payload: vec![0] });
    loop {
        match second.hear() {
            ServerMsg::CommandAck { number: 1 } => break,
            ServerMsg::Event { .. } => {}
            other => panic!("the session is gone: {other:?}"),
        }
    }
    assert_eq!(sessions(&instance.status()), 1);
}
