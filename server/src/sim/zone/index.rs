//! What a zone finds its sessions by. Derived from the session table, and rebuilt with it.

use std::collections::{BTreeSet, HashMap};

use ringfort_shm_state::layout::{DETACHED, SessionFlags, SessionRow};

/// Sessions by nonce, and the free slots.
#[derive(Default)]
pub(super) struct Index {
    pub(super) by_nonce: HashMap<[u8; 16], u32>,
    pub(super) free: BTreeSet<u32>,
    /// Slots whose sessions ended in this tick. They rest until the next, as the indices of their entities do: a full match
    /// whose players are exchanged in one tick would otherwise need room for both.
    pub(super) freed: Vec<u32>,
    pub(super) per_frontend: HashMap<u32, u32>,
    /// Sessions without a connection, with the tick since which they have none.
    pub(super) detached: BTreeSet<(u32, u32)>,
    /// Sessions that only watch.
    pub(super) spectators: u32,
}

impl Index {
    pub(super) fn add(&mut self, slot: u32, row: &SessionRow) {
        self.free.remove(&slot);
        self.by_nonce.insert(row.nonce, slot);
        self.come(slot, row);
        self.spectators += row.flags & SessionFlags::SPECTATOR;
    }

    pub(super) fn remove(&mut self, slot: u32, row: &SessionRow) {
        self.freed.push(slot);
        self.by_nonce.remove(&row.nonce);
        self.spectators -= row.flags & SessionFlags::SPECTATOR;
        self.go(slot, row);
    }

    /// A session is attached elsewhere, or nowhere.
    pub(super) fn move_session(&mut self, slot: u32, before: &SessionRow, after: &SessionRow) {
        self.go(slot, before);
        self.come(slot, after);
    }

    fn come(&mut self, slot: u32, row: &SessionRow) {
        if row.frontend == DETACHED {
            self.detached.insert((row.detached, slot));
        } else {
            *self.per_frontend.entry(row.frontend).or_default() += 1;
        }
    }

    fn go(&mut self, slot: u32, row: &SessionRow) {
        if row.frontend == DETACHED {
            self.detached.remove(&(row.detached, slot));
        } else if let Some(count) = self.per_frontend.get_mut(&row.frontend) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn frontends(&self) -> u64 {
        self.per_frontend.iter().filter(|(_, count)| **count > 0).fold(0, |bits, (slot, _)| bits | bit(*slot))
    }
}

/// The bit of a front-end's slot; of none, none.
pub(super) fn bit(frontend: u32) -> u64 {
    1u64.checked_shl(frontend).unwrap_or(0)
}
