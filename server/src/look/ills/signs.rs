//! What the rules look at beside the status, copied out of shared memory in one look.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{FaultKind, Role, RootFlags, SegmentKind, WorkerEntry, WorkerState, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::FAULT_TEXT_BYTES;
use ringfort_shm_state::segment::SegmentSpec;
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::RootError;

use crate::attach::Attached;
use crate::game::GameMap;
use crate::limits::FRONTEND_STANDBY;
use crate::look::locks::{HeldLock, locks};
use crate::look::processes::name_of;
use crate::look::rings::rings;
use crate::saved::SavedFile;
use crate::status::{MatchStatus, ProcessStatus, Status, Times, shown_as};

/// What is known of an instance beside its status.
#[derive(Debug, Default)]
pub struct Signs {
    /// Milliseconds for which its processes may be silent, if it is known that they may for longer than usual.
    pub hang_ms: u64,
    /// Whether the machine was started after the instance.
    pub before_boot: bool,
    /// Of its processes, in the order of the status.
    pub processes: Vec<ProcessSigns>,
    /// Of its matches, in the order of the status.
    pub matches: Vec<MatchSigns>,
    /// Locks that are held.
    pub locks: Vec<HeldLock>,
    /// Why the map of the game cannot be read.
    pub map: Option<String>,
    /// Why the inboxes between zones cannot be read, which nothing else looks at.
    pub between_zones: Option<String>,
    /// Extents of the arena that belong to no match that there is.
    pub extents_strange: usize,
    /// What could not be saved of it, of an instance in a file.
    pub file_problems: Vec<String>,
    /// Chunks of the file that were looked at so far and are damaged.
    pub damaged_chunks: usize,
}

/// What is known of a process.
#[derive(Debug, Clone, Default)]
pub struct ProcessSigns {
    /// Whether it has died and its supervisor is to start it again.
    pub waits: bool,
    /// Whether it was told to end.
    pub ends: bool,
    /// Whether its segment is missing or damaged.
    pub is_lost: bool,
    /// What a sim is in the middle of.
    pub stepping: Option<String>,
}

/// What is known of a match.
#[derive(Debug, Clone, Default)]
pub struct MatchSigns {
    /// Duration of its ticks, in microseconds: of those seen lately, else of all.
    pub took: Times,
    /// How late they began, likewise.
    pub late: Times,
    /// Milliseconds since its newest commit, of one that is to be stepped.
    pub still_ms: Option<u64>,
    /// What its sim has died of last.
    pub fault: Option<String>,
    /// The tick that is tried again, and for which time.
    pub retried: Option<(u32, u32)>,
    /// Why its newest commit cannot be read.
    pub torn: Option<String>,
    /// Why it does not fit the map of the game.
    pub undecoded: Option<String>,
    /// What is wrong with its inbox.
    pub inbox: Option<String>,
}

impl Signs {
    /// Nothing but what the status tells.
    pub fn of_status(status: &Status) -> Signs {
        let signs = |of: &MatchStatus| MatchSigns { took: of.tick_us, late: of.tick_late_us, ..MatchSigns::default() };
        Signs {
            processes: vec![ProcessSigns::default(); status.processes.len()],
            matches: status.matches.iter().map(signs).collect(),
            ..Signs::default()
        }
    }

    /// Looks at an instance whose status was just looked at.
    pub fn look(attached: &Attached, status: &Status) -> Signs {
        let mut signs = Signs::of_status(status);
        let directory = Directory::new(&attached.directory);
        let workers: Vec<WorkerEntry> = directory.workers().collect();
        for (process, signs) in status.processes.iter().zip(&mut signs.processes) {
            *signs = of_process(attached, status, process, &workers);
        }
        let game = attached.game().map_err(|error| signs.map = Some(error.to_string())).ok();
        let mut damage: BTreeMap<usize, String> =
            rings(attached).rings.into_iter().filter_map(|ring| Some((ring.slot, ring.damage?))).collect();
        for (of, signs) in status.matches.iter().zip(&mut signs.matches) {
            signs.inbox = damage.remove(&of.slot);
            if let Some(entry) = directory.zone(of.slot).filter(|entry| entry.incarnation == of.id) {
                signs.look_into(attached, of, &entry, game.as_ref());
            }
        }
        let between_zones = SegmentSpec::inbox(SegmentKind::InboxSys, 0);
        signs.between_zones = attached.segment(between_zones).err().map(|error| error.to_string());
        signs.extents_strange = extents_strange(attached, status);
        signs.locks = locks(attached).held;
        signs.before_boot = attached.instance.started_us > attached.moment.boot_us();
        // Last, as all that was looked at before may have touched damaged chunks.
        signs.file_problems = attached.file().map_or(Vec::new(), |file| file.about().problems.clone());
        signs.damaged_chunks = attached.file().map_or(0, SavedFile::damaged_chunks);
        signs
    }
}

