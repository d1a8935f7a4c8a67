//! Rows that another process has written, looked at before they are taken for values of the game's types: an enum or a `bool` whose
//! byte has no meaning must not become one.

use ringfort_protocol::schema::FieldKind;
use ringfort_shm_state::sheet::Rows;
use ringfort_shm_state::table::{TableAt, first_refused};

use super::Component;

/// How the rows of one field of the state are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowCheck {
    field: &'static str,
    component: &'static str,
    at: TableAt,
    /// Where in a row the component lies, and how long it is.
    offset: usize,
    bytes: usize,
    valid: fn(&[u8]) -> bool,
}

/// A row of a match that is to be taken over is none of its type.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{field}` has bytes at row {row} that are no {component}: what stepped the match has damaged it; look at it with `ringfort fsck`, and \
     restart the instance with --fresh"
)]
pub struct BadRow {
    /// The field of the state.
    pub field: &'static str,
    /// The index of the row: of an entity, of a session's slot, or 0 of a global.
    pub row: u32,
    /// What it should be.
    pub component: &'static str,
}

impl RowCheck {
    /// The check of a field whose rows hold a `T` at `offset`; nothing when all bytes are a `T`.
    pub(crate) fn of<T: Component>(field: &'static str, at: TableAt, offset: usize) -> Option<Self> {
        let picky = |kind| matches!(kind, FieldKind::Bool | FieldKind::Enum { .. });
        let check = Self { field, component: T::NAME, at, offset, bytes: size_of::<T>(), valid: T::valid };
        T::fields().iter().any(|field| picky(field.kind)).then_some(check)
    }

    /// Looks at all rows. Nothing may be bound on the pages yet.
    pub(crate) fn run(&self, pages: &impl Rows) -> Result<(), BadRow> {
        let sound = |row: &[u8]| row.get(self.offset..self.offset + self.bytes).is_some_and(self.valid);
        match first_refused(pages, self.at, sound) {
            Some(row) => Err(BadRow { field: self.field, row, component: self.component }),
            None => Ok(()),
        }
    }
}
