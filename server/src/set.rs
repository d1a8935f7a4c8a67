//! `ringfort set`: a field of an entity or of a global gets a value. Names, type and range are checked here by the schema in shared memory; the
//! supervisor puts a record into the match's mailbox, and the sim sets the field at the start of its next tick.

use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;
use ringfort_protocol::Schema;
use ringfort_protocol::bits::{BitReader, BitWriter};
use ringfort_protocol::schema::{ColumnSchema, FieldSchema, Sync, encode_row};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::ZoneState;
use serde::Serialize;

use crate::attach::Attached;
use crate::cli::Output;
use crate::game::{GameMap, MatchMap};
use crate::limits::{FOLLOW_LOOK_MS, SET_WAIT_S_MAX};
use crate::look::{
    Among, AskError, FieldAt, LookError, OneMatch, Value, entity_text, lives, name_of, pages_of, printable, window,
};
use crate::supervisor::control::SetField;

/// Flags of `set`.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// The match's name, or its id
    #[arg(value_name = "MATCH")]
    pub of: String,
    /// The entity, as INDEX or INDEX.GENERATION; or `global` for a global of the match
    #[arg(value_name = "ENTITY")]
    pub entity: String,
    /// The field, as `ringfort schema` names it: hp.hp
    #[arg(value_name = "COLUMN.FIELD")]
    pub field: String,
    /// The value: a number, true or false, a vector as X,Y, an entity as INDEX.GENERATION or none, an enum by its variant's number
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub value: String,
    /// Wait up to so many seconds for a tick that has taken it
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=i64::from(SET_WAIT_S_MAX)))]
    pub wait: u32,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// What is to be set, checked.
pub struct Wanted {
    /// What the supervisor is asked.
    pub request: SetField,
    game: GameMap,
    slot: usize,
    /// Index of the entity, 0 for a global.
    index: u32,
    at: FieldAt,
    /// The field, and who it is of, in words.
    what: String,
    shown: String,
    /// What the field is once it is committed: as its coding says it.
    expected: Value,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The match's name.
    #[serde(rename = "match")]
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The entity, as `INDEX.GENERATION`; null for a global.
    pub entity: Option<String>,
    /// The field.
    pub field: String,
    /// The tick that has taken it; null when none has, yet.
    pub tick: Option<u32>,
    /// What the field is at that tick; null when the entity has it no longer.
    pub value: Option<Value>,
    /// Whether that is what was asked for.
    pub set: bool,
    /// The same for people.
    pub sentence: String,
    /// Whether the tick could still be looked at.
    #[serde(skip)]
    seen: bool,
}

impl Outcome {
    /// Whether the match has taken it and something else came of it.
    pub fn refused(&self) -> bool {
        self.seen && !self.set
    }
}

/// Checks what is asked for by the schema and the newest commit.
pub fn prepare(attached: &Attached, args: &SetArgs) -> Result<Wanted, LookError> {
    let game = attached.game()?;
    let global = args.entity == "global";
    let among = if global { Among::Globals } else { Among::Columns };
    let at = among.field(&game.schema, &args.field).map_err(AskError::from)?;
    let column = &among.of(&game.schema)[at.column];
    let field = &column.fields[at.field];
    let shown = name_of(column, field);
    if at.half.is_some() {
        return Err(AskError::Half { field: shown }.into());
    }
    let value = Value::to_memory(field, &args.value);
    let value = value.map_err(|source| AskError::Value { field: shown.clone(), source })?;
    let expected = committed(field, &value);
    let one = OneMatch::open(attached, &game, &args.of, None, |map| pages(map, at, global))?;
    let (of, tick) = (one.name(), one.head().tick);
    let (mut entity, mut index, mut whose) = (0, 0, String::new());
    if !global {
        let (meant, row) = one.meant(&of, &args.entity)?;
        let asked = entity_text(meant.index, meant.generation);
        if !lives(&row) {
            return Err(AskError::NotAlive { of, asked, tick }.into());
        }
        if !one.has(at.column, meant.index) {
            return Err(AskError::NoRow { of, asked, column: column.name.clone(), tick }.into());
        }
        (entity, index) = (u64::from(meant.index) | u64::from(meant.generation) << 32, meant.index);
        whose = asked;
    }
    let what = if global { shown.clone() } else { format!("{whose} {shown}") };
    let request = SetField {
        name: of,
        match_id: one.entry.incarnation,
        entity,
        global,
        column: at.column as u16,
        field: at.field as u16,
        value,
    };
    Ok(Wanted { request, slot: one.slot, index, at, what, shown, expected, game })
}

