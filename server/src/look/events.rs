//! `ringfort events`: the reliable events of a match's log and the others of its newest tick, decoded by the schema.

use std::time::Duration;

use clap::Args;
use ringfort_protocol::bits::BitReader;
use ringfort_protocol::schema::{Schema, TAG_BITS};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{Audience, EventRow, Stopping, ZoneMeta};
use serde::Serialize;

use super::reading::print;
use super::value::Value;
use super::world::Fields;
use super::{LookError, OneMatch, Paper, Reading, Shown, printable, table};
use crate::attach::Attached;
use crate::game::{GameMap, MatchMap};
use crate::limits::FOLLOW_LOOK_MS;

/// Flags of `events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// The match's name, or its id
    #[arg(value_name = "MATCH")]
    pub of: String,
    /// Print reliable events as they are committed, until it is interrupted; with --json one line each
    #[arg(long, conflicts_with_all = ["watch", "from"])]
    pub follow: bool,
    /// Show no more than the newest N reliable events; 0 for all that the log has
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// What `events` tells.
#[derive(Debug, Serialize)]
pub struct Events {
    /// The match's name.
    #[serde(rename = "match")]
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The tick that is shown.
    pub tick: u32,
    /// Reliable events that the match has had.
    pub logged: u64,
    /// The newest of them, the oldest first.
    pub events: Vec<EventShown>,
    /// The unreliable events of the tick.
    pub cues: Vec<EventShown>,
}

/// An event.
#[derive(Debug, Serialize)]
pub struct EventShown {
    /// Its number in the log; 0 for one that is not reliable.
    pub number: u64,
    /// The tick of its commit.
    pub tick: u32,
    /// Whom it is for: `all`, `one`, `near` or `seeing`.
    pub audience: &'static str,
    /// The session that it is for, with `one`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Around which point, with `near`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centre: Option<Value>,
    /// Within which distance, with `near`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<Value>,
    /// Its name.
    pub event: String,
    /// Its fields.
    pub fields: Fields,
}

/// Looks at the log and the newest tick.
pub fn events(attached: &Attached, args: &EventsArgs) -> Result<Events, LookError> {
    let game = attached.game()?;
    let one = open(attached, &game, args)?;
    let meta = meta(&one);
    let cues = one.mirror.iter::<EventRow>(one.map.engine.cues).take(meta.cues as usize);
    let limit = if args.limit == 0 { u64::MAX } else { args.limit as u64 };
    Ok(Events {
        name: one.name(),
        id: one.entry.incarnation,
        tick: one.head().tick,
        logged: meta.next_event,
        events: logged(&one, &game, meta.next_event.saturating_sub(limit)).0,
        cues: cues.map(|(_, row)| shown(&row, &game.schema)).collect(),
    })
}

fn open(attached: &Attached, game: &GameMap, args: &EventsArgs) -> Result<OneMatch, LookError> {
    let wanted = |map: &MatchMap| [map.engine.meta, map.engine.events, map.engine.cues].map(|at| at.logical_pages()).to_vec();
    OneMatch::open(attached, game, &args.of, None, wanted)
}

fn meta(one: &OneMatch) -> ZoneMeta {
    one.mirror.get(&one.map.engine.meta, 0).unwrap_or(zerocopy::FromZeros::new_zeroed())
}

/// The log's events after a number, the oldest first, and how many of those are no longer in it.
fn logged(one: &OneMatch, game: &GameMap, after: u64) -> (Vec<EventShown>, u64) {
    let at = one.map.engine.events;
    let newest = meta(one).next_event;
    let oldest = newest.saturating_sub(u64::from(at.rows)).max(after);
    let of_number = |number: u64| one.mirror.get::<EventRow>(&at, (number % u64::from(at.rows.max(1))) as u32);
    // A damaged count may be the highest number there is, or below what was read before.
    let rows = (oldest.saturating_add(1)..=newest).filter_map(|number| of_number(number).filter(|row| row.number == number));
    let rows: Vec<_> = rows.map(|row| shown(&row, &game.schema)).collect();
    let lost = newest.saturating_sub(after).saturating_sub(rows.len() as u64);
    (rows, lost)
}

