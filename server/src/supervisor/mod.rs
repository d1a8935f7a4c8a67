//! The process that owns the instance's port and starts all others.
//!
//! It stands beside a message's path: it makes the segments or goes on with those of an earlier run, binds the sockets, starts
//! front-ends and sims, says in the directory who steps which match, and starts again what dies. One thread, one loop; it takes no
//! shared lock.

mod adoption;
mod audit;
mod binary;
pub mod control;
pub(crate) mod errors;
mod leftovers;
mod lock_watch;
mod moves;
mod pulse;
mod results;
mod rolling;
pub(crate) mod rules;
mod segments;
pub(crate) mod signals;
pub mod sockets;
pub mod spawn;
mod start;
mod workers;
mod zones;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::layout::{FlightKind, InstanceEntry, Role as SharedRole, Stopping, WorkerState};
use ringfort_shm_state::lock::LockHolder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{error, info, warn};

pub use adoption::stop_orphans;
pub use errors::{MatchError, UpError};
pub use start::up;

use crate::cli::Role;
use crate::config::{Config, LogLevel, MatchConfig};
use crate::flight::{self, Note};
use crate::limits::{
    AUDIT_STOP_MS, DOWN_DRAIN_S_MAX, FRONTEND_STANDBY, FRONTEND_STOP_MS, HOOK_STOP_MS, MATCH_OPEN_MS, SIM_STOP_MS, STANDBY_SIMS,
    SUPERVISOR_TURN_MS,
};
use crate::log_level::{self, LogRole};
use crate::run_dir::{InstanceLock, RunDir};
use crate::set;
use control::{ConnToken, ControlServer, Request, Response};
use lock_watch::{LockWatch, is_runnable};
use moves::{MoveError, Operations, Works};
use pulse::Polls;
use rules::Rules;
use segments::Segments;
use signals::Signals;
use sockets::Sockets;
pub(crate) use workers::place;
use workers::{Death, Hung, Workers, worker_name};
use zones::{Opening, Zones};

/// The whole supervisor. Fields are dropped in this order: the workers are dead before their segments can be removed, and
/// the lock is given back last.
struct Supervisor {
    workers: Workers,
    segments: Segments,
    zones: Zones,
    sockets: Sockets,
    signals: Signals,
    control: ControlServer,
    rules: Rules,
    polls: Polls,
    lock_watch: LockWatch,
    config: Config,
    run_dir: RunDir,
    instance: InstanceEntry,
    /// Processes of an earlier supervisor that it has gone on with.
    adopted: usize,
    /// Where monitors ask.
    admin: Option<SocketAddr>,
    /// It stops when no session is left, or at this time at the latest, if one was given.
    closes_at: Option<Option<Instant>>,
    /// Slots of the front-ends that new connections go to.
    steered: Vec<usize>,
    /// Commands that are answered when their match has opened.
    creating: Vec<Asked>,
    /// Commands that are answered when their match has been told to end.
    ending: Vec<Asked>,
    /// Commands that are answered when their match has been told to end a session.
    kicking: Vec<Asked>,
    /// Planned work on the sims.
    operations: Operations,
    _lock: InstanceLock,
}

/// A `matches create` or `matches end` that waits for the sim.
struct Asked {
    asker: ConnToken,
    name: String,
    slot: usize,
    id: u64,
    until: Instant,
}

impl Supervisor {
    /// Runs until a signal or `down`. Returns who asked for the latter.
    fn run(&mut self) -> Vec<ConnToken> {
        loop {
            self.wait(Duration::from_millis(SUPERVISOR_TURN_MS));
            if self.signals.take().is_some() {
                info!("a signal asks to stop");
                return Vec::new();
            }
            self.turn();
            let askers = self.serve();
            if self.has_closed() {
                info!("the players have gone, or had the time to: the instance stops");
                return askers;
            }
            if !askers.is_empty() {
                info!("`ringfort down` asks to stop");
                return askers;
            }
        }
    }

