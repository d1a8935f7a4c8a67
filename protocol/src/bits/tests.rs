//! Against a model: a vector of single bits.

use super::*;
use proptest::prelude::*;

fn values() -> impl Strategy<Value = Vec<(u64, u32)>> {
    prop::collection::vec((any::<u64>(), 0..=64u32), 0..60)
}

fn model(values: &[(u64, u32)]) -> Vec<bool> {
    values.iter().flat_map(|(value, bits)| (0..*bits).map(move |bit| value >> bit & 1 == 1)).collect()
}

fn packed(model: &[bool]) -> Vec<u8> {
    model.chunks(8).map(|bits| bits.iter().enumerate().map(|(i, bit)| u8::from(*bit) << i).sum()).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read(values in values()) {
        let mut to = BitWriter::new(vec![0xaa]);
        for (value, bits) in &values {
            to.write(*value, *bits);
        }
        prop_assert_eq!(to.bit_len(), 8 + model(&values).len());
        let bytes = to.finish();
        prop_assert_eq!(&bytes[1..], packed(&model(&values)));
        let mut from = BitReader::new(&bytes[1..]);
        for (value, bits) in &values {
            prop_assert_eq!(from.read(*bits), Ok(value & mask(*bits)));
        }
        prop_assert!(from.only_padding_left());
        prop_assert_eq!(from.read(8), Err(Truncated));
    }

    #[test]
    fn a_rollback_leaves_no_trace(before in values(), undone in values(), after in values()) {
        let mut to = BitWriter::default();
        let mut straight = BitWriter::default();
        for (value, bits) in &before {
            to.write(*value, *bits);
            straight.write(*value, *bits);
        }
        let mark = to.mark();
        for (value, bits) in &undone {
            to.write(*value, *bits);
        }
        to.rollback(mark);
        for (value, bits) in &after {
            to.write(*value, *bits);
            straight.write(*value, *bits);
        }
        prop_assert_eq!(to.finish(), straight.finish());
    }

    #[test]
    fn rows_go_through_words_and_bytes(lead in 0..64u32, values in values()) {
        let mut row = BitWriter::default();
        for (value, bits) in &values {
            row.write(*value, *bits);
        }
        let mut words = Vec::new();
        let bits = row.copy_words(&mut words);
        prop_assert_eq!(bits as usize, model(&values).len());
        prop_assert_eq!(words.len(), bits.div_ceil(64) as usize);
        let mut to = BitWriter::default();
        to.write(u64::MAX, lead);
        to.append(Row { words: &words, bits });
        to.write(u64::MAX, 9);
        let bytes = to.finish();
        let mut from = BitReader::new(&bytes);
        from.read(lead).unwrap();
        let part = from.split(bits).unwrap();
        let mut copied = vec![0xff; bits.div_ceil(8) as usize];
        part.copy_to(&mut copied);
        prop_assert_eq!(&copied, &row.finish());
        let mut copied = Vec::new();
        { part }.copy_bits(bits, &mut copied).unwrap();
        prop_assert_eq!(copied, words);
        prop_assert_eq!(from.read(9), Ok(511));
    }
}

#[test]
fn bits_hold_counts() {
    let counts = [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11), (u64::MAX, 64)];
    for (count, bits) in counts {
        assert_eq!(bits_for(count), bits, "{count}");
    }
}

#[test]
fn set_padding_is_not_padding() {
    let mut from = BitReader::new(&[0b0001_0001]);
    from.read(4).unwrap();
    assert!(!from.only_padding_left());
}
