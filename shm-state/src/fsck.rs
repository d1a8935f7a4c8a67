//! Marking from the roots: what the published worlds say is used must be theirs, once, and nothing else may be owned.
//!
//! Reads only, so it runs on a live instance too; there, a zone that commits while it is looked at is looked at again.

use std::collections::{HashMap, HashSet};

use crate::blobs::BlobProblem;
use crate::entities::EntityProblem;
use crate::hash::page_hash;
use crate::layout::{RootFlags, ZoneEntry};
use crate::limits::{EXTENT_PAGES, MAX_PROBLEMS, MAX_REFRESH_ATTEMPTS, MAX_ZONES, PAGE_WORDS, WINDOW};
use crate::memory::{Page, Words};
use crate::tree::{Named, walk};
use crate::world::{Root, RootError, World};

/// Something that no crash may leave behind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A root of the window cannot be read.
    #[error("torn: {0}")]
    Torn(RootError),
    /// A root names a page beyond the arena, or in an extent that is not its zone's.
    #[error("dangling: root {sequence} of zone slot {zone} names page {page} of extent {extent}, which is {owner}")]
    Dangling {
        /// The zone slot.
        zone: usize,
        /// The root.
        sequence: u64,
        /// The page.
        page: u32,
        /// Its extent.
        extent: usize,
        /// Whose that is, as a phrase.
        owner: String,
    },
    /// A page is younger than the root that names it.
    #[error("torn: root {sequence} of zone slot {zone} names page {page}, born in root {birth}")]
    FromTheFuture {
        /// The zone slot.
        zone: usize,
        /// The root.
        sequence: u64,
        /// The page.
        page: u32,
        /// Its birth.
        birth: u64,
    },
    /// The pages of a root are not what was committed with it.
    #[error("torn: the pages of root {sequence} of zone slot {zone} hash to {found:#x}, it was committed with {expected:#x}")]
    OtherContent {
        /// The zone slot.
        zone: usize,
        /// The root.
        sequence: u64,
        /// The state hash of its pages.
        found: u64,
        /// The state hash that the root has.
        expected: u64,
    },
    /// Two places of one root, or two zones, name the same page.
    #[error("doubly owned: page {page} is named twice by root {sequence} of zone slot {zone}, or with two births")]
    DoublyOwned {
        /// The zone slot.
        zone: usize,
        /// The root.
        sequence: u64,
        /// The page.
        page: u32,
    },
    /// An extent belongs to no match that lives.
    #[error("leaked: extent {extent} belongs to match {incarnation} in zone slot {zone}, which is not running")]
    Leaked {
        /// The extent.
        extent: usize,
        /// The slot of its owner.
        zone: usize,
        /// The match that took it.
        incarnation: u64,
    },
    /// The entities of a zone contradict each other.
    #[error("zone slot {zone}: {problem}")]
    Entities {
        /// The zone slot.
        zone: usize,
        /// What is wrong.
        problem: EntityProblem,
    },
    /// The sessions of a zone are not those that it counts, or one is not where its id says.
    #[error("zone slot {zone}: wrong sessions: it counts {counted}, {found} are at their places")]
    Sessions {
        /// The zone slot.
        zone: usize,
        /// What the counter says.
        counted: u32,
        /// What there is.
        found: u32,
    },
    /// A session's row has an input both as applied and as given up.
    #[error("zone slot {zone}: input {sequence} of session row {row} is both applied and given up")]
    GivenUp {
        /// The zone slot.
        zone: usize,
        /// The session's row.
        row: u32,
        /// The input.
        sequence: u32,
    },
    /// The bodies of a zone's requests to the outside contradict each other.
    #[error("zone slot {zone}: outbox: {problem}")]
    Outbox {
        /// The zone slot.
        zone: usize,
        /// What is wrong.
        problem: BlobProblem,
    },
    /// The texts or bytes of a column contradict each other.
    #[error("zone slot {zone}: column {column}: {problem}")]
    Blobs {
        /// The zone slot.
        zone: usize,
        /// Index of the column in the schema.
        column: usize,
        /// What is wrong.
        problem: BlobProblem,
    },
    /// The rows of a column do not name its texts or bytes one by one.
    #[error("zone slot {zone}: column {column}: {rows} rows name {named} blobs that live, and there are {blobs}")]
    BlobRows {
        /// The zone slot.
        zone: usize,
        /// Index of the column in the schema.
        column: usize,
        /// Rows of entities.
        rows: u32,
        /// Different blobs that they name and that live.
        named: u32,
        /// Blobs that live.
        blobs: u32,
    },
    /// The requests of a zone are not those that it counts, or one has no body of its own.
    #[error("zone slot {zone}: wrong requests: the outbox counts {counted}, {found} are whole, and it has {bodies} bodies")]
    Asks {
        /// The zone slot.
        zone: usize,
        /// What the counter says.
        counted: u32,
        /// Requests whose bodies live.
        found: u32,
        /// Bodies that live.
        bodies: u32,
    },
    /// So much is wrong that the rest is not listed.
    #[error("and more: only the first problems are listed")]
    More,
    /// The zone commits faster than its roots can be followed.
    #[error("zone slot {zone} committed too fast to be checked; run it again, or when the load is lower")]
    Busy {
        /// The zone slot.
        zone: usize,
    },
}

