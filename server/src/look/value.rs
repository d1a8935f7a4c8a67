//! Values of fields: decoded by the schema from a row in memory or from a message's bits, shown as text and as JSON, compared, and read
//! from what an operator types.

use std::cmp::Ordering;

use ringfort_protocol::bits::BitReader;
use ringfort_protocol::schema::{Coding, FieldKind, FieldSchema};
use ringfort_protocol::{DecodeError, Entity, Field, SessionId, TickNo, Vec2};
use serde::{Serialize, Serializer};

use super::printable;

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned number.
    Unsigned(u64),
    /// A signed number.
    Signed(i64),
    /// A number with a fraction.
    Float(f32),
    /// Yes or no.
    Bool(bool),
    /// A vector.
    Pair(f32, f32),
    /// An entity, or none.
    Entity(Option<Entity>),
    /// A tick.
    Tick(u32),
    /// A session, 0 for nobody.
    Session(u64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The number of an enum's variant.
    Enum(u8),
    /// Bytes that are no value of the field's type: what, in words.
    Bad(String),
}

/// The first `N` bytes of a field; nothing when the row ends before.
fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.get(..N)?.try_into().ok()
}

impl Value {
    /// The value of a field in a row as it lies in memory, in native byte order. Texts and bytes lie elsewhere: [`Value::of_blob`].
    pub fn of_memory(field: &FieldSchema, row: &[u8]) -> Self {
        let bytes = row.get(field.offset as usize..).unwrap_or_default();
        Self::in_memory(field.kind, bytes).unwrap_or_else(|| Self::Bad("the row ends before the field".to_owned()))
    }

    fn in_memory(kind: FieldKind, bytes: &[u8]) -> Option<Self> {
        let byte = bytes.first().copied();
        let halves = || Some((array::<4>(bytes)?, array::<4>(bytes.get(4..)?)?));
        Some(match kind {
            FieldKind::U8 => Self::Unsigned(byte?.into()),
            FieldKind::U16 => Self::Unsigned(u16::from_ne_bytes(array(bytes)?).into()),
            FieldKind::U32 => Self::Unsigned(u32::from_ne_bytes(array(bytes)?).into()),
            FieldKind::U64 => Self::Unsigned(u64::from_ne_bytes(array(bytes)?)),
            FieldKind::I8 => Self::Signed((byte? as i8).into()),
            FieldKind::I16 => Self::Signed(i16::from_ne_bytes(array(bytes)?).into()),
            FieldKind::I32 => Self::Signed(i32::from_ne_bytes(array(bytes)?).into()),
            FieldKind::I64 => Self::Signed(i64::from_ne_bytes(array(bytes)?)),
            FieldKind::F32 => Self::Float(f32::from_ne_bytes(array(bytes)?)),
            FieldKind::Bool => match byte? {
                code @ (0 | 1) => Self::Bool(code == 1),
                other => Self::Bad(format!("the byte {other} is no bool")),
            },
            FieldKind::Vec2 => {
                let (x, y) = halves()?;
                Self::Pair(f32::from_ne_bytes(x), f32::from_ne_bytes(y))
            }
            FieldKind::Entity => {
                let (index, generation) = halves()?;
                Self::entity(u32::from_ne_bytes(index), u32::from_ne_bytes(generation))
            }
            FieldKind::Tick => Self::Tick(u32::from_ne_bytes(array(bytes)?)),
            FieldKind::Session => Self::Session(u64::from_ne_bytes(array(bytes)?)),
            FieldKind::Press => Self::Unsigned(byte?.into()),
            FieldKind::Enum { variants } => match byte? {
                code if code < variants => Self::Enum(code),
                other => Self::Bad(format!("the byte {other} is none of the enum's {variants} variants")),
            },
            FieldKind::Text { .. } | FieldKind::Bytes { .. } => Self::Bad("it does not lie in the row".to_owned()),
        })
    }

    /// The value of a text or bytes by its content.
    pub fn of_blob(kind: FieldKind, content: &[u8]) -> Self {
        match (kind, std::str::from_utf8(content)) {
            (FieldKind::Text { .. }, Ok(text)) => Self::Text(text.to_owned()),
            (FieldKind::Text { .. }, Err(_)) => Self::Bad(format!("{} bytes that are no UTF-8", content.len())),
            _ => Self::Bytes(content.to_owned()),
        }
    }

