//! The world outside: a program and a web address that answer a game's requests, whatever is killed meanwhile, and results that somebody
//! always gets.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfort_tests::{Instance, LOOK_AGAIN, PATIENCE, json_lines, match_named, pid_of, processes, send_signal};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

/// Writes down what it is asked and who it is, then answers with the question.
const ECHO: &str = r#"#!/usr/bin/env python3
import json, os, sys

open("hook.pid", "w").write(str(os.getpid()))
log = open("hook.log", "a", buffering=1)
for line in sys.stdin:
    log.write(line)
    ask = json.loads(line)
    print(json.dumps({"match_id": ask["match_id"], "id": ask["id"], "body": ask["body"]}), flush=True)
"#;

/// The example of the documentation.
const DOCUMENT: &str = include_str!("../../docs/outside.md");

/// The first lines of code in a language that the document has.
fn code(language: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("```{language}\n")).expect("code in that language");
    rest.split_once("```").expect("its end").0
}

/// Leaves a program in a directory.
fn leave(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, text).expect("a program can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
}

/// An instance of the game that asks.
fn start(hooks: &str, prepare: impl FnOnce(&Path), flags: &[&str]) -> Instance {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ledger"));
    let flags = [&["--sims", "1", "--frontends", "1"], flags].concat();
    Instance::of(program, hooks, prepare, &flags)
}

/// An instance with a program as hook.
fn start_with(program: &str, hooks: &str, flags: &[&str]) -> Instance {
    start(&format!("\n[hooks]\ncommand = [\"./hook\"]\n{hooks}\n"), |directory| leave(directory, "hook", program), flags)
}

/// Waits until something is so.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The account that a match has ended with.
fn account(result: &Value) -> Value {
    assert_eq!(result["topic"], "result");
    serde_json::from_str(result["body"].as_str().expect("a text")).expect("the game writes JSON")
}

/// The account of a match whose requests 1 to this were all answered right, each once.
fn all_right(asks: u64) -> Value {
    let (sum, squares) = (1..=asks).fold((0, 0), |(sum, squares), n| (sum + n, squares + n * n));
    json!({ "right": asks, "wrong": 0, "failed": 0, "timed_out": 0, "unheard": 0, "sum": sum, "squares": squares })
}

/// The account of a match whose requests all came to this.
fn all(what: &str, asks: u64) -> Value {
    let mut account = all_right(0);
    account[what] = asks.into();
    account
}

fn has_ended(instance: &Instance) {
    instance.wait_for("the match has given its memory back", |status| {
        status["matches"].as_array().is_some_and(Vec::is_empty) && status["arena"]["extents_used"] == 0
    });
    instance.check_memory();
}

#[test]
fn the_documented_hook_answers_and_takes_the_result() {
    let flags = ["--game-option", "asks=20", "--game-option", "topic=profile", "--game-option", "right=1"];
    let instance = start_with(code("python"), "", &flags);
    let taken = instance.directory().join("results.txt");
    let result = until("the hook has the result", || json_lines(&taken).pop());
    assert_eq!(account(&result), all_right(20));
    has_ended(&instance);
    let status = instance.status();
    let count = |name: &str| status["counters"][name].as_u64().expect("a counter");
    assert_eq!((count("hook_answered"), count("sim_asks_answered")), (20, 20));
    assert_eq!((count("hook_results_taken"), count("sim_results_taken"), count("hook_pending")), (1, 1, 0));
    assert_eq!(processes(&status, "hook").len(), 1);
    assert_eq!(instance.results(), [] as [Value; 0], "the hook has it");
}

#[test]
fn every_answer_counts_once_though_hook_sim_and_everything_are_killed() {
    const ASKS: u64 = 400;
    let asks = format!("asks={ASKS}");
    let flags = ["--sims", "1", "--frontends", "1", "--game-option", &asks];
    let mut instance = start_with(ECHO, "timeout_s = 600\npatience_s = 600", &["--game-option", &asks]);
    let log = instance.directory().join("hook.log");
    let heard = || json_lines(&log);
    for round in 0..12 {
        let before = heard().len();
        until("the hook is asked more", || (heard().len() > before + 8).then_some(()));
        match round % 4 {
            0 => send_signal(pid_of(processes(&instance.status(), "hook")[0]), Signal::KILL),
            1 => {
                let pid = fs::read_to_string(instance.directory().join("hook.pid")).expect("it says who it is");
                send_signal(Pid::from_raw(pid.parse().expect("a number")).expect("an id"), Signal::KILL);
            }
            2 => send_signal(pid_of(processes(&instance.status(), "sim")[0]), Signal::KILL),
            _ => {
                instance.kill();
                instance.start_again(&flags);
            }
        }
    }
    let result = until("the hook has the result", || heard().into_iter().find(|asked| asked["topic"] == "result"));
    assert_eq!(account(&result), all_right(ASKS));
    has_ended(&instance);
    let asked: BTreeSet<u64> = heard().iter().filter(|asked| asked["topic"] == "echo").filter_map(|a| a["id"].as_u64()).collect();
    assert_eq!(asked, (1..=ASKS).collect(), "each was asked at least once");
    assert_eq!(instance.results(), [] as [Value; 0]);
}

