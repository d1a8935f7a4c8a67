//! `ringfort entities`: the entities of a match that meet a condition, or are near a point.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use clap::Args;
use ringfort_protocol::schema::Schema;
use ringfort_shm_state::layout::EntityRow;
use serde::Serialize;

use super::filter::{Filter, Subject};
use super::names::{Among, FieldAt, name_of};
use super::value::{Value, entity_text};
use super::world::{Fields, lives, pages_of};
use super::{AskError, LookError, OneMatch, Paper, Reading, Shown, printable, table};
use crate::attach::Attached;
use crate::game::GameMap;

/// Flags of `entities`.
#[derive(Debug, Clone, Args)]
pub struct EntitiesArgs {
    /// The match's name, or its id
    #[arg(value_name = "MATCH")]
    pub of: String,
    /// Only those that meet a condition, as in 'hp.hp < 20 and (has(gun) or owner = ada)'; beside fields there are owner, index and alive
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,
    /// Only those within the distance R of a point
    #[arg(long, value_name = "X,Y,R", allow_hyphen_values = true, value_parser = parse_near)]
    pub near: Option<Near>,
    /// Which fields to show, or whole columns, as in hp.hp,body [default: all]
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Sort by a field, the largest first with a - in front [default: by index]
    #[arg(long, value_name = "[-]FIELD", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Show no more than N of them; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// At an earlier tick of the last 32 commits
    #[arg(long, value_name = "T")]
    pub tick: Option<u32>,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// A circle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    x: f32,
    y: f32,
    radius: f32,
}

fn parse_near(text: &str) -> Result<Near, String> {
    let numbers: Vec<f32> = text.split(',').filter_map(|part| part.trim().parse().ok()).filter(|n: &f32| n.is_finite()).collect();
    match numbers[..] {
        [x, y, radius] if text.split(',').count() == 3 && radius >= 0.0 => Ok(Near { x, y, radius }),
        _ => Err("three numbers, X,Y,R, and R not below 0".to_owned()),
    }
}

/// What `entities` tells.
#[derive(Debug, Serialize)]
pub struct EntitiesShown {
    /// The match's name.
    #[serde(rename = "match")]
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The tick that is shown.
    pub tick: u32,
    /// Entities alive at it.
    pub alive: u32,
    /// Those that were asked for.
    pub found: usize,
    /// Those that are shown: no more than `--limit`.
    pub entities: Vec<EntityShown>,
    /// The fields that are shown.
    #[serde(skip)]
    pub heads: Vec<Rc<str>>,
}

/// One entity.
#[derive(Debug, Serialize)]
pub struct EntityShown {
    /// It, as `INDEX.GENERATION`.
    pub entity: String,
    /// Whether it lives; a dead one rests until its index is given out again.
    pub alive: bool,
    /// The id of the session that owns it; null for none.
    pub owner: Option<u64>,
    /// That session's player.
    pub player: Option<String>,
    /// How far it is from the point of `--near`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<f32>,
    /// Its fields; those of columns that it has not are absent.
    pub fields: Fields,
}

/// What is asked, once its names were found.
struct Question<'a> {
    game: &'a GameMap,
    filter: Option<Filter>,
    near: Option<(Near, FieldAt)>,
    sort: Option<(FieldAt, bool)>,
    shown: Vec<(Rc<str>, FieldAt)>,
}

impl<'a> Question<'a> {
    fn of(game: &'a GameMap, args: &EntitiesArgs) -> Result<Self, AskError> {
        let schema = &game.schema;
        let filter = args.condition.as_deref().map(|text| Filter::parse(text, schema)).transpose()?;
        let place = || position(schema).ok_or(AskError::NoPosition);
        let near = args.near.map(|near| place().map(|at| (near, at))).transpose()?;
        let sort = args.sort.as_deref().map(|text| {
            let (name, down) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
            Among::Columns.field(schema, name).map(|at| (at, down))
        });
        Ok(Self { game, filter, near, sort: sort.transpose()?, shown: shown(schema, &args.columns)? })
    }

    fn columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self.shown.iter().map(|(_, at)| at.column).collect();
        columns.extend(self.near.iter().map(|(_, at)| at.column));
        columns.extend(self.sort.iter().map(|(at, _)| at.column));
        if let Some(filter) = &self.filter {
            filter.columns(&mut |column| columns.push(column));
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// The field with the position of entities.
pub(super) fn position(schema: &Schema) -> Option<FieldAt> {
    let at = schema.position?;
    let column = schema.columns.get(usize::from(at.column))?;
    let field = column.fields.iter().position(|field| field.offset == at.offset)?;
    Some(FieldAt { column: at.column.into(), field, half: None })
}

/// The fields that are to be shown, by their names or by those of their columns.
fn shown(schema: &Schema, wanted: &[String]) -> Result<Vec<(Rc<str>, FieldAt)>, AskError> {
    let all_of = |column: usize| {
        let schema = &schema.columns[column];
        let fields = schema.fields.iter().enumerate();
        fields.map(move |(field, is)| (name_of(schema, is).into(), FieldAt { column, field, half: None }))
    };
    if wanted.is_empty() {
        return Ok((0..schema.columns.len()).flat_map(all_of).collect());
    }
    let mut shown = Vec::new();
    for name in wanted {
        match schema.columns.iter().position(|column| column.name == *name) {
            Some(column) => shown.extend(all_of(column)),
            None => shown.push((name.as_str().into(), Among::Columns.field(schema, name)?)),
        }
    }
    Ok(shown)
}

/// One entity, as the condition sees it.
struct Candidate<'a> {
    one: &'a OneMatch,
    game: &'a GameMap,
    players: &'a BTreeMap<u64, String>,
    index: u32,
    row: EntityRow,
}

impl Subject for Candidate<'_> {
    fn field(&self, at: FieldAt) -> Option<Value> {
        self.one.value(self.game, at, self.index)
    }

