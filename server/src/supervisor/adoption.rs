//! `ringfort up` and `ringfort down` beside workers that outlive an earlier supervisor: what is there is gone on with, and what has died
//! meanwhile is dead as of now.
//!
//! **Invariant**: everything that is written here says what is so already, or what any other supervisor would find and write again. One that is killed
//! anywhere in it leaves to the next what it has found itself, and workers are untouched by one that refuses.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{InstanceEntry, Stopping, WorkerEntry};
use ringfort_shm_state::process::{self, ProcessId};
use ringfort_shm_state::segment::{Segment, SegmentSpec, check_private, leftovers};
use rustix::process::Signal;
use tracing::{error, info, warn};

use super::Supervisor;
use super::errors::UpError;
use super::leftovers::{Earlier, await_deaths, judge, whole};
use super::results::Results;
use super::rules::Rules;
use super::segments::{Segments, Start};
use super::sockets::Sockets;
use super::spawn::Worker;
use super::start::{self, Ground};
use super::workers::{Death, Wakes, Workers, living, worker_name};
use super::zones::Zones;
use crate::cli::Role;
use crate::config::Config;
use crate::descriptors::{self, Descriptors};
use crate::limits::{FRONTENDS_MAX, HAND_ROUNDS, LEFTOVER_PATIENCE_MS, LEFTOVER_POLL_MS, SIMS_MAX, STANDBY_SIMS};
use crate::run_dir::{RUNTIME_VARIABLE, RunDir};

/// Workers of an earlier supervisor that live, and the run that they are of.
pub(super) struct Orphans {
    workers: Vec<Worker>,
    earlier: Earlier,
    instance: InstanceEntry,
}

/// What they have handed over.
pub(super) struct Handed {
    sockets: Sockets,
    wakes: Wakes,
}

impl Orphans {
    /// Looks for them; changes nothing. `None` when no worker lives. They are refused if they are of another game or version.
    pub(super) fn find(config: &Config, rules: &Rules, run_dir: &RunDir) -> Result<Option<Orphans>, UpError> {
        let name = &config.instance;
        let files = leftovers(name);
        files.iter().try_for_each(|path| check_private(path))?;
        let refused = |pid, unfit| UpError::OtherWorkers { instance: name.clone(), pid, unfit };
        let directory = match whole(name, SegmentSpec::DIRECTORY) {
            Ok(Some(directory)) => directory,
            Ok(None) => return check_unlisted(name, run_dir).map(|()| None),
            // Of another version only its sockets can be understood.
            Err(unfit) => return run_dir.listening_worker().map_or(Ok(None), |pid| Err(refused(pid, unfit))),
        };
        let Some(instance) = Directory::new(&directory).instance() else { return Ok(None) };
        let mut workers = living(Directory::new(&directory));
        // The hook's process ends with its supervisor, as does whoever was not entered yet.
        workers.retain(|worker| !worker.role.ends_with_supervisor());
        let Some(first) = workers.first().map(pid_of) else { return Ok(None) };
        await_deaths(name, &files, &workers.iter().map(pid_of).collect::<Vec<_>>())?;
        match judge(name, rules, true) {
            Ok(Some(earlier)) => Ok(Some(Orphans { workers, earlier, instance })),
            Ok(None) => Ok(None),
            Err(unfit) => Err(refused(first, unfit)),
        }
    }

    /// How many live.
    pub(super) fn count(&self) -> usize {
        self.workers.len()
    }

    /// Where clients connect to.
    fn address(&self) -> SocketAddr {
        let ip: IpAddr = Ipv6Addr::from(self.instance.listen_ip).to_canonical();
        SocketAddr::new(ip, self.instance.listen_port as u16)
    }

    /// Has one of them hand the descriptors over. `None` when all are asked in vain.
    pub(super) fn ask(&self, name: &str, run_dir: &RunDir) -> Option<Handed> {
        let mut all: Vec<&Worker> = self.workers.iter().collect();
        // One that was stopped answers nobody.
        all.sort_by_key(|worker| process::state(pid_of(worker)) == Some('T'));
        for worker in (0..HAND_ROUNDS).flat_map(|_| all.iter()) {
            let pid = pid_of(worker);
            let handed = match descriptors::ask(&run_dir.worker_socket(pid), pid) {
                Ok(handed) => self.take(name, handed),
                Err(error) => {
                    warn!("{} {} (process {pid}) hands nothing over: {error}", worker.role, worker.slot);
                    continue;
                }
            };
            if handed.is_some() {
                return handed;
            }
            warn!("what {} {} (process {pid}) hands over is not of this instance", worker.role, worker.slot);
        }
        None
    }

