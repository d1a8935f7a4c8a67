//! What benchmarks that were killed have left behind. Their files' names begin with a prefix and the id of the first process.

use std::path::PathBuf;

use ringfort_shm_state::process::ProcessId;

/// Where shared memory has its names.
pub const SHM_DIRECTORY: &str = "/dev/shm";

/// Removes what runs that have ended left, and with `own` what this one did.
pub fn remove(directory: PathBuf, prefix: &str, own: bool) {
    let run_of = |path: &PathBuf| -> Option<u32> {
        let rest = path.file_name()?.to_str()?.strip_prefix(prefix)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let is_left = |run: u32| if run == std::process::id() { own } else { ProcessId::of(run).is_none() };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| run_of(path).is_some_and(is_left)) {
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}
