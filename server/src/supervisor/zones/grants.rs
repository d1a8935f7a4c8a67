//! Who steps which match: grants after a sim's death, hand-overs between two that live, pauses.
//!
//! **Invariant**: a match is granted to a sim only when every earlier grantee was reaped, or has put the epoch into the published word that the new one waits
//! for. Whoever is named by the word's epoch owns the match.

use ringfort_shm_state::layout::{FlightKind, PauseReason, ZoneEntry, ZoneState};
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::worker::WorkerPage;
use tracing::{error, info, warn};

use super::super::errors::MatchError;
use super::super::segments::Segments;
use super::super::workers::{Hung, Sims};
use super::{Stage, Zone, Zones, epoch_after_next, next_epoch};
use crate::flight::{self, Note};
use crate::limits::{HANG_CPU_MS_MIN, HANG_TICKS_MIN, OPENING_DEATHS_MAX};
use crate::sim::fault;
use crate::sim::judge::{Judgement, judge};

impl Zones {
    /// The sim for a new match, or for one that is let go on: the idlest of those at work, or one more if fewer are at work than should be.
    pub(super) fn idlest_sim(&self) -> u32 {
        let open = |sim: &u32| !self.leaving.contains(sim) && !self.has_suspect(*sim);
        let at_work = self.at_work();
        let may = |sim: &u32| open(sim) && (self.load(*sim) > 0 || at_work < self.sims as usize);
        (0..self.sim_slots).filter(may).min_by_key(|sim| self.load(*sim)).unwrap_or(0)
    }

    /// Matches that a sim steps, or will.
    pub(super) fn load(&self, sim: u32) -> usize {
        self.live.values().filter(|zone| zone.is_stepped() && zone.heir() == sim).count()
    }

    /// Whether a sim has a match that nobody else is to share a process with.
    pub(super) fn has_suspect(&self, sim: u32) -> bool {
        self.live.values().any(|zone| zone.is_stepped() && zone.entry.alone != 0 && zone.heir() == sim)
    }

    /// Slots that stand by: they have no match, and as many others are or could be at work as there are to be.
    pub(in super::super) fn standing_by(&self) -> Vec<u32> {
        let mut loads = vec![0; self.sim_slots as usize];
        for zone in self.live.values().filter(|zone| zone.is_stepped()) {
            if let Some(load) = loads.get_mut(zone.heir() as usize) {
                *load += 1;
            }
        }
        let at_work = loads.iter().filter(|load| **load > 0).count();
        let idle = (0..self.sim_slots).filter(|sim| loads[*sim as usize] == 0);
        idle.skip((self.sims as usize).saturating_sub(at_work)).collect()
    }

    /// How long a sim may be silent.
    pub(in super::super) fn hang_ms(&self, sim: u32, configured_ms: u64) -> u64 {
        let its = self.live.values().filter(|zone| zone.is_stepped() && zone.entry.owner_sim == sim);
        let slowest = its.map(|zone| 1000 / u64::from(zone.entry.tick_hz.max(1))).max().unwrap_or(0);
        configured_ms.max(HANG_TICKS_MIN * slowest)
    }

    /// A sim hangs and will be killed. Only if it has used the processor is that put down to the match whose tick was under way.
    pub(in super::super) fn sim_hangs(&mut self, segments: &Segments, hung: &Hung) {
        let stepping = WorkerPage::new(&segments.sims[hung.slot as usize]).stepping();
        let is_its = |zone: &&mut Zone| zone.is_live() && (zone.entry.owner_sim == hung.slot || zone.heir() == hung.slot);
        let found = stepping.and_then(|slot| Some((slot, self.live.get_mut(&slot).filter(is_its)?)));
        let Some((slot, zone)) = found.filter(|_| hung.cpu_ms >= HANG_CPU_MS_MIN) else { return };
        let attempt = segments.world.attempt(slot).filter(|attempt| attempt.incarnation == zone.entry.incarnation);
        if let Some(attempt) = attempt {
            (zone.entry.hang_tick, zone.entry.hang_attempt) = (attempt.tick, attempt.attempt);
            zone.publish(slot, segments);
            warn!(zone = slot, "match {} hangs in tick {}", zone.name(), attempt.tick);
        }
    }

