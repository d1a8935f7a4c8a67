//! What is done to the instance while its clients play: signals to its sims, moves of its matches, an upgrade.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringfort::attach::AttachError;
use ringfort::status::{ProcessStatus, Status};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::crowd::match_name;
use super::gaps::{Hit, Kind, micros};
use super::{ChaosArgs, Signals, host};
use crate::limits;
use crate::random::Random;

/// What is done, when, and to which instance.
pub(super) struct Plan {
    pub(super) instance: String,
    pub(super) directory: PathBuf,
    pub(super) start: Instant,
    /// Nothing is done before this time.
    pub(super) begin: Instant,
    /// Nothing is begun after it.
    pub(super) end: Instant,
}

/// What was done so far.
#[derive(Default)]
pub(super) struct Done {
    hits: Mutex<Vec<Hit>>,
    /// Times that no sim could be killed, because none of those that live has a match.
    pub(super) spared: AtomicU64,
    /// What was said of moves and upgrades that were refused.
    refusals: Mutex<Vec<(Kind, String)>>,
}

impl Done {
    /// All hits so far, in the order of time.
    pub(super) fn hits(&self) -> Vec<Hit> {
        let mut hits = self.hits.lock().map(|hits| hits.clone()).unwrap_or_default();
        hits.sort_by_key(|hit| hit.at);
        hits
    }

    /// How many hits of a kind there were.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.hits.lock().map_or(0, |hits| hits.iter().filter(|hit| hit.kind == kind).count())
    }

    /// What was said of those of a kind that were refused.
    pub(super) fn refusals(&self, kind: Kind) -> Vec<String> {
        let all = self.refusals.lock().map(|refusals| refusals.clone()).unwrap_or_default();
        all.into_iter().filter(|(of, _)| *of == kind).map(|(_, why)| why).collect()
    }

    fn refuse(&self, kind: Kind, why: String) {
        if let Ok(mut refusals) = self.refusals.lock() {
            refusals.push((kind, why));
        }
    }

    fn note(&self, hit: Hit) {
        if let Ok(mut hits) = self.hits.lock() {
            hits.push(hit);
        }
    }
}

impl Plan {
    /// Kills or stops sims as told until the end.
    pub(super) fn kill(&self, args: &ChaosArgs, done: &Done) {
        let mut random = Random::new(args.seed, 0);
        self.every(args.every, || {
            let signal = match args.signal {
                Signals::Kill => Kind::Kill,
                Signals::Stop => Kind::Stop,
                Signals::Mix => [Kind::Kill, Kind::Stop][random.below(2)],
            };
            match self.strike(signal, &mut random) {
                Some(hit) => done.note(hit),
                None => _ = done.spared.fetch_add(1, Ordering::Relaxed),
            }
        });
    }

    /// Moves one match after the other to another sim, and back, until the end.
    pub(super) fn move_matches(&self, every: Duration, args: &ChaosArgs, done: &Done) {
        let mut moves = 0;
        self.every(every, || {
            let number = moves % args.matches;
            moves += 1;
            let name = match_name(number);
            let Some(to) = self.elsewhere(&name) else { return done.refuse(Kind::Move, "there is no other sim".to_owned()) };
            let at = Instant::now();
            match self.command(&["zones", "move", &name, "--to", &to.to_string()]) {
                Ok(()) => done.note(self.hit(Kind::Move, at, at, vec![number])),
                Err(why) => done.refuse(Kind::Move, why),
            }
        });
    }

    /// Replaces all sims by those of another binary, in the middle of the time.
    pub(super) fn upgrade(&self, binary: &str, args: &ChaosArgs, done: &Done) {
        let middle = self.begin + self.end.saturating_duration_since(self.begin) / 2;
        thread::sleep(middle.saturating_duration_since(Instant::now()));
        let at = Instant::now();
        match self.command(&["upgrade", "--binary", binary]) {
            Ok(()) => done.note(self.hit(Kind::Upgrade, at, Instant::now(), (0..args.matches).collect())),
            Err(why) => done.refuse(Kind::Upgrade, why),
        }
    }

    /// Does something at fixed times; those that are missed are left out.
    fn every(&self, every: Duration, mut act: impl FnMut()) {
        let mut due = self.begin;
        while due < self.end {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            act();
            while due <= Instant::now() {
                due += every;
            }
        }
    }

    /// Sends a signal to one of the sims that have matches.
    fn strike(&self, kind: Kind, random: &mut Random) -> Option<Hit> {
        let status = Status::of(&self.instance).ok()?;
        let victims: Vec<&ProcessStatus> = status.processes.iter().filter(|process| is_victim(&status, process)).collect();
        if victims.is_empty() {
            return None;
        }
        let victim = victims[random.below(victims.len())];
        let handle = pidfd_open(Pid::from_raw(i32::try_from(victim.pid).ok()?)?, PidfdFlags::empty()).ok()?;
        // The handle is that of the process that the status named only if it is still there after the handle was taken.
        let still = self.look().ok()?;
        let there =
            |process: &ProcessStatus| (process.slot, process.pid) == (victim.slot, victim.pid) && is_victim(&still, process);
        if !still.processes.iter().any(there) {
            return None;
        }
        let signal = if kind == Kind::Stop { Signal::STOP } else { Signal::KILL };
        let at = Instant::now();
        pidfd_send_signal(&handle, signal).ok()?;
        Some(self.hit(kind, at, at, matches_of(&still, victim.slot)))
    }

    fn look(&self) -> Result<Status, AttachError> {
        Status::of(&self.instance)
    }

    fn hit(&self, kind: Kind, at: Instant, over: Instant, matches: Vec<usize>) -> Hit {
        let since = |time: Instant| micros(time.saturating_duration_since(self.start));
        Hit { at: since(at), until: since(over + limits::GAP_WINDOW), kind, matches }
    }

    /// A sim that runs and does not own this match.
    fn elsewhere(&self, name: &str) -> Option<u32> {
        let status = self.look().ok()?;
        let owner = status.matches.iter().find(|entry| entry.name == name)?.owner_slot;
        let others = status.processes.iter().filter(|process| process.role == SIMS[0] && process.slot != owner);
        others.filter(|process| process.state == "running").map(|process| process.slot).next()
    }

    /// Runs a command; of one that fails, what it said.
    fn command(&self, arguments: &[&str]) -> Result<(), String> {
        let output = host::command(&self.instance, &self.directory, arguments)
            .and_then(|mut command| command.stderr(Stdio::piped()).output())
            .map_err(|error| error.to_string())?;
        let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(said()) }
    }
}

/// The roles of sims as `status` tells them: those that have matches, and the one that waits to take some over.
const SIMS: [&str; 2] = ["sim", "standby"];

/// Whether a process is a sim that runs and has matches.
fn is_victim(status: &Status, process: &ProcessStatus) -> bool {
    SIMS.contains(&process.role) && process.state == "running" && !matches_of(status, process.slot).is_empty()
}

/// The matches that a sim owns, by their numbers from 0 on.
fn matches_of(status: &Status, slot: u32) -> Vec<usize> {
    let owned = status.matches.iter().filter(|entry| entry.owner_slot == slot && entry.state == "running");
    owned.filter_map(|entry| entry.name.strip_prefix("match-")?.parse::<usize>().ok()?.checked_sub(1)).collect()
}
