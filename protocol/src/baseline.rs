//! What one client has: the front-end's side of delta compression.
//!
//! A front-end keeps one [`Baselines`] per client: what it knows of the entities that the client has, is being told of, or is to be
//! told of, in the order of their indices. An entity has a **place** in there ([`Baselines::admit`], [`Baselines::place`]) for as long
//! as it is wanted or the client may have something of it; what has none is unknown to the client.
//!
//! Each tick the front-end asks, for every place, what record the client needs ([`Baselines::need`], [`Baselines::need_gone`]), writes
//! as many as fit, and notes each one written ([`Baselines::begin`], [`Baselines::sent`], [`Baselines::sent_gone`]). The client's
//! acknowledgements ([`Baselines::acked`]) then shrink what later records must hold.
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

mod sent;

use crate::AckBits;
use crate::limits::PLACES_KEPT;
use sent::{GLOBALS, SentLog};

/// What the world says of one entity, as one client may see it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The entity's generation.
    pub generation: u32,
    /// Wire columns that the entity has and the client may see.
    pub visible: u32,
    /// How its columns have changed.
    pub changes: Changes,
    /// Per wire column the tick in which it last changed: its value, or whether there is one.
    pub changed: &'a [u32],
}

/// A short form of when the columns of a row changed last: it answers for whoever has all but the newest changes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Changes {
    /// The tick of the latest change.
    pub newest: u32,
    /// The wire columns that changed in it.
    pub recent: u32,
    /// No other column has changed after this tick.
    pub before: u32,
}

impl Changes {
    /// Of a whole row.
    pub fn of(changed: &[u32]) -> Changes {
        let newest = changed.iter().copied().max().unwrap_or(0);
        let recent = changed.iter().enumerate().fold(0, |mask, (column, tick)| mask | u32::from(*tick == newest) << column);
        let before = changed.iter().copied().filter(|tick| *tick != newest).max().unwrap_or(0);
        Changes { newest, recent, before }
    }

    /// Notes that a column has changed in `tick`, which is the newest.
    #[inline]
    pub fn note(&mut self, column: usize, tick: u32) {
        let bit = 1 << column;
        if tick == self.newest {
            self.recent |= bit;
            return;
        }
        if self.recent & !bit != 0 {
            self.before = self.newest;
        }
        (self.newest, self.recent) = (tick, bit);
    }

    /// The columns that have changed after a tick.
    #[inline]
    fn since(&self, tick: u32, changed: &[u32]) -> u32 {
        if self.newest <= tick {
            return 0;
        }
        if self.before <= tick {
            return self.recent;
        }
        changed.iter().enumerate().fold(0, |mask, (column, at)| mask | u32::from(*at > tick) << column)
    }
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
    /// In the order of their indices, each of which is there once.
    entities: Vec<Baseline>,
    globals: Baseline,
    sent: SentLog,
    columns_mask: u32,
    globals_mask: u32,
}

