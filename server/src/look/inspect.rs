//! `ringfort inspect`: all of one entity, or the globals of a match.

use clap::Args;
use ringfort_shm_state::layout::SessionRow;
use ringfort_shm_state::table::TableAt;
use serde::Serialize;

use super::entities::position;
use super::value::{Value, entity_text};
use super::world::{Fields, Names, groups, lives, pages_of_entity, parse_index};
use super::{AskError, LookError, OneMatch, Paper, Reading, Shown, printable, table};
use crate::attach::Attached;
use crate::game::GameMap;

/// Flags of `inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The match's name, or its id
    #[arg(value_name = "MATCH")]
    pub of: String,
    /// The entity: its index, or INDEX.GENERATION
    #[arg(value_name = "ENTITY", required_unless_present = "globals", conflicts_with = "globals")]
    pub entity: Option<String>,
    /// Show the match's globals instead
    #[arg(long)]
    pub globals: bool,
    /// At an earlier tick of the last 32 commits
    #[arg(long, value_name = "T")]
    pub tick: Option<u32>,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// What `inspect` tells.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// The match's name.
    #[serde(rename = "match")]
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The tick that is shown.
    pub tick: u32,
    /// The entity; absent with `--globals`.
    #[serde(flatten)]
    pub entity: Option<EntityInspected>,
    /// Its fields, or those of the globals.
    pub fields: Fields,
    /// What the sessions that own it have in their seats, by the seats' names; the session of `--globals` is nobody.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub seats: Fields,
}

/// What an entity has beside its fields.
#[derive(Debug, Serialize)]
pub struct EntityInspected {
    /// It, as `INDEX.GENERATION`.
    pub entity: String,
    /// Whether it lives.
    pub alive: bool,
    /// The id of the session that owns it; null for none.
    pub owner: Option<u64>,
    /// That session's player.
    pub player: Option<String>,
    /// Groups of sessions that are not told of it, from 0 to 31.
    pub hidden_from: Vec<u32>,
    /// Where it is, for `near`; null without a position.
    pub position: Option<Value>,
}

impl Fields {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Looks at an entity, or at the globals.
pub fn inspect(attached: &Attached, args: &InspectArgs) -> Result<Inspected, LookError> {
    let game = attached.game()?;
    let Some(asked) = args.entity.as_deref().filter(|_| !args.globals) else {
        if !args.globals {
            return Err(AskError::NothingAsked.into());
        }
        let wanted = |map: &crate::game::MatchMap| map.globals.iter().map(TableAt::logical_pages).collect();
        let one = OneMatch::open(attached, &game, &args.of, args.tick, wanted)?;
        let fields = one.globals(&game, &Names::of(&game.schema.globals));
        return Ok(told(&one, None, fields, Fields::default()));
    };
    let index = parse_index(asked).map_or(0, |(index, _)| index);
    let one = OneMatch::open(attached, &game, &args.of, args.tick, |map| {
        let seats = map.seats.iter().map(|(at, ..)| at.logical_pages());
        pages_of_entity(map, index).into_iter().chain(seats).collect()
    })?;
    let (entity, row) = one.meant(&args.of, asked)?;
    let fields = one.fields(&game, &Names::of(&game.schema.columns), entity.index);
    let inspected = EntityInspected {
        entity: entity_text(entity.index, entity.generation),
        alive: lives(&row),
        owner: (row.owner != 0).then_some(row.owner),
        player: one.players().remove(&row.owner),
        hidden_from: groups(row.hidden_from),
        position: position(&game.schema).and_then(|at| one.value(&game, at, entity.index)),
    };
    let seats = if row.owner == 0 { Fields::default() } else { seats(&one, &game, row.owner) };
    Ok(told(&one, Some(inspected), fields, seats))
}

fn told(one: &OneMatch, entity: Option<EntityInspected>, fields: Fields, seats: Fields) -> Inspected {
    Inspected { name: one.name(), id: one.entry.incarnation, tick: one.head().tick, entity, fields, seats }
}

/// What a session has in its seats.
fn seats(one: &OneMatch, game: &GameMap, session: u64) -> Fields {
    let mut fields = Fields::default();
    let slot = session as u32;
    let is_there = one.mirror.get::<SessionRow>(&one.map.engine.sessions, slot).is_some_and(|row| row.id == session);
    for (at, what, value_at) in one.map.seats.iter().filter(|_| is_there) {
        let (Some(schema), Some(row)) = (game.unlisted.get(*what), one.mirror.row(at, slot)) else { continue };
        let owner = row.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
        let Some(value) = row.get(*value_at as usize..).filter(|_| owner == Some(session)) else { continue };
        let of_field = |field| (super::name_of(schema, field).into(), Value::of_memory(field, value));
        fields.0.extend(schema.fields.iter().map(of_field));
    }
    fields
}

impl Shown for Inspected {
    fn text(&self, paper: &Paper) -> String {
        let mut rows = Vec::new();
        let mut say = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
        if let Some(entity) = &self.entity {
            say("entity", entity.entity.clone());
            say("alive", entity.alive.to_string());
            let owner = entity.owner.map(|id| match &entity.player {
                Some(name) => format!("{} (session {id})", printable(name)),
                None => format!("session {id}"),
            });
            say("owner", owner.unwrap_or_else(|| "none".to_owned()));
            if !entity.hidden_from.is_empty() {
                let groups: Vec<_> = entity.hidden_from.iter().map(u32::to_string).collect();
                say("hidden from", format!("groups {}", groups.join(", ")));
            }
            if let Some(position) = &entity.position {
                say("position", position.to_string());
            }
        }
        self.fields.0.iter().for_each(|(name, value)| say(name, value.to_string()));
        self.seats.0.iter().for_each(|(name, value)| say(name, format!("{value} (seat)")));
        format!("match {}, tick {}\n{}", printable(&self.name), self.tick, table(paper, &["WHAT", "VALUE"], rows))
    }
}
