//! Who a process is: its id and its start time, which together are never used twice.

use std::fs;

/// A process that may have died since, told apart from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

impl ProcessId {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self { pid, start_time: start_time(pid).unwrap_or(0) }
    }

    /// The process that has a number now; `None` when there is none, or only what is left of one.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_time: start_time(pid)? })
    }

    /// Whether this very process still runs. A zombie counts as dead.
    pub fn is_alive(self) -> bool {
        self.pid != 0 && start_time(self.pid) == Some(self.start_time)
    }
}

/// The state letter of a process as `/proc/PID/stat` has it, `None` when there is no such process.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    fields(&stat)?.next()?.chars().next()
}

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in memory, those shared with others too.
    pub resident_bytes: u64,
    /// Of those, the bytes of files and of shared memory.
    pub shared_bytes: u64,
    /// Processor time, user and system, in milliseconds.
    pub cpu_ms: u64,
}

/// What a process uses now, `None` when there is no such process.
pub fn usage(pid: u32) -> Option<Usage> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split_whitespace().skip(1).map_while(|field| field.parse::<u64>().ok());
    let page_bytes = rustix::param::page_size() as u64;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut times = fields(&stat)?.skip(11).map_while(|field| field.parse::<u64>().ok());
    let ticks = times.next()? + times.next()?;
    Some(Usage {
        resident_bytes: pages.next()? * page_bytes,
        shared_bytes: pages.next()? * page_bytes,
        cpu_ms: ticks * 1000 / rustix::param::clock_ticks_per_second().max(1),
    })
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = fields(&stat)?;
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The fields after the command's name, which may itself hold blanks and brackets; the first is the state.
fn fields(stat: &str) -> Option<std::str::SplitWhitespace<'_>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace())
}
