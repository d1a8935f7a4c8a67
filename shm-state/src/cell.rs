//! A published cell: one writer process, any number of readers, and a value that is never seen torn.
//!
//! Two slots and a version. The writer fills the slot that readers do not look at and then publishes the next version by one
//! store, so a writer killed at any instruction leaves the previous value in place. The directory is made of these.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use crate::limits::MAX_CELL_ATTEMPTS;
use crate::words::{Fence, Shared, Words};

/// Where a cell lies. Its bytes: the version (one cache line), then two slots.
#[derive(Clone, Copy, Debug)]
pub struct Cell<T> {
    offset: usize,
    value: PhantomData<T>,
}

/// Bytes of the line that holds the version.
const VERSION_BYTES: usize = 64;

impl<T: Shared> Cell<T> {
    /// Bytes that a cell takes.
    pub const BYTES: usize = VERSION_BYTES + 2 * size_of::<T>();

    /// The cell at a byte offset.
    pub const fn at(offset: usize) -> Self {
        Self { offset, value: PhantomData }
    }

    fn slot(&self, version: u64) -> usize {
        self.offset + VERSION_BYTES + (version & 1) as usize * size_of::<T>()
    }

    /// Publishes a value. Only the segment's one writer may call it.
    pub fn publish(&self, memory: &impl Words, value: &T) {
        let version = memory.load(self.offset, Ordering::Relaxed);
        // SYNC POINT: cell-reuse. A reader that sees any of the words stored below also sees the version stored by the
        // previous publish, and so knows that its slot is being written again.
        memory.fence(Fence::CellReuse);
        memory.write(self.slot(version.wrapping_add(1)), value);
        crate::kill_point!("cell:slot_written");
        // SYNC POINT: cell-publish
        memory.store(self.offset, version.wrapping_add(1), Ordering::Release);
        crate::kill_point!("cell:published");
    }

    /// The version: 0 until the first publish, then it grows with each.
    pub fn version(&self, memory: &impl Words) -> u64 {
        memory.load(self.offset, Ordering::Acquire)
    }

    /// The newest value; `None` when nothing was ever published, or when the writer overtook us on every attempt.
    pub fn read(&self, memory: &impl Words) -> Option<T> {
        for _ in 0..MAX_CELL_ATTEMPTS {
            // SYNC POINT: cell-publish
            let version = memory.load(self.offset, Ordering::Acquire);
            if version == 0 {
                return None;
            }
            let value = memory.read::<T>(self.slot(version));
            // SYNC POINT: cell-reuse
            memory.fence(Fence::CellCheck);
            if memory.load(self.offset, Ordering::Relaxed) == version {
                return Some(value);
            }
        }
        None
    }
}