/// A match may begin or end meanwhile: an extent is strange if it belongs to none that there was before or is now.
fn extents_strange(attached: &Attached, status: &Status) -> usize {
    let before: BTreeSet<(usize, u64)> = status.matches.iter().map(|of| (of.slot, of.id)).collect();
    let owners = (0..attached.world.extents()).filter_map(|extent| attached.world.owner(extent));
    let mut strange: Vec<(usize, u64)> = owners.filter(|owner| !before.contains(owner)).collect();
    if !strange.is_empty() {
        let now: BTreeSet<(usize, u64)> =
            Directory::new(&attached.directory).zones().map(|(slot, entry)| (slot, entry.incarnation)).collect();
        strange.retain(|owner| !now.contains(owner));
    }
    strange.len()
}

fn of_process(attached: &Attached, status: &Status, process: &ProcessStatus, workers: &[WorkerEntry]) -> ProcessSigns {
    let its = |entry: &&WorkerEntry| (entry.pid, entry.slot) == (process.pid, process.slot);
    let found = workers.iter().filter(its).find_map(|entry| {
        let role = Role::from_u32(entry.role)?;
        (shown_as(role, entry.slot) == process.role).then_some((role, entry))
    });
    // Another has taken its place meanwhile.
    let Some((role, entry)) = found else { return ProcessSigns { ends: true, ..ProcessSigns::default() } };
    let is_dead = entry.state == WorkerState::Dead as u32;
    let own = attached.worker(role, entry.slot);
    let is_sim = role == Role::Sim || role == Role::Standby && entry.slot != FRONTEND_STANDBY;
    ProcessSigns {
        waits: is_dead && !status.stopping,
        ends: entry.state == WorkerState::Stopping as u32 || is_dead && status.stopping,
        is_lost: role != Role::Supervisor && own.is_none(),
        stepping: own.filter(|_| is_sim).and_then(|own| stepping(attached, WorkerPage::new(&own))),
    }
}

/// What a sim is in the middle of.
fn stepping(attached: &Attached, page: WorkerPage<'_>) -> Option<String> {
    let slot = page.stepping()?;
    let name = name_of(Directory::new(&attached.directory), slot);
    let attempt = attached.world.attempt(slot);
    let of_tick = attempt.map_or(String::new(), |attempt| format!(", tick {}, attempt {}", attempt.tick, attempt.attempt));
    Some(format!("in the middle of match \"{name}\"{of_tick}"))
}

impl MatchSigns {
    fn look_into(&mut self, attached: &Attached, of: &MatchStatus, entry: &ZoneEntry, game: Option<&GameMap>) {
        let world = &attached.world;
        let fault = world.fault(of.slot).filter(|fault| fault.incarnation == of.id);
        self.fault = fault.map(|fault| match fault.kind {
            kind if kind == FaultKind::Signal as u32 => format!("signal {} at address {:#x}", fault.signal, fault.address),
            _ => {
                let bytes = (fault.bytes as usize).min(FAULT_TEXT_BYTES);
                String::from_utf8_lossy(&fault.text[..bytes]).into_owned()
            }
        });
        let attempt = world.attempt(of.slot).filter(|attempt| attempt.incarnation == of.id && attempt.tick > of.tick);
        self.retried = attempt.filter(|attempt| attempt.attempt > 1).map(|attempt| (attempt.tick, attempt.attempt));
        if !entry.lives() {
            return;
        }
        self.undecoded = game.and_then(|game| game.lay_out(entry).err()).map(|error| error.to_string());
        match world.newest(of.slot) {
            Ok(root) => {
                let head = root.head;
                let is_stepped =
                    entry.state == ZoneState::Open as u32 && head.incarnation == of.id && head.flags & RootFlags::ENDED == 0;
                let age_ms = attached.moment.now_us().saturating_sub(head.published_us) / 1000;
                self.still_ms = is_stepped.then_some(age_ms);
            }
            Err(RootError::Nothing { .. }) => {}
            Err(error) => self.torn = Some(error.to_string()),
        }
    }
}
