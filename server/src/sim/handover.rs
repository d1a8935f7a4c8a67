//! The owner's half of a hand-over: between two ticks it puts the next owner's epoch into the published word, and forgets the match.

use ringfort_shm_state::layout::ZoneEntry;
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::worker::WorkerPage;
use tracing::{info, warn};

use super::{Sim, count};
use crate::clock::now_us;
use crate::game::Game;

/// A match that another sim is to go on with.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    next_sim: u32,
    next_epoch: u16,
    /// When its next tick was due when this was told.
    due_us: u64,
}

impl<G: Game> Sim<G> {
    /// Notes which matches of ours are to be handed over.
    pub(super) fn note_leaving<'e>(&mut self, entries: impl Iterator<Item = (&'e usize, &'e ZoneEntry)>) {
        let ours = entries.filter(|(_, entry)| entry.next_sim != 0 && entry.next_sim != self.slot + 1);
        let leaving = ours.filter_map(|(slot, entry)| {
            let due_us = self.leaving.get(slot).map(|leaving| leaving.due_us).or(self.zones.get(slot).map(|of| of.due_us))?;
            Some((*slot, Leaving { next_sim: entry.next_sim - 1, next_epoch: entry.next_epoch as u16, due_us }))
        });
        self.leaving = leaving.collect();
    }

    /// Hands over what is to leave, each right after a tick, so that the next owner has the time up to the next one.
    pub(super) fn hand_over(&mut self) {
        let now = now_us();
        let is_time = |slot: &usize, leaving: &Leaving| {
            let Some(of) = self.zones.get(slot) else { return false };
            let early = of.due_us > leaving.due_us || of.due_us > now + of.period_us / 2;
            early && of.zone.may_be_released()
        };
        let due: Vec<usize> =
            self.leaving.iter().filter(|(slot, leaving)| is_time(slot, leaving)).map(|(slot, _)| *slot).collect();
        for slot in due {
            let (Some(leaving), Some(of)) = (self.leaving.remove(&slot), self.zones.remove(&slot)) else { continue };
            let name = unpadded(&of.zone.entry().name);
            match of.zone.release(leaving.next_epoch) {
                Ok(()) => {
                    // A full counter means that it has not looked yet: it is awake soon enough.
                    if let Some(wake) = self.sims.get(leaving.next_sim as usize) {
                        let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
                    }
                    WorkerPage::new(&self.own).add(count::ZONES_RELEASED, 1);
                    info!(zone = slot, "match {name} is handed over to sim {}", leaving.next_sim);
                }
                Err(error) => warn!(zone = slot, "match {name} was not handed over: {error}"),
            }
        }
    }
}
