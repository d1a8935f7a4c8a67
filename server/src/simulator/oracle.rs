//! What every client must have, worked out from the committed rows alone: nothing here is shared with the front-end but the way
//! in which a row is packed, and that is held against the row, field by field.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::rc::Rc;

use ringfort_protocol::bits::BitReader;
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::component::{ColumnId, Component, GlobalId};
use ringfort_protocol::limits::MAX_PREDICTED;
use ringfort_protocol::schema::ColumnSchema;
use ringfort_protocol::{AckBits, Entity};
use ringfort_shm_state::blobs::BlobId;
use ringfort_shm_state::layout::{
    Audience, EntityRow, EventRow, RootFlags, SessionInput, SessionRejected, SessionRow, SessionVerdict, ZoneMeta,
};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::world::World;

use super::Failed;
use super::packed::encode;
use super::sight::Sight;
use crate::game::Description;

/// Ticks that the oracle remembers: more than any packet is under way, and as long as most runs.
const HISTORY: usize = 1024;
/// Reliable events of one tick that a front-end tells a client at once.
const EVENTS_AT_ONCE: u64 = crate::limits::EVENTS_PER_SNAPSHOT;

/// One entity of a committed tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Being {
    pub(super) generation: u32,
    pub(super) owner: u64,
    /// Wire columns that it has.
    pub(super) present: u32,
    pub(super) position: Option<(f32, f32)>,
    /// Where it was when it lost its position.
    pub(super) left: Option<(f32, f32)>,
    pub(super) hidden_from: u32,
}

/// One session of a committed tick.
#[derive(Clone, Copy)]
pub(super) struct Stay {
    pub(super) row: SessionRow,
    pub(super) inputs: AckBits,
    rejected: [AckBits; 2],
    repeated: u32,
    verdicts: [u32; MAX_PREDICTED],
}

/// A committed tick.
#[derive(Clone)]
pub struct Committed {
    /// Which.
    pub tick: u32,
    beings: Vec<Being>,
    /// Encoded rows: by entity, by wire column.
    rows: Vec<Rc<[u8]>>,
    globals: Vec<Vec<u8>>,
    pub(super) stays: BTreeMap<u64, Stay>,
    cues: Vec<EventRow>,
    newest_event: u64,
    closing: bool,
    columns: usize,
    wire_of_column: Vec<Option<usize>>,
    wire_of_global: Vec<Option<usize>>,
}

impl Committed {
    /// An entity's row as it was committed, what is not synced left out.
    pub fn get<T: Component>(&self, e: Entity, column: ColumnId<T>) -> Option<T> {
        let wire = self.wire_of_column[usize::from(column.index)]?;
        let being = self.beings.get(e.index as usize).filter(|being| being.generation == e.generation)?;
        (being.present >> wire & 1 == 1).then(|| T::decode(&mut BitReader::new(self.row(e.index as usize, wire))).ok())?
    }

    /// A global as it was committed.
    pub fn global<T: Component>(&self, global: GlobalId<T>) -> Option<T> {
        T::decode(&mut BitReader::new(&self.globals[self.wire_of_global[usize::from(global.index)]?])).ok()
    }

    /// The living entities.
    pub fn entities(&self) -> impl Iterator<Item = Entity> {
        let beings = self.beings.iter().enumerate().filter(|(_, being)| being.generation != 0);
        beings.map(|(index, being)| Entity { index: index as u32, generation: being.generation })
    }

    /// The living entities of a session.
    pub fn owned(&self, session: u64) -> impl Iterator<Item = Entity> {
        let beings = self.beings.iter().enumerate().filter(move |(_, being)| being.generation != 0 && being.owner == session);
        beings.map(|(index, being)| Entity { index: index as u32, generation: being.generation })
    }

    /// The sessions.
    pub fn sessions(&self) -> impl Iterator<Item = u64> {
        self.stays.keys().copied()
    }

    /// The last command of a session that was applied.
    pub fn command(&self, session: u64) -> Option<u32> {
        self.stays.get(&session).map(|stay| stay.row.command)
    }

    /// Inputs and commands of a session that were given up because the game had failed on them.
    pub fn rejected(&self, session: u64) -> Option<[AckBits; 2]> {
        self.stays.get(&session).map(|stay| stay.rejected)
    }

    fn row(&self, index: usize, wire: usize) -> &[u8] {
        &self.rows[index * self.columns + wire]
    }
}

/// An event, as a client was told it: the tick and the encoding.
pub(super) type Told = (u32, Vec<u8>);

