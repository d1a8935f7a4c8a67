//! What the derives implement: how a game's types become fields of the schema and bits on the wire, at a fixed width.

use crate::Entity;
use crate::bits::{BitReader, BitWriter, Truncated};
use crate::schema::{Coding, FieldKind, FieldSchema, Schema, VariantSchema, wire_bits};
use std::marker::PhantomData;

/// Bits that are no value of the type. From a client: the message is refused and counted; from a server: the client closes
/// with `BadMessage`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bits end in the middle of a value.
    #[error("the bits end in the middle of a value")]
    Truncated,
    /// A code that no value has.
    #[error("a value is out of its range")]
    OutOfRange,
    /// The tag of no variant.
    #[error("no variant has this tag")]
    UnknownVariant,
    /// More bits than the value has.
    #[error("there is something behind the value")]
    Trailing,
}

impl From<Truncated> for DecodeError {
    fn from(_: Truncated) -> DecodeError {
        DecodeError::Truncated
    }
}

/// A row of a column, or a global. Made by `#[derive(Component)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no component",
    label = "not a row of a column or a global",
    note = "write `#[derive(Component, Clone, Copy)]` above it"
)]
pub trait Component: Copy + 'static {
    /// The type's name.
    const NAME: &'static str;

    /// Its fields in order.
    fn fields() -> Vec<FieldSchema>;

    /// Appends the synced fields.
    fn encode(&self, to: &mut BitWriter);

    /// Reads the synced fields; the others are their type's zero.
    fn decode(from: &mut BitReader<'_>) -> Result<Self, DecodeError>;

    /// Replaces every synced field by the value that its encoding says, so that server and client hold the same.
    fn quantise(&mut self);

    /// The row a part `alpha` of the way from this one to another: numbers and vectors in a straight line, angles along the shorter
    /// arc, and everything else as it is here until the way is done. Exactly this row up to 0, and exactly the other from 1 on.
    fn lerp(&self, to: &Self, alpha: f32) -> Self {
        if alpha >= 1.0 { *to } else { *self }
    }

    /// How far two rows are apart: the distance between their fields `pos`; without one the largest distance between their vectors, or
    /// between their numbers if there are no vectors. Angles do not count.
    fn distance(&self, to: &Self) -> f32 {
        let _ = to;
        0.0
    }

    /// Whether these bytes, as many as a row has in memory, are one: no `bool` and no enum among them has a value that its type
    /// does not have. Rows that another process has written are looked at so before they are used as a type.
    fn valid(row: &[u8]) -> bool {
        let _ = row;
        true
    }
}

/// [`Component::distance`] of a component from the distances of its fields.
pub fn farthest<const N: usize>(fields: [(FieldKind, f32); N]) -> f32 {
    let largest = |vectors: bool| {
        let of_kind = fields.iter().filter(|(kind, _)| (*kind == FieldKind::Vec2) == vectors);
        of_kind.map(|(_, distance)| *distance).reduce(f32::max)
    };
    largest(true).or_else(|| largest(false)).unwrap_or(0.0)
}

/// What a player sends every tick. Made by `#[derive(Input)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no input",
    note = "write `#[derive(Input, Clone, Copy, Default)]` above it"
)]
pub trait Input: Copy + Default + 'static {
    /// Its fields in order; offsets are those in memory.
    fn fields() -> Vec<FieldSchema>;

    /// Appends all fields.
    fn encode(&self, to: &mut BitWriter);

    /// Reads all fields.
    fn decode(from: &mut BitReader<'_>) -> Result<Self, DecodeError>;

    /// Replaces every field by the value that its encoding says.
    fn quantise(&mut self);

    /// Takes away the edge of every button that `previous` held already; a client calls it before it sends.
    fn after(&mut self, previous: &Self);

    /// Takes away the edge of every button: the input is applied once more.
    fn repeat(&mut self);

    /// Adds the edges of an `earlier` input that is applied together with this one.
    fn merge(&mut self, earlier: &Self);

    /// Bytes of one encoded input.
    fn wire_bytes() -> usize {
        wire_bits(&Self::fields()).div_ceil(8) as usize
    }

    /// Appends the input to `bytes`: exactly [`Input::wire_bytes`].
    fn to_wire(&self, bytes: &mut Vec<u8>) {
        let mut to = BitWriter::new(std::mem::take(bytes));
        self.encode(&mut to);
        *bytes = to.finish();
    }

    /// Reads an input from exactly its bytes.
    fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }
}

/// A command or an event: an 8-bit tag and the variant's fields. Made by `#[derive(Message)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no command and no event",
    note = "write `#[derive(Message, Clone, Copy)]` above an enum, or use `()` for none"
)]
pub trait Message: Copy + 'static {
    /// All variants, in the order of their tags.
    fn variants() -> Vec<VariantSchema>;

    /// The tag of this one.
    fn variant(&self) -> usize;

    /// Whether this variant is kept until the client acknowledges it.
    fn reliable(&self) -> bool;

    /// Which of the `#[predicted]` variants this is, and the entity whose owner may show it before the server says it: its
    /// first `Entity` field. Nothing for any other variant.
    fn predicted(&self) -> Option<(usize, Entity)> {
        None
    }

    /// Appends tag and fields.
    fn encode(&self, to: &mut BitWriter);

    /// Reads tag and fields.
    fn decode(from: &mut BitReader<'_>) -> Result<Self, DecodeError>;

    /// Appends the message to `bytes`, padded to whole ones.
    fn to_wire(&self, bytes: &mut Vec<u8>) {
        let mut to = BitWriter::new(std::mem::take(bytes));
        self.encode(&mut to);
        *bytes = to.finish();
    }

    /// Reads a message from exactly its bytes.
    fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }
}

