//! Looks again and again, and keeps what is needed to say what happens in a second: earlier counters, tick times and rings.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use ringfort_shm_state::layout::Role;
use ringfort_shm_state::segment::Segment;
use ringfort_shm_state::worker::{self, TickHistogram, WorkerPage};
use rustix::time::{ClockId, clock_gettime};

use super::app::Wanted;
use super::one::OneWatch;
use super::seen::{Cost, Counted, Pace, Seen, Work};
use crate::attach::{AttachError, Attached};
use crate::limits::{FRONTEND_STANDBY, TOP_FILLS_KEPT, TOP_RATE_MS_MIN, TOP_TIMES_LOOKS};
use crate::look::ills::{Signs, findings};
use crate::status::{MatchStatus, ProcessStatus, Status, Times};

/// Where the instance is taken from at each look.
pub type Source = Box<dyn FnMut() -> Result<Rc<Attached>, AttachError>>;

/// Looks at an instance.
pub struct Watcher {
    source: Source,
    before: Option<Before>,
    works: Vec<Work>,
    cpu_percent: Option<f64>,
    tracks: HashMap<u64, Track>,
    one: OneWatch,
}

/// What the look before has seen.
struct Before {
    at: Instant,
    own_cpu_us: u64,
    cpu_s: HashMap<u32, f64>,
    counters: HashMap<(&'static str, u32), Vec<u64>>,
}

/// What is kept of a match from look to look.
#[derive(Default)]
struct Track {
    looks: u32,
    /// Its histograms as they were up to twice as many looks ago, and up to as many: took and late.
    older: Option<[worker::Times; 2]>,
    newer: Option<[worker::Times; 2]>,
    fills: VecDeque<u64>,
}

/// The segments of the sims.
type Sims = HashMap<u32, Option<Segment>>;

impl Watcher {
    /// Nothing seen yet.
    pub fn new(source: Source) -> Self {
        Self { source, before: None, works: Vec::new(), cpu_percent: None, tracks: HashMap::new(), one: OneWatch::default() }
    }

    /// Looks.
    pub fn look(&mut self, wanted: &Wanted) -> Result<Seen, String> {
        let at = Instant::now();
        let attached = (self.source)().map_err(|error| error.to_string())?;
        let status = Status::look(&attached);
        let elapsed = self.before.as_ref().map(|before| at.duration_since(before.at));
        // A key may make it look again right away: what happens in a second is not known from a moment.
        if elapsed.is_none_or(|elapsed| elapsed.as_millis() >= u128::from(TOP_RATE_MS_MIN))
            || self.works.len() != status.processes.len()
        {
            let elapsed_s = elapsed.map(|elapsed| elapsed.as_secs_f64()).filter(|s| *s > 0.0);
            self.works = status.processes.iter().map(|process| self.work(&attached, process, elapsed_s)).collect();
            let own_cpu_us = own_cpu_us();
            let used = |before: &Before| own_cpu_us.saturating_sub(before.own_cpu_us) as f64 / 1e4;
            self.cpu_percent = self.before.as_ref().zip(elapsed_s).map(|(before, elapsed)| used(before) / elapsed);
            self.remember(&attached, &status, at, own_cpu_us);
        }
        let mut sims = Sims::new();
        self.tracks.retain(|id, _| status.matches.iter().any(|of| of.id == *id));
        let matches: Vec<Pace> = status.matches.iter().map(|of| self.pace(&attached, &mut sims, of)).collect();
        let one = wanted.of.map(|id| {
            let of = status.matches.iter().find(|of| of.id == id).ok_or_else(|| format!("match {id} has gone"))?;
            let times = sim(&attached, &mut sims, of).and_then(|page| page.times(of.slot, of.id, TickHistogram::Took));
            self.one.look(&attached, of, wanted, times.as_ref())
        });
        // After all that may have touched damaged chunks of a file.
        let mut signs = Signs::look(&attached, &status);
        for (signs, pace) in signs.matches.iter_mut().zip(&matches) {
            (signs.took, signs.late) = (pace.took, pace.late);
        }
        let ills = findings(&status, &signs);
        let look_us = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
        let cost = Cost { look_us, cpu_percent: self.cpu_percent };
        Ok(Seen { status, processes: self.works.clone(), matches, one, ills, cost })
    }

