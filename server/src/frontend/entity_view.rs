//! One entity, as far as deciding who is told what of it goes.

use ringfort_protocol::baseline::Changes;
use ringfort_protocol::bits::Row;

use super::zone_view::ZoneView;
use crate::limits::INTEREST_KEEPS;

/// One entity of the newest commit: one line of the processor's cache, as every client and tick touches one for each entity around it,
/// and in most cases nothing else of it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct EntityView {
    /// Generation that lives here; 0 for nobody.
    pub generation: u32,
    /// Wire columns that it has.
    pub present: u32,
    /// When its columns changed last.
    pub changes: Changes,
    /// Groups of sessions that are not told of it.
    pub hidden_from: u32,
    /// Where it is, or was when it lost its position; not a number when it never had one.
    pub x: f32,
    /// See `x`.
    pub y: f32,
    /// Owning session.
    pub owner: u64,
    /// The rows of the columns that changed last, one behind the other: what most clients are sent of it, put together once.
    pub(super) body: [u64; BODY_WORDS],
    /// Columns in `body`; none when they do not fit.
    pub(super) body_mask: u32,
    /// Bits of `body`.
    pub(super) body_bits: u8,
    /// It has no position any more.
    pub has_left: bool,
}

/// Words of the longest body that is kept with an entity.
const BODY_WORDS: usize = 2;

/// Nobody.
pub const NOBODY: EntityView = EntityView {
    generation: 0,
    present: 0,
    changes: Changes { newest: 0, recent: 0, before: 0 },
    hidden_from: 0,
    x: f32::NAN,
    y: f32::NAN,
    owner: 0,
    body: [0; BODY_WORDS],
    body_mask: 0,
    body_bits: 0,
    has_left: false,
};
const _: () = assert!(size_of::<EntityView>() == 64);

/// Columns that are seen within a distance.
#[derive(Clone, Copy, Debug)]
pub struct NearClass {
    /// The distance, squared.
    pub distance_squared: f32,
    /// The columns.
    pub mask: u32,
}

impl EntityView {
    /// Where it is for the purpose of interest: its position, or the one that it lost. Nothing if it never had one.
    #[inline]
    pub fn whereabouts(&self) -> Option<(f32, f32)> {
        (!self.x.is_nan()).then_some((self.x, self.y))
    }

    /// The rows of these columns, one behind the other, if they are those that changed last and fit.
    #[inline]
    pub fn body(&self, mask: u32) -> Option<Row<'_>> {
        (mask == self.body_mask && mask != 0).then_some(Row { words: &self.body, bits: self.body_bits.into() })
    }

    /// Puts the rows of the columns that changed last together; of those that it has not there is none.
    pub fn set_body<'r>(&mut self, row: impl Fn(usize) -> Row<'r>) {
        let mask = self.changes.recent & self.present;
        (self.body, self.body_mask, self.body_bits) = ([0; BODY_WORDS], 0, 0);
        let mut bits = 0;
        for wire in (0..u32::BITS as usize).filter(|wire| mask >> wire & 1 == 1) {
            let row = row(wire);
            if bits + row.bits as usize > 64 * BODY_WORDS {
                return;
            }
            for (word, at) in row.words.iter().zip((0..row.bits as usize).step_by(64)) {
                let taken = (row.bits as usize - at).min(64);
                let value = if taken == 64 { *word } else { *word & ((1 << taken) - 1) };
                let (to, shift) = ((bits + at) / 64, (bits + at) % 64);
                self.body[to] |= value << shift;
                if shift + taken > 64 {
                    self.body[to + 1] |= value >> (64 - shift);
                }
            }
            bits += row.bits as usize;
        }
        (self.body_mask, self.body_bits) = (mask, bits as u8);
    }

    /// Whether a session is told of it as far as groups go.
    #[inline]
    pub fn is_shown_to(&self, session: u64, blind_to: u32) -> bool {
        (self.hidden_from | blind_to) != u32::MAX || self.owner == session
    }

    /// Columns of it that a client may see who looks from so far away, squared (not a number when one of them has no position), and saw
    /// these columns before: what it saw from near it sees until it is a little further away.
    #[inline]
    pub fn visible(&self, view: &ZoneView, session: u64, distance_squared: f32, seen: u32) -> u32 {
        let mut mask = if self.owner == session { view.owner_mask } else { view.all_mask };
        for class in &view.near {
            let keeps = if seen & class.mask != 0 { INTEREST_KEEPS * INTEREST_KEEPS } else { 1.0 };
            // Without a position the comparison is with not-a-number, and nothing is near.
            if distance_squared <= class.distance_squared * keeps {
                mask |= class.mask;
            }
        }
        self.present & mask
    }
}
