//! The bytes of each player's inputs: the one applied last, which is repeated, and the one that waits for the next tick. A row is as long as the
//! game's inputs, so that a match of thousands does not commit room for the longest input there may be.

use ringfort_shm_state::byte_table::ByteTable;
use ringfort_shm_state::sheet::Rows;
use ringfort_shm_state::table::TableAt;

/// Bytes that an input's place in a row is a multiple of.
const PLACE_ALIGN: usize = 4;

/// Rows of two inputs each, by session slot. A place is written when the bytes in it change: an input that is held writes nothing.
pub(crate) struct InputBytes {
    rows: ByteTable,
    /// Bytes of one place.
    place: usize,
}

impl InputBytes {
    /// Bytes of a row, for inputs of so many bytes on the wire.
    pub(crate) fn row_bytes(wire_bytes: usize) -> usize {
        2 * wire_bytes.max(1).next_multiple_of(PLACE_ALIGN)
    }

    /// The rows at a place.
    ///
    /// # Safety
    /// As [`ByteTable::bind`].
    pub(crate) unsafe fn bind(pages: &impl Rows, at: TableAt) -> Self {
        // SAFETY: the caller's promise.
        Self { rows: unsafe { ByteTable::bind(pages, at) }, place: at.row_bytes as usize / 2 }
    }

    /// A player comes.
    pub(crate) fn insert(&mut self, slot: u32) {
        self.rows.insert(slot);
    }

    /// A player goes.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.rows.remove(slot);
    }

    /// The input that was applied last; zeros when none was.
    pub(crate) fn last(&self, slot: u32) -> &[u8] {
        self.rows.get(slot).map_or(&[], |row| &row[..self.place])
    }

    /// The input that waits. It means nothing when none does.
    pub(crate) fn waiting(&self, slot: u32) -> &[u8] {
        self.rows.get(slot).map_or(&[], |row| &row[self.place..])
    }

    /// Notes the input that was applied last, by its first bytes; what lies behind them stays zeros, as all inputs of a game are equally long.
    pub(crate) fn set_last(&mut self, slot: u32, input: &[u8]) {
        self.set(slot, 0, input);
    }

    /// Notes the input that waits.
    pub(crate) fn set_waiting(&mut self, slot: u32, input: &[u8]) {
        self.set(slot, self.place, input);
    }

    fn set(&mut self, slot: u32, at: usize, input: &[u8]) {
        let place = at..at + input.len();
        if self.rows.get(slot).is_some_and(|row| row[place.clone()] != *input)
            && let Some(row) = self.rows.get_mut(slot)
        {
            row[place].copy_from_slice(input);
        }
    }
}
