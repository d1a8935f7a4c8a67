//! `ringfort status` and `ringfort matches list`: an instance's state, read from shared memory and from the kernel alone.
//!
//! Nobody is asked, so the answer comes even while every process of the instance is stopped. The structs here are the
//! contract of `--json`: keys may be added, none is renamed or removed.

mod show;
mod text;
mod zones;

pub use show::{MatchShown, SessionShown, ShowError, away_s, code_of, events_behind, find_session, session_shown, show};
pub use zones::{ZoneShown, Zones, zones};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{
    PauseReason, Role, RootFlags, RootHead, Stopping, WorkerEntry, WorkerState, ZoneEntry, ZoneState,
};
use ringfort_shm_state::limits::MAX_COUNTERS;
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Segment, unpadded};
use ringfort_shm_state::worker::{Quantiles, TickHistogram, WorkerPage};
use serde::Serialize;

use crate::attach::{AttachError, Attached};
use crate::config::LogLevel;
use crate::frontend::counters as frontend;
use crate::frontend::shed::in_words;
use crate::limits::FRONTEND_STANDBY;
use crate::look::{Paper, Shown};
use crate::saved::Moment;

/// Everything that `status` tells.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Name of the instance.
    pub instance: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Address that clients connect to.
    pub listen: SocketAddr,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// Whether it takes no new players, and stops when all have gone.
    pub draining: bool,
    /// Whether its supervisor has died and its workers go on.
    pub orphaned: bool,
    /// Its processes.
    pub processes: Vec<ProcessStatus>,
    /// Its matches, by slot.
    pub matches: Vec<MatchStatus>,
    /// Sessions of all matches.
    pub sessions: u64,
    /// The memory of the worlds.
    pub arena: ArenaStatus,
    /// Counters by name, each summed over the workers that count it.
    pub counters: BTreeMap<&'static str, u64>,
}

/// One process.
#[derive(Debug, Serialize)]
pub struct ProcessStatus {
    /// What it is for: "supervisor", "frontend", "sim", "hook"; "standby" is a sim, "standby-frontend" a front-end that waits to take over.
    pub role: &'static str,
    /// Which of its kind.
    pub slot: u32,
    /// Its process id, or that of the last one here.
    pub pid: u32,
    /// "starting", "running", "draining", "stopping"; "stopped" by a signal, "zombie", "dead".
    pub state: &'static str,
    /// How often it was started again.
    pub restarts: u32,
    /// Resident bytes, shared ones too.
    pub rss_bytes: u64,
    /// Resident bytes that are its own.
    pub private_bytes: u64,
    /// Processor time since its start, in seconds.
    pub cpu_s: f64,
    /// Milliseconds since it last went through its loop; `None` where there is no heartbeat.
    pub heartbeat_age_ms: Option<u64>,
    /// The level from which on it logs: "error", "warn", "info", "debug", "trace"; `None` before it logs.
    pub log_level: Option<&'static str>,
    /// How much a front-end does without because it is overloaded, from 0 for nothing to 6; `None` for other processes.
    pub shed_level: Option<u64>,
    /// The same in words; `None` at level 0.
    pub sheds: Option<String>,
}

/// One match.
#[derive(Debug, Serialize)]
pub struct MatchStatus {
    /// Never used again for another.
    pub id: u64,
    /// Its slot in the directory, which a later match may have again.
    pub slot: usize,
    /// What clients ask for.
    pub name: String,
    /// "opening", "running", "closing", "ended"; "failed" when its sim could not open it or take it over; "paused" when nobody steps it.
    pub state: &'static str,
    /// Why it is paused: "faults" of the game, or unexplained "deaths" of its sims.
    pub paused: Option<&'static str>,
    /// Whether it runs alone in its process, because the last one died of it.
    pub alone: bool,
    /// The newest committed tick.
    pub tick: u32,
    /// Ticks a second.
    pub tick_hz: u32,
    /// The sim that steps it.
    pub owner_slot: u32,
    /// Grows each time that its sim's process is replaced.
    pub epoch: u32,
    /// What it is about, in the game's words; empty when it says nothing.
    pub label: String,
    /// Whether it takes no new players.
    pub locked: bool,
    /// Whether it is joined only with a code.
    pub private: bool,
    /// Sessions in it, of players and of spectators.
    pub sessions: u32,
    /// Players that fit.
    pub capacity: u32,
    /// Sessions in it that only watch.
    pub spectators: u32,
    /// Spectators that fit.
    pub spectator_capacity: u32,
    /// Entities alive.
    pub entities: u32,
    /// Requests to the outside that wait for their answers, results among them.
    pub asks: u32,
    /// Results that nobody has taken yet.
    pub results: u32,
    /// Pages of the arena that it holds.
    pub pages: u32,
    /// Extents of the arena that are set aside for it as long as it lives.
    pub extents_reserved: u64,
    /// Duration of its ticks, in microseconds.
    pub tick_us: Times,
    /// How late its ticks began, in microseconds.
    pub tick_late_us: Times,
    /// Its players' inbox.
    pub inbox: InboxStatus,
}

