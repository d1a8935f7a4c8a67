//! What one client has: the front-end's side of delta compression.
//!
//! A front-end keeps one [`Baselines`] per client. Each tick it asks, for every entity, what record the client needs
//! ([`Baselines::need`], [`Baselines::need_gone`]), writes as many as fit, and notes each one written
//! ([`Baselines::begin`], [`Baselines::sent`], [`Baselines::sent_gone`]). The client's acknowledgements
//! ([`Baselines::acked`]) then shrink what later records must hold.
//!
//! Why a record is right whatever is lost or in flight: let `A` be the last tick with a record of the entity that the
//! client acknowledged. The client is at `A` or has applied any of the later records, in order.
//! - A column is left out only if it has not changed since `A` and was visible in every record sent since `A`
//!   (`held`): each of them left the client with the present value.
//! - A column that isn't visible is left out only if it was visible in no record since `A`: `narrowed` is the last tick
//!   whose record lacked a column of the record before; from an acknowledged tick at or past it the masks only grew, so
//!   what is not visible now was not visible since. Until then every invisible column is sent as absent, one bit each.
//! - An entity that is new to the client, of another generation, or back after it was gone, is sent whole until a record
//!   sent *since then* is acknowledged. An older acknowledgement speaks of what the client may since have dropped.
//! - What was put off for want of room changed nothing at the client and nothing here.

use crate::AckBits;
use crate::limits::{SENT_RECORDS, SENT_WINDOW};

/// What the world says of one entity, as one client may see it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The entity's generation.
    pub generation: u32,
    /// Wire columns that the entity has and the client may see.
    pub visible: u32,
    /// The latest of `changed`.
    pub newest: u32,
    /// Per wire column the tick in which it last changed: its value, or whether there is one.
    pub changed: &'a [u32],
}

/// The record that brings a client up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// It is up to date.
    Nothing,
    /// These columns, present or absent.
    Update {
        /// Wire columns to name.
        mask: u32,
    },
    /// The whole entity, with all visible columns.
    Fresh,
}

/// What one client has of a zone.
#[derive(Debug)]
pub struct Baselines {
    entities: Vec<Baseline>,
    globals: Baseline,
    /// The acknowledgement that came last: every input repeats most of it.
    acked: AckBits,
    sent: SentLog,
    columns_mask: u32,
    globals_mask: u32,
}

/// What a client has of one entity.
#[derive(Clone, Copy, Debug)]
struct Baseline {
    generation: u32,
    /// Of `Known`: the last acknowledged tick with a record. Of `Fresh` and `Gone`: the first tick that said so.
    tick: u32,
    /// The last tick whose record lacked a column of the record before.
    narrowed: u32,
    /// Columns that the client has whatever it has applied since `tick`.
    held: u32,
    /// Columns of the last record.
    last: u32,
    /// Priority that adds up while the entity is put off, in sixteenths.
    waiting: u16,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The client has nothing, and nothing is under way.
    Unknown,
    /// Sent whole and not acknowledged yet.
    Fresh,
    /// The client has it.
    Known,
    /// Taken away and not acknowledged yet.
    Gone,
}

const UNKNOWN: Baseline = Baseline { generation: 0, tick: 0, narrowed: 0, held: 0, last: 0, waiting: 0, stage: Stage::Unknown };
// A front-end walks these for every client and entity, every tick.
const _: () = assert!(size_of::<Baseline>() == 24);
/// Units of `waiting` in a priority of one.
const WAITING_UNITS: f32 = 16.0;

impl Baselines {
    /// Of a client that has nothing, in a game with so many synced columns and globals.
    pub fn new(columns: usize, globals: usize) -> Baselines {
        Baselines {
            entities: Vec::new(),
            // The globals are always there, so the client knows them from the start, without a value.
            globals: Baseline { stage: Stage::Known, ..UNKNOWN },
            acked: AckBits::NONE,
            sent: SentLog::new(),
            columns_mask: crate::bits::mask(columns as u32) as u32,
            globals_mask: crate::bits::mask(globals as u32) as u32,
        }
    }

