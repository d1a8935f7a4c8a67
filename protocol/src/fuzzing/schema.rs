//! A schema from a peer, and rows read and written by it.

use super::parts;
use crate::bits::BitWriter;
use crate::client_world::ClientWorld;
use crate::limits::{MAX_ROW_BITS, MAX_SYNCED};
use crate::schema::{Schema, encode_row};
use crate::{WireLayout, codec};

/// Memory of a row that is made up to be encoded; a schema may speak of longer ones.
const ROW_BYTES_MAX: u32 = 16 << 10;
/// Entities of the match that is made up for a schema.
const ENTITIES: u32 = 64;

/// A schema, and then snapshots of a game of that schema.
pub fn schema(data: &[u8]) {
    let mut parts = parts(data);
    let Some(Ok(schema)) = parts.next().map(codec::decode::<Schema>) else { return };
    if !look_at(&schema) {
        return;
    }
    let layout = WireLayout::new(&schema).expect("it is valid");
    let mut world = ClientWorld::new(layout, ENTITIES);
    for part in parts {
        rows(&schema, part);
        if world.apply(part, |_| {}).is_err() {
            return;
        }
        world.entities().for_each(|entity| {
            let shown = (0..world.layout().columns.len()).filter_map(|wire| world.encoded(entity, wire));
            assert!(shown.map(<[u8]>::len).sum::<usize>() <= MAX_SYNCED * MAX_ROW_BITS as usize / 8);
        });
    }
}

/// Whether the schema is valid; whatever it is, it can be compared and named.
pub(super) fn look_at(schema: &Schema) -> bool {
    let ours = crate::test_game::schema();
    assert_eq!(schema.first_difference(schema), None);
    let differs = ours.first_difference(schema);
    assert_eq!(schema.first_difference(&ours).is_some(), differs.is_some());
    if differs.is_none() {
        assert_eq!(schema.hash(), ours.hash());
    }
    let valid = schema.validate().is_ok();
    assert_eq!(WireLayout::new(schema).is_ok(), valid);
    valid
}

/// Rows of all columns made of the bytes, over and over.
fn rows(schema: &Schema, bytes: &[u8]) {
    for column in schema.columns.iter().chain(&schema.globals).filter(|column| column.row_bytes <= ROW_BYTES_MAX) {
        let length = if column.blob().is_some() { bytes.len() } else { column.row_bytes as usize };
        let row: Vec<u8> = bytes.iter().copied().chain([0]).cycle().take(length).collect();
        let mut bits = BitWriter::default();
        encode_row(column, &row, &mut bits);
        assert!(bits.bit_len() <= column.wire_bits() as usize, "no row is longer than its column says");
        assert!(column.blob().is_some() || bits.bit_len() == column.wire_bits() as usize);
    }
}
