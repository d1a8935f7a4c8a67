//! The names of things: entities, sessions, ticks, and a button's state. They are stored in shared pages as they are,
//! so their layout is fixed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Add;

/// One entity of a zone. The index is used again after a despawn, with another generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[repr(C)]
pub struct Entity {
    /// Row of the entity in every column.
    pub index: u32,
    /// How often the index was given out; 0 is never alive.
    pub generation: u32,
}

impl Entity {
    /// No entity; the default.
    pub const NONE: Entity = Entity { index: 0, generation: 0 };
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index, self.generation)
    }
}

/// One client's stay in a match: generation in the upper half, slot in the lower. 0 is nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[repr(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    /// Nobody; the default.
    pub const NOBODY: SessionId = SessionId(0);

    /// The session in `slot`, given out for the `generation`th time.
    pub fn new(generation: u32, slot: u32) -> SessionId {
        SessionId(u64::from(generation) << 32 | u64::from(slot))
    }

    /// Row of the session in the zone's session table.
    pub fn slot(self) -> u32 {
        self.0 as u32
    }

    /// How often the slot was given out.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}v{}", self.slot(), self.generation())
    }
}

/// One step of a zone. The first is 1; 0 is before all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[repr(transparent)]
pub struct TickNo(pub u32);

impl Add<u32> for TickNo {
    type Output = TickNo;

    fn add(self, ticks: u32) -> TickNo {
        TickNo(self.0.wrapping_add(ticks))
    }
}

impl fmt::Display for TickNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A button in an input: whether it is held, and whether it went down with this very input.
///
/// A client samples with [`Press::down`]; [`Press::after`] then takes the edge away if the button was held already.
/// A server that merges or repeats inputs uses [`Press::merge`] and [`Press::repeated`], so that no edge is lost or
/// counted twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Press(u8);

impl Press {
    const HELD: u8 = 1;
    const EDGE: u8 = 2;

    /// A sample without a past: held and just pressed, or neither.
    pub fn down(down: bool) -> Press {
        Press(if down { Press::HELD | Press::EDGE } else { 0 })
    }

    /// Whether the button is down.
    pub fn held(self) -> bool {
        self.0 & Press::HELD != 0
    }

    /// Whether the button went down with this input (or with one that was merged into it).
    pub fn pressed(self) -> bool {
        self.0 & Press::EDGE != 0
    }

    /// This sample with the edge taken away if `previous` held the button already.
    #[must_use]
    pub fn after(self, previous: Press) -> Press {
        if previous.held() { self.repeated() } else { self }
    }

    /// The same button in an input that is applied once more: held as before, not pressed again.
    #[must_use]
    pub fn repeated(self) -> Press {
        Press(self.0 & Press::HELD)
    }

    /// This button with the edge of an `earlier` input that is applied together with it.
    #[must_use]
    pub fn merge(self, earlier: Press) -> Press {
        Press(self.0 | earlier.0 & Press::EDGE)
    }

    pub(crate) fn bits(self) -> u8 {
        self.0 & (Press::HELD | Press::EDGE)
    }

    pub(crate) fn from_bits(bits: u8) -> Press {
        Press(bits & (Press::HELD | Press::EDGE))
    }
}