    /// Grants the dead sim's matches to others. What was under way when it died is judged; the match that it died of gets a process
    /// of its own.
    pub(in super::super) fn sim_died(&mut self, segments: &Segments, sim: u32, sims: &Sims) {
        let stepping = WorkerPage::new(&segments.sims[sim as usize]).stepping();
        let (mut others, mut suspects) = (Vec::new(), Vec::new());
        for (slot, zone) in self.live.iter_mut().filter(|(_, zone)| zone.is_live() && !zone.is_paused()) {
            zone.follow_owner(*slot, segments);
            if zone.entry.owner_sim != sim {
                continue;
            }
            zone.awaited = false;
            if zone.stage == Stage::Opening {
                zone.opening_deaths += u32::from(stepping == Some(*slot));
                if zone.opening_deaths >= OPENING_DEATHS_MAX {
                    error!(
                        zone = *slot,
                        "match {} could not be opened: {OPENING_DEATHS_MAX} sims have died over it",
                        zone.name()
                    );
                    zone.entry.epoch = next_epoch(segments, *slot);
                    zone.close(*slot, segments, true);
                    continue;
                }
                others.push(*slot);
                continue;
            }
            match zone.judge(*slot, segments) {
                Some(Judgement { pause: Some(reason), .. }) => zone.pause(*slot, segments, reason),
                // Whatever its sim died of now: the tick has failed before, and may again.
                Some(judged) if judged.exact() => {
                    zone.suspect_tick = judged.next.tick;
                    suspects.push(*slot);
                }
                _ => others.push(*slot),
            }
        }
        let taker = self.taker(sim, sims);
        self.redirect(sim, sims, segments);
        others.iter().for_each(|slot| self.grant(*slot, taker.unwrap_or(sim), false, segments));
        for slot in suspects {
            // The one who stands by is at once as good as the successor is later, and has nothing else to do.
            let idle = |to: &u32| self.load(*to) == 0 && !self.has_suspect(*to);
            let own = taker.filter(idle).or_else(|| Some(sim).filter(idle));
            let any = || sims.slots.iter().copied().find(idle);
            self.grant(slot, own.or_else(any).unwrap_or(sim), true, segments);
        }
    }

    /// Matches that were to be handed over to a dead sim go to another one that is ready, under the same epoch: nobody has it but who is
    /// named now. A sim that has released one to the dead one by now has released it to that.
    fn redirect(&mut self, dead: u32, sims: &Sims, segments: &Segments) {
        let coming = self.live.iter().filter(|(_, zone)| zone.is_stepped() && zone.entry.next_sim == dead + 1);
        let coming: Vec<(usize, u32)> = coming.map(|(slot, zone)| (*slot, zone.entry.owner_sim)).collect();
        for (slot, owner) in coming {
            let others = sims.ready.iter().copied().filter(|to| *to != dead && *to != owner && !self.has_suspect(*to));
            // Without another the dead one's successor will do.
            let Some(to) = others.min_by_key(|to| (self.leaving.contains(to), self.load(*to))) else { continue };
            let zone = self.live.get_mut(&slot).expect("just seen");
            zone.entry.next_sim = to + 1;
            zone.publish(slot, segments);
            info!(zone = slot, "match {} moves to sim {to} instead", zone.name());
        }
    }

    /// Who takes over from a dead sim: one that stands by and is ready, else one that is at work; nobody when all are starting.
    fn taker(&self, dead: u32, sims: &Sims) -> Option<u32> {
        let ready = sims.ready.iter().copied().filter(|sim| *sim != dead && !self.has_suspect(*sim));
        // One that is to be empty is better than none.
        ready.min_by_key(|sim| (self.leaving.contains(sim), self.load(*sim)))
    }

