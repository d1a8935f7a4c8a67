//! `ringfort fsck`: checks the shared memory of an instance, live or dead, and changes nothing.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::fsck::{self, Report};
use serde_json::json;

use crate::attach::{AttachError, Attached};

/// Checks every match of an instance, and the arena.
pub fn check(instance: &str) -> Result<Report, AttachError> {
    let attached = Attached::open(instance)?;
    let zones: Vec<_> = Directory::new(&attached.directory).zones().collect();
    Ok(fsck::check(&attached.world, &zones))
}

/// A report for programs.
pub fn to_json(report: &Report) -> serde_json::Value {
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    json!({
        "matches": report.zones,
        "roots": report.roots,
        "pages": report.pages,
        "extents": report.extents,
        "problems": problems,
    })
}

/// A report for humans: each problem on a line of its own, then what was looked at.
pub fn to_text(report: &Report) -> String {
    let Report { zones, roots, pages, extents, problems } = report;
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    let count = problems.len();
    text += &format!("{zones} matches, {roots} roots, {pages} pages, {extents} extents: {count} problems\n");
    text
}
