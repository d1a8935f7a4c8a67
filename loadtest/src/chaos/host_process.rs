//! The process that holds an instance: it starts `up`, and again at once when that was killed, until its standard input ends, which it does
//! when the run is over or dead. Then it stops the instance and removes its processes, memory and files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::ChaosError;
use super::host::command;
use crate::limits;

/// The hidden command that is the host.
pub(super) const COMMAND: &str = "chaos-host";
/// What the host is told when the instance's files are to stay.
pub(super) const KEEP: &str = "keep";
/// The file with what `up` said, in the instance's directory.
pub(super) const LOG: &str = "up.log";
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

/// A line of the host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `up` was started, with this process id.
    Started(i32),
    /// It is there.
    Listens(SocketAddr),
    /// It has ended.
    Ended {
        /// By a SIGKILL.
        killed: bool,
        /// In words.
        how: String,
    },
}

impl Said {
    /// The line without its end.
    fn line(&self) -> String {
        match self {
            Said::Started(pid) => format!("started {pid}"),
            Said::Listens(address) => format!("listens {address}"),
            Said::Ended { killed: true, how } => format!("killed {how}"),
            Said::Ended { killed: false, how } => format!("ended {how}"),
        }
    }

    /// What a line says.
    pub(super) fn parse(line: &str) -> Option<Said> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "started" => rest.parse().ok().map(Said::Started),
            "listens" => rest.parse().ok().map(Said::Listens),
            "killed" | "ended" => Some(Said::Ended { killed: word == "killed", how: rest.to_owned() }),
            _ => None,
        }
    }

    fn say(&self) {
        // Whoever started us may be gone already; that is seen by the end of our input.
        let _ = writeln!(io::stdout(), "{}", self.line());
    }
}

/// The host's process.
pub(crate) fn run_host(args: &HostArgs) -> Result<(), ChaosError> {
    let HostArgs { instance, directory, flags } = args;
    if !shared_files(instance)?.is_empty() {
        let reason = format!("an instance \"{instance}\" is in shared memory already; name another with --instance");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason).into());
    }
    DirBuilder::new().mode(0o700).create(directory)?;
    let words = hold(instance, directory, flags);
    let patience = Instant::now() + limits::SERVER_STOP;
    loop {
        let pids = pids_in(directory);
        if pids.is_empty() || Instant::now() > patience {
            break;
        }
        for pid in pids {
            // An error says that it has ended by itself since.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
    for file in shared_files(instance)? {
        let _ = fs::remove_file(file);
    }
    if !words.is_ok_and(|words| words.contains(KEEP)) {
        fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// Keeps `up` running until our input ends, and stops it; returns what we were told.
fn hold(instance: &str, directory: &Path, flags: &[String]) -> io::Result<String> {
    fs::write(directory.join("ringfort.toml"), CONFIGURATION)?;
    let (mut up, listens) = start(instance, directory, &["up", "--fresh", "--listen", "127.0.0.1:0"], flags)?;
    let Ok(address) = listens.recv() else {
        // The first is not tried again: whoever waits for it sees the end of our output, and is to read what it said.
        up.wait()?;
        return Ok(KEEP.to_owned());
    };
    let again = ["up", "--listen", &address.to_string()];
    let mut words = String::new();
    loop {
        let process = pidfd_open(pid_of(&up), PidfdFlags::empty())?;
        let input = io::stdin();
        let mut waited = [PollFd::new(&input, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
        poll(&mut waited, None)?;
        let [is_told, has_ended] = waited.map(|waited| !waited.revents().is_empty());
        if is_told && !read_words(&mut words)? {
            break;
        }
        if has_ended {
            let ended = up.wait()?;
            let killed = ended.signal() == Some(Signal::KILL.as_raw());
            Said::Ended { killed, how: ended.to_string() }.say();
            if !killed {
                // It has refused to start or has failed: not to be tried as fast as a processor can.
                thread::sleep(limits::HOST_RESTART);
            }
            up = start(instance, directory, &again, flags)?.0;
        }
    }
    stop(instance, directory, &mut up);
    Ok(words)
}

/// Takes in what we were told; false at the end.
fn read_words(words: &mut String) -> io::Result<bool> {
    let mut bytes = [0; 64];
    let read = io::stdin().lock().read(&mut bytes)?;
    words.push_str(&String::from_utf8_lossy(&bytes[..read]));
    Ok(read > 0)
}

/// Starts `up`; its address is told to our parent and through the channel, as soon as it says so.
fn start(instance: &str, directory: &Path, arguments: &[&str], flags: &[String]) -> io::Result<(Child, Receiver<SocketAddr>)> {
    let log = OpenOptions::new().create(true).append(true).open(directory.join(LOG))?;
    let mut up = command(instance, directory, arguments)?.args(flags).stdout(Stdio::piped()).stderr(log).spawn()?;
    Said::Started(pid_of(&up).as_raw_nonzero().get()).say();
    let (address, listens) = mpsc::channel();
    if let Some(output) = up.stdout.take() {
        thread::spawn(move || {
            // All is read, so that it never waits for us.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(at) =
                    line.rsplit(' ').next().filter(|_| line.contains(" listening on ")).and_then(|at| at.parse().ok())
                {
                    Said::Listens(at).say();
                    let _ = address.send(at);
                }
            }
        });
    }
    Ok((up, listens))
}

fn pid_of(up: &Child) -> Pid {
    Pid::from_child(up)
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
pub(super) fn pids_in(directory: &Path) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter_map(Pid::from_raw);
    pids.filter(|pid| is_in(*pid, directory)).collect()
}

/// Whether a process runs for the instance with these files.
pub(super) fn is_in(pid: Pid, directory: &Path) -> bool {
    let its = format!("XDG_RUNTIME_DIR={}", directory.display());
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == its.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::Said;

    #[test]
    fn what_the_host_says_is_understood() {
        let address = "127.0.0.1:7777".parse().expect("an address");
        let ended = |killed| Said::Ended { killed, how: "signal: 9 (SIGKILL)".into() };
        for said in [Said::Started(77), Said::Listens(address), ended(true), ended(false)] {
            assert_eq!(Said::parse(&said.line()), Some(said));
        }
        assert_eq!(Said::parse("started ringfort"), None);
    }
}
