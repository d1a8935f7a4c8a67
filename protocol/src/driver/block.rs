//! Memory that datagrams are cut from.

use bytes::{Bytes, BytesMut};

/// How many blocks take turns: by the time that the first one is needed again, its datagrams are gone.
const BLOCKS: usize = 8;

/// A few allocations that serve many datagrams, and each serves again as soon as all that were cut from it are gone.
#[derive(Debug)]
pub struct Block {
    blocks: [BytesMut; BLOCKS],
    at: usize,
    size: usize,
}

impl Block {
    /// Blocks of so many bytes. One packet that is kept holds on to its whole block, so they are to be small.
    pub fn new(size: usize) -> Block {
        Block { blocks: std::array::from_fn(|_| BytesMut::new()), at: 0, size }
    }

    /// A copy, for a packet that arrived.
    #[inline]
    pub fn cut(&mut self, bytes: &[u8]) -> BytesMut {
        if self.blocks[self.at].capacity() < bytes.len() {
            self.turn(self.size.max(bytes.len()));
        }
        let block = &mut self.blocks[self.at];
        block.extend_from_slice(bytes);
        block.split()
    }

    /// A copy, for a datagram that is to leave.
    #[inline]
    pub fn cut_frozen(&mut self, bytes: &[u8]) -> Bytes {
        self.cut(bytes).freeze()
    }

    /// Goes on with the next block, or, while something that was cut from it is kept, with a new one in its place.
    #[cold]
    fn turn(&mut self, size: usize) {
        self.at = (self.at + 1) % BLOCKS;
        let block = &mut self.blocks[self.at];
        if !block.try_reclaim(size) {
            *block = BytesMut::with_capacity(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_serve_again_once_what_was_cut_from_them_is_gone() {
        let mut block = Block::new(1_000);
        let places = |block: &mut Block| -> Vec<*const u8> {
            let cut: Vec<Bytes> = (0..BLOCKS * 9).map(|n| block.cut_frozen(&[n as u8; 110])).collect();
            assert!(cut.iter().enumerate().all(|(n, bytes)| bytes[..] == [n as u8; 110]));
            cut.iter().map(|bytes| bytes.as_ptr()).collect()
        };
        let first = places(&mut block);
        let mut second = places(&mut block);
        second.retain(|place| !first.contains(place));
        assert_eq!(second, [] as [*const u8; 0]);
    }

    #[test]
    fn what_is_kept_stays_as_it_is_and_what_is_longer_than_a_block_fits() {
        let mut block = Block::new(100);
        let kept = block.cut_frozen(b"kept");
        (0..100).for_each(|_| drop(block.cut(&[9; 60])));
        assert_eq!(&kept[..], b"kept");
        assert_eq!(block.cut(&[7; 5_000])[..], [7; 5_000]);
        assert_eq!(block.cut(b"")[..], []);
    }
}
