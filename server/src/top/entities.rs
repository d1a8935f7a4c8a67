//! The entities of a match, and one of them, decoded by the map of the game. Of many only those are decoded that may be seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use ringfort_shm_state::blobs::BlobsAt;
use ringfort_shm_state::layout::EntityRow;
use ringfort_shm_state::mirror::Mirror;

use super::list::List;
use super::order::sort_entities;
use super::seen::{Dot, Entities, Live, OneEntity, Seat};
use crate::attach::Attached;
use crate::game::{GameMap, MatchMap};
use crate::limits::{TOP_BLOB_PAGES_MAX, TOP_FIELDS_MAX, TOP_ROWS_AROUND};
use crate::look::{FieldAt, Filter, Names, OneMatch, Subject, Value, entity_text, lives, pages_of_entity};

/// A condition on entities, or why what was typed is none.
pub(super) fn condition(list: &List, game: &GameMap) -> Option<Result<Filter, String>> {
    let text = list.filter.trim();
    (!text.is_empty()).then(|| Filter::parse(text, &game.schema).map_err(|error| error.to_string()))
}

/// Lists the entities of a match that a filter leaves, and decodes those around the chosen one.
pub(super) fn list(
    attached: &Attached,
    one: &OneMatch,
    game: &GameMap,
    list: &List,
    with_map: bool,
    condition: Option<&Result<Filter, String>>,
) -> Entities {
    let players = one.players();
    let mut shown = alive(one, game);
    let alive = shown.len();
    let trouble = match condition {
        None => None,
        Some(Ok(filter)) => {
            shown.iter_mut().for_each(|dot| dot.lit = filter.holds(&Candidate { one, game, players: &players, dot }));
            None
        }
        // What is no condition may be a name.
        Some(Err(why)) => {
            let is_meant = |dot: &Dot| players.get(&dot.owner).is_some_and(|name| name.contains(list.filter.trim()));
            let found = shown.iter().any(is_meant);
            shown.iter_mut().for_each(|dot| dot.lit = !found || is_meant(dot));
            (!found).then(|| why.clone())
        }
    };
    let dots = if with_map { shown.iter().filter(|dot| dot.at.is_some()).copied().collect() } else { Vec::new() };
    shown.retain(|dot| dot.lit);
    sort_entities(&mut shown, list);
    // The chosen one may be elsewhere than it was.
    let at = list.key.and_then(|key| shown.iter().position(|dot| dot.key() == key)).unwrap_or(list.at);
    let at = at.min(shown.len().saturating_sub(1));
    let first = at.saturating_sub(TOP_ROWS_AROUND);
    let around = &shown[first..shown.len().min(at + TOP_ROWS_AROUND)];
    let (head, rows) = if with_map { Default::default() } else { rows(attached, one, game, around) };
    Entities { alive, shown, head, first, rows, dots, trouble }
}

/// All entities that live.
fn alive(one: &OneMatch, game: &GameMap) -> Vec<Dot> {
    let position = game
        .schema
        .position
        .and_then(|position| Some((one.map.columns.get(usize::from(position.column))?, position.offset as usize)));
    let rows = one.entities().filter(|(_, row)| lives(row));
    rows.map(|(index, row)| {
        let at = position.and_then(|(table, offset)| pair(one.mirror.row(table, index)?, offset));
        Dot { index, generation: row.generation, owner: row.owner, at, lit: true }
    })
    .collect()
}

/// The position in a row; nothing of one that is none.
fn pair(row: &[u8], offset: usize) -> Option<[f32; 2]> {
    let bytes = row.get(offset..offset.checked_add(8)?)?;
    let float = |bytes: &[u8]| bytes.first_chunk::<4>().map(|bytes| f32::from_ne_bytes(*bytes)).filter(|x| x.is_finite());
    Some([float(bytes)?, float(&bytes[4..])?])
}

