//! `ringfort locks`: who holds the lock of which inbox. A lock is held for microseconds, so who is seen with one twice does not move.

use std::time::Duration;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{Role, ZoneEntry};
use ringfort_shm_state::lock::LockHolder;
use ringfort_shm_state::segment::unpadded;
use serde::Serialize;

use super::{Paper, Shown, printable, table};
use crate::attach::Attached;
use crate::limits::LOCK_LOOK_AGAIN_MS;
use crate::saved::Moment;

/// The locks of an instance.
#[derive(Debug, Serialize)]
pub struct Locks {
    /// Name of the instance.
    pub instance: String,
    /// Locks of matches' inboxes.
    pub locks: usize,
    /// Times that a lock was taken from a front-end that died with it, or an inbox's end was mended, over all of them.
    pub repairs: u64,
    /// Those that are held.
    pub held: Vec<HeldLock>,
}

/// A lock that is held.
#[derive(Debug, Serialize)]
pub struct HeldLock {
    /// The match whose inbox it guards.
    #[serde(rename = "match")]
    pub of: String,
    /// The match's slot.
    pub slot: usize,
    /// The thread that holds it; of a process with one thread that is the process.
    pub pid: u32,
    /// What that process is for; `None` when it is none of the instance's.
    pub role: Option<&'static str>,
    /// Which of its kind.
    pub role_slot: Option<u32>,
    /// "running", "stopped", "dead".
    pub state: &'static str,
    /// Its operation's number.
    pub operation: u64,
    /// Milliseconds for which it has been seen to hold it; 0 when it was seen once, or in a file.
    pub held_ms: u64,
    /// Times that this lock was taken from the dead, or its inbox's end mended.
    pub repairs: u64,
}

/// Looks at the locks; twice, with a pause, when one is held.
pub fn locks(attached: &Attached) -> Locks {
    let directory = Directory::new(&attached.directory);
    let memory = attached.inbox.memory();
    let ring =
        |(slot, entry): (usize, ZoneEntry)| Some((slot, entry, Inbox::new(memory, slot, entry.inbox_offset, entry.inbox_bytes)?));
    let rings: Vec<_> = directory.zones().filter_map(ring).collect();
    let holders = || rings.iter().filter_map(|(slot, entry, ring)| Some((*slot, *entry, *ring, ring.holder(memory)?)));
    let mut seen: Vec<(usize, ZoneEntry, Inbox, LockHolder)> = holders().collect();
    let mut held_ms = 0;
    if !seen.is_empty() && matches!(attached.moment, Moment::Now) {
        std::thread::sleep(Duration::from_millis(LOCK_LOOK_AGAIN_MS));
        seen.retain(|(_, _, ring, holder)| ring.holder(memory) == Some(*holder));
        held_ms = LOCK_LOOK_AGAIN_MS;
    }
    let held = seen.into_iter().map(|(slot, entry, ring, holder)| {
        let process = directory.workers().find(|worker| worker.pid == holder.thread);
        HeldLock {
            of: unpadded(&entry.name),
            slot,
            pid: holder.thread,
            role: process.and_then(|worker| Role::from_u32(worker.role)).map(Role::name),
            role_slot: process.map(|worker| worker.slot),
            state: match attached.moment.state(holder.thread) {
                None | Some('Z' | 'X') => "dead",
                Some('T' | 't') => "stopped",
                Some(_) => "running",
            },
            operation: holder.operation,
            held_ms,
            repairs: ring.repairs(memory),
        }
    });
    let held = held.collect();
    let repairs = rings.iter().fold(0u64, |sum, (_, _, ring)| sum.saturating_add(ring.repairs(memory)));
    Locks { instance: attached.name.clone(), locks: rings.len(), repairs, held }
}

impl Shown for Locks {
    fn text(&self, paper: &Paper) -> String {
        let Self { locks, repairs, held, .. } = self;
        if held.is_empty() {
            return format!("{locks} locks, none is held; {repairs} repairs so far\n");
        }
        let row = |lock: &HeldLock| {
            let holder = match (lock.role, lock.role_slot) {
                (Some(role), Some(slot)) => format!("{role} {slot}"),
                _ => "none of the instance's".to_owned(),
            };
            vec![
                printable(&lock.of),
                lock.pid.to_string(),
                holder,
                lock.state.to_owned(),
                lock.operation.to_string(),
                if lock.held_ms == 0 { "-".to_owned() } else { format!(">= {} ms", lock.held_ms) },
                lock.repairs.to_string(),
            ]
        };
        let head = ["MATCH", "HOLDER", "IS", "STATE", "OPERATION", "HELD", "REPAIRS"];
        let mut text = table(paper, &head, held.iter().map(row).collect());
        if held.iter().any(|lock| lock.state == "dead") {
            text += "a lock of the dead is repaired by the next front-end that takes it\n";
        }
        text += &format!("{locks} locks, {} held; {repairs} repairs so far\n", held.len());
        text
    }
}
