//! `ringfort diff`: what is different between two ticks of the commits that can be looked at.

use clap::Args;
use ringfort_shm_state::table::TableAt;
use serde::Serialize;

use super::history::{FieldChanged, differences, in_words};
use super::names::OWNER;
use super::value::{Value, entity_text};
use super::world::{Fields, Names, lives, pages_of};
use super::{LookError, OneMatch, Paper, Reading, Shown, printable, table};
use crate::attach::Attached;
use crate::game::MatchMap;

/// Flags of `diff`.
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The match's name, or its id
    #[arg(value_name = "MATCH")]
    pub of: String,
    /// The one tick, of the last 32 commits; `ringfort roots` lists them
    #[arg(value_name = "TICK")]
    pub first: u32,
    /// The other
    #[arg(value_name = "TICK")]
    pub second: u32,
    /// Show no more than N of the entities that changed; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// What `diff` tells.
#[derive(Debug, Serialize)]
pub struct Diff {
    /// The match's name.
    #[serde(rename = "match")]
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The one tick.
    pub from_tick: u32,
    /// The other.
    pub to_tick: u32,
    /// Entities that live at the second tick and not at the first.
    pub born: usize,
    /// Entities that live at the first tick and not at the second.
    pub died: usize,
    /// Entities that live at both and have changed.
    pub changed: usize,
    /// The globals' fields that differ.
    pub globals: Vec<FieldChanged>,
    /// Those that were born, have died or have changed, by index: no more than `--limit`.
    pub entities: Vec<EntityChanged>,
}

/// An entity that is different.
#[derive(Debug, Serialize)]
pub struct EntityChanged {
    /// It, as `INDEX.GENERATION`.
    pub entity: String,
    /// It lives at the second tick only.
    pub born: bool,
    /// It lives at the first tick only.
    pub died: bool,
    /// Its fields that differ; of one that was born or has died all.
    pub changes: Vec<FieldChanged>,
}

/// Compares two ticks.
pub fn diff(attached: &Attached, args: &DiffArgs) -> Result<Diff, LookError> {
    let game = attached.game()?;
    let wanted = |map: &MatchMap| {
        let rest = map.globals.iter().chain([&map.engine.entities]).map(TableAt::logical_pages);
        pages_of(map, 0..map.columns.len()).into_iter().chain(rest).collect()
    };
    let open = |tick| OneMatch::open(attached, &game, &args.of, Some(tick), wanted);
    let (before, now) = (open(args.first)?, open(args.second)?);
    let (names, globals) = (Names::of(&game.schema.columns), Names::of(&game.schema.globals));
    let mut diff = Diff {
        name: now.name(),
        id: now.entry.incarnation,
        from_tick: args.first,
        to_tick: args.second,
        born: 0,
        died: 0,
        changed: 0,
        globals: differences(&before.globals(&game, &globals), &now.globals(&game, &globals)),
        entities: Vec::new(),
    };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    for index in 0..now.map.limits.max_entities {
        let living = |one: &OneMatch| one.entity(index).filter(lives);
        let (old, new) = (living(&before), living(&now));
        let generations = (old.map(|row| row.generation), new.map(|row| row.generation));
        let mut add = |generation: u32, born: bool, died: bool, changes: Vec<FieldChanged>| {
            diff.born += usize::from(born);
            diff.died += usize::from(died);
            diff.changed += usize::from(!born && !died);
            if diff.entities.len() < limit {
                diff.entities.push(EntityChanged { entity: entity_text(index, generation), born, died, changes });
            }
        };
        let fields = |one: &OneMatch, owner: u64| {
            let mut fields = one.fields(&game, &names, index);
            fields.0.insert(0, (OWNER.into(), Value::Session(owner)));
            fields
        };
        match generations {
            (None, None) => {}
            (Some(a), Some(b)) if a == b => {
                // Most are the same, byte by byte, and so need not be decoded; a text has a new id when it changes.
                let same_rows = || before.map.columns.iter().all(|at| before.mirror.row(at, index) == now.mirror.row(at, index));
                if old != new || !same_rows() {
                    let owner = |row: Option<ringfort_shm_state::layout::EntityRow>| row.map_or(0, |row| row.owner);
                    let changes = differences(&fields(&before, owner(old)), &fields(&now, owner(new)));
                    if !changes.is_empty() {
                        add(b, false, false, changes);
                    }
                }
            }
            _ => {
                let nothing = Fields::default();
                if let Some(row) = old {
                    add(row.generation, false, true, differences(&fields(&before, row.owner), &nothing));
                }
                if let Some(row) = new {
                    add(row.generation, true, false, differences(&nothing, &fields(&now, row.owner)));
                }
            }
        }
    }
    Ok(diff)
}

impl Shown for Diff {
    fn text(&self, paper: &Paper) -> String {
        let mut rows = Vec::new();
        if !self.globals.is_empty() {
            rows.push(vec!["globals".to_owned(), "changed".to_owned(), in_words(&self.globals)]);
        }
        let word = |entity: &EntityChanged| match (entity.born, entity.died) {
            (true, _) => "born",
            (_, true) => "died",
            _ => "changed",
        };
        rows.extend(self.entities.iter().map(|e| vec![e.entity.clone(), word(e).to_owned(), in_words(&e.changes)]));
        let changes = if rows.is_empty() { String::new() } else { table(paper, &["ENTITY", "WHAT", "FIELDS"], rows) };
        let (name, all) = (printable(&self.name), self.born + self.died + self.changed);
        let shown = self.entities.len();
        let more = if shown < all { format!(", the first {shown} shown (--limit 0 shows all)") } else { String::new() };
        format!(
            "{changes}match {name}, tick {} to {}: {} born, {} died, {} changed{more}\n",
            self.from_tick, self.to_tick, self.born, self.died, self.changed
        )
    }
}
