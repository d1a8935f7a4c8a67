//! `ringfort up`: everything is checked before anything is made, and what is made is removed again when a later step fails. What
//! an earlier run left is gone on with, if it is as it should be, and is not touched if it is not.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::flight::FlightRing;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{InstanceEntry, Role as SharedRole, Stopping, WorkerEntry, WorkerState, ZoneState};
use ringfort_shm_state::limits::EXTENT_BYTES;
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{SegmentSpec, unpadded};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use super::adoption::Orphans;
use super::control::ControlServer;
use super::errors::{MatchError, UpError};
use super::leftovers::Leftovers;
use super::lock_watch::LockWatch;
use super::moves::Operations;
use super::pulse::Polls;
use super::results::Results;
use super::rules::{Rules, mib_of};
use super::segments::{Segments, Start};
use super::signals::{ASK_TO_STOP, Signals};
use super::sockets::{BindError, Sockets};
use super::spawn::CONFIG_VARIABLE;
use super::workers::{Death, Wakes, Workers};
use super::zones::{Opening, Zones};
use super::{Supervisor, number};
use crate::admin;
use crate::auth::Auth;
use crate::certificate::Certificate;
use crate::cli::Role;
use crate::clock::boot_us;
use crate::config::{AuthMode, Config};
use crate::flight;
use crate::game::Game;
use crate::limits::{
    MATCH_OPEN_MS, OPEN_FILES_MIN, PORT_FREE_MS, PORT_LOOK_MS, SUPERVISOR_PLACE, SUPERVISOR_TURN_MS, WORKER_START_MS,
};
use crate::log_level;
use crate::logging::{self, Source};
use crate::run_dir::{InstanceLock, RunDir};

/// Matches that the summary names; of more it tells the number.
const SUMMARY_MATCHES: usize = 8;

/// What is had before anything of the instance is looked at: its lock above all.
pub(super) struct Ground {
    pub(super) run_dir: RunDir,
    pub(super) lock: InstanceLock,
    pub(super) signals: Signals,
    pub(super) rules: Rules,
}

impl Ground {
    pub(super) fn of<G: Game>(config: &Config) -> Result<Ground, UpError> {
        // A key that no front-end can use is told of once, and before anything is touched.
        Auth::of(config)?;
        let run_dir = RunDir::open(&config.instance)?;
        kill_point::identify("supervisor", 0, 0);
        let lock = run_dir.lock()?;
        kill_point!("adopt:locked");
        run_dir.ensure_directories()?;
        logging::start(Source::Supervisor, config.log_level, &run_dir.supervisor_log())?;
        // Before the first child, which undoes it for itself; and before there is something to be cleaned up.
        let signals = Signals::block(&ASK_TO_STOP).map_err(UpError::Descriptors)?;
        run_dir.ensure_keys(&lock)?;
        Certificate::prepare(&config.tls, &run_dir)?;
        Ok(Ground { run_dir, lock, signals, rules: Rules::of::<G>(config) })
    }
}

/// Starts an instance of a game and runs it until it is told to stop, or goes on with the workers of one whose supervisor has died. The
/// configuration is a valid one. With `fresh` nothing of an earlier run is gone on with.
pub fn up<G: Game>(config: Config, fresh: bool) -> Result<(), UpError> {
    let ground = Ground::of::<G>(&config)?;
    let admin = admin::listen(&config.admin)?;
    let mut supervisor = begin(ground, config, fresh)?;
    supervisor.start_admin(admin)?;
    supervisor.open_matches()?;
    supervisor.segments.keep();
    supervisor.workers.keep();
    supervisor.greet();
    let askers = supervisor.run();
    supervisor.stop(askers);
    Ok(())
}

/// A supervisor with workers.
fn begin(ground: Ground, config: Config, fresh: bool) -> Result<Supervisor, UpError> {
    allow_open_files()?;
    let orphans = Orphans::find(&config, &ground.rules, &ground.run_dir)?;
    if let Some(orphans) = orphans {
        if fresh {
            return Err(UpError::WorkersLive { instance: config.instance, count: orphans.count() });
        }
        match orphans.ask(&config.instance, &ground.run_dir) {
            Some(handed) => return Supervisor::adopt(ground, config, orphans, handed),
            None => {
                orphans.check_here(&config.instance, &ground.run_dir)?;
                orphans.kill();
            }
        }
    }
    let mut supervisor = prepare(ground, config, fresh)?;
    supervisor.await_workers()?;
    supervisor.steer();
    supervisor.await_resumed()?;
    Ok(supervisor)
}

