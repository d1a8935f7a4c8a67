//! What is sent: 64 bytes that tell which message they are, at both ends.

/// A message: 64 bytes.
pub type Message = [u64; 8];

/// The message with a number.
#[inline]
pub fn message(number: u64) -> Message {
    std::array::from_fn(|i| number.wrapping_add(i as u64))
}

/// Sees that messages arrive once each and in order.
#[derive(Debug, Default)]
pub struct Expected(u64);

impl Expected {
    /// Takes the next message.
    ///
    /// # Panics
    /// When it is another one.
    #[inline]
    pub fn take(&mut self, first: u64, last: u64) {
        assert!(first == self.0 && last == self.0 + 7, "message {first} .. {last} arrived in place of {}", self.0);
        self.0 += 1;
    }

    /// Messages so far.
    #[inline]
    pub fn count(&self) -> u64 {
        self.0
    }
}
