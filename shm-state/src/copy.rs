//! A copy of a zone that is whole although its owner goes on committing: for whoever keeps a world in a file.
//!
//! It is taken as every reader reads: the published word, then the control block, then what the zone owns, then the word again. Roots
//! that have left the window meanwhile may name pages that were written since, and are marked in the copy as having left.

use crate::cell::Cell;
use crate::layout::{AttemptEntry, RootHead, world as at};
use crate::limits::{EXTENT_BYTES, MAX_REFRESH_ATTEMPTS, ROOT_RING, WINDOW};
use crate::memory::{Fence, Words};
use crate::world::{Published, World};

/// Set in a copied root's sequence: it had left the window before all of its pages were copied.
pub(crate) const LEFT: u64 = 1 << 63;
/// Words of an extent.
const EXTENT_WORDS: usize = EXTENT_BYTES / 8;

/// A zone, copied.
#[derive(Debug, Default)]
pub struct ZoneCopy {
    /// Its control block, in words.
    pub control: Vec<u64>,
    /// The extents that are the zone's slot's, with the words that say so.
    pub owned: Vec<(usize, u64)>,
    /// What lies in them, one after the other.
    pub content: Vec<u64>,
}

impl ZoneCopy {
    /// What lies in each extent.
    pub fn extents(&self) -> impl Iterator<Item = (usize, u64, &[u64])> {
        let content = self.content.chunks_exact(EXTENT_WORDS);
        self.owned.iter().zip(content).map(|((extent, owner), words)| (*extent, *owner, words))
    }

    /// The net cursor of its newest root, if that is the match's: what its inbox has to hold from there on goes with the copy.
    pub fn consumed(&self, incarnation: u64) -> Option<u64> {
        let sequence = Published::from_word(self.control[at::PUBLISHED / 8]).sequence;
        let root = at::ROOTS + (sequence % ROOT_RING) as usize * at::ROOT_STRIDE;
        let word = |field: usize| self.control[(root + field) / 8];
        let is_its = sequence != 0
            && word(std::mem::offset_of!(RootHead, sequence)) == sequence
            && word(std::mem::offset_of!(RootHead, incarnation)) == incarnation;
        is_its.then(|| word(std::mem::offset_of!(RootHead, net_cursor)))
    }
}

impl<M: Words> World<M> {
    /// Copies a zone. Returns whether the newest root is whole in the copy: its owner commits too fast where it is not after all attempts.
    pub fn copy_zone(&self, zone: usize, copy: &mut ZoneCopy) -> bool {
        (0..MAX_REFRESH_ATTEMPTS).any(|_| self.try_copy_zone(zone, copy))
    }

    fn try_copy_zone(&self, zone: usize, copy: &mut ZoneCopy) -> bool {
        let before = self.published(zone);
        self.copy_control(zone, before, &mut copy.control);
        let owned = self.extents_of(zone).map(|extent| (extent, self.memory().load(at::OWNERS + extent * 8, RELAXED)));
        copy.owned = owned.collect();
        copy.content.clear();
        copy.content.resize(copy.owned.len() * EXTENT_WORDS, 0);
        for ((extent, _), words) in copy.owned.iter().zip(copy.content.chunks_exact_mut(EXTENT_WORDS)) {
            self.memory().copy_out(at::arena(self.extents()) + extent * EXTENT_BYTES, words);
        }
        // SYNC POINT: page-reuse
        self.memory().fence(Fence::RootCheck);
        let after = self.published(zone).sequence;
        let whole = after.wrapping_sub(before.sequence) < WINDOW;
        let left = |sequence: &u64| after.wrapping_sub(*sequence) >= WINDOW;
        for sequence in (before.sequence.saturating_sub(ROOT_RING - 1).max(1)..=before.sequence).filter(left) {
            let word = (at::ROOTS + (sequence % ROOT_RING) as usize * at::ROOT_STRIDE) / 8;
            copy.control[word + std::mem::offset_of!(RootHead, sequence) / 8] = sequence | LEFT;
        }
        whole
    }

    /// Copies a control block, as it was when it had published so much.
    fn copy_control(&self, zone: usize, published: Published, to: &mut Vec<u64>) {
        to.clear();
        to.resize(at::CONTROL_STRIDE / 8, 0);
        let from = Self::control(zone);
        let attempt = Cell::<AttemptEntry>::at(from + at::ATTEMPT);
        for _ in 0..MAX_REFRESH_ATTEMPTS {
            let version = attempt.version(self.memory());
            let fault = self.memory().load(from + at::FAULT, RELAXED);
            self.memory().copy_out(from, &mut to[..at::ROOTS / 8]);
            // SYNC POINT: cell-reuse
            self.memory().fence(Fence::CellCheck);
            if attempt.version(self.memory()) == version && self.memory().load(from + at::FAULT, RELAXED) == fault {
                break;
            }
        }
        self.memory().copy_out(from + at::ROOTS, &mut to[at::ROOTS / 8..]);
        to[at::PUBLISHED / 8] = published.word();
    }
}

const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

#[cfg(test)]
mod tests;
