//! The schema is data: what the columns, globals, inputs, commands and events of a game are and how each field is packed.
//!
//! It stands in the instance's directory and in the welcome, so that a tool or a browser can read a world without the
//! game's code. [`Schema::hash`] decides whether two programs can talk; [`Schema::first_difference`] says why not.

use crate::bits::BitWriter;
use crate::{fields, limits, quantise};
use serde::{Deserialize, Serialize};

mod compare;
mod validate;

pub use validate::SchemaError;

/// A whole game as the wire sees it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Schema {
    /// The game's name: that of its state struct.
    pub game: String,
    /// Ticks a second.
    pub hz: u32,
    /// All columns, server-only ones too; `ColumnId` is an index here.
    pub columns: Vec<ColumnSchema>,
    /// All globals; `GlobalId` is an index here.
    pub globals: Vec<ColumnSchema>,
    /// What a player sends every tick.
    pub input: Vec<FieldSchema>,
    /// The variants of the game's command.
    pub commands: Vec<VariantSchema>,
    /// The variants of the game's event.
    pub events: Vec<VariantSchema>,
    /// Where `near` measures from, if the game has positions.
    pub position: Option<Position>,
}

/// One column or global.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ColumnSchema {
    /// The field's name in the state struct.
    pub name: String,
    /// The component's name.
    pub component: String,
    /// Who sees it.
    pub sync: Sync,
    /// Whether a client is sent a row but once, when it comes to see the entity; later changes don't reach it.
    pub once: bool,
    /// Times a second that a change is sent at most; 0 is every tick.
    pub rate: u32,
    /// Size of a row in memory; 0 of a text or bytes, which lie elsewhere.
    pub row_bytes: u32,
    /// The component's fields in order; of a text or bytes that alone.
    pub fields: Vec<FieldSchema>,
}

/// Who sees a column.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Sync {
    /// Nobody: it never leaves the server. The default.
    #[default]
    None,
    /// Every client.
    All,
    /// The client that owns the entity.
    Owner,
    /// Clients with an own entity within this distance, and the entity's owner.
    Near(f32),
}

/// One field of a component, an input or a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FieldSchema {
    /// The field's name.
    pub name: String,
    /// Offset in the row in memory; without meaning for messages.
    pub offset: u32,
    /// Its type.
    pub kind: FieldKind,
    /// How it is packed.
    pub coding: Coding,
    /// Whether it is sent at all.
    pub synced: bool,
}

/// The type of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the types")]
pub enum FieldKind {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    Bool,
    Vec2,
    Entity,
    Tick,
    Session,
    Press,
    /// A fieldless enum of one byte, its values `0..variants`.
    Enum {
        variants: u8,
    },
    /// UTF-8 of at most `max` bytes, whatever its length; the only field of its column.
    Text {
        max: u16,
    },
    /// At most `max` bytes, as [`FieldKind::Text`].
    Bytes {
        max: u16,
    },
}

/// How a field is packed.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Coding {
    /// All its bits. The default.
    #[default]
    Raw,
    /// A float (or each axis of a vector) in steps from `min` up to `max`.
    Range {
        /// The least value.
        min: f32,
        /// The greatest value.
        max: f32,
        /// The distance between neighbouring values, as near as a whole number of steps from end to end allows.
        step: f32,
    },
    /// An unsigned integer that is at most this.
    Max(u64),
    /// A float that is an angle in radians, as a fraction of a turn.
    Angle {
        /// The turn is divided into two to this power.
        bits: u8,
    },
}

/// One variant of a command or an event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VariantSchema {
    /// The variant's name.
    pub name: String,
    /// Whether it is kept until the client acknowledges it.
    pub reliable: bool,
    /// Whether a client may show it before the server says it.
    pub predicted: bool,
    /// Its fields in order.
    pub fields: Vec<FieldSchema>,
}

/// The first `Vec2` field called `pos` of the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position {
    /// Index in `Schema::columns`.
    pub column: u16,
    /// Offset in the row.
    pub offset: u32,
}

impl Schema {
    /// What decides decoding, in one number: names, kinds, codings, order and visibility class of everything synced, never
    /// offsets or what stays on the server.
    pub fn hash(&self) -> u64 {
        compare::hash(self)
    }

    /// The first thing by which a peer with the schema `other` would misread us, as in
    /// `Body.aim: angle in 10 bits here, 12 there`.
    pub fn first_difference(&self, other: &Schema) -> Option<String> {
        compare::first_difference(self, other)
    }

    /// Checks every bound. A schema from a peer is not used before.
    pub fn validate(&self) -> Result<(), SchemaError> {
        validate::schema(self)
    }

    /// Where `near` measures from: the first `Vec2` field called `pos` of `columns`.
    pub fn find_position(columns: &[ColumnSchema]) -> Option<Position> {
        columns.iter().enumerate().find_map(|(column, schema)| {
            let is_position = |field: &&FieldSchema| field.name == "pos" && field.kind == FieldKind::Vec2;
            let field = schema.fields.iter().find(is_position)?;
            Some(Position { column: column as u16, offset: field.offset })
        })
    }
}

impl ColumnSchema {
    /// Bits of a row on the wire: those of its synced fields, and of a text or bytes the most that it may take.
    pub fn wire_bits(&self) -> u32 {
        wire_bits(&self.fields)
    }

