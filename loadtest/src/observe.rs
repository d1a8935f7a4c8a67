//! `observe`: what it costs a server under load that somebody looks at it, by windows of one run in random order.
//!
//! In every second window `ringfort top`, in a terminal of its own, and `ringfort tail --commits` look at the instance. What is compared is the
//! processor time of the server's processes alone; what those who look use is told beside it. A machine's speed drifts, so only the ratio
//! within a pair of windows counts.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

use crate::bootstrap::{interval, median};
use crate::cpu;
use crate::limits::{OBSERVE_SETTLE, OBSERVE_SLACK, OBSERVE_START, PAIRS_MAX};
use crate::peers::{PeersError, RingfortServer};
use crate::random::Random;

/// Lines and columns of the terminal of `top`.
const SCREEN: Winsize = Winsize { ws_row: 60, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };

/// What is looked at, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ObserveArgs {
    /// Clients of the run, in matches of 50
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Ticks a second, and inputs a second and client
    #[arg(long, value_name = "HZ", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=120))]
    rate: u32,
    /// Pairs of windows
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=PAIRS_MAX))]
    pairs: u64,
    /// Seconds of each window
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Exit code 1 when the upper end of the ratio's interval is above this
    #[arg(long, value_name = "RATIO")]
    limit: Option<f64>,
    /// What the order within the pairs is drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// The server's binary [default: `ringfort` beside this program]
    #[arg(long, value_name = "BINARY")]
    server: Option<PathBuf>,
}

/// Players of a match.
const PLAYERS: u32 = 50;

