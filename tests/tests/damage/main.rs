//! Damage: bits flipped, words overwritten, segments and saved files cut off, and every reading command and `top` run over them in this process.
//! None may panic, hang or take memory without end; each shows what is whole, or says in a sentence what is wrong.
//!
//! `cargo test -p ringfort-tests --test damage -- --cases 100000 --seed 7`; a failure names its case and seed.

mod listener;
mod victim;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use listener::{Listener, Said};
use ringfort_shm_state::segment::leftovers;
use ringfort_tests::crowd::named;
use ringfort_tests::{Crowd, Instance};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use victim::{Damage, Victim};

/// Cases when nothing is said.
const CASES: u64 = 2000;
/// Commands of a case, beside those that look at everything.
const COMMANDS_A_CASE: u64 = 3;
/// Bytes of address space that this process may have: a command that believes a damaged length comes up against it.
const ADDRESS_SPACE: u64 = 3 << 30;
/// Ticks that the players play before everything is killed.
const TICKS: u32 = 40;

/// Says that this process is the one that looks.
const CHILD: &str = "--child";
/// The saved file, what came out, and what was being done last, in the instance's directory.
const SAVED: &str = "saved.rf";
const REPORT: &str = "report";
const LAST: &str = "last";

/// Every reading command.
const COMMANDS: &[&str] = &[
    "status",
    "status --json",
    "processes",
    "matches",
    "matches show match-1",
    "matches show match-2 --json",
    "sessions",
    "sessions --json",
    "sessions show p1",
    "zones list",
    "entities match-1",
    "entities match-1 --near 0,0,50 --json",
    "entities match-2 --sort -index --limit 3",
    "inspect match-1 0",
    "inspect match-1 --globals",
    "history match-1 0",
    "diff match-1 TICK-5 TICK",
    "roots match-1",
    "roots match-2 --json",
    "events match-1",
    "schema",
    "rings",
    "rings --json",
    "locks",
    "arena",
    "arena --match match-1",
    "counters --per-process",
    "tail --no-follow",
    "tail --no-follow --commits --json",
    "metrics",
    "fsck",
    "explain",
];

/// The commands that look for damage: they end each case.
const CHECKS: [&str; 2] = ["fsck", "explain"];

/// `top` is run in one case out of so many.
const ONE_IN_TOP: u64 = 8;
/// What is typed to `top`: into a match, its parts and its map; entities; sessions; processes.
const KEYS: [&str; 4] = ["\rjj\tj\t\t\tm+++n\r", "\r/hp\rsrj\rjm", "j\r\t\r\x7f\x7f?q ", "\tj\rjs\x7fjj\r"];

/// A generator of numbers: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

fn flag(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok())
}

