//! Looks into one match: its sessions, events, globals and entities. Only the pages of what is shown are copied, and after the first look only
//! those that have changed.

use std::collections::HashMap;
use std::ops::Range;

use ringfort_protocol::bits::BitReader;
use ringfort_protocol::schema::{FieldSchema, Schema, TAG_BITS};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{Audience, EventRow, SessionFlags, SessionInput, SessionRejected, SessionRow, ZoneMeta};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::worker::Times;

use super::app::Wanted;
use super::entities::{self, LiveWatch};
use super::seen::{Inputs, One, Seat, Told};
use crate::attach::Attached;
use crate::game::{GameMap, MatchMap};
use crate::limits::TOP_EVENTS_MAX;
use crate::look::{Filter, OneMatch, Value, pages_of};
use crate::status::{MatchStatus, away_s, events_behind, session_shown};

/// What is kept of the match that was drilled into.
#[derive(Default)]
pub(super) struct OneWatch {
    game: Option<(u64, GameMap)>,
    held: Option<Held>,
    live: LiveWatch,
}

/// A mirror from the look before.
struct Held {
    started_us: u64,
    id: u64,
    /// The columns that a list of entities is chosen by; nothing without such a list.
    columns: Option<Vec<usize>>,
    one: OneMatch,
}

impl OneWatch {
    /// Looks at a match.
    pub(super) fn look(
        &mut self,
        attached: &Attached,
        of: &MatchStatus,
        wanted: &Wanted,
        times: Option<&Times>,
    ) -> Result<One, String> {
        let started_us = attached.instance.started_us;
        if self.game.as_ref().is_none_or(|(of, _)| *of != started_us) {
            self.live.forget();
            self.game = Some((started_us, attached.game().map_err(|error| error.to_string())?));
        }
        let Some((_, game)) = &self.game else { return Err("there is no map of the game".to_owned()) };
        let condition = wanted.entities.as_ref().and_then(|list| entities::condition(list, game));
        let columns = wanted.entities.as_ref().map(|_| columns(game, condition.as_ref().and_then(|parsed| parsed.as_ref().ok())));
        let is_same = |held: &Held| (held.started_us, held.id) == (started_us, of.id) && held.columns == columns;
        let held = match self.held.take().filter(is_same) {
            Some(held) => held,
            None => {
                let one = begin(attached, game, of, columns.as_deref())?;
                Held { started_us, id: of.id, columns, one }
            }
        };
        let held = self.held.insert(held);
        held.one.turn_to(attached, None).map_err(|error| error.to_string())?;
        let one = &held.one;
        let mut found = One {
            id: of.id,
            bars: times.map(|times| times.buckets().collect()).unwrap_or_default(),
            sessions: sessions(one, &game.schema),
            globals: entities::globals(one, game),
            ..One::default()
        };
        found.events = events(one, &game.schema, &found.sessions);
        if let Some(list) = &wanted.entities {
            found.entities = entities::list(attached, one, game, list, wanted.map, condition.as_ref());
        }
        if let Some(entity) = wanted.entity {
            match self.live.look(attached, one, game, entity, &found.sessions) {
                Ok(entity) => found.entity = Some(entity),
                Err(why) => found.trouble = Some(why),
            }
        }
        Ok(found)
    }
}

