//! The bundled game, tested as an author tests a game.

use ringfort::prelude::*;
use ringfort::skirmish::{Ask, Cmd, Ev, Phase, Skirmish};
use ringfort::test::TestWorld;

fn avatar(world: &TestWorld<Skirmish>, who: SessionId) -> Entity {
    world.state().seats[who].avatar
}

fn place(world: &TestWorld<Skirmish>, who: SessionId) -> Vec2 {
    world.state().body[avatar(world, who)].pos
}

/// An input that shoots from one player at another, as the shooter sees it.
fn shot(world: &TestWorld<Skirmish>, from: SessionId, at: SessionId) -> Cmd {
    let way = place(world, at) - place(world, from);
    Cmd { aim: way.y.atan2(way.x), fire: Press::down(true), ..Cmd::default() }
}

/// Two players, near enough to shoot at each other.
fn duel() -> (TestWorld<Skirmish>, SessionId, SessionId) {
    let mut world = TestWorld::<Skirmish>::new().capacity(2).option("kills", 1);
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.steps_until(400, |g| {
        let places: Vec<Vec2> = g.body.iter().map(|(_, body)| body.pos).collect();
        (places[0] - places[1]).length() < 50.0
    });
    (world, ada, bob)
}

#[test]
fn a_player_moves_by_its_speed_and_stops_at_the_edge() {
    let mut world = TestWorld::<Skirmish>::new();
    let ada = world.join("ada");
    let from = place(&world, ada);
    for _ in 0..20 {
        world.input(ada, Cmd { wish: Vec2::new(1.0, 0.0), ..Cmd::default() });
        world.step();
    }
    let way = place(&world, ada) - from;
    assert!((way.x - 8.0).abs() < 0.1 && way.y == 0.0, "8 metres in a second, not {way:?}");
    world.steps(4000); // the last input is repeated
    assert_eq!(place(&world, ada).x, 1000.0);
}

#[test]
fn five_hits_kill_and_the_kill_wins() {
    let (mut world, ada, bob) = duel();
    let hits = |world: &TestWorld<Skirmish>| world.state().hp.get(avatar(world, bob)).map_or(0, |health| health.hp);
    let mut ticks = 0;
    while hits(&world) > 0 {
        let cmd = shot(&world, ada, bob);
        world.input(ada, cmd);
        world.step();
        ticks += 1;
        assert!(ticks < 40, "every shot hits one that stands still");
    }
    let (killer, victim) = (avatar(&world, ada), avatar(&world, bob));
    let heard = world.events(bob);
    assert!(heard.contains(&Ev::Kill { by: killer, victim }) && heard.contains(&Ev::Over { winner: killer }), "{heard:?}");
    assert_eq!(heard.iter().filter(|event| matches!(event, Ev::Hurt { .. })).count(), 0, "only the shooter hears of its hits");
    assert_eq!(world.events(ada).iter().filter(|event| matches!(event, Ev::Hurt { .. })).count(), 5);
    assert_eq!((world.state().score[killer].kills, world.state().game.phase), (1, Phase::Over));
    assert!(world.closed());
}

#[test]
fn the_dead_come_back_after_three_seconds_also_over_a_restart() {
    let mut world = TestWorld::<Skirmish>::new();
    let ada = world.join("ada");
    world.command(ada, Ask::Suicide);
    world.step();
    let me = avatar(&world, ada);
    assert!(world.state().body.get(me).is_none());
    world.steps(30);
    world.restart();
    let ticks = world.steps_until(60, |g| g.body.get(me).is_some());
    assert_eq!(30 + ticks, 60, "of 20 a second");
    assert_eq!(world.state().score[me].deaths, 1);
}

#[test]
fn who_leaves_leaves_nothing() {
    let mut world = TestWorld::<Skirmish>::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let me = avatar(&world, ada);
    world.command(ada, Ask::Suicide);
    world.leave(ada);
    world.step();
    assert_eq!((world.sessions(), world.state().ents.alive(me), world.state().timers.len()), (vec![bob], false, 0));
}

#[test]
fn spectators_follow_players_one_each_and_another_when_theirs_has_left() {
    let mut world = TestWorld::<Skirmish>::new().capacity(200).spectators(3);
    let early = world.spectate("early");
    let star = |world: &TestWorld<Skirmish>, who: SessionId| world.state().watchers[who].star;
    world.step();
    assert_eq!(star(&world, early), Entity::NONE, "nobody plays yet");
    let players: Vec<SessionId> = (0..40).map(|n| world.join(&format!("player-{n}"))).collect();
    world.steps(21);
    let watchers = [early, world.spectate("late"), world.spectate("later")];
    world.steps(2);
    let stars = watchers.map(|who| star(&world, who));
    assert!(stars[1] != stars[2] && stars.iter().all(|star| world.state().body.get(*star).is_some()));
    for (who, star) in watchers.into_iter().zip(stars) {
        let from = world.state().body[star].pos;
        for (other, body) in world.state().body.iter() {
            let away = (body.pos - from).length();
            assert!(world.sees(who, other) == (away < 80.0) || (80.0..88.0).contains(&away), "{away}");
        }
    }
    let left = players.into_iter().find(|player| avatar(&world, *player) == stars[1]).expect("it is a player's");
    world.leave(left);
    world.steps(21);
    assert!(star(&world, watchers[1]) != stars[1] && world.sees(watchers[1], star(&world, watchers[1])));
    assert_eq!([0, 2].map(|n| star(&world, watchers[n])), [stars[0], stars[2]], "theirs play on");
    world.leave(watchers[2]);
    world.step();
    assert!(world.state().watchers.get(watchers[2]).is_none());
}