    fn has(&self, column: usize) -> bool {
        self.one.has(column, self.index)
    }

    fn owner(&self) -> u64 {
        self.row.owner
    }

    fn owner_name(&self) -> Option<&str> {
        self.players.get(&self.row.owner).map(String::as_str)
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn alive(&self) -> bool {
        lives(&self.row)
    }
}

/// Looks for entities.
pub fn entities(attached: &Attached, args: &EntitiesArgs) -> Result<EntitiesShown, LookError> {
    let game = attached.game()?;
    let asked = Question::of(&game, args)?;
    let columns = asked.columns();
    let one = OneMatch::open(attached, &game, &args.of, args.tick, |map| {
        let engine = [map.engine.entities.logical_pages(), map.engine.sessions.logical_pages()];
        pages_of(map, columns).into_iter().chain(engine).collect()
    })?;
    Ok(answer(&one, &asked, args))
}

fn answer(one: &OneMatch, asked: &Question<'_>, args: &EntitiesArgs) -> EntitiesShown {
    let (game, players) = (asked.game, one.players());
    let with_dead = asked.filter.as_ref().is_some_and(Filter::asks_alive);
    let mut found: Vec<(u32, EntityRow, Option<f32>)> = Vec::new();
    for (index, row) in one.entities().filter(|(_, row)| with_dead || lives(row)) {
        let distance = match asked.near {
            None => None,
            Some((near, at)) => match one.value(game, at, index) {
                Some(Value::Pair(x, y)) => {
                    let distance = (x - near.x).hypot(y - near.y);
                    // What is no number is nowhere.
                    if distance.is_nan() || distance > near.radius {
                        continue;
                    }
                    Some(distance)
                }
                _ => continue,
            },
        };
        let candidate = Candidate { one, game, players: &players, index, row };
        if asked.filter.as_ref().is_none_or(|filter| filter.holds(&candidate)) {
            found.push((index, row, distance));
        }
    }
    if let Some((at, down)) = asked.sort {
        sort(&mut found, |index| one.value(game, at, index), down);
    }
    let count = found.len();
    found.truncate(if args.limit == 0 { usize::MAX } else { args.limit });
    let show = |(index, row, distance): (u32, EntityRow, Option<f32>)| {
        let value = |(name, at): &(Rc<str>, FieldAt)| Some((Rc::clone(name), one.value(game, *at, index)?));
        EntityShown {
            entity: entity_text(index, row.generation),
            alive: lives(&row),
            owner: (row.owner != 0).then_some(row.owner),
            player: players.get(&row.owner).cloned(),
            distance,
            fields: Fields(asked.shown.iter().filter_map(value).collect()),
        }
    };
    EntitiesShown {
        name: one.name(),
        id: one.entry.incarnation,
        tick: one.head().tick,
        alive: one.head().entities,
        found: count,
        entities: found.into_iter().map(show).collect(),
        heads: asked.shown.iter().map(|(name, _)| Rc::clone(name)).collect(),
    }
}

/// Entities without the field come last, whichever way the others are sorted. What has no order, as NaN, a vector with one, or what is damaged, has
/// its place behind the others: an order that is none would be a panic.
fn sort(found: &mut Vec<(u32, EntityRow, Option<f32>)>, key: impl Fn(u32) -> Option<Value>, down: bool) {
    let mut keyed: Vec<_> = found.drain(..).map(|entity| (key(entity.0), entity)).collect();
    keyed.sort_by(|(a, of_a), (b, of_b)| {
        let order = match (a, b) {
            (Some(a), Some(b)) => {
                let order = match (a.order(a), b.order(b)) {
                    (Some(_), Some(_)) => a.order(b).unwrap_or(Ordering::Equal),
                    (of_a, of_b) => of_a.is_none().cmp(&of_b.is_none()),
                };
                if down { order.reverse() } else { order }
            }
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        order.then(of_a.0.cmp(&of_b.0))
    });
    found.extend(keyed.into_iter().map(|(_, entity)| entity));
}

impl Shown for EntitiesShown {
    fn text(&self, paper: &Paper) -> String {
        let near = self.entities.iter().any(|entity| entity.distance.is_some());
        let mut head = vec!["ENTITY", "OWNER"];
        head.extend(near.then_some("DISTANCE"));
        head.extend(self.heads.iter().map(|name| &**name));
        let row = |entity: &EntityShown| {
            let owner = entity.player.as_deref().map(printable).or(entity.owner.map(|id| id.to_string()));
            let dead = if entity.alive { "" } else { " (dead)" };
            let mut cells = vec![format!("{}{dead}", entity.entity), owner.unwrap_or_else(|| "-".to_owned())];
            cells.extend(near.then(|| entity.distance.map_or_else(|| "-".to_owned(), |distance| format!("{distance:.2}"))));
            let value = |name: &Rc<str>| entity.fields.0.iter().find(|(is, _)| is == name).map(|(_, value)| value.to_string());
            cells.extend(self.heads.iter().map(|name| value(name).unwrap_or_else(|| "-".to_owned())));
            cells
        };
        let (shown, found) = (self.entities.len(), self.found);
        let more = if shown < found { format!(", the first {shown} of them shown (--limit 0 shows all)") } else { String::new() };
        let rows = if shown == 0 { String::new() } else { table(paper, &head, self.entities.iter().map(row).collect()) };
        format!("{rows}match {}, tick {}: {found} of {} entities{more}\n", printable(&self.name), self.tick, self.alive)
    }
}

#[cfg(test)]
#[path = "entities/tests.rs"]
mod tests;