fn pages(map: &MatchMap, at: FieldAt, global: bool) -> Vec<Range<u32>> {
    if global {
        return map.globals.get(at.column).map(|at| at.logical_pages()).into_iter().collect();
    }
    pages_of(map, [at.column]).into_iter().chain([map.engine.entities.logical_pages()]).collect()
}

/// What a field is after the commit: a synced one has the value that its coding says.
fn committed(field: &FieldSchema, bytes: &[u8]) -> Value {
    let field = FieldSchema { offset: 0, ..field.clone() };
    let typed = Value::of_memory(&field, bytes);
    if !field.synced {
        return typed;
    }
    let column = ColumnSchema {
        name: String::new(),
        component: String::new(),
        sync: Sync::All,
        once: false,
        rate: 0,
        row_bytes: bytes.len() as u32,
        fields: vec![field.clone()],
    };
    let mut bits = BitWriter::default();
    encode_row(&column, bytes, &mut bits);
    Value::of_wire(&field, &mut BitReader::new(&bits.finish())).unwrap_or(typed)
}

/// What is asked for, for people: whoever sends it may have sent anything.
pub fn in_words(schema: &Schema, wanted: &SetField) -> String {
    let SetField { entity, global, column, field, value, .. } = wanted;
    let (among, of_what) = if *global { (Among::Globals, "global") } else { (Among::Columns, "column") };
    let whose = entity_text(*entity as u32, (entity >> 32) as u32);
    let found = among.of(schema).get(usize::from(*column));
    let Some((column, field)) = found.and_then(|column| Some((column, column.fields.get(usize::from(*field))?))) else {
        let whose = if *global { String::new() } else { format!(" of {whose}") };
        return format!("field {field} of {of_what} {column}{whose}, which the game has not");
    };
    let whose = if *global { String::new() } else { format!("{whose} ") };
    let value = match value.len() == field.kind.memory_bytes() {
        true => Value::of_memory(&FieldSchema { offset: 0, ..field.clone() }, value).to_string(),
        false => format!("{} bytes, which are no value of it", value.len()),
    };
    format!("{whose}{} to {value}", name_of(column, field))
}

/// Waits for some seconds until a commit has taken what the supervisor has posted, and tells what the field is there.
pub fn wait(attached: &Attached, wanted: &Wanted, seconds: u32) -> Result<Outcome, LookError> {
    let directory = Directory::new(&attached.directory);
    // Read after the answer: our record is before it.
    let tail = directory.mail_tail(wanted.slot);
    let until = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        let taken = window(attached, wanted.slot, wanted.request.match_id).into_iter().find(|head| head.mail_cursor >= tail);
        if let Some(head) = taken {
            return Ok(told(wanted, Some((head.tick, found(attached, wanted, head.tick)?)), ""));
        }
        let entry = directory.zone(wanted.slot).filter(|entry| entry.incarnation == wanted.request.match_id && entry.lives());
        // It ended meanwhile: nobody takes it any more.
        let Some(entry) = entry else { return Err(LookError::NoWorld { of: wanted.request.name.clone() }) };
        if Instant::now() >= until {
            let paused = entry.state == ZoneState::Paused as u32;
            let why = if paused { "the match is paused" } else { "`ringfort status` tells whether it hangs" };
            return Ok(told(wanted, None, why));
        }
        std::thread::sleep(Duration::from_millis(FOLLOW_LOOK_MS));
    }
}

