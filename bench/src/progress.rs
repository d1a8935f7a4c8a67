//! A line on stderr that says how far a benchmark is.

use std::io::{IsTerminal, Write};

/// Counts steps of a known number.
#[derive(Debug)]
pub struct Progress {
    steps: usize,
    done: usize,
}

impl Progress {
    /// So many steps.
    pub fn new(steps: usize) -> Self {
        Self { steps, done: 0 }
    }

    /// Says what is done next. On a terminal the line replaces the one before.
    pub fn next(&mut self, what: &str) {
        self.done += 1;
        let mut err = std::io::stderr();
        let (begin, end) = if err.is_terminal() { ("\r\x1b[2K", "") } else { ("", "\n") };
        let _ = write!(err, "{begin}{}/{} {what}{end}", self.done, self.steps);
        let _ = err.flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
    }
}