/// One entity, as a condition sees it.
struct Candidate<'a> {
    one: &'a OneMatch,
    game: &'a GameMap,
    players: &'a BTreeMap<u64, String>,
    dot: &'a Dot,
}

impl Subject for Candidate<'_> {
    fn field(&self, at: FieldAt) -> Option<Value> {
        self.one.value(self.game, at, self.dot.index)
    }

    fn has(&self, column: usize) -> bool {
        self.one.has(column, self.dot.index)
    }

    fn owner(&self) -> u64 {
        self.dot.owner
    }

    fn owner_name(&self) -> Option<&str> {
        self.players.get(&self.dot.owner).map(String::as_str)
    }

    fn index(&self) -> u32 {
        self.dot.index
    }

    fn alive(&self) -> bool {
        true
    }
}

/// The names of the fields that fit a row, and their values of some entities: only the pages with their rows are copied.
fn rows(attached: &Attached, one: &OneMatch, game: &GameMap, around: &[Dot]) -> (Vec<String>, Vec<Vec<String>>) {
    let names = Names::of(&game.schema.columns);
    let columns = game.schema.columns.iter().enumerate();
    let all =
        columns.flat_map(|(column, schema)| (0..schema.fields.len()).map(move |field| FieldAt { column, field, half: None }));
    let fields: Vec<FieldAt> = all.take(TOP_FIELDS_MAX).collect();
    let head = fields.iter().map(|at| names.field(at.column, at.field).to_string()).collect();
    let mirror = Mirror::of_pages(one.slot, pages_of_rows(&one.map, around));
    let mut detail = OneMatch { slot: one.slot, entry: one.entry, map: one.map.clone(), mirror };
    let tick = one.head().tick;
    if around.is_empty() || detail.turn_to(attached, Some(tick)).or_else(|_| detail.turn_to(attached, None)).is_err() {
        return (head, Vec::new());
    }
    let has_content = |column: usize| detail.map.blobs.get(column).copied().flatten().is_none_or(|blobs| is_small(&blobs));
    let cell = |dot: &Dot, at: &FieldAt| match has_content(at.column) {
        true => detail.value(game, *at, dot.index).map_or_else(|| "-".to_owned(), |value| value.to_string()),
        false => if detail.has(at.column, dot.index) { "…" } else { "-" }.to_owned(),
    };
    let rows = around.iter().map(|dot| fields.iter().map(|at| cell(dot, at)).collect());
    (head, rows.collect())
}

/// Whether the content of a column of texts or bytes is copied for a list.
fn is_small(blobs: &BlobsAt) -> bool {
    blobs.logical_pages().len() <= TOP_BLOB_PAGES_MAX
}

fn pages_of_rows(map: &MatchMap, around: &[Dot]) -> Vec<Range<u32>> {
    let mut pages: Vec<Range<u32>> =
        map.blobs.iter().flatten().filter(|blobs| is_small(blobs)).map(BlobsAt::logical_pages).collect();
    for at in &map.columns {
        let rows: BTreeSet<u32> =
            around.iter().filter(|dot| dot.index < at.rows).map(|dot| at.base + dot.index / at.per_page.max(1)).collect();
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for page in rows {
            match ranges.last_mut().filter(|range| range.end == page) {
                Some(range) => range.end += 1,
                None => ranges.push(page..page + 1),
            }
        }
        pages.extend(ranges);
    }
    // No page at all would mean every page.
    if pages.is_empty() { vec![map.engine.meta.logical_pages()] } else { pages }
}

