//! The bounds of a schema, checked before anything is allocated by it or read with it.

use super::{ColumnSchema, FieldKind, FieldSchema, Schema, Sync, VariantSchema, wire_bits};
use crate::limits;

/// Why a schema can't be used. From a peer: the connection is closed with `BadMessage`. Of our own: a mistake in the
/// game that ends the program at start.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchemaError {
    /// A list is longer than its bound.
    #[error("{what}: {count} of them, at most {max} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A name is empty or longer than [`limits::MAX_NAME_BYTES`].
    #[error("a name is empty or too long: `{0}`")]
    Name(String),
    /// A coding doesn't suit the field's type, or its numbers make no sense.
    #[error("field `{0}` can't be packed in the way it asks for")]
    Coding(String),
    /// A field lies outside of its row.
    #[error("field `{0}` lies outside of its row")]
    Offset(String),
    /// A text or bytes that is not a column of its own, or has no room for a single byte.
    #[error("`{0}` is a text or bytes of any length, which only a column of its own can be, with room for one byte at least")]
    Blob(String),
    /// A predicted event names no entity, so it is not known whose it is.
    #[error("the event `{0}` is #[predicted] and names no entity: give it an Entity field, whose owner predicts it")]
    NoSubject(String),
    /// A row, an input or a message is too large.
    #[error("`{name}` takes {bits} bits on the wire, at most {max} are allowed")]
    TooLarge {
        /// What is too large.
        name: String,
        /// Its size.
        bits: u32,
        /// The most it may have.
        max: u32,
    },
}

pub(super) fn schema(schema: &Schema) -> Result<(), SchemaError> {
    name(&schema.game)?;
    for list in [&schema.columns, &schema.globals] {
        at_most("columns", list.len(), limits::MAX_COLUMNS)?;
        let synced = list.iter().filter(|column| column.sync != Sync::None).count();
        at_most("synced columns", synced, limits::MAX_SYNCED)?;
        list.iter().try_for_each(column)?;
    }
    schema.globals.iter().try_for_each(|global| without_blobs(&global.fields))?;
    fields(&schema.input)?;
    size("input", wire_bits(&schema.input), limits::MAX_INPUT_BYTES as u32 * 8)?;
    for list in [&schema.commands, &schema.events] {
        at_most("variants", list.len(), limits::MAX_VARIANTS)?;
        list.iter().try_for_each(variant)?;
    }
    let predicted = schema.events.iter().filter(|event| event.predicted);
    at_most("#[predicted] events", predicted.clone().count(), limits::MAX_PREDICTED)?;
    match predicted.into_iter().find(|event| !event.fields.iter().any(|field| field.kind == FieldKind::Entity)) {
        Some(event) => Err(SchemaError::NoSubject(event.name.clone())),
        None => Ok(()),
    }
}

fn column(column: &ColumnSchema) -> Result<(), SchemaError> {
    name(&column.name)?;
    name(&column.component)?;
    match column.fields.as_slice() {
        [alone] if alone.kind.blob_max().is_some_and(|max| max > 0) && alone.synced => {}
        several => without_blobs(several)?,
    }
    column_fields(&column.fields)?;
    for field in &column.fields {
        let end = field.offset as usize + field.kind.memory_bytes();
        if end > column.row_bytes as usize {
            return Err(SchemaError::Offset(field.name.clone()));
        }
    }
    // What is never sent may be as large as a page has room for.
    let bits = if column.sync == Sync::None { 0 } else { column.wire_bits() };
    size(&column.name, bits, limits::MAX_ROW_BITS)
}

fn variant(variant: &VariantSchema) -> Result<(), SchemaError> {
    name(&variant.name)?;
    fields(&variant.fields)?;
    size(&variant.name, variant.wire_bits(), limits::MAX_MESSAGE_BYTES as u32 * 8)
}

fn without_blobs(fields: &[FieldSchema]) -> Result<(), SchemaError> {
    match fields.iter().find(|field| field.kind.blob_max().is_some()) {
        Some(field) => Err(SchemaError::Blob(field.name.clone())),
        None => Ok(()),
    }
}

fn fields(fields: &[FieldSchema]) -> Result<(), SchemaError> {
    without_blobs(fields)?;
    column_fields(fields)
}

fn column_fields(fields: &[FieldSchema]) -> Result<(), SchemaError> {
    at_most("fields", fields.len(), limits::MAX_FIELDS)?;
    for field in fields {
        name(&field.name)?;
        if !field.kind.accepts(field.coding) {
            return Err(SchemaError::Coding(field.name.clone()));
        }
    }
    Ok(())
}

fn name(name: &str) -> Result<(), SchemaError> {
    match name.len() {
        1..=limits::MAX_NAME_BYTES => Ok(()),
        _ => Err(SchemaError::Name(name.to_owned())),
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), SchemaError> {
    if count > max { Err(SchemaError::TooMany { what, count, max }) } else { Ok(()) }
}

fn size(name: &str, bits: u32, max: u32) -> Result<(), SchemaError> {
    if bits > max { Err(SchemaError::TooLarge { name: name.to_owned(), bits, max }) } else { Ok(()) }
}
