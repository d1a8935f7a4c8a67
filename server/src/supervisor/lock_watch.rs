//! Who holds the lock of an inbox and does not move: the holder of a lock that takes microseconds is seen at one poll at most.
//!
//! The locks are the front-ends' alone. Who died with one leaves it to the next who tries; who was stopped with it leaves everybody else with
//! their records, until it is killed.

use std::collections::BTreeMap;

use ringfort_shm_state::lock::LockHolder;
use ringfort_shm_state::process;

use crate::limits::LOCK_POLLS_MAX;

/// What the last polls have found, by zone slot: who held the lock, and at how many polls in a row.
#[derive(Debug, Default)]
pub(super) struct LockWatch {
    seen: BTreeMap<usize, (LockHolder, u32)>,
}

/// Whether a thread runs, or would if there were a processor or a page of its memory for it: it gets on with what it does, and whether that comes to
/// an end its heartbeat says.
pub(super) fn is_runnable(thread: u32) -> bool {
    matches!(process::state(thread), Some('R' | 'D'))
}

impl LockWatch {
    /// Counts a poll that was on time. Returns who has just come to count as hung, each once, unless it runs.
    pub(super) fn poll(
        &mut self,
        held: impl Iterator<Item = (usize, LockHolder)>,
        is_runnable: impl Fn(u32) -> bool,
    ) -> Vec<(usize, LockHolder)> {
        let before = std::mem::take(&mut self.seen);
        let mut hung = Vec::new();
        for (zone, holder) in held {
            let polls = before.get(&zone).filter(|(seen, _)| *seen == holder).map_or(0, |(_, polls)| *polls);
            let due = polls + 1 == LOCK_POLLS_MAX;
            if due && is_runnable(holder.thread) {
                self.seen.insert(zone, (holder, polls));
                continue;
            }
            if due {
                hung.push((zone, holder));
            }
            self.seen.insert(zone, (holder, polls.saturating_add(1)));
        }
        hung
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
    use ringfort_shm_state::kill_point::{Action, arm};
    use ringfort_shm_state::layout::{RecordHeader, RecordKind, SegmentKind};
    use ringfort_shm_state::limits::MIN_INBOX_BYTES;
    use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, leftovers};
    use zerocopy::FromZeros;

    const SPEC: SegmentSpec = SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES);
    /// Names the instance to the child, which is this test binary again.
    const CHILD: &str = "RINGFORT_TEST_LOCK_WATCH_CHILD";

    fn holder(thread: u32, operation: u64) -> LockHolder {
        LockHolder { thread, operation }
    }

    #[test]
    fn only_the_same_operation_at_all_polls_is_a_hang_and_is_told_once() {
        let mut watch = LockWatch::default();
        let mut poll = |thread, operation| watch.poll([(3, holder(thread, operation))].into_iter(), |_| false);
        for operation in 0..2 * u64::from(LOCK_POLLS_MAX) {
            assert_eq!(poll(7, operation), [], "a lock that is taken again and again");
        }
        for _ in 1..LOCK_POLLS_MAX {
            assert_eq!(poll(7, 100), []);
        }
        assert_eq!(poll(8, 100), [], "another holder");
        for _ in 2..LOCK_POLLS_MAX {
            assert_eq!(poll(8, 100), []);
        }
        assert_eq!(poll(8, 100), [(3, holder(8, 100))]);
        assert_eq!(poll(8, 100), [], "it is told of once");
        assert_eq!(watch.poll([].into_iter(), |_| false), [], "it is free");
        assert_eq!(watch.seen.len(), 0);
    }

    #[test]
    fn who_waits_for_a_processor_is_not_hung_until_it_stops_waiting() {
        let mut watch = LockWatch::default();
        let mut poll = |runnable| watch.poll([(0, holder(7, 1))].into_iter(), |_| runnable);
        for _ in 0..3 * LOCK_POLLS_MAX {
            assert_eq!(poll(true), []);
        }
        assert_eq!(poll(false), [(0, holder(7, 1))]);
    }

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

    fn batch() -> Batch {
        let mut batch = Batch::default();
        batch.push(RecordHeader { kind: RecordKind::Input as u16, ..RecordHeader::new_zeroed() }, &[1, 2, 3]);
        batch
    }

    fn ring(segment: &Segment) -> Inbox {
        Inbox::new(segment.memory(), 0, 0, MIN_INBOX_BYTES).expect("the ring")
    }

    /// The child: is stopped while it holds the lock. Does nothing in an ordinary run.
    #[test]
    fn child_that_is_stopped_with_the_lock() {
        let Ok(instance) = std::env::var(CHILD) else { return };
        let segment = Segment::open(&instance, SPEC, Access::ReadWrite).expect("the parent's segment");
        arm("lock:taken", 1, Action::Stop);
        let _ = ring(&segment).append(segment.memory(), &batch(), 0);
    }

    #[test]
    fn who_is_stopped_with_the_lock_is_found_and_the_inbox_goes_on_without_it() {
        let instance = Instance(format!("front-lock-{}", std::process::id()));
        let segment = Segment::create(&instance.0, SPEC).unwrap();
        let (memory, ring) = (segment.memory(), ring(&segment));
        let name = concat!(module_path!(), "::child_that_is_stopped_with_the_lock").split_once("::").unwrap().1;
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", name]).env(CHILD, &instance.0).stdout(Stdio::null());
        let mut child = Killed(command.spawn().unwrap());
        let held = loop {
            let held = ring.holder(memory).filter(|held| process::state(held.thread) == Some('T'));
            match held {
                Some(held) => break held,
                None => assert_eq!(child.0.try_wait().unwrap(), None, "it ended without having been stopped"),
            }
            std::thread::yield_now();
        };
        assert_eq!(ring.append(memory, &batch(), 0), Ok(Appended::Busy));
        let mut watch = LockWatch::default();
        let mut poll = || watch.poll(ring.holder(memory).map(|held| (0, held)).into_iter(), is_runnable);
        for _ in 1..LOCK_POLLS_MAX {
            assert_eq!(poll(), []);
        }
        assert_eq!(poll(), [(0, held)]);
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert_eq!(ring.append(memory, &batch(), 0), Ok(Appended::All(32)), "nothing of the dead one's was committed");
        assert_eq!((ring.repairs(memory), ring.holder(memory)), (1, None));
    }
}
