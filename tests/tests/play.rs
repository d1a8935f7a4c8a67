//! Matches as players live them: joining, meeting, shooting, dying, coming back, leaving, and the end.

use std::time::Instant;

use ringfort::client::{Client, Join, Status, Trust};
use ringfort::skirmish::{Ask, Cmd, Ev, Skirmish, drive};
use ringfort_client::{Code, EndReason, Ended, JoinTarget};
use ringfort_protocol::{Press, Vec2};
use ringfort_tests::crowd::named;
use ringfort_tests::{Crowd, Instance, PATIENCE, match_named};

/// From here on no shot goes past: the spread is less than a body.
const CLOSE: f32 = 8.0;
/// Ticks from a death to the respawn: 3 s of the game's 20 Hz.
const RESPAWN_TICKS: u32 = 60;

fn walk(way: Vec2) -> Cmd {
    Cmd { wish: way.clamp_len(1.0), ..Cmd::default() }
}

/// One step of a hunt: the prey walks to the middle, the hunter to the prey, and from nearby it shoots.
fn hunt(crowd: &mut Crowd, hunter: usize, prey: usize) {
    let home = |body: ringfort::skirmish::Body| if body.pos.length() > CLOSE { walk(body.pos * -1.0) } else { Cmd::default() };
    let target = crowd.avatar(prey).and_then(|prey| crowd.view(hunter).get(prey, Skirmish::BODY));
    if let Some(body) = crowd.body(prey) {
        crowd.player_mut(prey).does = home(body);
    }
    let Some(me) = crowd.body(hunter) else { return };
    crowd.player_mut(hunter).does = match target.map(|target| target.pos + me.pos * -1.0) {
        None => home(me),
        Some(way) if way.length() > CLOSE => walk(way),
        Some(way) => Cmd { wish: Vec2::ZERO, aim: way.y.atan2(way.x), fire: Press::down(true) },
    };
}

fn is_kill(event: &ringfort_client::Event<Ev>) -> bool {
    matches!(event.what, Ev::Kill { .. })
}

#[test]
fn two_players_see_each_other_and_one_shoots_the_other() {
    let instance = Instance::start(&["--game-option", "capacity=2"]);
    let mut crowd = Crowd::new(instance.address());
    let (ada, bob) = (crowd.enter("ada", named("match-1")), crowd.enter("bob", named("match-1")));
    crowd.until("bob is dead", |crowd| {
        hunt(crowd, ada, bob);
        crowd.count_events(ada, is_kill) > 0 && crowd.count_events(bob, is_kill) > 0
    });
    crowd.player_mut(ada).does = Cmd::default();
    let (ada_is, bob_is) = (crowd.avatar(ada).expect("ada"), crowd.avatar(bob).expect("bob"));
    assert!(crowd.count_events(ada, |event| event.what == Ev::Hurt { victim: bob_is, dmg: 20 }) > 0);
    let died = crowd.player(bob).events.iter().find(|event| is_kill(event)).expect("the kill").tick;
    crowd.until("bob is back, and ada sees him", |crowd| {
        // He may come back out of sight.
        let far = crowd.body(ada).map_or(Cmd::default(), |body| walk(body.pos * -1.0));
        crowd.player_mut(ada).does = far;
        let back = crowd.body(bob).is_some();
        assert!(!back || crowd.tick(bob) >= died.0 + RESPAWN_TICKS || crowd.tick(bob) <= died.0, "too early");
        back && crowd.tick(bob) > died.0 && crowd.view(ada).get(bob_is, Skirmish::BODY).is_some()
    });
    for who in [ada, bob] {
        let kill = |event: &ringfort_client::Event<Ev>| event.what == Ev::Kill { by: ada_is, victim: bob_is } && event.reliable;
        assert_eq!((crowd.count_events(who, kill), crowd.count_events(who, is_kill)), (1, 1), "told once");
        let score = |of| crowd.view(who).get(of, Skirmish::SCORE).expect("everybody sees every score");
        assert_eq!((score(ada_is).kills, score(ada_is).deaths), (1, 0));
        assert_eq!((score(bob_is).kills, score(bob_is).deaths), (0, 1));
    }
}

