//! Memory that datagrams are cut from.

use bytes::{Bytes, BytesMut};

/// One allocation that serves many datagrams, and serves again as soon as all of them are gone.
#[derive(Debug)]
pub struct Block {
    bytes: BytesMut,
    size: usize,
}

impl Block {
    /// Blocks of so many bytes. One packet that is kept holds on to its whole block, so they are to be small.
    pub fn new(size: usize) -> Block {
        Block { bytes: BytesMut::with_capacity(size), size }
    }

    /// A copy, for a packet that arrived.
    #[inline]
    pub fn cut(&mut self, bytes: &[u8]) -> BytesMut {
        if self.bytes.capacity() < bytes.len() {
            self.bytes.reserve(self.size.max(bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
        self.bytes.split()
    }

    /// A copy, for a datagram that is to leave.
    #[inline]
    pub fn cut_frozen(&mut self, bytes: &[u8]) -> Bytes {
        self.cut(bytes).freeze()
    }
}
