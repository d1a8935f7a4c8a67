//! `ringfort processes`: the processes of an instance, as the kernel and their own segments tell of them.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::Role;
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::worker::WorkerPage;
use serde::Serialize;

use super::{Paper, Shown, printable, table};
use crate::attach::Attached;
use crate::status::{ProcessStatus, Status};

/// The processes of an instance.
#[derive(Debug, Serialize)]
pub struct Processes {
    /// Name of the instance.
    pub instance: String,
    /// Its processes.
    pub processes: Vec<ProcessShown>,
}

/// A process.
#[derive(Debug, Serialize)]
pub struct ProcessShown {
    /// What `status` tells of it.
    #[serde(flatten)]
    pub status: ProcessStatus,
    /// Grows with each process started in its slot.
    pub incarnation: u32,
    /// Matches that a sim has.
    pub matches: usize,
    /// The match whose tick or takeover a sim was last in the middle of; `None` when it was between two.
    pub stepping: Option<String>,
    /// Whether a sim has mapped all that it takes matches over with; `None` of others.
    pub ready: Option<bool>,
    /// Changes of the directory that it has not acted upon yet; `None` where there is no segment.
    pub changes_behind: Option<u64>,
}

/// Looks at the processes.
pub fn processes(attached: &Attached) -> Processes {
    let directory = Directory::new(&attached.directory);
    let shown = |(role, entry, status): (Role, _, ProcessStatus)| {
        let entry: ringfort_shm_state::layout::WorkerEntry = entry;
        let own = attached.worker(role, entry.slot);
        let page = own.as_ref().map(WorkerPage::new);
        let sim = page.filter(|_| role == Role::Sim || status.role == Role::Standby.name());
        let has = |zone: &(usize, ringfort_shm_state::layout::ZoneEntry)| zone.1.lives() && zone.1.owner_sim == entry.slot;
        ProcessShown {
            incarnation: entry.incarnation,
            matches: if role == Role::Sim { directory.zones().filter(has).count() } else { 0 },
            stepping: sim.and_then(|page| page.stepping()).map(|slot| name_of(directory, slot)),
            ready: sim.map(|page| page.is_ready()),
            changes_behind: page.map(|page| directory.generation().saturating_sub(page.seen_generation())),
            status,
        }
    };
    Processes { instance: attached.name.clone(), processes: Status::processes(attached).into_iter().map(shown).collect() }
}

/// What the match in a slot is called.
pub(super) fn name_of(directory: Directory<'_>, slot: usize) -> String {
    directory.zone(slot).map_or_else(|| format!("in slot {slot}"), |entry| unpadded(&entry.name))
}

impl Shown for Processes {
    fn text(&self, paper: &Paper) -> String {
        let head = ["PROCESS", "SLOT", "PID", "STATE", "STARTS", "RSS MiB", "CPU s", "BEAT ms", "MATCHES", "DOES"];
        let row = |process: &ProcessShown| {
            let status = &process.status;
            let does = match (&process.stepping, process.ready, &status.sheds) {
                (Some(name), ..) => format!("steps {}", printable(name)),
                (None, Some(false), _) => "warms up".to_owned(),
                (None, _, Some(sheds)) => format!("sheds: {sheds}"),
                _ => String::new(),
            };
            vec![
                status.role.to_owned(),
                status.slot.to_string(),
                status.pid.to_string(),
                status.state.to_owned(),
                process.incarnation.to_string(),
                format!("{:.1}", status.rss_bytes as f64 / f64::from(1 << 20)),
                format!("{:.1}", status.cpu_s),
                status.heartbeat_age_ms.map_or("-".to_owned(), |age| age.to_string()),
                process.matches.to_string(),
                does,
            ]
        };
        table(paper, &head, self.processes.iter().map(row).collect())
    }
}