/// For a game without commands or events.
impl Message for () {
    fn variants() -> Vec<VariantSchema> {
        vec![VariantSchema { name: "Nothing".to_owned(), reliable: false, predicted: false, fields: Vec::new() }]
    }

    fn variant(&self) -> usize {
        0
    }

    fn reliable(&self) -> bool {
        false
    }

    fn encode(&self, to: &mut BitWriter) {
        to.write(0, crate::schema::TAG_BITS);
    }

    fn decode(from: &mut BitReader<'_>) -> Result<(), DecodeError> {
        match from.read(crate::schema::TAG_BITS)? {
            0 => Ok(()),
            _ => Err(DecodeError::UnknownVariant),
        }
    }
}

/// What a timer carries until it rings. Made by `#[derive(Timer)]`. It never leaves the server, so its encoding is bytes
/// in the committed world, not part of the schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no payload of a timer",
    note = "write `#[derive(Timer, Clone, Copy)]` above an enum, or use `()` for none"
)]
pub trait TimerPayload: Copy + 'static {
    /// Its variants, in the order of their tags.
    fn variants() -> Vec<VariantSchema>;

    /// Appends tag and fields.
    fn encode(&self, to: &mut BitWriter);

    /// Reads tag and fields.
    fn decode(from: &mut BitReader<'_>) -> Result<Self, DecodeError>;

    /// Bytes of the longest variant.
    fn max_bytes() -> usize;
}

/// For a game without timers.
impl TimerPayload for () {
    fn variants() -> Vec<VariantSchema> {
        Vec::new()
    }

    fn encode(&self, _to: &mut BitWriter) {}

    fn decode(_from: &mut BitReader<'_>) -> Result<(), DecodeError> {
        Ok(())
    }

    fn max_bytes() -> usize {
        0
    }
}

/// A type that may be a field of a component, an input or a message: numbers, `bool`, `Vec2`, `Entity`, `TickNo`,
/// `SessionId`, `Press`, and fieldless enums with `#[derive(Component)]`. None of them has padding in memory, and what
/// implements this besides must have none either: its bytes stand in pages that processes share.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a field of a component, an input or a message",
    label = "not a field on the wire",
    note = "fields are numbers, `bool`, `Press`, `Vec2`, `Entity`, `SessionId`, `TickNo`, and enums with `#[derive(Component)] #[repr(u8)]`",
    note = "texts and bytes are a column of their own: `#[max(24)] name: Blobs<str>`"
)]
pub trait Field: Copy + 'static {
    /// What it is in the schema.
    const KIND: FieldKind;

    /// Appends `KIND.wire_bits(coding)` bits.
    fn encode(&self, coding: Coding, to: &mut BitWriter);

    /// Reads as many.
    fn decode(coding: Coding, from: &mut BitReader<'_>) -> Result<Self, DecodeError>;

    /// Replaces the value by what its encoding says.
    fn quantise(&mut self, coding: Coding);

    /// What a client has in place of a field that isn't synced.
    fn unsynced() -> Self;

    /// [`Component::lerp`] for one field, between 0 and 1.
    fn lerp(&self, to: &Self, coding: Coding, alpha: f32) -> Self {
        let _ = (to, coding, alpha);
        *self
    }

    /// [`Component::distance`] for one field; only numbers with a fraction and vectors have one.
    fn distance(&self, to: &Self, coding: Coding) -> f32 {
        let _ = (to, coding);
        0.0
    }

    /// [`Component::valid`] for one field, by its bytes in memory.
    fn valid(bytes: &[u8]) -> bool {
        let _ = bytes;
        true
    }

    /// [`Input::after`] for one field; only buttons have an edge to take away.
    fn after(&mut self, previous: &Self) {
        let _ = previous;
    }

    /// [`Input::repeat`] for one field.
    fn repeat(&mut self) {}

    /// [`Input::merge`] for one field.
    fn merge(&mut self, earlier: &Self) {
        let _ = earlier;
    }
}

/// A game as its client sees it.
pub trait Wire: 'static {
    /// What a player sends every tick.
    type Input: Input;
    /// What a player asks for now and then.
    type Command: Message;
    /// What the game tells players.
    type Event: Message;

    /// The game's schema, made once.
    fn schema() -> &'static Schema;
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name<T> {
            /// Index in the schema's list.
            pub index: u16,
            row: PhantomData<fn() -> T>,
        }

        impl<T> $name<T> {
            /// The handle of the `index`-th. Made by `#[derive(State)]`, which knows the type.
            pub const fn new(index: u16) -> $name<T> {
                $name { index, row: PhantomData }
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> $name<T> {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.index)
            }
        }
    };
}
handle! {
    /// A column with rows of type `T`.
    ColumnId
}
handle! {
    /// A global of type `T`.
    GlobalId
}

/// Decodes a value that takes up all of `bytes` but the padding.
fn whole<T>(bytes: &[u8], decode: impl FnOnce(&mut BitReader<'_>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let mut from = BitReader::new(bytes);
    let value = decode(&mut from)?;
    if from.only_padding_left() { Ok(value) } else { Err(DecodeError::Trailing) }
}
