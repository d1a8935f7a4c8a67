//! Who may publish in a zone slot, how its owner hands it over, and how a match leaves it: by roots without pages, until none that names one is in the window,
//! and only then its extents go back.

use crate::layout::{RootFlags, RootHead};
use crate::limits::*;
use crate::memory::Words;
use crate::pages::AdoptError;
use crate::tree::Tree;
use crate::world::{PageHandle, Published, Root, World};
use zerocopy::FromZeros;

impl<M: Words> World<M> {
    /// Puts the epoch that was granted into the published word, unless somebody was granted a later one.
    pub fn claim(&self, zone: usize, granted: u16) -> Result<Published, AdoptError> {
        let mut seen = self.published(zone);
        loop {
            if seen.epoch != granted && granted.wrapping_sub(seen.epoch) > u16::MAX / 2 {
                return Err(AdoptError::Fenced { zone, epoch: seen.epoch, granted });
            }
            if seen.sequence >= MAX_ADOPTED_SEQUENCE {
                return Err(AdoptError::Sequence { zone, sequence: seen.sequence });
            }
            let mine = Published { epoch: granted, ..seen };
            match self.publish(zone, seen, mine) {
                Ok(()) => {
                    crate::kill_point!("claim:published");
                    return Ok(mine);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Hands the zone over between two ticks: the newest root stays, and only who was granted `next` publishes from here on.
    pub(crate) fn release(&self, zone: usize, from: Published, next: u16) -> Result<(), Published> {
        self.publish(zone, from, Published { epoch: next, ..from })
    }

    /// Publishes roots without pages until every root that names one has left the window. One by one: each descriptor replaces one
    /// that has left already, so that the newest root is whole whenever the owner dies, and the next owner goes on.
    pub(crate) fn vacate(&self, zone: usize, from: Published, head: RootHead) -> Result<(Published, RootHead), Published> {
        let flags = head.flags | RootFlags::ENDED;
        let tables = Tree::new(head.logical_pages as usize).roots() as u32;
        let head = RootHead { flags, tables, pages_used: 0, sessions: 0, entities: 0, state_hash: 0, ..head };
        let mut root = Root { head, tables: [PageHandle::NONE; MAX_TABLES] };
        let mut published = from;
        for _ in 0..WINDOW {
            let to = Published { sequence: published.sequence + 1, ..published };
            root.head.sequence = to.sequence;
            self.write_root(zone, &mut root);
            crate::kill_point!("end:root_written");
            self.publish(zone, published, to)?;
            crate::kill_point!("end:published");
            published = to;
        }
        Ok((published, root.head))
    }

    /// Leaves a zone slot: the roots with pages leave the window first, and only then the extents go back, since whoever takes one
    /// writes into it.
    pub(crate) fn leave(&self, zone: usize, from: Published, head: RootHead) -> Result<(Published, RootHead), Published> {
        let left = self.vacate(zone, from, head)?;
        self.extents_of(zone).for_each(|extent| self.give_extent(extent));
        Ok(left)
    }

    /// Gives back what an earlier match left in a slot whose epoch was just claimed: its owner died before it was done with that.
    pub(crate) fn clear_out(&self, zone: usize, claimed: Published) -> Result<Published, AdoptError> {
        if self.extents_of(zone).next().is_none() {
            return Ok(claimed);
        }
        if claimed.sequence == 0 {
            self.extents_of(zone).for_each(|extent| self.give_extent(extent));
            return Ok(claimed);
        }
        let head = self.root(zone, claimed.sequence).map_or(RootHead::new_zeroed(), |root| root.head);
        let fenced = |now: Published| AdoptError::Fenced { zone, epoch: now.epoch, granted: claimed.epoch };
        Ok(self.leave(zone, claimed, head).map_err(fenced)?.0)
    }

    /// Whether a match has published its end. If so, what its owner did not live to do is done: the roots with pages leave the
    /// window, and only then the extents go back. Only for a process that was granted the zone.
    pub fn finish_ended(&self, zone: usize, incarnation: u64) -> bool {
        let ended = self.newest(zone).is_ok_and(|r| r.head.incarnation == incarnation && r.head.flags & RootFlags::ENDED != 0);
        if ended && self.owns_memory(zone, incarnation) {
            // It fails only when somebody else was granted the zone meanwhile, who does the same.
            let _ = self.clear_out(zone, self.published(zone));
        }
        ended
    }

    /// Ends a match that cannot be stepped, whatever it has published, and gives its memory back. Only for a process that was
    /// granted the zone with this epoch.
    pub fn abandon(&self, zone: usize, epoch: u16) -> Result<(), AdoptError> {
        let claimed = self.claim(zone, epoch)?;
        self.clear_out(zone, claimed).map(drop)
    }

    /// Whether a match owns extents.
    pub fn owns_memory(&self, zone: usize, incarnation: u64) -> bool {
        (0..self.extents()).any(|extent| self.owner(extent) == Some((zone, incarnation)))
    }
}