    fn remember(&mut self, attached: &Attached, status: &Status, at: Instant, own_cpu_us: u64) {
        let values = |process: &ProcessStatus| {
            Some(((process.role, process.slot), counters(attached, process)?.into_iter().map(|(_, value)| value).collect()))
        };
        self.before = Some(Before {
            at,
            own_cpu_us,
            cpu_s: status.processes.iter().map(|process| (process.pid, process.cpu_s)).collect(),
            counters: status.processes.iter().filter_map(values).collect(),
        });
    }

    fn work(&self, attached: &Attached, process: &ProcessStatus, elapsed_s: Option<f64>) -> Work {
        let before = self.before.as_ref().zip(elapsed_s);
        let cpu_percent = before.and_then(|(before, elapsed)| {
            let used = (process.cpu_s - before.cpu_s.get(&process.pid)?).max(0.0);
            Some(used * 100.0 / elapsed)
        });
        let earlier = before.and_then(|(before, elapsed)| Some((before.counters.get(&(process.role, process.slot))?, elapsed)));
        let counted = |(place, (name, value)): (usize, (&'static str, u64))| {
            // A process that was started again counts from zero.
            let grown = |(earlier, elapsed): (&Vec<u64>, f64)| Some(value.saturating_sub(*earlier.get(place)?) as f64 / elapsed);
            Counted { name, value, per_s: earlier.and_then(grown) }
        };
        let now = counters(attached, process).unwrap_or_default();
        Work { cpu_percent, counters: now.into_iter().enumerate().map(counted).collect() }
    }

    fn pace(&mut self, attached: &Attached, sims: &mut Sims, of: &MatchStatus) -> Pace {
        let track = self.tracks.entry(of.id).or_default();
        track.fills.push_back(of.inbox.used_bytes);
        if track.fills.len() > TOP_FILLS_KEPT {
            track.fills.pop_front();
        }
        let recent = sim(attached, sims, of).and_then(|page| {
            let times = |which| page.times(of.slot, of.id, which);
            Some(track.recent([times(TickHistogram::Took)?, times(TickHistogram::Late)?]))
        });
        let [took, late] = recent.unwrap_or_default();
        Pace { took, late, fills: track.fills.iter().copied().collect() }
    }
}

impl Track {
    /// What was counted since the older copy: in the last looks, once there were some.
    fn recent(&mut self, now: [worker::Times; 2]) -> [Times; 2] {
        let since = |which: usize| {
            let now = &now[which];
            let worker::Quantiles { p50, p99, max, .. } =
                self.older.as_ref().map_or_else(|| now.quantiles(), |older| now.since(&older[which]).quantiles());
            Times { p50, p99, max }
        };
        let recent = [since(0), since(1)];
        self.looks += 1;
        if self.newer.is_none() || self.looks >= TOP_TIMES_LOOKS {
            self.looks = 0;
            self.older = self.newer.replace(now);
        }
        recent
    }
}

/// The page of the sim that has a match.
fn sim<'s>(attached: &Attached, sims: &'s mut Sims, of: &MatchStatus) -> Option<WorkerPage<'s>> {
    let segment = sims.entry(of.owner_slot).or_insert_with(|| attached.worker(Role::Sim, of.owner_slot));
    segment.as_ref().map(WorkerPage::new)
}

/// A process's counters, if it has some.
fn counters(attached: &Attached, process: &ProcessStatus) -> Option<Vec<(&'static str, u64)>> {
    let (role, names) = match process.role {
        "frontend" | "standby-frontend" => (Role::Frontend, crate::frontend::counters::NAMES),
        "sim" | "standby" => (Role::Sim, crate::sim::counters::NAMES),
        "hook" => (Role::Hook, crate::hook::counters::NAMES),
        "admin" => (Role::Admin, crate::admin::counters::NAMES),
        _ => return None,
    };
    let slot = if process.role == "standby-frontend" { FRONTEND_STANDBY } else { process.slot };
    let segment = attached.worker(role, slot)?;
    let page = WorkerPage::new(&segment);
    Some(names.iter().enumerate().map(|(counter, name)| (*name, page.counter(counter))).collect())
}

/// Microseconds of processor time that this process has used.
fn own_cpu_us() -> u64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}
