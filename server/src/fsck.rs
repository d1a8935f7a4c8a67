//! `ringfort fsck`: checks the shared memory of an instance, live or dead, and changes nothing.

use std::collections::BTreeSet;

use ringfort_protocol::AckBits;
use ringfort_shm_state::blobs::{self, BlobId, BlobsAt};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::entities;
use ringfort_shm_state::fsck::{self, Problem, Report};
use ringfort_shm_state::layout::{RootFlags, SessionInput, SessionRow, ZoneEntry, ZoneMeta};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::world::World;
use serde_json::json;

use crate::attach::{AttachError, Attached};
use crate::game::{Description, DescriptionError, Game, ZoneLimits};

/// Works a match of a given capacity, with room for so many spectators, out.
pub(crate) type Describe = fn(u32, u32) -> Result<Description, DescriptionError>;

/// Checks every match of an instance, and the arena.
pub fn check<G: Game>(instance: &str) -> Result<Report, AttachError> {
    let attached = Attached::open(instance)?;
    let zones: Vec<_> = Directory::new(&attached.directory).zones().collect();
    Ok(check_world(&attached.world, &zones, |capacity, spectators| {
        Description::of::<G>(ZoneLimits::of::<G>(capacity).with_spectators(spectators))
    }))
}

/// Checks the pages of a world, and of each match that is this game's what lies in them.
pub(crate) fn check_world(world: &World, zones: &[(usize, ZoneEntry)], describe: Describe) -> Report {
    let mut report = fsck::check(world, zones);
    for (zone, entry) in zones {
        let description =
            describe(entry.capacity, entry.spectators).ok().filter(|description| description.tables_hash == entry.tables_hash);
        let mut mirror = Mirror::new(*zone);
        // What cannot be mirrored has its problem in the report already, or has not begun.
        if let (Some(description), Ok(_)) = (description, mirror.refresh(world)) {
            check_match(*zone, entry, &description, &mirror, &mut report);
        }
    }
    report
}

fn check_match(zone: usize, entry: &ZoneEntry, is: &Description, mirror: &Mirror, report: &mut Report) {
    let lives = mirror.head().is_some_and(|head| head.incarnation == entry.incarnation && head.flags & RootFlags::ENDED == 0);
    if !lives {
        return;
    }
    for problem in entities::check(mirror, &is.engine.meta, &is.engine.entities, &is.columns) {
        report.add(Problem::Entities { zone, problem });
    }
    for (column, (at, blobs)) in is.columns.iter().zip(&is.blobs).enumerate() {
        if let Some(blobs) = blobs {
            check_blobs(zone, column, at, blobs, mirror, report);
        }
    }
    for problem in blobs::check(&is.engine.outbox.bodies, mirror) {
        report.add(Problem::Outbox { zone, problem });
    }
    if let Some((counted, found, bodies)) = is.engine.outbox.check(mirror) {
        report.add(Problem::Asks { zone, counted, found, bodies });
    }
    for (row, input) in mirror.iter::<SessionInput>(is.engine.inputs) {
        let applied = AckBits { highest: input.highest, bits: input.bits };
        let given_up = AckBits { highest: input.rejected, bits: input.rejected_bits };
        if let Some(sequence) = given_up.iter().find(|sequence| applied.contains(*sequence)) {
            report.add(Problem::GivenUp { zone, row, sequence });
        }
    }
    let counted = mirror.get::<ZoneMeta>(&is.engine.meta, 0).map_or(0, |meta| meta.sessions);
    let in_place = |(slot, row): &(u32, SessionRow)| row.id as u32 == *slot;
    let found = mirror.iter::<SessionRow>(is.engine.sessions).filter(in_place).count() as u32;
    let there = mirror.iter::<SessionRow>(is.engine.sessions).count() as u32;
    if found != counted || found != there {
        report.add(Problem::Sessions { zone, counted, found });
    }
}

/// A column's texts or bytes: sound in themselves, and named by one row each.
fn check_blobs(zone: usize, column: usize, at: &TableAt, space: &BlobsAt, mirror: &Mirror, report: &mut Report) {
    for problem in blobs::check(space, mirror) {
        report.add(Problem::Blobs { zone, column, problem });
    }
    let mut named = BTreeSet::new();
    let mut rows = 0;
    for row in (0..at.rows).filter_map(|row| mirror.row(at, row)) {
        rows += 1;
        let id = BlobId::from_row(row).filter(|id| matches!(space.get(mirror, *id), Ok(Some(_))));
        named.extend(id.map(|id| id.index));
    }
    let (named, blobs) = (named.len() as u32, space.iter(mirror).count() as u32);
    if rows != named || rows != blobs {
        report.add(Problem::BlobRows { zone, column, rows, named, blobs });
    }
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
