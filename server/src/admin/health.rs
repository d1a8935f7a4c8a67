//! Whether an instance is well and takes players, in words: by the directory, the workers' heartbeats and the kernel, and nobody is asked.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{Role, RootFlags, Stopping, WorkerEntry, WorkerState, ZoneState};
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::worker::WorkerPage;

use crate::attach::Attached;
use crate::limits::{FRONTEND_STANDBY, HANG_TICKS_MIN};

/// What is wrong with its processes, a sentence each; nothing when all that there are to be live and give signs of life.
pub(super) fn ills(attached: &Attached, hang_ms: u64) -> Vec<String> {
    let directory = Directory::new(&attached.directory);
    let slowest = directory.zones().map(|(_, zone)| 1000 / u64::from(zone.tick_hz.max(1))).max().unwrap_or(0);
    let limit_ms = hang_ms.max(HANG_TICKS_MIN * slowest);
    let mut ills: Vec<String> = directory.workers().filter_map(|entry| ill(attached, &entry, limit_ms)).collect();
    if !directory.workers().any(|entry| entry.role == Role::Supervisor as u32) {
        ills.push("the directory names no supervisor".to_owned());
    }
    ills
}

fn ill(attached: &Attached, entry: &WorkerEntry, limit_ms: u64) -> Option<String> {
    let role = Role::from_u32(entry.role)?;
    let name = match role {
        Role::Supervisor => "the supervisor".to_owned(),
        Role::Standby if entry.slot == FRONTEND_STANDBY => "the standby front-end".to_owned(),
        Role::Standby => format!("sim {}, which stands by,", entry.slot),
        role => format!("{} {}", role.name(), entry.slot),
    };
    let pid = entry.pid;
    if entry.state == WorkerState::Dead as u32 {
        return Some(format!("{name} has died and is to be started again"));
    }
    if !attached.moment.is_alive(ProcessId { pid, start_time: entry.start_time }) {
        return Some(format!("{name} (process {pid}) is dead"));
    }
    if matches!(attached.moment.state(pid), Some('T' | 't')) {
        return Some(format!("{name} (process {pid}) is stopped by a signal"));
    }
    // One that starts has yet to give its first sign of life.
    let beats = role != Role::Supervisor && entry.state != WorkerState::Starting as u32;
    let segment = attached.worker(role, entry.slot).filter(|_| beats)?;
    let silent_ms = attached.moment.now_us().saturating_sub(WorkerPage::new(&segment).heartbeat()) / 1000;
    (silent_ms > limit_ms).then(|| format!("{name} (process {pid}) has given no sign of life for {silent_ms} ms"))
}

/// Why it takes no new players, a sentence each; nothing when it does.
pub(super) fn doubts(attached: &Attached) -> Vec<String> {
    let directory = Directory::new(&attached.directory);
    let mut doubts = Vec::new();
    match attached.instance.stopping {
        stopping if stopping == Stopping::Now as u32 => doubts.push("the instance stops".to_owned()),
        stopping if stopping == Stopping::Drains as u32 => {
            doubts.push("the instance stops when its players have gone, and takes no new ones".to_owned());
        }
        _ => {}
    }
    let runs = |entry: &WorkerEntry| {
        let lives = attached.moment.is_alive(ProcessId { pid: entry.pid, start_time: entry.start_time });
        entry.role == Role::Frontend as u32 && entry.state == WorkerState::Running as u32 && lives
    };
    if !directory.workers().any(|entry| runs(&entry)) {
        doubts.push("no front-end runs".to_owned());
    }
    let open = directory.zones().filter(|(_, zone)| zone.state == ZoneState::Open as u32).any(|(slot, zone)| {
        let head = attached.world.newest(slot).ok().map(|root| root.head).filter(|head| head.incarnation == zone.incarnation);
        head.is_some_and(|head| head.flags & (RootFlags::CLOSING | RootFlags::ENDED | RootFlags::LOCKED) == 0)
    });
    if !open {
        doubts.push("no match is open to new players".to_owned());
    }
    doubts
}