    fn grant(&mut self, slot: usize, sim: u32, alone: bool, segments: &Segments) {
        let Some(zone) = self.live.get_mut(&slot) else { return };
        zone.entry = ZoneEntry {
            owner_sim: sim,
            epoch: zone.epoch_to_grant(slot, segments),
            alone: alone.into(),
            next_sim: 0,
            next_epoch: 0,
            ..zone.entry
        };
        zone.publish(slot, segments);
        info!(zone = slot, "match {} is granted to sim {sim}{}", zone.name(), if alone { ", alone" } else { "" });
    }

    /// Has a match's sim hand it over to another between two ticks, if it is in a state to do so.
    pub(in super::super) fn begin_move(&mut self, slot: usize, to: u32, segments: &Segments) {
        let Some(zone) = self.live.get_mut(&slot).filter(|zone| zone.can_move(slot, segments)) else { return };
        if zone.entry.owner_sim != to {
            (zone.entry.next_sim, zone.entry.next_epoch) = (to + 1, next_epoch(segments, slot));
            zone.publish(slot, segments);
            info!(zone = slot, "match {} moves from sim {} to sim {to}", zone.name(), zone.entry.owner_sim);
        }
    }

    /// A match that has passed the tick that its sim died of goes to a sim with others, if another sim is to be at work than its own: its own
    /// stands by from then on. Returns whether the directory has changed.
    pub(in super::super) fn settle_suspects(&mut self, segments: &Segments, sims: &Sims) -> bool {
        let passed = |(slot, zone): (&usize, &Zone)| {
            let head = (zone.entry.alone != 0 && zone.can_move(*slot, segments)).then(|| zone.newest(*slot, segments)).flatten();
            head.is_some_and(|head| head.tick >= zone.suspect_tick).then_some(*slot)
        };
        let passed: Vec<usize> = self.live.iter().filter_map(passed).collect();
        for slot in &passed {
            let zone = self.live.get_mut(slot).expect("just seen");
            zone.entry.alone = 0;
            zone.publish(*slot, segments);
            info!(zone = *slot, "match {} has passed tick {}", zone.name(), zone.suspect_tick);
            let (own, at_work) = (zone.entry.owner_sim, (0..self.sim_slots).filter(|sim| self.load(*sim) > 0).count());
            let others = sims.ready.iter().copied().filter(|sim| *sim != own && self.load(*sim) > 0 && !self.has_suspect(*sim));
            if let Some(to) = others.min_by_key(|sim| self.load(*sim)).filter(|_| at_work > self.sims as usize) {
                self.begin_move(*slot, to, segments);
            }
        }
        !passed.is_empty()
    }

    /// Lets a paused match go on. What was counted of its tick counts no more.
    pub(in super::super) fn resume_paused(&mut self, name: &str, segments: &Segments) -> Result<(usize, u64), MatchError> {
        let sim = self.idlest_sim();
        let found = self.live.iter_mut().find(|(_, zone)| zone.name() == name && zone.is_live());
        let (slot, zone) = found.ok_or_else(|| MatchError::NoSuchMatch(name.to_owned()))?;
        if !zone.is_paused() {
            return Err(MatchError::NotPaused(name.to_owned()));
        }
        zone.entry.resumes = zone.entry.resumes.wrapping_add(1);
        (zone.entry.pause, zone.entry.hang_tick, zone.entry.hang_attempt) = (0, 0, 0);
        zone.entry.state = ZoneState::Open as u32;
        let (slot, id) = (*slot, zone.entry.incarnation);
        self.grant(slot, sim, false, segments);
        Ok((slot, id))
    }
}

impl Zone {
    pub(super) fn is_paused(&self) -> bool {
        self.entry.state == ZoneState::Paused as u32
    }

    /// Whether some sim is to step it.
    pub(super) fn is_stepped(&self) -> bool {
        self.is_live() && !self.is_paused()
    }

    /// Whose it will be, unless somebody dies.
    pub(super) fn heir(&self) -> u32 {
        self.entry.next_sim.checked_sub(1).unwrap_or(self.entry.owner_sim)
    }

    /// Whether it can be handed over now: its sim steps it. One that has yet to claim it would put the very epoch into the published word
    /// that the next one is to wait for.
    pub(super) fn can_move(&self, slot: usize, segments: &Segments) -> bool {
        self.is_settled() && self.is_claimed(slot, segments) && !self.has_failed(slot, segments)
    }