#[test]
fn a_command_is_carried_out_once() {
    let instance = Instance::start(&[]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    crowd.ask(ada, Ask::Suicide);
    crowd.until("ada is dead", |crowd| crowd.body(ada).is_none());
    crowd.until("ada is back", |crowd| crowd.body(ada).is_some());
    crowd.check_plays_on(&[ada]);
    let me = crowd.avatar(ada).expect("ada");
    let kill = |event: &ringfort_client::Event<Ev>| event.what == Ev::Kill { by: me, victim: me };
    assert_eq!(crowd.count_events(ada, kill), 1);
    let score = crowd.score(ada).expect("a score");
    assert_eq!((score.kills, score.deaths), (0, 1));
}

#[test]
fn who_leaves_is_gone_for_the_others() {
    let instance = Instance::start(&[]);
    let mut crowd = Crowd::new(instance.address());
    let (ada, bob) = (crowd.enter("ada", JoinTarget::Any), crowd.enter("bob", JoinTarget::Any));
    let bob_is = crowd.avatar(bob).expect("bob");
    crowd.until("ada sees bob", |crowd| crowd.view(ada).sees(bob_is));
    crowd.leave(bob);
    crowd.until("bob has left", |crowd| crowd.ended(bob).is_some() && !crowd.view(ada).sees(bob_is));
    assert_eq!(crowd.ended(bob), Some(&Ended::Session(EndReason::Left)));
    crowd.check_plays_on(&[ada]);
    crowd.during(|| instance.wait_for("one session is left", |status| status["sessions"] == 1));
}

#[test]
fn joins_of_any_match_fill_one_after_the_other() {
    let instance = Instance::start(&["--matches", "2", "--game-option", "capacity=2"]);
    let mut crowd = Crowd::new(instance.address());
    let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(|name| crowd.enter(name, JoinTarget::Any));
    assert_eq!(crowd.match_of(ada), crowd.match_of(bob));
    assert_ne!(crowd.match_of(ada), crowd.match_of(cyd));
    let dan = crowd.enter("dan", JoinTarget::Any);
    assert_eq!(crowd.match_of(cyd), crowd.match_of(dan));
    let eve = crowd.connect("eve");
    crowd.join(eve, JoinTarget::Any);
    crowd.until("eve is refused", |crowd| crowd.refusal_of(eve).is_some());
    assert_eq!(crowd.refusal_of(eve), Some(Code::MatchFull));
}

#[test]
fn a_refused_join_leaves_the_connection_for_another() {
    let instance = Instance::start(&["--matches", "2", "--game-option", "capacity=2"]);
    let mut crowd = Crowd::new(instance.address());
    let (ada, bob) = (crowd.enter("ada", named("match-1")), crowd.enter("bob", named("match-1")));
    let cyd = crowd.connect("cyd");
    for (name, code) in [("match-1", Code::MatchFull), ("match-9", Code::NoSuchMatch)] {
        crowd.join(cyd, named(name));
        crowd.until("the join is refused", |crowd| crowd.refusal_of(cyd).is_some());
        assert_eq!(crowd.refusal_of(cyd), Some(code));
    }
    crowd.join(cyd, named("match-2"));
    crowd.until_live(cyd);
    assert_eq!(crowd.match_of(cyd), Some("match-2"));
    crowd.check_plays_on(&[ada, bob, cyd]);
}

#[test]
fn after_a_match_was_ended_its_players_join_another() {
    let instance = Instance::start(&["--matches", "2"]);
    let mut crowd = Crowd::new(instance.address());
    let (ada, bob) = (crowd.enter("ada", named("match-1")), crowd.enter("bob", named("match-1")));
    let cyd = crowd.enter("cyd", named("match-2"));
    crowd.during(|| instance.done(&["matches", "end", "match-1"]));
    crowd.until("both are told", |crowd| crowd.match_is_over(ada) && crowd.match_is_over(bob));
    crowd.join(ada, named("match-1"));
    crowd.join(bob, JoinTarget::Any);
    crowd.until("ada is refused", |crowd| crowd.refusal_of(ada).is_some());
    assert!(matches!(crowd.refusal_of(ada), Some(Code::NoSuchMatch | Code::MatchOver)), "{:?}", crowd.refusal_of(ada));
    crowd.join(ada, named("match-2"));
    crowd.until_live(ada);
    crowd.until_live(bob);
    assert_eq!((crowd.match_of(ada), crowd.match_of(bob)), (Some("match-2"), Some("match-2")));
    crowd.check_plays_on(&[ada, bob, cyd]);
    crowd.during(|| instance.wait_for("the match is gone", |status| match_named(status, "match-1").is_null()));
    instance.check_memory();
}

#[test]
fn a_match_that_is_won_tells_its_players_who_won() {
    let instance = Instance::start(&["--game-option", "capacity=2", "--game-option", "kills=1"]);
    let mut crowd = Crowd::new(instance.address());
    let (ada, bob) = (crowd.enter("ada", named("match-1")), crowd.enter("bob", named("match-1")));
    let winner = crowd.avatar(ada).expect("ada");
    crowd.until("the match is over", |crowd| {
        hunt(crowd, ada, bob);
        crowd.match_is_over(ada) && crowd.match_is_over(bob)
    });
    for who in [ada, bob] {
        let told = |event: &ringfort_client::Event<Ev>| event.what == Ev::Over { winner } && event.reliable;
        assert_eq!(crowd.count_events(who, told), 1, "{:?}", crowd.player(who).events);
    }
    crowd.during(|| instance.done(&["matches", "create", "again"]));
    crowd.join(ada, named("again"));
    crowd.until_live(ada);
    crowd.check_plays_on(&[ada]);
}

/// The game's client as its documentation shows it: connect, join, pump, send what is due, look, leave.
#[test]
fn a_client_plays_as_the_library_says() {
    let instance = Instance::start(&[]);
    let url = format!("quic://{}", instance.address());
    let client = Client::<Skirmish>::builder().name("ada").trust(Trust::Any).predict(|s| &s.body, drive);
    let mut client = client.connect(&url).expect("a connection");
    client.join(Join::Any);
    let (until, mut live, mut sent) = (Instant::now() + PATIENCE, false, 0);
    loop {
        assert!(Instant::now() < until, "live: {live}, sent: {sent}, {:?}", client.net());
        client.pump(Instant::now());
        live |= client.status().any(|status| status == Status::Live);
        for slot in client.due() {
            slot.send(walk(Vec2 { x: 0.0, y: 1.0 }));
            sent += 1;
        }
        let view = client.view();
        let own = view.owned(client.me());
        // The view has our name, where we are, and what is only for us; ahead of it we are where our inputs will bring us.
        if let (Some(own), true) = (own, sent >= 20 && client.net().rtt.is_some())
            && let (Some(ahead), Some(there)) = (view.get(own, |s| &s.body), view.latest().body.get(own))
        {
            assert_eq!((view.latest().name.get(own), view.latest().gun.get(own).map(|gun| gun.ammo)), (Some("ada"), Some(30)));
            assert!(ahead.pos.y >= there.pos.y && view.tick().0 > 0);
            break;
        }
        client.wait(None).expect("the socket works");
    }
    client.leave().expect("the server says goodbye");
    instance.wait_for("nobody is left", |status| status["sessions"] == 0);
}
