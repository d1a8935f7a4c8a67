//! `ringfort fsck`: checks the shared memory of an instance, live or dead, and changes nothing.

use std::collections::BTreeSet;

use ringfort_protocol::AckBits;
use ringfort_shm_state::blobs::{self, BlobId, BlobsAt};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::entities;
use ringfort_shm_state::fsck::{self, Problem, Report};
use ringfort_shm_state::layout::{RootFlags, SessionInput, SessionRejected, SessionRow, ZoneEntry, ZoneMeta};
use ringfort_shm_state::memory::Words;
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::world::World;
use serde::Serialize;

use crate::attach::Attached;
use crate::game::{Description, DescriptionError, EngineTables};
use crate::look::{Paper, Shown, printable};

/// Works a match of a given capacity, with room for so many spectators, out.
pub(crate) type Describe = fn(u32, u32) -> Result<Description, DescriptionError>;

/// What a check has found.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Matches with a commit.
    pub matches: usize,
    /// Commits whose pages were followed.
    pub roots: usize,
    /// Different pages that they name.
    pub pages: usize,
    /// Extents that matches own.
    pub extents: usize,
    /// Matches whose pages were followed, but whose content was not looked at: no map tells how they are laid out.
    pub undecoded: Vec<String>,
    /// What is wrong; a sentence each.
    pub problems: Vec<String>,
}

/// Checks every match of an instance, and the arena. What lies in the matches is told by the directory's map of the game.
pub fn check(attached: &Attached) -> Checked {
    let zones: Vec<_> = Directory::new(&attached.directory).zones().collect();
    let mut report = fsck::check(&attached.world, &zones);
    let game = attached.game();
    let mut undecoded = Vec::new();
    for (zone, entry) in zones.iter().filter(|(_, entry)| entry.lives()) {
        match game.as_ref().ok().and_then(|game| game.lay_out(entry).ok()) {
            Some(map) => check_zone(&attached.world, *zone, entry, (&map.engine, &map.columns, &map.blobs), &mut report),
            None => undecoded.push(unpadded(&entry.name)),
        }
    }
    let mut problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    problems.extend(game.err().map(|error| error.to_string()));
    let Report { zones, roots, pages, extents, .. } = report;
    Checked { matches: zones, roots, pages, extents, undecoded, problems }
}

/// Checks the pages of a world, and of each match that is this game's what lies in them.
pub(crate) fn check_world(world: &World, zones: &[(usize, ZoneEntry)], describe: Describe) -> Report {
    let mut report = fsck::check(world, zones);
    for (zone, entry) in zones {
        let description =
            describe(entry.capacity, entry.spectators).ok().filter(|description| description.tables_hash == entry.tables_hash);
        if let Some(is) = description {
            check_zone(world, *zone, entry, (&is.engine, &is.columns, &is.blobs), &mut report);
        }
    }
    report
}

/// Where the tables of a match lie: the engine's, those of the columns, and the bytes of the columns of blobs.
type Tables<'a> = (&'a EngineTables, &'a [TableAt], &'a [Option<BlobsAt>]);

fn check_zone(world: &World<impl Words>, zone: usize, entry: &ZoneEntry, tables: Tables<'_>, report: &mut Report) {
    let mut mirror = Mirror::new(zone);
    // What cannot be mirrored has its problem in the report already, or has not begun.
    if mirror.refresh(world).is_ok() {
        check_match(zone, entry, tables, &mirror, report);
    }
}

fn check_match(zone: usize, entry: &ZoneEntry, (engine, columns, blobs_of): Tables<'_>, mirror: &Mirror, report: &mut Report) {
    let lives = mirror.head().is_some_and(|head| head.incarnation == entry.incarnation && head.flags & RootFlags::ENDED == 0);
    if !lives {
        return;
    }
    for problem in entities::check(mirror, &engine.meta, &engine.entities, columns) {
        report.add(Problem::Entities { zone, problem });
    }
    for (column, (at, blobs)) in columns.iter().zip(blobs_of).enumerate() {
        if let Some(blobs) = blobs {
            check_blobs(zone, column, at, blobs, mirror, report);
        }
    }
    for problem in blobs::check(&engine.outbox.bodies, mirror) {
        report.add(Problem::Outbox { zone, problem });
    }
    if let Some((counted, found, bodies)) = engine.outbox.check(mirror) {
        report.add(Problem::Asks { zone, counted, found, bodies });
    }
    for (row, input) in mirror.iter::<SessionInput>(engine.inputs) {
        let applied = AckBits { highest: input.highest, bits: input.bits };
        let rejected: Option<SessionRejected> = mirror.get(&engine.rejected, row);
        let given_up = rejected.map_or(AckBits::NONE, |rejected| AckBits { highest: rejected.input, bits: rejected.input_bits });
        if let Some(sequence) = given_up.iter().find(|sequence| applied.contains(*sequence)) {
            report.add(Problem::GivenUp { zone, row, sequence });
        }
    }
    let counted = mirror.get::<ZoneMeta>(&engine.meta, 0).map_or(0, |meta| meta.sessions);
    let in_place = |(slot, row): &(u32, SessionRow)| row.id as u32 == *slot;
    let found = mirror.iter::<SessionRow>(engine.sessions).filter(in_place).count() as u32;
    let there = mirror.iter::<SessionRow>(engine.sessions).count() as u32;
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

impl Shown for Checked {
    /// Each problem on a line of its own, then what was looked at.
    fn text(&self, _paper: &Paper) -> String {
        let Self { matches, roots, pages, extents, undecoded, problems } = self;
        let mut text: String = problems.iter().map(|problem| format!("{}\n", printable(problem))).collect();
        for name in undecoded {
            text += &format!("match {}: only its pages were checked, as nothing tells what lies in them\n", printable(name));
        }
        let count = problems.len();
        text += &format!("{matches} matches, {roots} roots, {pages} pages, {extents} extents: {count} problems\n");
        text
    }

    fn is_alarming(&self) -> bool {
        !self.problems.is_empty()
    }
}
