//! A holder that is killed: the next to lock repairs, and nothing uncommitted is seen.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use zerocopy::FromZeros;

use crate::inbox::{Appended, Batch, Inbox};
use crate::layout::{InboxControl, RecordHeader, RecordKind, SegmentKind, inbox};
use crate::limits::MIN_INBOX_BYTES;
use crate::lock::{Locked, RobustLock};
use crate::memory::Words;
use crate::segment::{Access, Segment, SegmentSpec, leftovers};

const SPEC: SegmentSpec = SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES);
/// Names the instance to the child, which is this test binary again.
const CHILD: &str = "RINGFORT_TEST_LOCK_CHILD";

struct Instance(String);

impl Drop for Instance {
    fn drop(&mut self) {
        leftovers(&self.0).iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The child: takes the lock, writes records that it never commits, and waits to be killed. Does nothing in an ordinary run.
#[test]
fn child_that_holds_the_lock() {
    let Ok(instance) = std::env::var(CHILD) else { return };
    let segment = Segment::open(&instance, SPEC, Access::ReadWrite).expect("the parent's segment");
    let held = RobustLock::at(inbox::CONTROLS).try_lock(segment.memory()).expect("a sound lock");
    assert!(matches!(held, Locked::Clean(_)));
    segment.memory().copy_in(inbox::DATA, &[u64::MAX; 64]);
    println!("\nheld");
    // The parent's end of the pipe closes when the parent dies, so no child is left behind.
    let _ = std::io::stdin().read(&mut [0]);
}

fn holder(instance: &str) -> Killed {
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "tests::lock::child_that_holds_the_lock", "--nocapture"])
        .env(CHILD, instance)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut child = Killed(child);
    let lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "held"), "the child took the lock");
    child
}

#[test]
fn a_killed_holder_is_repaired_once() {
    let instance = Instance(format!("lock-test-{}", std::process::id()));
    let segment = Segment::create(&instance.0, SPEC).expect("a segment");
    let memory = segment.memory();
    let lock = RobustLock::at(inbox::CONTROLS);
    let ring = Inbox::new(memory, 0, 0, MIN_INBOX_BYTES).expect("the ring");
    let mut batch = Batch::default();
    batch.push(RecordHeader { kind: RecordKind::Input as u16, ..RecordHeader::new_zeroed() }, &[1, 2, 3]);

    for round in 1..=3 {
        let mut child = holder(&instance.0);
        assert!(matches!(lock.try_lock(memory), Ok(Locked::Busy)));
        let holder = ring.holder(memory).expect("the child holds it");
        // The harness runs the test in a thread of the child's.
        let its_threads = format!("/proc/{}/task/{}", child.0.id(), holder.thread);
        assert!(std::path::Path::new(&its_threads).exists(), "{holder:?}");
        assert_eq!((ring.holder(memory), holder.operation), (Some(holder), 2 * round - 1), "each round is two operations");
        let before = ring.tail(memory);
        assert_eq!(ring.append(memory, &batch, before), Ok(Appended::Busy));
        child.0.kill().expect("a child of ours");
        child.0.wait().expect("a child of ours");
        assert_eq!(ring.holder(memory), None, "the kernel has taken it from the dead");
        assert_eq!(ring.append(memory, &batch, before), Ok(Appended::All(before + 32)));
        assert_eq!(ring.repairs(memory), round);
        let mut cursor = before;
        let record = ring.next(memory, &mut cursor, ring.tail(memory)).expect("sound").expect("one record");
        assert_eq!((record.payload(), cursor), (&[1u8, 2, 3][..], before + 32));
        assert_eq!(ring.holder(memory), None);
    }
    assert!(matches!(lock.try_lock(memory), Ok(Locked::Clean(_))));
}

#[test]
fn a_guard_holds_until_it_is_dropped_and_each_operation_is_counted() {
    let instance = Instance(format!("lock-guard-test-{}", std::process::id()));
    let segment = Segment::create(&instance.0, SPEC).expect("a segment");
    let memory = segment.memory();
    let lock = RobustLock::at(inbox::CONTROLS + InboxControl::BYTES);
    let operations = || {
        memory.load(inbox::CONTROLS + InboxControl::BYTES + InboxControl::OPERATION_OFFSET, std::sync::atomic::Ordering::Relaxed)
    };
    let held = lock.try_lock(memory).expect("a sound lock");
    assert!(matches!(held, Locked::Clean(_)));
    assert_eq!(operations(), 1);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(lock.try_lock(memory), Ok(Locked::Busy))));
    });
    drop(held);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(lock.try_lock(memory), Ok(Locked::Clean(_)))));
    });
    assert_eq!(operations(), 2);
}
