//! Front-ends and sims as the supervisor sees them: started, waited for, reaped, started again.
//!
//! **Invariant**: a process is in the directory's table before it can need to find itself there, and a successor is started
//! only after its predecessor was reaped. A worker is started again as long as the instance runs, if ever more slowly.

mod adopt;
mod rolling;
mod standby;

pub(super) use adopt::living;

use std::cmp::Ordering;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::layout::{Role as SharedRole, WorkerEntry, WorkerState};
use ringfort_shm_state::process::{self, ProcessId};
use ringfort_shm_state::segment::Segment;
use ringfort_shm_state::worker::WorkerPage;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::Signal;
use tracing::{error, info, warn};
use zerocopy::FromZeros;

use super::binary::Binary;
use super::moves::MoveError;
use super::pulse::Pulse;
use super::segments::Segments;
use super::sockets::Sockets;
use super::spawn::{Ending, FD_ADMIN, SpawnError, Worker, spawn};
use super::{number, shared_role};
use crate::cli::Role;
use crate::config::Config;
use crate::descriptors::Descriptors;
use crate::limits::{
    ADMIN_PLACE, FRONTEND_PLACES, FRONTEND_QUICK_DEATH_MS, FRONTEND_STANDBY, FRONTEND_WAKES, FRONTENDS_MAX, HANG_START_MS,
    HOOK_PLACE, QUICK_DEATH_MS, RESTART_DELAY_MAX_MS, RESTART_DELAY_MIN_MS, SIM_PLACES, SIM_SLOTS_MAX, STANDBY_SIMS,
};
use crate::run_dir::RunDir;

/// All workers of the instance. Dropping this kills those that we have started, so that nobody uses a segment that is removed; but not
/// when the supervisor dies of a fault of its own, as another can go on with them.
pub(super) struct Workers {
    posts: Vec<Post>,
    /// Wake-ups of the front-ends, one a slot and one for who stands by: workers inherit them all, whether someone listens or not.
    frontend_wakes: Vec<OwnedFd>,
    /// Wake-ups of the sims, one a slot, likewise.
    sim_wakes: Vec<OwnedFd>,
    config_json: String,
    /// Where monitors ask, for the process that answers.
    admin: Option<OwnedFd>,
    run_dir: RunDir,
    /// Another supervisor could go on with them.
    kept: bool,
}

/// The wake-ups of all workers, whether somebody listens or not.
pub(super) struct Wakes {
    pub(super) frontends: Vec<OwnedFd>,
    pub(super) sims: Vec<OwnedFd>,
}

impl Wakes {
    /// New ones.
    pub(super) fn make() -> io::Result<Wakes> {
        let wake = |_| Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (frontends, sims) = (0..FRONTEND_WAKES, 0..SIM_SLOTS_MAX);
        Ok(Wakes {
            frontends: frontends.map(wake).collect::<io::Result<_>>()?,
            sims: sims.map(|_| wake(0)).collect::<io::Result<_>>()?,
        })
    }
}

/// What became of a process that was started in the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// It is not ready yet.
    Waiting,
    /// It is ready.
    Ready,
    /// It died before it was ready.
    Failed,
}

/// The incarnation of the process that was started last in a place, in this run or an earlier one; 0 when none was.
pub(super) fn incarnation(segments: &Segments, role: Role, slot: u32) -> u32 {
    Directory::new(&segments.directory).worker(place(role, slot)).map_or(0, |entry| entry.incarnation)
}

/// A worker as the log names it.
pub(super) fn worker_name(role: Role, slot: u32) -> String {
    if (role, slot) == (Role::Frontend, FRONTEND_STANDBY) { "the standby front-end".to_owned() } else { format!("{role} {slot}") }
}

/// Where the directory has a worker.
pub(crate) fn place(role: Role, slot: u32) -> usize {
    let first = match role {
        Role::Frontend => FRONTEND_PLACES,
        Role::Sim => SIM_PLACES,
        Role::Hook => HOOK_PLACE,
        Role::Admin => ADMIN_PLACE,
    };
    first + slot as usize
}

/// A worker's place, whoever fills it.
struct Post {
    role: Role,
    slot: u32,
    process: Option<Worker>,
    entry: WorkerEntry,
    started: Instant,
    quick_deaths: u32,
    /// When it is to be filled again.
    start_at: Option<Instant>,
    pulse: Pulse,
    /// What its next process executes; this program when there is none.
    binary: Option<Rc<Binary>>,
    /// Its process was told to end, so that another takes its place.
    giving_way: bool,
    /// Its next start follows no death.
    uncounted: bool,
    /// Nobody comes after its process.
    leaves: bool,
}

