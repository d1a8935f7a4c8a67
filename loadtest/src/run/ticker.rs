//! The line of progress: written over itself on a terminal, else one line a second.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::partial::Progress;

/// How often a line of progress is shown, at most.
const SHOWN_EVERY: Duration = Duration::from_millis(900);

/// What the workers said last.
pub(super) struct Ticker {
    latest: Vec<Progress>,
    started: Instant,
    shown: Instant,
    overwrite: bool,
}

impl Ticker {
    pub(super) fn new() -> Ticker {
        let now = Instant::now();
        Ticker { latest: Vec::new(), started: now, shown: now, overwrite: std::io::stderr().is_terminal() }
    }

    /// A worker has given a sign of life.
    pub(super) fn note(&mut self, worker: usize, progress: Progress) {
        if self.latest.len() <= worker {
            self.latest.resize(worker + 1, Progress::default());
        }
        self.latest[worker] = progress;
        if self.shown.elapsed() < SHOWN_EVERY {
            return;
        }
        self.shown = Instant::now();
        let mut sum = Progress::default();
        self.latest.iter().for_each(|progress| sum.merge(progress));
        let (start, end) = if self.overwrite { ("\r\x1b[2K", "") } else { ("", "\n") };
        // A terminal that is gone shows nothing, and the run goes on.
        let _ = write!(
            std::io::stderr(),
            "{start}{:4.0} s  {} live, {} gone  {} inputs, {} snapshots  latency p50 {:.1} p99 {:.1} ms  generator {:.0} %{end}",
            self.started.elapsed().as_secs_f64(),
            sum.live,
            sum.gone,
            sum.sent,
            sum.snapshots,
            sum.p50_ms,
            sum.p99_ms,
            sum.cpu_percent,
        );
    }

    pub(super) fn finish(&self) {
        if self.overwrite {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
