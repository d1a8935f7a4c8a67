//! Memory of processes, as the kernel counts it.

use std::iter::Sum;
use std::{fs, io};

/// What these processes hold. One that has ended meanwhile has nothing.
///
/// The pages of a segment that `readers` map, too, belong to the processes all the same: the readers' part of them is added, or a server
/// would seem the smaller the more look at it.
pub(crate) fn of_all(pids: &[u32], readers: &[u32]) -> Memory {
    let held: Memory = pids.iter().filter_map(|pid| of(*pid).ok()).sum();
    let read: u64 = readers.iter().filter_map(|pid| shared(&rollup(*pid).ok()?)).sum();
    Memory { pss_bytes: held.pss_bytes + read, ..held }
}

/// What a process, or several, hold in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident bytes, each page that processes share in equal parts.
    pub(crate) pss_bytes: u64,
    /// Resident bytes, shared pages in full.
    pub(crate) rss_bytes: u64,
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Memory>>(all: I) -> Memory {
        all.fold(Memory::default(), |sum, one| Memory {
            pss_bytes: sum.pss_bytes + one.pss_bytes,
            rss_bytes: sum.rss_bytes + one.rss_bytes,
        })
    }
}

/// What process `pid` holds.
pub(crate) fn of(pid: u32) -> io::Result<Memory> {
    parse(&rollup(pid)?).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn rollup(pid: u32) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
}

fn parse(text: &str) -> Option<Memory> {
    Some(Memory { pss_bytes: bytes(text, "Pss:")?, rss_bytes: bytes(text, "Rss:")? })
}

/// A process's part of the shared memory that it maps.
fn shared(text: &str) -> Option<u64> {
    bytes(text, "Pss_Shmem:")
}

/// Of a line like `Pss:   1234 kB` (proc_pid_smaps(5)).
fn bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_pages_are_told_apart() {
        let text = "00400000-7fff [rollup]\nRss:                 300 kB\nPss:                 100 kB\nPss_Dirty:            50 kB\nPss_Shmem:     20 kB\n";
        assert_eq!(parse(text), Some(Memory { pss_bytes: 102_400, rss_bytes: 307_200 }));
        assert_eq!((shared(text), shared("")), (Some(20_480), None));
        let own = of(std::process::id()).expect("our own can be read");
        assert!(own.pss_bytes > 0 && own.pss_bytes <= own.rss_bytes);
        assert_eq!(of_all(&[], &[]), Memory::default());
        assert!(of_all(&[std::process::id()], &[]).pss_bytes > 0);
    }
}
