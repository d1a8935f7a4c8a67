//! Starting a worker: this binary again, under another role, with its descriptors at agreed numbers.
//!
//! A worker gets its configuration in the environment ([`CONFIG_VARIABLE`]) and its descriptors at the numbers of
//! [`RawTarget`]; every other descriptor is closed by the exec. It dies with the *thread* that spawned it, so the
//! supervisor spawns from the one thread that it has. The supervisor hears of a death through the pidfd.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfort_shm_state::process::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::binary::Binary;
use crate::cli::Role;
use crate::limits::{FRONTEND_WAKES, SIM_SLOTS_MAX, SOCKET_SLOTS, WORKER_CONFIG_BYTES_MAX, WORKER_DESCRIPTORS_MAX};

/// The environment variable that carries the effective configuration as JSON.
pub const CONFIG_VARIABLE: &str = "RINGFORT_WORKER";

/// The first number that a passed descriptor can have.
///
/// Far above what a supervisor has open, so that putting one in its place can't close one that is in use, such as
/// the pipe through which the standard library reports that the exec failed.
const FIRST: RawFd = 512;

/// The number at which a worker finds a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawTarget(u8);

/// The segment `directory`, read-only.
pub const FD_DIRECTORY: RawTarget = RawTarget(0);
/// The segment `world`, read-only.
pub const FD_WORLD: RawTarget = RawTarget(1);
/// The first of the UDP sockets, one a slot, see [`RawTarget::nth`].
pub const FD_SOCKET: RawTarget = RawTarget(2);
/// The first of the front-ends' eventfds, readable when there is work.
pub const FD_FRONTEND_WAKE: RawTarget = RawTarget(FD_SOCKET.0 + SOCKET_SLOTS as u8);
/// The first of the sims' eventfds, one a slot.
pub const FD_SIM_WAKE: RawTarget = RawTarget(FD_FRONTEND_WAKE.0 + FRONTEND_WAKES as u8);
/// The socket on which monitors ask, of a process that gets nothing else.
pub const FD_ADMIN: RawTarget = RawTarget(0);
const _: () = assert!(FD_SIM_WAKE.0 as usize + SIM_SLOTS_MAX as usize <= WORKER_DESCRIPTORS_MAX);

/// Which passed descriptors have found their owner in this process.
static TAKEN: [AtomicBool; WORKER_DESCRIPTORS_MAX] = [const { AtomicBool::new(false) }; WORKER_DESCRIPTORS_MAX];

/// A passed descriptor is not there.
#[derive(Debug, thiserror::Error)]
#[error("descriptor {number} is missing or taken already; workers are started by `ringfort up` only", number = FIRST + i32::from(.0.0))]
pub struct MissingDescriptor(RawTarget);

impl RawTarget {
    /// The target `n` places further on.
    ///
    /// # Panics
    /// If that is past the last one.
    pub const fn nth(self, n: u8) -> RawTarget {
        assert!((self.0 as usize) + (n as usize) < WORKER_DESCRIPTORS_MAX);
        RawTarget(self.0 + n)
    }

    fn number(self) -> RawFd {
        FIRST + RawFd::from(self.0)
    }

