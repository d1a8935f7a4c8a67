//! `ringfort metrics` and `/metrics`: the instance's numbers as OpenMetrics text, from the directory, the workers' pages and the heads of the newest
//! roots. No page of a world is copied, whatever the matches hold.

pub mod families;
mod page;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{Role, RootHead, Stopping, WorkerEntry, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::{EXTENT_BYTES, PAGE_BYTES};
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Segment, unpadded};
use ringfort_shm_state::worker::{TickHistogram, Times, WorkerPage};

use crate::attach::{AttachError, Attached};
use crate::limits::{FRONTEND_STANDBY, METRICS_MATCHES_MAX};
use crate::look::{print, tell_damage};
use families::{Family, Fixed, of_counter};
use page::{Page, Value};

/// What `/metrics` says that it is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Flags of `metrics`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  ringfort metrics\n  ringfort metrics --from night.ringfort")]
pub struct MetricsArgs {
    /// Look at an instance in a file that `ringfort save` wrote, instead of at one on this machine
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// The name of the matches beyond those that are named.
const OTHER: &str = "other";

/// Upper bounds of a histogram's buckets, as powers of two of microseconds: what the shared histograms tell exactly.
const BUCKETS: std::ops::RangeInclusive<u32> = 7..=23;

/// Prints an instance's metrics.
pub fn show(instance: &str, args: &MetricsArgs) -> Result<(), AttachError> {
    let attached = match &args.from {
        Some(path) => Attached::saved(path)?,
        None => Attached::open(instance)?,
    };
    print(&text(&attached));
    tell_damage(&attached);
    Ok(())
}

/// The numbers of an instance.
pub fn text(attached: &Attached) -> String {
    let directory = Directory::new(&attached.directory);
    let workers: Vec<Worker> = directory.workers().filter_map(|entry| Worker::of(attached, entry)).collect();
    let matches = matches(attached, &workers);
    let mut page = Page::default();
    for fixed in Fixed::ALL {
        let family = fixed.family();
        page.family(&family);
        let mut sheet = Sheet { page: &mut page, family: &family, instance: &attached.name };
        match instance_value(*fixed, attached, directory) {
            Some(value) => sheet.instance_sample(*fixed, value),
            None => {
                workers.iter().for_each(|worker| sheet.worker_sample(*fixed, worker));
                matches.iter().for_each(|(name, of)| sheet.match_sample(*fixed, name, of));
            }
        }
    }
    for (role, names) in COUNTED {
        for (counter, name) in names.iter().enumerate() {
            let family = of_counter(name);
            page.family(&family);
            for worker in workers.iter().filter(|worker| worker.segment_role() == *role) {
                let Some(segment) = &worker.segment else { continue };
                let slot = worker.entry.slot.to_string();
                let labels = [("instance", attached.name.as_str()), ("slot", slot.as_str())];
                page.sample(&family, &labels, Value::Whole(WorkerPage::new(segment).counter(counter)));
            }
        }
    }
    page.end()
}

/// Whose segments count what.
const COUNTED: &[(Role, &[&str])] = &[
    (Role::Frontend, crate::frontend::counters::NAMES),
    (Role::Sim, crate::sim::counters::NAMES),
    (Role::Hook, crate::hook::counters::NAMES),
    (Role::Admin, crate::admin::counters::NAMES),
];

/// All metrics, with samples or without.
pub fn all_families() -> Vec<Family> {
    let counters = COUNTED.iter().flat_map(|(_, names)| names.iter().map(|name| of_counter(name)));
    Fixed::ALL.iter().map(|fixed| fixed.family()).chain(counters).collect()
}

/// A process and its segment.
struct Worker {
    role: Role,
    entry: WorkerEntry,
    segment: Option<Segment>,
    up: bool,
    cpu_ms: u64,
    resident_bytes: u64,
    heartbeat_age_us: Option<u64>,
}

impl Worker {
    fn of(attached: &Attached, entry: WorkerEntry) -> Option<Worker> {
        let role = Role::from_u32(entry.role)?;
        let lives = attached.moment.is_alive(ProcessId { pid: entry.pid, start_time: entry.start_time });
        let usage = attached.moment.usage(entry.pid).filter(|_| lives).unwrap_or_default();
        let segment = attached.worker(role, entry.slot);
        let heartbeat = segment.as_ref().map(|segment| WorkerPage::new(segment).heartbeat()).filter(|beat| *beat > 0);
        Some(Worker {
            role,
            entry,
            segment,
            up: lives && !matches!(attached.moment.state(entry.pid), Some('T' | 't')),
            cpu_ms: usage.cpu_ms,
            resident_bytes: usage.resident_bytes,
            heartbeat_age_us: heartbeat.map(|beat| attached.moment.now_us().saturating_sub(beat)),
        })
    }

