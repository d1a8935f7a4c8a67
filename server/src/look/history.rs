//! `ringfort history`: what has changed of an entity in the commits that can be looked at, field by field.

use std::rc::Rc;

use clap::Args;
use serde::{Serialize, Serializer};

use super::names::OWNER;
use super::value::{Value, entity_text};
use super::world::{Fields, Names, lives, pages_of_entity, parse_index, window};
use super::{AskError, LookError, OneMatch, Paper, Reading, Shown, printable, table};
use crate::attach::Attached;

/// Flags of `history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// The match's name, or its id
    #[arg(value_name = "MATCH")]
    pub of: String,
    /// The entity: its index, or INDEX.GENERATION
    #[arg(value_name = "ENTITY")]
    pub entity: String,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// What `history` tells.
#[derive(Debug, Serialize)]
pub struct History {
    /// The match's name.
    #[serde(rename = "match")]
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The entity as it was asked for.
    pub entity: String,
    /// The first tick that was looked at.
    pub from_tick: u32,
    /// The last one.
    pub to_tick: u32,
    /// The ticks in which something changed, the oldest first.
    pub ticks: Vec<TickChanged>,
}

/// What a tick has changed.
#[derive(Debug, Serialize)]
pub struct TickChanged {
    /// The tick.
    pub tick: u32,
    /// The entity that is spoken of, as `INDEX.GENERATION`.
    pub entity: String,
    /// It was spawned.
    pub born: bool,
    /// It was despawned.
    pub died: bool,
    /// Its fields that changed.
    pub changes: Vec<FieldChanged>,
}

/// A field that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChanged {
    /// Its name.
    #[serde(serialize_with = "name")]
    pub field: Rc<str>,
    /// What it was; null when the entity had not the column.
    pub old: Option<Value>,
    /// What it is; null when the entity has the column no longer.
    pub new: Option<Value>,
}

fn name<S: Serializer>(name: &Rc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name)
}

/// An entity at one commit.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    /// Its generation while it lives.
    generation: Option<u32>,
    owner: u64,
    fields: Fields,
}

/// Looks at an entity's past.
pub fn history(attached: &Attached, args: &HistoryArgs) -> Result<History, LookError> {
    let game = attached.game()?;
    let (index, generation) = parse_index(&args.entity).ok_or_else(|| AskError::NotAnEntity { asked: args.entity.clone() })?;
    let mut one = OneMatch::open(attached, &game, &args.of, None, |map| pages_of_entity(map, index))?;
    let newest = one.head().tick;
    let names = Names::of(&game.schema.columns);
    let mut history = History {
        name: one.name(),
        id: one.entry.incarnation,
        entity: args.entity.clone(),
        from_tick: newest,
        to_tick: newest,
        ticks: Vec::new(),
    };
    let mut before: Option<State> = None;
    let mut seen = false;
    for tick in window(attached, one.slot, one.entry.incarnation).iter().map(|head| head.tick).filter(|tick| *tick <= newest) {
        match one.turn_to(attached, Some(tick)) {
            Ok(()) => {}
            // It has left the window meanwhile.
            Err(error) if error.has_left() => continue,
            Err(error) => return Err(error),
        }
        let row = one.entity(index).filter(|row| lives(row) && generation.is_none_or(|wanted| wanted == row.generation));
        let state = match row {
            Some(row) => State { generation: Some(row.generation), owner: row.owner, fields: one.fields(&game, &names, index) },
            None => State::default(),
        };
        seen |= state.generation.is_some();
        match &before {
            None => history.from_tick = tick,
            Some(before) => history.ticks.extend(changed(tick, index, before, &state)),
        }
        before = Some(state);
    }
    if !seen {
        // Whoever asks is told what is at the index now.
        one.turn_to(attached, None)?;
        let (entity, _) = one.meant(&args.of, &args.entity)?;
        history.entity = entity_text(entity.index, entity.generation);
    }
    Ok(history)
}

/// What is different; nothing when all is the same.
fn changed(tick: u32, index: u32, before: &State, now: &State) -> Option<TickChanged> {
    if before == now {
        return None;
    }
    let reborn = now.generation.is_some() && before.generation != now.generation;
    let generation = now.generation.or(before.generation)?;
    let owner = |state: &State| state.generation.map(|_| (Rc::from(OWNER), Value::Session(state.owner)));
    let fields = |state: &State| Fields(owner(state).into_iter().chain(state.fields.0.iter().cloned()).collect());
    Some(TickChanged {
        tick,
        entity: entity_text(index, generation),
        born: reborn,
        died: before.generation.is_some() && before.generation != now.generation,
        changes: differences(&fields(before), &fields(now)),
    })
}

/// The fields that two states differ in, in the schema's order.
pub(super) fn differences(before: &Fields, now: &Fields) -> Vec<FieldChanged> {
    let find = |fields: &Fields, name: &str| fields.0.iter().find(|(is, _)| **is == *name).map(|(_, value)| value.clone());
    let mut changes = Vec::new();
    for (name, old) in &before.0 {
        let new = find(now, name);
        if new.as_ref() != Some(old) {
            changes.push(FieldChanged { field: Rc::clone(name), old: Some(old.clone()), new });
        }
    }
    let is_new = |(name, _): &&(Rc<str>, Value)| find(before, name).is_none();
    let added = now.0.iter().filter(is_new);
    changes.extend(added.map(|(name, new)| FieldChanged { field: Rc::clone(name), old: None, new: Some(new.clone()) }));
    changes
}

/// Changes in a line.
pub(super) fn in_words(changes: &[FieldChanged]) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
    let change = |change: &FieldChanged| format!("{} {} -> {}", change.field, value(&change.old), value(&change.new));
    changes.iter().map(change).collect::<Vec<_>>().join("; ")
}

impl Shown for History {
    fn text(&self, paper: &Paper) -> String {
        let row = |tick: &TickChanged| {
            let words = match (tick.died, tick.born) {
                (true, true) => "another has died and it was born",
                (true, false) => "died",
                (false, true) => "born",
                (false, false) => "",
            };
            let changes = in_words(&tick.changes);
            let what =
                if words.is_empty() || changes.is_empty() { format!("{words}{changes}") } else { format!("{words}: {changes}") };
            vec![tick.tick.to_string(), tick.entity.clone(), what]
        };
        let rows = self.ticks.iter().map(row).collect();
        let changes = if self.ticks.is_empty() { String::new() } else { table(paper, &["TICK", "ENTITY", "CHANGED"], rows) };
        let (from, to, count) = (self.from_tick, self.to_tick, self.ticks.len());
        let name = printable(&self.name);
        format!("{changes}match {name}, entity {}: changed in {count} of the ticks after {from} up to {to}\n", self.entity)
    }
}
