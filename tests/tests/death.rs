//! Kills at any moment: what was committed stays, what was acknowledged counts, and whoever was not hit notices nothing.

use ringfort::frontend::counters;
use ringfort::skirmish::{Ask, Cmd};
use ringfort_client::JoinTarget;
use ringfort_protocol::Vec2;
use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_tests::{Crowd, Instance, match_named, pid_of, processes, send_signal};
use rustix::process::Signal;
use serde_json::Value;

/// Metres that a player walks in a tick: 8 a second, at 20 ticks.
const STEP: f32 = 0.4;
/// Kills in a row of a sim.
const KILLS: usize = 10;

/// Where a walking player was when it was last looked at.
struct Track {
    who: usize,
    tick: u32,
    applied: u32,
    x: f32,
}

impl Track {
    /// Sends a player to the right.
    fn begin(crowd: &mut Crowd, who: usize) -> Track {
        crowd.player_mut(who).does = Cmd { wish: Vec2 { x: 1.0, y: 0.0 }, ..Cmd::default() };
        crowd.check_plays_on(&[who]);
        let x = crowd.body(who).expect("it lives").pos.x;
        Track { who, tick: crowd.tick(who), applied: crowd.acks(who).highest, x }
    }

    /// Checks that it has gone on from where it was: not back, and not further than its inputs and the ticks carry it.
    fn check(&mut self, crowd: &Crowd) {
        let (tick, applied) = (crowd.tick(self.who), crowd.acks(self.who).highest);
        let x = crowd.body(self.who).expect("nobody kills it").pos.x;
        let most = STEP * ((tick - self.tick) + (applied - self.applied)) as f32 + 0.1;
        assert!(x >= self.x && x - self.x <= most, "from {} at tick {} to {x} at tick {tick}", self.x, self.tick);
        *self = Track { tick, applied, x, ..*self };
    }
}

fn kill(process: &Value) {
    send_signal(pid_of(process), Signal::KILL);
}

/// The process in the slot of another: where a sim was, one stands by now, and the other way round.
fn successor<'s>(status: &'s Value, before: &Value) -> Option<&'s Value> {
    let role = before["role"].as_str().expect("a role");
    let other = match role {
        "sim" => "standby",
        "standby" => "sim",
        role => role,
    };
    let now = [role, other].into_iter().flat_map(|role| processes(status, role));
    now.into_iter().find(|process| process["slot"] == before["slot"])
}

/// Whether a process has been replaced by one that runs.
fn is_replaced(status: &Value, before: &Value) -> bool {
    successor(status, before).is_some_and(|now| now["state"] == "running" && now["pid"] != before["pid"])
}

/// Ends the match and checks that it leaves nothing in memory.
fn check_end(instance: &Instance, crowd: &mut Crowd) {
    crowd.during(|| {
        instance.check_memory();
        instance.done(&["matches", "end", "match-1"]);
        let gone = |status: &Value| status["matches"].as_array().is_some_and(Vec::is_empty);
        let status = instance.wait_for("the match is gone", gone);
        assert_eq!(status["arena"]["extents_used"], 0);
        instance.check_memory();
    });
}

