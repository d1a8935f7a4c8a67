//! Matches that sims step while no supervisor lives: nothing of them is changed but what their dead sims leave to be granted.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{ZoneEntry, ZoneState};
use tracing::info;

use super::super::results::Results;
use super::super::segments::Segments;
use super::{Stage, Zone, Zones};
use crate::config::Config;

impl Zones {
    /// The matches of the directory as they are. What their dead sims and front-ends leave is to be told with [`Zones::sim_died`] and
    /// [`Zones::frontend_died`].
    pub(in super::super) fn adopt(config: &Config, segments: &Segments, results: Results) -> Zones {
        let mut zones = Zones::none(config, results);
        for (slot, entry) in Directory::new(&segments.directory).zones() {
            zones.last_incarnation = zones.last_incarnation.max(entry.incarnation);
            let mut zone = Zone::new(entry);
            zone.recall(slot, segments);
            info!(zone = slot, "match {} has id {} and sim {}", zone.name(), entry.incarnation, entry.owner_sim);
            zones.live.insert(slot, zone);
        }
        zones
    }

    /// Sims that a match names as its owner or its next one: the greatest slot.
    pub(in super::super) fn last_sim(entries: &[ZoneEntry]) -> u32 {
        entries.iter().map(|entry| entry.owner_sim.max(entry.next_sim.saturating_sub(1))).max().unwrap_or(0)
    }
}

impl Zone {
    /// Where it stands, by what lies in shared memory.
    fn recall(&mut self, slot: usize, segments: &Segments) {
        self.stage = if self.entry.state == ZoneState::Closed as u32 {
            Stage::Closed { generation: self.entry.generation, failed: false }
        } else if self.newest(slot, segments).is_some() {
            Stage::Open
        } else {
            Stage::Opening
        };
        let attempt = segments.world.attempt(slot).filter(|attempt| attempt.incarnation == self.entry.incarnation);
        // The tick under way is the one that it has died of, or is past that.
        self.suspect_tick = attempt.map_or(0, |attempt| attempt.tick);
    }
}
