//! Processor time of processes, read from `/proc`: what the kernel charged, not what a process says of itself.

use std::fs;
use std::io;
use std::time::Duration;

/// User plus system time that process `pid` has used so far, in steps of one clock tick (10 ms).
pub(crate) fn used(pid: u32) -> io::Result<Duration> {
    let stat = Stat::read(pid)?;
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_nanos(stat.ticks * (1_000_000_000 / ticks_per_second)))
}

/// Time that all threads of process `pid` have been on a processor, in nanoseconds as the scheduler counts them: for what is too short for
/// [`used`]. A thread that has ended meanwhile is not in it.
pub(crate) fn used_exactly(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The first of three figures (proc_pid_schedstat(5)).
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
        nanos += first.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// User plus system time of this process.
pub(crate) fn used_by_self() -> io::Result<Duration> {
    used(std::process::id())
}

/// All living processes below `ancestor`, itself left out.
pub(crate) fn descendants(ancestor: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends between listing and reading is no longer anyone's child.
        if let Ok(stat) = Stat::read(pid) {
            parents.push((pid, stat.parent));
        }
    }
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
        next += 1;
    }
    family.remove(0);
    Ok(family)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Stat::parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// The command's name stands in parentheses and may contain anything, so fields are counted from the last one:
    /// state, parent, .. and user and system ticks as the 12th and 13th after it (proc_pid_stat(5)).
    fn parse(text: &str) -> Option<Stat> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: number(11)? + number(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let stat = Stat::parse("7 (a) b) (c) S 3 7 7 0 -1 4194560 1 2 3 4 50 60 0 0 20 0 1 0 9").expect("well-formed");
        assert_eq!((stat.parent, stat.ticks), (3, 110));
    }

    #[test]
    fn our_own_time_can_be_read() {
        assert!(used_by_self().is_ok());
        assert!(used_exactly(std::process::id()).expect("this kernel counts it") > Duration::ZERO);
    }
}
