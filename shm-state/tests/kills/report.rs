//! What a run has done, and what it left behind.

use std::fmt;

/// Counts of a run, in the order in which they are printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Processes killed at random instructions.
    pub kills: u64,
    /// Of those, sims.
    pub sims: u64,
    /// Of those, creators of a segment.
    pub creators: u64,
    /// Of those, processes that were stopped first.
    pub stopped: u64,
    /// Stopped producers that held a lock.
    pub held: u64,
    /// Pairs of kill points.
    pub pairs: u64,
    /// Deaths and stops at a kill point.
    pub deaths: u64,
    /// Checks of a whole instance.
    pub checks: u64,
    /// Roots published: commits of ticks and endings of matches.
    pub roots: u64,
    /// Matches begun.
    pub matches: u64,
    /// Ticks for whose burst the arena had no room.
    pub lean: u64,
    /// Records of which producers were told that they are committed.
    pub appended: u64,
    /// Records consumed by committed ticks.
    pub consumed: u64,
    /// Zones taken over or opened.
    pub takeovers: u64,
    /// Locks repaired after their holder's death.
    pub repairs: u64,
    /// How often a producer found a lock taken.
    pub busy: u64,
    /// Things found that must not be.
    pub violations: u64,
    /// Pages of extents that belong to nobody who lives.
    pub leaked_pages: u64,
    /// Files left in /dev/shm.
    pub leaked_segments: u64,
    /// File descriptors left open.
    pub leaked_descriptors: u64,
    /// Children left.
    pub leaked_children: u64,
}

impl Report {
    /// Whether all was as it must be, and nothing was left behind.
    pub fn is_clean(&self) -> bool {
        let leaked = self.leaked_pages + self.leaked_segments + self.leaked_descriptors + self.leaked_children;
        self.violations + leaked == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "kills        {} ({} of a sim, {} of a segment's creator; {} stopped first, {} of those with a lock)",
            self.kills, self.sims, self.creators, self.stopped, self.held
        )?;
        writeln!(f, "pairs        {} of kill points, in {} deaths and stops at one", self.pairs, self.deaths)?;
        writeln!(
            f,
            "operations   {} roots published in {} matches ({} ticks without room for their burst); {} checks",
            self.roots, self.matches, self.lean, self.checks
        )?;
        writeln!(
            f,
            "records      {} told as appended, {} consumed; {} times a lock was busy",
            self.appended, self.consumed, self.busy
        )?;
        writeln!(f, "takeovers    {} zones taken over or opened, {} locks repaired", self.takeovers, self.repairs)?;
        writeln!(f, "violations   {}", self.violations)?;
        write!(
            f,
            "leaked       {} pages, {} segments, {} descriptors, {} children",
            self.leaked_pages, self.leaked_segments, self.leaked_descriptors, self.leaked_children
        )
    }
}