    /// Whose kind of segment it has: who stands by has that of what it will be.
    fn segment_role(&self) -> Role {
        match self.role {
            Role::Standby if self.entry.slot == FRONTEND_STANDBY => Role::Frontend,
            Role::Standby => Role::Sim,
            role => role,
        }
    }

    fn role_name(&self) -> &'static str {
        if self.role == Role::Standby && self.entry.slot == FRONTEND_STANDBY { "standby-frontend" } else { self.role.name() }
    }
}

/// A match, or several.
#[derive(Default)]
struct Numbers {
    ticks: u64,
    paused: u64,
    commit_age_us: u64,
    sessions: u64,
    spectators: u64,
    capacity: u64,
    entities: u64,
    arena_bytes: u64,
    inbox_bytes: u64,
    inbox_capacity: u64,
    inbox_refused: u64,
    repairs: u64,
    asks: u64,
    took: Times,
    late: Times,
}

/// The matches that go on, by name: so many by themselves, the rest as one. Of ages the greatest counts, of all else the sum.
fn matches(attached: &Attached, workers: &[Worker]) -> BTreeMap<String, Numbers> {
    let mut named: BTreeMap<String, Numbers> = BTreeMap::new();
    for (slot, entry) in Directory::new(&attached.directory).zones().filter(|(_, entry)| entry.lives()) {
        let name = unpadded(&entry.name);
        let has_room = named.len() < METRICS_MATCHES_MAX || named.contains_key(&name);
        let numbers = named.entry(if has_room { name } else { OTHER.to_owned() }).or_default();
        let owner = workers.iter().find(|worker| worker.segment_role() == Role::Sim && worker.entry.slot == entry.owner_sim);
        numbers.add(attached, slot, &entry, owner.and_then(|owner| owner.segment.as_ref()));
    }
    named
}

impl Numbers {
    fn add(&mut self, attached: &Attached, slot: usize, entry: &ZoneEntry, sim: Option<&Segment>) {
        let head = attached.world.newest(slot).ok().map(|root| root.head).filter(|head| head.incarnation == entry.incarnation);
        self.paused += u64::from(entry.state == ZoneState::Paused as u32);
        self.capacity += u64::from(entry.capacity);
        if let Some(head) = &head {
            self.add_head(head, attached.moment.now_us());
        }
        let memory = attached.inbox.memory();
        if let Some(inbox) = Inbox::new(memory, slot, entry.inbox_offset, entry.inbox_bytes) {
            let waiting = head.map_or(0, |head| inbox.tail(memory).saturating_sub(head.net_cursor));
            self.inbox_bytes = self.inbox_bytes.saturating_add(waiting);
            self.inbox_capacity += inbox.capacity();
            self.inbox_refused = self.inbox_refused.saturating_add(inbox.refused(memory));
            self.repairs = self.repairs.saturating_add(inbox.repairs(memory));
        }
        let page = sim.map(WorkerPage::new);
        let times = |which| page.and_then(|page| page.times(slot, entry.incarnation, which)).unwrap_or_default();
        self.took.add(&times(TickHistogram::Took));
        self.late.add(&times(TickHistogram::Late));
    }

    fn add_head(&mut self, head: &RootHead, now_us: u64) {
        self.ticks += u64::from(head.tick);
        self.commit_age_us = self.commit_age_us.max(now_us.saturating_sub(head.published_us));
        self.sessions += u64::from(head.sessions.saturating_sub(head.spectators));
        self.spectators += u64::from(head.spectators);
        self.entities += u64::from(head.entities);
        self.arena_bytes += u64::from(head.pages_used) * PAGE_BYTES as u64;
        self.asks += u64::from(head.asks);
    }
}