/// What was looked at, and what was wrong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Zones with a published root.
    pub zones: usize,
    /// Roots followed.
    pub roots: usize,
    /// Distinct pages that they name.
    pub pages: usize,
    /// Extents owned.
    pub extents: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Notes a problem; a world of garbage has more than anybody can read.
    pub fn add(&mut self, problem: Problem) {
        match MAX_PROBLEMS - self.problems.len() {
            0 => {}
            1 => self.problems.push(Problem::More),
            _ => self.problems.push(problem),
        }
    }

    fn is_full(&self) -> bool {
        self.problems.len() == MAX_PROBLEMS
    }
}

/// Checks a world against the zones that the directory lists.
pub fn check(world: &World<impl Words>, zones: &[(usize, ZoneEntry)]) -> Report {
    let mut report = Report::default();
    for (zone, _) in zones {
        check_zone(world, *zone, &mut report);
    }
    let live: HashMap<usize, u64> = zones.iter().map(|(slot, z)| (*slot, z.incarnation)).collect();
    for extent in 0..world.extents() {
        let Some((zone, incarnation)) = world.owner(extent) else { continue };
        report.extents += 1;
        let runs = live.get(&zone) == Some(&incarnation);
        // Looked at again: it may have been given back, or its match begun, since the list was made.
        if !runs && world.owner(extent) == Some((zone, incarnation)) && !runs_now(world, zone, incarnation) {
            report.add(Problem::Leaked { extent, zone, incarnation });
        }
    }
    report
}

fn runs_now(world: &World<impl Words>, zone: usize, incarnation: u64) -> bool {
    zone < MAX_ZONES
        && world.newest(zone).is_ok_and(|r| r.head.incarnation == incarnation && r.head.flags & RootFlags::ENDED == 0)
}

fn check_zone(world: &World<impl Words>, zone: usize, report: &mut Report) {
    if world.published(zone).sequence == 0 || report.is_full() {
        return;
    }
    for _ in 0..MAX_REFRESH_ATTEMPTS {
        let mut found = Report::default();
        let newest = world.published(zone).sequence;
        match check_window(world, zone, newest, &mut found) {
            Ok(()) => {
                report.zones += 1;
                report.roots += found.roots;
                report.pages += found.pages;
                found.problems.into_iter().for_each(|problem| report.add(problem));
                return;
            }
            Err(Overtaken) => continue,
        }
    }
    report.add(Problem::Busy { zone });
}

struct Overtaken;

/// Enough is wrong with a root.
struct Full;

/// Follows the roots of the window from the newest. The oldest may leave while we look: that ends the walk, it is no fault.
fn check_window(world: &World<impl Words>, zone: usize, newest: u64, found: &mut Report) -> Result<(), Overtaken> {
    let mut lives = HashMap::new();
    let mut sequence = newest;
    let mut first = newest.saturating_sub(WINDOW - 1).max(1);
    while sequence >= first {
        let root = match world.root(zone, sequence) {
            Ok(root) => root,
            Err(RootError::Gone { .. }) if sequence == newest => return Err(Overtaken),
            Err(RootError::Gone { .. }) => return Ok(()),
            Err(error) => {
                if world.in_window(zone, sequence) {
                    found.add(Problem::Torn(error));
                }
                return Ok(());
            }
        };
        first = first.max(root.head.first_sequence);
        let mut problems = Vec::new();
        let pages = mark(world, zone, &root, &mut lives, &mut problems);
        if !world.in_window(zone, sequence) {
            return if sequence == newest { Err(Overtaken) } else { Ok(()) };
        }
        problems.into_iter().for_each(|problem| found.add(problem));
        found.roots += 1;
        found.pages += pages;
        if found.is_full() {
            return Ok(());
        }
        sequence -= 1;
    }
    Ok(())
}

/// What a page was when it was seen first: walking from the newest root back, it may have had another life only before that one, and
/// not within the window, as its second life begins after its first has left.
struct Life {
    birth: u64,
    hash: u64,
}

/// Marks the pages of one root; returns how many were new.
fn mark(
    world: &World<impl Words>,
    zone: usize,
    root: &Root,
    lives: &mut HashMap<u32, Life>,
    problems: &mut Vec<Problem>,
) -> usize {
    let sequence = root.head.sequence;
    let mut here = HashSet::new();
    let (mut new, mut hash) = (0, 0u64);
    let _ = walk(world, root, &mut |Named { handle, level, position }| -> Result<bool, Full> {
        if problems.len() == MAX_PROBLEMS {
            return Err(Full);
        }
        let page = handle.index();
        let extent = page as usize / EXTENT_PAGES;
        let owner = (extent < world.extents()).then(|| world.owner(extent));
        if owner != Some(Some((zone, root.head.incarnation))) {
            let owner = match owner {
                None => "beyond the arena".to_owned(),
                Some(None) => "free".to_owned(),
                Some(Some((other, match_id))) => format!("zone slot {other}'s, match {match_id}"),
            };
            problems.push(Problem::Dangling { zone, sequence, page, extent, owner });
            return Ok(false);
        }
        if handle.birth() > sequence {
            problems.push(Problem::FromTheFuture { zone, sequence, page, birth: handle.birth() });
        }
        let life = lives.entry(page).or_insert_with(|| {
            new += 1;
            let mut words: Page = [0; PAGE_WORDS];
            let content = level == 0 && world.copy_page(handle, &mut words);
            Life { birth: handle.birth(), hash: if content { page_hash(position as u32, &words) } else { 0 } }
        });
        hash = hash.wrapping_add(life.hash);
        if !here.insert(page) || life.birth != handle.birth() {
            problems.push(Problem::DoublyOwned { zone, sequence, page });
        }
        Ok(true)
    });
    if problems.is_empty() && hash != root.head.state_hash {
        problems.push(Problem::OtherContent { zone, sequence, found: hash, expected: root.head.state_hash });
    }
    new
}
