//! Inputs, commands and events: fields of every kind and coding, as the derives put them together.

use crate::bits::{BitReader, BitWriter};
use crate::component::{DecodeError, Field};
use crate::schema::{Coding, TAG_BITS};
use crate::{Entity, Press, SessionId, TickNo, Vec2};

const WISH: Coding = Coding::Range { min: -1.0, max: 1.0, step: 0.0625 };
const PLACE: Coding = Coding::Range { min: -256.0, max: 256.0, step: 0.01 };
const AIM: Coding = Coding::Angle { bits: 10 };
const FINE: Coding = Coding::Angle { bits: 20 };

/// Fields by the first byte's variant, each read and written as its own type.
pub fn message(data: &[u8]) {
    let mut from = BitReader::new(data);
    let Ok(tag) = from.read(TAG_BITS) else { return };
    let mut to = BitWriter::default();
    to.write(tag, TAG_BITS);
    if pass(tag % 4, &mut from, &mut to).is_ok() && from.only_padding_left() {
        assert_eq!(to.finish(), data, "variant {tag}");
    }
}

fn pass(variant: u64, from: &mut BitReader<'_>, to: &mut BitWriter) -> Result<(), DecodeError> {
    match variant {
        0 => {
            field::<Vec2>(WISH, from, to)?;
            field::<f32>(AIM, from, to)?;
            field::<Press>(Coding::Raw, from, to)?;
            field::<bool>(Coding::Raw, from, to)
        }
        1 => {
            field::<Entity>(Coding::Raw, from, to)?;
            field::<Vec2>(PLACE, from, to)?;
            field::<f32>(FINE, from, to)?;
            field::<SessionId>(Coding::Raw, from, to)
        }
        2 => {
            field::<u8>(Coding::Max(100), from, to)?;
            field::<u16>(Coding::Max(1000), from, to)?;
            field::<u32>(Coding::Max(0), from, to)?;
            field::<u64>(Coding::Max(u64::MAX), from, to)?;
            field::<u64>(Coding::Max(1 << 40), from, to)?;
            field::<TickNo>(Coding::Raw, from, to)
        }
        _ => {
            field::<i8>(Coding::Raw, from, to)?;
            field::<i16>(Coding::Raw, from, to)?;
            field::<i32>(Coding::Raw, from, to)?;
            field::<i64>(Coding::Raw, from, to)?;
            field::<u8>(Coding::Raw, from, to)?;
            field::<f32>(Coding::Raw, from, to)
        }
    }
}

/// Reads a value and writes it; quantised already, it stays what it is.
fn field<T: Field>(coding: Coding, from: &mut BitReader<'_>, to: &mut BitWriter) -> Result<(), DecodeError> {
    let mut value = T::decode(coding, from)?;
    value.encode(coding, to);
    let bits = |value: &T| {
        let mut bits = BitWriter::default();
        value.encode(coding, &mut bits);
        bits.finish()
    };
    let before = bits(&value);
    value.quantise(coding);
    assert_eq!(bits(&value), before, "{:?} in {coding:?}", T::KIND);
    let _ = (value.lerp(&value, coding, 0.5), value.distance(&value, coding));
    value.merge(&value.clone());
    value.repeat();
    Ok(())
}
