//! An instance of the game `tally` for one run, under a process of its own that clears it away whatever becomes of us.
//!
//! [`Host`] is our end: it starts that process ([`super::host_process`]), knows from it who the supervisor is and when there was none, and
//! tells it when to stop.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::ChaosError;
use super::host_process::{COMMAND, KEEP, LOG, Said};
use crate::tally;

/// The running instance.
pub(super) struct Host {
    process: Child,
    instance: String,
    directory: PathBuf,
    address: SocketAddr,
    watch: Arc<Mutex<Watch>>,
}

/// What is known of the supervisor.
#[derive(Debug, Default)]
struct Watch {
    pid: Option<i32>,
    /// Since when there is none.
    gone: Option<Instant>,
    absences: Vec<(Instant, Instant)>,
    /// How those that were not killed ended.
    failed: Vec<String>,
}

impl Host {
    /// Starts an instance of this name with these flags of `up`.
    pub(super) fn start(instance: &str, flags: &[String]) -> Result<Host, ChaosError> {
        let directory = std::env::temp_dir().join(format!("ringfort-{instance}"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args([COMMAND, "--instance", instance, "--directory"]).arg(&directory).arg("--").args(flags);
        // A group of its own: a Ctrl-C in our terminal is for us, and the host clears up after us.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut process = command.spawn()?;
        let watch = Arc::new(Mutex::new(Watch::default()));
        let (address, listens) = mpsc::channel();
        if let Some(output) = process.stdout.take() {
            let watch = Arc::clone(&watch);
            thread::spawn(move || listen(BufReader::new(output), &watch, &address));
        }
        match listens.recv() {
            Ok(address) => Ok(Host { process, instance: instance.to_owned(), directory, address, watch }),
            // It has ended, and its pipe with it.
            Err(_) => {
                tell(&mut process, KEEP);
                process.wait()?;
                Err(ChaosError::NotStarted { log: directory.join(LOG) })
            }
        }
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The instance's name.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// The directory of its files.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The process id of the supervisor that runs or starts.
    pub(super) fn supervisor(&self) -> Option<i32> {
        lock(&self.watch).pid
    }

    /// The supervisor was killed, at this time.
    pub(super) fn supervisor_killed(&self, at: Instant) {
        lock(&self.watch).gone.get_or_insert(at);
    }

    /// From when until when there was no supervisor, and how those ended that nobody had killed.
    pub(super) fn absences(&self) -> (Vec<(Instant, Instant)>, Vec<String>) {
        let watch = lock(&self.watch);
        let open = watch.gone.map(|gone| (gone, Instant::now()));
        (watch.absences.iter().copied().chain(open).collect(), watch.failed.clone())
    }

    /// Whether there is a supervisor that watches.
    pub(super) fn is_supervised(&self) -> bool {
        lock(&self.watch).gone.is_none()
    }

    /// Stops the instance and removes what it has left; with `keep`, its files stay.
    pub(super) fn stop(mut self, keep: bool) -> io::Result<()> {
        if keep {
            tell(&mut self.process, KEEP);
        }
        drop(self.process.stdin.take());
        self.process.wait().map(drop)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // The host ends by itself; nothing can be done here about one that does not.
        let _ = self.process.wait();
    }
}

/// Notes what the host says, to its end.
fn listen(lines: impl BufRead, watch: &Mutex<Watch>, address: &Sender<SocketAddr>) {
    for line in lines.lines().map_while(Result::ok) {
        let now = Instant::now();
        let mut watch = lock(watch);
        match Said::parse(&line) {
            Some(Said::Started(pid)) => watch.pid = Some(pid),
            Some(Said::Listens(at)) => {
                if let Some(gone) = watch.gone.take() {
                    watch.absences.push((gone, now));
                }
                // Only the first is waited for.
                let _ = address.send(at);
            }
            Some(Said::Ended { killed, how }) => {
                watch.pid = None;
                watch.gone.get_or_insert(now);
                if !killed {
                    watch.failed.push(how);
                }
            }
            None => {}
        }
    }
}

/// Nothing that is done under this lock can panic.
fn lock(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host that is gone needs not be told anything.
fn tell(host: &mut Child, word: &str) {
    if let Some(mut input) = host.stdin.take() {
        let _ = writeln!(input, "{word}");
    }
}

/// A command of the game's command line for an instance with these files.
pub(super) fn command(instance: &str, directory: &Path, arguments: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(tally::COMMAND).args(arguments).args(["--instance", instance]);
    command.env("XDG_RUNTIME_DIR", directory).env("XDG_STATE_HOME", directory).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}
