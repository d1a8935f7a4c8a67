//! Packs rows as front-ends do, and holds what comes out against what lies in memory.

use ringfort_protocol::bits::{BitReader, BitWriter, bits_for};
use ringfort_protocol::schema::{Coding, ColumnSchema, FieldKind, FieldSchema, encode_row};

use super::Failed;

/// Packs a row, and reads it back field by field: what comes out must be what lies in memory, since the world is quantised.
pub(super) fn encode(schema: &ColumnSchema, bytes: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut bits = BitWriter::new(Vec::new());
    encode_row(schema, bytes, &mut bits);
    let encoded = bits.finish();
    let mut from = BitReader::new(&encoded);
    for field in schema.fields.iter().filter(|field| field.synced) {
        for part in 0..1 + usize::from(field.kind == FieldKind::Vec2) {
            let lies = value_in_memory(field, &bytes[field.offset as usize + 4 * part..]);
            let packed = value_on_the_wire(field, &mut from);
            if (lies - packed).abs() > tolerance(field.coding) {
                let (column, field) = (&schema.name, &field.name);
                return Err(Failed(format!("{column}.{field} is {lies} in the world and {packed} on the wire: not quantised")));
            }
        }
    }
    Ok(encoded)
}

/// Floats far from zero are not exact to more than this share of a step.
fn tolerance(coding: Coding) -> f64 {
    match coding {
        Coding::Range { step, .. } => f64::from(step) * 0.05,
        Coding::Angle { bits } => std::f64::consts::TAU / 2f64.powi(i32::from(bits)) * 0.05,
        _ => 0.0,
    }
}

fn value_in_memory(field: &FieldSchema, bytes: &[u8]) -> f64 {
    let word = |count: usize| bytes[..count].iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let signed = |count: usize| ((word(count) << (64 - 8 * count)) as i64 >> (64 - 8 * count)) as f64;
    match field.kind {
        FieldKind::F32 | FieldKind::Vec2 => f64::from(f32::from_bits(word(4) as u32)),
        FieldKind::I8 | FieldKind::I16 | FieldKind::I32 | FieldKind::I64 => signed(field.kind.memory_bytes()),
        kind => word(kind.memory_bytes()) as f64,
    }
}

fn value_on_the_wire(field: &FieldSchema, from: &mut BitReader<'_>) -> f64 {
    let mut read = |bits: u32| from.read(bits).expect("the row was written whole");
    match (field.kind, field.coding) {
        (FieldKind::F32 | FieldKind::Vec2, Coding::Range { min, max, step }) => {
            let steps = ((f64::from(max) - f64::from(min)) / f64::from(step)).round();
            f64::from(min) + read(bits_for(steps as u64 + 1)) as f64 * (f64::from(max) - f64::from(min)) / steps
        }
        (FieldKind::F32, Coding::Angle { bits }) => {
            let turn = read(u32::from(bits)) as f64 / 2f64.powi(i32::from(bits));
            (if turn >= 0.5 { turn - 1.0 } else { turn }) * std::f64::consts::TAU
        }
        (FieldKind::F32 | FieldKind::Vec2, _) => f64::from(f32::from_bits(read(32) as u32)),
        (FieldKind::I8 | FieldKind::I16 | FieldKind::I32 | FieldKind::I64, _) => {
            let bits = 8 * field.kind.memory_bytes() as u32;
            ((read(bits) << (64 - bits)) as i64 >> (64 - bits)) as f64
        }
        (_, Coding::Max(max)) => read(bits_for(max + 1)) as f64,
        (kind, coding) => read(kind.wire_bits(coding)) as f64,
    }
}
