//! `ringfort explain`: what is wrong with an instance, in words, the worst first, each with what to do about it.
//!
//! The rules are in `ills.rs`; here is what they cannot look at: an instance that has not finished starting, or whose segments are damaged.

use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec};
use serde::Serialize;

use super::ills::{self, About, Finding, Severity};
use super::{LookError, Paper, Reading, Shown, printable};
use crate::attach::{AttachError, Attached};
use crate::saved::{SavedError, SavedFile};

/// What `explain` tells.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// Name of the instance.
    pub instance: String,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// Says what is wrong with an instance that can be looked at.
pub fn explain(attached: &Attached) -> Explained {
    Explained { instance: attached.name.clone(), findings: ills::look(attached, 0) }
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

pub(super) fn in_memory(instance: &str) -> Vec<Finding> {
    let open = |spec| Segment::open(instance, spec, Access::ReadOnly).err();
    let mut found: Vec<Finding> = NEEDED.into_iter().filter_map(open).map(unusable).collect();
    if found.is_empty() {
        let advice = "if it stays so, its supervisor died while it started: `ringfort up` goes on";
        found.push(broken("starting", AttachError::Starting { instance: instance.to_owned() }.to_string(), advice));
    }
    found
}

pub(super) fn in_file(file: &SavedFile) -> Explained {
    let advice = "save the instance anew if it is still there; copy the file anew if it was copied";
    let damaged = |error: SavedError| broken("segment-damaged", error.to_string(), advice);
    let mut found: Vec<Finding> = Vec::new();
    for spec in NEEDED {
        let opened = if spec == SegmentSpec::world(0) { file.world().map(|_| ()) } else { file.segment(spec).map(|_| ()) };
        found.extend(opened.err().map(damaged));
    }
    let instance = file.about().instance.clone();
    if found.is_empty() {
        let what =
            format!("when the file was saved, instance \"{instance}\" had not finished starting, or its entry was damaged");
        found.push(broken("starting", what, "save it anew if it is still there"));
    }
    let problems = file.about().problems.iter().map(|problem| Finding {
        severity: Severity::Degraded,
        rule: "file-incomplete",
        about: About::Instance,
        what: format!("when the file was saved: {}", printable(problem)),
        advice: "what is missing in the file was missing or damaged in shared memory, too".to_owned(),
    });
    found.extend(problems);
    Explained { instance, findings: found }
}

fn unusable(error: SegmentError) -> Finding {
    let advice = "save what is there with `ringfort save FILE`, then start anew with `ringfort up --fresh`";
    broken("segment-damaged", error.to_string(), advice)
}

fn broken(rule: &'static str, what: String, advice: &str) -> Finding {
    Finding { severity: Severity::Broken, rule, about: About::Instance, what, advice: advice.to_owned() }
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
        self.findings.iter().any(|finding| finding.severity != Severity::Notice)
    }
}