    /// The value of a field of a message.
    pub fn of_wire(field: &FieldSchema, from: &mut BitReader<'_>) -> Result<Self, DecodeError> {
        let coding = field.coding;
        Ok(match field.kind {
            FieldKind::U8 => Self::Unsigned(u8::decode(coding, from)?.into()),
            FieldKind::U16 => Self::Unsigned(u16::decode(coding, from)?.into()),
            FieldKind::U32 => Self::Unsigned(u32::decode(coding, from)?.into()),
            FieldKind::U64 => Self::Unsigned(u64::decode(coding, from)?),
            FieldKind::I8 => Self::Signed(i8::decode(coding, from)?.into()),
            FieldKind::I16 => Self::Signed(i16::decode(coding, from)?.into()),
            FieldKind::I32 => Self::Signed(i32::decode(coding, from)?.into()),
            FieldKind::I64 => Self::Signed(i64::decode(coding, from)?),
            FieldKind::F32 => Self::Float(f32::decode(coding, from)?),
            FieldKind::Bool => Self::Bool(bool::decode(coding, from)?),
            FieldKind::Vec2 => {
                let Vec2 { x, y } = Vec2::decode(coding, from)?;
                Self::Pair(x, y)
            }
            FieldKind::Entity => {
                let Entity { index, generation } = Entity::decode(coding, from)?;
                Self::entity(index, generation)
            }
            FieldKind::Tick => Self::Tick(TickNo::decode(coding, from)?.0),
            FieldKind::Session => Self::Session(SessionId::decode(coding, from)?.0),
            FieldKind::Press => Self::Unsigned(from.read(field.kind.wire_bits(coding))?),
            FieldKind::Enum { variants } => match from.read(field.kind.wire_bits(coding))? {
                code if code < u64::from(variants) => Self::Enum(code as u8),
                _ => return Err(DecodeError::OutOfRange),
            },
            // No message has them.
            FieldKind::Text { .. } | FieldKind::Bytes { .. } => return Err(DecodeError::OutOfRange),
        })
    }

    fn entity(index: u32, generation: u32) -> Self {
        Self::Entity((generation != 0).then_some(Entity { index, generation }))
    }

    /// Whether it is a value that a game expects: nothing damaged, and no number that is none.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Float(n) => n.is_finite(),
            Self::Pair(x, y) => x.is_finite() && y.is_finite(),
            other => !matches!(other, Self::Bad(_)),
        }
    }

    /// As a whole number, if it is one.
    pub fn whole(&self) -> Option<i128> {
        match *self {
            Self::Unsigned(n) | Self::Session(n) => Some(n.into()),
            Self::Signed(n) => Some(n.into()),
            Self::Tick(n) => Some(n.into()),
            Self::Enum(n) => Some(n.into()),
            Self::Bool(yes) => Some(yes.into()),
            _ => None,
        }
    }

    /// As a number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match *self {
            Self::Float(n) => Some(n.into()),
            _ => self.whole().map(|n| n as f64),
        }
    }

    /// The order of two values; nothing when they have none, as numbers and texts, or NaN.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Entity(a), Self::Entity(b)) => Some(a.cmp(b)),
            (Self::Pair(a, b), Self::Pair(c, d)) => (a, b).partial_cmp(&(c, d)),
            (a, b) => match (a.whole(), b.whole()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => a.number()?.partial_cmp(&b.number()?),
            },
        }
    }

    /// The bytes in memory of a value that an operator has typed for a field, once its type and its range were checked.
    pub fn to_memory(field: &FieldSchema, text: &str) -> Result<Vec<u8>, WrongValue> {
        let wrong = |wants: &str| WrongValue { value: text.to_owned(), kind: describe(field.kind), wants: wants.to_owned() };
        let unsigned = |least_bytes: usize| {
            let most = u64::MAX >> (64 - 8 * least_bytes);
            let most = if let Coding::Max(max) = field.coding { max.min(most) } else { most };
            let number = text.parse::<u64>().ok().filter(|n| *n <= most);
            number.ok_or_else(|| wrong(&format!("a whole number from 0 to {most}")))
        };
        let signed = |bytes: u32| {
            let most = i64::MAX >> (64 - 8 * bytes);
            let number = text.parse::<i64>().ok().filter(|n| (-most - 1..=most).contains(n));
            number.ok_or_else(|| wrong(&format!("a whole number from {} to {most}", -most - 1)))
        };
        let float = |text: &str| {
            let number = text.trim().parse::<f32>().ok().filter(|n| n.is_finite());
            let (fits, wants) = match field.coding {
                Coding::Range { min, max, .. } => {
                    (number.is_some_and(|n| (min..=max).contains(&n)), format!("a number from {min} to {max}"))
                }
                _ => (number.is_some(), "a number".to_owned()),
            };
            let wants = if field.kind == FieldKind::Vec2 { format!("X,Y, each of them {wants}") } else { wants };
            number.filter(|_| fits).ok_or_else(|| wrong(&wants))
        };
        Ok(match field.kind {
            FieldKind::U8 => vec![unsigned(1)? as u8],
            FieldKind::U16 => (unsigned(2)? as u16).to_ne_bytes().to_vec(),
            FieldKind::U32 | FieldKind::Tick => (unsigned(4)? as u32).to_ne_bytes().to_vec(),
            FieldKind::U64 | FieldKind::Session => unsigned(8)?.to_ne_bytes().to_vec(),
            FieldKind::I8 => vec![signed(1)? as u8],
            FieldKind::I16 => (signed(2)? as i16).to_ne_bytes().to_vec(),
            FieldKind::I32 => (signed(4)? as i32).to_ne_bytes().to_vec(),
            FieldKind::I64 => signed(8)?.to_ne_bytes().to_vec(),
            FieldKind::F32 => float(text)?.to_ne_bytes().to_vec(),
            FieldKind::Bool => vec![u8::from(parse_bool(text).ok_or_else(|| wrong("true or false"))?)],
            FieldKind::Vec2 => {
                let (x, y) = text.split_once(',').ok_or_else(|| wrong("X,Y"))?;
                [float(x)?.to_ne_bytes(), float(y)?.to_ne_bytes()].concat()
            }
            FieldKind::Entity => {
                let entity = parse_entity(text).ok_or_else(|| wrong("an entity as INDEX.GENERATION, or none"))?;
                let Entity { index, generation } = entity.unwrap_or(Entity::NONE);
                [index.to_ne_bytes(), generation.to_ne_bytes()].concat()
            }
            FieldKind::Press => {
                let number = text.parse::<u8>().ok().filter(|n| *n <= PRESS_MAX);
                vec![number.ok_or_else(|| wrong("0 (up), 1 (held), 2 (pressed and up again) or 3 (just pressed)"))?]
            }
            FieldKind::Enum { variants } => {
                let number = text.parse::<u8>().ok().filter(|n| *n < variants);
                vec![number.ok_or_else(|| wrong(&format!("the variant's number, from 0 to {}", variants.saturating_sub(1))))?]
            }
            FieldKind::Text { .. } | FieldKind::Bytes { .. } => {
                return Err(wrong("nothing: texts and bytes cannot be set, only fields of a fixed size"));
            }
        })
    }
}