    /// One more than the highest entity index that the client may know: [`Baselines::need_gone`] is asked up to here.
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether the client can't know any entity.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// The record that the client needs of a visible entity.
    #[inline]
    pub fn need(&self, index: u32, seen: &Seen<'_>) -> Need {
        match self.entities.get(index as usize) {
            Some(known) if known.stage == Stage::Known && known.generation == seen.generation => {
                match known.mask(seen.visible, seen.newest, seen.changed, self.columns_mask) {
                    0 => Need::Nothing,
                    mask => Need::Update { mask },
                }
            }
            _ => Need::Fresh,
        }
    }

    /// Whether the client must be told that it no longer sees an entity.
    #[inline]
    pub fn need_gone(&self, index: u32) -> bool {
        self.entities.get(index as usize).is_some_and(|known| known.stage != Stage::Unknown)
    }

    /// The globals that the client needs; `changed` as in [`Seen`].
    pub fn need_globals(&self, changed: &[u32]) -> u32 {
        let newest = changed.iter().copied().max().unwrap_or(0);
        self.globals.mask(self.globals_mask, newest, changed, self.globals_mask)
    }

    /// Adds `priority` to an entity that was put off, and gives the sum, by which those that wait are sorted. Any priority,
    /// however low, adds at least a sixteenth: what only waits long enough comes first in the end.
    #[inline]
    pub fn wait(&mut self, index: u32, priority: f32) -> f32 {
        let known = self.entity(index);
        known.waiting = known.waiting.saturating_add(((priority * WAITING_UNITS) as u16).max(1));
        f32::from(known.waiting) / WAITING_UNITS
    }

    /// What [`Baselines::wait`] has added up so far.
    #[inline]
    pub fn waiting(&self, index: u32) -> f32 {
        self.entities.get(index as usize).map_or(0.0, |known| f32::from(known.waiting) / WAITING_UNITS)
    }

    /// Begins to note what the snapshot of `tick` says. Ticks only go up.
    pub fn begin(&mut self, tick: u32) {
        self.sent.begin(tick);
    }

    /// Notes an update or fresh record with this visible mask, as [`Baselines::need`] had asked for it.
    #[inline]
    pub fn sent(&mut self, index: u32, generation: u32, visible: u32) {
        let tick = self.sent.tick;
        let known = self.entity(index);
        let same = known.generation == generation && matches!(known.stage, Stage::Fresh | Stage::Known);
        if !same {
            let waiting = known.waiting;
            *known = Baseline { generation, tick, narrowed: tick, stage: Stage::Fresh, waiting, ..UNKNOWN };
            (known.held, known.last) = (visible, visible);
        }
        known.note(tick, visible);
        known.waiting = 0;
        self.sent.push(index, visible);
    }

    /// Notes a gone record.
    #[inline]
    pub fn sent_gone(&mut self, index: u32) {
        let tick = self.sent.tick;
        let known = self.entity(index);
        if known.stage != Stage::Gone {
            (known.stage, known.tick) = (Stage::Gone, tick);
        }
        known.waiting = 0;
        self.sent.push(index, 0);
    }

    /// Notes that the globals were sent.
    pub fn sent_globals(&mut self) {
        self.globals.note(self.sent.tick, self.globals_mask);
        self.sent.push(GLOBALS, self.globals_mask);
    }

    /// The newest tick of which something was sent; nobody can have a later one.
    pub fn newest(&self) -> u32 {
        self.sent.tick
    }