    fn take(&self, name: &str, handed: Descriptors<std::os::fd::OwnedFd>) -> Option<Handed> {
        let Descriptors { sockets, frontend_wakes, sim_wakes, directory, world } = handed;
        let is_ours = |file: &std::os::fd::OwnedFd, spec: SegmentSpec| {
            let named = rustix::fs::stat(spec.path(name)).ok()?;
            let its = rustix::fs::fstat(file).ok()?;
            Some((named.st_dev, named.st_ino) == (its.st_dev, its.st_ino))
        };
        (is_ours(&directory, SegmentSpec::DIRECTORY)? && is_ours(&world, SegmentSpec::world(0))?).then_some(())?;
        let sockets = Sockets::adopt(sockets, self.address())?;
        Some(Handed { sockets, wakes: Wakes { frontends: frontend_wakes, sims: sim_wakes } })
    }

    /// Whether they listen in this run directory. Those that listen in another one hand their descriptors over there.
    pub(super) fn check_here(&self, instance: &str, run_dir: &RunDir) -> Result<(), UpError> {
        let runtime = |worker: &Worker| start::variable_of(pid_of(worker), RUNTIME_VARIABLE).map(OsString::from_vec);
        let elsewhere = |worker: &&Worker| !run_dir.is_below(runtime(worker)) && !run_dir.worker_socket(pid_of(worker)).exists();
        let Some(worker) = self.workers.iter().find(elsewhere) else { return Ok(()) };
        let runtime = runtime(worker).unwrap_or_default().display().to_string();
        Err(UpError::WorkersElsewhere { instance: instance.to_owned(), pid: pid_of(worker), runtime })
    }

    /// Kills them all, and waits until they are dead: nobody hands anything over, so that clients could not be reached through them.
    pub(super) fn kill(self) {
        error!("none of {} workers of an earlier supervisor hands its descriptors over; they are killed", self.count());
        for worker in &self.workers {
            // An error says that it is dead already.
            let _ = worker.signal(Signal::KILL);
        }
        let until = Instant::now() + Duration::from_millis(LEFTOVER_PATIENCE_MS);
        for worker in &self.workers {
            // Whoever lives nevertheless is found, and refused, by who looks at leftovers.
            let _ = worker.has_ended(Some(until.saturating_duration_since(Instant::now())));
        }
    }

    /// What runs stays as it is, whatever the configuration says by now.
    fn keep(&self, config: &mut Config) {
        self.earlier.keep_sizes(config);
        let slots = |role| self.workers.iter().filter(move |worker| worker.role == role).map(|worker| worker.slot);
        // Whoever has a slot beyond those that are counted was just added, or is about to end.
        let sims = slots(Role::Sim).max().unwrap_or(0).max(Zones::last_sim(&self.earlier.matches));
        let sims = self.instance.sims.clamp(1, SIMS_MAX).max((sims + 1).saturating_sub(STANDBY_SIMS));
        let frontends = slots(Role::Frontend).filter(|slot| *slot < FRONTENDS_MAX).map(|slot| slot + 1);
        let frontends = frontends.max().unwrap_or(0).max(self.instance.frontends.clamp(1, FRONTENDS_MAX));
        for (key, wanted, found) in [("frontends", &mut config.frontends, frontends), ("sims", &mut config.sims, sims)] {
            if *wanted != found {
                warn!(
                    "`{key}` stays {found}, as it is; {wanted} counts when the instance starts anew, or change it while it runs"
                );
                *wanted = found;
            }
        }
        let address = self.address();
        if config.listen != address && config.listen.port() != 0 {
            warn!("`listen` stays {address}, where clients are; {} counts when the instance starts anew", config.listen);
        }
        config.listen = address;
        let json = config.worker_json();
        let differs = |worker: &&Worker| start::config_of(pid_of(worker)).is_some_and(|its| its != json);
        if let Some(worker) = self.workers.iter().find(differs) {
            warn!(
                "{} {} and perhaps others go on with the configuration that they were started with; that of now counts for whoever is started from here on",
                worker.role, worker.slot
            );
        }
    }
}

/// Whoever has removed the segments under living workers has not removed those: they hold the port, and nothing says any more who they are.
fn check_unlisted(instance: &str, run_dir: &RunDir) -> Result<(), UpError> {
    let until = Instant::now() + Duration::from_millis(LEFTOVER_PATIENCE_MS);
    // One that is being killed listens for a moment still.
    while let Some(pid) = run_dir.listening_worker() {
        if Instant::now() >= until {
            return Err(UpError::Unlisted { instance: instance.to_owned(), pid });
        }
        std::thread::sleep(Duration::from_millis(LEFTOVER_POLL_MS));
    }
    Ok(())
}

fn pid_of(worker: &Worker) -> u32 {
    worker.pid.as_raw_pid() as u32
}