    /// Sleeps until something happens, a worker is to be started again, or the time is over.
    fn wait(&self, longest: Duration) {
        let now = Instant::now();
        let due = [self.workers.next_start(), self.control.next_timeout()].into_iter().flatten().min();
        let time = due.map_or(longest, |due| due.saturating_duration_since(now).min(longest));
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
        fds.extend(self.workers.running().map(|worker| PollFd::new(worker, PollFlags::IN)));
        // Interrupted or not: the loop looks at everything again.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// One look at everything but the control socket. Returns who has died.
    fn turn(&mut self) -> Vec<Death> {
        let now = Instant::now();
        let deaths = self.workers.reap(&self.segments, now);
        for death in &deaths {
            self.mourn(death);
        }
        if self.polls.is_due(now) {
            self.kill_hung();
        }
        self.publish_counts();
        self.workers.start_due(&self.segments, &self.sockets, now);
        if self.workers.note_claims(&self.segments) {
            self.steer();
        }
        self.follow_zones();
        deaths
    }

    /// Follows every match a step further, and has the workers look if the directory has changed.
    fn follow_zones(&mut self) {
        let changed = self.zones.turn(&self.segments, &self.workers);
        if changed | self.zones.settle_suspects(&self.segments, &self.workers.sims(&self.segments)) {
            self.workers.wake_all();
        }
        self.workers.show_standby(&self.segments, &self.zones.standing_by());
    }

    /// Says in the directory how many sims and front-ends there are to be, before one more is started: the next supervisor goes on with as many.
    fn publish_counts(&mut self) {
        let sims = (self.workers.sim_slots().count() as u32).saturating_sub(STANDBY_SIMS);
        let frontends = self.workers.frontend_slots().count() as u32;
        if (sims, frontends) != (self.instance.sims, self.instance.frontends) {
            (self.instance.sims, self.instance.frontends) = (sims, frontends);
            self.publish_instance();
        }
    }

    fn publish_instance(&self) {
        if let Err(error) = DirectoryWriter::new(&self.segments.directory).publish_instance(&self.instance, &self.rules.map_json)
        {
            error!("the directory does not say what has become of the instance: {error}");
        }
    }

    /// Looks at the workers' heartbeats and at the locks that front-ends share, and kills whose have stopped, or who holds on, for too long.
    fn kill_hung(&mut self) {
        let (zones, configured) = (&self.zones, u64::from(self.config.hang_ms));
        let limit_ms = |role, slot| if role == Role::Sim { zones.hang_ms(slot, configured) } else { configured };
        let hung = self.workers.take_pulses(&self.segments, limit_ms);
        for hung in hung {
            let Hung { role, slot, pid, silent_ms, cpu_ms } = hung;
            let name = worker_name(role, slot);
            flight::note(FlightKind::Hang, Note { a: pid.into(), b: silent_ms, text: &name, ..Note::default() });
            error!(
                "{name} (process {pid}) has given no sign of life for {silent_ms} ms and used the processor for {cpu_ms} ms of them; it is killed"
            );
            if role == Role::Sim {
                self.zones.sim_hangs(&self.segments, &hung);
            }
            self.workers.kill(role, slot);
        }
        for (zone, holder) in self.lock_watch.poll(self.zones.lock_holders(&self.segments), is_runnable) {
            let LockHolder { thread, operation } = holder;
            match self.workers.with_pid(thread) {
                Some((role, slot)) => {
                    let name = worker_name(role, slot);
                    error!(
                        zone,
                        "{name} (process {thread}) hangs with the lock of an inbox, in operation {operation}; it is killed"
                    );
                    self.workers.kill(role, slot);
                }
                None => warn!(
                    zone,
                    "thread {thread}, which is no worker of this instance, holds the lock of an inbox and does not move"
                ),
            }
        }
    }

    /// Tells the matches of a worker's death, before its successor is started.
    fn mourn(&mut self, death: &Death) {
        let log = self.run_dir.worker_log(death.role, death.slot);
        let (role, slot, ending) = (death.role, death.slot, death.ending);
        let name = worker_name(role, slot);
        let text = format!("{name} {}", if death.planned { "gives way to a new one".to_owned() } else { ending.to_string() });
        flight::note(FlightKind::Death, Note { a: death.pid.into(), b: slot.into(), text: &text, ..Note::default() });
        if death.planned {
            info!("{name} (process {}) gives way to a new one", death.pid);
        } else {
            error!("{name} (process {}) {ending}; its log is {}", death.pid, log.display());
        }
        match role {
            Role::Sim => {
                self.zones.sim_died(&self.segments, slot, &self.workers.sims(&self.segments));
                self.workers.wake_all();
            }
            // It had no clients.
            Role::Frontend if slot == FRONTEND_STANDBY => {}
            Role::Frontend => {
                self.zones.frontend_died(&self.segments, slot, death.incarnation);
                self.steer();
            }
            // Its requests stand in the matches' outboxes: its successor asks again.
            Role::Hook | Role::Admin => {}
        }
    }

    /// New connections go to the front-ends that live; without any, to where they went before, to wait there.
    fn steer(&mut self) {
        let live = self.workers.live_frontends();
        if live.is_empty() || live == self.steered {
            return;
        }
        if let Err(error) = self.sockets.steer(&live) {
            warn!("new connections are not steered to front-ends {live:?}: {error}");
        } else {
            self.steered = live;
        }
    }

    /// Carries out what came over the control socket. Returns who asked to stop.
    fn serve(&mut self) -> Vec<ConnToken> {
        let now = Instant::now();
        let mut stopping = Vec::new();
        let requests = self.control.poll(now);
        for _ in 0..self.control.take_refused_peers() {
            DirectoryWriter::new(&self.segments.directory).count_refused_peer();
        }
        for (asker, request) in requests {
            match request {
                Request::Down => stopping.push(asker),
                Request::MatchesCreate { name, options, private, spectators, idle_minutes } => {
                    self.create(asker, &MatchConfig { name, options, private, spectators, idle_minutes }, now);
                }
                Request::SessionsKick { name, session } => {
                    match self.zones.kick(&name, session) {
                        Ok((slot, id)) => {
                            let until = now + Duration::from_millis(MATCH_OPEN_MS);
                            self.kicking.push(Asked { asker, name, slot, id, until });
                        }
                        Err(error) => self.control.reply(asker, &refused(&error), now),
                    }
                    self.follow_zones();
                }
                Request::MatchesResume { name } => {
                    let resumed = self.zones.resume_paused(&name, &self.segments);
                    let response = match resumed {
                        Ok((_, id)) => done(format!("match \"{name}\" goes on"), Some(id)),
                        Err(error) => refused(&error),
                    };
                    self.workers.wake_all();
                    self.control.reply(asker, &response, now);
                }
                Request::Set(set) => {
                    let response = match self.zones.set(&self.segments, &set) {
                        Ok(id) => {
                            done(format!("match \"{}\" is to set {}", set.name, set::in_words(self.rules.schema, &set)), Some(id))
                        }
                        Err(error) => refused(&error),
                    };
                    self.control.reply(asker, &response, now);
                }
                Request::LogLevel { level, role } => {
                    let response = self.set_log_level(level, role);
                    self.control.reply(asker, &response, now);
                }
                Request::DownDrain { timeout_s } => {
                    let response = self.begin_to_close(timeout_s, now);
                    self.control.reply(asker, &response, now);
                }
                Request::ZonesMove { .. }
                | Request::SimsScale { .. }
                | Request::DrainSim { .. }
                | Request::FrontendsScale { .. }
                | Request::DrainFrontend { .. }
                | Request::Upgrade { .. } => {
                    if let Err(error) = self.begin(asker, request, now) {
                        self.control.reply(asker, &Response::Error { sentence: error.to_string() }, now);
                    }
                }
                Request::HookAnswers { answers } => {
                    let posted = answers.iter().map(|answer| self.zones.answer(&self.segments, answer)).collect();
                    self.control.reply(asker, &Response::Posted { posted }, now);
                }
                Request::MatchesEnd { name } => {
                    match self.zones.end(&name) {
                        Ok((slot, id)) => {
                            let until = now + Duration::from_millis(MATCH_OPEN_MS);
                            self.ending.push(Asked { asker, name, slot, id, until });
                        }
                        Err(error) => self.control.reply(asker, &refused(&error), now),
                    }
                    self.follow_zones();
                }
            }
        }
        self.operate(now);
        // Planned work begins and ceases to drain front-ends.
        self.steer();
        self.answer_created(now);
        self.answer_ending(now);
        self.answer_kicking(now);
        stopping
    }

    /// Begins planned work on the sims.
    fn begin(&mut self, asker: ConnToken, request: Request, now: Instant) -> Result<(), MoveError> {
        let Supervisor { zones, workers, segments, operations, rules, .. } = self;
        let mut works = Works { zones, workers, segments };
        match request {
            Request::ZonesMove { name, to } => operations.begin_move(asker, &name, to, &mut works, now),
            Request::SimsScale { sims } => operations.begin_scale(asker, sims, &mut works, now),
            Request::DrainSim { sim } => operations.begin_drain(asker, sim, &mut works, now),
            Request::FrontendsScale { frontends } => operations.begin_scale_frontends(asker, frontends, &mut works, now),
            Request::DrainFrontend { frontend } => operations.begin_drain_frontend(asker, frontend, &works, now),
            Request::Upgrade { binary } => {
                let runs = (rules.describe_binary)(&works.zones.sizes());
                operations.begin_upgrade(asker, &binary, runs, now)
            }
            _ => Ok(()),
        }
    }

    /// Tells the processes from which level on to log.
    fn set_log_level(&mut self, level: LogLevel, role: Option<LogRole>) -> Response {
        self.instance.log_levels = log_level::changed(self.instance.log_levels, role, level);
        self.publish_instance();
        log_level::follow(Some(&self.instance), SharedRole::Supervisor);
        DirectoryWriter::new(&self.segments.directory).move_generation();
        self.workers.wake_all();
        let whom = role.map_or("all processes log".to_owned(), |role| format!("{} processes log", role.shared().name()));
        done(format!("{whom} {} and graver from here on", level.name()), None)
    }

    /// From here on no new session starts, and when the last has gone, or the time is over, the instance stops.
    fn begin_to_close(&mut self, timeout_s: Option<u32>, now: Instant) -> Response {
        let timeout = timeout_s.map(|s| Duration::from_secs(s.min(DOWN_DRAIN_S_MAX).into()));
        self.closes_at = Some(timeout.map(|timeout| now + timeout));
        self.instance.stopping = Stopping::Drains as u32;
        self.publish_instance();
        let left = self.zones.sessions(&self.segments);
        info!("no new session starts; the instance stops when the {left} that there are have ended");
        done(format!("no new session starts; {left} are left"), None)
    }

    /// Whether the instance was to wait for its players, and they have gone or the time is over.
    fn has_closed(&self) -> bool {
        let Some(until) = self.closes_at else { return false };
        until.is_some_and(|until| Instant::now() >= until) || self.zones.sessions(&self.segments) == 0
    }

    /// Goes on with planned work on the sims, and answers for what is done.
    fn operate(&mut self, now: Instant) {
        let Supervisor { zones, workers, segments, operations, .. } = self;
        for (asker, answer) in operations.turn(Works { zones, workers, segments }, now) {
            let response = match answer {
                Ok((sentence, id)) => done(sentence, id),
                Err(error) => Response::Error { sentence: error.to_string() },
            };
            self.control.reply(asker, &response, now);
        }
    }

    fn create(&mut self, asker: ConnToken, wanted: &MatchConfig, now: Instant) {
        let wanted = self.config.complete(wanted);
        match self.zones.create(&self.segments, &self.rules, &wanted) {
            Ok((slot, id)) => {
                self.workers.wake_all();
                let until = now + Duration::from_millis(MATCH_OPEN_MS);
                self.creating.push(Asked { asker, name: wanted.name, slot, id, until });
            }
            Err(error) => self.control.reply(asker, &refused(&error), now),
        }
    }

    fn answer_created(&mut self, now: Instant) {
        let (zones, control, run_dir) = (&self.zones, &mut self.control, &self.run_dir);
        self.creating.retain(|creating| {
            let Asked { asker, ref name, slot, id, until } = *creating;
            let response = match zones.opening(slot, id) {
                Opening::Open => done(format!("match \"{name}\" is open"), Some(id)),
                Opening::Waiting if now < until => return true,
                Opening::Waiting => done(format!("match \"{name}\" is created but not open yet; its sim is late"), Some(id)),
                Opening::Failed { sim } => {
                    let log = run_dir.worker_log(Role::Sim, sim);
                    refused(&MatchError::NotOpened { name: name.clone(), log })
                }
            };
            control.reply(asker, &response, now);
            false
        });
    }

    /// What stands in a match's mailbox holds even if we are killed now; before that nothing is promised.
    fn answer_ending(&mut self, now: Instant) {
        let (zones, control) = (&self.zones, &mut self.control);
        self.ending.retain(|ending| {
            let Asked { asker, ref name, slot, id, until } = *ending;
            let response = match zones.knows_end(slot, id) {
                true => done(format!("match \"{name}\" is ending; its players are told"), Some(id)),
                false if now < until => return true,
                false => refused(&MatchError::NotTold(name.clone())),
            };
            control.reply(asker, &response, now);
            false
        });
    }

    /// As with an end: answered when it stands in the match's mailbox.
    fn answer_kicking(&mut self, now: Instant) {
        let (zones, control) = (&self.zones, &mut self.control);
        self.kicking.retain(|kicking| {
            let Asked { asker, ref name, slot, id, until } = *kicking;
            let response = match zones.knows_kicks(slot, id) {
                true => done(format!("the session leaves match \"{name}\"; its client is told"), Some(id)),
                false if now < until => return true,
                false => refused(&MatchError::NotTold(name.clone())),
            };
            control.reply(asker, &response, now);
            false
        });
    }

    /// Ends everything in order: clients are told, sims stop, segments go, whoever asked is answered.
    fn stop(mut self, mut askers: Vec<ConnToken>) {
        end_all(&mut self.workers, &mut self.zones, &self.segments, &mut self.instance, &self.rules);
        let Supervisor { workers, segments, mut control, creating, ending, kicking, operations, config, run_dir, _lock, .. } =
            self;
        drop(workers);
        segments.remove();
        run_dir.clear_workers(&[]);
        info!("instance \"{}\" has stopped", config.instance);
        let now = Instant::now();
        let gone = Response::Error { sentence: format!("instance \"{}\" has stopped", config.instance) };
        let askers_gone = creating.into_iter().chain(ending).chain(kicking).map(|asked| asked.asker);
        for asker in askers_gone.chain(operations.askers()) {
            control.reply(asker, &gone, now);
        }
        // One poll takes up who has come meanwhile, the next reads what they ask.
        let mut late = control.poll(now);
        late.extend(control.poll(now));
        for (asker, request) in late {
            match request {
                Request::Down => askers.push(asker),
                Request::DownDrain { .. }
                | Request::ZonesMove { .. }
                | Request::SimsScale { .. }
                | Request::DrainSim { .. }
                | Request::FrontendsScale { .. }
                | Request::DrainFrontend { .. }
                | Request::Upgrade { .. }
                | Request::MatchesCreate { .. }
                | Request::MatchesEnd { .. }
                | Request::MatchesResume { .. }
                | Request::SessionsKick { .. }
                | Request::Set(_)
                | Request::LogLevel { .. }
                | Request::HookAnswers { .. } => control.reply(asker, &gone, now),
            }
        }
        let stopped = done(format!("instance \"{}\" has stopped", config.instance), None);
        for asker in askers {
            control.reply(asker, &stopped, now);
        }
        let answer = |request: &Request| if matches!(request, Request::Down) { stopped.clone() } else { gone.clone() };
        control.finish(Duration::from_millis(AUDIT_STOP_MS), answer);
    }
}

/// Ends the workers in order: clients are told, sims stop, and what nobody has taken of results is written.
fn end_all(workers: &mut Workers, zones: &mut Zones, segments: &Segments, instance: &mut InstanceEntry, rules: &Rules) {
    instance.stopping = Stopping::Now as u32;
    if let Err(error) = DirectoryWriter::new(&segments.directory).publish_instance(instance, &rules.map_json) {
        // It had room at the start, and is still the same.
        error!("the directory does not say that the instance stops: {error}");
    }
    workers.stop(Role::Frontend, segments, Duration::from_millis(FRONTEND_STOP_MS));
    workers.stop(Role::Sim, segments, Duration::from_millis(SIM_STOP_MS));
    workers.stop(Role::Hook, segments, Duration::from_millis(HOOK_STOP_MS));
    workers.stop(Role::Admin, segments, Duration::from_millis(HOOK_STOP_MS));
    zones.write_all_results(segments);
}

fn done(sentence: String, match_id: Option<u64>) -> Response {
    Response::Ok { sentence, match_id }
}

fn refused(error: &MatchError) -> Response {
    Response::Error { sentence: error.to_string() }
}

/// What the directory calls a role.
fn shared_role(role: Role) -> ringfort_shm_state::layout::Role {
    match role {
        Role::Frontend => ringfort_shm_state::layout::Role::Frontend,
        Role::Sim => ringfort_shm_state::layout::Role::Sim,
        Role::Hook => ringfort_shm_state::layout::Role::Hook,
        Role::Admin => ringfort_shm_state::layout::Role::Admin,
    }
}

/// A state as the directory holds it.
fn number(state: WorkerState) -> u32 {
    state as u32
}
