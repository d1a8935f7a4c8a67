//! Control messages to bytes and back, and the frames that carry them: a `u16` length and the body.
//!
//! The only place that knows bincode: integers of fixed width, little endian, bounded, and nothing may follow a message.
//! Golden byte vectors in the tests hold the format fixed, whatever crate writes it.

use crate::limits::MAX_FRAME;
use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

/// Bytes of a frame's length.
pub const FRAME_HEADER_BYTES: usize = 2;

/// A message that can't be sent: a mistake of our own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is longer than a frame may be.
    #[error("the message is longer than {MAX_FRAME} bytes")]
    TooLong,
    /// Its type can't be written in this format.
    #[error("the message has a type that the wire can't carry")]
    Unsupported,
}

/// Bytes of a peer that are no message. The connection is closed with `BadMessage` and counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// Longer than a frame may be.
    #[error("the message is longer than {MAX_FRAME} bytes")]
    TooLong,
    /// Not a message of the expected type, or something behind it.
    #[error("the bytes are no message")]
    Malformed,
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(MAX_FRAME as u64)
        .reject_trailing_bytes()
}

/// Appends the message to `bytes`.
pub fn encode<T: Serialize>(message: &T, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    let length = bytes.len();
    options().serialize_into(&mut *bytes, message).map_err(|error| {
        bytes.truncate(length);
        match *error {
            bincode::ErrorKind::SizeLimit => EncodeError::TooLong,
            _ => EncodeError::Unsupported,
        }
    })
}

/// Reads a message that takes up all of `bytes`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MAX_FRAME {
        return Err(CodecError::TooLong);
    }
    options().deserialize(bytes).map_err(|_| CodecError::Malformed)
}

/// Appends the message to `bytes` as one frame.
pub fn encode_frame<T: Serialize>(message: &T, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    if let Err(error) = encode(message, bytes) {
        bytes.truncate(start);
        return Err(error);
    }
    let length = (bytes.len() - start - FRAME_HEADER_BYTES) as u16;
    bytes[start..start + FRAME_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The body of the first frame in `bytes` and the number of bytes it takes up with its length, if it is complete.
pub fn split_frame(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, CodecError> {
    let Some(header) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_le_bytes(*header));
    if length > max {
        return Err(CodecError::TooLong);
    }
    let end = FRAME_HEADER_BYTES + length;
    Ok(bytes.get(FRAME_HEADER_BYTES..end).map(|body| (body, end)))
}

const _: () = assert!(MAX_FRAME <= u16::MAX as usize);

#[cfg(test)]
mod tests;
