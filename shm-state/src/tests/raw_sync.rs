//! The baseline: what a process-shared mutex that is not robust does when its holder is killed, and what ours does then.
//!
//! Both locks lie in one segment, and one process holds both when it dies. The children are this test binary again.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use raw_sync::locks::{LockImpl, LockInit, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::layout::{SegmentKind, inbox};
use crate::limits::MIN_INBOX_BYTES;
use crate::lock::{Locked, RobustLock};
use crate::memory::Memory;
use crate::segment::{Access, Segment, SegmentSpec, leftovers};

const SPEC: SegmentSpec = SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES);
/// Names the instance to a child.
const CHILD: &str = "RINGFORT_TEST_RAW_SYNC_CHILD";
/// How long a waiter has to stay blocked to count as hanging: a free lock is taken in well under a millisecond.
const HANGS_FOR: Duration = Duration::from_secs(1);
/// Bytes that the foreign mutex gets, in the data area of the first ring.
const MUTEX_BYTES: usize = 256;

struct Instance(String);

impl Drop for Instance {
    fn drop(&mut self) {
        leftovers(&self.0).iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

fn create(name: &str) -> (Instance, Segment) {
    let instance = Instance(format!("hostile-raw-sync-{name}-{}", std::process::id()));
    let segment = Segment::create(&instance.0, SPEC).expect("room in /dev/shm");
    let mutex = segment.memory().raw(inbox::DATA, MUTEX_BYTES);
    // SAFETY: the mutex and the word behind it get bytes of the ring's data area, which nothing else uses in this test.
    unsafe { Mutex::new(mutex, mutex.add(MUTEX_BYTES / 2)) }.expect("a mutex");
    (instance, segment)
}

fn foreign(memory: &Memory) -> Box<dyn LockImpl> {
    let mutex = memory.raw(inbox::DATA, MUTEX_BYTES);
    // SAFETY: `create` put a mutex there before any child was started.
    unsafe { Mutex::from_existing(mutex, mutex.add(MUTEX_BYTES / 2)) }.expect("the mutex").0
}

fn ours(memory: &Memory) -> Locked<'_> {
    RobustLock::at(inbox::CONTROLS).try_lock(memory).expect("a sound lock")
}

/// A child: takes both locks and lets go of them in an orderly way when its input ends. Does nothing in an ordinary run.
#[test]
fn child_that_holds_both_locks() {
    let Ok(instance) = std::env::var(CHILD) else { return };
    let segment = Segment::open(&instance, SPEC, Access::ReadWrite).expect("the parent's segment");
    let theirs = foreign(segment.memory());
    let _theirs = theirs.lock().expect("a free mutex");
    let _ours = ours(segment.memory());
    println!("\nholds");
    let _ = std::io::stdin().read(&mut [0]);
}

/// A child: waits for the foreign mutex, and says so when it has it. Does nothing in an ordinary run.
#[test]
fn child_that_waits_for_the_foreign_mutex() {
    let Ok(instance) = std::env::var(CHILD) else { return };
    let segment = Segment::open(&instance, SPEC, Access::ReadWrite).expect("the parent's segment");
    let mutex = foreign(segment.memory());
    // Nothing but a signal ends this wait, so the kernel sends one when whoever started this is gone.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("a valid signal");
    println!("\nwaits {} {}", rustix::thread::gettid().as_raw_nonzero(), mutex.as_raw() as usize);
    let _guard = mutex.lock().expect("the mutex");
    println!("\nlocked");
}

/// A child process, killed and waited for however the test ends.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Process {
    fn start(test: &str, instance: &Instance) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", &format!("tests::raw_sync::{test}"), "--nocapture"])
            .env(CHILD, &instance.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("piped"));
        Self { child, stdin, lines: BufReader::new(stdout) }
    }

    /// What the child says behind a word, once it says it.
    fn says(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).expect("its output"), 0, "the child ended before it said {word:?}");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Whether the child says anything, or ends, within a time.
    fn stirs(&self, within: Duration) -> bool {
        assert!(self.lines.buffer().iter().all(u8::is_ascii_whitespace), "what it said before was read");
        let within = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
        poll(&mut [PollFd::new(self.lines.get_ref(), PollFlags::IN)], Some(&within)).expect("a poll") > 0
    }

    /// Kills the child and confirms that this is what it died of.
    fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        assert_eq!(self.child.wait().expect("a child of ours").signal(), Some(libc::SIGKILL));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that was started to wait for the foreign mutex, and where the kernel has to find it waiting.
struct Waiter {
    process: Process,
    thread: String,
    mutex: usize,
}

impl Waiter {
    fn start(instance: &Instance) -> Self {
        let mut process = Process::start("child_that_waits_for_the_foreign_mutex", instance);
        let said = process.says("waits");
        let (thread, mutex) = said.split_once(' ').expect("two numbers");
        let waiter = Self { thread: thread.to_owned(), mutex: mutex.parse().expect("an address"), process };
        let begun = Instant::now();
        while !waiter.blocks() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never began to wait: {:?}", waiter.call());
            std::thread::yield_now();
        }
        waiter
    }

    /// The system call that the waiting thread is in, and its first argument; `None` when it runs.
    fn call(&self) -> Option<(i64, usize)> {
        let path = format!("/proc/{}/task/{}/syscall", self.process.child.id(), self.thread);
        let text = std::fs::read_to_string(path).expect("what a child of ours does");
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let address = words.next()?.strip_prefix("0x")?;
        Some((number, usize::from_str_radix(address, 16).ok()?))
    }

    /// Whether the thread sleeps in the kernel, on this very mutex: its futex word is its first.
    fn blocks(&self) -> bool {
        self.call() == Some((libc::SYS_futex, self.mutex))
    }
}

#[test]
fn a_waiter_for_a_mutex_that_is_not_robust_hangs_behind_a_killed_holder_and_ours_recovers() {
    let (instance, segment) = create("killed");
    let mut holder = Process::start("child_that_holds_both_locks", &instance);
    holder.says("holds");
    assert!(matches!(ours(segment.memory()), Locked::Busy));
    holder.kill();

    assert!(matches!(ours(segment.memory()), Locked::OwnerDied(_)), "at the first try");
    assert!(matches!(ours(segment.memory()), Locked::Clean(_)), "and as if nothing had been, from then on");

    let mut waiter = Waiter::start(&instance);
    assert!(!waiter.process.stirs(HANGS_FOR), "raw_sync's mutex was expected to hang");
    assert!(waiter.blocks(), "still in the kernel, on that mutex: {:?}", waiter.call());
    waiter.process.kill();
    assert!(matches!(ours(segment.memory()), Locked::Clean(_)));
}

#[test]
fn a_waiter_for_a_mutex_that_is_not_robust_goes_on_when_its_holder_ends_in_order() {
    let (instance, segment) = create("ended");
    let mut holder = Process::start("child_that_holds_both_locks", &instance);
    holder.says("holds");
    let mut waiter = Waiter::start(&instance);
    holder.stdin = None;
    waiter.process.says("locked");
    assert!(holder.child.wait().expect("a child of ours").success());
    assert!(matches!(ours(segment.memory()), Locked::Clean(_)), "it was let go of");
}