fn instance_value(fixed: Fixed, attached: &Attached, directory: Directory<'_>) -> Option<Value> {
    let zones = || directory.zones().filter(|(_, entry)| entry.lives());
    let extents = |n: u64| Value::Whole(n.saturating_mul(EXTENT_BYTES as u64));
    Some(match fixed {
        Fixed::Instance => Value::Whole(1),
        Fixed::Uptime => seconds(attached.moment.boot_us().saturating_sub(attached.instance.started_us)),
        Fixed::Stopping => Value::Whole((attached.instance.stopping != Stopping::No as u32).into()),
        Fixed::PeersRefused => Value::Whole(directory.peers_refused()),
        Fixed::ArenaBytes => extents(attached.world.extents() as u64),
        Fixed::ArenaUsed => extents(attached.world.extents_used() as u64),
        Fixed::ArenaReserved => extents(zones().fold(0, |sum: u64, (_, entry)| sum.saturating_add(entry.extents_reserved))),
        Fixed::Matches => Value::Whole(zones().count() as u64),
        _ => return None,
    })
}

fn seconds(us: u64) -> Value {
    Value::Real(us as f64 / 1e6)
}

/// The samples of one family.
struct Sheet<'p> {
    page: &'p mut Page,
    family: &'p Family,
    instance: &'p str,
}

impl Sheet<'_> {
    fn instance_sample(&mut self, fixed: Fixed, value: Value) {
        let name = ("instance", self.instance);
        let version = ("version", env!("CARGO_PKG_VERSION"));
        match fixed {
            Fixed::Instance => self.page.sample(self.family, &[name, version], value),
            _ => self.page.sample(self.family, &[name], value),
        }
    }

    fn worker_sample(&mut self, fixed: Fixed, worker: &Worker) {
        let value = match fixed {
            Fixed::ProcessUp => Value::Whole(worker.up.into()),
            Fixed::ProcessRestarts => Value::Whole(worker.entry.restarts.into()),
            Fixed::ProcessCpu => Value::Real(worker.cpu_ms as f64 / 1000.0),
            Fixed::ProcessMemory => Value::Whole(worker.resident_bytes),
            Fixed::ProcessHeartbeat => match worker.heartbeat_age_us {
                Some(age_us) => seconds(age_us),
                None => return,
            },
            _ => return,
        };
        let slot = worker.entry.slot.to_string();
        let labels = [("instance", self.instance), ("role", worker.role_name()), ("slot", slot.as_str())];
        self.page.sample(self.family, &labels, value);
    }

    fn match_sample(&mut self, fixed: Fixed, name: &str, of: &Numbers) {
        let value = match fixed {
            Fixed::MatchTicks => Value::Whole(of.ticks),
            Fixed::MatchPaused => Value::Whole(of.paused),
            Fixed::MatchCommitAge => seconds(of.commit_age_us),
            Fixed::MatchSessions => Value::Whole(of.sessions),
            Fixed::MatchSpectators => Value::Whole(of.spectators),
            Fixed::MatchCapacity => Value::Whole(of.capacity),
            Fixed::MatchEntities => Value::Whole(of.entities),
            Fixed::MatchArena => Value::Whole(of.arena_bytes),
            Fixed::MatchInbox => Value::Whole(of.inbox_bytes),
            Fixed::MatchInboxCapacity => Value::Whole(of.inbox_capacity),
            Fixed::MatchInboxRefused => Value::Whole(of.inbox_refused),
            Fixed::MatchLockRepairs => Value::Whole(of.repairs),
            Fixed::MatchAsks => Value::Whole(of.asks),
            Fixed::MatchDuration => return self.buckets(name, &of.took),
            Fixed::MatchLateness => return self.buckets(name, &of.late),
            _ => return,
        };
        self.page.sample(self.family, &[("instance", self.instance), ("match", name)], value);
    }

    /// A histogram without a sum, which nobody counts.
    fn buckets(&mut self, name: &str, times: &Times) {
        for power in BUCKETS {
            let bound_us = (1u64 << power) - 1;
            let bound = format!("{:.6}", bound_us as f64 / 1e6);
            self.bucket(name, &bound, times.at_most(bound_us));
        }
        self.bucket(name, "+Inf", times.at_most(u64::MAX));
    }

    fn bucket(&mut self, name: &str, bound: &str, count: u64) {
        self.page.sample(self.family, &[("instance", self.instance), ("match", name), ("le", bound)], Value::Whole(count));
    }
}

#[cfg(test)]
mod tests;
