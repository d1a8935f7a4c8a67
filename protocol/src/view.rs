//! What a player saw when it gave an input: two snapshots and how far it had come from the older to the newer one.
//!
//! Hits are decided by it. It travels behind its input in four bytes, `[tick u16][span u8][alpha u8]`, and the server, which
//! knows how far its own ticks have come, makes a whole tick of the lower half.

use crate::TickNo;

/// Bytes of an encoded view.
pub const VIEW_BYTES: usize = 4;

/// The world between two snapshots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The older of the two snapshots that were drawn.
    pub tick: TickNo,
    /// Ticks from the older to the newer; 0 if there was but one.
    pub span: u8,
    /// How far the picture had come from the older to the newer, in 256ths of the way.
    pub alpha: u8,
}

impl View {
    /// The view as it travels.
    pub fn to_bytes(self) -> [u8; VIEW_BYTES] {
        let [low, high, ..] = self.tick.0.to_le_bytes();
        [low, high, self.span, self.alpha]
    }

    /// Reads a view that can't be of a tick above `newest`: the latest tick that ends in these bits, or 0 if there is none.
    /// Every bit pattern is a view; how old one may be is for the reader to decide.
    pub fn from_bytes([low, high, span, alpha]: [u8; VIEW_BYTES], newest: TickNo) -> View {
        let behind = (newest.0 as u16).wrapping_sub(u16::from_le_bytes([low, high]));
        View { tick: TickNo(newest.0.saturating_sub(u32::from(behind))), span, alpha }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let view = View { tick: TickNo(0x0003_0201), span: 5, alpha: 128 };
        assert_eq!(view.to_bytes(), [1, 2, 5, 128]);
        assert_eq!(View::from_bytes([1, 2, 5, 128], TickNo(0x0003_0201)), view);
    }

    #[test]
    fn a_view_is_of_the_latest_tick_that_it_can_be() {
        let tick = |bytes, newest| View::from_bytes(bytes, TickNo(newest)).tick.0;
        assert_eq!(tick([0xfe, 0xff, 0, 0], 0x0002_0001), 0x0001_fffe, "over the end of the lower half");
        assert_eq!(tick([2, 0, 0, 0], 0x0002_0001), 0x0001_0002, "one ahead is taken for one long ago");
        assert_eq!(tick([9, 0, 0, 0], 5), 0, "there is no such tick yet");
        assert_eq!(tick([0, 0, 0, 0], u32::MAX), 0xffff_0000);
        for newest in (0..200_000).step_by(77) {
            for back in [0, 1, 60, 65_535] {
                let view = View { tick: TickNo(newest), span: 1, alpha: 255 };
                assert_eq!(View::from_bytes(view.to_bytes(), TickNo(newest + back)), view);
            }
        }
    }
}