/// An event, decoded.
fn shown(row: &EventRow, schema: &Schema) -> EventShown {
    let audience = Audience::from_u32(row.audience);
    let float = |bits: u32| f32::from_bits(bits);
    let near = audience == Some(Audience::Near);
    let payload = row.payload.get(..row.bytes as usize).unwrap_or(&row.payload);
    let (event, fields) = decoded(payload, schema);
    EventShown {
        number: row.number,
        tick: row.tick,
        audience: match audience {
            Some(Audience::All) => "all",
            Some(Audience::One) => "one",
            Some(Audience::Near) => "near",
            Some(Audience::Seeing) => "seeing",
            None => "damaged",
        },
        session: (audience == Some(Audience::One)).then_some(row.session),
        centre: near.then(|| Value::Pair(float(row.centre[0]), float(row.centre[1]))),
        radius: near.then(|| Value::Float(float(row.radius))),
        event,
        fields,
    }
}

fn decoded(payload: &[u8], schema: &Schema) -> (String, Fields) {
    let mut bits = BitReader::new(payload);
    let variant = bits.read(TAG_BITS).ok().and_then(|tag| schema.events.get(tag as usize));
    let Some(variant) = variant else { return ("damaged".to_owned(), Fields::default()) };
    let mut fields = Fields::default();
    for field in &variant.fields {
        let value = Value::of_wire(field, &mut bits);
        let ends = value.is_err();
        fields.0.push((field.name.as_str().into(), value.unwrap_or_else(|error| Value::Bad(error.to_string()))));
        if ends {
            break;
        }
    }
    (variant.name.clone(), fields)
}

/// Whether the instance has stopped, so that what is mapped of it is all that will ever be there.
fn has_stopped(attached: &Attached) -> bool {
    let stops = Directory::new(&attached.directory).instance().is_none_or(|entry| entry.stopping == Stopping::Now as u32);
    stops && Attached::open(&attached.name).map_or(true, |now| now.instance.started_us != attached.instance.started_us)
}

/// Prints reliable events as they are committed, first the newest `--limit`, until the match or the instance is over. None is missed, unless the log
/// laps between two looks.
pub fn follow(instance: &str, args: &EventsArgs) -> Result<bool, LookError> {
    let attached = Attached::open(instance)?;
    let game = attached.game()?;
    let mut one = open(&attached, &game, args)?;
    let newest = meta(&one).next_event;
    let mut after = if args.limit == 0 { 0 } else { newest.saturating_sub(args.limit as u64) };
    // What had been overwritten before anybody looked is not missed.
    after = after.max(newest.saturating_sub(one.map.engine.events.rows.into()));
    let mut over = false;
    loop {
        let (events, lost) = logged(&one, &game, after);
        if lost > 0 {
            eprintln!(
                "ringfort: {lost} events were overwritten before they could be read: the log has laps of {} events",
                one.map.engine.events.rows
            );
        }
        for event in &events {
            let json = || serde_json::to_string(event).expect("names, numbers and lists");
            let line = if args.reading.json { json() } else { line(event) };
            if !print(&format!("{line}\n")) {
                return Ok(false);
            }
        }
        if over {
            eprintln!("ringfort: instance \"{}\" has stopped", attached.name);
            return Ok(false);
        }
        after = meta(&one).next_event;
        std::thread::sleep(Duration::from_millis(FOLLOW_LOOK_MS));
        // Before the look that may be the last, which then finds all that there is.
        over = has_stopped(&attached);
        one.turn_to(&attached, None)?;
    }
}

fn whom(event: &EventShown) -> String {
    match (event.session, &event.centre, &event.radius) {
        (Some(session), ..) => format!("session {session}"),
        (_, Some(centre), Some(radius)) => format!("within {radius} of {centre}"),
        _ => event.audience.to_owned(),
    }
}

fn fields(event: &EventShown) -> String {
    event.fields.0.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn line(event: &EventShown) -> String {
    format!("{} tick {} to {}: {} {}", event.number, event.tick, whom(event), event.event, fields(event))
}

impl Shown for Events {
    fn text(&self, paper: &Paper) -> String {
        let row = |event: &EventShown| {
            let number = if event.number == 0 { "-".to_owned() } else { event.number.to_string() };
            vec![number, event.tick.to_string(), whom(event), event.event.clone(), fields(event)]
        };
        let rows: Vec<_> = self.events.iter().chain(&self.cues).map(row).collect();
        let (name, cues) = (printable(&self.name), self.cues.len());
        let table =
            if rows.is_empty() { String::new() } else { table(paper, &["NUMBER", "TICK", "FOR", "EVENT", "FIELDS"], rows) };
        format!("{table}match {name}, tick {}: {} reliable events so far, {cues} others in this tick\n", self.tick, self.logged)
    }
}