#[test]
fn what_a_hook_does_not_answer_is_given_up_and_the_result_is_written_down() {
    for program in ["#!/bin/sh\nexec sleep 1000\n", "#!/bin/sh\nexit 3\n", "#!/nonexistent\n"] {
        let instance = start_with(program, "timeout_s = 1\npatience_s = 1", &["--game-option", "asks=5"]);
        let result = until("the result is written down", || instance.results().pop());
        assert_eq!(result["match"], "match-1");
        assert_eq!(account(&result), all("timed_out", 5), "{program}");
        has_ended(&instance);
        assert_eq!(instance.results().len(), 1, "{program}");
    }
}

#[test]
fn without_a_hook_requests_fail_at_once_and_results_are_written_down() {
    let instance = start("", |_| (), &["--game-option", "asks=5", "--matches", "3"]);
    let results = until("all results are written down", || Some(instance.results()).filter(|results| results.len() == 3));
    assert!(results.iter().all(|result| account(result) == all("unheard", 5)), "{results:?}");
    let matches: BTreeSet<&str> = results.iter().filter_map(|result| result["match"].as_str()).collect();
    assert_eq!(matches, ["match-1", "match-2", "match-3"].into());
    has_ended(&instance);
    assert_eq!(processes(&instance.status(), "hook").len(), 0);
}

#[test]
fn a_result_that_waits_is_kept_over_a_kill_and_written_down_when_the_instance_stops() {
    let silent = "#!/bin/sh\nexec sleep 1000\n";
    let mut instance = start_with(silent, "timeout_s = 1\npatience_s = 3600", &["--game-option", "asks=2"]);
    let waits = |status: &Value| match_named(status, "match-1")["results"] == 1;
    instance.wait_for("the result waits", waits);
    instance.kill();
    assert_eq!(instance.results(), [] as [Value; 0]);
    instance.start_again(&["--sims", "1", "--frontends", "1"]);
    instance.wait_for("the result waits still", waits);
    instance.check_memory();
    instance.done(&["down"]);
    let results = instance.results();
    assert_eq!(results.iter().map(account).collect::<Vec<_>>(), [all("timed_out", 2)]);
}

#[test]
fn a_result_that_cannot_be_written_keeps_its_match() {
    let silent = "#!/bin/sh\nexec sleep 1000\n";
    let instance = start_with(silent, "timeout_s = 1\npatience_s = 2", &["--game-option", "asks=1"]);
    let path = instance.directory().join("ringfort").join(instance.name()).join("results.jsonl");
    // Nothing can be appended to a directory.
    fs::create_dir(&path).expect("nothing is there yet");
    until("it is said that it cannot be written", || instance.log().contains("cannot be written to").then_some(()));
    let status = instance.wait_for("ticks go on", |status| match_named(status, "match-1")["tick"].as_u64() > Some(250));
    assert_eq!(
        (&match_named(&status, "match-1")["results"], &match_named(&status, "match-1")["state"]),
        (&json!(1), &json!("closing"))
    );
    fs::remove_dir(&path).expect("it is empty");
    let result = until("the result is written down", || instance.results().pop());
    assert_eq!(account(&result), all("timed_out", 1));
    has_ended(&instance);
}

#[test]
fn a_web_hook_without_its_token_is_a_reason_not_to_start() {
    let flags = ["--sims", "1", "--frontends", "1"];
    let mut instance = start("", |_| (), &[]);
    instance.done(&["down"]);
    assert_eq!(instance.exit_code(), Some(0));
    let file = instance.directory().join("ringfort.toml");
    let before = fs::read_to_string(&file).expect("the configuration");
    let open = instance.directory().join("open");
    fs::write(&open, "sesame").and_then(|()| fs::set_permissions(&open, fs::Permissions::from_mode(0o644))).expect("a token");
    for (token, words) in [("nowhere", "nowhere cannot be read"), ("open", "other users may read or write the token file")] {
        let hooks = format!("[hooks]\nurl = \"http://127.0.0.1:1/\"\ntoken_file = \"{token}\"\n");
        fs::write(&file, before.clone() + &hooks).expect("it can be written");
        instance.check_refused(&flags, &["hook 0", "exited 1", "hook-0.log"]);
        assert!(instance.log().contains(words), "{}", instance.log());
    }
}