/// An instance that has played and was killed, with two matches and six players.
fn killed_instance() -> (Instance, u32) {
    let mut instance = Instance::start(&["--matches", "2", "--arena-mib", "16"]);
    let mut crowd = Crowd::new(instance.address());
    let players: Vec<usize> =
        (0..6).map(|who| crowd.enter(&format!("p{who}"), named(&format!("match-{}", 1 + who % 2)))).collect();
    players.iter().for_each(|who| crowd.until_live(*who));
    let first = crowd.tick(players[0]);
    crowd.until("the players have played", |crowd| crowd.tick(players[0]) > first + TICKS);
    let tick = crowd.tick(players[0]);
    instance.kill();
    (instance, tick)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CHILD) {
        let [instance, directory, tick] = &arguments[at + 1..] else { panic!("three arguments") };
        return run_cases(instance, Path::new(directory), tick.parse().expect("a tick"));
    }
    let (cases, seed) = (flag("--cases").unwrap_or(CASES), flag("--seed").unwrap_or(1));
    let (instance, tick) = killed_instance();
    let saved = instance.run(&["save", instance.directory().join(SAVED).to_str().expect("a name of ours")]);
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    // What the commands print is nobody's. Should the process die, the file tells of what.
    let mut child = Command::new(std::env::current_exe().expect("a test has a path"));
    child.args(["--cases", &cases.to_string(), "--seed", &seed.to_string(), CHILD, instance.name()]);
    child.arg(instance.directory()).arg(tick.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = child.status().expect("this program again");
    let report = std::fs::read_to_string(instance.directory().join(REPORT)).unwrap_or_default();
    eprintln!("{report}");
    if !status.success() {
        let last = std::fs::read_to_string(instance.directory().join(LAST)).unwrap_or_default();
        eprintln!("seed {seed}: {status}; the last was {}", last.trim_end_matches('\0').trim_end());
    }
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with a command that fails and says nothing, and with checks that find nothing.
const SILENT: &str = "it fails and does not say why";
const UNTOLD: &str = "none of them tells that there is something wrong with";

/// What went wrong, each kind once with the case that showed it first; and how much was seen.
#[derive(Default)]
struct Report {
    failures: BTreeMap<String, String>,
    runs: u64,
    /// Cases with words overwritten in a segment, and those of them in which the check said what it does not say of whole ones.
    overwritten: u64,
    noticed: u64,
}

impl Report {
    /// Judges what came of a command.
    fn judge(&mut self, what: &str, said: &Said) {
        let wrong = match &said.panic {
            Some(panic) => panic.clone(),
            None if said.failed && said.stderr.trim().is_empty() && said.stdout.trim().is_empty() => SILENT.to_owned(),
            None => return,
        };
        self.failures.entry(wrong).or_insert_with(|| what.to_owned());
    }

    fn text(&self, cases: u64, seed: u64) -> String {
        let mut text =
            format!("{cases} cases, {} commands, seed {seed}: {} different failures; ", self.runs, self.failures.len());
        text += &format!(
            "explain or fsck noticed {} of {} cases of overwritten words in a segment\n",
            self.noticed, self.overwritten
        );
        for (wrong, what) in &self.failures {
            text += &format!("{what}\n    {wrong}\n");
        }
        text
    }
}

/// Damages, looks and mends, again and again.
fn run_cases(name: &str, directory: &Path, tick: u32) -> ExitCode {
    let (cases, seed) = (flag("--cases").unwrap_or(CASES), flag("--seed").unwrap_or(1));
    let lines = COMMANDS.iter().map(|line| line.replace("TICK-5", &(tick - 5).to_string()));
    let lines: Vec<String> = lines.map(|line| line.replace("TICK", &tick.to_string())).collect();
    let (file, again) = (directory.join(SAVED), directory.join("again.rf"));
    let (file_name, again_name) = (file.display().to_string(), again.display().to_string());
    let segments: Vec<Victim> = leftovers(name).into_iter().map(Victim::new).collect();
    let saved = Victim::new(file);
    let world = segments.iter().position(|victim| victim.path.to_string_lossy().ends_with(".world")).expect("a world");
    setrlimit(Resource::As, Rlimit { current: Some(ADDRESS_SPACE), ..getrlimit(Resource::As) }).expect("a lower limit");
    let last = File::create(directory.join(LAST)).expect("a file of ours");
    let listener = Listener::new(directory.join(REPORT));
    let (live, from_file, from_again) = (["--instance", name], ["--from", &file_name], ["--from", &again_name]);
    let mut report = Report::default();
    // What they say while all is whole.
    let whole = [&live, &from_file].map(|source| CHECKS.map(|line| listener.run(line, source).stdout));
    for case in 0..cases {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ case);
        random.next();
        let in_file = random.below(5) == 0;
        // The world has most of what can be damaged.
        let which = random.below(segments.len() as u64 + 4) as usize;
        let victim = if in_file { &saved } else { segments.get(which).unwrap_or(&segments[world]) };
        let (how, damage) = victim.damage(&mut random);
        let source: &[&str] = if in_file { &from_file } else { &live };
        let mut run = |line: &str, source: &[&str]| {
            report.runs += 1;
            let what = format!("case {case}: {line} {source:?}: {how}");
            last.write_all_at(format!("{what:<600}").as_bytes(), 0).expect("a file of ours");
            let said = match line.strip_prefix("top ") {
                Some(keys) => listener.type_to_top(keys, source),
                None => listener.run(line, source),
            };
            report.judge(&what, &said);
            said
        };
        for _ in 0..COMMANDS_A_CASE {
            run(&lines[random.below(lines.len() as u64) as usize], source);
        }
        if random.below(ONE_IN_TOP) == 0 {
            run(&format!("top {}", KEYS[random.below(KEYS.len() as u64) as usize]), source);
        }
        // What is cut off, and what a file's checksums hold, one of the checks has to tell. Of a word in memory any value may be right.
        let is_changed = !matches!(&damage, Damage::Words(places) if places.is_empty());
        let must_tell = is_changed && (in_file || matches!(damage, Damage::Cut(_)));
        let checks = if must_tell { 0..CHECKS.len() } else { case as usize % CHECKS.len()..case as usize % CHECKS.len() + 1 };
        let whole = &whole[usize::from(in_file)];
        let tell = checks.map(|at| run(CHECKS[at], source).stdout != whole[at]).fold(false, |one, other| one | other);
        // What is saved of a damaged instance is looked at, too.
        if !in_file && random.below(40) == 0 {
            run(&format!("save --force {again_name}"), &live);
            if again.exists() {
                run(&lines[random.below(lines.len() as u64) as usize], &from_again);
                run("explain", &from_again);
            }
        }
        if must_tell && !tell {
            let what = format!("case {case}: {}: {how}", CHECKS.join(" and "));
            report.failures.entry(format!("{UNTOLD} {}", victim.path.display())).or_insert(what);
        } else if is_changed && !must_tell {
            report.overwritten += 1;
            report.noticed += u64::from(tell);
        }
        victim.mend(&damage);
    }
    std::fs::write(directory.join(REPORT), report.text(cases, seed)).expect("a file of ours");
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
