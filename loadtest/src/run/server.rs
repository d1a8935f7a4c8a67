//! What the server's processes do meanwhile, read from its shared memory and from the kernel: only on the machine that it runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringfort::attach::Attached;
use ringfort::frontend::counters as frontend;
use ringfort::shm_state::directory::Directory;
use ringfort::shm_state::layout::Role;
use ringfort::shm_state::process::ProcessId;
use ringfort::shm_state::worker::{Quantiles, TickHistogram, Times, WorkerPage};
use serde_json::{Value, json};

use super::footprint::Footprint;
use crate::cpu;

/// The roles that processor time is told for; the rest, such as the hook process and those that stand by, are in the total.
const ROLES: [&str; 3] = ["frontend", "sim", "supervisor"];
/// Counters of front-ends that the figures need.
const COUNTERS: [usize; 4] = [frontend::UDP_IN, frontend::UDP_OUT, frontend::DATAGRAMS, frontend::SNAPSHOTS];

/// An instance on this machine that is looked at.
pub(super) struct Watch {
    attached: Attached,
    last: Sample,
    /// What each second was like, by its number in the Unix epoch.
    pub(super) seconds: BTreeMap<u64, Value>,
    /// The generator's processes, which read its memory.
    pub(super) readers: Vec<u32>,
    footprint: Footprint,
}

/// The instance's sums at one moment.
#[derive(Clone)]
pub(super) struct Sample {
    at: Instant,
    /// Processor time by process: its role and its pid.
    cpu: BTreeMap<(&'static str, u32), Duration>,
    /// Processor time of the sims that have matches, as the scheduler counts it; nothing where it does not.
    stepping: Option<Duration>,
    counters: [u64; COUNTERS.len()],
    took: Times,
    late: Times,
}

impl Watch {
    /// Attaches the instance, if it is the server; else one sentence says why there will be no figures of it.
    pub(super) fn open(instance: &str, server: SocketAddr) -> Result<Watch, String> {
        let attached = Attached::open(instance).map_err(|error| error.to_string())?;
        if attached.instance.listen_port != u32::from(server.port()) {
            let port = attached.instance.listen_port;
            return Err(format!(
                "instance \"{instance}\" listens on port {port}, not on {}: name the other by --instance",
                server.port()
            ));
        }
        let last = Sample::of(&attached);
        Ok(Watch { attached, last, seconds: BTreeMap::new(), readers: Vec::new(), footprint: Footprint::default() })
    }

    /// The sums as they are now.
    pub(super) fn sample(&self) -> Sample {
        Sample::of(&self.attached)
    }

    /// Notes what the second that has just passed was like.
    pub(super) fn second_is_over(&mut self, number: u64) {
        let now = self.sample();
        let mut second = now.since(&self.last);
        if let Some(memory) = self.footprint.look(now.at, &now.pids(), &self.readers) {
            second["rss_bytes"] = json!(memory.rss_bytes);
            second["pss_bytes"] = json!(memory.pss_bytes);
        }
        self.seconds.insert(number, second);
        self.last = now;
    }

    /// The figures of the time between two samples.
    pub(super) fn figures(&mut self, from: &Sample, to: &Sample) -> Value {
        let mut figures = to.since(from);
        let memory = self.footprint.look_now(to.at, &to.pids(), &self.readers);
        figures["memory"] = self.footprint.json(from.at);
        figures["rss_bytes"] = json!(memory.rss_bytes);
        figures["pss_bytes"] = json!(memory.pss_bytes);
        figures["instance"] = json!(self.attached.name);
        figures
    }
}

impl Sample {
    fn of(attached: &Attached) -> Sample {
        let directory = Directory::new(&attached.directory);
        let mut sample = Sample {
            at: Instant::now(),
            cpu: BTreeMap::new(),
            stepping: None,
            counters: [0; _],
            took: Times::default(),
            late: Times::default(),
        };
        let mut sims = BTreeSet::new();
        for entry in directory.workers() {
            let Some(role) = Role::from_u32(entry.role) else { continue };
            let lives = ProcessId { pid: entry.pid, start_time: entry.start_time }.is_alive();
            if let Some(used) = lives.then(|| cpu::used(entry.pid).ok()).flatten() {
                sample.cpu.insert((role.name(), entry.pid), used);
            }
            if role == Role::Frontend
                && let Some(segment) = attached.worker(role, entry.slot)
            {
                let page = WorkerPage::new(&segment);
                for (sum, counter) in sample.counters.iter_mut().zip(COUNTERS) {
                    *sum += page.counter(counter);
                }
            }
        }
        for (slot, zone) in directory.zones() {
            let Some(segment) = attached.worker(Role::Sim, zone.owner_sim) else { continue };
            sims.insert(zone.owner_sim);
            let page = WorkerPage::new(&segment);
            for (sum, which) in [(&mut sample.took, TickHistogram::Took), (&mut sample.late, TickHistogram::Late)] {
                if let Some(times) = page.times(slot, zone.incarnation, which) {
                    sum.add(&times);
                }
            }
        }
        let at_work = directory.workers().filter(|entry| entry.role == Role::Sim as u32 && sims.contains(&entry.slot));
        sample.stepping = at_work.map(|entry| cpu::used_exactly(entry.pid).ok()).sum();
        sample
    }

