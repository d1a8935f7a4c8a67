//! `ringfort explain`: what is wrong with an instance, in words, the worst first, each with what to do about it.
//!
//! A rule is a function from what was looked at to findings. All of them look at the same few facts, gathered once.

mod matches;
mod memory;
mod processes;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{SegmentKind, ZoneEntry};
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec};
use serde::Serialize;

use super::{LookError, Paper, Reading, Shown, printable};
use crate::attach::{AttachError, Attached};
use crate::saved::{SavedError, SavedFile};
use crate::status::Status;

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

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule that has found it; these names stay.
    pub rule: &'static str,
    /// What is wrong, a sentence.
    pub what: String,
    /// What to do, a sentence.
    pub advice: String,
}

/// What `explain` tells.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// Name of the instance.
    pub instance: String,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// What the rules look at.
struct Facts<'a> {
    attached: &'a Attached,
    status: Status,
    zones: Vec<(usize, ZoneEntry)>,
}

/// A rule: its name, and the function that finds severity, what, and advice.
type Rule = (&'static str, fn(&Facts<'_>) -> Vec<(Severity, String, String)>);

const RULES: &[Rule] = &[
    ("not-running", processes::not_running),
    ("supervisor-gone", processes::supervisor_gone),
    ("process-dead", processes::process_dead),
    ("process-stopped", processes::process_stopped),
    ("process-hung", processes::process_hung),
    ("shedding", processes::shedding),
    ("lock-held", processes::lock_held),
    ("match-paused", matches::paused),
    ("match-failed", matches::failed),
    ("match-late", matches::late),
    ("match-slow", matches::slow),
    ("match-alone", matches::alone),
    ("tick-retried", matches::retried),
    ("inbox-full", memory::inbox_full),
    ("inbox-damaged", memory::inbox_damaged),
    ("world-torn", memory::world_torn),
    ("map-damaged", memory::map_damaged),
    ("segment-damaged", memory::segment_damaged),
    ("arena-full", memory::arena_full),
    ("arena-leaked", memory::arena_leaked),
    ("file-incomplete", memory::file_incomplete),
];

/// Says what is wrong with an instance that can be looked at.
pub fn explain(attached: &Attached) -> Explained {
    let zones = Directory::new(&attached.directory).zones().collect();
    let facts = Facts { attached, status: Status::look(attached), zones };
    let found = RULES.iter().flat_map(|(rule, look)| {
        look(&facts).into_iter().map(|(severity, what, advice)| Finding { severity, rule, what, advice })
    });
    let mut findings: Vec<Finding> = found.collect();
    findings.sort_by_key(|finding| finding.severity);
    Explained { instance: attached.name.clone(), findings }
}

/// Says what is wrong with an instance, also with one whose segments are too damaged for any other command.
pub fn carry_out(instance: &str, reading: &Reading) -> Result<bool, LookError> {
    let opened = match &reading.from {
        Some(path) => Attached::saved(path),
        None => Attached::open(instance),
    };
    let explained = match (opened, &reading.from) {
        (Ok(_) | Err(AttachError::NotRunning { .. }), _) => {
            return super::read(instance, reading, |attached| Ok(explain(attached)));
        }
        (Err(_), Some(path)) => in_file(&SavedFile::open(path).map_err(AttachError::Saved)?),
        (Err(_), None) => Explained { instance: instance.to_owned(), findings: in_memory(instance) },
    };
    if reading.json {
        super::print_json(&explained);
    } else {
        super::print(&explained.text(&Paper::stdout()));
    }
    Ok(explained.is_alarming())
}

/// The segments without which nothing can be looked at.
const NEEDED: [SegmentSpec; 3] = [SegmentSpec::DIRECTORY, SegmentSpec::world(0), SegmentSpec::inbox(SegmentKind::InboxNet, 0)];

fn in_memory(instance: &str) -> Vec<Finding> {
    let open = |spec| Segment::open(instance, spec, Access::ReadOnly).err();
    let mut found: Vec<Finding> = NEEDED.into_iter().filter_map(open).map(unusable).collect();
    if found.is_empty() {
        let advice = "if it stays so, its supervisor died while it started: `ringfort up` goes on";
        found.push(starting(AttachError::Starting { instance: instance.to_owned() }.to_string(), advice));
    }
    found
}

/// All segments are there, and the directory does not tell of an instance yet.
fn starting(what: String, advice: &str) -> Finding {
    Finding { severity: Severity::Broken, rule: "starting", what, advice: advice.to_owned() }
}

fn in_file(file: &SavedFile) -> Explained {
    let damaged = |error: SavedError| Finding {
        severity: Severity::Broken,
        rule: "segment-damaged",
        what: error.to_string(),
        advice: "save the instance anew if it is still there; copy the file anew if it was copied".to_owned(),
    };
    let mut found: Vec<Finding> = Vec::new();
    for spec in NEEDED {
        let opened = if spec == SegmentSpec::world(0) { file.world().map(|_| ()) } else { file.segment(spec).map(|_| ()) };
        found.extend(opened.err().map(damaged));
    }
    let instance = file.about().instance.clone();
    if found.is_empty() {
        let what =
            format!("when the file was saved, instance \"{instance}\" had not finished starting, or its entry was damaged");
        found.push(starting(what, "save it anew if it is still there"));
    }
    let problems = file.about().problems.iter().map(|problem| Finding {
        severity: Severity::Degraded,
        rule: "file-incomplete",
        what: format!("when the file was saved: {}", printable(problem)),
        advice: "what is missing in the file was missing or damaged in shared memory, too".to_owned(),
    });
    found.extend(problems);
    Explained { instance, findings: found }
}

fn unusable(error: SegmentError) -> Finding {
    Finding {
        severity: Severity::Broken,
        rule: "segment-damaged",
        what: error.to_string(),
        advice: "save what is there with `ringfort save FILE`, then start anew with `ringfort up --fresh`".to_owned(),
    }
}

impl Shown for Explained {
    fn text(&self, _paper: &Paper) -> String {
        let Self { instance, findings } = self;
        if findings.is_empty() {
            return format!("nothing is wrong with instance {instance}\n");
        }
        let line = |finding: &Finding| {
            let severity = match finding.severity {
                Severity::Broken => "BROKEN",
                Severity::Degraded => "DEGRADED",
                Severity::Notice => "NOTICE",
            };
            format!("{severity}: {}\n    {}\n", printable(&finding.what), printable(&finding.advice))
        };
        findings.iter().map(line).collect()
    }

    fn is_alarming(&self) -> bool {
        !self.findings.is_empty()
    }
}

#[cfg(test)]
mod tests;
