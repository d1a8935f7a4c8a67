//! Damage: bits flipped, words overwritten, segments and saved files cut off, and every reading command run over them in this process. None
//! may panic, hang or take memory without end; each shows what is whole, or says in a sentence what is wrong.
//!
//! `cargo test -p ringfort-tests --test damage -- --cases 100000 --seed 7`; a failure names its case and seed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use ringfort::skirmish::Skirmish;
use ringfort_shm_state::segment::leftovers;
use ringfort_tests::crowd::named;
use ringfort_tests::{Crowd, Instance};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

/// A file that is damaged and mended again.
struct Victim {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    /// Its words that are not zero: damage elsewhere is seldom seen.
    used: Vec<usize>,
}

impl Victim {
    fn new(path: PathBuf) -> Self {
        let bytes = std::fs::read(&path).expect("a file of ours");
        let file = OpenOptions::new().write(true).open(&path).expect("a file of ours");
        let used = bytes.chunks_exact(8).enumerate().filter(|(_, word)| *word != [0; 8]).map(|(at, _)| at * 8).collect();
        Self { path, file, bytes, used }
    }

    /// Damages it, and says how.
    fn damage(&self, random: &mut Random) -> (String, Damage) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if random.below(12) == 0 {
            let length = random.below(self.bytes.len() as u64);
            self.file.set_len(length).expect("a file of ours");
            return (format!("{name} cut to {length} bytes"), Damage::Cut(length));
        }
        let mut places = Vec::new();
        for _ in 0..1 + random.below(6) {
            let anywhere = random.below(8) == 0 || self.used.is_empty();
            let at = if anywhere {
                random.below(self.bytes.len() as u64 / 8) as usize * 8
            } else {
                self.used[random.below(self.used.len() as u64) as usize]
            };
            let Some(old) = self.bytes.get(at..at + 8) else { continue };
            let old = u64::from_le_bytes(old.try_into().expect("eight bytes"));
            let new = match random.below(7) {
                0 => 0,
                1 => u64::MAX,
                2 => random.next(),
                3 => old.wrapping_add(random.below(5)).wrapping_sub(2),
                4 => old ^ (random.next() & 0xffff_ffff) << (32 * random.below(2)),
                _ => old ^ 1 << random.below(64),
            };
            self.file.write_all_at(&new.to_le_bytes(), at as u64).expect("a file of ours");
            places.push(at);
        }
        (format!("{name} at {places:?}"), Damage::Words(places))
    }

    fn mend(&self, damage: &Damage) {
        match damage {
            Damage::Cut(length) => {
                self.file.set_len(self.bytes.len() as u64).expect("a file of ours");
                self.file.write_all_at(&self.bytes[*length as usize..], *length).expect("a file of ours");
            }
            Damage::Words(places) => {
                for at in places {
                    self.file.write_all_at(&self.bytes[*at..at + 8], *at as u64).expect("a file of ours");
                }
            }
        }
    }
}

enum Damage {
    Cut(u64),
    Words(Vec<usize>),
}

/// Where the last panic was, and what it said.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Runs a command line in this process; what it panicked with.
fn panics(line: &str, source: &[&str]) -> Option<String> {
    let arguments = ["ringfort"].into_iter().chain(line.split_whitespace()).chain(source.iter().copied());
    let arguments: Vec<std::ffi::OsString> = arguments.map(Into::into).collect();
    let run = catch_unwind(AssertUnwindSafe(|| ringfort::main_with::<Skirmish>(arguments)));
    run.err().map(|_| PANIC.lock().expect("held for a line").clone())
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
    std::panic::set_hook(Box::new(|info| *PANIC.lock().expect("held for a line") = info.to_string()));
    setrlimit(Resource::As, Rlimit { current: Some(ADDRESS_SPACE), ..getrlimit(Resource::As) }).expect("a lower limit");
    let last = File::create(directory.join(LAST)).expect("a file of ours");
    let mut failures: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut runs = 0u64;
    for case in 0..cases {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ case);
        random.next();
        let in_file = random.below(5) == 0;
        // The world has most of what can be damaged.
        let which = random.below(segments.len() as u64 + 4) as usize;
        let victim = if in_file { &saved } else { segments.get(which).unwrap_or(&segments[world]) };
        let (how, damage) = victim.damage(&mut random);
        let mut run = |line: &str, source: &[&str]| {
            runs += 1;
            let what = format!("case {case}: {line} {source:?}: {how}");
            last.write_all_at(format!("{what:<600}").as_bytes(), 0).expect("a file of ours");
            if let Some(panic) = panics(line, source) {
                failures.entry(panic).or_insert_with(|| (case, what));
            }
        };
        let (live, from_file, from_again) = (["--instance", name], ["--from", &file_name], ["--from", &again_name]);
        let source: &[&str] = if in_file { &from_file } else { &live };
        for _ in 0..COMMANDS_A_CASE {
            run(&lines[random.below(lines.len() as u64) as usize], source);
        }
        run(if case % 2 == 0 { "explain" } else { "fsck" }, source);
        // What is saved of a damaged instance is looked at, too.
        if !in_file && random.below(40) == 0 {
            run(&format!("save --force {again_name}"), &live);
            if again.exists() {
                run(&lines[random.below(lines.len() as u64) as usize], &from_again);
                run("explain", &from_again);
            }
        }
        victim.mend(&damage);
    }
    let mut report = format!("{cases} cases, {runs} commands, seed {seed}: {} different panics\n", failures.len());
    for (panic, (_, what)) in &failures {
        report += &format!("{what}\n    {panic}\n");
    }
    std::fs::write(directory.join(REPORT), report).expect("a file of ours");
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