/// What the oracle knows of a client.
#[derive(Default)]
pub(super) struct Watched {
    /// Where it looked from, and what it was to be told, by the ticks that its front-end served.
    views: VecDeque<Look>,
    attachment: u32,
    event_sent: u64,
    /// Reliable events that it is to hear next.
    pub(super) to_hear: VecDeque<Told>,
}

/// What a session saw of a tick.
struct Look {
    tick: u32,
    from: (f32, f32),
    sight: Sight,
}

/// Everything that was committed, and what each client is to have of it.
pub struct Oracle {
    mirror: Mirror,
    pub(super) is: Description,
    hz: u32,
    history: VecDeque<Committed>,
    /// Rows as they lay in memory when they were encoded last.
    raw: Vec<Vec<u8>>,
    pub(super) watched: BTreeMap<u64, Watched>,
    /// Comparisons of a whole client world with a tick.
    pub compared: u64,
}

impl Oracle {
    pub(super) fn new(zone: usize, is: Description, hz: u32) -> Self {
        let (mirror, raw) = (Mirror::new(zone), Vec::new());
        Self { mirror, is, hz, history: VecDeque::new(), raw, watched: BTreeMap::new(), compared: 0 }
    }

    /// A tick, if it is remembered.
    pub fn at(&self, tick: u32) -> Option<&Committed> {
        let newest = self.history.back()?.tick;
        let back = newest.checked_sub(tick)? as usize;
        self.history.get(self.history.len().checked_sub(1 + back)?).filter(|c| c.tick == tick)
    }

    /// The newest tick.
    pub fn newest(&self) -> Option<&Committed> {
        self.history.back()
    }

    /// Looks at a commit. Returns its state hash, or nothing when there is none new.
    pub(super) fn committed(&mut self, world: &World) -> Result<Option<u64>, Failed> {
        self.mirror.refresh(world).map_err(|e| Failed(format!("the commit cannot be read: {e}")))?;
        let head = *self.mirror.head().expect("a refresh succeeded");
        let last = self.history.back().map_or(0, |c| c.tick);
        if head.tick == last {
            return Ok(None);
        }
        if !self.history.is_empty() && head.tick != last + 1 {
            return Err(Failed(format!("tick {} was committed after {last}", head.tick)));
        }
        let committed = self.read()?;
        self.history.push_back(committed);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        Ok(Some(head.state_hash))
    }

    fn read(&mut self) -> Result<Committed, Failed> {
        let head = *self.mirror.head().expect("a refresh succeeded");
        let columns = self.is.wire.columns.len();
        let mut committed = self.history.back().cloned().unwrap_or_else(|| Committed {
            tick: 0,
            beings: Vec::new(),
            rows: Vec::new(),
            globals: vec![Vec::new(); self.is.wire.globals.len()],
            stays: BTreeMap::new(),
            cues: Vec::new(),
            newest_event: 0,
            closing: false,
            columns,
            wire_of_column: (0..self.is.schema.columns.len()).map(|c| self.is.wire.wire_column(c as u16)).collect(),
            wire_of_global: (0..self.is.schema.globals.len()).map(|g| self.is.wire.wire_global(g as u16)).collect(),
        });
        committed.tick = head.tick;
        committed.closing = head.flags & RootFlags::CLOSING != 0;
        self.read_beings(&mut committed)?;
        self.read_globals(&mut committed)?;
        let engine = &self.is.engine;
        let stays = self.mirror.iter::<SessionRow>(engine.sessions).map(|(slot, row)| {
            let input = self.mirror.get::<SessionInput>(&engine.inputs, slot);
            let inputs = input.map_or(AckBits::NONE, |input| AckBits { highest: input.highest, bits: input.bits });
            let rejected = self.mirror.get::<SessionRejected>(&engine.rejected, slot).map_or([AckBits::NONE; 2], |rejected| {
                let commands = AckBits { highest: rejected.command, bits: rejected.command_bits };
                [AckBits { highest: rejected.input, bits: rejected.input_bits }, commands]
            });
            let verdict = self.mirror.get::<SessionVerdict>(&engine.verdicts, slot);
            let verdicts = verdict.map_or([0; MAX_PREDICTED], |verdict| verdict.seen_from(inputs.highest));
            let repeated = input.map_or(0, |input| input.repeated);
            (row.id, Stay { row, inputs, rejected, repeated, verdicts })
        });
        committed.stays = stays.collect();
        let meta: Option<ZoneMeta> = self.mirror.get(&engine.meta, 0);
        committed.newest_event = meta.map_or(0, |meta| meta.next_event);
        let cues = (0..meta.map_or(0, |meta| meta.cues)).filter_map(|i| self.mirror.get::<EventRow>(&engine.cues, i));
        committed.cues = cues.collect();
        Ok(committed)
    }