#[test]
fn what_a_hook_should_not_say_is_counted_and_changes_nothing() {
    let wild = r#"#!/usr/bin/env python3
import json, sys

for line in sys.stdin:
    ask = json.loads(line)
    key = {"match_id": ask["match_id"], "id": ask["id"]}
    print("nonsense")
    print(json.dumps({"match_id": 1, "id": 1, "body": "nobody asked"}))
    print(json.dumps({"match_id": ask["match_id"], "id": ask["id"] + 1000, "body": "not yet asked"}))
    if ask["topic"] == "result":
        with open("results.txt", "a") as file:
            file.write(line)
        print(json.dumps(key), flush=True)
    elif ask["id"] % 3 == 0:
        print(json.dumps(dict(key, error="no such thing")), flush=True)
    elif ask["id"] % 3 == 1:
        print(json.dumps(dict(key, body="x" * 2049)), flush=True)
    else:
        print(json.dumps(dict(key, body=ask["body"])))
        print(json.dumps(dict(key, body="the second answer")), flush=True)
"#;
    let instance = start_with(wild, "", &["--game-option", "asks=30"]);
    let taken = instance.directory().join("results.txt");
    let account = account(&until("the hook has the result", || json_lines(&taken).pop()));
    assert_eq!((&account["right"], &account["failed"], &account["wrong"]), (&json!(10), &json!(20), &json!(0)));
    has_ended(&instance);
    // Each of 30 requests and of the result drew one line that is none, and each of 10 requests an answer too many.
    assert_eq!((instance.counter("hook_bad_lines"), instance.counter("hook_stray_answers")), (31, 31 * 2 + 10));
    assert_eq!(instance.counter("hook_failed"), 20);
}

/// A web server that fails its first requests in all ways.
struct Site {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    fn open() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (heard, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (hears, stops) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if stops.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    serve(stream, number, &hears);
                }
            }
        });
        Site { address, heard, stop, thread: Some(thread) }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Somebody to come out of the wait for.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(stream: TcpStream, number: usize, heard: &Mutex<Vec<(String, Value)>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (Vec::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        head.push(std::mem::take(&mut line).trim().to_owned());
    }
    let field = |name: &str| {
        head.iter()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    };
    let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    let Ok(()) = reader.read_exact(&mut body) else { return };
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    heard.lock().expect("nobody panics").push((field("authorization").unwrap_or_default().to_owned(), asked.clone()));
    let answer = asked["body"].as_str().expect("a text");
    let response = match number {
        0..3 => "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        3 => String::new(),
        4 => {
            "HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
        _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len()),
    };
    let _ = reader.into_inner().write_all(response.as_bytes());
}

#[test]
fn a_web_hook_is_asked_until_it_answers_and_its_token_stays_out_of_shared_memory() {
    const TOKEN: &str = "sesame-7f3a-open";
    let site = Site::open();
    let hooks = format!("\n[hooks]\nurl = \"http://{}/hook\"\ntoken_file = \"token\"\ntimeout_s = 60\n", site.address);
    let prepare = |directory: &Path| {
        let file = fs::File::options().write(true).create_new(true).mode(0o600).open(directory.join("token"));
        file.and_then(|mut file| file.write_all(format!("{TOKEN}\n").as_bytes())).expect("a token");
    };
    let instance = start(&hooks, prepare, &["--game-option", "asks=30"]);
    let result = until("the site has the result", || {
        let heard = site.heard.lock().expect("nobody panics");
        heard.iter().map(|(_, asked)| asked).find(|asked| asked["topic"] == "result").cloned()
    });
    assert_eq!(account(&result), all_right(30));
    has_ended(&instance);
    let heard = site.heard.lock().expect("nobody panics");
    assert!(heard.iter().all(|(authorization, _)| *authorization == format!("Bearer {TOKEN}")), "{heard:?}");
    assert_eq!(heard.len(), 31 + 5, "the first five were asked again");
    assert_eq!((instance.counter("hook_sent_again"), instance.counter("hook_web_failures")), (5, 5));
    for file in instance.shared_files() {
        let bytes = fs::read(Path::new("/dev/shm").join(&file)).expect("a segment");
        assert!(!bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()), "{file} has the token");
    }
}