    /// Takes the client's acknowledgement; what it says again is ignored, and so are ticks that were never sent.
    pub fn acked(&mut self, acks: AckBits) {
        let fresh = acks.without(self.acked);
        self.acked = acks;
        for tick in fresh {
            let Some(records) = self.sent.take(tick) else {
                continue;
            };
            for record in records {
                let record = self.sent.records[record as usize % SENT_RECORDS];
                match record.index {
                    GLOBALS => self.globals.acked(tick, record.visible),
                    index => self.entities[index as usize].acked(tick, record.visible),
                }
            }
        }
    }

    #[inline]
    fn entity(&mut self, index: u32) -> &mut Baseline {
        let index = index as usize;
        if index >= self.entities.len() {
            self.entities.resize(index + 1, UNKNOWN);
        }
        &mut self.entities[index]
    }
}

impl Baseline {
    /// The columns that an update must name.
    #[inline]
    fn mask(&self, visible: u32, newest: u32, changed: &[u32], all: u32) -> u32 {
        let narrower = self.tick < self.narrowed || self.last & !visible != 0;
        let absent = if narrower { all & !visible } else { 0 };
        let mut mask = visible & !self.held | absent;
        if newest > self.tick {
            for (column, tick) in changed.iter().enumerate() {
                mask |= u32::from(*tick > self.tick) << column;
            }
            // What changed but isn't visible is none of the client's business.
            mask &= visible | absent;
        }
        mask
    }

    #[inline]
    fn note(&mut self, tick: u32, visible: u32) {
        if self.last & !visible != 0 {
            self.narrowed = tick;
        }
        self.last = visible;
        self.held &= visible;
    }

    fn acked(&mut self, tick: u32, visible: u32) {
        match self.stage {
            // Of an incarnation that is over, or out of order: a later acknowledgement has said more.
            Stage::Unknown => {}
            Stage::Fresh | Stage::Gone if tick < self.tick => {}
            Stage::Known if tick <= self.tick => {}
            Stage::Gone => *self = UNKNOWN,
            Stage::Fresh | Stage::Known => {
                self.stage = Stage::Known;
                self.tick = tick;
                if tick >= self.narrowed {
                    self.held = visible;
                }
            }
        }
    }
}

/// In place of an entity's index.
const GLOBALS: u32 = u32::MAX;

/// What the last snapshots said.
#[derive(Debug)]
struct SentLog {
    tick: u32,
    snapshots: Box<[SentSnapshot; SENT_WINDOW]>,
    /// A ring; positions only go up and are taken modulo its length.
    records: Vec<SentRecord>,
    end: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct SentSnapshot {
    tick: u32,
    acked: bool,
    start: u64,
    end: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct SentRecord {
    index: u32,
    visible: u32,
}

impl SentLog {
    fn new() -> SentLog {
        let records = vec![SentRecord::default(); SENT_RECORDS];
        SentLog { tick: 0, snapshots: Box::new([SentSnapshot::default(); SENT_WINDOW]), records, end: 0 }
    }

    fn begin(&mut self, tick: u32) {
        debug_assert!(tick > self.tick, "snapshots are sent in the order of their ticks");
        self.tick = tick;
        let at = SentSnapshot { tick, acked: false, start: self.end, end: self.end };
        self.snapshots[tick as usize % SENT_WINDOW] = at;
    }

    #[inline]
    fn push(&mut self, index: u32, visible: u32) {
        self.records[self.end as usize % SENT_RECORDS] = SentRecord { index, visible };
        self.end += 1;
        self.snapshots[self.tick as usize % SENT_WINDOW].end = self.end;
    }

    /// The records of a snapshot that is acknowledged for the first time and still remembered in full.
    fn take(&mut self, tick: u32) -> Option<std::ops::Range<u64>> {
        let snapshot = &mut self.snapshots[tick as usize % SENT_WINDOW];
        let remembered = snapshot.start + SENT_RECORDS as u64 >= self.end;
        if snapshot.tick != tick || snapshot.acked || !remembered {
            return None;
        }
        snapshot.acked = true;
        Some(snapshot.start..snapshot.end)
    }
}

#[cfg(test)]
mod tests;
