//! The types that may be fields: each one packed from its value, and from its bytes in a row in memory.

use crate::bits::{BitReader, BitWriter};
use crate::component::{DecodeError, Field};
use crate::math::lerp_angle;
use crate::quantise::{clamp_unsigned, decode_f32, encode_f32, f32_bits};
use crate::schema::{Coding, FieldKind, FieldSchema, length_bits};
use crate::{Entity, Press, SessionId, TickNo, Vec2};

/// Encodes one field from its bytes in memory.
pub(crate) fn encode_memory(field: &FieldSchema, bytes: &[u8], to: &mut BitWriter) {
    let coding = field.coding;
    match field.kind {
        FieldKind::U8 => bytes[0].encode(coding, to),
        FieldKind::U16 => u16::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::U32 => u32::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::U64 => u64::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::I8 => i8::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::I16 => i16::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::I32 => i32::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::I64 => i64::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::F32 => f32::from_ne_bytes(array(bytes)).encode(coding, to),
        FieldKind::Bool => (bytes[0] != 0).encode(coding, to),
        FieldKind::Vec2 => {
            let (x, y) = halves(bytes);
            Vec2 { x: f32::from_ne_bytes(x), y: f32::from_ne_bytes(y) }.encode(coding, to);
        }
        FieldKind::Entity => {
            let (index, generation) = halves(bytes);
            let (index, generation) = (u32::from_ne_bytes(index), u32::from_ne_bytes(generation));
            Entity { index, generation }.encode(coding, to);
        }
        FieldKind::Tick => TickNo(u32::from_ne_bytes(array(bytes))).encode(coding, to),
        FieldKind::Session => SessionId(u64::from_ne_bytes(array(bytes))).encode(coding, to),
        FieldKind::Press => Press::from_bits(bytes[0]).encode(coding, to),
        FieldKind::Enum { .. } => to.write(u64::from(bytes[0]), field.kind.wire_bits(coding)),
        FieldKind::Text { max } | FieldKind::Bytes { max } => {
            let content = &bytes[..bytes.len().min(usize::from(max))];
            to.write(content.len() as u64, length_bits(max));
            content.iter().for_each(|byte| to.write(u64::from(*byte), 8));
        }
    }
}

/// The first `N` bytes; rows are as long as their schema says, which was checked when the schema was taken.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

/// The two words of a pair of 32-bit fields (`repr(C)`).
fn halves(bytes: &[u8]) -> ([u8; 4], [u8; 4]) {
    (array(bytes), array(&bytes[4..]))
}

macro_rules! unsigned {
    ($($type:ty => $kind:ident),*) => {$(
        impl Field for $type {
            const KIND: FieldKind = FieldKind::$kind;

            #[inline]
            fn encode(&self, coding: Coding, to: &mut BitWriter) {
                to.write(clamp_unsigned(u64::from(*self), coding), Self::KIND.wire_bits(coding));
            }

            #[inline]
            fn decode(coding: Coding, from: &mut BitReader<'_>) -> Result<Self, DecodeError> {
                let value = from.read(Self::KIND.wire_bits(coding))?;
                if clamp_unsigned(value, coding) != value {
                    return Err(DecodeError::OutOfRange);
                }
                Ok(value as $type)
            }

            #[inline]
            fn quantise(&mut self, coding: Coding) {
                *self = clamp_unsigned(u64::from(*self), coding) as $type;
            }

            fn unsynced() -> Self {
                0
            }
        }
    )*};
}
unsigned!(u8 => U8, u16 => U16, u32 => U32, u64 => U64);

macro_rules! as_word {
    ($($type:ty => $kind:ident, |$value:ident| $encode:expr, |$word:ident| $decode:expr);* $(;)?) => {$(
        impl Field for $type {
            const KIND: FieldKind = FieldKind::$kind;

            #[inline]
            fn encode(&self, coding: Coding, to: &mut BitWriter) {
                let $value = *self;
                to.write($encode, Self::KIND.wire_bits(coding));
            }

            #[inline]
            fn decode(coding: Coding, from: &mut BitReader<'_>) -> Result<Self, DecodeError> {
                let $word = from.read(Self::KIND.wire_bits(coding))?;
                Ok($decode)
            }

            #[inline]
            fn quantise(&mut self, _coding: Coding) {}

            fn unsynced() -> Self {
                Self::default()
            }
        }
    )*};
}
as_word! {
    i8 => I8, |v| v as u64, |word| word as i8;
    i16 => I16, |v| v as u64, |word| word as i16;
    i32 => I32, |v| v as u64, |word| word as i32;
    i64 => I64, |v| v as u64, |word| word as i64;
    Entity => Entity, |v| u64::from(v.index) | u64::from(v.generation) << 32,
        |word| Entity { index: word as u32, generation: (word >> 32) as u32 };
    TickNo => Tick, |v| u64::from(v.0), |word| TickNo(word as u32);
    SessionId => Session, |v| v.0, |word| SessionId(word);
}

