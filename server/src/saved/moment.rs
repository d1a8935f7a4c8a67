//! When an instance is looked at, and what the kernel says of its processes then: now, or as it was when a file was saved.

use ringfort_shm_state::process::{self, ProcessId, Usage};
use serde::{Deserialize, Serialize};

use crate::clock;

/// The moment at which an instance is looked at.
#[derive(Debug, Clone)]
pub enum Moment {
    /// Now; the kernel is asked.
    Now,
    /// When a file was saved.
    Saved(SavedMoment),
}

/// What clocks and kernel said when a file was saved.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SavedMoment {
    /// Seconds since 1970.
    pub unix_s: u64,
    /// Microseconds of CLOCK_MONOTONIC.
    pub now_us: u64,
    /// Microseconds of CLOCK_BOOTTIME.
    pub boot_us: u64,
    /// The processes that the segments name and that there were.
    pub processes: Vec<SeenProcess>,
}

/// A process as the kernel told of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct SeenProcess {
    /// Its number.
    pub pid: u32,
    /// Its start time, clock ticks since boot; 0 of one that has died.
    pub start_time: u64,
    /// The letter of its state.
    pub state: char,
    /// Bytes in memory, those shared with others too.
    pub resident_bytes: u64,
    /// Of those, the bytes of files and of shared memory.
    pub shared_bytes: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
}

impl SeenProcess {
    /// What the kernel says of a process now; `None` when there is none.
    pub fn now(pid: u32) -> Option<Self> {
        let state = process::state(pid)?;
        let start_time = ProcessId::of(pid).map_or(0, |id| id.start_time);
        let Usage { resident_bytes, shared_bytes, cpu_ms } = process::usage(pid).unwrap_or_default();
        Some(Self { pid, start_time, state, resident_bytes, shared_bytes, cpu_ms })
    }
}

impl Moment {
    /// Microseconds of CLOCK_MONOTONIC.
    pub fn now_us(&self) -> u64 {
        match self {
            Self::Now => clock::now_us(),
            Self::Saved(saved) => saved.now_us,
        }
    }

    /// Microseconds since 1970; of a file those of the second in which it was saved.
    pub fn wall_us(&self) -> u64 {
        match self {
            Self::Now => clock::wall_us(),
            Self::Saved(saved) => saved.unix_s.saturating_mul(1_000_000),
        }
    }

    /// Microseconds of CLOCK_BOOTTIME.
    pub fn boot_us(&self) -> u64 {
        match self {
            Self::Now => clock::boot_us(),
            Self::Saved(saved) => saved.boot_us,
        }
    }

    /// The state letter of a process, `None` when there is no such process.
    pub fn state(&self, pid: u32) -> Option<char> {
        match self {
            Self::Now => process::state(pid),
            Self::Saved(saved) => saved.process(pid).map(|seen| seen.state),
        }
    }

    /// Whether this very process runs. One that was stopped does, a zombie does not.
    pub fn is_alive(&self, id: ProcessId) -> bool {
        match self {
            Self::Now => id.is_alive(),
            Self::Saved(saved) => {
                let lives = |seen: &SeenProcess| seen.start_time == id.start_time && !matches!(seen.state, 'Z' | 'X');
                id.pid != 0 && saved.process(id.pid).is_some_and(lives)
            }
        }
    }

    /// What a process uses, `None` when there is no such process.
    pub fn usage(&self, pid: u32) -> Option<Usage> {
        match self {
            Self::Now => process::usage(pid),
            Self::Saved(saved) => saved.process(pid).map(|seen| {
                let SeenProcess { resident_bytes, shared_bytes, cpu_ms, .. } = *seen;
                Usage { resident_bytes, shared_bytes, cpu_ms }
            }),
        }
    }
}

impl SavedMoment {
    /// Now, with these processes.
    pub fn now(pids: impl IntoIterator<Item = u32>) -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            unix_s: unix.as_secs(),
            now_us: clock::now_us(),
            boot_us: clock::boot_us(),
            processes: pids.into_iter().filter_map(SeenProcess::now).collect(),
        }
    }

    fn process(&self, pid: u32) -> Option<&SeenProcess> {
        self.processes.iter().find(|seen| seen.pid == pid)
    }
}