/// Quantiles of a histogram. All zero before anything was counted.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Times {
    /// Half are at most this.
    pub p50: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

/// A match's inbox.
#[derive(Debug, Default, Serialize)]
pub struct InboxStatus {
    /// Bytes appended and not yet part of the world.
    pub used_bytes: u64,
    /// Bytes that fit.
    pub capacity_bytes: u64,
    /// Records that were refused because it was full; counted over all matches of the slot.
    pub refused: u64,
    /// Times that its lock was taken from a front-end that died with it, or its end was mended; counted over all matches of the slot.
    pub repairs: u64,
}

/// The arena.
#[derive(Debug, Serialize)]
pub struct ArenaStatus {
    /// Extents of 64 KiB in all.
    pub extents_total: usize,
    /// Extents that matches own.
    pub extents_used: usize,
    /// Extents that are set aside for matches: what is left of all decides whether another may be created.
    pub extents_reserved: u64,
    /// Pages of 4 KiB that matches hold.
    pub pages_used: u64,
}

/// The workers' own segments, by role and slot.
type Pages = BTreeMap<(&'static str, u32), Segment>;

impl ProcessStatus {
    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, "dead" | "zombie")
    }

    /// What it is called.
    pub fn name(&self) -> String {
        if self.role == STANDBY_FRONTEND { self.role.to_owned() } else { format!("{} {}", self.role, self.slot) }
    }
}

impl InboxStatus {
    /// Per cent of it that are used.
    pub fn percent(&self) -> u64 {
        percent(self.used_bytes, self.capacity_bytes)
    }
}

impl ArenaStatus {
    /// Per cent of its extents that matches own.
    pub fn percent(&self) -> u64 {
        percent(self.extents_used as u64, self.extents_total as u64)
    }
}

fn percent(used: u64, of: u64) -> u64 {
    (u128::from(used) * 100 / u128::from(of.max(1))).min(999) as u64
}

impl Status {
    /// Whether none of its processes lives.
    pub fn is_dead(&self) -> bool {
        self.processes.iter().all(ProcessStatus::is_dead)
    }

    /// Looks at an instance that runs, or lies in shared memory, under this name.
    pub fn of(instance: &str) -> Result<Status, AttachError> {
        Ok(Self::look(&Attached::open(instance)?))
    }

    /// Looks at an instance.
    pub fn look(attached: &Attached) -> Status {
        let directory = Directory::new(&attached.directory);
        let entries: Vec<(Role, WorkerEntry)> =
            directory.workers().filter_map(|entry| Some((Role::from_u32(entry.role)?, entry))).collect();
        let own = |(role, entry): &(Role, WorkerEntry)| {
            Some(((segment_of(*role, entry.slot), entry.slot), attached.worker(*role, entry.slot)?))
        };
        let pages: Pages = entries.iter().filter_map(own).collect();
        let matches: Vec<MatchStatus> =
            directory.zones().map(|(slot, entry)| match_status(attached, &pages, slot, &entry)).collect();
        let moment = &attached.moment;
        let lives =
            |(_, entry): &&(Role, WorkerEntry)| moment.is_alive(ProcessId { pid: entry.pid, start_time: entry.start_time });
        let living: Vec<Role> = entries.iter().filter(lives).map(|(role, _)| *role).collect();
        Status {
            orphaned: !living.is_empty() && !living.contains(&Role::Supervisor),
            uptime_s: moment.boot_us().saturating_sub(attached.instance.started_us) / 1_000_000,
            listen: listen(attached),
            stopping: attached.instance.stopping == Stopping::Now as u32,
            draining: attached.instance.stopping == Stopping::Drains as u32,
            processes: entries.iter().map(|(role, entry)| process_status(attached, *role, entry, &pages)).collect(),
            sessions: matches.iter().map(|entry| u64::from(entry.sessions)).sum(),
            arena: ArenaStatus {
                extents_total: attached.world.extents(),
                extents_used: attached.world.extents_used(),
                extents_reserved: matches.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.extents_reserved)),
                pages_used: matches.iter().map(|entry| u64::from(entry.pages)).sum(),
            },
            counters: counters(&pages),
            matches,
            instance: attached.name.clone(),
        }
    }

    /// The processes alone, each with its entry.
    pub(crate) fn processes(attached: &Attached) -> Vec<(Role, WorkerEntry, ProcessStatus)> {
        let entries =
            Directory::new(&attached.directory).workers().filter_map(|entry| Some((Role::from_u32(entry.role)?, entry)));
        let entries: Vec<(Role, WorkerEntry)> = entries.collect();
        let own = |(role, entry): &(Role, WorkerEntry)| {
            Some(((segment_of(*role, entry.slot), entry.slot), attached.worker(*role, entry.slot)?))
        };
        let pages: Pages = entries.iter().filter_map(own).collect();
        let status = |(role, entry): (Role, WorkerEntry)| (role, entry, process_status(attached, role, &entry, &pages));
        entries.into_iter().map(status).collect()
    }

    /// The matches alone.
    pub fn into_matches(self) -> Matches {
        Matches { instance: self.instance, matches: self.matches }
    }
}