    fn read_beings(&mut self, committed: &mut Committed) -> Result<(), Failed> {
        let columns = committed.columns;
        let position = self.is.schema.position;
        for index in 0..self.is.limits.max_entities {
            let row: Option<EntityRow> = self.mirror.get(&self.is.engine.entities, index);
            let at = index as usize;
            let Some(row) = row else { continue };
            if committed.beings.len() <= at {
                committed.beings.resize(at + 1, Being::default());
                committed.rows.resize_with((at + 1) * columns, || Rc::from([]));
                self.raw.resize((at + 1) * columns, Vec::new());
            }
            let mut being = Being { owner: row.owner, hidden_from: row.hidden_from, ..Being::default() };
            being.left = (row.left != [0, 0]).then(|| (f32::from_bits(!row.left[0]), f32::from_bits(!row.left[1])));
            being.generation = if row.alive == 1 { row.generation } else { 0 };
            for (wire, column) in self.is.wire.columns.iter().enumerate() {
                let schema = &self.is.schema.columns[usize::from(column.schema_index)];
                let Some(bytes) = self.mirror.row(&self.is.columns[usize::from(column.schema_index)], index) else { continue };
                being.present |= 1 << wire;
                if let Some(position) = position.filter(|p| p.column == column.schema_index) {
                    let axis = |at: usize| f32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                    let at = position.offset as usize;
                    being.position = Some((axis(at), axis(at + 4)));
                }
                let place = at * columns + wire;
                if let Some(blobs) = self.is.blobs[usize::from(column.schema_index)] {
                    // The row names the text or bytes; what clients have is the content.
                    let id = BlobId::from_row(bytes).ok_or_else(|| Failed(format!("row {index} names no blob")))?;
                    let content = blobs.get(&self.mirror, id).map_err(|e| Failed(format!("{e:?}")))?.unwrap_or_default();
                    if *committed.rows[place] != *content {
                        committed.rows[place] = content.into();
                    }
                    continue;
                }
                if self.raw[place] != bytes || committed.rows[place].is_empty() {
                    committed.rows[place] = encode(schema, bytes)?.into();
                    self.raw[place] = bytes.to_vec();
                }
            }
            committed.beings[at] = being;
        }
        Ok(())
    }

    fn read_globals(&self, committed: &mut Committed) -> Result<(), Failed> {
        for (wire, global) in self.is.wire.globals.iter().enumerate() {
            let index = usize::from(global.schema_index);
            if let Some(bytes) = self.mirror.row(&self.is.globals[index], 0) {
                committed.globals[wire] = encode(&self.is.schema.globals[index], bytes)?;
            }
        }
        Ok(())
    }

    /// A front-end has told these of its clients of the newest commit: from where each of them sees it, and which reliable events it is
    /// to hear next, is settled by that.
    pub(super) fn served(&mut self, frontend: u32, incarnation: u32, told: &[u64]) {
        let Some(newest) = self.history.back() else { return };
        let ours = |stay: &&Stay| stay.row.frontend == frontend && stay.row.incarnation == incarnation;
        for Stay { row, .. } in newest.stays.values().filter(ours).filter(|stay| told.contains(&stay.row.id)) {
            let watched =
                self.watched.entry(row.id).or_insert_with(|| Watched { event_sent: row.event_cursor, ..Watched::default() });
            if std::mem::replace(&mut watched.attachment, row.attachment) != row.attachment {
                watched.views.clear();
            }
            let nothing = Look { tick: 0, from: (f32::NAN, f32::NAN), sight: Sight::default() };
            let last = watched.views.back().unwrap_or(&nothing);
            if last.tick == newest.tick {
                continue;
            }
            let entity = newest.beings.get(row.entity_index as usize);
            let entity = entity.filter(|being| being.generation == row.entity_generation && being.generation != 0);
            let from = entity.and_then(|being| being.position.or(being.left)).unwrap_or(last.from);
            let sight = Sight::of(&self.is, &newest.beings, row, from, &last.sight);
            watched.views.push_back(Look { tick: newest.tick, from, sight });
            if watched.views.len() > HISTORY {
                watched.views.pop_front();
            }
            let look = watched.views.back().expect("it was just put there");
            let until = newest.newest_event.min(watched.event_sent + EVENTS_AT_ONCE);
            for number in watched.event_sent + 1..=until {
                let table = &self.is.engine.events;
                let event: Option<EventRow> = self.mirror.get(table, (number % u64::from(table.rows)) as u32);
                let Some(event) = event.filter(|event| event.number == number) else { continue };
                if is_heard(newest, &event, row.id, look) {
                    watched.to_hear.push_back((event.tick, event.payload[..event.bytes as usize].to_vec()));
                }
            }
            watched.event_sent = until;
        }
    }