/// Raises the limit on open files as far as is needed, before workers are asked for their descriptors: without room for those they would be taken
/// for ones that hand nothing over.
fn allow_open_files() -> Result<(), UpError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= OPEN_FILES_MIN) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(OPEN_FILES_MIN), maximum };
    setrlimit(Resource::Nofile, raised).map_err(|_| UpError::OpenFiles { found: maximum.or(current).unwrap_or(0) })
}

/// Checks, binds, creates or resumes, spawns.
fn prepare(ground: Ground, mut config: Config, fresh: bool) -> Result<Supervisor, UpError> {
    let Ground { run_dir, lock, signals, rules } = ground;
    run_dir.clear_workers(&[]);
    let leftovers = Leftovers::find(&config, &rules, fresh)?;
    leftovers.keep_sizes(&mut config);
    if let Some(earlier) = &leftovers.earlier {
        info!("an earlier run left {} matches to go on with", earlier.matches.len());
    }
    check_matches(&rules, &config, leftovers.earlier.is_some())?;
    let patience = Duration::from_millis(if leftovers.earlier.is_some() { PORT_FREE_MS } else { 0 });
    let sockets = bind(config.listen, patience)?;
    config.listen = sockets.address();
    let control = audited_socket(&config, &rules, &run_dir, &lock)?;
    leftovers.clear(&config)?;
    let start = if leftovers.earlier.is_some() { Start::Resumes } else { Start::Anew };
    let segments = Segments::make(&config, start)?;
    let instance = publish(&segments, &config, &rules)?;
    let results = Results::new(&config, &rules).map_err(UpError::Descriptors)?;
    let zones = Zones::new(&config, &segments, results);
    let wakes = Wakes::make().map_err(UpError::Descriptors)?;
    let mut workers = Workers::new(&config, &segments, &run_dir, wakes);
    workers.start_all(&segments, &sockets)?;
    let ground = Ground { run_dir, lock, signals, rules };
    Ok(Supervisor::of(ground, config, instance, (workers, segments, zones), sockets, control))
}

/// The control socket, with the audit log of what is asked there; where that is, is noted for those who look.
pub(super) fn audited_socket(
    config: &Config,
    rules: &Rules,
    run_dir: &RunDir,
    lock: &InstanceLock,
) -> Result<ControlServer, UpError> {
    run_dir.note_results(&config.hooks.results_file(&config.instance), lock)?;
    Ok(ControlServer::bind(&run_dir.control_socket())?.audited(config.hooks.audit_file(&config.instance), rules.schema)?)
}

/// Binds the port. A process of an earlier run that is being killed may hold it for a moment still, also one that no directory names.
fn bind(listen: SocketAddr, patience: Duration) -> Result<Sockets, BindError> {
    let until = Instant::now() + patience;
    loop {
        match Sockets::bind(listen) {
            Err(BindError::InUse(_)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(PORT_LOOK_MS)),
            bound => return bound,
        }
    }
}

/// The options of `[game]` must serve a match that is created later, too; the arena must hold the matches to start with. Beside
/// those of an earlier run, which are worth more, one that finds no room is left out: see [`Supervisor::open_matches`].
pub(super) fn check_matches(rules: &Rules, config: &Config, resumes: bool) -> Result<(), UpError> {
    rules.plan(&config.game, config.spectators).map_err(UpError::Options)?;
    let total = ((config.arena_mib as usize) << 20) / EXTENT_BYTES;
    let matches = config.initial_matches();
    let (mut needed, mut fit) = (0, 0);
    for wanted in &matches {
        needed += rules.plan(&wanted.options, wanted.spectators.unwrap_or(0))?.extents;
        fit += usize::from(needed <= total);
    }
    if needed > total && !resumes {
        return Err(UpError::ArenaTooSmall { fit, wanted: matches.len(), needed, total, mib: mib_of(needed) });
    }
    Ok(())
}

/// Says in the directory what the instance is, and who runs it.
fn publish(segments: &Segments, config: &Config, rules: &Rules) -> Result<InstanceEntry, UpError> {
    let ip = match config.listen.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let instance = InstanceEntry {
        started_us: boot_us(),
        listen_ip: ip.octets(),
        listen_port: config.listen.port().into(),
        stopping: Stopping::No as u32,
        frontends: config.frontends,
        sims: config.sims,
        map_bytes: rules.map_json.len() as u64,
        schema_hash: rules.schema_hash,
        log_levels: log_level::of_all(config.log_level),
    };
    let directory = DirectoryWriter::new(&segments.directory);
    directory.publish_instance(&instance, &rules.map_json)?;
    enter_supervisor(&config.instance, segments, 0, 1);
    Ok(instance)
}

