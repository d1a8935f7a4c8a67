//! `ringfort counters`: what the workers count, summed up or each for itself.

use std::collections::BTreeMap;

use clap::Args;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{Role, WorkerEntry};
use ringfort_shm_state::limits::MAX_COUNTERS;
use ringfort_shm_state::worker::WorkerPage;
use serde::Serialize;

use super::{Paper, Reading, Shown, table};
use crate::attach::Attached;
use crate::limits::FRONTEND_STANDBY;

/// Flags of `counters`.
#[derive(Debug, Clone, Args)]
pub struct CountersArgs {
    /// Only those of front-ends, of sims, or of the hook
    #[arg(long)]
    pub role: Option<crate::cli::Role>,
    /// Each process for itself
    #[arg(long)]
    pub per_process: bool,
    /// Those that are 0, too
    #[arg(long)]
    pub all: bool,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// The counters of an instance.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// Name of the instance.
    pub instance: String,
    /// Each counter, summed over the workers that count it.
    pub counters: BTreeMap<&'static str, u64>,
    /// The same of each worker, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<ProcessCounters>>,
    #[serde(skip)]
    all: bool,
}

/// What one worker counts.
#[derive(Debug, Serialize)]
pub struct ProcessCounters {
    /// What it is for.
    pub role: &'static str,
    /// Which of its kind.
    pub slot: u32,
    /// Its counters.
    pub counters: BTreeMap<&'static str, u64>,
}

/// Looks at the counters.
pub fn counters(attached: &Attached, args: &CountersArgs) -> Counted {
    let workers = Directory::new(&attached.directory).workers().filter_map(|entry| Some((counts_as(&entry)?, entry)));
    let wanted = |role: Role| args.role.is_none_or(|wanted| wanted.name() == role.name());
    let mut processes: Vec<ProcessCounters> = Vec::new();
    for (role, entry) in workers.filter(|(role, _)| wanted(*role)) {
        // A slot of the process table may have been another role's: its segment is counted once.
        if processes.iter().any(|seen| (seen.role, seen.slot) == (role.name(), entry.slot)) {
            continue;
        }
        let Some(own) = attached.worker(role, entry.slot) else { continue };
        let (page, names) = (WorkerPage::new(&own), names_of(role));
        let counters = names.iter().enumerate().take(MAX_COUNTERS).map(|(at, name)| (*name, page.counter(at))).collect();
        processes.push(ProcessCounters { role: role.name(), slot: entry.slot, counters });
    }
    let mut counters = BTreeMap::new();
    for (name, value) in processes.iter().flat_map(|process| &process.counters) {
        let sum: &mut u64 = counters.entry(*name).or_default();
        *sum = sum.wrapping_add(*value);
    }
    Counted { instance: attached.name.clone(), counters, processes: args.per_process.then_some(processes), all: args.all }
}

/// Whose counters a worker has: one that stands by has those of what it may become.
fn counts_as(entry: &WorkerEntry) -> Option<Role> {
    match Role::from_u32(entry.role)? {
        Role::Supervisor => None,
        Role::Standby if entry.slot == FRONTEND_STANDBY => Some(Role::Frontend),
        Role::Standby => Some(Role::Sim),
        role => Some(role),
    }
}

fn names_of(role: Role) -> &'static [&'static str] {
    match role {
        Role::Frontend => crate::frontend::counters::NAMES,
        Role::Hook => crate::hook::counters::NAMES,
        Role::Admin => crate::admin::counters::NAMES,
        _ => crate::sim::counters::NAMES,
    }
}

impl Shown for Counted {
    fn text(&self, paper: &Paper) -> String {
        let counted = |value: &u64| self.all || *value != 0;
        let rows: Vec<Vec<String>> = match &self.processes {
            Some(processes) => {
                let of = |process: &ProcessCounters| {
                    let row = |(name, value): (&&str, &u64)| {
                        vec![format!("{} {}", process.role, process.slot), (*name).to_owned(), value.to_string()]
                    };
                    process.counters.iter().filter(|(_, value)| counted(value)).map(row).collect::<Vec<_>>()
                };
                processes.iter().flat_map(of).collect()
            }
            None => {
                let counters = self.counters.iter().filter(|(_, value)| counted(value));
                counters.map(|(name, value)| vec![(*name).to_owned(), value.to_string()]).collect()
            }
        };
        match (rows.is_empty(), &self.processes) {
            (true, _) => "all counters are 0\n".to_owned(),
            (false, Some(_)) => table(paper, &["PROCESS", "COUNTER", "VALUE"], rows),
            (false, None) => table(paper, &["COUNTER", "VALUE"], rows),
        }
    }
}