/// The sims, when matches are granted.
#[derive(Clone, Debug, Default)]
pub(super) struct Sims {
    /// All slots.
    pub(super) slots: Vec<u32>,
    /// Those whose process has said that it is ready.
    pub(super) ready: Vec<u32>,
}

/// A worker that gives no sign of life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hung {
    pub(super) role: Role,
    pub(super) slot: u32,
    pub(super) pid: u32,
    pub(super) silent_ms: u64,
    /// Processor time that it has used in that time.
    pub(super) cpu_ms: u64,
}

/// A worker that was reaped.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) role: Role,
    pub(super) slot: u32,
    pub(super) pid: u32,
    pub(super) incarnation: u32,
    pub(super) ending: Ending,
    /// It was told to end.
    pub(super) planned: bool,
}

impl Workers {
    /// Places for the configured workers, all empty. `config` is what they are handed. Their incarnations go on from those of an
    /// earlier run, whose other workers leave the directory.
    pub(super) fn new(config: &Config, segments: &Segments, run_dir: &RunDir, wakes: Wakes) -> Workers {
        let posts = |role, slots: Range<u32>| slots.map(move |slot| Post::new(role, slot, incarnation(segments, role, slot)));
        let frontends = posts(Role::Frontend, 0..config.frontends);
        let sims = posts(Role::Sim, 0..config.sims + STANDBY_SIMS);
        let hooks = u32::from(config.hooks.is_some());
        const STANDBY: Range<u32> = FRONTEND_STANDBY..FRONTEND_STANDBY + 1;
        let frontends_gone = posts(Role::Frontend, config.frontends..FRONTENDS_MAX);
        let sims_gone = posts(Role::Sim, config.sims + STANDBY_SIMS..SIM_SLOTS_MAX);
        let gone = frontends_gone.chain(sims_gone).chain(posts(Role::Hook, hooks..1)).chain(posts(Role::Admin, 0..1));
        gone.for_each(|post| post.vacate(segments));
        Workers {
            posts: sims.chain(frontends).chain(posts(Role::Frontend, STANDBY)).chain(posts(Role::Hook, 0..hooks)).collect(),
            frontend_wakes: wakes.frontends,
            sim_wakes: wakes.sims,
            config_json: config.worker_json(),
            admin: None,
            run_dir: run_dir.clone(),
            kept: false,
        }
    }

    /// A process that answers monitors, started at the next turn.
    pub(super) fn add_admin(&mut self, listener: OwnedFd, segments: &Segments, now: Instant) {
        let mut post = Post::new(Role::Admin, 0, incarnation(segments, Role::Admin, 0));
        (post.start_at, post.uncounted) = (Some(now), true);
        self.posts.push(post);
        self.admin = Some(listener);
    }

    /// From here on whatever ends the supervisor leaves them to the next one.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Fills every place for the first time.
    pub(super) fn start_all(&mut self, segments: &Segments, sockets: &Sockets) -> Result<(), SpawnError> {
        (0..self.posts.len()).try_for_each(|at| self.start(at, segments, sockets))
    }

    /// The processes that run, whose descriptors tell of their deaths.
    pub(super) fn running(&self) -> impl Iterator<Item = &Worker> {
        self.posts.iter().filter_map(|post| post.process.as_ref())
    }

