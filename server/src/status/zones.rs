//! `ringfort zones list`: which sim has which match.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::ZoneState;
use ringfort_shm_state::segment::unpadded;
use serde::Serialize;

use crate::attach::{AttachError, Attached};

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

/// The matches of an instance by their sims.
pub fn zones(instance: &str) -> Result<Vec<ZoneShown>, AttachError> {
    let attached = Attached::open(instance)?;
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
    Ok(zones)
}

/// The same for people.
pub fn zones_to_text(zones: &[ZoneShown]) -> String {
    if zones.is_empty() {
        return "no matches\n".to_owned();
    }
    let mut text = format!("{:>4}  {:<24} {:>10}  {:>6}  state\n", "sim", "match", "tick", "epoch");
    for zone in zones {
        let state = match zone {
            ZoneShown { paused: true, .. } => "paused".to_owned(),
            ZoneShown { next_sim: Some(next), .. } => format!("moves to sim {next}"),
            ZoneShown { alone: true, .. } => "alone in its process".to_owned(),
            _ => "running".to_owned(),
        };
        text += &format!("{:>4}  {:<24} {:>10}  {:>6}  {state}\n", zone.sim, zone.name, zone.tick, zone.epoch);
    }
    text
}
