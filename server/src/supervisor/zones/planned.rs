//! What planned work on sims asks of the matches: who has which, where one may go, and what is left to move.

use std::collections::BTreeSet;

use super::super::moves::MoveError;
use super::super::segments::Segments;
use super::super::workers::Sims;
use super::{Stage, Zones};
use crate::game::ZoneLimits;

impl Zones {
    /// Whether a match may be moved to a sim. Returns its slot and its id.
    pub(in super::super) fn check_move(
        &self,
        name: &str,
        to: u32,
        sims: &Sims,
        segments: &Segments,
    ) -> Result<(usize, u64), MoveError> {
        let found = self.live.iter().find(|(_, zone)| zone.name() == name && zone.is_live());
        let (slot, zone) = found.ok_or_else(|| MoveError::NoSuchMatch(name.to_owned()))?;
        let name = || name.to_owned();
        if !sims.slots.contains(&to) {
            return Err(MoveError::NoSuchSlot { slot: to, last: sims.slots.iter().copied().max().unwrap_or(0) });
        }
        if zone.is_paused() {
            return Err(MoveError::Paused(name()));
        }
        if zone.entry.next_sim != 0 {
            return Err(MoveError::Moving { name: name(), slot: zone.heir() });
        }
        if zone.entry.owner_sim == to {
            return Err(MoveError::IsThere { name: name(), slot: to });
        }
        if zone.stage != Stage::Open {
            return Err(MoveError::NotOpen(name()));
        }
        if zone.entry.alone != 0 {
            return Err(MoveError::Alone(name()));
        }
        if !zone.can_move(*slot, segments) {
            return Err(MoveError::NotTaken { name: name(), slot: zone.entry.owner_sim });
        }
        if !sims.ready.contains(&to) {
            return Err(MoveError::NotReady(to));
        }
        if self.has_suspect(to) {
            return Err(MoveError::SuspectThere(to));
        }
        let emptied = self.load(zone.entry.owner_sim) == 1;
        if self.load(to) == 0 && !emptied && self.at_work() >= self.sims as usize {
            return Err(MoveError::Standby { slot: to, sims: self.sims, more: self.sims + 1 });
        }
        Ok((*slot, zone.entry.incarnation))
    }

    /// Which sim has a match, and which is to have it next; nothing of one that is over.
    pub(in super::super) fn whereabouts(&self, slot: usize, id: u64) -> Option<(u32, Option<u32>)> {
        let zone = self.live.get(&slot).filter(|zone| zone.entry.incarnation == id && zone.is_live())?;
        Some((zone.entry.owner_sim, zone.entry.next_sim.checked_sub(1)))
    }

    /// Sims that are given no match, because they are to be empty; no others.
    pub(in super::super) fn set_leaving(&mut self, sims: impl IntoIterator<Item = u32>) {
        self.leaving = sims.into_iter().collect();
    }

    /// Those sims.
    pub(in super::super) fn leaving(&self) -> BTreeSet<u32> {
        self.leaving.clone()
    }

    /// From now on so many sims are to be at work, of so many slots.
    pub(in super::super) fn set_sims(&mut self, sims: u32, slots: u32) {
        (self.sims, self.sim_slots) = (sims, slots);
    }

    /// Sims with matches that are not about to lose them all.
    pub(super) fn at_work(&self) -> usize {
        (0..self.sim_slots).filter(|sim| self.load(*sim) > 0 && !self.leaving.contains(sim)).count()
    }

    /// The sim with the fewest matches, if more are at work than are to be.
    pub(in super::super) fn surplus(&self) -> Option<u32> {
        let at_work = (0..self.sim_slots).filter(|sim| self.load(*sim) > 0);
        at_work.min_by_key(|sim| self.load(*sim)).filter(|_| self.at_work() > self.sims as usize)
    }

    /// Matches that a sim has, or is about to be given. Not one that it could not open or take over: that goes to another when its process
    /// ends.
    pub(in super::super) fn owned(&self, sim: u32, segments: &Segments) -> usize {
        let is_its = |zone: &super::Zone| zone.is_stepped() && (zone.entry.owner_sim == sim || zone.heir() == sim);
        self.live.iter().filter(|(slot, zone)| is_its(zone) && !zone.has_failed(**slot, segments)).count()
    }

    /// Where a match of a sim that is to be empty may go: the idlest of these, and to one without matches only if fewer are at work than are to be.
    pub(in super::super) fn refuge(&self, from: u32, candidates: &[u32]) -> Option<u32> {
        let others =
            || candidates.iter().copied().filter(|to| *to != from && !self.leaving.contains(to) && !self.has_suspect(*to));
        let full = (0..self.sim_slots).filter(|sim| *sim != from && self.load(*sim) > 0).count() >= self.sims as usize;
        let working = others().filter(|to| !full || self.load(*to) > 0);
        working.min_by_key(|to| self.load(*to)).or_else(|| others().min_by_key(|to| self.load(*to)))
    }

    /// From where to where a match is to go so that the matches are spread more evenly; nothing when they are.
    pub(in super::super) fn uneven(&self, ready: &[u32], segments: &Segments) -> Option<(u32, u32)> {
        let open = |sim: &u32| !self.leaving.contains(sim) && !self.has_suspect(*sim);
        let from = (0..self.sim_slots)
            .filter(|sim| open(sim) && self.movable(*sim, segments).is_some())
            .max_by_key(|sim| self.load(*sim))?;
        let room = self.at_work() < self.sims as usize;
        let to =
            ready.iter().copied().filter(|sim| open(sim) && (room || self.load(*sim) > 0)).min_by_key(|sim| self.load(*sim))?;
        (self.load(from) > self.load(to) + 1).then_some((from, to))
    }

    /// A match that is just being handed over.
    pub(in super::super) fn moving(&self) -> Option<String> {
        self.live.values().find(|zone| zone.is_stepped() && zone.entry.next_sim != 0).map(super::Zone::name)
    }

    /// A match of a sim that may be handed over now.
    pub(in super::super) fn movable(&self, from: u32, segments: &Segments) -> Option<usize> {
        let its = self.live.iter().filter(|(_, zone)| zone.entry.owner_sim == from && zone.entry.alone == 0);
        its.filter(|(slot, zone)| zone.can_move(**slot, segments)).map(|(slot, _)| *slot).next()
    }

    /// The last slot is given up, and its process is dead. A match that nobody steps has another sim to end it.
    pub(in super::super) fn forget_slot(&mut self, sim: u32, segments: &Segments) {
        for (slot, zone) in self.live.iter_mut().filter(|(_, zone)| zone.entry.owner_sim == sim) {
            zone.entry.owner_sim = 0;
            zone.publish(*slot, segments);
        }
        self.sim_slots = sim;
    }

    /// The sizes of the matches, each once.
    pub(in super::super) fn sizes(&self) -> Vec<ZoneLimits> {
        let mut sizes: Vec<ZoneLimits> = Vec::new();
        for size in self.live.values().map(|zone| ZoneLimits::of_entry(&zone.entry)) {
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        }
        sizes
    }
}