    /// What the column holds if it is a text or bytes of any length.
    pub fn blob(&self) -> Option<FieldKind> {
        self.fields.first().map(|field| field.kind).filter(|kind| kind.blob_max().is_some())
    }
}

impl FieldSchema {
    /// Bits on the wire; 0 if it isn't synced.
    pub fn wire_bits(&self) -> u32 {
        if self.synced { self.kind.wire_bits(self.coding) } else { 0 }
    }
}

impl VariantSchema {
    /// Bits on the wire, the tag included.
    pub fn wire_bits(&self) -> u32 {
        TAG_BITS + wire_bits(&self.fields)
    }
}

/// Bits of a message's tag.
pub const TAG_BITS: u32 = 8;

/// Bits that say how long a text or bytes of at most `max` bytes is.
pub const fn length_bits(max: u16) -> u32 {
    crate::bits::bits_for(max as u64 + 1)
}

/// Bits of `fields` on the wire.
pub fn wire_bits(fields: &[FieldSchema]) -> u32 {
    fields.iter().map(FieldSchema::wire_bits).sum()
}

impl FieldKind {
    /// Bits on the wire in `coding`; of a text or bytes the most that it may take.
    pub const fn wire_bits(self, coding: Coding) -> u32 {
        match self {
            FieldKind::U8 => quantise::unsigned_bits(8, coding),
            FieldKind::U16 => quantise::unsigned_bits(16, coding),
            FieldKind::U32 => quantise::unsigned_bits(32, coding),
            FieldKind::U64 => quantise::unsigned_bits(64, coding),
            FieldKind::I8 => 8,
            FieldKind::I16 => 16,
            FieldKind::I32 | FieldKind::Tick => 32,
            FieldKind::I64 | FieldKind::Entity | FieldKind::Session => 64,
            FieldKind::F32 => quantise::f32_bits(coding),
            FieldKind::Vec2 => 2 * quantise::f32_bits(coding),
            FieldKind::Bool => 1,
            FieldKind::Press => 2,
            FieldKind::Enum { variants } => crate::bits::bits_for(variants as u64),
            FieldKind::Text { max } | FieldKind::Bytes { max } => length_bits(max) + 8 * max as u32,
        }
    }

    /// Bytes that a text or bytes may have; nothing of any other kind, whose width is fixed.
    pub const fn blob_max(self) -> Option<u16> {
        match self {
            FieldKind::Text { max } | FieldKind::Bytes { max } => Some(max),
            _ => None,
        }
    }

    /// Bytes in memory.
    pub const fn memory_bytes(self) -> usize {
        match self {
            FieldKind::U8 | FieldKind::I8 | FieldKind::Bool | FieldKind::Press | FieldKind::Enum { .. } => 1,
            FieldKind::U16 | FieldKind::I16 => 2,
            FieldKind::U32 | FieldKind::I32 | FieldKind::F32 | FieldKind::Tick => 4,
            FieldKind::U64 | FieldKind::I64 | FieldKind::Vec2 | FieldKind::Entity | FieldKind::Session => 8,
            FieldKind::Text { .. } | FieldKind::Bytes { .. } => 0,
        }
    }

    /// Whether a field of this kind may be packed so, bounds included. The derives assert it when the game is compiled.
    pub const fn accepts(self, coding: Coding) -> bool {
        match (self, coding) {
            (_, Coding::Raw) => true,
            (FieldKind::F32 | FieldKind::Vec2, Coding::Range { min, max, step }) => range_is_sound(min, max, step),
            (FieldKind::F32, Coding::Angle { bits }) => bits >= 1 && bits <= limits::MAX_ANGLE_BITS,
            (FieldKind::U8, Coding::Max(max)) => max <= u8::MAX as u64,
            (FieldKind::U16, Coding::Max(max)) => max <= u16::MAX as u64,
            (FieldKind::U32, Coding::Max(max)) => max <= u32::MAX as u64,
            (FieldKind::U64, Coding::Max(_)) => true,
            _ => false,
        }
    }

    /// Whether NaN could be sent in this coding; inputs must not allow it.
    pub const fn may_be_nan(self, coding: Coding) -> bool {
        matches!((self, coding), (FieldKind::F32 | FieldKind::Vec2, Coding::Raw))
    }
}

/// Few enough steps that every one is a different `f32`, also far from zero.
const fn range_is_sound(min: f32, max: f32, step: f32) -> bool {
    if !(min.is_finite() && max.is_finite() && step > 0.0 && step.is_finite() && max > min) {
        return false;
    }
    let (least, greatest) = (if min < 0.0 { -min } else { min }, if max < 0.0 { -max } else { max });
    let farthest = if least > greatest { least } else { greatest };
    let finest = step as f64 * limits::MAX_RANGE_STEPS as f64;
    // A step above the span would leave one code, and one finer than the floats themselves would drift.
    step as f64 <= max as f64 - min as f64 && farthest as f64 <= finest && max as f64 - min as f64 <= finest
}

/// Encodes a row from its bytes in memory (native byte order), as the component's own `encode` would.
///
/// `row` has at least `row_bytes` bytes; of a text or bytes it is the content itself, which is cut off at its greatest length.
/// Front-ends use it: they know rows, not types.
pub fn encode_row(column: &ColumnSchema, row: &[u8], to: &mut BitWriter) {
    for field in column.fields.iter().filter(|field| field.synced) {
        fields::encode_memory(field, &row[field.offset as usize..], to);
    }
}

#[cfg(test)]
mod tests;