    /// In a worker: takes what the supervisor passed. Each can be taken once.
    pub fn take(self) -> Result<OwnedFd, MissingDescriptor> {
        let is_worker = std::env::var_os(CONFIG_VARIABLE).is_some();
        // SAFETY: F_SETFD only changes a flag, and fails on a number that is not open.
        let is_open = is_worker && unsafe { libc::fcntl(self.number(), libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
        if !is_open || TAKEN[usize::from(self.0)].swap(true, Ordering::Relaxed) {
            return Err(MissingDescriptor(self));
        }
        // SAFETY: the number is open, checked above; in a worker the numbers from FIRST on are those that `spawn` put
        // there, this process has no other owner of them, and TAKEN gives each away once.
        Ok(unsafe { OwnedFd::from_raw_fd(self.number()) })
    }
}

/// A worker process, our child or that of an earlier supervisor. Dropping this neither ends nor reaps it.
#[derive(Debug)]
pub struct Worker {
    /// What it does.
    pub role: Role,
    /// Which of its kind it is.
    pub slot: u32,
    /// Its process id.
    pub pid: Pid,
    /// Whether we have started it. Of another's child only the death is told to us.
    pub is_child: bool,
    pidfd: OwnedFd,
}

/// Why a worker was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The configuration doesn't fit into an environment variable.
    #[error("the configuration takes {0} bytes, more than the {WORKER_CONFIG_BYTES_MAX} that fit; name fewer matches in it")]
    ConfigTooLong(usize),
    /// A descriptor can't be duplicated for the worker.
    #[error("cannot pass descriptors to a worker ({0}); allow at least 1024 open files (`ulimit -n`)")]
    Descriptor(#[source] io::Error),
    /// The process can't be made.
    #[error("cannot start a {role} process ({source}); check the limits on processes and memory")]
    Exec {
        /// What it should have done.
        role: Role,
        /// What the system said.
        source: io::Error,
    },
    /// The process can't be watched.
    #[error("cannot watch a {role} process ({source}); Linux 5.4 or later is needed")]
    Watch {
        /// What it does.
        role: Role,
        /// What the system said.
        source: io::Error,
    },
}

/// Starts a worker of a binary, this one if none is given, with these descriptors, each at its target.
pub(super) fn spawn(
    role: Role,
    slot: u32,
    binary: Option<&Binary>,
    config_json: &str,
    descriptors: &[(RawTarget, BorrowedFd<'_>)],
) -> Result<Worker, SpawnError> {
    if config_json.len() > WORKER_CONFIG_BYTES_MAX {
        return Err(SpawnError::ConfigTooLong(config_json.len()));
    }
    // Not the path: the binary may have been replaced meanwhile, and workers must be of the supervisor's version.
    let mut command = binary.map_or_else(|| Command::new("/proc/self/exe"), Binary::command);
    command.arg0("ringfort").args(["worker", "--role", role.name(), "--slot", &slot.to_string()]);
    command.env(CONFIG_VARIABLE, config_json);
    spawn_command(role, slot, command, descriptors)
}

fn spawn_command(
    role: Role,
    slot: u32,
    mut command: Command,
    descriptors: &[(RawTarget, BorrowedFd<'_>)],
) -> Result<Worker, SpawnError> {
    let sources: Result<Vec<(RawFd, OwnedFd)>, io::Error> =
        descriptors.iter().map(|(target, source)| Ok((target.number(), above_targets(*source)?))).collect();
    let sources = sources.map_err(SpawnError::Descriptor)?;
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec `prepare_child` only makes system calls: it allocates nothing and takes no lock.
    // (Making an io::Error of an errno does not allocate.)
    unsafe { command.pre_exec(move || prepare_child(role, parent, &sources)) };
    let mut child = command.stdin(Stdio::null()).spawn().map_err(|source| SpawnError::Exec { role, source })?;
    // The pid can't have passed to another process: until it is waited for, a dead child keeps it.
    let pid = Pid::from_child(&child);
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Worker { role, slot, pid, is_child: true, pidfd }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(SpawnError::Watch { role, source: error.into() })
        }
    }
}

/// Has the kernel kill a program when the process that starts it dies, and not only when that one stops it in order.
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only two system calls are made; nothing allocates (an io::Error of an errno does not) or locks.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above.
            let alive = rustix::process::getppid() == Some(parent);
            if alive { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
        })
    };
}

/// A close-on-exec duplicate with a number above all targets, so that no target lands on a source still needed.
fn above_targets(source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let least = FIRST + WORKER_DESCRIPTORS_MAX as RawFd;
    Ok(rustix::io::fcntl_dupfd_cloexec(source, least)?)
}

/// Runs in the child between fork and exec.
fn prepare_child(role: Role, parent: Pid, sources: &[(RawFd, OwnedFd)]) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // Ctrl-C reaches the whole terminal's group; the supervisor hears it and stops the workers in order.
    if role.ends_with_supervisor() {
        // It shares the group, and ends with its supervisor whatever ends that.
        // SAFETY: SIG_IGN installs no handler, and SIGINT can be ignored.
        if unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    } else {
        // Who outlives its supervisor must not be hung up on with the supervisor's terminal, nor stopped with its group.
        rustix::process::setsid()?;
    }
    // The supervisor blocks the signals that it reads from a descriptor; nobody reads them so in a worker.
    super::signals::unblock()?;
    // Whatever a library left without the flag. Kernels before 5.11 lack this; there the flags of our own must do.
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call closes nothing, it only sets flags.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    for (target, source) in sources {
        // SAFETY: the target is none of this process's descriptors (see FIRST), so dup2 closes nothing that is in use;
        // this process is about to be replaced, and no Rust value here owns the new descriptor.
        if unsafe { libc::dup2(source.as_raw_fd(), *target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

impl Worker {
    /// A worker that an earlier supervisor has started; `None` when it has died.
    pub(super) fn adopt(role: Role, slot: u32, process: ProcessId) -> Option<Worker> {
        let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // In this order: the descriptor is that of a process that had the number then, and it is the same one now.
        process.is_alive().then_some(Worker { role, slot, pid, is_child: false, pidfd })
    }

    /// Sends a signal to exactly this process: never to one that got its number later.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Reaps the worker if it has ended, and tells how.
    pub fn try_wait(&self) -> io::Result<Option<Ending>> {
        if !self.is_child {
            return Ok(self.has_ended(Some(Duration::ZERO))?.then_some(Ending::Gone));
        }
        self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Whether it has ended within a time, or, without one, once it has. How is not asked.
    pub(super) fn has_ended(&self, within: Option<Duration>) -> io::Result<bool> {
        let within = within.map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() });
        Ok(poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], within.as_ref())? > 0)
    }

    /// Blocks until the worker has ended; for use after SIGKILL.
    pub fn wait(&self) -> io::Result<Ending> {
        loop {
            match self.await_end() {
                Ok(Some(ending)) => return Ok(ending),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn await_end(&self) -> io::Result<Option<Ending>> {
        if self.is_child {
            return self.wait_with(WaitIdOptions::EXITED);
        }
        Ok(self.has_ended(None)?.then_some(Ending::Gone))
    }

    fn wait_with(&self, options: WaitIdOptions) -> io::Result<Option<Ending>> {
        let status = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?;
        Ok(status.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Ending::Exited(code)),
            (None, Some(signal)) => Some(Ending::Killed { signal, core_dumped: status.dumped() }),
            (None, None) => None,
        }))
    }
}

/// The pidfd: readable once the process has ended.
impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exited(i32),
    /// By a signal.
    Killed {
        /// Its number.
        signal: i32,
        /// Whether a core dump was written.
        core_dumped: bool,
    },
    /// Somehow: only the supervisor that has started it could know.
    Gone,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Ending::Exited(code) => write!(f, "exited {code}"),
            Ending::Gone => f.write_str("has ended; how, only the supervisor that had started it could know"),
            Ending::Killed { signal, core_dumped } => {
                match signal_name(signal) {
                    Some(name) => write!(f, "killed by {name}")?,
                    None => write!(f, "killed by signal {signal}")?,
                }
                f.write_str(if core_dumped { " (core dumped)" } else { "" })
            }
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};

    fn shell(script: &str, descriptors: &[(RawTarget, BorrowedFd<'_>)]) -> Worker {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        spawn_command(Role::Sim, 0, command, descriptors).unwrap()
    }

    /// This test binary again, running `child` alone.
    fn child_of_this_binary(descriptors: &[(RawTarget, BorrowedFd<'_>)]) -> Worker {
        let mut command = Command::new("/proc/self/exe");
        let name = concat!(module_path!(), "::child").split_once("::").unwrap().1;
        command.args(["--exact", name, "--nocapture"]).env(CONFIG_VARIABLE, "{}").stdout(Stdio::null());
        spawn_command(Role::Frontend, 1, command, descriptors).unwrap()
    }

    /// Answers over the passed descriptors; does nothing in an ordinary test run.
    #[test]
    fn child() {
        if std::env::var_os(CONFIG_VARIABLE).is_none() {
            assert!(FD_SOCKET.take().is_err());
            return;
        }
        let mut question = String::new();
        std::fs::File::from(FD_SOCKET.take().unwrap()).read_to_string(&mut question).unwrap();
        assert!(FD_SOCKET.take().is_err() && FD_DIRECTORY.take().is_err());
        let mut answer = std::fs::File::from(FD_FRONTEND_WAKE.nth(3).take().unwrap());
        let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
        let inherited = open.filter(|name| name.to_str().unwrap().parse::<i32>().unwrap() > 500).count();
        write!(answer, "{question} answered, {inherited} passed").unwrap();
    }

    #[test]
    fn descriptors_arrive_at_their_targets() {
        let (question_out, mut question_in) = std::io::pipe().unwrap();
        let (mut answer_out, answer_in) = std::io::pipe().unwrap();
        let targets = [(FD_SOCKET, question_out.as_fd()), (FD_FRONTEND_WAKE.nth(3), answer_in.as_fd())];
        let worker = child_of_this_binary(&targets);
        drop((question_out, answer_in));
        question_in.write_all(b"question").unwrap();
        drop(question_in);
        let mut answer = String::new();
        answer_out.read_to_string(&mut answer).unwrap();
        // The descriptor for the question was closed by then.
        assert_eq!(answer, "question answered, 1 passed");
        assert_eq!(worker.wait().unwrap(), Ending::Exited(0));
    }

    #[test]
    fn endings_are_told_apart() {
        assert_eq!(shell("exit 1", &[]).wait().unwrap().to_string(), "exited 1");
        assert_eq!(shell("kill -TERM $$", &[]).wait().unwrap().to_string(), "killed by SIGTERM");
        let sleeper = shell("exec sleep 100", &[]);
        assert_eq!(sleeper.try_wait().unwrap(), None);
        sleeper.signal(Signal::KILL).unwrap();
        assert_eq!(sleeper.wait().unwrap().to_string(), "killed by SIGKILL");
        assert!(sleeper.signal(Signal::KILL).is_err());
        assert_eq!(Ending::Killed { signal: 60, core_dumped: true }.to_string(), "killed by signal 60 (core dumped)");
    }

    #[test]
    fn workers_leave_an_interrupt_to_the_supervisor() {
        let mut hook = Command::new("/bin/sh");
        hook.args(["-c", "kill -INT $$; exit 3"]);
        let hook = spawn_command(Role::Hook, 0, hook, &[]).unwrap();
        assert_eq!(hook.wait().unwrap(), Ending::Exited(3));
        // The terminal's interrupt goes to its own session's group, and a sim leads a session of its own.
        let leads = "read -r _ _ _ _ group session _ < /proc/$$/stat; [ $group = $$ ] && [ $session = $$ ] && exit 3";
        assert_eq!(shell(leads, &[]).wait().unwrap(), Ending::Exited(3));
    }

    #[test]
    fn who_is_no_child_of_ours_is_watched_and_ended_all_the_same() {
        let mut parent = Command::new("/bin/sh");
        let parent = parent.args(["-c", "sleep 100 & echo $!; exec sleep 100"]).stdout(Stdio::piped());
        let mut parent = parent.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = ProcessId::of(line.trim().parse().unwrap()).unwrap();
        let worker = Worker::adopt(Role::Sim, 1, process).unwrap();
        assert!(!worker.is_child && worker.try_wait().unwrap().is_none());
        assert!(!worker.has_ended(Some(Duration::from_millis(1))).unwrap());
        assert!(Worker::adopt(Role::Sim, 1, ProcessId { start_time: process.start_time + 1, ..process }).is_none());
        worker.signal(Signal::KILL).unwrap();
        assert_eq!(worker.wait().unwrap(), Ending::Gone);
        assert_eq!(worker.try_wait().unwrap(), Some(Ending::Gone));
        assert!(Worker::adopt(Role::Sim, 1, process).is_none(), "nobody has taken its exit, and it is dead");
        parent.kill().unwrap();
        parent.wait().unwrap();
    }

    #[test]
    fn what_cannot_start_is_an_error() {
        let missing = spawn_command(Role::Sim, 0, Command::new("/nonexistent/program"), &[]);
        assert!(matches!(missing, Err(SpawnError::Exec { role: Role::Sim, .. })));
        let long = "x".repeat(WORKER_CONFIG_BYTES_MAX + 1);
        assert!(matches!(spawn(Role::Sim, 0, None, &long, &[]), Err(SpawnError::ConfigTooLong(_))));
    }
}
