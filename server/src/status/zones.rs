//! `ringfort zones list`: which sim has which match.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::ZoneState;
use ringfort_shm_state::segment::unpadded;
use serde::Serialize;

use crate::attach::Attached;
use crate::look::{Paper, Shown, printable, table};

/// A match and its sim.
#[derive(Debug, Serialize)]
pub struct ZoneShown {
    /// Its name.
    pub name: String,
    /// Its id, never used again for another.
    pub id: u64,
    /// The slot of the sim that has it.
    pub sim: u32,
    /// The slot of the sim that it is just being handed over to.
    pub next_sim: Option<u32>,
    /// Grows with each hand-over and each takeover.
    pub epoch: u32,
    /// Whether it runs alone in its process, because the last one died of it.
    pub alone: bool,
    /// Whether it is paused: no sim steps it.
    pub paused: bool,
    /// The newest committed tick.
    pub tick: u32,
}

/// What `zones list` tells.
#[derive(Debug, Serialize)]
pub struct Zones {
    /// Name of the instance.
    pub instance: String,
    /// Its matches, by their sims.
    pub zones: Vec<ZoneShown>,
}

/// The matches of an instance by their sims.
pub fn zones(attached: &Attached) -> Zones {
    let open = |state: u32| state == ZoneState::Open as u32 || state == ZoneState::Paused as u32;
    let entries = Directory::new(&attached.directory).zones().filter(|(_, entry)| open(entry.state));
    let mut zones: Vec<ZoneShown> = entries
        .map(|(slot, entry)| {
            let head =
                attached.world.newest(slot).ok().map(|root| root.head).filter(|head| head.incarnation == entry.incarnation);
            ZoneShown {
                name: unpadded(&entry.name),
                id: entry.incarnation,
                sim: entry.owner_sim,
                next_sim: entry.next_sim.checked_sub(1),
                epoch: entry.epoch,
                alone: entry.alone != 0,
                paused: entry.state == ZoneState::Paused as u32,
                tick: head.map_or(0, |head| head.tick),
            }
        })
        .collect();
    zones.sort_by(|a, b| (a.sim, &a.name).cmp(&(b.sim, &b.name)));
    Zones { instance: attached.name.clone(), zones }
}

impl Shown for Zones {
    fn text(&self, paper: &Paper) -> String {
        text(&self.zones, paper)
    }
}

fn text(zones: &[ZoneShown], paper: &Paper) -> String {
    if zones.is_empty() {
        return "no matches\n".to_owned();
    }
    let state = |zone: &ZoneShown| match zone {
        ZoneShown { paused: true, .. } => "paused".to_owned(),
        ZoneShown { next_sim: Some(next), .. } => format!("moves to sim {next}"),
        ZoneShown { alone: true, .. } => "alone in its process".to_owned(),
        _ => "running".to_owned(),
    };
    let row = |zone: &ZoneShown| {
        vec![printable(&zone.name), zone.sim.to_string(), zone.tick.to_string(), zone.epoch.to_string(), state(zone)]
    };
    table(paper, &["MATCH", "SIM", "TICK", "EPOCH", "STATE"], zones.iter().map(row).collect())
}
