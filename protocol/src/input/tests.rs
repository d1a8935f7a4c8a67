//! The golden datagram, and everything that is refused.

use super::*;
use crate::TickNo;
use crate::limits::MAX_INPUT_BYTES;
use proptest::prelude::*;

const SEEN: View = View { tick: TickNo(0x0102), span: 3, alpha: 4 };

fn datagram(sequence: u32, inputs: &[&[u8]]) -> Vec<u8> {
    let mut to = Vec::new();
    start_inputs(&mut to, 9, sequence, AckBits { highest: 0x11, bits: 0x22 });
    inputs.iter().for_each(|input| push_input(&mut to, input, SEEN));
    finish_inputs(&mut to);
    to
}

#[test]
fn golden() {
    let mut golden = vec![2, 9, 9, 0, 0, 0, 0x11, 0, 0, 0, 0x22, 0, 0, 0, 2, 0xa1, 0xa2, 2, 1, 3, 4, 0xb1, 0xb2, 2, 1, 3, 4];
    golden.resize(40, 0);
    assert_eq!(datagram(9, &[&[0xa1, 0xa2], &[0xb1, 0xb2]]), golden);
    let read = InputDatagram::parse(&golden, 2).unwrap();
    assert_eq!((read.stay, read.sequence, read.acked), (9, 9, AckBits { highest: 0x11, bits: 0x22 }));
    let inputs: Vec<(u32, &[u8])> = read.inputs().collect();
    assert_eq!(inputs, [(9, &[0xa1, 0xa2, 2, 1, 3, 4][..]), (8, &[0xb1, 0xb2, 2, 1, 3, 4][..])]);
}

#[test]
fn an_acknowledgement_alone() {
    let read = datagram(0, &[]);
    assert_eq!(read.len(), MIN_CLIENT_DATAGRAM);
    assert_eq!(InputDatagram::parse(&read, 5).unwrap().inputs().count(), 0);
}

#[test]
fn the_largest_fits_a_datagram() {
    let input = [7; MAX_INPUT_BYTES];
    let datagram = datagram(16, &[&input[..]; MAX_INPUTS]);
    assert!(datagram.len() <= crate::limits::MAX_SNAPSHOT_BYTES);
    let read = InputDatagram::parse(&datagram, MAX_INPUT_BYTES).unwrap();
    assert_eq!(read.inputs().map(|(sequence, _)| sequence).collect::<Vec<_>>(), (1..=16).rev().collect::<Vec<_>>());
}

#[test]
fn what_is_refused() {
    let good = datagram(9, &[&[1, 2, 3]]);
    let check = |change: &dyn Fn(&mut Vec<u8>), error| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(InputDatagram::parse(&bad, 3), Err(error));
    };
    check(&|bad| bad[0] = 1, InputError::Tag);
    check(&|bad| bad.truncate(14), InputError::Length);
    check(&|bad| bad.push(0), InputError::Length);
    check(&|bad| bad[39] = 1, InputError::Trailing);
    check(&|bad| bad[14] = 17, InputError::Count);
    check(&|bad| bad[14] = 10, InputError::Count);
    check(&|bad| bad[14] = 9, InputError::Length);
    check(&|bad| bad[2] = 0, InputError::Count);
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), wire_bytes in 0..70usize) {
        if let Ok(read) = InputDatagram::parse(&bytes, wire_bytes) {
            prop_assert!(read.inputs().all(|(sequence, input)| sequence > 0 && input.len() == wire_bytes + VIEW_BYTES));
        }
    }
}
