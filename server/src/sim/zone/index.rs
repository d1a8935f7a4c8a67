//! What a zone finds its sessions by. Derived from the session table, and rebuilt with it.

use std::collections::{BTreeSet, HashMap};

use ringfort_shm_state::layout::{SessionFlags, SessionRow};

/// Sessions by nonce, and the free slots.
#[derive(Default)]
pub(super) struct Index {
    pub(super) by_nonce: HashMap<[u8; 16], u32>,
    pub(super) free: BTreeSet<u32>,
    /// Slots whose sessions ended in this tick. They rest until the next, as the indices of their entities do: a full match
    /// whose players are exchanged in one tick would otherwise need room for both.
    pub(super) freed: Vec<u32>,
    pub(super) per_frontend: HashMap<u32, u32>,
    /// Sessions that only watch.
    pub(super) spectators: u32,
}

impl Index {
    pub(super) fn add(&mut self, slot: u32, row: &SessionRow) {
        self.free.remove(&slot);
        self.by_nonce.insert(row.nonce, slot);
        *self.per_frontend.entry(row.frontend).or_default() += 1;
        self.spectators += row.flags & SessionFlags::SPECTATOR;
    }

    pub(super) fn remove(&mut self, slot: u32, row: &SessionRow) {
        self.freed.push(slot);
        self.by_nonce.remove(&row.nonce);
        self.spectators -= row.flags & SessionFlags::SPECTATOR;
        self.leave_frontend(row.frontend);
    }

    pub(super) fn move_frontend(&mut self, from: u32, to: u32) {
        self.leave_frontend(from);
        *self.per_frontend.entry(to).or_default() += 1;
    }

    fn leave_frontend(&mut self, frontend: u32) {
        if let Some(count) = self.per_frontend.get_mut(&frontend) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn frontends(&self) -> u64 {
        self.per_frontend.iter().filter(|(_, count)| **count > 0).fold(0, |bits, (slot, _)| bits | bit(*slot))
    }
}

/// The bit of a front-end's slot.
pub(super) fn bit(frontend: u32) -> u64 {
    1 << (frontend % 64)
}