/// What `matches list` tells.
#[derive(Debug, Serialize)]
pub struct Matches {
    /// Name of the instance.
    pub instance: String,
    /// Its matches, by slot.
    pub matches: Vec<MatchStatus>,
}

impl Shown for Status {
    fn text(&self, paper: &Paper) -> String {
        text::status(self, paper)
    }
}

impl Shown for Matches {
    fn text(&self, paper: &Paper) -> String {
        text::matches(&self.matches, paper)
    }
}

impl Shown for MatchShown {
    fn text(&self, paper: &Paper) -> String {
        text::shown(self, paper)
    }
}

fn listen(attached: &Attached) -> SocketAddr {
    let ip: IpAddr = Ipv6Addr::from(attached.instance.listen_ip).to_canonical();
    SocketAddr::new(ip, attached.instance.listen_port as u16)
}

/// Whose segment a worker has: a sim that stands by is a sim.
fn segment_of(role: Role, slot: u32) -> &'static str {
    match role {
        Role::Standby if slot == FRONTEND_STANDBY => Role::Frontend.name(),
        Role::Standby => Role::Sim.name(),
        role => role.name(),
    }
}

/// What the front-end that stands by is shown as; there is one.
const STANDBY_FRONTEND: &str = "standby-frontend";

/// What a worker is shown as.
pub(crate) fn shown_as(role: Role, slot: u32) -> &'static str {
    if role == Role::Standby && slot == FRONTEND_STANDBY { STANDBY_FRONTEND } else { role.name() }
}

fn process_status(attached: &Attached, role: Role, entry: &WorkerEntry, pages: &Pages) -> ProcessStatus {
    let moment = &attached.moment;
    // It has no segment of its own, and does as it tells the others.
    let supervisor_level = attached.instance.log_levels[Role::Supervisor as usize];
    let id = ProcessId { pid: entry.pid, start_time: entry.start_time };
    let usage = moment.usage(entry.pid).filter(|_| moment.is_alive(id)).unwrap_or_default();
    let page = pages.get(&(segment_of(role, entry.slot), entry.slot)).map(WorkerPage::new);
    let heartbeat = page.as_ref().map(WorkerPage::heartbeat);
    let log_level = page.as_ref().map_or(supervisor_level, WorkerPage::log_level);
    let log_level = LogLevel::from_number(log_level).map(LogLevel::name);
    let shed_level = page.filter(|_| role == Role::Frontend).map(|page| page.counter(frontend::SHED_LEVEL));
    ProcessStatus {
        role: shown_as(role, entry.slot),
        slot: entry.slot,
        pid: entry.pid,
        state: process_state(moment, entry, id),
        restarts: entry.restarts,
        rss_bytes: usage.resident_bytes,
        private_bytes: usage.resident_bytes.saturating_sub(usage.shared_bytes),
        cpu_s: usage.cpu_ms as f64 / 1000.0,
        heartbeat_age_ms: heartbeat.filter(|beat| *beat > 0).map(|beat| moment.now_us().saturating_sub(beat) / 1000),
        log_level,
        shed_level,
        sheds: shed_level.and_then(in_words),
    }
}

/// The kernel's word on whether the process lives, the supervisor's on what it is up to.
fn process_state(moment: &Moment, entry: &WorkerEntry, id: ProcessId) -> &'static str {
    let dead = entry.state == WorkerState::Dead as u32;
    match moment.state(entry.pid).filter(|_| !dead) {
        Some('Z' | 'X') => "zombie",
        Some(_) if !moment.is_alive(id) => "dead",
        Some('T' | 't') => "stopped",
        Some(_) if entry.state == WorkerState::Starting as u32 => "starting",
        Some(_) if entry.state == WorkerState::Stopping as u32 => "stopping",
        Some(_) if entry.state == WorkerState::Draining as u32 => "draining",
        Some(_) => "running",
        None => "dead",
    }
}