/// The columns that a list of entities is chosen by: their position, and what a condition names.
fn columns(game: &GameMap, filter: Option<&Filter>) -> Vec<usize> {
    let mut columns: Vec<usize> = game.schema.position.iter().map(|position| position.column.into()).collect();
    if let Some(filter) = filter {
        filter.columns(&mut |column| columns.push(column));
    }
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// A mirror of what is wanted, empty yet.
fn begin(attached: &Attached, game: &GameMap, of: &MatchStatus, columns: Option<&[usize]>) -> Result<OneMatch, String> {
    let entry = Directory::new(&attached.directory).zone(of.slot).filter(|entry| entry.incarnation == of.id);
    let entry = entry.ok_or_else(|| format!("match {} has gone", of.name))?;
    let map = game.lay_out(&entry).map_err(|error| format!("match {} cannot be decoded: {error}", of.name))?;
    let mirror = Mirror::of_pages(of.slot, pages(&map, columns));
    Ok(OneMatch { slot: of.slot, entry, map, mirror })
}

fn pages(map: &MatchMap, columns: Option<&[usize]>) -> Vec<Range<u32>> {
    let engine = &map.engine;
    let tables = [&engine.meta, &engine.sessions, &engine.inputs, &engine.rejected, &engine.events, &map.input_bytes];
    let mut pages: Vec<Range<u32>> = tables.into_iter().chain(&map.globals).map(TableAt::logical_pages).collect();
    if let Some(columns) = columns {
        pages.push(engine.entities.logical_pages());
        pages.extend(pages_of(map, columns.iter().copied()));
    }
    pages
}

fn sessions(one: &OneMatch, schema: &Schema) -> Vec<Seat> {
    let (head, hz) = (one.head(), one.entry.tick_hz);
    let meta = one.mirror.get::<ZoneMeta>(&one.map.engine.meta, 0);
    let rows = one.mirror.iter::<SessionRow>(one.map.engine.sessions);
    rows.map(|(slot, row)| {
        let watches = row.flags & SessionFlags::SPECTATOR != 0;
        let inputs = one.mirror.get::<SessionInput>(&one.map.engine.inputs, slot).filter(|_| !watches);
        Seat {
            watches,
            detached_s: away_s(&row, head, hz),
            event_lag: events_behind(&row, meta),
            command: row.command,
            inputs: inputs.map(|inputs| inputs_of(one, slot, &inputs, schema)),
            shown: session_shown(&row, head, hz),
        }
    })
    .collect()
}

fn inputs_of(one: &OneMatch, slot: u32, inputs: &SessionInput, schema: &Schema) -> Inputs {
    // A row has two places: the input applied last, and the one that waits.
    let bytes = one.mirror.row(&one.map.input_bytes, slot).unwrap_or_default();
    let rejected = one.mirror.get::<SessionRejected>(&one.map.engine.rejected, slot);
    let below = inputs.highest.saturating_sub(1).min(32);
    let before = if below == 32 { u32::MAX } else { (1 << below) - 1 };
    Inputs {
        highest: inputs.highest,
        missing: (!inputs.bits & before).count_ones(),
        waits: inputs.queued != 0,
        repeated: inputs.repeated,
        rejected: rejected.map_or(0, |rejected| rejected.input),
        last: if inputs.highest == 0 { Vec::new() } else { message(&schema.input, 0, &bytes[..bytes.len() / 2]) },
    }
}

/// The newest events, newest first.
fn events(one: &OneMatch, schema: &Schema, sessions: &[Seat]) -> Vec<Told> {
    let mut rows: Vec<EventRow> = one.mirror.iter::<EventRow>(one.map.engine.events).map(|(_, row)| row).collect();
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.number));
    rows.truncate(TOP_EVENTS_MAX);
    let names: HashMap<u64, &str> = sessions.iter().map(|seat| (seat.shown.session, seat.shown.name.as_str())).collect();
    rows.iter().map(|row| told(row, schema, &names)).collect()
}

fn told(row: &EventRow, schema: &Schema, names: &HashMap<u64, &str>) -> Told {
    let to = match Audience::from_u32(row.audience) {
        Some(Audience::All) => "all".to_owned(),
        Some(Audience::One) => names.get(&row.session).map_or_else(|| row.session.to_string(), |name| (*name).to_owned()),
        Some(Audience::Near) => {
            let [x, y] = row.centre.map(f32::from_bits);
            format!("near {x:.0},{y:.0}")
        }
        Some(Audience::Seeing) => format!("who sees {}", row.radius),
        None => "?".to_owned(),
    };
    let variant = schema.events.get(usize::from(row.payload[0]));
    let payload = &row.payload[..row.payload.len().min(row.bytes as usize)];
    let fields = variant.map_or_else(Vec::new, |variant| message(&variant.fields, TAG_BITS, payload));
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    Told {
        number: row.number,
        tick: row.tick,
        to,
        name: variant.map_or_else(|| format!("no event {}", row.payload[0]), |variant| variant.name.clone()),
        fields: fields.join(", "),
    }
}

/// The fields of a message behind so many bits, name and value; a field that is damaged is the last.
fn message(fields: &[FieldSchema], behind: u32, payload: &[u8]) -> Vec<(String, String)> {
    let mut bits = BitReader::new(payload);
    let mut shown = Vec::new();
    if behind > 0 && bits.read(behind).is_err() {
        return shown;
    }
    for field in fields {
        match Value::of_wire(field, &mut bits) {
            Ok(value) => shown.push((field.name.clone(), value.to_string())),
            Err(error) => {
                shown.push((field.name.clone(), format!("damaged ({error})")));
                break;
            }
        }
    }
    shown
}