/// What a client has of one entity.
#[derive(Clone, Copy, Debug)]
struct Baseline {
    index: u32,
    generation: u32,
    /// Of `Known`: the last acknowledged tick with a record. Of `Fresh` and `Gone`: the first tick that said so.
    tick: u32,
    /// The last tick whose record lacked a column of the record before.
    narrowed: u32,
    /// Columns that the client has whatever it has applied since `tick`.
    held: u32,
    /// Columns of the last record.
    last: u32,
    /// Columns that the client was to see at the last look, whether they fitted or not.
    seen: u32,
    /// Priority that adds up while the entity is put off, in sixteenths.
    waiting: u16,
    stage: Stage,
    /// The lowest bits of the generation that `seen` is of.
    seen_generation: u8,
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

const UNKNOWN: Baseline = Baseline {
    index: 0,
    generation: 0,
    tick: 0,
    narrowed: 0,
    held: 0,
    last: 0,
    seen: 0,
    waiting: 0,
    stage: Stage::Unknown,
    seen_generation: 0,
};
// A front-end walks these for every client, every tick.
const _: () = assert!(size_of::<Baseline>() == 32);
/// Units of `waiting` in a priority of one.
const WAITING_UNITS: f32 = 16.0;

impl Baselines {
    /// Of a client that has nothing, in a game with so many synced columns and globals.
    pub fn new(columns: usize, globals: usize) -> Baselines {
        Baselines {
            entities: Vec::new(),
            // The globals are always there, so the client knows them from the start, without a value.
            globals: Baseline { stage: Stage::Known, ..UNKNOWN },
            sent: SentLog::default(),
            columns_mask: crate::bits::mask(columns as u32) as u32,
            globals_mask: crate::bits::mask(globals as u32) as u32,
        }
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether no entity has a place.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// Bytes of memory that it has taken beside itself.
    pub fn bytes(&self) -> usize {
        self.entities.capacity() * size_of::<Baseline>() + self.sent.bytes()
    }

    /// The entity of a place.
    #[inline]
    pub fn index(&self, place: usize) -> u32 {
        self.entities[place].index
    }

    /// Where an entity is, if it has a place.
    pub fn find(&self, index: u32) -> Option<usize> {
        self.entities.binary_search_by_key(&index, |known| known.index).ok()
    }

    /// The place of an entity, made if it has none. The places behind it move.
    pub fn place(&mut self, index: u32) -> usize {
        match self.entities.binary_search_by_key(&index, |known| known.index) {
            Ok(place) => place,
            Err(place) => {
                self.entities.insert(place, Baseline { index, ..UNKNOWN });
                place
            }
        }
    }

    /// Gives each of the wanted entities, which come in the order of their indices, a place, and takes the places of those away that are
    /// not wanted and of which the client has nothing.
    pub fn admit<W>(&mut self, wanted: &[W], index_of: impl Fn(&W) -> u32) {
        let mut rest = wanted.iter().map(&index_of).peekable();
        let (mut found, mut idle) = (0, 0);
        for known in &self.entities {
            while rest.next_if(|index| *index < known.index).is_some() {}
            let is_wanted = rest.next_if_eq(&known.index).is_some();
            found += usize::from(is_wanted);
            idle += usize::from(!is_wanted && known.stage == Stage::Unknown);
        }
        if idle > 0 {
            let mut rest = wanted.iter().map(&index_of).peekable();
            self.entities.retain(|known| {
                while rest.next_if(|index| *index < known.index).is_some() {}
                known.stage != Stage::Unknown || rest.peek() == Some(&known.index)
            });
            // Who was in a crowd does not pay for it for ever. There is a gap between this and the growth below, so that places that come and go
            // move no memory.
            let places = self.entities.len().max(wanted.len()).max(PLACES_KEPT);
            if self.entities.capacity() > places + places / 2 {
                self.entities.shrink_to(places + places / 4);
            }
        }
        if found < wanted.len() {
            self.insert(wanted, index_of, wanted.len() - found);
        }
    }

    /// Merges in those of the wanted entities, so many, that have no place; from the end, so that each place moves once.
    fn insert<W>(&mut self, wanted: &[W], index_of: impl Fn(&W) -> u32, missing: usize) {
        let mut from = self.entities.len();
        let mut to = from + missing;
        if to > self.entities.capacity() {
            // A quarter more than is needed now: there are thousands of clients, and what doubles wastes half.
            self.entities.reserve_exact(missing + to / 4);
        }
        self.entities.resize(to, UNKNOWN);
        for index in wanted.iter().rev().map(index_of) {
            while from > 0 && self.entities[from - 1].index > index && to > from {
                (from, to) = (from - 1, to - 1);
                self.entities[to] = self.entities[from];
            }
            if to == from {
                return;
            }
            to -= 1;
            if from > 0 && self.entities[from - 1].index == index {
                from -= 1;
                self.entities[to] = self.entities[from];
            } else {
                self.entities[to] = Baseline { index, ..UNKNOWN };
            }
        }
    }

    /// The columns of a place's entity that the client was to see at the last look; none of another generation.
    #[inline]
    pub fn seen(&self, place: usize, generation: u32) -> u32 {
        let known = &self.entities[place];
        if known.seen_generation == generation as u8 { known.seen } else { 0 }
    }

    /// Notes which columns of a place's entity the client is to see from now on.
    #[inline]
    pub fn see(&mut self, place: usize, generation: u32, visible: u32) {
        let known = &mut self.entities[place];
        (known.seen, known.seen_generation) = (visible, generation as u8);
    }

    /// The record that the client needs of a visible entity.
    #[inline]
    pub fn need(&self, place: usize, seen: &Seen<'_>) -> Need {
        let known = &self.entities[place];
        if known.stage != Stage::Known || known.generation != seen.generation {
            return Need::Fresh;
        }
        match known.mask(seen.visible, &seen.changes, seen.changed, self.columns_mask) {
            0 => Need::Nothing,
            mask => Need::Update { mask },
        }
    }

    /// Whether the client must be told that it no longer sees an entity.
    #[inline]
    pub fn need_gone(&self, place: usize) -> bool {
        self.entities[place].stage != Stage::Unknown
    }

    /// The globals that the client needs; `changed` as in [`Seen`].
    pub fn need_globals(&self, changed: &[u32]) -> u32 {
        self.globals.mask(self.globals_mask, &Changes::of(changed), changed, self.globals_mask)
    }

    /// Adds `priority` to an entity that was put off, and gives the sum, by which those that wait are sorted. Any priority,
    /// however low, adds at least a sixteenth: what only waits long enough comes first in the end.
    #[inline]
    pub fn wait(&mut self, place: usize, priority: f32) -> f32 {
        let known = &mut self.entities[place];
        known.waiting = known.waiting.saturating_add(((priority * WAITING_UNITS) as u16).max(1));
        f32::from(known.waiting) / WAITING_UNITS
    }

    /// What [`Baselines::wait`] has added up so far.
    #[inline]
    pub fn waiting(&self, place: usize) -> f32 {
        f32::from(self.entities[place].waiting) / WAITING_UNITS
    }

    /// Begins to note what the snapshot of `tick` says. Ticks only go up.
    pub fn begin(&mut self, tick: u32) {
        self.sent.begin(tick);
    }

    /// Notes an update or fresh record with this visible mask, as [`Baselines::need`] had asked for it.
    #[inline]
    pub fn sent(&mut self, place: usize, generation: u32, visible: u32) {
        let tick = self.sent.tick();
        let known = &mut self.entities[place];
        let same = known.generation == generation && matches!(known.stage, Stage::Fresh | Stage::Known);
        if !same {
            (known.generation, known.tick, known.narrowed, known.stage) = (generation, tick, tick, Stage::Fresh);
            (known.held, known.last) = (visible, visible);
        }
        known.note(tick, visible);
        known.waiting = 0;
        self.sent.push(known.index, visible);
    }

    /// Notes a gone record.
    #[inline]
    pub fn sent_gone(&mut self, place: usize) {
        let tick = self.sent.tick();
        let known = &mut self.entities[place];
        if known.stage != Stage::Gone {
            (known.stage, known.tick) = (Stage::Gone, tick);
        }
        known.waiting = 0;
        self.sent.push(known.index, 0);
    }

    /// Notes that the globals were sent.
    pub fn sent_globals(&mut self) {
        self.globals.note(self.sent.tick(), self.globals_mask);
        self.sent.push(GLOBALS, self.globals_mask);
    }

    /// The newest tick of which something was sent; nobody can have a later one.
    pub fn newest(&self) -> u32 {
        self.sent.tick()
    }

    /// Takes the client's acknowledgement. What it says again is ignored, and so is one that claims a tick which is still to come.
    pub fn acked(&mut self, acks: AckBits) {
        if acks.highest > self.sent.tick() {
            return;
        }
        let (entities, globals) = (&mut self.entities, &mut self.globals);
        let mut next = 0;
        self.sent.settle(acks, |tick, record| {
            if record.index == GLOBALS {
                return globals.acked(tick, record.visible);
            }
            // Records come mostly in the order of the indices, like the places.
            let after = |place: usize| entities.get(place).is_some_and(|known| known.index == record.index);
            let place = match () {
                _ if after(next) => next,
                _ if after(next + 1) => next + 1,
                _ => match entities.binary_search_by_key(&record.index, |known| known.index) {
                    Ok(place) => place,
                    Err(_) => return,
                },
            };
            entities[place].acked(tick, record.visible);
            next = place + 1;
        });
    }
}

impl Baseline {
    /// The columns that an update must name.
    #[inline]
    fn mask(&self, visible: u32, changes: &Changes, changed: &[u32], all: u32) -> u32 {
        let narrower = self.tick < self.narrowed || self.last & !visible != 0;
        let absent = if narrower { all & !visible } else { 0 };
        // What changed but isn't visible is none of the client's business.
        visible & !self.held | absent | changes.since(self.tick, changed) & (visible | absent)
    }

    #[inline]
    fn note(&mut self, tick: u32, visible: u32) {
        if self.last & !visible != 0 {
            self.narrowed = tick;
        }
        self.last = visible;
        self.held &= visible;
    }

    #[inline]
    fn acked(&mut self, tick: u32, visible: u32) {
        match self.stage {
            // Of an incarnation that is over, or out of order: a later acknowledgement has said more.
            Stage::Unknown => {}
            Stage::Fresh | Stage::Gone if tick < self.tick => {}
            Stage::Known if tick <= self.tick => {}
            Stage::Gone => {
                let Baseline { index, seen, seen_generation, waiting, .. } = *self;
                *self = Baseline { index, seen, seen_generation, waiting, ..UNKNOWN };
            }
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

#[cfg(test)]
mod tests;
