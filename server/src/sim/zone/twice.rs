//! A tick run twice from one root, on exactly the same records: a game that looks at anything but its state, its players' inputs and the
//! tick comes out otherwise, and is told where.

use ringfort_protocol::schema::{FieldKind, FieldSchema};
use ringfort_shm_state::memory::Page;
use ringfort_shm_state::mirror::row_in;
use ringfort_shm_state::pages::Differing;

use super::{Records, Zone, ZoneCounters};
use crate::game::{Game, Whereabouts};

#[cfg(test)]
mod tests;

impl<G: Game> Zone<G> {
    /// Runs every tick twice from here on and compares them; the second is committed.
    pub fn check_determinism(&mut self, on: bool) {
        self.twice = on;
    }

    /// What the last tick differed in when it ran again; once.
    pub fn take_difference(&mut self) -> Option<String> {
        self.difference.take()
    }

    /// Throws away what the tick has come to, runs it again, and compares.
    pub(super) fn run_again(&mut self, records: Records<'_>, before: (u64, u64), counters: ZoneCounters) {
        let draft = self.bound.draft();
        self.bound.roll_back();
        self.undo(before);
        self.counters = counters;
        self.run_tick(records);
        let differing = self.bound.differing(&draft);
        // What the game wrote says more than what the engine made of it.
        let first = differing.iter().find(|page| self.is.whereabouts(page.logical).is_game).or(differing.first());
        if let Some(page) = first {
            self.counters.ticks_diverged += 1;
            let place = self.name_difference(page);
            self.difference = Some(format!("tick {} came out otherwise when it ran again: {place}", self.tick.now));
        }
    }

    /// Where two ways of a page differ first, and in what.
    fn name_difference(&self, page: &Differing) -> String {
        let at = self.is.whereabouts(page.logical);
        let Whereabouts { name, is_game, is_global, .. } = at;
        let Some((rows, first)) = at.rows.map(|rows| (rows, (page.logical - rows.base) * rows.per_page)) else {
            return if is_game { format!("a value of `{name}`") } else { format!("the engine's {name}") };
        };
        let row = |page: &'_ Page, row: u32| row_in(page, &rows, row).map(<[u8]>::to_vec);
        let found = (0..rows.per_page).find_map(|i| {
            let (before, now) = (row(&page.before, i), row(&page.now, i));
            (before != now).then_some((first + i, before, now))
        });
        let Some((index, before, now)) = found else { return format!("`{name}`") };
        let whose = match self.bound.shared.reader.generation(index) {
            _ if is_global => String::new(),
            Some(generation) if at.schema.is_some() => format!(" of entity {index}v{generation}"),
            _ => format!(", row {index}"),
        };
        let name = if is_game { format!("`{name}`") } else { format!("the engine's {name}") };
        let fields = at.schema.map_or(&[][..], |schema| &schema.fields);
        match (before, now) {
            (Some(before), Some(now)) => match fields.iter().find(|field| bytes(field, &before) != bytes(field, &now)) {
                Some(field) => {
                    let (before, now) = (value(field, &before), value(field, &now));
                    format!("{name}{whose}, field `{}`, was {before} and then {now}", field.name)
                }
                None => format!("{name}{whose}"),
            },
            (before, _) => {
                let (first, second) = if before.is_some() { ("a row", "none") } else { ("no row", "one") };
                format!("{name}{whose} had {first} and then {second}")
            }
        }
    }
}

/// A field's bytes in a row; nothing when the row is too short for it.
fn bytes<'r>(field: &FieldSchema, row: &'r [u8]) -> &'r [u8] {
    let at = field.offset as usize;
    row.get(at..at + field.kind.memory_bytes()).unwrap_or_default()
}

/// A field's value, as an author would write it.
fn value(field: &FieldSchema, row: &[u8]) -> String {
    let bytes = bytes(field, row);
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let number = u64::from_le_bytes(word);
    let float = |half: u64| f32::from_bits(half as u32);
    match field.kind {
        FieldKind::F32 => float(number).to_string(),
        FieldKind::Vec2 => format!("({}, {})", float(number), float(number >> 32)),
        FieldKind::Entity => format!("{}v{}", number as u32, number >> 32),
        FieldKind::I8 => (number as i8).to_string(),
        FieldKind::I16 => (number as i16).to_string(),
        FieldKind::I32 => (number as i32).to_string(),
        FieldKind::I64 => (number as i64).to_string(),
        FieldKind::Bool => (number != 0).to_string(),
        _ => number.to_string(),
    }
}
