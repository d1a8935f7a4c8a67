//! Seats: one value a session.

use std::mem::offset_of;
use std::ops::{Index, IndexMut};

use ringfort_protocol::SessionId;
use ringfort_shm_state::table::Table;
use ringfort_shm_state::{Gaps, Plain, clear_padding};

use super::Component;
use super::check::RowCheck;
use super::map::PlaceKind;
use super::state::{Binder, Declare, FieldOptions, Hook, StateField};

#[derive(Clone, Copy)]
#[repr(C)]
struct SeatRow<T> {
    session: u64,
    value: T,
}

impl<T: Plain> SeatRow<T> {
    const GAPS: &Gaps<2> = &Gaps::between(size_of::<Self>(), [(0, size_of::<u64>()), (offset_of!(Self, value), size_of::<T>())]);
}

// SAFETY: an integer and a `Plain` value: no pointer, and zeroes are valid for both. The gaps are those around the value; those
// within it are the value's own, and `Seats` zeroes them with it.
unsafe impl<T: Plain> Plain for SeatRow<T> {
    const PADDING: &'static [(usize, usize)] = Self::GAPS.as_slice();
}

/// What the game keeps for each session. It never leaves the server.
pub struct Seats<T: Component> {
    table: Table<SeatRow<T>>,
    position: usize,
}

impl<T: Component> StateField for Seats<T> {
    fn declare(to: &mut Declare, options: FieldOptions) {
        let kind = PlaceKind::Seats { value_at: offset_of!(SeatRow<T>, value) as u32 };
        let at = to.unlisted(options, kind, size_of::<SeatRow<T>>(), (T::NAME, T::fields()));
        to.checks.extend(RowCheck::of::<T>(options.name, at, offset_of!(SeatRow<T>, value)));
    }

    fn bind(to: &mut Binder, _options: FieldOptions) -> Self {
        let (at, position) = to.next_rows();
        // SAFETY: as in `Column::bind`.
        Self { table: unsafe { Table::bind(&to.shared.sheet, at) }, position }
    }

    fn hook(&mut self, position: usize, hook: Hook) {
        if hook == Hook::BeforeCommit {
            assert_eq!(self.position, position, "two seats of the state were swapped: their values would change names");
            self.table.for_touched(|row| clear_padding(&mut row.value));
        }
    }
}

impl<T: Component> Seats<T> {
    /// Gives a session its seat, or replaces it. Returns `false`, and does nothing, when the session's place is a later session's now.
    pub fn insert(&mut self, who: SessionId, value: T) -> bool {
        let taken = self.table.get(who.slot()).is_some_and(|row| row.session > who.0);
        !taken && self.table.insert(who.slot(), SeatRow { session: who.0, value })
    }

    /// Takes a session's seat away.
    pub fn remove(&mut self, who: SessionId) -> Option<T> {
        self.get(who)?;
        self.table.remove(who.slot()).map(|row| row.value)
    }

    /// A session's seat.
    pub fn get(&self, who: SessionId) -> Option<&T> {
        self.table.get(who.slot()).filter(|row| row.session == who.0).map(|row| &row.value)
    }

    /// All seats, in the order of the sessions' places.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &T)> {
        self.table.iter().map(|(_, row)| (SessionId(row.session), &row.value))
    }

    /// A session's seat, for writing.
    pub fn get_mut(&mut self, who: SessionId) -> Option<&mut T> {
        self.table.get_mut(who.slot()).filter(|row| row.session == who.0).map(|row| &mut row.value)
    }
}

impl<T: Component> Index<SessionId> for Seats<T> {
    type Output = T;

    fn index(&self, who: SessionId) -> &T {
        self.get(who).unwrap_or_else(|| panic!("session {who} has no seat"))
    }
}

impl<T: Component> IndexMut<SessionId> for Seats<T> {
    fn index_mut(&mut self, who: SessionId) -> &mut T {
        self.get_mut(who).unwrap_or_else(|| panic!("session {who} has no seat"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(ringfort_derive::Component, Clone, Copy)]
    struct Small {
        number: u32,
        byte: u8,
    }

    #[derive(ringfort_derive::Component, Clone, Copy)]
    struct Byte(u8);

    #[test]
    fn the_gaps_around_and_within_the_value_are_known() {
        assert_eq!(SeatRow::<Small>::PADDING, []);
        assert_eq!(Small::PADDING, [(5, 3)]);
        assert_eq!(SeatRow::<Byte>::PADDING, [(9, 7)]);
    }
}
