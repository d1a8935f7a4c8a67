//! Processes that ended though nobody killed them: the instance heals that, so that its clients alone would not show it.

use std::path::Path;
use std::{fs, io};

use super::host_process::LOG;

/// The lines of the instance's log that tell of a panic, or of a signal that only a fault raises.
pub(super) fn of(directory: &Path) -> io::Result<Vec<String>> {
    let log = fs::read(directory.join(LOG))?;
    Ok(in_log(&String::from_utf8_lossy(&log)))
}

fn in_log(log: &str) -> Vec<String> {
    const SIGNS: [&str; 6] =
        [" panicked at ", "killed by SIGSEGV", "killed by SIGBUS", "killed by SIGABRT", "killed by SIGILL", "killed by SIGFPE"];
    log.lines().filter(|line| SIGNS.iter().any(|sign| line.contains(sign))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::in_log;

    #[test]
    fn a_panic_and_a_fault_are_found_and_a_kill_is_not() {
        let panic = "sim-1 2026-01-01T00:00:00Z ERROR thread 'main' panicked at server/src/sim/mod.rs:1:1:";
        let fault =
            "supervisor 2026-01-01T00:00:00Z ERROR sim-0 (process 7) killed by SIGSEGV (core dumped); its log is sim-0.log";
        let kill = "supervisor 2026-01-01T00:00:00Z ERROR sim-0 (process 7) killed by SIGKILL; its log is sim-0.log";
        assert_eq!(in_log(&[panic, kill, fault].join("\n")), [panic, fault]);
    }
}
