//! The generator's processes: started, told when the measured time begins, listened to, added up.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::partial::Partial;
use super::scenario::{STORM_AFTER, Scenario};
use super::server::{Sample, Watch};
use super::ticker::Ticker;
use super::{CONNECTED, PLAYED, PROGRESS, RunArgs, RunError};
use crate::children::Child;
use crate::limits;

/// How often the workers are listened to.
const LISTEN_EVERY: Duration = Duration::from_millis(10);

/// What a run found.
pub(super) struct Found {
    /// The clients of the run; of a storm those who played before.
    pub(super) total: Partial,
    /// Those who came at once.
    pub(super) storm: Option<Partial>,
    /// The second of the Unix epoch in which the measured time began.
    pub(super) began: u64,
    /// What the server's processes did, or why that is not known.
    pub(super) server: Result<Value, String>,
    /// The same for each second, by its number in the Unix epoch.
    pub(super) server_seconds: BTreeMap<u64, Value>,
}

/// A part of the clients, and what it is told to do.
struct Share<'a> {
    args: &'a RunArgs,
    first: usize,
    clients: usize,
    first_spectator: usize,
    spectators: usize,
    storms: bool,
    /// Whether the server's memory can be looked at.
    is_local: bool,
}

/// Processes that do the same.
#[derive(Default)]
struct Crew {
    workers: Vec<Worker>,
    total: Partial,
}

struct Worker {
    child: Child,
    number: usize,
    heard: Instant,
    connected: bool,
    played: bool,
    reported: bool,
}

