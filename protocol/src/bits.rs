//! Bit packing, least significant bit first, for snapshots, inputs and messages.
//!
//! Rows that are encoded once and sent to many clients are kept as 64-bit words ([`Row`]) and appended by shifting
//! whole words.

/// The reader came to the end of its bytes in the middle of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bits end in the middle of a value")]
pub struct Truncated;

/// The lowest `bits` of a word set.
pub(crate) const fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Bits that can hold every value from 0 to `count - 1`.
pub const fn bits_for(count: u64) -> u32 {
    match count {
        0 | 1 => 0,
        _ => 64 - (count - 1).leading_zeros(),
    }
}

/// An already encoded row: the lowest `bits` of `words`, least significant first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// At least `bits` bits; what is above them is ignored.
    pub words: &'a [u64],
    /// Length of the row.
    pub bits: u32,
}

/// Where a [`BitWriter`] was, to come back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    pending: u64,
    pending_bits: u32,
}

/// Appends bits to a byte vector.
#[derive(Clone, Default, Debug)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that don't make a whole word yet; those above `pending_bits` are zero.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// Continues after `bytes`, which are kept.
    pub fn new(bytes: Vec<u8>) -> BitWriter {
        BitWriter { bytes, pending: 0, pending_bits: 0 }
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pending = 0;
        self.pending_bits = 0;
    }

    /// Appends the lowest `bits` (at most 64) of `value`.
    #[inline]
    pub fn write(&mut self, value: u64, bits: u32) {
        debug_assert!(bits <= 64);
        let value = value & mask(bits);
        self.pending |= value << self.pending_bits;
        let total = self.pending_bits + bits;
        if total < 64 {
            self.pending_bits = total;
            return;
        }
        self.bytes.extend_from_slice(&self.pending.to_le_bytes());
        let taken = 64 - self.pending_bits;
        self.pending = if taken == 64 { 0 } else { value >> taken };
        self.pending_bits = total - 64;
    }

    /// Appends one bit.
    #[inline]
    pub fn write_bool(&mut self, bit: bool) {
        self.write(u64::from(bit), 1);
    }

    /// Appends an already encoded row.
    #[inline]
    pub fn append(&mut self, row: Row<'_>) {
        let mut left = row.bits;
        for word in row.words {
            if left == 0 {
                return;
            }
            let bits = left.min(64);
            self.write(*word, bits);
            left -= bits;
        }
        debug_assert_eq!(left, 0, "a row with fewer words than its length says");
    }

    /// Length in bits, the bytes given to [`BitWriter::new`] included.
    #[inline]
    pub fn bit_len(&self) -> usize {
        self.bytes.len() * 8 + self.pending_bits as usize
    }

    /// The present end.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), pending: self.pending, pending_bits: self.pending_bits }
    }

    /// Takes back everything written since `mark`, which must be of this writer since it was last cleared or flushed.
    #[inline]
    pub fn rollback(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.pending = mark.pending;
        self.pending_bits = mark.pending_bits;
    }

    /// Pads with zero bits to a whole byte and gives all bytes, for patching a header and for reading.
    pub fn flush(&mut self) -> &mut [u8] {
        let bytes = self.pending_bits.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
        self.pending = 0;
        self.pending_bits = 0;
        &mut self.bytes
    }

    /// Appends everything written to `words`, padded with zero bits to a whole word, and gives the length in bits.
    /// This is how a front-end fills its cache of encoded rows.
    pub fn copy_words(&self, words: &mut Vec<u64>) -> u32 {
        let (whole, rest) = self.bytes.as_chunks::<8>();
        words.extend(whole.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        let mut tail = u128::from(self.pending) << (rest.len() * 8);
        for (i, byte) in rest.iter().enumerate() {
            tail |= u128::from(*byte) << (i * 8);
        }
        let tail_bits = rest.len() * 8 + self.pending_bits as usize;
        for word in 0..tail_bits.div_ceil(64) {
            words.push((tail >> (word * 64)) as u64);
        }
        self.bit_len() as u32
    }

    /// Pads with zero bits to a whole byte and gives the vector away.
    pub fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.bytes
    }
}

/// Reads bits from bytes.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> BitReader<'a> {
    /// Reads all bits of `bytes`.
    pub fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0, end: bytes.len() * 8 }
    }

    /// The next `bits` (at most 64).
    #[inline]
    pub fn read(&mut self, bits: u32) -> Result<u64, Truncated> {
        debug_assert!(bits <= 64);
        if self.remaining() < bits as usize {
            return Err(Truncated);
        }
        let (byte, shift) = (self.at / 8, (self.at % 8) as u32);
        self.at += bits as usize;
        let low = self.load(byte) >> shift;
        let have = 64 - shift;
        let high = if bits > have { u64::from(self.bytes[byte + 8]) << have } else { 0 };
        Ok((low | high) & mask(bits))
    }

    /// The next bit.
    #[inline]
    pub fn read_bool(&mut self) -> Result<bool, Truncated> {
        Ok(self.read(1)? != 0)
    }

    /// Appends the next `bits` to `words`, padded with zero bits to a whole word.
    pub fn copy_bits(&mut self, bits: u32, words: &mut Vec<u64>) -> Result<(), Truncated> {
        if self.remaining() < bits as usize {
            return Err(Truncated);
        }
        let mut left = bits;
        while left > 0 {
            let now = left.min(64);
            words.push(self.read(now)?);
            left -= now;
        }
        Ok(())
    }

    /// Copies all remaining bits to the front of `bytes`, which must have room for them; the last byte is padded with
    /// zero bits.
    pub fn copy_to(mut self, bytes: &mut [u8]) {
        for to in bytes.chunks_mut(8) {
            let bits = self.remaining().min(64) as u32;
            let Ok(word) = self.read(bits) else { return };
            to.copy_from_slice(&word.to_le_bytes()[..to.len()]);
        }
        debug_assert_eq!(self.remaining(), 0, "a row longer than its place");
    }

    /// Cuts off the next `bits` as a reader of their own.
    #[inline]
    pub fn split(&mut self, bits: u32) -> Result<BitReader<'a>, Truncated> {
        if self.remaining() < bits as usize {
            return Err(Truncated);
        }
        let part = BitReader { bytes: self.bytes, at: self.at, end: self.at + bits as usize };
        self.at = part.end;
        Ok(part)
    }

    /// Bits that are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Whether all that is left is the padding of the last byte: fewer than 8 bits, all zero.
    pub fn only_padding_left(&self) -> bool {
        let bits = self.remaining();
        bits < 8 && { *self }.read(bits as u32) == Ok(0)
    }

    /// Eight bytes from `byte` on, with zeros where there are none.
    #[inline]
    fn load(&self, byte: usize) -> u64 {
        match self.bytes.get(byte..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                let mut word = [0; 8];
                let rest = self.bytes.get(byte..).unwrap_or(&[]);
                word[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(word)
            }
        }
    }
}

#[cfg(test)]
mod tests;