impl Field for bool {
    const KIND: FieldKind = FieldKind::Bool;

    #[inline]
    fn encode(&self, coding: Coding, to: &mut BitWriter) {
        to.write(u64::from(*self), Self::KIND.wire_bits(coding));
    }

    #[inline]
    fn decode(coding: Coding, from: &mut BitReader<'_>) -> Result<bool, DecodeError> {
        Ok(from.read(Self::KIND.wire_bits(coding))? != 0)
    }

    fn quantise(&mut self, _coding: Coding) {}

    fn unsynced() -> bool {
        false
    }

    fn valid(bytes: &[u8]) -> bool {
        matches!(bytes, [0 | 1])
    }
}

impl Field for f32 {
    const KIND: FieldKind = FieldKind::F32;

    #[inline]
    fn encode(&self, coding: Coding, to: &mut BitWriter) {
        to.write(encode_f32(*self, coding), f32_bits(coding));
    }

    #[inline]
    fn decode(coding: Coding, from: &mut BitReader<'_>) -> Result<f32, DecodeError> {
        decode_f32(from.read(f32_bits(coding))?, coding).ok_or(DecodeError::OutOfRange)
    }

    #[inline]
    fn quantise(&mut self, coding: Coding) {
        if coding != Coding::Raw {
            *self = decode_f32(encode_f32(*self, coding), coding).unwrap_or(*self);
        }
    }

    fn unsynced() -> f32 {
        0.0
    }

    #[inline]
    fn lerp(&self, to: &f32, coding: Coding, alpha: f32) -> f32 {
        match coding {
            Coding::Angle { .. } => lerp_angle(*self, *to, alpha),
            _ => self + (to - self) * alpha,
        }
    }

    #[inline]
    fn distance(&self, to: &f32, coding: Coding) -> f32 {
        match coding {
            Coding::Angle { .. } => 0.0,
            _ => (to - self).abs(),
        }
    }
}

impl Field for Vec2 {
    const KIND: FieldKind = FieldKind::Vec2;

    #[inline]
    fn encode(&self, coding: Coding, to: &mut BitWriter) {
        self.x.encode(coding, to);
        self.y.encode(coding, to);
    }

    #[inline]
    fn decode(coding: Coding, from: &mut BitReader<'_>) -> Result<Vec2, DecodeError> {
        Ok(Vec2 { x: f32::decode(coding, from)?, y: f32::decode(coding, from)? })
    }

    #[inline]
    fn quantise(&mut self, coding: Coding) {
        self.x.quantise(coding);
        self.y.quantise(coding);
    }

    fn unsynced() -> Vec2 {
        Vec2::ZERO
    }

    #[inline]
    fn lerp(&self, to: &Vec2, _coding: Coding, alpha: f32) -> Vec2 {
        *self + (*to - *self) * alpha
    }

    #[inline]
    fn distance(&self, to: &Vec2, _coding: Coding) -> f32 {
        (*to - *self).length()
    }
}

impl Field for Press {
    const KIND: FieldKind = FieldKind::Press;

    #[inline]
    fn encode(&self, coding: Coding, to: &mut BitWriter) {
        to.write(u64::from(self.bits()), Self::KIND.wire_bits(coding));
    }

    #[inline]
    fn decode(coding: Coding, from: &mut BitReader<'_>) -> Result<Press, DecodeError> {
        Ok(Press::from_bits(from.read(Self::KIND.wire_bits(coding))? as u8))
    }

    fn quantise(&mut self, _coding: Coding) {}

    fn unsynced() -> Press {
        Press::default()
    }

    fn after(&mut self, previous: &Press) {
        *self = Press::after(*self, *previous);
    }

    fn repeat(&mut self) {
        *self = self.repeated();
    }

    fn merge(&mut self, earlier: &Press) {
        *self = Press::merge(*self, *earlier);
    }
}
