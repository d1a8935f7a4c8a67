//! What operators and monitors see of an instance: the log of all processes, the audit log, numbers over HTTP, levels of logging.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::Instant;

use ringfort_client::{Code, Ended};
use ringfort_tests::crowd::named;
use ringfort_tests::{Crowd, Instance, LOOK_AGAIN, PATIENCE, json_lines, match_named, pid_of, processes, send_signal};
use rustix::process::Signal;
use serde_json::Value;

/// What `tail` tells of an instance by now.
fn told(instance: &Instance, arguments: &[&str]) -> Vec<Value> {
    let text = instance.done(&[&["tail", "--no-follow", "--json"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn has(lines: &[Value], kind: &str, words: &str) -> bool {
    lines.iter().any(|line| line["kind"] == kind && line["text"].as_str().is_some_and(|text| text.contains(words)))
}

#[test]
fn the_log_of_all_processes_tells_of_joins_kicks_deaths_and_takeovers_also_after_all_have_died() {
    let mut instance = Instance::start(&["--frontends", "1", "--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let [ada, bob] = ["ada", "bob"].map(|name| crowd.enter(name, named("match-1")));
    crowd.check_plays_on(&[ada, bob]);
    crowd.during(|| instance.done(&["sessions", "kick", "match-1", "bob"]));
    crowd.until("bob is told", |crowd| matches!(crowd.ended(bob), Some(Ended::Session(_))));
    let victim = crowd.during(|| {
        let status = instance.status();
        let owner = &match_named(&status, "match-1")["owner_slot"];
        let sims = processes(&status, "sim");
        let victim = pid_of(sims.into_iter().find(|sim| sim["slot"] == *owner).expect("it has a sim"));
        send_signal(victim, Signal::KILL);
        instance.wait_for("another sim has it", |status| match_named(status, "match-1")["owner_slot"] != *owner);
        victim
    });
    crowd.check_plays_on(&[ada]);
    let check = |lines: &[Value]| {
        assert!(has(lines, "join", "\"ada\"") && has(lines, "join", "\"bob\""), "{lines:#?}");
        assert!(has(lines, "kick", "ends session") && has(lines, "leave", "thrown out"), "{lines:#?}");
        assert!(has(lines, "death", "killed by SIGKILL") && has(lines, "takeover", "taken over"), "{lines:#?}");
        assert!(has(lines, "operator", "sessions-kick"), "{lines:#?}");
        let of = lines.iter().find(|line| line["kind"] == "join").expect("just seen");
        assert_eq!((&of["match"], of["process"].as_str().map(|name| name.starts_with("sim."))), (&"match-1".into(), Some(true)));
        let death = lines.iter().find(|line| line["kind"] == "death").expect("just seen");
        assert_eq!(death["a"], Value::from(victim.as_raw_pid()));
        let times: Vec<u64> = lines.iter().filter_map(|line| line["time_us"].as_u64()).collect();
        assert!(times.is_sorted(), "one order of time");
    };
    check(&told(&instance, &[]));
    let joins = told(&instance, &["--kind", "join", "--match", "match-1"]);
    assert!(joins.len() == 2 && joins.iter().all(|line| line["kind"] == "join"), "{joins:#?}");
    let commits = told(&instance, &["--kind", "commit"]);
    assert!(commits.len() > 1 && commits.iter().all(|line| line["match"] == "match-1" && line["kind"] == "commit"));
    // Who is stopped, and then dead, is read all the same.
    let pids = instance.status()["processes"].as_array().expect("a list").iter().map(pid_of).collect::<Vec<_>>();
    pids.into_iter().for_each(|pid| send_signal(pid, Signal::STOP));
    check(&told(&instance, &[]));
    instance.kill();
    check(&told(&instance, &[]));
}

#[test]
fn a_refused_client_and_the_reason_are_in_the_log() {
    let instance = Instance::start(&["--frontends", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let eve = crowd.connect("eve");
    crowd.join(eve, named("nowhere"));
    crowd.until("it is refused", |crowd| crowd.refusal_of(eve).is_some());
    let lines = told(&instance, &["--kind", "refusal"]);
    assert!(has(&lines, "refusal", "there is no such match"), "{lines:#?}");
    // Who is refused by a match is told of with that match, and among what is told of it.
    crowd.during(|| instance.done(&["matches", "create", "den", "--game-option", "capacity=1"]));
    crowd.enter("ada", named("den"));
    crowd.join(eve, named("den"));
    crowd.until("the match is full", |crowd| crowd.refusal_of(eve) == Some(Code::MatchFull));
    let lines = told(&instance, &["--kind", "refusal", "--match", "den"]);
    assert!(lines.len() == 1 && has(&lines, "refusal", "the match is full") && lines[0]["match"] == "den", "{lines:#?}");
}

#[test]
fn a_command_that_was_under_way_when_the_supervisor_was_killed_stands_in_the_audit_log() {
    let mut instance = Instance::start(&["--frontends", "1", "--sims", "1"]);
    // Nobody opens the match, and the supervisor waits for that.
    let status = instance.status();
    let others = status["processes"].as_array().expect("a list").iter().filter(|process| process["role"] != "supervisor");
    others.for_each(|process| send_signal(pid_of(process), Signal::STOP));
    let mut create = instance.command(&["matches", "create", "arena"]).stderr(Stdio::null()).spawn().expect("it can be started");
    let until = Instant::now() + PATIENCE;
    let begun = loop {
        let entries = instance.json(&["audit"])["entries"].clone();
        if entries[0].is_object() {
            break entries;
        }
        assert!(Instant::now() < until, "nothing is in the log");
        std::thread::sleep(LOOK_AGAIN);
    };
    let told = |entry: &Value| ["command", "outcome", "sentence"].map(|key| entry[key].as_str().unwrap_or_default().to_owned());
    assert_eq!(told(&begun[0]), ["matches-create", "asked", "no outcome yet"], "{begun:#}");
    instance.kill_supervisor();
    assert_eq!(create.wait().expect("it ends").code(), Some(1));
    let after = instance.json(&["audit"])["entries"].clone();
    assert_eq!(told(&after[0]), ["matches-create", "asked", "no outcome: the supervisor ended"], "{after:#}");
    assert_eq!((&after[0]["arguments"], after.as_array().map(Vec::len)), (&begun[0]["arguments"], Some(1)));
}

#[test]
fn the_audit_log_is_found_without_the_configuration_also_after_the_instance_has_stopped() {
    let configuration = "\n[hooks]\nresults = \"state/results.jsonl\"\n";
    let mut instance = Instance::configured(configuration, |_| (), &["--frontends", "1"]);
    instance.done(&["log-level", "warn"]);
    let state = instance.directory().join("state");
    let found = || -> Value {
        let output = instance.command(&["audit", "--json"]).current_dir(&state).output().expect("it can be started");
        serde_json::from_slice(&output.stdout).expect("it prints JSON")
    };
    let log = found();
    assert!(log["file"].as_str().is_some_and(|file| file.ends_with("/state/audit.jsonl")), "{log:#}");
    assert_eq!(log["entries"][0]["command"], "log-level", "{log:#}");
    instance.done(&["down"]);
    assert_eq!(found()["entries"][1]["command"], "down");
    assert_eq!(instance.exit_code(), Some(0));
}

#[test]
fn every_changing_command_stands_in_the_audit_log_with_its_outcome() {
    let instance = Instance::start(&["--frontends", "1", "--sims", "2"]);
    let refused = |arguments: &[&str]| assert_eq!(instance.run(arguments).status.code(), Some(1), "{arguments:?}");
    instance.done(&["matches", "create", "arena", "--game-option", "capacity=8"]);
    refused(&["matches", "create", "arena"]);
    refused(&["matches", "resume", "arena"]);
    let owner = match_named(&instance.status(), "arena")["owner_slot"].as_u64().expect("a sim");
    let other = (0..3u64).find(|slot| *slot != owner).expect("there are three").to_string();
    instance.done(&["zones", "move", "arena", "--to", &other]);
    instance.done(&["sims", "scale", "1"]);
    instance.done(&["log-level", "debug", "--role", "sim"]);
    instance.done(&["drain", "frontend", "0"]);
    instance.done(&["matches", "end", "arena"]);
    let commands: [(&str, &str, &str); 8] = [
        ("matches-create", "ok", "is open"),
        ("matches-create", "refused", "arena"),
        ("matches-resume", "refused", "arena"),
        ("zones-move", "ok", "arena"),
        ("sims-scale", "ok", ""),
        ("log-level", "ok", "sim processes log debug"),
        ("drain-frontend", "ok", ""),
        ("matches-end", "ok", "is ending"),
    ];
    let entries = instance.json(&["audit"])["entries"].clone();
    let entries = entries.as_array().expect("a list");
    assert_eq!(entries.len(), commands.len(), "{entries:#?}");
    for (entry, (command, outcome, words)) in entries.iter().zip(commands) {
        assert_eq!((&entry["command"], &entry["outcome"]), (&command.into(), &outcome.into()), "{entry:#}");
        assert!(entry["sentence"].as_str().is_some_and(|sentence| sentence.contains(words)), "{entry:#}");
        assert_eq!(entry["uid"], Value::from(rustix::process::getuid().as_raw()));
        assert!(entry["time"].as_str().is_some_and(|time| time.ends_with('Z')) && entry["pid"].as_i64() > Some(0), "{entry:#}");
    }
    assert_eq!(entries[0]["arguments"]["options"]["capacity"], 8);
    assert_eq!(instance.json(&["audit", "--limit", "2"])["entries"].as_array().map(Vec::len), Some(2));
    // What stops the instance is noted before it is answered.
    instance.done(&["down"]);
    let file = instance.directory().join("ringfort").join(instance.name()).join("audit.jsonl");
    assert_eq!(json_lines(&file).last().map(|entry| entry["command"].clone()), Some("down".into()));
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    // A directory stands where the audit log should be.
    let blocked = |directory: &std::path::Path| {
        fs::create_dir_all(directory.join("state").join("audit.jsonl")).expect("a directory");
    };
    let instance = Instance::configured("\n[hooks]\nresults = \"state/results.jsonl\"\n", blocked, &["--frontends", "1"]);
    let output = instance.run(&["matches", "create", "arena"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("nothing was done") && stderr.contains("audit log"), "{stderr}");
    assert!(instance.status()["matches"].as_array().is_some_and(|matches| matches.iter().all(|of| of["name"] != "arena")));
    fs::remove_dir(instance.directory().join("state").join("audit.jsonl")).expect("it is empty");
    instance.done(&["matches", "create", "arena"]);
}

#[test]
fn the_level_of_logging_changes_while_processes_run_and_their_successors_keep_it() {
    let instance = Instance::start(&["--frontends", "1", "--sims", "1"]);
    let levels = |status: &Value, role: &str| -> Vec<Value> {
        processes(status, role).into_iter().map(|process| process["log_level"].clone()).collect()
    };
    assert_eq!(levels(&instance.status(), "supervisor"), ["info"]);
    instance.done(&["log-level", "debug", "--role", "sim"]);
    let status = instance.wait_for("the sims follow", |status| levels(status, "sim") == ["debug"]);
    assert_eq!((levels(&status, "supervisor"), levels(&status, "frontend")), (vec!["info".into()], vec!["info".into()]));
    let before = pid_of(processes(&status, "sim")[0]);
    send_signal(before, Signal::KILL);
    instance.wait_for("its successor does, too", |status| {
        let sims = processes(status, "sim");
        sims.iter().any(|sim| sim["log_level"] == "debug" && pid_of(sim) != before)
    });
    instance.done(&["log-level", "warn"]);
    instance.wait_for("all follow", |status| {
        ["supervisor", "frontend", "sim"].iter().all(|role| levels(status, role).iter().all(|level| level == "warn"))
    });
    let output = instance.run(&["log-level", "loud"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && stderr.contains("error, warn, info, debug, trace"), "{stderr}");
}

/// Where an instance answers monitors, by its log.
fn admin_of(instance: &Instance) -> String {
    let log = instance.log();
    let address = log.split("monitors are answered at http://").nth(1).and_then(|rest| rest.split_whitespace().next());
    address.unwrap_or_else(|| panic!("no address in {log}")).to_owned()
}

/// Asks with HTTP; the status and the body.
fn get(address: &str, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{header}\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Asks until the status is another.
fn get_until(address: &str, path: &str, wanted: u16) -> String {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let (status, body) = get(address, path, "");
        if status == wanted {
            return body;
        }
        assert!(std::time::Instant::now() < until, "{path} is {status} and not {wanted}: {body}");
        std::thread::sleep(ringfort_tests::LOOK_AGAIN);
    }
}

#[test]
fn monitors_get_numbers_and_hear_of_a_sim_that_hangs() {
    let instance = Instance::start(&["--frontends", "1", "--sims", "1", "--admin", "127.0.0.1:0"]);
    let address = admin_of(&instance);
    get_until(&address, "/healthz", 200);
    get_until(&address, "/readyz", 200);
    let (status, text) = get(&address, "/metrics", "");
    assert!(status == 200 && text.ends_with("# EOF\n"), "{text}");
    let sample = format!("ringfort_match_capacity{{instance=\"{}\",match=\"match-1\"}} 16\n", instance.name());
    assert!(text.contains(&sample), "{text}");
    assert!(text.contains("ringfort_match_tick_duration_seconds_bucket{") && text.contains("ringfort_frontend_udp_in_total{"));
    assert!(text.contains("role=\"admin\",slot=\"0\"} 1"), "{text}");
    check_exposition(&text);
    check_exposition(&instance.done(&["metrics"]));
    assert_eq!((get(&address, "/nothing", "").0, get(&address, "/metrics?x=1", "").0), (404, 200));
    let sim = pid_of(processes(&instance.status(), "sim")[0]);
    send_signal(sim, Signal::STOP);
    let ill = get_until(&address, "/healthz", 503);
    assert!(ill.contains(&format!("(pid {}) is stopped by a signal", sim.as_raw_pid())), "{ill}");
    assert_eq!(get(&address, "/metrics", "").0, 200, "numbers are read while it hangs");
    send_signal(sim, Signal::CONT);
    get_until(&address, "/healthz", 200);
    // The process that answers is started again when it dies.
    let admin = pid_of(processes(&instance.status(), "admin")[0]);
    send_signal(admin, Signal::KILL);
    instance.wait_for("another one answers", |status| {
        processes(status, "admin").iter().any(|process| process["state"] == "running" && pid_of(process) != admin)
    });
    get_until(&address, "/healthz", 200);
    instance.done(&["down", "--drain"]);
}

/// Checks that each sample follows its family's head, and each family comes once.
fn check_exposition(text: &str) {
    let mut families = std::collections::BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap_or_default();
            assert!(families.insert(family), "{family} comes twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family) && !family.is_empty(), "{line} is no sample of {family}");
            let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
            assert!(value.is_some_and(f64::is_finite), "{line}");
        }
    }
    assert!(families.len() > 50, "{families:?}");
}

#[test]
fn an_instance_that_drains_takes_no_new_players_and_says_so_to_monitors() {
    let mut instance = Instance::start(&["--frontends", "1", "--admin", "127.0.0.1:0"]);
    let address = admin_of(&instance);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", named("match-1"));
    let _drain = crowd.during(|| {
        get_until(&address, "/readyz", 200);
        let drain = instance.follow(&["down", "--drain"]);
        let why = get_until(&address, "/readyz", 503);
        assert!(why.contains("takes no new ones"), "{why}");
        get_until(&address, "/healthz", 200);
        drain
    });
    crowd.leave(ada);
    crowd.during(|| assert_eq!(instance.exit_code(), Some(0), "when the last player has gone it stops"));
}

#[test]
fn without_the_token_nobody_is_answered_and_without_a_token_file_no_other_machine_is() {
    let token = "0123456789abcdef-token";
    let prepare = |directory: &std::path::Path| {
        let file = fs::File::options().write(true).create_new(true).mode(0o600).open(directory.join("admin.token"));
        writeln!(file.expect("a file"), "{token}").expect("it can be written");
    };
    let configuration = "\n[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"admin.token\"\n";
    let instance = Instance::configured(configuration, prepare, &["--frontends", "1"]);
    let address = admin_of(&instance).replace("0.0.0.0", "127.0.0.1");
    for path in ["/metrics", "/healthz", "/readyz", "/nothing"] {
        assert_eq!(get(&address, path, "").0, 401, "{path}");
        assert_eq!(get(&address, path, "authorization: Bearer 0123456789abcdef-tokeN\r\n").0, 401, "{path}");
        assert_eq!(get(&address, path, "authorization: Basic 0123456789abcdef-token\r\n").0, 401, "{path}");
    }
    let (status, text) = get(&address, "/metrics", &format!("authorization: Bearer {token}\r\n"));
    assert_eq!(status, 200);
    assert!(!text.contains(token));
    instance
        .wait_for("the refusals are counted", |status| ringfort_tests::instance::counter(status, "admin_tokens_refused") == 12);
    let open = Instance::start(&["--frontends", "1"]);
    open.check_refused(&["--admin", "0.0.0.0:0"], &["admin.listen", "admin.token_file"]);
}

#[test]
fn monitors_that_are_many_slow_or_long_winded_are_closed_and_counted() {
    let instance = Instance::start(&["--frontends", "1", "--admin", "127.0.0.1:0"]);
    let address = admin_of(&instance);
    get_until(&address, "/healthz", 200);
    let connect = || {
        let stream = TcpStream::connect(&address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    };
    let closes = |mut stream: TcpStream| {
        let mut said = Vec::new();
        // One that is closed while it still sends is reset.
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    };
    let mut long = connect();
    let _ = write!(long, "GET /metrics HTTP/1.1\r\nx: {}\r\n", "x".repeat(64 * 1024));
    let said = closes(long);
    assert!(!said.contains("200 OK"), "{said}");
    let mut fields = connect();
    let _ = write!(fields, "GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
    let said = closes(fields);
    assert!(!said.contains("200 OK"), "{said}");
    let slow: Vec<TcpStream> = (0..ringfort::limits::ADMIN_CONNECTIONS_MAX).map(|_| connect()).collect();
    // Connections are taken in the order in which they come: this one is beyond the bound.
    assert_eq!(closes(connect()), "");
    instance.wait_for("it is counted", |status| ringfort_tests::instance::counter(status, "admin_connections_refused") == 1);
    // Those that never ask are closed by themselves, and others are answered again.
    slow.into_iter().for_each(|stream| drop(closes(stream)));
    get_until(&address, "/healthz", 200);
}

#[test]
fn a_level_of_logging_outlives_the_supervisor_that_set_it() {
    let mut instance = Instance::start(&["--frontends", "1", "--sims", "1"]);
    instance.done(&["log-level", "warn"]);
    instance.kill_supervisor();
    instance.start_again(&[]);
    let levels =
        |status: &Value| status["processes"].as_array().is_some_and(|all| all.iter().all(|of| of["log_level"] == "warn"));
    instance.wait_for("all that were adopted log warnings, and so does who adopted them", levels);
}
