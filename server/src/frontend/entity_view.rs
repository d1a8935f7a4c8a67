//! One entity, as far as deciding who is told what of it goes.

use ringfort_protocol::baseline::Changes;

use super::zone_view::ZoneView;
use crate::limits::INTEREST_KEEPS;

/// One entity of the newest commit.
#[derive(Clone, Copy, Debug)]
pub struct EntityView {
    /// Generation that lives here; 0 for nobody.
    pub generation: u32,
    /// Wire columns with a change that is held back.
    pub late: u32,
    /// Wire columns that it has.
    pub present: u32,
    /// When its columns changed last.
    pub changes: Changes,
    /// Its position; not a number when it has none.
    pub x: f32,
    /// See `x`.
    pub y: f32,
    /// Where it was last, if it had a position and lost it; not a number otherwise.
    pub left: [f32; 2],
    /// Groups of sessions that are not told of it.
    pub hidden_from: u32,
    /// Owning session.
    pub owner: u64,
}

/// Nobody.
pub const NOBODY: EntityView = EntityView {
    generation: 0,
    late: 0,
    present: 0,
    changes: Changes { newest: 0, recent: 0, before: 0 },
    x: f32::NAN,
    y: f32::NAN,
    left: [f32::NAN; 2],
    hidden_from: 0,
    owner: 0,
};
// Every client and tick touches one for each entity around it.
const _: () = assert!(size_of::<EntityView>() <= 64);

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
        match self.x.is_nan() {
            false => Some((self.x, self.y)),
            true => (!self.left[0].is_nan()).then_some((self.left[0], self.left[1])),
        }
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