impl Supervisor {
    /// Goes on with workers of an earlier supervisor. Whoever has died since is started again in the first turn.
    pub(super) fn adopt(ground: Ground, mut config: Config, orphans: Orphans, handed: Handed) -> Result<Supervisor, UpError> {
        kill_point!("adopt:handed");
        orphans.keep(&mut config);
        let Ground { run_dir, lock, signals, rules } = ground;
        start::check_matches(&rules, &config, true)?;
        let control = start::audited_socket(&config, &rules, &run_dir, &lock)?;
        let results = Results::new(&config, &rules).map_err(UpError::Descriptors)?;
        let Handed { sockets, wakes } = handed;
        let count = orphans.count();
        let mut adopted = Adopted::take(&config, &rules, &run_dir, orphans, results, wakes)?;
        adopted.workers.keep();
        info!("{count} processes of an earlier supervisor are adopted");
        let Adopted { workers, mut segments, zones, instance } = adopted;
        segments.keep();
        let dead = workers.dead();
        let mut supervisor = Supervisor::of(
            Ground { run_dir, lock, signals, rules },
            config,
            instance,
            (workers, segments, zones),
            sockets,
            control,
        );
        supervisor.adopted = count;
        dead.iter().for_each(|death| supervisor.mourn_late(death));
        for (slot, incarnation) in supervisor.workers.dead_frontends(&supervisor.segments) {
            if incarnation > 0 {
                supervisor.zones.frontend_died(&supervisor.segments, slot, incarnation);
            }
        }
        kill_point!("adopt:granted");
        supervisor.steer();
        supervisor.workers.wake_all();
        Ok(supervisor)
    }

    /// Tells of a worker that has died while no supervisor lived, or was never started.
    fn mourn_late(&mut self, death: &Death) {
        let Death { role, slot, pid, .. } = *death;
        if pid != 0 {
            error!(
                "{} (process {pid}) has died while no supervisor lived; its log is {}",
                worker_name(role, slot),
                self.run_dir.worker_log(role, slot).display()
            );
        }
        if role == Role::Sim {
            self.zones.sim_died(&self.segments, slot, &self.workers.sims(&self.segments));
        }
    }
}

/// What is gone on with.
struct Adopted {
    workers: Workers,
    segments: Segments,
    zones: Zones,
    instance: InstanceEntry,
}

impl Adopted {
    /// Enters us as the supervisor, and them as ours.
    fn take(
        config: &Config,
        rules: &Rules,
        run_dir: &RunDir,
        orphans: Orphans,
        results: Results,
        wakes: Wakes,
    ) -> Result<Adopted, UpError> {
        let segments = Segments::make(config, Start::Adopts)?;
        kill_point!("adopt:attached");
        segments.remove_others();
        let instance =
            InstanceEntry { stopping: Stopping::No as u32, frontends: config.frontends, sims: config.sims, ..orphans.instance };
        DirectoryWriter::new(&segments.directory).publish_instance(&instance, &rules.map_json)?;
        let before = supervisor_of(&segments.directory);
        start::enter_supervisor(&config.instance, &segments, before.restarts + 1, before.incarnation + 1);
        kill_point!("adopt:entered");
        let zones = Zones::adopt(config, &segments, results);
        let mut workers = Workers::new(config, &segments, run_dir, wakes);
        workers.adopt(orphans.workers, &segments);
        kill_point!("adopt:workers");
        run_dir.clear_workers(&workers.pids());
        Ok(Adopted { workers, segments, zones, instance })
    }
}

/// The last supervisor's entry; zeros when there is none.
fn supervisor_of(directory: &Segment) -> WorkerEntry {
    let entry = Directory::new(directory).worker(crate::limits::SUPERVISOR_PLACE);
    entry.unwrap_or_else(zerocopy::FromZeros::new_zeroed)
}

/// Whether somebody could be stopped: cheap, and without a trace.
pub(super) fn anybody_lives(instance: &str) -> bool {
    let Ok(Some(directory)) = whole(instance, SegmentSpec::DIRECTORY) else { return false };
    let lives = |entry: WorkerEntry| ProcessId { pid: entry.pid, start_time: entry.start_time }.is_alive();
    Directory::new(&directory).workers().any(lives)
}

/// `ringfort down` where no supervisor lives: takes its place and stops the workers in order. `false` when there are none.
pub fn stop_orphans<G: crate::game::Game>(config: Config) -> Result<bool, UpError> {
    if !anybody_lives(&config.instance) {
        return Ok(false);
    }
    let Ground { run_dir, lock: _lock, signals: _signals, rules } = Ground::of::<G>(&config)?;
    let Some(orphans) = Orphans::find(&config, &rules, &run_dir)? else { return Ok(false) };
    let mut config = config;
    orphans.keep(&mut config);
    let results = Results::new(&config, &rules).map_err(UpError::Descriptors)?;
    // Nobody is called any more, but by signals.
    let wakes = Wakes::make().map_err(UpError::Descriptors)?;
    let Adopted { mut workers, segments, mut zones, mut instance } =
        Adopted::take(&config, &rules, &run_dir, orphans, results, wakes)?;
    super::end_all(&mut workers, &mut zones, &segments, &mut instance, &rules);
    drop(workers);
    segments.remove();
    run_dir.clear_workers(&[]);
    let _ = std::fs::remove_file(run_dir.control_socket());
    info!("instance \"{}\" has stopped", config.instance);
    Ok(true)
}
