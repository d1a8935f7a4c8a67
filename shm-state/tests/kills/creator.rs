//! A process that creates a segment and is killed at it: what it leaves is whole or refused, and can be removed.

use std::time::Duration;

use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
use ringfort_shm_state::kill_point::{Action, arm, trace};
use ringfort_shm_state::limits::{MAX_ZONES, MIN_INBOX_BYTES};
use ringfort_shm_state::segment::{Access, Segment, SegmentError};

use crate::instance::{INBOX, Instance};
use crate::process::{Violation, fork, pass};
use crate::random::Random;
use crate::shared::Notes;

/// Longest time that a creator runs, in microseconds: about what it needs.
const RUN_US: u64 = 900;

/// Creates the segment; what the process before left behind is removed first, as the next `up` does.
pub fn run(instance: &Instance, armed: Option<(&str, u32)>, traced: bool) -> i32 {
    if traced {
        trace(&instance.notes.reached);
    }
    if let Some((name, nth)) = armed {
        arm(name, nth, Action::Kill);
    }
    if let Err(SegmentError::Exists { path }) = Segment::create(&instance.name, INBOX) {
        std::fs::remove_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Segment::create(&instance.name, INBOX).unwrap_or_else(|e| panic!("{e}"));
    }
    0
}

/// What can be attached is whole; what is not whole is refused.
pub fn check(instance: &Instance) -> Result<(), Violation> {
    match Segment::open(&instance.name, INBOX, Access::ReadWrite) {
        Ok(segment) if segment.header().ready == 1 && segment.header().parameter == INBOX.parameter => check_last_lock(&segment),
        Ok(segment) => Err(format!("a segment that is not whole was attached: {:?}", segment.header())),
        Err(SegmentError::Missing { .. } | SegmentError::Mismatch { .. }) => Ok(()),
        Err(error) => Err(format!("a leftover is neither refused nor whole: {error}")),
    }
}

/// The lock that is made last is robust: when its holder dies, the next to lock is told.
fn check_last_lock(segment: &Segment) -> Result<(), Violation> {
    let memory = segment.memory();
    let inbox = Inbox::new(memory, MAX_ZONES - 1, 0, MIN_INBOX_BYTES).expect("an area of the segment");
    let append = || inbox.append(memory, &Batch::default(), inbox.tail(memory)).map_err(|e| e.to_string());
    let holder = fork(|| {
        arm("lock:taken", 1, Action::Kill);
        append().map_or(1, |_| 0)
    });
    holder.killed()?;
    let before = inbox.repairs(memory);
    let appended = append()?;
    if appended != Appended::All(inbox.tail(memory)) || inbox.repairs(memory) != before + 1 {
        return Err(format!("the last lock of a segment that may be attached is not robust: {appended:?}"));
    }
    Ok(())
}

/// A creator is killed at some instruction, another creates the segment in its place.
pub fn killed_at_random(notes: &'static Notes, random: &mut Random) -> Result<(), Violation> {
    let instance = Instance::named("creator", notes);
    let child = fork(|| {
        run(&instance, None, false);
        // Done before it was killed; it waits for that.
        loop {
            std::thread::park();
        }
    });
    pass(Duration::from_micros(random.below(RUN_US)));
    child.kill()?;
    check(&instance)?;
    fork(|| run(&instance, None, false)).done()?;
    Segment::open(&instance.name, INBOX, Access::ReadWrite).map(drop).map_err(|e| e.to_string())
}
