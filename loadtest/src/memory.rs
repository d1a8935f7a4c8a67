//! Memory of processes, as the kernel counts it.

use std::iter::Sum;
use std::{fs, io};

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
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Lines like `Pss:   1234 kB` (proc_pid_smaps(5)).
fn parse(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    Some(Memory { pss_bytes: bytes("Pss:")?, rss_bytes: bytes("Rss:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_pages_are_told_apart() {
        let text =
            "00400000-7fff [rollup]\nRss:                 300 kB\nPss:                 100 kB\nPss_Dirty:            50 kB\n";
        assert_eq!(parse(text), Some(Memory { pss_bytes: 102_400, rss_bytes: 307_200 }));
        let own = of(std::process::id()).expect("our own can be read");
        assert!(own.pss_bytes > 0 && own.pss_bytes <= own.rss_bytes);
    }
}