    /// When [`Workers::start_due`] has something to do.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.posts.iter().filter_map(|post| post.start_at).min()
    }

    /// Reaps who has ended, and decides when they are started again.
    pub(super) fn reap(&mut self, segments: &Segments, now: Instant) -> Vec<Death> {
        let mut deaths = Vec::new();
        for post in &mut self.posts {
            if let Some(death) = post.reap() {
                // It may have listened to nobody.
                let _ = std::fs::remove_file(self.run_dir.worker_socket(death.pid));
                let was_ready = !post.role.ends_with_supervisor() && post.has_been_ready(segments);
                post.publish(segments, WorkerState::Dead);
                post.plan_restart(now, was_ready);
                deaths.push(death);
            }
        }
        deaths
    }

    /// Starts again whose time has come.
    pub(super) fn start_due(&mut self, segments: &Segments, sockets: &Sockets, now: Instant) {
        for at in 0..self.posts.len() {
            if self.posts[at].start_at.is_none_or(|due| due > now) {
                continue;
            }
            let counts = !std::mem::take(&mut self.posts[at].uncounted);
            self.posts[at].entry.restarts += u32::from(counts);
            if self.promote(at, segments, now) {
                continue;
            }
            if let Err(error) = self.start(at, segments, sockets) {
                error!("{error}; it is tried again");
                self.posts[at].plan_restart(now, false);
            }
        }
    }

    /// Slots of all sims, whether a process fills them just now or not.
    pub(super) fn sim_slots(&self) -> impl Iterator<Item = u32> {
        self.posts.iter().filter(|post| post.role == Role::Sim).map(|post| post.slot)
    }

    /// The sims that could be given a match, and those that are sure to step it at once.
    pub(super) fn sims(&self, segments: &Segments) -> Sims {
        let ready = |post: &&Post| post.role == Role::Sim && post.process.is_some() && post.has_been_ready(segments);
        Sims { slots: self.sim_slots().collect(), ready: self.posts.iter().filter(ready).map(|post| post.slot).collect() }
    }

    /// Says in the directory which sims are at work and which stand by.
    pub(super) fn show_standby(&mut self, segments: &Segments, standing_by: &[u32]) {
        for post in self.posts.iter_mut().filter(|post| post.role == Role::Sim && post.entry.incarnation > 0) {
            let role = if standing_by.contains(&post.slot) { SharedRole::Standby } else { SharedRole::Sim } as u32;
            if post.entry.role != role {
                post.entry.role = role;
                DirectoryWriter::new(&segments.directory).publish_worker(place(post.role, post.slot), &post.entry);
            }
        }
    }

    /// Counts a poll for every sim and front-end, by their heartbeats. `limit_ms` is how long each may be silent. Returns those that hang;
    /// they are to be killed.
    pub(super) fn take_pulses(&mut self, segments: &Segments, limit_ms: impl Fn(Role, u32) -> u64) -> Vec<Hung> {
        let mut hung = Vec::new();
        for post in self.posts.iter_mut().filter(|post| !post.role.ends_with_supervisor()) {
            let Some(process) = &post.process else { continue };
            let pid = process.pid.as_raw_pid() as u32;
            let ready = post.has_been_ready(segments);
            let limit_ms = limit_ms(post.role, post.slot).max(if ready { 0 } else { HANG_START_MS });
            let beat = WorkerPage::new(post.segment(segments)).heartbeat();
            let cpu_ms = || process::usage(pid).map_or(0, |usage| usage.cpu_ms);
            if let Some(cpu_ms) = post.pulse.poll(beat, limit_ms, cpu_ms) {
                hung.push(Hung { role: post.role, slot: post.slot, pid, silent_ms: limit_ms, cpu_ms });
            }
        }
        hung
    }

    /// The worker with a process id.
    pub(super) fn with_pid(&self, pid: u32) -> Option<(Role, u32)> {
        let its = |post: &&Post| post.process.as_ref().is_some_and(|process| process.pid.as_raw_pid() as u32 == pid);
        self.posts.iter().find(its).map(|post| (post.role, post.slot))
    }

    /// Kills a worker.
    pub(super) fn kill(&self, role: Role, slot: u32) {
        let post = self.posts.iter().find(|post| post.role == role && post.slot == slot);
        if let Some(process) = post.and_then(|post| post.process.as_ref()) {
            // An error says that it is dead already.
            let _ = process.signal(Signal::KILL);
        }
    }

    fn sim(&self, slot: u32) -> Option<&Post> {
        self.posts.iter().find(|post| post.role == Role::Sim && post.slot == slot)
    }

    fn sim_mut(&mut self, slot: u32) -> Option<&mut Post> {
        self.posts.iter_mut().find(|post| post.role == Role::Sim && post.slot == slot)
    }

    /// Whether there is such a sim.
    pub(super) fn check_sim(&self, slot: u32) -> Result<(), MoveError> {
        let last = self.sim_slots().max().unwrap_or(0);
        self.sim(slot).map(drop).ok_or(MoveError::NoSuchSlot { slot, last })
    }

    /// What a sim's next process executes, if not this program.
    pub(super) fn binary_of(&self, slot: u32) -> Option<Rc<Binary>> {
        self.sim(slot)?.binary.clone()
    }

    /// Whether a sim executes a binary.
    pub(super) fn runs(&self, slot: u32, binary: &Rc<Binary>) -> bool {
        self.sim(slot).and_then(|post| post.binary.as_ref()).is_some_and(|of| Rc::ptr_eq(of, binary))
    }

    /// Ends a sim's process, which has no match, for a new one of a binary. Returns the new one's incarnation.
    pub(super) fn replace_sim(&mut self, slot: u32, binary: Option<Rc<Binary>>) -> u32 {
        let Some(post) = self.sim_mut(slot) else { return 0 };
        post.binary = binary;
        if let Some(process) = &post.process {
            post.giving_way = true;
            // An error says that it is dead already. It holds no lock, and its last commit is whole.
            let _ = process.signal(Signal::KILL);
        }
        post.entry.incarnation + 1
    }

    /// What became of the process with an incarnation.
    pub(super) fn replacement(&self, role: Role, slot: u32, incarnation: u32, segments: &Segments) -> Replacement {
        let post = self.posts.iter().find(|post| (post.role, post.slot) == (role, slot));
        let Some(post) = post else { return Replacement::Failed };
        match post.entry.incarnation.cmp(&incarnation) {
            Ordering::Less => Replacement::Waiting,
            Ordering::Equal if post.process.is_some() && post.has_been_ready(segments) => Replacement::Ready,
            Ordering::Equal if post.process.is_some() => Replacement::Waiting,
            // What died after it was ready is started again at once, and is no worse for that.
            Ordering::Equal | Ordering::Greater if post.quick_deaths == 0 => Replacement::Ready,
            Ordering::Equal | Ordering::Greater => Replacement::Failed,
        }
    }

    /// One more sim, started at the next turn. Returns the incarnation that it will have.
    pub(super) fn add_sim(&mut self, slot: u32, segments: &Segments, now: Instant) -> u32 {
        let mut post = Post::new(Role::Sim, slot, incarnation(segments, Role::Sim, slot));
        (post.binary, post.start_at) = (self.binary_of(0), Some(now));
        post.uncounted = true;
        let awaited = post.entry.incarnation + 1;
        self.posts.push(post);
        awaited
    }

    /// Ends a sim's process, which has no match, for good.
    pub(super) fn end_sim(&mut self, slot: u32, segments: &Segments) {
        if let Some(at) = self.posts.iter().position(|post| post.role == Role::Sim && post.slot == slot) {
            let mut post = self.posts.remove(at);
            post.kill();
            let _ = std::fs::remove_file(self.run_dir.worker_socket(post.entry.pid));
            post.vacate(segments);
        }
    }

    fn start(&mut self, at: usize, segments: &Segments, sockets: &Sockets) -> Result<(), SpawnError> {
        let Workers { posts, frontend_wakes, sim_wakes, config_json, admin, .. } = self;
        let post = &mut posts[at];
        let descriptors = Descriptors {
            sockets: sockets.all(),
            frontend_wakes: frontend_wakes.iter().map(AsFd::as_fd).collect(),
            sim_wakes: sim_wakes.iter().map(AsFd::as_fd).collect(),
            directory: segments.directory_file.as_fd(),
            world: segments.world_file.as_fd(),
        };
        // What talks to the world outside is given no way into the inside.
        let inside = descriptors.targets().filter(|_| !post.role.ends_with_supervisor());
        let listener = admin.iter().filter(|_| post.role == Role::Admin).map(|listener| (FD_ADMIN, listener.as_fd()));
        let descriptors: Vec<_> = inside.chain(listener).collect();
        let process = spawn(post.role, post.slot, post.binary.as_deref(), config_json, &descriptors)?;
        post.started = Instant::now();
        post.start_at = None;
        let pid = process.pid.as_raw_pid() as u32;
        // One that is dead already has no start time; it is reaped soon.
        let start_time = ProcessId::of(pid).map_or(0, |process| process.start_time);
        post.entry = WorkerEntry { pid, start_time, incarnation: post.entry.incarnation + 1, ..post.entry };
        post.process = Some(process);
        post.pulse = Pulse::default();
        post.publish(segments, WorkerState::Starting);
        Ok(())
    }

    /// Notes who has claimed its segment since. Returns whether the front-ends that live are others now.
    pub(super) fn note_claims(&mut self, segments: &Segments) -> bool {
        let mut frontends_changed = false;
        for post in &mut self.posts {
            let starting = post.process.is_some() && post.entry.state == number(WorkerState::Starting);
            // Who stands by does so when it is warm.
            let begun = if post.stands_by() { post.has_been_ready(segments) } else { post.has_claimed(segments) };
            if starting && begun {
                post.publish(segments, WorkerState::Running);
                info!("{} runs as process {}", worker_name(post.role, post.slot), post.entry.pid);
                frontends_changed |= post.role == Role::Frontend && !post.stands_by();
            }
        }
        frontends_changed
    }

    /// The first worker that has neither claimed its segment yet nor died over that.
    pub(super) fn first_silent(&self) -> Option<(Role, u32)> {
        let silent = |post: &&Post| !post.is_running() && post.quick_deaths == 0;
        self.posts.iter().find(silent).map(|post| (post.role, post.slot))
    }

    /// Slots of the front-ends that accept clients.
    pub(super) fn live_frontends(&self) -> Vec<usize> {
        let live = self.posts.iter().filter(|post| post.role == Role::Frontend && post.is_running() && !post.stands_by());
        live.map(|post| post.slot as usize).collect()
    }

    /// Whether every process that lives, the hook's excepted, has acted upon a generation of the directory. Who starts later reads a newer one;
    /// a claim of a dead predecessor can only be of an older one.
    pub(super) fn all_saw(&self, segments: &Segments, generation: u64) -> bool {
        // The hook process keeps nothing of a match that it does not look up again by the match's id, and a front-end that stands by nothing
        // at all.
        let looks = |post: &&Post| post.process.is_some() && !post.role.ends_with_supervisor() && !post.stands_by();
        let mut live = self.posts.iter().filter(looks);
        live.all(|post| WorkerPage::new(post.segment(segments)).seen_generation() >= generation)
    }

    /// The generation that a sim has acted upon, while its process runs.
    pub(super) fn seen_by_sim(&self, segments: &Segments, slot: u32) -> Option<u64> {
        let post = self.posts.iter().find(|post| post.role == Role::Sim && post.slot == slot && post.is_running())?;
        Some(WorkerPage::new(post.segment(segments)).seen_generation())
    }

    /// Makes every worker look at the directory.
    pub(super) fn wake_all(&self) {
        for wake in self.sim_wakes.iter().chain(&self.frontend_wakes) {
            // A full counter means that its owner has yet to look: that is soon enough.
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
    }

    /// Asks the workers of a role to end, and kills those that have not within the time.
    pub(super) fn stop(&mut self, role: Role, segments: &Segments, time: Duration) {
        let until = Instant::now() + time;
        for post in self.posts.iter_mut().filter(|post| post.role == role) {
            post.start_at = None;
            if let Some(process) = &post.process {
                // An error says that it is dead already.
                let _ = process.signal(Signal::TERM);
                post.publish(segments, WorkerState::Stopping);
            }
        }
        loop {
            for post in self.posts.iter_mut().filter(|post| post.role == role) {
                if let Some(death) = post.reap() {
                    info!("{} {}", worker_name(role, death.slot), death.ending);
                    post.publish(segments, WorkerState::Dead);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let waiting: Vec<&Worker> = self.running().filter(|worker| worker.role == role).collect();
            if waiting.is_empty() || left.is_zero() {
                break;
            }
            let mut fds: Vec<_> = waiting.iter().map(|worker| PollFd::new(*worker, PollFlags::IN)).collect();
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            // Interrupted or not: the loop looks again.
            let _ = poll(&mut fds, Some(&timeout));
        }
        for post in self.posts.iter_mut().filter(|post| post.role == role) {
            if post.process.is_some() {
                warn!("{} did not stop within {} ms and is killed", worker_name(role, post.slot), time.as_millis());
                post.kill();
                post.publish(segments, WorkerState::Dead);
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if self.kept && std::thread::panicking() {
            return;
        }
        let ours = |post: &&mut Post| post.process.as_ref().is_some_and(|process| process.is_child);
        self.posts.iter_mut().filter(ours).for_each(Post::kill);
    }
}

impl Post {
    fn new(role: Role, slot: u32, incarnation: u32) -> Post {
        let stands_by = (role, slot) == (Role::Frontend, FRONTEND_STANDBY);
        let shared = if stands_by { SharedRole::Standby } else { shared_role(role) } as u32;
        let entry = WorkerEntry { pid: 0, role: shared, start_time: 0, slot, restarts: 0, state: 0, incarnation };
        let (started, pulse) = (Instant::now(), Pulse::default());
        let (process, start_at, binary) = (None, None, None);
        Post {
            role,
            slot,
            process,
            entry,
            started,
            quick_deaths: 0,
            start_at,
            pulse,
            binary,
            giving_way: false,
            uncounted: false,
            leaves: false,
        }
    }

    /// Whether this process has said that it uses the segment of its place.
    fn has_claimed(&self, segments: &Segments) -> bool {
        let claim = WorkerPage::new(self.segment(segments)).claimed_by();
        claim == ProcessId { pid: self.entry.pid, start_time: self.entry.start_time }
    }

    /// Whether this process, a sim's or a front-end's, lives or lived to be ready.
    fn has_been_ready(&self, segments: &Segments) -> bool {
        self.has_claimed(segments) && WorkerPage::new(self.segment(segments)).is_ready()
    }

    fn segment<'s>(&self, segments: &'s Segments) -> &'s Segment {
        match self.role {
            Role::Frontend => segments.frontend(self.slot),
            Role::Sim => &segments.sims[self.slot as usize],
            Role::Hook => &segments.hooks[self.slot as usize],
            Role::Admin => segments.admin.as_ref().expect("made before its place is filled"),
        }
    }

    fn is_running(&self) -> bool {
        self.process.is_some() && self.entry.state == number(WorkerState::Running)
    }

    fn publish(&mut self, segments: &Segments, state: WorkerState) {
        self.entry.state = number(state);
        DirectoryWriter::new(&segments.directory).publish_worker(place(self.role, self.slot), &self.entry);
    }

    /// Leaves of a place that nobody fills any more only the incarnation, for who comes there in a later run.
    fn vacate(self, segments: &Segments) {
        let Post { role, slot, entry: WorkerEntry { incarnation, .. }, .. } = self;
        if incarnation > 0 {
            let entry = WorkerEntry { incarnation, ..WorkerEntry::new_zeroed() };
            DirectoryWriter::new(&segments.directory).publish_worker(place(role, slot), &entry);
        }
    }

    fn reap(&mut self) -> Option<Death> {
        let process = self.process.as_ref()?;
        let ending = match process.try_wait() {
            Ok(ending) => ending?,
            Err(error) => {
                error!("{} {} cannot be waited for: {error}", self.role, self.slot);
                return None;
            }
        };
        self.process = None;
        let WorkerEntry { pid, incarnation, .. } = self.entry;
        let planned = std::mem::take(&mut self.giving_way);
        self.uncounted |= planned;
        Some(Death { role: self.role, slot: self.slot, pid, incarnation, ending, planned })
    }

    /// One that had come as far as to be ready is started again at once: what a sim died of after that is judged by its matches, and a
    /// front-end has to have lived for a moment.
    fn plan_restart(&mut self, now: Instant, was_ready: bool) {
        if self.leaves {
            self.start_at = None;
            return;
        }
        let lived = now.saturating_duration_since(self.started);
        if was_ready && (self.role == Role::Sim || lived >= Duration::from_millis(FRONTEND_QUICK_DEATH_MS)) {
            (self.quick_deaths, self.start_at) = (0, Some(now));
            return;
        }
        if lived >= Duration::from_millis(QUICK_DEATH_MS) {
            self.quick_deaths = 0;
        }
        let delay = restart_delay(self.quick_deaths);
        self.quick_deaths = self.quick_deaths.saturating_add(1);
        if delay == Duration::from_millis(RESTART_DELAY_MAX_MS) {
            let (name, deaths) = (worker_name(self.role, self.slot), self.quick_deaths);
            error!("{name} has died {deaths} times in a row soon after its start; it is tried every {delay:?}");
        }
        self.start_at = Some(now + delay);
    }

    fn kill(&mut self) {
        let Some(process) = self.process.take() else { return };
        // An error says that it is dead already; either way the wait ends.
        let _ = process.signal(Signal::KILL);
        if let Err(error) = process.wait() {
            error!("{} {} cannot be waited for: {error}", self.role, self.slot);
        }
    }
}

/// The delay before a start that follows so many quick deaths in a row.
fn restart_delay(quick_deaths: u32) -> Duration {
    let doubled = RESTART_DELAY_MIN_MS.checked_shl(quick_deaths.min(32)).unwrap_or(RESTART_DELAY_MAX_MS);
    Duration::from_millis(doubled.min(RESTART_DELAY_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound() {
        let delays: Vec<Duration> = (0..100).map(restart_delay).collect();
        assert!(delays.is_sorted());
        assert_eq!(delays[0], Duration::from_millis(RESTART_DELAY_MIN_MS));
        assert_eq!(delays[99], Duration::from_millis(RESTART_DELAY_MAX_MS));
        assert_eq!(restart_delay(u32::MAX), Duration::from_millis(RESTART_DELAY_MAX_MS));
    }
}