    fn pids(&self) -> Vec<u32> {
        self.cpu.keys().map(|(_, pid)| *pid).collect()
    }

    /// What happened since an earlier sample.
    fn since(&self, earlier: &Sample) -> Value {
        let seconds = (self.at - earlier.at).as_secs_f64().max(1e-6);
        let percent = |role: Option<&str>| {
            let of_role = self.cpu.iter().filter(|((of, _), _)| role.is_none_or(|role| role == *of));
            let used = of_role.map(|(process, used)| used.saturating_sub(earlier.cpu.get(process).copied().unwrap_or_default()));
            100.0 * used.sum::<Duration>().as_secs_f64() / seconds
        };
        let mut cpu_percent: BTreeMap<&str, f64> = ROLES.iter().map(|role| (*role, percent(Some(role)))).collect();
        cpu_percent.insert("total", percent(None));
        let counted: Vec<f64> =
            self.counters.iter().zip(earlier.counters).map(|(now, before)| now.saturating_sub(before) as f64).collect();
        let ratio = |packets: f64, datagrams: f64| if datagrams > 0.0 { Some(packets / datagrams) } else { None };
        let took = self.took.since(&earlier.took).quantiles();
        let stepping = self.stepping.zip(earlier.stepping).filter(|_| took.count > 0);
        let tick_cpu_us = stepping.map(|(now, before)| now.saturating_sub(before).as_nanos() as f64 / 1e3 / took.count as f64);
        json!({
            "cpu_percent": cpu_percent,
            "tick_cpu_us": tick_cpu_us,
            "tick_us": quantiles(&took),
            "tick_late_us": quantiles(&self.late.since(&earlier.late).quantiles()),
            "packets_per_datagram": { "in": ratio(counted[0], counted[2]), "out": ratio(counted[1], counted[3]) },
            "packets": { "in": counted[0], "out": counted[1] },
            "datagrams": { "in": counted[2], "out": counted[3] },
        })
    }
}

fn quantiles(times: &Quantiles) -> Value {
    json!({ "count": times.count, "p50": times.p50, "p99": times.p99, "max": times.max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_time_between_two_samples() {
        let at = Instant::now();
        let sample = |seconds, ms, counters| Sample {
            at: at + Duration::from_secs(seconds),
            cpu: [(("frontend", 7), Duration::from_millis(ms)), (("standby", 9), Duration::from_millis(ms))].into(),
            stepping: None,
            counters,
            took: Times::default(),
            late: Times::default(),
        };
        let between = sample(2, 1_500, [110, 220, 100, 200]).since(&sample(0, 500, [0; 4]));
        assert_eq!((&between["cpu_percent"]["frontend"], &between["cpu_percent"]["total"]), (&json!(50.0), &json!(100.0)));
        assert_eq!(between["packets_per_datagram"], json!({ "in": 1.1, "out": 1.1 }));
        let nothing = sample(2, 0, [5; 4]).since(&sample(0, 0, [5; 4]));
        assert_eq!(nothing["packets_per_datagram"]["in"], Value::Null);
    }
}
