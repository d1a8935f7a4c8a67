//! Seats: one value a session.

use std::ops::{Index, IndexMut};

use ringfort_protocol::SessionId;
use ringfort_shm_state::Plain;
use ringfort_shm_state::table::Table;

use super::Component;
use super::state::{Binder, Declare, FieldOptions, StateField};

#[derive(Clone, Copy)]
#[repr(C)]
struct SeatRow<T> {
    session: u64,
    value: T,
}

// SAFETY: an integer and a `Plain` value: no pointer, and zeroes are valid for both. Padding between them is never read as a
// value; a commit may take a difference in it for a change, which costs a page and nothing else.
unsafe impl<T: Plain> Plain for SeatRow<T> {}

/// What the game keeps for each session. It never leaves the server.
pub struct Seats<T: Component> {
    table: Table<SeatRow<T>>,
}

impl<T: Component> StateField for Seats<T> {
    fn declare(to: &mut Declare, _options: FieldOptions) {
        let rows = to.limits.capacity;
        to.place(rows, size_of::<SeatRow<T>>());
    }

    fn bind(to: &mut Binder) -> Self {
        let (at, _) = to.next_rows();
        // SAFETY: as in `Column::bind`.
        Self { table: unsafe { Table::bind(&to.shared.pages, at) } }
    }
}

impl<T: Component> Seats<T> {
    /// Gives a session its seat, or replaces it.
    pub fn insert(&mut self, who: SessionId, value: T) {
        self.table.insert(who.slot(), SeatRow { session: who.0, value });
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
