//! An instance of the game `tally` for one run, under a process of its own that clears it away whatever becomes of us.
//!
//! [`Host`] is our end; [`run_host`] is the process. It starts `up`, tells where that listens, and reads its standard input to the
//! end, which comes when we are done or dead. Then it stops the instance and removes its processes, memory and files.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::ChaosError;
use crate::{limits, tally};

/// The hidden command that is the host.
pub(super) const COMMAND: &str = "chaos-host";
/// What the host is told when the instance's files are to stay.
const KEEP: &str = "keep";
/// The file with what `up` said, in the instance's directory.
const LOG: &str = "up.log";
/// Little memory: many instances may run side by side.
const CONFIGURATION: &str = "arena_mib = 64\ninbox_mib = 16\nmax_matches = 64\n";

/// What the host is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HostArgs {
    /// The instance's name.
    #[arg(long)]
    instance: String,
    /// A directory for its files, which is made.
    #[arg(long)]
    directory: PathBuf,
    /// Flags of `up`.
    #[arg(last = true)]
    flags: Vec<String>,
}

/// The running instance.
pub(super) struct Host {
    process: Child,
    instance: String,
    directory: PathBuf,
    address: SocketAddr,
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
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.trim().rsplit(' ').next().and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Host { process, instance: instance.to_owned(), directory, address }),
            None => {
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

/// The host's process.
pub(crate) fn run_host(args: &HostArgs) -> Result<(), ChaosError> {
    let HostArgs { instance, directory, flags } = args;
    if !shared_files(instance)?.is_empty() {
        let reason = format!("an instance \"{instance}\" is in shared memory already; name another with --instance");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason).into());
    }
    DirBuilder::new().mode(0o700).create(directory)?;
    let up = start(instance, directory, flags);
    let mut words = String::new();
    let _ = io::stdin().lock().read_to_string(&mut words);
    if let Ok(mut up) = up {
        stop(instance, directory, &mut up);
    }
    for pid in pids_in(directory) {
        // An error says that it has ended by itself since.
        let _ = kill_process(pid, Signal::KILL);
    }
    for file in shared_files(instance)? {
        let _ = fs::remove_file(file);
    }
    if !words.contains(KEEP) {
        fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// Starts `up` and passes on the line with its address.
fn start(instance: &str, directory: &Path, flags: &[String]) -> io::Result<Child> {
    fs::write(directory.join("ringfort.toml"), CONFIGURATION)?;
    let mut command = command(instance, directory, &["up", "--fresh", "--listen", "127.0.0.1:0"])?;
    command.args(flags).stdout(Stdio::piped()).stderr(File::create(directory.join(LOG))?);
    let mut up = command.spawn()?;
    let mut line = String::new();
    if let Some(output) = up.stdout.as_mut() {
        BufReader::new(output).read_line(&mut line)?;
    }
    // Whoever started us may be gone already; that is seen next.
    let _ = writeln!(io::stdout(), "{}", line.trim());
    Ok(up)
}

/// Asks the instance to end; its supervisor is killed when it does not in time.
fn stop(instance: &str, directory: &Path, up: &mut Child) {
    let down = command(instance, directory, &["down"]).and_then(|mut down| down.spawn());
    let patience = Instant::now() + limits::SERVER_STOP;
    while matches!(up.try_wait(), Ok(None)) && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
    }
    // Errors mean that they are gone, which is what is wanted.
    let _ = up.kill();
    let _ = up.wait();
    if let Ok(mut down) = down {
        let _ = down.kill();
        let _ = down.wait();
    }
}

/// The files of an instance in shared memory.
fn shared_files(instance: &str) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("ringfort.{instance}.");
    let is_its = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix));
    Ok(fs::read_dir("/dev/shm")?.flatten().map(|file| file.path()).filter(is_its).collect())
}

/// Processes that run for the instance with these files.
fn pids_in(directory: &Path) -> Vec<Pid> {
    let its = format!("XDG_RUNTIME_DIR={}", directory.display());
    let is_its = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == its.as_bytes())
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(is_its).filter_map(Pid::from_raw).collect()
}