#[test]
fn a_killed_sim_is_replaced_and_its_match_goes_on() {
    let instance = Instance::start(&["--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    let [ada, bob] = players;
    let mut track = Track::begin(&mut crowd, bob);
    crowd.ask(ada, Ask::Suicide);
    crowd.until("ada's death is committed", |crowd| crowd.score(ada).is_some_and(|score| score.deaths == 1));
    let before = crowd.during(|| instance.status());
    kill(processes(&before, "sim")[0]);
    let (sent, tick) = (crowd.player(bob).sent, crowd.tick(bob));
    crowd.until("time goes on", |crowd| {
        track.check(crowd);
        crowd.tick(bob) > tick + 10
    });
    crowd.until("what was under way is acknowledged", |crowd| crowd.acks(bob).highest > sent);
    crowd.check_plays_on(&players);
    track.check(&crowd);
    crowd.ask(bob, Ask::Suicide);
    crowd.until("ada is back and bob is dead", |crowd| {
        crowd.body(ada).is_some() && crowd.score(bob).is_some_and(|s| s.deaths == 1)
    });
    assert_eq!(crowd.score(ada).map(|score| score.deaths), Some(1));
    let after = crowd.during(|| instance.wait_for("it is told", |status| is_replaced(status, processes(&before, "sim")[0])));
    let (old, new) = (match_named(&before, "match-1"), match_named(&after, "match-1"));
    assert_eq!(old["id"], new["id"]);
    assert!(new["tick"].as_u64() > old["tick"].as_u64() && new["epoch"].as_u64() > old["epoch"].as_u64());
    let dead = processes(&before, "sim")[0];
    assert_eq!(successor(&after, dead).and_then(|now| now["restarts"].as_u64()), Some(1));
    assert_eq!(
        (new["owner_slot"] != old["owner_slot"], new["sessions"].as_u64()),
        (true, Some(2)),
        "the one that stood by has it"
    );
    check_end(&instance, &mut crowd);
}

/// Each kill hits a command on its way: it is carried out once all the same.
#[test]
fn a_sim_that_is_killed_again_and_again_loses_nothing() {
    let instance = Instance::start(&["--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let walker = crowd.enter("walker", JoinTarget::Any);
    let players: Vec<usize> = (0..KILLS).map(|_| crowd.enter("player", JoinTarget::Any)).collect();
    let mut track = Track::begin(&mut crowd, walker);
    for player in &players {
        let status = crowd.during(|| instance.status());
        crowd.ask(*player, Ask::Suicide);
        kill(processes(&status, "sim")[0]);
        crowd.until("the command is carried out", |crowd| {
            track.check(crowd);
            crowd.score(*player).is_some_and(|score| score.deaths == 1)
        });
        crowd.check_plays_on(&players);
    }
    let status = crowd.during(|| instance.status());
    let restarts = ["sim", "standby"].into_iter().flat_map(|role| processes(&status, role));
    assert_eq!(restarts.map(|process| process["restarts"].as_u64().expect("a number")).sum::<u64>(), KILLS as u64);
    for player in &players {
        assert_eq!(crowd.score(*player).map(|score| score.deaths), Some(1));
        assert_eq!(crowd.count_events(*player, |event| event.reliable), 1, "{:?}", crowd.player(*player).events);
    }
    check_end(&instance, &mut crowd);
}

/// A stopped process is no dead one, and may go on at any moment: it is killed before anybody takes its match over.
#[test]
fn a_stopped_sim_is_killed_and_replaced_and_so_is_one_that_stands_by() {
    let instance = Instance::start(&["--sims", "1", "--hang-ms", "300"]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    let mut track = Track::begin(&mut crowd, players[0]);
    for victims in [&["sim"][..], &["standby"], &["standby", "sim"]] {
        let before = crowd.during(|| {
            instance.wait_for("one stands by", |status| {
                processes(status, "standby").iter().any(|process| process["state"] == "running")
            })
        });
        let stopped: Vec<&Value> = victims.iter().map(|role| processes(&before, role)[0]).collect();
        stopped.iter().for_each(|process| send_signal(pid_of(process), Signal::STOP));
        let tick = crowd.tick(players[0]);
        crowd.until("time goes on", |crowd| {
            track.check(crowd);
            crowd.tick(players[0]) > tick + 10
        });
        crowd.check_plays_on(&players);
        crowd.during(|| {
            instance.wait_for("they are replaced", |status| stopped.iter().all(|process| is_replaced(status, process)))
        });
    }
    check_end(&instance, &mut crowd);
}

/// Sessions that each front-end holds, by its own count.
fn sessions_of(instance: &Instance) -> [u64; 2] {
    [0, 1].map(|slot| {
        let segment = Segment::open(instance.name(), SegmentSpec::worker(SegmentKind::Frontend, slot), Access::ReadOnly);
        WorkerPage::new(&segment.expect("a front-end's segment")).counter(counters::SESSIONS)
    })
}

/// One more player; returns it and the front-end that the kernel chose for it.
fn enter(instance: &Instance, crowd: &mut Crowd) -> (usize, usize) {
    let before = sessions_of(instance);
    let who = crowd.enter("player", JoinTarget::Any);
    let mut chosen = None;
    crowd.until("its front-end counts it", |_| {
        let now = sessions_of(instance);
        chosen = (0..now.len()).find(|slot| now[*slot] > before[*slot]);
        chosen.is_some()
    });
    (who, chosen.expect("the front-end that counts it"))
}

#[test]
fn the_clients_of_a_killed_front_end_are_back_in_their_sessions_and_others_feel_nothing() {
    let instance = Instance::start(&["--sims", "1", "--game-option", "capacity=64"]);
    let mut crowd = Crowd::new(instance.address());
    let mut players: Vec<(usize, usize)> = Vec::new();
    for victim in [0, 1] {
        while [0, 1].iter().any(|slot| players.iter().filter(|(_, of)| of == slot).count() < 2) {
            players.push(enter(&instance, &mut crowd));
        }
        let status = crowd.during(|| instance.status());
        let sessions: Vec<_> = players.iter().map(|(who, _)| crowd.session(*who).id()).collect();
        let (hit, spared): (Vec<_>, Vec<_>) = players.iter().copied().partition(|(_, of)| *of == victim);
        let resumed: Vec<u32> = hit.iter().map(|(who, _)| crowd.session(*who).resumes()).collect();
        kill(processes(&status, "frontend")[victim]);
        crowd.until("its clients are back", |crowd| {
            assert!(spared.iter().all(|(who, _)| crowd.session(*who).is_live()), "others were hit");
            let is_back = |(who, before): (usize, u32)| crowd.session(who).is_live() && crowd.session(who).resumes() > before;
            hit.iter().map(|(who, _)| *who).zip(resumed.iter().copied()).all(is_back)
        });
        let all: Vec<usize> = players.iter().map(|(who, _)| *who).collect();
        crowd.check_plays_on(&all);
        assert!(all.iter().map(|who| crowd.session(*who).id()).eq(sessions), "everybody has the session it had");
        assert!(spared.iter().all(|(who, _)| crowd.session(*who).resumes() == 0), "others were hit");
        crowd.during(|| {
            let victim = processes(&status, "frontend")[victim];
            instance.wait_for("it is replaced", |status| is_replaced(status, victim) && status["sessions"] == all.len())
        });
        // Which front-end the kernel has chosen for those who came back is not known, so the next round has others.
        all.iter().for_each(|who| crowd.leave(*who));
        crowd.until("they have left", |crowd| all.iter().all(|who| crowd.ended(*who).is_some()));
        crowd.during(|| instance.wait_for("their sessions are over", |status| status["sessions"] == 0));
        // What a front-end counts is told a moment later, and the next round finds its players' front-ends by it.
        crowd.until("no front-end counts them", |_| sessions_of(&instance).iter().all(|count| *count == 0));
        players.clear();
    }
    let last = enter(&instance, &mut crowd);
    players.push(last);
    let all: Vec<usize> = players.iter().map(|(who, _)| *who).collect();
    crowd.check_plays_on(&all);
    check_end(&instance, &mut crowd);
}
