//! The world of a match as an operator looks at it, and changes it: by other processes' eyes, and by a client's.

use ringfort::skirmish::{Ask, Skirmish};
use ringfort_client::JoinTarget;
use ringfort_tests::crowd::named;
use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Instance, pid_of, processes, send_signal};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

/// The entities that a command has found, by their players.
fn players(found: &Value) -> Vec<String> {
    let entities = found["entities"].as_array().expect("a list");
    entities.iter().map(|entity| entity["player"].as_str().unwrap_or("nobody").to_owned()).collect()
}

/// What a command says that is refused.
fn refused(instance: &Instance, arguments: &[&str]) -> String {
    let output = instance.run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An avatar as it is typed.
fn typed(crowd: &Crowd, who: usize) -> String {
    let entity = crowd.avatar(who).expect("a player has an avatar");
    format!("{}.{}", entity.index, entity.generation)
}

#[test]
fn an_operator_finds_entities_sets_a_field_and_clients_see_it() {
    let instance = Instance::start(&["--frontends", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let [ada, bob] = ["ada", "bob"].map(|name| crowd.enter(name, named("match-1")));
    crowd.until("both have avatars", |crowd| crowd.avatar(ada).is_some() && crowd.avatar(bob).is_some());
    let (ada_is, bob_is) = (crowd.avatar(ada).expect("ada"), typed(&crowd, bob));
    let her = typed(&crowd, ada);
    let set = crowd.during(|| instance.json(&["set", "match-1", &her, "score.kills", "777", "--wait", "60"]));
    assert_eq!((&set["set"], &set["value"], &set["entity"]), (&json!(true), &json!(777), &json!(her)), "{set}");
    assert!(set["sentence"].as_str().expect("text").ends_with(&format!("{her} score.kills is 777 since tick {}", set["tick"])));
    for who in [ada, bob] {
        crowd.until("her score is seen", |crowd| crowd.view(who).get(ada_is, Skirmish::SCORE).is_some_and(|s| s.kills == 777));
    }
    // It stands still, so that it is where it was set.
    crowd.during(|| instance.json(&["set", "match-1", &bob_is, "body.pos", "100,-100", "--wait", "60"]));
    let found = |more: &[&str]| players(&instance.json(&[&["entities", "match-1"], more].concat()));
    assert_eq!(found(&["--where", "score.kills >= 700 and has(hp)"]), ["ada"]);
    assert_eq!(found(&["--where", "owner = bob or score.kills = 777", "--sort=-score.kills"]), ["ada", "bob"]);
    assert_eq!(found(&["--near", "100,-100,3", "--where", "owner = bob"]), ["bob"]);
    assert_eq!(found(&["--near", "100,-100,0"]), ["bob"]);
    let all = instance.json(&["entities", "match-1", "--limit", "1", "--columns", "score"]);
    assert_eq!((&all["found"], &all["alive"], players(&all).len()), (&json!(2), &json!(2), 1));
    let inspected = instance.json(&["inspect", "match-1", &her]);
    assert_eq!((&inspected["player"], &inspected["fields"]["score.kills"]), (&json!("ada"), &json!(777)));
    assert_eq!(inspected["seats"]["seats.avatar"], json!(her));
    assert_eq!(instance.json(&["inspect", "match-1", "--globals"])["fields"]["game.phase"], json!(0));
    for (arguments, words) in [
        (&["entities", "match-1", "--where", "hp.hq < 2"][..], "column hp has: hp"),
        (&["set", "match-1", &her, "hp.hp", "101"], "a whole number from 0 to 100"),
        (&["set", "match-1", &her, "hp.hq", "1"], "column hp has: hp"),
        (&["set", "match-1", "77.1", "hp.hp", "1"], "no entity 77.1"),
        (&["set", "match-1", &her, "name", "eve"], "cannot be set"),
        (&["set", "match-1", "global", "game.phase", "2"], "from 0 to 1"),
        (&["inspect", "match-9", &her], "no match \"match-9\""),
        (&["diff", "match-1", "1", "4000000000"], "match \"match-1\""),
    ] {
        let said = refused(&instance, arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(counter(&instance.status(), "sim_operator_sets"), 2);
    instance.check_memory();
}

#[test]
fn the_window_tells_what_has_changed_also_when_everything_is_stopped_and_then_dead() {
    let mut instance = Instance::start(&["--frontends", "1", "--tick-hz", "2"]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", named("match-1"));
    crowd.until("she has an avatar", |crowd| crowd.avatar(ada).is_some());
    let her = typed(&crowd, ada);
    let status = instance.status();
    let pids: Vec<Pid> = ["supervisor", "frontend", "sim"].iter().flat_map(|role| processes(&status, role)).map(pid_of).collect();
    // What is set just before everything stands still is in the window, which is 16 seconds long.
    let set = crowd.during(|| instance.json(&["set", "match-1", &her, "score.deaths", "42", "--wait", "60"]));
    pids.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    look_back(&instance, &her, &set);
    instance.kill();
    look_back(&instance, &her, &set);
    instance.start_again(&["--tick-hz", "2"]);
    instance.check_memory();
}

/// Looks at a set field in the past of a match that stands still.
fn look_back(instance: &Instance, her: &str, set: &Value) {
    let tick = set["tick"].as_u64().expect("it was taken");
    let roots = instance.json(&["roots", "match-1"]);
    let ticks: Vec<u64> = roots["roots"].as_array().expect("a list").iter().filter_map(|root| root["tick"].as_u64()).collect();
    let newest = ticks[0];
    assert!(ticks.is_sorted_by(|a, b| a > b) && ticks.len() <= 32, "{ticks:?}");
    let schema = instance.json(&["schema"]);
    assert_eq!((&schema["game"], &schema["position"]), (&json!("Skirmish"), &json!("body.pos")));
    assert!(instance.json(&["events", "match-1"])["logged"].is_u64());
    let history = instance.json(&["history", "match-1", her]);
    assert_eq!(history["to_tick"].as_u64(), Some(newest));
    let changed = json!({ "field": "score.deaths", "old": 0, "new": 42 });
    let at = history["ticks"].as_array().expect("a list").iter().find(|change| change["tick"] == tick).expect("it changed");
    assert!(at["changes"].as_array().expect("a list").contains(&changed), "{at}");
    let diff = instance.json(&["diff", "match-1", &(tick - 1).to_string(), &tick.to_string()]);
    assert_eq!((&diff["changed"], &diff["entities"][0]["entity"]), (&json!(1), &json!(her)));
    assert!(diff["entities"][0]["changes"].as_array().expect("a list").contains(&changed), "{diff}");
    let before = instance.json(&["inspect", "match-1", her, "--tick", &(tick - 1).to_string()]);
    assert_eq!(before["fields"]["score.deaths"], 0);
    let now = instance.json(&["inspect", "match-1", her]);
    assert_eq!((&now["fields"]["score.deaths"], now["tick"].as_u64()), (&json!(42), Some(newest)));
}

#[test]
fn what_was_posted_to_a_stopped_sim_is_set_after_a_kill_of_everything() {
    let mut instance = Instance::start(&["--frontends", "1", "--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    crowd.until("she has an avatar", |crowd| crowd.avatar(ada).is_some());
    let her = typed(&crowd, ada);
    let status = instance.status();
    let sims: Vec<Pid> = processes(&status, "sim").into_iter().map(pid_of).collect();
    sims.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    let set = instance.json(&["set", "match-1", &her, "score.kills", "99"]);
    assert_eq!((&set["tick"], &set["set"]), (&Value::Null, &json!(false)), "{set}");
    assert!(set["sentence"].as_str().expect("text").contains("no sim has taken it yet"), "{set}");
    instance.kill();
    instance.start_again(&[]);
    instance.wait_for("it is set", |status| counter(status, "sim_operator_sets") == 1);
    assert_eq!(instance.json(&["inspect", "match-1", &her])["fields"]["score.kills"], 99);
    instance.check_memory();
}

#[test]
fn who_follows_the_events_misses_none() {
    let instance = Instance::start(&["--frontends", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob", "eve"].map(|name| crowd.enter(name, named("match-1")));
    let mut follower = instance.follow(&["events", "match-1", "--follow", "--json"]);
    for (number, who) in (1..).zip(players) {
        crowd.until("the player lives", |crowd| crowd.body(who).is_some());
        let her = typed(&crowd, who);
        crowd.ask(who, Ask::Suicide);
        let line = crowd.during(|| follower.line());
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!((&event["number"], &event["event"], &event["audience"]), (&json!(number), &json!("Kill"), &json!("one")));
        assert_eq!(event["fields"], json!({ "by": her, "victim": her }));
    }
    let shown = instance.json(&["events", "match-1", "--limit", "2"]);
    assert_eq!((&shown["logged"], shown["events"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    crowd.during(|| instance.done(&["down"]));
    assert_eq!(follower.line(), "", "it ends with the instance");
}
