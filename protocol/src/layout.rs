//! A schema boiled down to what a reader of snapshots needs: which columns are sent and how many bits a row has.

use crate::limits;
use crate::schema::{ColumnSchema, FieldKind, Schema, SchemaError, Sync, wire_bits};

/// Sizes of everything on the wire, computed once from a valid schema.
///
/// A *wire column* is the position of a column among the synced ones: bit `i` of every mask is wire column `i`.
#[derive(Clone, Debug)]
pub struct WireLayout {
    /// The synced columns.
    pub columns: Vec<WireColumn>,
    /// The synced globals.
    pub globals: Vec<WireColumn>,
    /// Bytes of one encoded input.
    pub input_bytes: usize,
    /// Bits of each event's encoding, by tag; the tag is included.
    pub event_bits: Vec<u32>,
    /// How many of the events are `#[predicted]`.
    pub predicted: u32,
    wire_of_column: Vec<Option<u8>>,
    wire_of_global: Vec<Option<u8>>,
}

/// One synced column or global.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireColumn {
    /// Index in the schema's list.
    pub schema_index: u16,
    /// Bits of a row; of a text or bytes the most that it may take.
    pub bits: u32,
    /// Words that hold a row.
    pub words: u32,
    /// Bytes that hold a row.
    pub bytes: u32,
    /// What makes the width differ from row to row.
    pub blob: Option<WireBlob>,
}

/// A text or bytes: its length comes first and says how many bits the row has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireBlob {
    /// Bytes that it may have.
    pub max: u16,
    /// Whether it is UTF-8.
    pub text: bool,
}

impl WireLayout {
    /// Checks the schema and measures it.
    pub fn new(schema: &Schema) -> Result<WireLayout, SchemaError> {
        schema.validate()?;
        let (columns, wire_of_column) = measure(&schema.columns);
        let (globals, wire_of_global) = measure(&schema.globals);
        Ok(WireLayout {
            columns,
            globals,
            input_bytes: wire_bits(&schema.input).div_ceil(8) as usize,
            event_bits: schema.events.iter().map(|variant| variant.wire_bits()).collect(),
            predicted: schema.events.iter().filter(|variant| variant.predicted).count() as u32,
            wire_of_column,
            wire_of_global,
        })
    }

    /// Position of a column of the schema among the synced ones.
    #[inline]
    pub fn wire_column(&self, schema_index: u16) -> Option<usize> {
        self.wire_of_column.get(usize::from(schema_index)).copied().flatten().map(usize::from)
    }

    /// Position of a global of the schema among the synced ones.
    #[inline]
    pub fn wire_global(&self, schema_index: u16) -> Option<usize> {
        self.wire_of_global.get(usize::from(schema_index)).copied().flatten().map(usize::from)
    }
}

fn measure(columns: &[ColumnSchema]) -> (Vec<WireColumn>, Vec<Option<u8>>) {
    let mut wire = Vec::new();
    let mut positions = Vec::new();
    for (schema_index, column) in columns.iter().enumerate() {
        if column.sync == Sync::None {
            positions.push(None);
            continue;
        }
        debug_assert!(wire.len() < limits::MAX_SYNCED);
        positions.push(Some(wire.len() as u8));
        let bits = column.wire_bits();
        let blob = column.blob().and_then(|kind| Some((kind, kind.blob_max()?)));
        wire.push(WireColumn {
            schema_index: schema_index as u16,
            bits,
            words: bits.div_ceil(64),
            bytes: bits.div_ceil(8),
            blob: blob.map(|(kind, max)| WireBlob { max, text: matches!(kind, FieldKind::Text { .. }) }),
        });
    }
    (wire, positions)
}
