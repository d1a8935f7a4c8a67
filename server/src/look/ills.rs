//! What is wrong with an instance: one set of rules, which `explain` words, `top` colours, and `/healthz` answers by.
//!
//! A rule is a function from plain data to findings: the status, and the [`Signs`] that were looked at beside it. No rule reads shared memory.

mod matches;
mod memory;
mod processes;
mod signs;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::attach::Attached;
use crate::limits::{HANG_TICKS_MIN, SILENT_MS};
use crate::status::{MatchStatus, ProcessStatus, Status};
pub use signs::{MatchSigns, ProcessSigns, Signs};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, and nobody mends it.
    Broken,
    /// It works worse than it should, or mends itself.
    Degraded,
    /// Worth to know.
    Notice,
}

/// What something is wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The instance as a whole.
    Instance,
    /// A process: what it is for, and which of its kind, as the status has it.
    Process(&'static str, u32),
    /// A match, by its id.
    Match(u64),
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule that has found it; these names stay.
    pub rule: &'static str,
    /// What it is wrong with.
    #[serde(skip)]
    pub about: About,
    /// What is wrong, a sentence.
    pub what: String,
    /// What to do, a sentence.
    pub advice: String,
}

/// What the rules look at.
struct Facts<'a> {
    status: &'a Status,
    signs: &'a Signs,
}

/// What a rule finds: severity, what it is about, what is wrong, advice.
type Found = Vec<(Severity, About, String, String)>;

/// A rule: its name, whether `/healthz` answers by it, and the function that finds.
type Rule = (&'static str, bool, fn(&Facts<'_>) -> Found);

/// The instance itself does not go on as it should, or its memory is damaged, which is of all matches.
const ILL: bool = true;
/// It mends itself, can wait, or is of one match: that harms no other, and is no reason to start anything again.
const TOLD: bool = false;

const RULES: &[Rule] = &[
    ("not-running", ILL, processes::not_running),
    ("supervisor-gone", ILL, processes::supervisor_gone),
    ("process-dead", ILL, processes::process_dead),
    ("process-stopped", ILL, processes::process_stopped),
    ("process-hung", ILL, processes::process_hung),
    ("shedding", TOLD, processes::shedding),
    ("lock-held", TOLD, processes::lock_held),
    ("stopping", TOLD, processes::stopping),
    ("match-paused", TOLD, matches::paused),
    ("match-failed", TOLD, matches::failed),
    ("match-late", TOLD, matches::late),
    ("match-slow", TOLD, matches::slow),
    ("ticks-late", TOLD, matches::ticks_late),
    ("match-alone", TOLD, matches::alone),
    ("tick-retried", TOLD, matches::retried),
    ("inbox-full", TOLD, memory::inbox_full),
    ("inbox-damaged", TOLD, memory::inbox_damaged),
    ("world-torn", ILL, memory::world_torn),
    ("map-damaged", TOLD, memory::map_damaged),
    ("segment-damaged", TOLD, memory::segment_damaged),
    ("arena-full", TOLD, memory::arena_full),
    ("arena-leaked", TOLD, memory::arena_leaked),
    ("file-incomplete", TOLD, memory::file_incomplete),
];

/// What is wrong with an instance, the worst first.
pub fn findings(status: &Status, signs: &Signs) -> Vec<Finding> {
    let facts = Facts { status, signs };
    let found = RULES.iter().flat_map(|(rule, _, look)| {
        let finding = |(severity, about, what, advice)| Finding { severity, rule, about, what, advice };
        look(&facts).into_iter().map(finding)
    });
    let mut findings: Vec<Finding> = found.collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Looks at an instance, and finds what is wrong with it. Who knows from its configuration that processes may be silent for longer says so.
pub fn look(attached: &Attached, hang_ms: u64) -> Vec<Finding> {
    let status = Status::look(attached);
    findings(&status, &Signs { hang_ms, ..Signs::look(attached, &status) })
}

impl Finding {
    /// Whether the instance is not well for it, as `/healthz` has it.
    pub fn is_ill(&self) -> bool {
        RULES.iter().any(|(rule, is_ill, _)| *rule == self.rule && *is_ill)
    }
}

/// Why an instance takes no new players, a sentence each; nothing when it does.
pub fn doubts(status: &Status) -> Vec<&'static str> {
    let runs = |process: &ProcessStatus| process.role == "frontend" && process.state == "running";
    let is_open = |of: &MatchStatus| of.state == "running" && !of.locked;
    let no_frontend = (!status.processes.iter().any(runs)).then_some("no front-end runs");
    let no_match = (!status.matches.iter().any(is_open)).then_some("no match is open to new players");
    [stops(status), no_frontend, no_match].into_iter().flatten().collect()
}

/// That it was told to stop.
fn stops(status: &Status) -> Option<&'static str> {
    match (status.stopping, status.draining) {
        (true, _) => Some("the instance stops"),
        (_, true) => Some("the instance stops when its players have gone, and takes no new ones"),
        _ => None,
    }
}

/// Milliseconds without a sign of life from which on a process hangs.
fn silent_ms(facts: &Facts<'_>) -> u64 {
    let slowest = facts.status.matches.iter().map(|of| 1000 / u64::from(of.tick_hz.max(1))).max().unwrap_or(0);
    SILENT_MS.max(facts.signs.hang_ms).max(HANG_TICKS_MIN * slowest)
}

impl<'a> Facts<'a> {
    fn processes(&self) -> impl Iterator<Item = (&'a ProcessStatus, &'a ProcessSigns)> + use<'a> {
        self.status.processes.iter().zip(&self.signs.processes)
    }

    fn matches(&self) -> impl Iterator<Item = (&'a MatchStatus, &'a MatchSigns)> + use<'a> {
        self.status.matches.iter().zip(&self.signs.matches)
    }
}

fn about_process(process: &ProcessStatus) -> About {
    About::Process(process.role, process.slot)
}
