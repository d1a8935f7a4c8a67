//! What is done to the instance while its clients play: signals to its processes, moves of its matches, front-ends scaled, an upgrade.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringfort::attach::AttachError;
use ringfort::status::Status;

use super::args::{Role, Scenario, Signals};
use super::crowd::match_name;
use super::gaps::{Hit, Kind, Whom, micros};
use super::host::{self, Host};
use super::victims;
use crate::limits;
use crate::random::Random;

/// What is done, when, and to which instance.
pub(super) struct Plan<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) host: &'a Host,
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
    /// Times that nobody could be killed, because none of the wanted role runs and has something to do.
    pub(super) spared: AtomicU64,
    /// What was said of commands that were refused.
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

impl Plan<'_> {
    /// Kills or stops processes as told until the end.
    pub(super) fn kill(&self, done: &Done) {
        let Scenario { kill, every, signal, hits, common, .. } = self.scenario;
        let mut random = Random::new(common.seed, 0);
        let mut left = hits.unwrap_or(usize::MAX);
        self.every(*every, || {
            if left == 0 {
                return;
            }
            let role = if kill.len() > 1 { kill[random.below(kill.len())] } else { kill[0] };
            let stops = match signal {
                Signals::Kill => false,
                Signals::Stop => true,
                Signals::Mix => random.below(2) == 1,
            };
            match self.strike(role, stops, &mut random) {
                Some(hit) => {
                    left -= 1;
                    done.note(hit);
                }
                None => _ = done.spared.fetch_add(1, Ordering::Relaxed),
            }
        });
    }

    /// Moves one match after the other to another sim, and back, until the end.
    pub(super) fn move_matches(&self, every: Duration, done: &Done) {
        let mut moves = 0;
        self.every(every, || {
            let number = moves % self.scenario.common.matches;
            moves += 1;
            let name = match_name(number);
            let Some(to) = self.elsewhere(&name) else { return done.refuse(Kind::Move, "there is no other sim".to_owned()) };
            let at = Instant::now();
            match self.command(&["zones", "move", &name, "--to", &to.to_string()]) {
                Ok(()) => done.note(self.hit(Kind::Move, at, at, Whom::Matches(vec![number]))),
                Err(why) => done.refuse(Kind::Move, why),
            }
        });
    }

    /// Replaces all workers by those of another binary: in the middle of the time, or after the front-ends were scaled.
    pub(super) fn upgrade(&self, binary: &str, done: &Done) {
        if self.scenario.scale.is_empty() {
            let middle = self.begin + self.end.saturating_duration_since(self.begin) / 2;
            thread::sleep(middle.saturating_duration_since(Instant::now()));
        }
        let at = Instant::now();
        match self.command(&["upgrade", "--binary", binary]) {
            Ok(()) => done.note(self.hit(Kind::Upgrade, at, Instant::now(), Whom::All)),
            Err(why) => done.refuse(Kind::Upgrade, why),
        }
    }

    /// Changes the number of front-ends, step by step, and replaces the workers at last.
    pub(super) fn roll(&self, done: &Done) {
        let Scenario { scale, upgrade, every, .. } = self.scenario;
        let mut steps = scale.iter();
        self.every(*every, || {
            let Some(count) = steps.next() else {
                return upgrade.iter().for_each(|binary| self.upgrade(binary, done));
            };
            let at = Instant::now();
            match self.command(&["frontends", "scale", &count.to_string()]) {
                Ok(()) => done.note(self.hit(Kind::Scale, at, Instant::now(), Whom::All)),
                Err(why) => done.refuse(Kind::Scale, why),
            }
        });
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

    fn strike(&self, role: Role, stops: bool, random: &mut Random) -> Option<Hit> {
        let kind = role.kind(stops);
        let (at, whom) = match role {
            Role::Supervisor => (victims::kill_supervisor(self.host)?, Whom::All),
            Role::All => (victims::kill_all(self.host)?, Whom::All),
            Role::Sim | Role::Frontend | Role::Standby => victims::strike(self.host.instance(), role, stops, random)?,
        };
        Some(self.hit(kind, at, at, whom))
    }

    fn hit(&self, kind: Kind, at: Instant, over: Instant, whom: Whom) -> Hit {
        let since = |time: Instant| micros(time.saturating_duration_since(self.start));
        Hit { at: since(at), until: since(over + limits::GAP_WINDOW), kind, whom }
    }

    /// A sim that runs and does not own this match.
    fn elsewhere(&self, name: &str) -> Option<u32> {
        let status: Result<Status, AttachError> = Status::of(self.host.instance());
        let status = status.ok()?;
        let owner = status.matches.iter().find(|entry| entry.name == name)?.owner_slot;
        let others = status.processes.iter().filter(|process| process.role == "sim" && process.slot != owner);
        others.filter(|process| process.state == "running").map(|process| process.slot).next()
    }

    /// Runs a command; of one that fails, what it said.
    fn command(&self, arguments: &[&str]) -> Result<(), String> {
        let output = host::command(self.host.instance(), self.host.directory(), arguments)
            .and_then(|mut command| command.stderr(Stdio::piped()).output())
            .map_err(|error| error.to_string())?;
        let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(said()) }
    }
}
