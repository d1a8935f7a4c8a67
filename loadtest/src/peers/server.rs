//! A private Ringfort for one measurement: its own instance name, a free port, and as many matches as needed.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use ringfort::run_dir::RunDir;
use ringfort_peers::LOOPBACK;

use super::PeersError;
use super::plan::Plan;
use crate::children::Child;
use crate::{cpu, limits};

/// The running server; it is taken down when this is dropped.
pub(crate) struct RingfortServer {
    program: PathBuf,
    instance: String,
    address: SocketAddr,
    supervisor: Child,
    log: PathBuf,
    running: bool,
}

impl RingfortServer {
    /// Starts `ringfort up` with the matches that a plan's clients need.
    pub(super) fn start(plan: &Plan, players: usize, program: Option<&Path>) -> Result<RingfortServer, PeersError> {
        let matches = plan.clients.div_ceil(players.max(1));
        let flags = ["--matches", &matches.to_string(), "--tick-hz", &plan.hz.to_string(), "--game-option"];
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("capacity={players}"));
        RingfortServer::launch(program, &format!("peers-{}", process::id()), &flags)
    }

    /// Starts `ringfort up` with these flags and waits until it is up.
    pub(crate) fn launch(program: Option<&Path>, instance: &str, flags: &[String]) -> Result<RingfortServer, PeersError> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().map_err(PeersError::Io)?.with_file_name("ringfort"),
        };
        let address = free_address()?;
        let log = std::env::temp_dir().join(format!("ringfort-{instance}.log"));
        let mut command = Command::new(&program);
        command.args(["up", "--fresh", "--instance", instance, "--listen", &address.to_string()]).args(flags);
        command.stderr(File::create(&log).map_err(|source| PeersError::Write { path: log.clone(), source })?);
        let supervisor = super::spawn(command)?;
        let server = RingfortServer { program, instance: instance.to_owned(), address, supervisor, log, running: true };
        server.wait_until_up()?;
        Ok(server)
    }

    /// Processor time of front-ends and sims so far.
    pub(crate) fn cpu(&self) -> Result<Duration, PeersError> {
        let used = self.workers()?.into_iter().map(cpu::used).sum::<std::io::Result<Duration>>();
        used.map_err(|source| PeersError::ServerDied { role: "ringfort workers", source })
    }

    /// What `ringfort status` tells; nothing while it cannot be asked.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.command("status").arg("--json").stdout(Stdio::piped()).output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Its instance's name.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn workers(&self) -> Result<Vec<u32>, PeersError> {
        let died = |source| PeersError::ServerDied { role: "ringfort workers", source };
        cpu::descendants(self.supervisor.pid()).map_err(died)
    }

    /// All its processes: front-ends, sims, those that stand by, the supervisor.
    pub(crate) fn processes(&self) -> Result<Vec<u32>, PeersError> {
        let mut pids = self.workers()?;
        pids.push(self.supervisor.pid());
        Ok(pids)
    }

    /// Asks the instance to end, waits for it and removes its logs, keys and run directory. After a failure they stay.
    pub(crate) fn stop(mut self) {
        if !self.end() {
            return;
        }
        // What cannot be removed does no harm.
        let _ = fs::remove_file(&self.log);
        if let Ok(run_dir) = RunDir::open(&self.instance) {
            let _ = fs::remove_dir_all(run_dir.path());
        }
    }

    /// Ends it, if that was not done; whether it went as it should.
    fn end(&mut self) -> bool {
        if !std::mem::take(&mut self.running) {
            return true;
        }
        // Whatever `down` says, the supervisor's end is what counts; the child's drop kills what stays.
        let _ = self.command("down").status();
        let ended = self.supervisor.wait(limits::SERVER_STOP);
        if !ended {
            self.supervisor.kill();
            // Its workers would outlive it.
            let _ = self.command("down").status();
        }
        ended
    }

    fn wait_until_up(&self) -> Result<(), PeersError> {
        let patience = Instant::now() + limits::SERVER_START;
        while Instant::now() < patience {
            if self.all_matches_tick() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(PeersError::ServerStart { log: self.log.clone() })
    }

    /// A match takes players from its first tick on, which comes a moment after the instance is up.
    fn all_matches_tick(&self) -> bool {
        let Some(status) = self.status() else { return false };
        let matches = status["matches"].as_array().map_or(&[][..], Vec::as_slice);
        !matches.is_empty() && matches.iter().all(|one| one["tick"].as_u64() > Some(0))
    }

    /// One of its commands, silent.
    pub(crate) fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([what, "--instance", &self.instance]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for RingfortServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that nobody has at this moment; the server binds it again right away.
fn free_address() -> Result<SocketAddr, PeersError> {
    UdpSocket::bind(LOOPBACK).and_then(|socket| socket.local_addr()).map_err(PeersError::Io)
}