/// What a field is at a tick.
enum Found {
    /// This; nothing when the entity has it no longer.
    Is(Option<Value>),
    /// Nobody can look at that tick any more.
    HasLeft,
}

fn found(attached: &Attached, wanted: &Wanted, tick: u32) -> Result<Found, LookError> {
    let SetField { match_id, global, entity, .. } = &wanted.request;
    let id = match_id.to_string();
    let one = match OneMatch::open(attached, &wanted.game, &id, Some(tick), |map| pages(map, wanted.at, *global)) {
        Ok(one) => one,
        Err(error) if error.has_left() => return Ok(Found::HasLeft),
        Err(error) => return Err(error),
    };
    if *global {
        return Ok(Found::Is(one.global(&wanted.game, wanted.at)));
    }
    let generation = (entity >> 32) as u32;
    let alive = one.entity(wanted.index).is_some_and(|row| lives(&row) && row.generation == generation);
    Ok(Found::Is(one.value(&wanted.game, wanted.at, wanted.index).filter(|_| alive)))
}

fn told(wanted: &Wanted, taken: Option<(u32, Found)>, why: &str) -> Outcome {
    let SetField { name, match_id, entity, global, .. } = &wanted.request;
    let what = &wanted.what;
    let said = match &taken {
        None => format!("no sim has taken it yet, and one will with its next tick: {why}"),
        Some((tick, Found::HasLeft)) => {
            format!("tick {tick} has taken it, and cannot be looked at any more: `ringfort inspect` shows what {what} is now")
        }
        Some((tick, Found::Is(Some(value)))) if *value == wanted.expected => format!("{what} is {value} since tick {tick}"),
        Some((tick, Found::Is(Some(value)))) => {
            format!(
                "{what} is {value} at tick {tick}, which has taken it: the game has changed it in that tick, or it was refused"
            )
        }
        Some((tick, Found::Is(None))) => {
            format!("{what} is not set: at tick {tick} the entity is not alive, or has not the column")
        }
    };
    let tick = taken.as_ref().map(|(tick, _)| *tick);
    let seen = matches!(&taken, Some((_, Found::Is(_))));
    let value = taken.and_then(|(_, found)| match found {
        Found::Is(value) => value,
        Found::HasLeft => None,
    });
    Outcome {
        name: name.clone(),
        id: *match_id,
        entity: (!global).then(|| entity_text(wanted.index, (entity >> 32) as u32)),
        field: wanted.shown.clone(),
        tick,
        set: value.as_ref() == Some(&wanted.expected),
        value,
        sentence: format!("match {}: {said}", printable(name)),
        seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::stage::Stage;

    #[test]
    fn of_a_tick_that_cannot_be_looked_at_any_more_it_is_said_so() {
        let stage = Stage::new();
        let attached = stage.attach();
        let text = str::to_owned;
        let (of, entity, field, value) = (text("arena"), text("global"), text("game.phase"), text("0"));
        let args = SetArgs { of, entity, field, value, wait: 0, output: Output::default() };
        let wanted = prepare(&attached, &args).expect("a global of the game");
        (2..60).for_each(|tick| stage.commit(tick, 0));
        assert!(matches!(found(&attached, &wanted, 59), Ok(Found::Is(_))));
        let has_left = found(&attached, &wanted, 1).expect("it is no error");
        let outcome = told(&wanted, Some((1, has_left)), "");
        assert_eq!((outcome.tick, outcome.value, outcome.set), (Some(1), None, false));
        assert!(outcome.sentence.contains("cannot be looked at any more"), "{}", outcome.sentence);
        let outcome = told(&wanted, Some((1, Found::HasLeft)), "");
        assert!(!outcome.refused(), "nobody knows");
    }
}