/// Enters this process into the directory as the supervisor, and notes there from here on what happens.
pub(super) fn enter_supervisor(instance: &str, segments: &Segments, restarts: u32, incarnation: u32) {
    let me = ProcessId::current();
    let entry = WorkerEntry {
        pid: me.pid,
        role: ringfort_shm_state::layout::Role::Supervisor as u32,
        start_time: me.start_time,
        slot: 0,
        restarts,
        state: number(WorkerState::Running),
        incarnation,
    };
    DirectoryWriter::new(&segments.directory).publish_worker(SUPERVISOR_PLACE, &entry);
    if let Err(error) = flight::start(instance, SegmentSpec::DIRECTORY, FlightRing::DIRECTORY, incarnation) {
        warn!("`ringfort tail` will not tell what the supervisor does: {error}");
    }
}

/// The configuration that a worker was started with, as JSON.
pub(super) fn config_of(pid: u32) -> Option<String> {
    String::from_utf8(variable_of(pid, CONFIG_VARIABLE)?).ok()
}

/// A variable of the environment that a process was started with.
pub(super) fn variable_of(pid: u32, name: &str) -> Option<Vec<u8>> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let named = |variable: &[u8]| Some(variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.to_vec());
    environment.split(|byte| *byte == 0).find_map(named)
}

impl Supervisor {
    /// All parts put together, with nothing asked of them yet.
    pub(super) fn of(
        ground: Ground,
        config: Config,
        instance: InstanceEntry,
        (workers, segments, zones): (Workers, Segments, Zones),
        sockets: Sockets,
        control: ControlServer,
    ) -> Supervisor {
        let Ground { run_dir, lock, signals, rules } = ground;
        // Of a run that it has adopted it goes on with the level that was set there.
        log_level::follow(Some(&instance), SharedRole::Supervisor);
        Supervisor {
            workers,
            segments,
            zones,
            sockets,
            signals,
            control,
            rules,
            polls: Polls::new(Instant::now()),
            lock_watch: LockWatch::default(),
            config,
            run_dir,
            instance,
            adopted: 0,
            admin: None,
            closes_at: None,
            steered: Vec::new(),
            creating: Vec::new(),
            ending: Vec::new(),
            kicking: Vec::new(),
            operations: Operations::default(),
            _lock: lock,
        }
    }

    /// Waits until every worker has claimed its segment once. One that has died, which only a start on matches of an earlier run
    /// survives, is not waited for: it is started again as at any other time.
    fn await_workers(&mut self) -> Result<(), UpError> {
        let until = Instant::now() + Duration::from_millis(WORKER_START_MS);
        while let Some((role, slot)) = self.workers.first_silent() {
            if Instant::now() >= until {
                return Err(UpError::WorkerSilent { role, slot, log: self.run_dir.worker_log(role, slot) });
            }
            self.starting_turn()?;
        }
        Ok(())
    }

    /// Waits until the sims have taken the matches of an earlier run over, and those that were over are cleared away: their names
    /// are free then.
    fn await_resumed(&mut self) -> Result<(), UpError> {
        let until = Instant::now() + Duration::from_millis(MATCH_OPEN_MS);
        // One that takes longer, or that its sim could not take over, is no reason to stop the others.
        while self.zones.is_resuming(&self.segments, &self.workers) && Instant::now() < until {
            self.starting_turn()?;
        }
        for (name, sim) in self.zones.not_taken_over(&self.segments) {
            let log = self.run_dir.worker_log(Role::Sim, sim);
            warn!(
                "match {name} stands still: sim {sim} has not taken it over yet; `ringfort status` shows it, the log {} says why",
                log.display()
            );
        }
        Ok(())
    }