    /// Compares a client's world with the commit of the tick that it shows. With `complete`, nothing may be missing; otherwise what
    /// the newest snapshot had no record of may be as old as what the oracle remembers, if the client saw it so.
    pub(super) fn compare(&mut self, session: u64, has: &ClientWorld, complete: bool) -> Result<(), Failed> {
        self.compared += 1;
        let tick = has.tick().0;
        let committed = self.at(tick).ok_or_else(|| Failed(format!("a snapshot of tick {tick}, which was not committed")))?;
        let look = self.look(session, tick)?;
        let stay =
            committed.stays.get(&session).ok_or_else(|| Failed(format!("{session:x} got tick {tick}, and is not in it")))?;
        let header = has.header().expect("it shows a tick");
        if (header.inputs, u32::from(header.repeated)) != (stay.inputs, stay.repeated.min(255)) {
            return fail(tick, session, format!("{header:?} acknowledges other inputs than {:?} were applied", stay.inputs));
        }
        // Of variants that the game does not have, the wire has nothing.
        let variants = (self.is.wire.predicted as usize).min(MAX_PREDICTED);
        if header.verdicts[..variants] != stay.verdicts[..variants] {
            return fail(tick, session, format!("the verdicts {:?} are not {:?}", header.verdicts, stay.verdicts));
        }
        for (wire, row) in committed.globals.iter().enumerate() {
            let exact = complete || has.globals_touched() >> wire & 1 == 1;
            let schema = &self.is.schema.globals[usize::from(self.is.wire.globals[wire].schema_index)];
            let since = self.may_be_of(schema, 0, tick, exact);
            let was = |found| self.history.iter().any(|c| (since..=tick).contains(&c.tick) && c.globals[wire] == found);
            if !has.encoded_global(wire).map_or(!exact, was) {
                return fail(tick, session, format!("global {wire} is {:?}, not {row:?}", has.encoded_global(wire)));
            }
        }
        let told = told(has);
        let mut visible = 0;
        for (index, being) in committed.beings.iter().enumerate() {
            let mask = look.sight.mask(index, being.generation);
            let e = Entity { index: index as u32, generation: being.generation };
            visible += usize::from(mask != 0);
            let record = told.get(&e.index).copied().unwrap_or(0);
            if (complete || record != 0) && has.sees(e) != (mask != 0) {
                return fail(tick, session, format!("{e} is seen: {}, visible: {mask:b}", has.sees(e)));
            }
            for wire in 0..committed.columns {
                // What the newest snapshot says is of its very tick, however little fitted.
                let exact = complete || record >> wire & 1 == 1;
                let expected = (mask >> wire & 1 == 1).then(|| committed.row(index, wire));
                let found = has.encoded(e, wire);
                if found == expected {
                    continue;
                }
                if found.is_none() && !exact {
                    continue;
                }
                let since = self.may_be_of(self.column(wire), index as u32, tick, exact);
                // Whether there is a row is told at once, however seldom its changes are.
                let one_is_missing = exact && found.is_some() != expected.is_some();
                if one_is_missing || since == tick || !self.was(session, e, wire, found, since..=tick) {
                    let what = format!("column {wire} of {e} is {found:?}, not {expected:?}, of {being:?} from {:?}", look.from);
                    return fail(tick, session, what);
                }
            }
        }
        if complete && has.entities().count() != visible {
            return fail(tick, session, format!("{} entities, not {visible}", has.entities().count()));
        }
        // Who is no more, and the client was not told so yet, is as it was.
        let lives = |e: &Entity| committed.beings.get(e.index as usize).is_some_and(|being| being.generation == e.generation);
        for e in has.entities().filter(|e| !lives(e)) {
            let stale = |wire: usize| has.encoded(e, wire).is_none_or(|row| self.was(session, e, wire, Some(row), 0..=tick));
            if told.contains_key(&e.index) || !(0..committed.columns).all(stale) {
                return fail(
                    tick,
                    session,
                    format!("{e} is no more, and was never as the client has it, or was told of just now"),
                );
            }
        }
        if complete && !has.mine().eq(committed.owned(session).filter(|e| has.sees(*e))) {
            return fail(tick, session, format!("{:?} are its own, as it was told", has.mine().collect::<Vec<_>>()));
        }
        Ok(())
    }