/// The globals of a match, name and value.
pub(super) fn globals(one: &OneMatch, game: &GameMap) -> Vec<(String, String)> {
    let fields = one.globals(game, &Names::of(&game.schema.globals));
    fields.0.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// One entity that is watched from look to look.
#[derive(Default)]
pub(super) struct LiveWatch {
    held: Option<HeldEntity>,
}

struct HeldEntity {
    incarnation: u64,
    entity: (u32, u32),
    one: OneMatch,
    fields: Vec<Live>,
}

impl LiveWatch {
    /// Forgets what it has watched: the instance is another.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    /// Looks at an entity: its fields, and which of them have changed since the look before.
    pub(super) fn look(
        &mut self,
        attached: &Attached,
        of: &OneMatch,
        game: &GameMap,
        entity: (u32, u32),
        sessions: &[Seat],
    ) -> Result<OneEntity, String> {
        let incarnation = of.entry.incarnation;
        let is_same = |held: &HeldEntity| (held.incarnation, held.entity) == (incarnation, entity);
        let begin = || {
            let mirror = Mirror::of_pages(of.slot, pages_of_entity(&of.map, entity.0));
            let one = OneMatch { slot: of.slot, entry: of.entry, map: of.map.clone(), mirror };
            HeldEntity { incarnation, entity, one, fields: Vec::new() }
        };
        let held = self.held.take().filter(is_same).unwrap_or_else(begin);
        let held = self.held.insert(held);
        held.one.turn_to(attached, None).map_err(|error| error.to_string())?;
        let (index, generation) = entity;
        let row: Option<EntityRow> = held.one.entity(index).filter(|row| row.generation == generation);
        let tick = held.one.head().tick;
        // Of one that has died, and whose index another may have, stays what was seen last.
        if row.is_some() {
            let fields = held.one.fields(game, &Names::of(&game.schema.columns), index);
            let now = fields.0.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            held.fields = compared(std::mem::take(&mut held.fields), now, tick);
        }
        let owner = row.map_or(0, |row| row.owner);
        let player = sessions.iter().find(|seat| seat.shown.session == owner).map(|seat| seat.shown.name.clone());
        Ok(OneEntity {
            name: entity_text(index, generation),
            owner: player.unwrap_or_else(|| if owner == 0 { "none".to_owned() } else { owner.to_string() }),
            alive: row.is_some_and(|row| lives(&row)),
            tick,
            fields: held.fields.clone(),
        })
    }
}

/// Marks what is another than at the look before.
fn compared(before: Vec<Live>, now: Vec<(String, String)>, tick: u32) -> Vec<Live> {
    let is_first = before.is_empty();
    let mut before: HashMap<String, Live> = before.into_iter().map(|live| (live.name.clone(), live)).collect();
    let live = |(name, value): (String, String)| match before.remove(&name) {
        Some(old) if old.value == value => Live { changed: false, ..old },
        Some(old) => Live { name, value, before: Some((old.value, tick)), changed: true },
        None if is_first => Live { name, value, before: None, changed: false },
        None => Live { name, value, before: Some(("-".to_owned(), tick)), changed: true },
    };
    now.into_iter().map(live).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_field_is_marked_when_it_changes_and_what_it_was_before_stays() {
        let first = compared(Vec::new(), shown(&[("hp", "100"), ("ammo", "30")]), 10);
        assert!(first.iter().all(|live| !live.changed && live.before.is_none()));
        let second = compared(first, shown(&[("hp", "80"), ("ammo", "30"), ("name", "ada")]), 11);
        assert_eq!((second[0].changed, second[0].before.clone()), (true, Some(("100".to_owned(), 11))));
        assert!(!second[1].changed && second[2].changed);
        let third = compared(second, shown(&[("hp", "80"), ("ammo", "29")]), 12);
        assert_eq!((third[0].changed, third[0].before.clone()), (false, Some(("100".to_owned(), 11))));
        assert_eq!((third[1].changed, third.len()), (true, 2));
    }

    #[test]
    fn a_position_that_is_no_number_is_nowhere() {
        let bytes = |x: f32, y: f32| [[0; 4], x.to_ne_bytes(), y.to_ne_bytes()].concat();
        assert_eq!(pair(&bytes(1.5, -2.0), 4), Some([1.5, -2.0]));
        assert_eq!(pair(&bytes(f32::NAN, 0.0), 4), None);
        assert_eq!((pair(&bytes(1.0, 1.0), 8), pair(&[], usize::MAX)), (None, None));
    }
}