/// The largest number of a button's state: held, and just pressed. Both are a bit: merged inputs may have pressed it and let it go.
const PRESS_MAX: u8 = 3;

/// What was typed is no value of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is no value of a field of type {kind}, which takes {wants}")]
pub struct WrongValue {
    /// What was typed.
    pub value: String,
    /// The field's type.
    pub kind: String,
    /// What it takes.
    pub wants: String,
}

/// Yes or no as it is typed.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// An entity as it is typed and shown, `none` for none.
pub fn parse_entity(text: &str) -> Option<Option<Entity>> {
    if text == "none" {
        return Some(None);
    }
    let (index, generation) = text.split_once('.')?;
    let entity = Entity { index: index.parse().ok()?, generation: generation.parse().ok()? };
    (entity.generation != 0).then_some(Some(entity))
}

/// A type in words.
pub fn describe(kind: FieldKind) -> String {
    match kind {
        FieldKind::Enum { variants } => format!("enum of {variants}"),
        FieldKind::Text { max } => format!("text of at most {max} bytes"),
        FieldKind::Bytes { max } => format!("at most {max} bytes"),
        FieldKind::F32 => "f32".to_owned(),
        FieldKind::Vec2 => "Vec2".to_owned(),
        other => {
            let name = format!("{other:?}");
            if name.contains(|c: char| c.is_ascii_digit()) { name.to_lowercase() } else { name }
        }
    }
}

/// An entity as it is shown everywhere.
pub fn entity_text(index: u32, generation: u32) -> String {
    format!("{index}.{generation}")
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(n) | Self::Session(n) => write!(f, "{n}"),
            Self::Signed(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Pair(x, y) => write!(f, "{x},{y}"),
            Self::Entity(None) => write!(f, "none"),
            Self::Entity(Some(e)) => f.write_str(&entity_text(e.index, e.generation)),
            Self::Tick(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(&printable(text)),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Enum(n) => write!(f, "{n}"),
            Self::Bad(why) => write!(f, "damaged ({why})"),
        }
    }
}

/// Numbers as numbers, a vector as a list of two, an entity as text or null, bytes as hexadecimal text, what is damaged as `{"bad": why}`.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(n) | Self::Session(n) => to.serialize_u64(*n),
            Self::Signed(n) => to.serialize_i64(*n),
            Self::Float(n) => Number(*n).serialize(to),
            Self::Bool(yes) => to.serialize_bool(*yes),
            Self::Pair(x, y) => [Number(*x), Number(*y)].serialize(to),
            Self::Entity(None) => to.serialize_none(),
            Self::Entity(Some(_)) | Self::Bytes(_) => to.collect_str(self),
            Self::Tick(n) => to.serialize_u32(*n),
            Self::Text(text) => to.serialize_str(text),
            Self::Enum(n) => to.serialize_u8(*n),
            Self::Bad(why) => to.collect_map([("bad", why)]),
        }
    }
}

/// JSON has no NaN and no infinity: they are texts.
struct Number(f32);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { to.serialize_f32(self.0) } else { to.collect_str(&self.0) }
    }
}

#[cfg(test)]
#[path = "value/tests.rs"]
mod tests;
