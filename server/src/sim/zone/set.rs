//! A field that an operator gives a value, at the start of a tick: checked once more, written as the game would write it, committed with the tick.

use ringfort_protocol::schema::{ColumnSchema, FieldSchema};
use ringfort_shm_state::layout::{FieldName, MailRecord};
use ringfort_shm_state::table::{TableAt, patch_row};
use tracing::{info, warn};

use super::Zone;
use crate::game::Game;
use crate::look::Value;

/// Why nothing was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum SetRefused {
    #[error("the record names no field of the game")]
    NoField,
    #[error("the bytes are no value of the field")]
    NotAValue,
    #[error("the entity is not alive")]
    Dead,
    #[error("the entity has no row in the column")]
    NoRow,
    #[error("the game has failed on the tick twice, and it is run without what others have asked for")]
    GivenUp,
}

impl<G: Game> Zone<G> {
    /// Does what an operator has asked for, or says why not.
    pub(super) fn set_field(&mut self, mail: &MailRecord) {
        let (index, generation) = (mail.a as u32, (mail.a >> 32) as u32);
        match self.try_set(mail, index, generation) {
            Ok(what) => {
                self.counters.operator_sets += 1;
                info!(zone = self.slot, "an operator has set {what} in tick {}", self.tick.now);
            }
            Err(why) => {
                self.counters.operator_refused += 1;
                let tick = self.tick.now;
                warn!(
                    zone = self.slot,
                    "what an operator wanted set of entity {index}.{generation} in tick {tick} was not: {why}"
                );
            }
        }
    }

    fn try_set(&mut self, mail: &MailRecord, index: u32, generation: u32) -> Result<String, SetRefused> {
        if self.retry.rejects() {
            return Err(SetRefused::GivenUp);
        }
        let name = FieldName::from_word(mail.b).ok_or(SetRefused::NoField)?;
        let (at, column, field) = self.field_named(name).ok_or(SetRefused::NoField)?;
        let bytes = mail.payload.get(..mail.bytes as usize).ok_or(SetRefused::NotAValue)?;
        let size = field.kind.memory_bytes();
        // A bool or an enum whose byte has no meaning must not become one, and no game expects a number that is none.
        let value = Value::of_memory(&FieldSchema { offset: 0, ..field.clone() }, bytes);
        if size == 0 || bytes.len() != size || !value.is_sound() {
            return Err(SetRefused::NotAValue);
        }
        if !name.global && !self.bound.shared.reader.alive(index, generation) {
            return Err(SetRefused::Dead);
        }
        let what = format!("{}.{}", column.name, field.name);
        let (row, offset) = (if name.global { 0 } else { index }, field.offset as usize);
        // SAFETY: the place is a column's or a global's of this game, by its own description; the bytes are as many as the field has there, and
        // a value of its type, as was looked at above. It is the tick's start, with `&mut self`: no function of the game runs.
        let is_set = unsafe { patch_row(&self.bound.shared.sheet, at, row, offset, bytes) };
        let of = if name.global { String::new() } else { format!(" of entity {index}.{generation}") };
        if is_set { Ok(format!("{what}{of} to {value}")) } else { Err(SetRefused::NoRow) }
    }

    fn field_named(&self, name: FieldName) -> Option<(TableAt, &ColumnSchema, &FieldSchema)> {
        let (columns, places) = match name.global {
            true => (&self.is.schema.globals, &self.is.globals),
            false => (&self.is.schema.columns, &self.is.columns),
        };
        let column = columns.get(usize::from(name.column))?;
        Some((*places.get(usize::from(name.column))?, column, column.fields.get(usize::from(name.field))?))
    }
}

#[cfg(test)]
mod tests;