    /// Compares the unreliable events that came with a tick; without `complete` some may be missing.
    pub(super) fn compare_cues(&self, session: u64, tick: u32, heard: &[Vec<u8>], complete: bool) -> Result<(), Failed> {
        let committed = self.at(tick).ok_or_else(|| Failed(format!("tick {tick} was not committed")))?;
        let look = self.look(session, tick)?;
        let is_heard = |cue: &&EventRow| is_heard(committed, cue, session, look);
        let mut expected = committed.cues.iter().filter(is_heard).map(|cue| &cue.payload[..cue.bytes as usize]);
        let count = expected.clone().count();
        if complete && count != heard.len() || !heard.iter().all(|cue| expected.any(|expected| expected == cue)) {
            return fail(tick, session, format!("{} cues were heard, {count} were meant for it, or other ones", heard.len()));
        }
        Ok(())
    }

    fn look(&self, session: u64, tick: u32) -> Result<&Look, Failed> {
        let watched = self.watched.get(&session);
        let found = watched.and_then(|watched| watched.views.iter().rev().find(|look| look.tick == tick));
        found.ok_or_else(|| Failed(format!("session {session:x} has a snapshot of tick {tick}, never served")))
    }

    /// Whether a client may still hold this of an entity, as it was so, and was seen, at one of these ticks. Of a column whose changes are
    /// told seldom a client that begins to see the entity is told what the others have, of a tick at which it did not see it itself.
    fn was(&self, session: u64, e: Entity, wire: usize, found: Option<&[u8]>, ticks: RangeInclusive<u32>) -> bool {
        let column = self.column(wire);
        let seldom = column.rate != 0 || column.once;
        let at = |committed: &Committed| {
            let being = committed.beings.get(e.index as usize).filter(|being| being.generation == e.generation);
            let mask = being.map_or(0, |being| match self.look(session, committed.tick) {
                _ if seldom => being.present,
                Ok(look) => look.sight.mask(e.index as usize, e.generation),
                // It was told nothing of that tick.
                Err(_) => 0,
            });
            found == (mask >> wire & 1 == 1).then(|| committed.row(e.index as usize, wire))
        };
        self.history.iter().rev().filter(|committed| ticks.contains(&committed.tick)).any(at)
    }

    /// Whether a session was to see a column of an entity at each of these ticks that it was served.
    pub(super) fn saw_always(&self, session: u64, e: Entity, wire: usize, ticks: RangeInclusive<u32>) -> bool {
        let looks = self.watched.get(&session).into_iter().flat_map(|watched| &watched.views);
        let mut looks = looks.filter(|look| ticks.contains(&look.tick));
        looks.all(|look| look.sight.mask(e.index as usize, e.generation) >> wire & 1 == 1)
    }

    fn column(&self, wire: usize) -> &ColumnSchema {
        &self.is.schema.columns[usize::from(self.is.wire.columns[wire].schema_index)]
    }

    /// The oldest tick whose row a client may hold in a snapshot of `tick`: of a column that is sent so often a second, since the
    /// entity's last turn; of one that is sent once, any; of every other, when there was room for all, that very tick.
    fn may_be_of(&self, column: &ColumnSchema, entity: u32, tick: u32, complete: bool) -> u32 {
        if column.once || !complete {
            return 0;
        }
        let period = if column.rate == 0 { 1 } else { self.hz.div_ceil(column.rate) };
        tick - ((tick + entity) % period.max(1)).min(tick)
    }
}

/// What the newest snapshot has records of, by index: the wire columns, or all and more when the entity itself came or went.
fn told(has: &ClientWorld) -> BTreeMap<u32, u32> {
    has.touched().iter().map(|touched| (touched.index, touched.columns)).collect()
}

/// Whether an event is for a session, by what it sees.
fn is_heard(committed: &Committed, event: &EventRow, session: u64, look: &Look) -> bool {
    match Audience::from_u32(event.audience) {
        Some(Audience::All) => true,
        Some(Audience::One) => event.session == session,
        Some(Audience::Near) => {
            let (dx, dy) = (f32::from_bits(event.centre[0]) - look.from.0, f32::from_bits(event.centre[1]) - look.from.1);
            let radius = f32::from_bits(event.radius);
            dx * dx + dy * dy <= radius * radius
        }
        Some(Audience::Seeing) => {
            let lives = |being: &&Being| being.generation != 0 && u64::from(being.generation) == event.session;
            let being = committed.beings.get(event.radius as usize).filter(lives);
            being.is_some_and(|being| look.sight.mask(event.radius as usize, being.generation) != 0)
        }
        None => false,
    }
}

fn fail(tick: u32, session: u64, what: String) -> Result<(), Failed> {
    Err(Failed(format!("tick {tick}, session {session:x}: {what}")))
}