/// Runs all workers to their end.
pub(super) fn conduct(args: &RunArgs) -> Result<Found, RunError> {
    let storms = args.scenario == Scenario::Storm;
    let players = if storms { args.playing } else { args.clients };
    let mut server = Observed::new(args);
    let is_local = server.watch.is_ok();
    let mut crew = Crew::spawn(args, (0, players), args.spectators, is_local)?;
    server.is_read_by(crew.pids().chain([std::process::id()]));
    let (mut storm, mut begun) = (Crew::default(), None);
    let ramp = args.ramp_of(players + args.spectators);
    let deadline = Instant::now() + Duration::from_secs_f64(ramp + args.patience + args.duration) + limits::WORKER_PATIENCE;
    let mut ticker = Ticker::new();
    while !crew.is_done() || !storm.is_done() {
        if Instant::now() > deadline {
            return Err(RunError::WorkerSilent);
        }
        thread::sleep(LISTEN_EVERY);
        crew.listen(&mut ticker)?;
        storm.listen(&mut ticker)?;
        if begun.is_none() && crew.workers.iter().all(|worker| worker.connected) {
            crew.go()?;
            begun = Some((Instant::now(), SystemTime::now()));
            server.begins();
        }
        if begun.is_some() && crew.workers.iter().any(|worker| worker.played) {
            server.ends();
        }
        server.look();
        let since = begun.map_or(Duration::ZERO, |(begun, _)| begun.elapsed());
        if storms && storm.workers.is_empty() && since >= STORM_AFTER.min(Duration::from_secs_f64(args.duration / 4.0)) {
            storm = Crew::spawn_storm(args, players, is_local)?;
            server.is_read_by(storm.pids());
            storm.go()?;
        }
    }
    ticker.finish();
    let began = begun.and_then(|(_, at)| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
    let (server, server_seconds) = server.found();
    Ok(Found { total: crew.total, storm: storms.then_some(storm.total), began, server, server_seconds })
}

/// The server's processes, looked at once a second and at both ends of the measured time.
struct Observed {
    watch: Result<Watch, String>,
    second: u64,
    from: Option<Sample>,
    figures: Option<Value>,
}

impl Observed {
    fn new(args: &RunArgs) -> Observed {
        Observed { watch: Watch::open(&args.instance, args.server), second: unix_second(), from: None, figures: None }
    }

    /// These processes of ours look at its memory.
    fn is_read_by(&mut self, pids: impl IntoIterator<Item = u32>) {
        if let Ok(watch) = &mut self.watch {
            watch.readers.extend(pids);
        }
    }

    fn begins(&mut self) {
        self.from = self.watch.as_ref().ok().map(Watch::sample);
    }

    /// Only the first call counts: processes that have played leave, and the rest is no measured time.
    fn ends(&mut self) {
        if let (Ok(watch), Some(from), None) = (&mut self.watch, &self.from, &self.figures) {
            let now = watch.sample();
            self.figures = Some(watch.figures(from, &now));
        }
    }

    fn look(&mut self) {
        let now = unix_second();
        if now != self.second
            && let Ok(watch) = &mut self.watch
        {
            watch.second_is_over(std::mem::replace(&mut self.second, now));
        }
    }

    fn found(self) -> (Result<Value, String>, BTreeMap<u64, Value>) {
        match self.watch {
            Ok(watch) => (self.figures.ok_or_else(|| "nobody played".to_owned()), watch.seconds),
            Err(reason) => (Err(reason), BTreeMap::new()),
        }
    }
}

fn unix_second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Crew {
    /// Those that come first, with the spectators shared out among them.
    fn spawn(args: &RunArgs, players: (usize, usize), spectators: usize, is_local: bool) -> Result<Crew, RunError> {
        Crew::spawn_all(args, players, spectators, false, is_local)
    }

    /// Those that come at once.
    fn spawn_storm(args: &RunArgs, first: usize, is_local: bool) -> Result<Crew, RunError> {
        Crew::spawn_all(args, (first, args.clients), 0, true, is_local)
    }

    fn spawn_all(
        args: &RunArgs,
        (first, clients): (usize, usize),
        spectators: usize,
        storms: bool,
        is_local: bool,
    ) -> Result<Crew, RunError> {
        let processes = args.processes.min(clients);
        let worker = |index: usize| {
            let from = clients * index / processes;
            let first_spectator = spectators * index / processes;
            let share = Share {
                args,
                first: first + from,
                clients: clients * (index + 1) / processes - from,
                first_spectator,
                spectators: spectators * (index + 1) / processes - first_spectator,
                storms,
                is_local,
            };
            let child = Child::spawn(share.command(clients, clients + spectators)?).map_err(RunError::Io)?;
            let number = index + if storms { args.processes } else { 0 };
            Ok(Worker { child, number, heard: Instant::now(), connected: false, played: false, reported: false })
        };
        Ok(Crew { workers: (0..processes).map(worker).collect::<Result<_, RunError>>()?, total: Partial::default() })
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.workers.iter().map(|worker| worker.child.pid())
    }

    fn is_done(&self) -> bool {
        self.workers.iter().all(|worker| worker.reported)
    }

    fn go(&mut self) -> Result<(), RunError> {
        self.workers.iter_mut().try_for_each(|worker| worker.child.go()).map_err(RunError::Io)
    }

    fn listen(&mut self, ticker: &mut Ticker) -> Result<(), RunError> {
        for worker in self.workers.iter_mut().filter(|worker| !worker.reported) {
            while let Some(line) = worker.child.line(Duration::ZERO) {
                worker.heard = Instant::now();
                match line.as_str() {
                    CONNECTED => worker.connected = true,
                    PLAYED => worker.played = true,
                    line => match line.strip_prefix(PROGRESS) {
                        Some(progress) => ticker.note(worker.number, serde_json::from_str(progress).map_err(RunError::Report)?),
                        None => {
                            self.total.merge(&serde_json::from_str(line).map_err(RunError::Report)?);
                            worker.reported = true;
                        }
                    },
                }
            }
            if !worker.reported && worker.heard.elapsed() > limits::WORKER_SILENCE {
                return Err(RunError::WorkerSilent);
            }
        }
        Ok(())
    }
}

impl Share<'_> {
    /// The command of its process; the whole crew has so many players, and so many clients with the spectators.
    fn command(&self, players: usize, all: usize) -> Result<Command, RunError> {
        let Share { args, first, clients, first_spectator, spectators, storms, .. } = self;
        let mut command = Command::new(std::env::current_exe().map_err(RunError::Io)?);
        let mut flag = |name: &str, value: &str| {
            command.args([name, value]);
        };
        let in_match = if args.scenario == Scenario::Storm { args.playing + args.clients } else { args.clients };
        flag("worker", "--progress");
        flag("--server", &args.server.to_string());
        flag("--match", &args.match_name);
        flag("--clients", &clients.to_string());
        flag("--first", &first.to_string());
        if *spectators > 0 {
            flag("--spectators", &spectators.to_string());
            flag("--first-spectator", &first_spectator.to_string());
        }
        flag("--seed", &args.seed.to_string());
        flag("--rate", &args.scenario.rate(args.rate).to_string());
        flag("--trigger-every", &args.scenario.trigger_every().to_string());
        flag("--home", &args.scenario.home(in_match).to_string());
        if *storms {
            let left = args.duration - STORM_AFTER.as_secs_f64().min(args.duration / 4.0);
            flag("--ramp", "0");
            flag("--patience", &left.to_string());
            flag("--within", &left.to_string());
        } else {
            // The shares connect side by side, so each gets its part of the whole rate.
            flag("--ramp", &args.ramp_of(all).to_string());
            flag("--patience", &args.patience.to_string());
        }
        flag("--duration", &args.duration.to_string());
        if args.scenario == Scenario::Churn {
            flag("--churn", &(args.churn_rate * *clients as f64 / players as f64).to_string());
        }
        // One process looks for all: it follows the committed world, which costs something.
        let freshness = if *first == 0 && !*storms { args.freshness } else { 0 };
        if self.is_local && (freshness > 0 || args.verify) {
            command.args(["--instance", &args.instance, "--freshness", &freshness.to_string()]);
            command.args(args.verify.then_some("--verify"));
        }
        command.args(args.network.flags()).arg("--wait");
        Ok(command)
    }
}
