//! What the screens show: copied out of shared memory in one look, and plain data from there on.

use crate::look::ills::{About, Finding, Severity};
use crate::status::{SessionShown, Status, Times};

/// One look at an instance.
#[derive(Debug)]
pub struct Seen {
    /// What `status` tells.
    pub status: Status,
    /// What each of its processes has done since the look before, in the order of the status.
    pub processes: Vec<Work>,
    /// How each of its matches runs just now, in the order of the status.
    pub matches: Vec<Pace>,
    /// The match that was drilled into, or why it cannot be shown.
    pub one: Option<Result<One, String>>,
    /// What is wrong with it, the worst first.
    pub ills: Vec<Finding>,
    /// What looking costs.
    pub cost: Cost,
}

impl Seen {
    /// What is wrong with a part of it, the worst first.
    pub fn ills_of(&self, about: About) -> impl Iterator<Item = &Finding> {
        self.ills.iter().filter(move |ill| ill.about == about)
    }

    /// How bad the worst of it is.
    pub fn worst_of(&self, about: About) -> Option<Severity> {
        self.ills_of(about).next().map(|ill| ill.severity)
    }
}

/// What looking costs `top` itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Microseconds of the last look.
    pub look_us: u64,
    /// Per cent of a processor since the look before, drawing and all; nothing at the first.
    pub cpu_percent: Option<f64>,
}

/// What a process has done since the look before.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Per cent of a processor; nothing at the first look.
    pub cpu_percent: Option<f64>,
    /// Its counters.
    pub counters: Vec<Counted>,
}

/// A counter.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Its name.
    pub name: &'static str,
    /// What it stands at.
    pub value: u64,
    /// How much it grew in a second; nothing at the first look.
    pub per_s: Option<f64>,
}

impl Work {
    /// How much a counter grew in a second.
    pub fn rate(&self, name: &str) -> Option<f64> {
        self.counters.iter().find(|counted| counted.name == name)?.per_s
    }
}

/// How a match runs just now.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Duration of its ticks in the last looks, in microseconds; zero when that is not known.
    pub took: Times,
    /// How late they began.
    pub late: Times,
    /// Bytes of its ring in use at the last looks, oldest first.
    pub fills: Vec<u64>,
}

/// A match that was drilled into.
#[derive(Debug, Default)]
pub struct One {
    /// Its id.
    pub id: u64,
    /// Since it began or was taken over: the longest tick of each bar in microseconds, and how many there were.
    pub bars: Vec<(u64, u64)>,
    /// Who is in it.
    pub sessions: Vec<Seat>,
    /// Its newest events, newest first.
    pub events: Vec<Told>,
    /// Its globals, name and value.
    pub globals: Vec<(String, String)>,
    /// Its entities.
    pub entities: Entities,
    /// The entity that was drilled into.
    pub entity: Option<OneEntity>,
    /// What of it cannot be read.
    pub trouble: Option<String>,
}

/// A session of a match.
#[derive(Debug, Clone)]
pub struct Seat {
    /// What `matches show` tells of it.
    pub shown: SessionShown,
    /// Whether it only watches.
    pub watches: bool,
    /// Seconds since it lost its connection; nothing while it has one.
    pub detached_s: Option<u64>,
    /// Reliable events that it has not acknowledged yet.
    pub event_lag: u64,
    /// Highest command applied.
    pub command: u32,
    /// Its inputs; nothing of one that watches.
    pub inputs: Option<Inputs>,
}

/// A session's inputs.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Highest applied.
    pub highest: u32,
    /// Of the 32 below it those that were not applied.
    pub missing: u32,
    /// Whether one waits for the next tick.
    pub waits: bool,
    /// Ticks for which the last was repeated.
    pub repeated: u32,
    /// Highest that was given up because the game failed on it, 0 for none.
    pub rejected: u32,
    /// The fields of the last that was applied, name and value.
    pub last: Vec<(String, String)>,
}

/// An event of a match.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its number.
    pub number: u64,
    /// The tick that it was told in.
    pub tick: u32,
    /// Whom it is told.
    pub to: String,
    /// What it is called.
    pub name: String,
    /// Its fields.
    pub fields: String,
}

/// The entities of a match.
#[derive(Debug, Default)]
pub struct Entities {
    /// How many live, also those that the filter leaves out.
    pub alive: usize,
    /// Those that the filter leaves, in their order.
    pub shown: Vec<Dot>,
    /// Names of the fields.
    pub head: Vec<String>,
    /// The place of the first decoded one among the shown.
    pub first: usize,
    /// Values of those that are decoded.
    pub rows: Vec<Vec<String>>,
    /// All that have a position, for the map; those that the filter leaves are lit.
    pub dots: Vec<Dot>,
    /// Why the filter was not understood.
    pub trouble: Option<String>,
}

/// An entity among many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dot {
    /// Its index.
    pub index: u32,
    /// Its generation.
    pub generation: u32,
    /// The session that owns it, 0 for none.
    pub owner: u64,
    /// Where it is.
    pub at: Option<[f32; 2]>,
    /// Whether the filter leaves it.
    pub lit: bool,
}

impl Dot {
    /// What it is chosen by.
    pub fn key(&self) -> u64 {
        u64::from(self.index) | u64::from(self.generation) << 32
    }
}

/// An entity that was drilled into.
#[derive(Debug, Clone, Default)]
pub struct OneEntity {
    /// Index and generation.
    pub name: String,
    /// Who owns it, in words.
    pub owner: String,
    /// Whether it lives.
    pub alive: bool,
    /// The tick that was looked at.
    pub tick: u32,
    /// Its fields.
    pub fields: Vec<Live>,
}

/// A field of an entity that is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// Column and field.
    pub name: String,
    /// What it holds.
    pub value: String,
    /// What it held before it changed, and the tick at which that was seen.
    pub before: Option<(String, u32)>,
    /// Whether it has changed since the look before.
    pub changed: bool,
}