    fn is_settled(&self) -> bool {
        self.stage == Stage::Open && !self.is_paused() && self.entry.next_sim == 0
    }

    /// The epoch of a grant after its owner's death.
    fn epoch_to_grant(&self, slot: usize, segments: &Segments) -> u32 {
        if self.entry.next_sim != 0 {
            epoch_after_next(segments, slot)
        } else if self.is_claimed(slot, segments) {
            next_epoch(segments, slot)
        } else {
            // The dead one never claimed it. One below may be what a sim still waits for that a move has named before.
            self.entry.epoch
        }
    }

    /// Notes that its owner has handed it over, if it has. Returns whether the directory has changed.
    pub(super) fn follow_owner(&mut self, slot: usize, segments: &Segments) -> bool {
        let done = self.entry.next_sim != 0 && segments.world.published(slot).epoch == self.entry.next_epoch as u16;
        if done {
            (self.entry.owner_sim, self.entry.epoch) = (self.heir(), self.entry.next_epoch);
            (self.entry.next_sim, self.entry.next_epoch) = (0, 0);
            self.publish(slot, segments);
            self.note(FlightKind::Move, slot, self.entry.owner_sim.into());
        }
        done
    }

    fn note(&self, kind: FlightKind, slot: usize, a: u64) {
        let (zone, name) = (Some((slot, self.entry.incarnation)), unpadded(&self.entry.name));
        flight::note(kind, Note { zone, a, text: &name, ..Note::default() });
    }

    /// What the next owner will find.
    fn judge(&self, slot: usize, segments: &Segments) -> Option<Judgement> {
        let head = self.newest(slot, segments)?;
        Some(judge(&self.entry, head.tick, segments.world.attempt(slot), segments.world.fault(slot)))
    }

    /// Pauses it if the last run has died before it did.
    pub(super) fn pause_if_judged(&mut self, slot: usize, segments: &Segments) {
        let reason = self.judge(slot, segments).and_then(|judged| judged.pause);
        if let Some(reason) = reason.filter(|_| !self.is_paused()) {
            self.pause(slot, segments, reason);
        }
    }

    fn pause(&mut self, slot: usize, segments: &Segments, reason: PauseReason) {
        let why = match reason {
            PauseReason::Faults => "its game fails in one tick, without that tick's inputs too",
            PauseReason::Deaths => "its sims die in one tick, and nobody knows of what",
        };
        let name = unpadded(&self.entry.name);
        if let Some(attempt) = segments.world.attempt(slot).filter(|_| reason == PauseReason::Faults) {
            // Whoever takes a match over tells of the fault before; after the last one nobody does.
            let text = fault::why(&self.entry, attempt.tick, segments.world.fault(slot));
            let (zone, a, b) = (Some((slot, self.entry.incarnation)), attempt.tick.into(), attempt.attempt.into());
            flight::note(FlightKind::Fault, Note { zone, a, b, text: &text, ..Note::default() });
        }
        self.note(FlightKind::Pause, slot, reason as u64);
        error!(
            zone = slot,
            "match {name} is paused: {why}; mend the game or `ringfort matches end {name}`, or let it try again with `ringfort matches resume {name}`"
        );
        (self.entry.state, self.entry.pause, self.entry.alone) = (ZoneState::Paused as u32, reason as u32, 0);
        self.entry.epoch = self.epoch_to_grant(slot, segments);
        (self.entry.next_sim, self.entry.next_epoch) = (0, 0);
        self.publish(slot, segments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_to_hand_over_keeps_what_it_has_until_it_does() {
        let mut zone = Zone::new(ZoneEntry { owner_sim: 1, state: ZoneState::Open as u32, ..zerocopy::FromZeros::new_zeroed() });
        zone.stage = Stage::Open;
        assert!(zone.is_settled() && zone.heir() == 1);
        zone.entry.next_sim = 3;
        assert!(!zone.is_settled() && zone.heir() == 2 && zone.entry.owner_sim == 1);
        zone.entry.state = ZoneState::Paused as u32;
        assert!(!zone.is_stepped());
    }
}
