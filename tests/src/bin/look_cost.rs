//! What looking costs: every reading command and `top` with 200 matches and 100,000 entities in all, while the instance runs, while all its processes are
//! stopped, after all were killed, and out of a saved file. `cargo run --release -p ringfort-tests --bin look_cost`.
//!
//! With arguments it is the server of the game that is looked at.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ringfort::prelude::*;
use ringfort_tests::terminal::Terminal;
use ringfort_tests::{Instance, pid_of, send_signal};
use rustix::process::Signal;

/// Matches.
const MATCHES: usize = 200;
/// Entities of each.
const ENTITIES: i32 = 500;
/// How often each command is run.
const RUNS: usize = 11;

/// Sizes for so many matches.
const CONFIGURATION: &str =
    "listen = \"127.0.0.1:0\"\narena_mib = 512\ninbox_mib = 32\nmax_matches = 256\nhang_ms = 600000\n[game]\ncapacity = 16\n";

/// The commands, and what stands for the file of `--from`.
const COMMANDS: &[&str] = &[
    "status",
    "processes",
    "matches",
    "matches show match-7",
    "sessions",
    "zones list",
    "entities match-7",
    "entities match-7 --near 0,0,20",
    "inspect match-7 3",
    "history match-7 3",
    "roots match-7",
    "events match-7",
    "schema",
    "rings",
    "locks",
    "arena",
    "arena --match match-7",
    "counters --per-process",
    "tail --no-follow",
    "fsck",
    "explain",
];

/// And the terminal UI, whose first screen is waited for.
const TOP: &str = "top";

/// Where a sheep stands.
#[derive(Component, Clone, Copy, Debug)]
pub struct Body {
    /// The place.
    #[q(range = -64.0..=64.0, step = 0.01)]
    pub pos: Vec2,
}

/// How a sheep is.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct Wool {
    /// How long its wool is.
    pub length: u32,
}

/// The world.
#[derive(State)]
pub struct Herd {
    /// The sheep.
    pub ents: Entities,
    /// Their places.
    #[sync(all)]
    pub body: Column<Body>,
    /// Their wool.
    #[sync(all)]
    pub wool: Column<Wool>,
}

/// Players only watch.
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Nothing {
    /// Unused.
    #[q(max = 1)]
    pub unused: u8,
}

impl Game for Herd {
    const HZ: u32 = 5;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(_capacity: u32) -> u32 {
        ENTITIES as u32
    }

    fn open(&mut self, t: &Tick<Self>) {
        for _ in 0..ENTITIES {
            let sheep = self.ents.spawn();
            self.body.insert(sheep, Body { pos: t.rng(sheep).point(60.0) });
            self.wool.insert(sheep, Wool::default());
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, _t: &Tick<Self>) {
        for (_, mut wool, _) in (&mut self.wool, &self.body).join() {
            wool.length = wool.length.wrapping_add(1);
        }
    }
}

/// Median and maximum of a command's time from start to end, in milliseconds.
fn time(instance: &Instance, line: &str, from: Option<&str>) -> (f64, f64) {
    let mut arguments: Vec<&str> = line.split(' ').collect();
    arguments.extend(from.iter().flat_map(|file| ["--from", file]));
    median_and_max(|| {
        let start = Instant::now();
        let output = instance.run(&arguments);
        assert!(!output.stdout.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        start.elapsed()
    })
}

/// The same of `top`, from its start to its first screen.
fn time_top(instance: &Instance, from: Option<&str>) -> (f64, f64) {
    let arguments: Vec<&str> = from.iter().flat_map(|file| ["--from", file]).collect();
    median_and_max(|| {
        let start = Instant::now();
        let mut terminal = Terminal::start(instance, &arguments);
        terminal.until_shown(&["match-1", "q:quit"]);
        let took = start.elapsed();
        terminal.press("q");
        assert_eq!(terminal.ended(), Some(0));
        took
    })
}

/// Of so many runs, in milliseconds.
fn median_and_max(run: impl FnMut() -> Duration) -> (f64, f64) {
    let mut took: Vec<f64> = std::iter::repeat_with(run).take(RUNS).map(|took| took.as_secs_f64() * 1000.0).collect();
    took.sort_by(f64::total_cmp);
    (took[RUNS / 2], took[RUNS - 1])
}

fn times(instance: &Instance, from: Option<&str>) -> Vec<(f64, f64)> {
    COMMANDS.iter().map(|line| time(instance, line, from)).chain([time_top(instance, from)]).collect()
}

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return ringfort::main::<Herd>();
    }
    let program = std::env::current_exe().expect("a program has a path");
    let prepare = |directory: &std::path::Path| {
        std::fs::write(directory.join("large.toml"), CONFIGURATION).expect("a configuration file");
    };
    let matches = MATCHES.to_string();
    let mut instance = Instance::of(program, "", prepare, &["--config", "large.toml", "--matches", &matches]);
    let status = instance.wait_for("all matches run, with a window of commits", |status| {
        let matches = status["matches"].as_array().expect("matches");
        let runs = |entry: &serde_json::Value| entry["state"] == "running" && entry["tick"].as_u64() > Some(40);
        matches.len() == MATCHES && matches.iter().all(runs)
    });
    let all: u64 = status["matches"].as_array().expect("matches").iter().filter_map(|entry| entry["entities"].as_u64()).sum();
    let live = times(&instance, None);
    let pids: Vec<_> = status["processes"].as_array().expect("processes").iter().map(pid_of).collect();
    pids.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    let stopped = times(&instance, None);
    instance.kill();
    let killed = times(&instance, None);
    let file = instance.directory().join("saved.rf").display().to_string();
    let start = Instant::now();
    println!("{MATCHES} matches, {all} entities; {}", instance.done(&["save", &file]).trim_end());
    println!("save took {:.0} ms\n", start.elapsed().as_secs_f64() * 1000.0);
    let saved = times(&instance, Some(&file));
    println!("{:<32} {:>14} {:>14} {:>14} {:>14}", "median / max of 11, ms", "running", "stopped", "killed", "file");
    let cell = |(median, max): (f64, f64)| format!("{median:.0} / {max:.0}");
    for (at, line) in COMMANDS.iter().chain([&TOP]).enumerate() {
        println!("{line:<32} {:>14} {:>14} {:>14} {:>14}", cell(live[at]), cell(stopped[at]), cell(killed[at]), cell(saved[at]));
    }
    ExitCode::SUCCESS
}