    /// Creates the matches to start with, except those that go on from an earlier run, and waits until their sims have opened them.
    /// Beside matches of an earlier run one that finds no room, or can't be opened, is no reason to stop those.
    fn open_matches(&mut self) -> Result<(), UpError> {
        let matches = self.config.initial_matches();
        let mut waiting = Vec::with_capacity(matches.len());
        for wanted in &matches {
            if let Some(entry) = self.zones.entry(&wanted.name) {
                if entry.state == ZoneState::Closed as u32 {
                    warn!(
                        "match {} is not started: the one of that name is over and has yet to give its memory back; create it when \
                         `ringfort matches list` shows none",
                        wanted.name
                    );
                } else if unpadded(&entry.options) != self.rules.plan(&wanted.options, entry.spectators)?.options {
                    warn!("match {} goes on with the options that it was made with, not with those configured now", wanted.name);
                }
                continue;
            }
            match self.zones.create(&self.segments, &self.rules, wanted) {
                Ok((slot, id)) => waiting.push((slot, id, &wanted.name)),
                Err(error) if self.segments.resumed() && error.is_lack_of_room() => {
                    warn!("match {} is not started beside those of the earlier run: {error}", wanted.name);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.workers.wake_all();
        let until = Instant::now() + Duration::from_millis(MATCH_OPEN_MS);
        while let Some((slot, id, name)) = waiting.last() {
            match self.zones.opening(*slot, *id) {
                Opening::Open => drop(waiting.pop()),
                Opening::Waiting if Instant::now() < until => self.starting_turn()?,
                // A slow machine is no reason not to start: `status` shows a match that is not open yet.
                Opening::Waiting => return Ok(()),
                Opening::Failed { sim } => {
                    let error = MatchError::NotOpened { name: (*name).clone(), log: self.run_dir.worker_log(Role::Sim, sim) };
                    if !self.segments.resumed() {
                        return Err(error.into());
                    }
                    warn!("{error}");
                    waiting.pop();
                }
            }
        }
        Ok(())
    }

    /// A turn in which a death is an error: what dies at the start would die again. Not so when matches of an earlier run are
    /// taken over, one of which may be the reason: then the sims of the others go on, and the one that died is started again ever
    /// more slowly, as at any other time.
    fn starting_turn(&mut self) -> Result<(), UpError> {
        self.wait(Duration::from_millis(SUPERVISOR_TURN_MS / 10));
        if self.signals.take().is_some() {
            return Err(UpError::Interrupted);
        }
        match self.turn().first() {
            Some(&Death { role, slot, ending, .. }) if !self.segments.resumed() => {
                Err(UpError::WorkerDied { role, slot, ending, log: self.run_dir.worker_log(role, slot) })
            }
            _ => Ok(()),
        }
    }

    /// Has a process answer monitors, if one is to.
    fn start_admin(&mut self, listener: Option<TcpListener>) -> Result<(), UpError> {
        let Some(listener) = listener else { return Ok(()) };
        let address = listener.local_addr().map_err(UpError::Descriptors)?;
        info!("monitors are answered at http://{address}");
        self.admin = Some(address);
        self.segments.add_admin()?;
        self.workers.add_admin(listener.into(), &self.segments, Instant::now());
        Ok(())
    }

    /// The first line is for programs that wait for it, the rest for who typed the command.
    fn greet(&self) {
        let Config { instance, listen, frontends, sims, .. } = &self.config;
        let resumed = match self.adopted {
            0 if self.segments.resumed() => "; it goes on from an earlier run",
            0 => "",
            _ => "; it goes on",
        };
        info!("instance \"{instance}\" listens on {listen}{resumed}");
        let mut names = self.zones.names();
        let count = names.len();
        if count > SUMMARY_MATCHES {
            names.truncate(SUMMARY_MATCHES);
            names.push("..".to_owned());
        }
        let matches = match count {
            0 => "none yet; `ringfort matches create NAME` makes one".to_owned(),
            count => format!("{count} ({}){resumed}", names.join(", ")),
        };
        let codes: String =
            self.zones.codes().map(|(name, code)| format!("\x20 code       {name} is joined with {code}\n")).collect();
        let names = match self.config.auth.mode {
            AuthMode::Development => Some("development mode: any player's name is believed, whoever says it"),
            AuthMode::Token => None,
        };
        let certificate = self.config.tls.cert.is_none().then_some("the certificate is self-signed");
        let past = self.rules.doubt();
        let doubts: Vec<&str> = names.into_iter().chain(certificate).chain(past.as_deref()).collect();
        let warning = if doubts.is_empty() { String::new() } else { format!("\x20 WARNING    {}\n", doubts.join(", and ")) };
        let admin = self.admin.map_or(String::new(), |at| format!("\x20 monitors   http://{at}/metrics\n"));
        let adopted = match self.adopted {
            0 => String::new(),
            count => format!("\x20 adopted    {count} processes of an earlier supervisor\n"),
        };
        let text = format!(
            "ringfort: instance {instance} listening on {listen}\n\
             {adopted}\x20 processes  {frontends} front-ends, {sims} sims\n\
             \x20 matches    {matches}\n\
             {codes}{admin}\x20 logs       {}\n\
             {warning}\
             `ringfort status --instance {instance}` shows what goes on. Ctrl-C to stop.\n",
            self.run_dir.supervisor_log().parent().unwrap_or(self.run_dir.path()).display(),
        );
        // Nobody may be reading; that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
