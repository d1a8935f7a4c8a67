//! Children: forked, killed, stopped, waited for. The parent has one thread, so a child may go on where fork leaves it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, pidfd_open, waitid, waitpid,
};
use rustix::thread::futex;

use crate::shared::{Notes, failures};

/// How long anything may take before it counts as hung.
const HANG: Duration = Duration::from_secs(20);
/// A child's way to say that an assertion of its own failed; the message is on standard error.
const PANICKED: i32 = 101;
/// The last bit of a wait is spun, as the system's timers are too coarse.
const SPIN: Duration = Duration::from_micros(60);

/// Why a run fails.
pub type Violation = String;

/// A child that was not waited for.
#[derive(Debug)]
pub struct Child(Option<Pid>);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By `_exit`.
    Exited(i32),
    /// By a signal.
    Killed(i32),
}

/// Forks a child that runs `body` and then exits with what it returns; it dies with the parent.
pub fn fork(body: impl FnOnce() -> i32) -> Child {
    let parent = rustix::process::getpid();
    let failures = failures();
    // SAFETY: the process has one thread (no test harness, no library starts any), so nothing is in an undefined state in the
    // child; it never returns from here but ends by `_exit`, which runs no destructor of the parent's.
    match unsafe { libc::fork() } {
        0 => {
            let orphaned = || rustix::process::getppid() != Some(parent);
            let dies = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            std::panic::set_hook(Box::new(|info| {
                failures.fetch_add(1, Ordering::Release);
                eprintln!("\nin a child: {info}");
            }));
            let code = match std::panic::catch_unwind(AssertUnwindSafe(body)) {
                _ if dies.is_err() || orphaned() => PANICKED,
                Ok(code) => code,
                Err(_) => PANICKED,
            };
            // SAFETY: ends the process at once; nothing of it is used any more.
            unsafe { libc::_exit(code) }
        }
        pid => Child(Some(Pid::from_raw(pid).expect("fork gives a process id: the system has room for one more process"))),
    }
}

impl Child {
    fn pid(&self) -> Pid {
        self.0.expect("not waited for")
    }

    fn signal(&self, signal: Signal) {
        // A child that has ended on its own is a zombie, which may be signalled.
        kill_process(self.pid(), signal).expect("a child that was not waited for");
    }

    fn wait(&mut self, options: WaitOptions) -> WaitStatus {
        let begun = Instant::now();
        loop {
            match waitpid(Some(self.pid()), options) {
                Ok(Some((_, status))) => return status,
                Ok(None) if begun.elapsed() > HANG => panic!("child {:?} neither ends nor stops", self.0),
                Ok(None) | Err(rustix::io::Errno::INTR) => std::thread::yield_now(),
                Err(error) => panic!("waitpid: {error}"),
            }
        }
    }

    /// Waits for its end.
    pub fn join(mut self) -> Ended {
        let ended = pidfd_open(self.pid(), PidfdFlags::empty()).expect("a child that was not waited for");
        let hang = Timespec { tv_sec: HANG.as_secs() as i64, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&hang));
        let status = self.wait(WaitOptions::NOHANG);
        self.0 = None;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Exited(code),
            (None, signal) => Ended::Killed(signal.expect("it ended")),
        }
    }

    /// Kills it, and returns when its death is confirmed. A child that had ended before did so by a failed assertion.
    pub fn kill(self) -> Result<(), Violation> {
        self.strike();
        self.killed()
    }

    /// Kills it, and does not wait.
    pub fn strike(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits for its death by SIGKILL.
    pub fn killed(self) -> Result<(), Violation> {
        match self.join() {
            _ if failures().load(Ordering::Acquire) > 0 => Err("an assertion of a child failed, its message is above".to_owned()),
            Ended::Killed(libc::SIGKILL) => Ok(()),
            ended => Err(format!("a child ended by itself: {ended:?}, its message is above")),
        }
    }

    /// Whether it ended by itself: it can still be waited for.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(self.pid()), options), Ok(Some(_)))
    }

    /// Waits until something holds that this child brings about.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Violation> {
        let begun = Instant::now();
        while !holds() {
            if self.has_ended() {
                return Err(format!("a child ended by itself before {what}, its message is above"));
            }
            if begun.elapsed() > HANG {
                return Err(format!("blocked: {what} did not happen within {HANG:?}"));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Waits for its end in order.
    pub fn done(self) -> Result<(), Violation> {
        match self.join() {
            Ended::Exited(0) => Ok(()),
            ended => Err(format!("a child did not do what it was started for: {ended:?}, its message is above")),
        }
    }

    /// Stops it wherever it is, and returns when it has stopped.
    pub fn stop(&mut self) -> Result<(), Violation> {
        self.signal(Signal::STOP);
        self.stopped()
    }

    /// Waits until it has stopped.
    pub fn stopped(&mut self) -> Result<(), Violation> {
        let status = self.wait(WaitOptions::NOHANG | WaitOptions::UNTRACED);
        if status.stopped() {
            return Ok(());
        }
        self.0 = None;
        Err(format!("a child ended where it was to be stopped: {status:?}"))
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.signal(Signal::KILL);
            self.wait(WaitOptions::NOHANG);
        }
    }
}

/// Whether this process has children that it did not wait for.
pub fn children_left() -> bool {
    !matches!(waitpid(None, WaitOptions::NOHANG), Err(rustix::io::Errno::CHILD))
}

/// Waits for so long, to a few microseconds.
pub fn pass(time: Duration) {
    let end = Instant::now() + time;
    if let Some(most) = time.checked_sub(SPIN) {
        std::thread::sleep(most);
    }
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// A child's part of a pause: parks while the gate is shut.
pub fn park(notes: &Notes, role: usize) {
    loop {
        let pause = notes.gate.load(Ordering::Acquire);
        if pause == 0 {
            return;
        }
        notes.children[role].parked.store(pause.into(), Ordering::Release);
        // Woken, interrupted or too late: the gate says what holds.
        let _ = futex::wait(&notes.gate, futex::Flags::empty(), pause, None);
    }
}

/// Shuts the gate and waits until those processes are parked, each with its role.
pub fn pause<'c>(notes: &Notes, number: u32, children: impl Iterator<Item = (usize, &'c Child)>) -> Result<(), Violation> {
    set_gate(notes, number);
    for (role, child) in children {
        let parked = || notes.children[role].parked.load(Ordering::Acquire) == number.into();
        child.until("the parking of a process that nobody holds up", parked).map_err(|e| format!("{e} (role {role})"))?;
    }
    Ok(())
}

/// Opens the gate.
pub fn go_on(notes: &Notes) {
    set_gate(notes, 0);
}

/// Those that are parked look at the gate again: it may be shut for another pause.
fn set_gate(notes: &Notes, number: u32) {
    notes.gate.store(number, Ordering::Release);
    let _ = futex::wake(&notes.gate, futex::Flags::empty(), i32::MAX as u32);
}
