//! The datagram up: what a player does, as often as it takes to arrive.
//!
//! ```text
//! [0x02][stay u8][sequence u32][acked tick u32][acked bits u32][count u8]
//! [count x (input, view 4 bytes), newest first][zeros up to 40 bytes]
//! ```
//! Every datagram repeats the inputs that the server has not acknowledged. Their sequences descend by one from
//! `sequence`. `stay` says which join of the connection it belongs to. A datagram without inputs carries the acknowledgement alone.
//! An input goes with what the player saw when it gave it ([`crate::View`]), and stays together with it up to the tick that applies
//! it.

use crate::AckBits;
use crate::limits::{MAX_INPUTS, MIN_CLIENT_DATAGRAM};
use crate::view::{VIEW_BYTES, View};

/// First byte of the datagram.
pub const INPUT_TAG: u8 = 0x02;
/// Bytes before the first input.
pub const HEADER_BYTES: usize = 1 + 1 + 4 + 4 + 4 + 1;

/// A datagram of a client that is no input. It is dropped and counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InputError {
    /// Another first byte.
    #[error("the datagram is no input")]
    Tag,
    /// Not as long as its count says.
    #[error("the datagram has the wrong length")]
    Length,
    /// More inputs than allowed, or than there are sequences.
    #[error("the datagram has an impossible count of inputs")]
    Count,
    /// The bytes behind the inputs are not zero.
    #[error("there is something behind the inputs")]
    Trailing,
}

/// A checked input datagram; the inputs themselves are still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputDatagram<'a> {
    /// Which join of the connection it belongs to; of an earlier one it is of no use any more.
    pub stay: u8,
    /// Sequence of the newest input; 0 if there never was one.
    pub sequence: u32,
    /// Ticks whose snapshots the client has applied.
    pub acked: AckBits,
    inputs: &'a [u8],
    /// Bytes of one input with its view.
    stride: usize,
}

impl<'a> InputDatagram<'a> {
    /// Checks a datagram whose inputs have `wire_bytes` each, their views not counted.
    pub fn parse(datagram: &'a [u8], wire_bytes: usize) -> Result<InputDatagram<'a>, InputError> {
        let (header, rest) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(InputError::Length)?;
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[0] != INPUT_TAG {
            return Err(InputError::Tag);
        }
        let (sequence, acked) = (word(2), AckBits { highest: word(6), bits: word(10) });
        let count = usize::from(header[14]);
        if count > MAX_INPUTS || count as u64 > u64::from(sequence) {
            return Err(InputError::Count);
        }
        let stride = wire_bytes + VIEW_BYTES;
        let used = count * stride;
        if datagram.len() != (HEADER_BYTES + used).max(MIN_CLIENT_DATAGRAM) {
            return Err(InputError::Length);
        }
        let (inputs, padding) = rest.split_at(used);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(InputError::Trailing);
        }
        Ok(InputDatagram { stay: header[1], sequence, acked, inputs, stride })
    }

    /// The inputs, newest first: sequence, and encoding followed by the view. Both go into the inbox as they are.
    pub fn inputs(&self) -> impl DoubleEndedIterator<Item = (u32, &'a [u8])> + ExactSizeIterator + use<'a> {
        let newest = self.sequence;
        self.inputs.chunks_exact(self.stride).enumerate().map(move |(i, input)| (newest - i as u32, input))
    }
}

/// Starts a datagram in `to`, whose memory is used again. Append the inputs with [`push_input`], newest first, then
/// [`finish_inputs`].
pub fn start_inputs(to: &mut Vec<u8>, stay: u8, sequence: u32, acked: AckBits) {
    to.clear();
    to.push(INPUT_TAG);
    to.push(stay);
    to.extend_from_slice(&sequence.to_le_bytes());
    to.extend_from_slice(&acked.highest.to_le_bytes());
    to.extend_from_slice(&acked.bits.to_le_bytes());
    to.push(0);
}

/// Appends the next older input; the datagram must have fewer than [`MAX_INPUTS`].
pub fn push_input(to: &mut Vec<u8>, encoded: &[u8], view: View) {
    debug_assert!(usize::from(to[HEADER_BYTES - 1]) < MAX_INPUTS);
    to[HEADER_BYTES - 1] += 1;
    to.extend_from_slice(encoded);
    to.extend_from_slice(&view.to_bytes());
}

/// Pads the datagram to its least size.
pub fn finish_inputs(to: &mut Vec<u8>) {
    if to.len() < MIN_CLIENT_DATAGRAM {
        to.resize(MIN_CLIENT_DATAGRAM, 0);
    }
}

#[cfg(test)]
mod tests;