fn match_status(attached: &Attached, pages: &Pages, slot: usize, entry: &ZoneEntry) -> MatchStatus {
    let head = attached.world.newest(slot).ok().map(|root| root.head);
    let head = head.filter(|head| head.incarnation == entry.incarnation);
    let sim = pages.get(&(Role::Sim.name(), entry.owner_sim)).map(WorkerPage::new);
    let failed = sim.is_some_and(|page| page.has_failed(slot, entry.incarnation));
    let times = |which| {
        let quantiles = sim.and_then(|page| page.quantiles(slot, entry.incarnation, which));
        quantiles.map(|Quantiles { p50, p99, max, .. }| Times { p50, p99, max }).unwrap_or_default()
    };
    let lives = head.is_some_and(|head| head.flags & RootFlags::ENDED == 0);
    let life = lives.then(|| show::life(&attached.world, slot, entry)).flatten();
    MatchStatus {
        id: entry.incarnation,
        slot,
        name: unpadded(&entry.name),
        state: match_state(entry, failed, head.as_ref()),
        paused: PauseReason::from_u32(entry.pause).map(|reason| match reason {
            PauseReason::Faults => "faults",
            PauseReason::Deaths => "deaths",
        }),
        alone: entry.alone != 0,
        tick: head.map_or(0, |head| head.tick),
        tick_hz: entry.tick_hz,
        owner_slot: entry.owner_sim,
        epoch: entry.epoch,
        label: life.map_or(String::new(), |life| unpadded(&life.label)),
        locked: head.is_some_and(|head| head.flags & RootFlags::LOCKED != 0),
        private: show::is_private(entry),
        sessions: head.map_or(0, |head| head.sessions),
        spectators: head.map_or(0, |head| head.spectators),
        spectator_capacity: entry.spectators,
        capacity: entry.capacity,
        entities: head.map_or(0, |head| head.entities),
        asks: head.map_or(0, |head| head.asks),
        results: head.map_or(0, |head| head.results),
        pages: head.map_or(0, |head| head.pages_used),
        extents_reserved: entry.extents_reserved,
        tick_us: times(TickHistogram::Took),
        tick_late_us: times(TickHistogram::Late),
        inbox: inbox_status(attached, slot, entry, head.as_ref()),
    }
}

fn match_state(entry: &ZoneEntry, failed: bool, head: Option<&RootHead>) -> &'static str {
    let flags = head.map(|head| head.flags);
    match flags {
        _ if entry.state == ZoneState::Closed as u32 => "ended",
        _ if entry.state == ZoneState::Paused as u32 => "paused",
        _ if failed => "failed",
        None => "opening",
        Some(flags) if flags & RootFlags::ENDED != 0 => "ended",
        Some(flags) if flags & RootFlags::CLOSING != 0 => "closing",
        Some(_) => "running",
    }
}

fn inbox_status(attached: &Attached, slot: usize, entry: &ZoneEntry, head: Option<&RootHead>) -> InboxStatus {
    let memory = attached.inbox.memory();
    let Some(inbox) = Inbox::new(memory, slot, entry.inbox_offset, entry.inbox_bytes) else { return InboxStatus::default() };
    InboxStatus {
        // The cursor was read before the tail, so that it cannot seem to be ahead of it.
        used_bytes: head.map_or(0, |head| inbox.tail(memory).saturating_sub(head.net_cursor)),
        capacity_bytes: inbox.capacity(),
        refused: inbox.refused(memory),
        repairs: inbox.repairs(memory),
    }
}

fn counters(pages: &Pages) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for (role, names) in [
        (Role::Frontend, crate::frontend::counters::NAMES),
        (Role::Sim, crate::sim::counters::NAMES),
        (Role::Hook, crate::hook::counters::NAMES),
        (Role::Admin, crate::admin::counters::NAMES),
    ] {
        let workers: Vec<WorkerPage<'_>> =
            pages.iter().filter(|((of, _), _)| *of == role.name()).map(|(_, segment)| WorkerPage::new(segment)).collect();
        for (counter, name) in names.iter().enumerate().take(MAX_COUNTERS) {
            let sum = workers.iter().fold(0u64, |sum, page| sum.wrapping_add(page.counter(counter)));
            sums.insert(*name, sum);
        }
    }
    sums
}
