//! Child processes by `fork`, which die with their parent and are reaped even when it panics.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, pidfd_send_signal, waitpid};

/// Exit code of a child that panicked.
const PANICKED: i32 = 101;

/// A forked child. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

/// Runs `work` in a child process. The caller must have one thread only, or the child may find locks held that nobody releases.
pub fn fork(name: &'static str, work: impl FnOnce()) -> Child {
    let parent = rustix::process::getpid();
    // SAFETY: benchmarks fork from their only thread, so the child's memory holds no lock of a thread that is not there; it leaves
    // by `_exit` below, so that no buffer or guard of the parent is flushed or dropped twice.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{name} cannot be forked: {}", io::Error::last_os_error());
    if pid == 0 {
        die_with(parent);
        let code = if catch_unwind(AssertUnwindSafe(work)).is_ok() { 0 } else { PANICKED };
        // SAFETY: ends this process at once and touches no memory of it.
        unsafe { libc::_exit(code) };
    }
    let pid = Pid::from_raw(pid).expect("a child's id is positive");
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("an unreaped child has a pidfd");
    Child { name, pid, pidfd, reaped: false }
}

/// Has the kernel kill this process when its parent ends.
fn die_with(parent: Pid) {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).expect("Linux has a parent death signal");
    if rustix::process::getppid() != Some(parent) {
        // SAFETY: ends this process at once and touches no memory of it.
        unsafe { libc::_exit(PANICKED) };
    }
}

impl Child {
    /// Sends SIGKILL.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits until the process is dead, by its pidfd as the supervisor does. It still has to be reaped, which dropping does.
    pub fn wait_dead(&self) {
        while !matches!(poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], None), Ok(1..)) {}
    }

    /// Whether it has ended, in order or not.
    pub fn is_dead(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)), Ok(1..))
    }

    fn reap(&mut self) -> Option<WaitStatus> {
        self.reaped = true;
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                status => return status.ok().flatten().map(|(_, status)| status),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            self.reap();
        }
    }
}

/// Waits until all have ended in order.
///
/// # Panics
/// When one failed; the others are killed, as they may wait for it.
pub fn join(mut children: Vec<Child>) {
    while !children.is_empty() {
        let mut fds: Vec<_> = children.iter().map(|c| PollFd::new(&c.pidfd, PollFlags::IN)).collect();
        let _ = poll(&mut fds, None);
        let Some(ended) = fds.iter().position(|fd| !fd.revents().is_empty()) else { continue };
        let mut child = children.swap_remove(ended);
        let status = child.reap();
        let failed = status.is_none_or(|s| s.exit_status() != Some(0));
        assert!(!failed, "the {} failed: {status:?}", child.name);
    }
}

/// Keeps this process on one core, when the machine has that many.
pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core % cores());
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Cores of the machine, also those that this process is kept away from.
pub fn cores() -> usize {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines().filter(|line| line.starts_with("processor")).count().max(1)
}