/// Why a comparison did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    /// The server.
    #[error(transparent)]
    Server(#[from] PeersError),
    /// A process or a terminal.
    #[error("what looks at the server, or loads it, cannot be started or watched: {0}")]
    Io(#[from] std::io::Error),
    /// One that looks has ended by itself.
    #[error("`ringfort {command}` has ended while it was to look")]
    Ended {
        /// Which.
        command: &'static str,
    },
    /// The load has ended.
    #[error("the load has ended before the last window; its output says why")]
    LoadEnded,
}

/// Processor time in one window.
#[derive(Clone, Copy, Debug)]
struct Window {
    server: Duration,
    looking: Duration,
}

/// Measures all pairs and tells; returns whether the ratio is below the limit, if there is one.
pub(crate) fn run(args: &ObserveArgs) -> Result<bool, ObserveError> {
    let instance = format!("observe-{}", std::process::id());
    let matches = args.clients.div_ceil(PLAYERS);
    let flags = [
        format!("--matches={matches}"),
        format!("--tick-hz={}", args.rate),
        "--game-option".to_owned(),
        format!("capacity={PLAYERS}"),
    ];
    let server = RingfortServer::launch(args.server.as_deref(), &instance, &flags)?;
    let mut load = Load::start(args, &server, &instance)?;
    let mut random = Random::new(args.seed, 0);
    let mut pairs = Vec::new();
    for number in 1..=args.pairs {
        let with_first = random.below(2) == 0;
        let window = |looks: bool| measure(args, &server, looks);
        let (first, second) = (window(with_first)?, window(!with_first)?);
        let (with, without) = if with_first { (first, second) } else { (second, first) };
        load.check()?;
        let ratio = with.server.as_secs_f64() / without.server.as_secs_f64();
        eprintln!(
            "pair {number}: {:.2} s with, {:.2} s without, ratio {ratio:.3}",
            with.server.as_secs_f64(),
            without.server.as_secs_f64()
        );
        pairs.push((ratio, with, without));
    }
    drop(load);
    server.stop();
    let told = figures(args, &pairs, &mut random);
    println!("{told:#}");
    let high = told["ratio"]["high95"].as_f64().unwrap_or(f64::INFINITY);
    Ok(args.limit.is_none_or(|limit| high <= limit))
}

fn figures(args: &ObserveArgs, pairs: &[(f64, Window, Window)], random: &mut Random) -> Value {
    let ratios: Vec<f64> = pairs.iter().map(|(ratio, ..)| *ratio).collect();
    let (low, high) = interval(&ratios, random);
    let of = |figure: fn(&(f64, Window, Window)) -> Duration| {
        median(&pairs.iter().map(|pair| figure(pair).as_secs_f64()).collect::<Vec<f64>>()) / args.seconds as f64
    };
    json!({
        "pairs": pairs.len(),
        "clients": args.clients,
        "rate_hz": args.rate,
        "window_s": args.seconds,
        "server_cpu": { "with": of(|(_, with, _)| with.server), "without": of(|(_, _, without)| without.server) },
        "looking_cpu": of(|(_, with, _)| with.looking),
        "ratio": { "median": median(&ratios), "low95": low, "high95": high },
        "ratios": ratios,
    })
}

fn measure(args: &ObserveArgs, server: &RingfortServer, looks: bool) -> Result<Window, ObserveError> {
    let mut lookers = match looks {
        true => vec![Looker::top(server)?, Looker::tail(server)?],
        false => Vec::new(),
    };
    // Beginning to look maps and reads everything once; that is not what going on with it costs.
    thread::sleep(OBSERVE_SETTLE);
    let processes = server.processes()?;
    let used = |pids: &[u32]| pids.iter().map(|pid| cpu::used_exactly(*pid)).sum::<std::io::Result<Duration>>();
    let eyes: Vec<u32> = lookers.iter().map(|looker| looker.process.id()).collect();
    let before = (used(&processes)?, used(&eyes)?);
    thread::sleep(Duration::from_secs(args.seconds));
    let window = Window { server: used(&processes)? - before.0, looking: used(&eyes)? - before.1 };
    for looker in &mut lookers {
        looker.check()?;
    }
    Ok(window)
}

/// The clients: this very program, for longer than all windows take.
struct Load {
    process: std::process::Child,
}

impl Load {
    fn start(args: &ObserveArgs, server: &RingfortServer, instance: &str) -> Result<Load, ObserveError> {
        let pair = 2 * (Duration::from_secs(args.seconds) + OBSERVE_SETTLE) + OBSERVE_SLACK;
        let duration = pair.as_secs() * args.pairs + OBSERVE_START.as_secs();
        let process = Command::new(std::env::current_exe()?)
            .args(["run", "--scenario=matches", "--freshness=0"])
            .arg(format!("--server={}", server.address()))
            .arg(format!("--instance={instance}"))
            .arg(format!("--clients={}", args.clients))
            .arg(format!("--rate={}", args.rate))
            .arg(format!("--duration={duration}"))
            .stdout(Stdio::null())
            .spawn()?;
        let mut load = Load { process };
        let patience = Instant::now() + OBSERVE_START;
        while server.status().is_none_or(|status| status["sessions"].as_u64() < Some(u64::from(args.clients))) {
            load.check()?;
            if Instant::now() > patience {
                return Err(ObserveError::LoadEnded);
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(load)
    }

    fn check(&mut self) -> Result<(), ObserveError> {
        if self.process.try_wait()?.is_some() { Err(ObserveError::LoadEnded) } else { Ok(()) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It is gone already, or goes now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that looks, until this is dropped.
struct Looker {
    command: &'static str,
    process: std::process::Child,
}

impl Looker {
    /// `top` in a terminal that somebody reads.
    fn top(server: &RingfortServer) -> Result<Looker, ObserveError> {
        let io = std::io::Error::from;
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(io)?;
        grantpt(&screen).map_err(io)?;
        unlockpt(&screen).map_err(io)?;
        tcsetwinsize(&screen, SCREEN).map_err(io)?;
        let name = ptsname(&screen, Vec::new()).map_err(io)?;
        let terminal = File::options().read(true).write(true).open(name.to_string_lossy().as_ref())?;
        let command = server.command("top");
        let looker = Looker::of("top", command, Some(terminal))?;
        thread::spawn(move || read_out(screen));
        Ok(looker)
    }

    fn tail(server: &RingfortServer) -> Result<Looker, ObserveError> {
        let mut command = server.command("tail");
        command.arg("--commits");
        Looker::of("tail", command, None)
    }

    fn of(name: &'static str, mut command: Command, terminal: Option<File>) -> Result<Looker, ObserveError> {
        if let Some(terminal) = terminal {
            command.stdin(terminal.try_clone()?).stdout(terminal).env("TERM", "xterm-256color");
        }
        Ok(Looker { command: name, process: command.spawn()? })
    }

    fn check(&mut self) -> Result<(), ObserveError> {
        if self.process.try_wait()?.is_some() { Err(ObserveError::Ended { command: self.command }) } else { Ok(()) }
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        // It is gone already, or goes now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Takes what a terminal shows, until nobody has it any more.
fn read_out(screen: OwnedFd) {
    let mut screen = File::from(screen);
    let mut bytes = [0; 4096];
    while screen.read(&mut bytes).is_ok_and(|read| read > 0) {}
}
