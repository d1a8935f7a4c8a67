//! `ringfort up`: everything is checked before anything is made, and what is made is removed again when a later step fails.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::layout::{InstanceEntry, WorkerEntry, WorkerState};
use ringfort_shm_state::limits::EXTENT_BYTES;
use ringfort_shm_state::process::ProcessId;
use tracing::info;

use super::control::ControlServer;
use super::errors::{MatchError, UpError};
use super::rules::{Rules, mib_of};
use super::segments::{Segments, remove_leftovers};
use super::signals::Signals;
use super::sockets::Sockets;
use super::workers::{Death, Workers};
use super::zones::{Opening, Zones};
use super::{Supervisor, number};
use crate::certificate::Certificate;
use crate::cli::Role;
use crate::clock::boot_us;
use crate::config::{Config, MatchConfig};
use crate::game::Game;
use crate::limits::{MATCH_OPEN_MS, SUPERVISOR_PLACE, SUPERVISOR_TURN_MS, WORKER_START_MS};
use crate::logging::{self, Source};
use crate::run_dir::RunDir;

/// Matches that the summary names; of more it tells the number.
const SUMMARY_MATCHES: usize = 8;

/// Starts an instance of a game and runs it until it is told to stop. The configuration is a valid one.
pub fn up<G: Game>(config: Config) -> Result<(), UpError> {
    let mut supervisor = prepare::<G>(config)?;
    supervisor.await_workers()?;
    supervisor.steer();
    let matches = supervisor.config.initial_matches();
    supervisor.open_matches(&matches)?;
    supervisor.greet(&matches);
    let askers = supervisor.run();
    supervisor.stop(askers);
    Ok(())
}

/// Checks, binds, creates, spawns.
fn prepare<G: Game>(mut config: Config) -> Result<Supervisor, UpError> {
    let run_dir = RunDir::open(&config.instance)?;
    let lock = run_dir.lock()?;
    run_dir.ensure_logs()?;
    logging::start(Source::Supervisor, config.log_level, &run_dir.supervisor_log())?;
    // Before the first child, which undoes it for itself; and before there is something to be cleaned up.
    let signals = Signals::block().map_err(UpError::Descriptors)?;
    run_dir.ensure_keys(&lock)?;
    Certificate::prepare(&config.tls, &run_dir)?;
    let rules = Rules::of::<G>(&config);
    check_matches(&rules, &config)?;
    remove_leftovers(&config.instance)?;
    let sockets = Sockets::bind(config.listen)?;
    config.listen = sockets.address();
    let control = ControlServer::bind(&run_dir.control_socket())?;
    let segments = Segments::create(&config)?;
    let instance = publish(&segments, &config, &rules)?;
    let mut workers = Workers::new(&config).map_err(UpError::Descriptors)?;
    workers.start_all(&segments, &sockets)?;
    let zones = Zones::new(&config);
    let creating = Vec::new();
    Ok(Supervisor {
        workers,
        segments,
        zones,
        sockets,
        signals,
        control,
        rules,
        config,
        run_dir,
        instance,
        creating,
        _lock: lock,
    })
}

/// The options of `[game]` must serve a match that is created later, too; the arena must hold the matches to start with.
fn check_matches(rules: &Rules, config: &Config) -> Result<(), UpError> {
    rules.plan(&config.game).map_err(UpError::Options)?;
    let (total, mut needed, mut fit) = (((config.arena_mib as usize) << 20) / EXTENT_BYTES, 0, 0);
    let matches = config.initial_matches();
    for wanted in &matches {
        needed += rules.plan(&wanted.options)?.extents;
        fit += usize::from(needed <= total);
    }
    if needed > total {
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
        stopping: 0,
        schema_bytes: rules.schema_json.len() as u64,
        schema_hash: rules.schema_hash,
    };
    let directory = DirectoryWriter::new(&segments.directory);
    directory.publish_instance(&instance, &rules.schema_json)?;
    let me = ProcessId::current();
    let entry = WorkerEntry {
        pid: me.pid,
        role: ringfort_shm_state::layout::Role::Supervisor as u32,
        start_time: me.start_time,
        slot: 0,
        restarts: 0,
        state: number(WorkerState::Running),
        incarnation: 1,
    };
    directory.publish_worker(SUPERVISOR_PLACE, &entry);
    Ok(instance)
}

impl Supervisor {
    /// Waits until every worker has claimed its segment.
    fn await_workers(&mut self) -> Result<(), UpError> {
        let until = Instant::now() + Duration::from_millis(WORKER_START_MS);
        while let Some((role, slot)) = self.workers.first_unready() {
            if Instant::now() >= until {
                return Err(UpError::WorkerSilent { role, slot, log: self.run_dir.worker_log(role, slot) });
            }
            self.starting_turn()?;
        }
        Ok(())
    }

    /// Creates the matches to start with and waits until their sims have opened them.
    fn open_matches(&mut self, matches: &[MatchConfig]) -> Result<(), UpError> {
        let mut waiting = Vec::with_capacity(matches.len());
        for wanted in matches {
            let (slot, id) = self.zones.create(&self.segments, &self.rules, &wanted.name, &wanted.options)?;
            waiting.push((slot, id, &wanted.name));
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
                    let log = self.run_dir.worker_log(Role::Sim, sim);
                    return Err(MatchError::NotOpened { name: (*name).clone(), log }.into());
                }
            }
        }
        Ok(())
    }

    /// A turn in which a death is an error: what dies at the start would die again.
    fn starting_turn(&mut self) -> Result<(), UpError> {
        self.wait(Duration::from_millis(SUPERVISOR_TURN_MS / 10));
        if self.signals.take() {
            return Err(UpError::Interrupted);
        }
        match self.turn().first() {
            Some(&Death { role, slot, ending, .. }) => {
                Err(UpError::WorkerDied { role, slot, ending, log: self.run_dir.worker_log(role, slot) })
            }
            None => Ok(()),
        }
    }

    /// The first line is for programs that wait for it, the rest for who typed the command.
    fn greet(&self, matches: &[MatchConfig]) {
        let Config { instance, listen, frontends, sims, .. } = &self.config;
        info!("instance \"{instance}\" listens on {listen}");
        let mut names: Vec<&str> = matches.iter().take(SUMMARY_MATCHES).map(|entry| entry.name.as_str()).collect();
        if matches.len() > SUMMARY_MATCHES {
            names.push("..");
        }
        let matches = match matches.len() {
            0 => "none yet; `ringfort matches create NAME` makes one".to_owned(),
            count => format!("{count} ({})", names.join(", ")),
        };
        let certificate = match self.config.tls.cert {
            Some(_) => "",
            None => ", and the certificate is self-signed",
        };
        let text = format!(
            "ringfort: instance {instance} listening on {listen}\n\
             \x20 processes  {frontends} front-ends, {sims} sims\n\
             \x20 matches    {matches}\n\
             \x20 logs       {}\n\
             \x20 WARNING    development mode: any player's name is accepted{certificate}\n\
             `ringfort status --instance {instance}` shows what goes on. Ctrl-C to stop.\n",
            self.run_dir.supervisor_log().parent().unwrap_or(self.run_dir.path()).display(),
        );
        // Nobody may be reading; that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
