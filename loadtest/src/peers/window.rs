//! The measured window: what the kernel charged the server's processes for it, and what they hold in memory at its end.

use std::thread;
use std::time::{Duration, Instant};

use super::PeersError;
use super::plan::Plan;
use super::sample::Sample;
use crate::children::Child;
use crate::cpu;
use crate::memory::{self, Memory};

/// What was seen of the server's processes.
pub(super) struct Window {
    used: Duration,
    lasted: Duration,
    memory: Memory,
}

/// Waits, at most for `patience`, until the load says that all are connected, lets it settle, and measures the processes that `pids` then names.
pub(super) fn measure(
    plan: &Plan,
    patience: Duration,
    load: &Child,
    role: &'static str,
    pids: impl FnOnce() -> Result<Vec<u32>, PeersError>,
) -> Result<Window, PeersError> {
    if load.line(patience).as_deref() != Some(crate::run::CONNECTED) {
        return Err(PeersError::ChildSilent { role });
    }
    thread::sleep(plan.settle());
    let pids = pids()?;
    let died = |source| PeersError::ServerDied { role: "server", source };
    let sum = || pids.iter().map(|&pid| cpu::used(pid)).sum::<std::io::Result<Duration>>().map_err(died);
    let (before, start) = (sum()?, Instant::now());
    thread::sleep(plan.window());
    let (used, lasted) = (sum()? - before, start.elapsed());
    pids.iter().try_for_each(|&pid| memory::of(pid).map(drop)).map_err(died)?;
    let memory = memory::of_all(&pids, &[load.pid()]);
    Ok(Window { used, lasted, memory })
}

impl Window {
    /// A sample with what the kernel knows.
    pub(super) fn sample(&self, plan: &Plan) -> Sample {
        let seconds = self.lasted.as_secs_f64();
        Sample {
            us_per_client_tick: self.used.as_secs_f64() * 1e6 / (plan.answers_per_second() * seconds),
            cpu_percent: 100.0 * self.used.as_secs_f64() / seconds,
            pss_bytes_per_client: self.memory.pss_bytes as f64 / plan.clients as f64,
            rss_bytes_per_client: self.memory.rss_bytes as f64 / plan.clients as f64,
            ..Sample::default()
        }
    }
}
