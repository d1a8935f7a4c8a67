//! `ringfort arena`: whose the extents of the arena are, how full they are, and all of it drawn as a map.

use std::collections::BTreeMap;

use clap::Args;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{RootFlags, ZoneEntry};
use ringfort_shm_state::limits::{EXTENT_BYTES, EXTENT_PAGES, PAGE_BYTES};
use ringfort_shm_state::segment::unpadded;
use serde::Serialize;

use super::{LookError, OneMatch, Paper, Reading, Shown, printable, table};
use crate::attach::Attached;
use crate::limits::{ARENA_MAP_COLUMNS, ARENA_MAP_LINES};

/// Flags of `arena`.
#[derive(Debug, Clone, Args)]
pub struct ArenaArgs {
    /// Only this match, with its texts and bytes
    #[arg(long = "match", value_name = "MATCH")]
    pub only: Option<String>,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// The arena of an instance.
#[derive(Debug, Serialize)]
pub struct Arena {
    /// Name of the instance.
    pub instance: String,
    /// Extents of 64 KiB in all.
    pub extents_total: usize,
    /// Extents that matches own.
    pub extents_used: usize,
    /// Extents that are set aside for matches: what is left of all decides whether another may be created.
    pub extents_reserved: u64,
    /// Runs of free extents, one after the other: 1 when all that is free lies together.
    pub free_runs: usize,
    /// Extents that belong to no match that there is.
    pub extents_strange: usize,
    /// The matches that own extents, the largest first.
    pub matches: Vec<ArenaMatch>,
    /// Extents that a character of the map stands for.
    pub map_extents: usize,
    /// The map: the letter of the match that owns most of the extents of a character, `.` free, `?` nobody's that there is.
    pub map: String,
}

/// A match's part of the arena.
#[derive(Debug, Serialize)]
pub struct ArenaMatch {
    /// Its letter in the map.
    pub letter: char,
    /// Its name.
    pub name: String,
    /// Its slot.
    pub slot: usize,
    /// Extents that it owns.
    pub extents: usize,
    /// Extents that are set aside for it.
    pub extents_reserved: u64,
    /// Pages of 4 KiB that the commits of its window name.
    pub pages: u32,
    /// Pages of its extents that are free: what it keeps for the ticks to come, and what is left over.
    pub pages_free: u32,
    /// Pages that its newest commit holds for players and engine at most, if all its tables were full.
    pub pages_logical: u32,
    /// Texts and bytes in its columns, and bytes of them; only of a match that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<Blobs>,
}

/// The texts and bytes of a match.
#[derive(Debug, Serialize)]
pub struct Blobs {
    /// How many there are.
    pub count: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of the pages that they may take.
    pub room_bytes: u64,
}

/// Letters of the map; matches beyond the last share it.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789#";

/// Looks at the arena.
pub fn arena(attached: &Attached, only: Option<&str>) -> Result<Arena, LookError> {
    let zones: BTreeMap<usize, ZoneEntry> = Directory::new(&attached.directory).zones().collect();
    let extents = attached.world.extents();
    let owners: Vec<Option<(usize, u64)>> = (0..extents).map(|extent| attached.world.owner(extent)).collect();
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    let known = |owner: &(usize, u64)| zones.get(&owner.0).is_some_and(|entry| entry.incarnation == owner.1);
    for (slot, _) in owners.iter().flatten().filter(|owner| known(owner)) {
        *counts.entry(*slot).or_default() += 1;
    }
    let mut matches: Vec<ArenaMatch> = zones
        .iter()
        .filter(|(slot, entry)| entry.lives() || counts.contains_key(slot))
        .map(|(slot, entry)| {
            let head = attached.world.newest(*slot).ok().map(|root| root.head);
            let head = head.filter(|head| head.incarnation == entry.incarnation && head.flags & RootFlags::ENDED == 0);
            let extents = counts.get(slot).copied().unwrap_or(0);
            let pages = head.map_or(0, |head| head.pages_used);
            ArenaMatch {
                letter: '#',
                name: unpadded(&entry.name),
                slot: *slot,
                extents,
                extents_reserved: entry.extents_reserved,
                pages,
                pages_free: u32::try_from(extents * EXTENT_PAGES).unwrap_or(u32::MAX).saturating_sub(pages),
                pages_logical: head.map_or(0, |head| head.logical_pages),
                blobs: None,
            }
        })
        .collect();
    matches.sort_by(|a, b| b.extents.cmp(&a.extents).then_with(|| a.name.cmp(&b.name)));
    for (shown, letter) in matches.iter_mut().zip(LETTERS) {
        shown.letter = char::from(*letter);
    }
    let letters: BTreeMap<usize, char> = matches.iter().map(|shown| (shown.slot, shown.letter)).collect();
    let letter = |owner: &Option<(usize, u64)>| match owner {
        None => '.',
        Some(owner) if known(owner) => letters.get(&owner.0).copied().unwrap_or('#'),
        Some(_) => '?',
    };
    let map_extents = extents.div_ceil(ARENA_MAP_COLUMNS * ARENA_MAP_LINES).max(1);
    let map = owners.chunks(map_extents).map(|chunk| most(chunk.iter().map(letter))).collect();
    if let Some(name) = only {
        let (slot, _) = attached.find(name)?;
        matches.retain(|shown| shown.slot == slot);
        for shown in &mut matches {
            shown.blobs = blobs(attached, name)?;
        }
    }
    let free_runs = (0..extents).filter(|at| owners[*at].is_none() && (*at == 0 || owners[at - 1].is_some())).count();
    Ok(Arena {
        instance: attached.name.clone(),
        extents_total: extents,
        extents_used: owners.iter().flatten().count(),
        extents_reserved: zones.values().fold(0u64, |sum, entry| sum.saturating_add(entry.extents_reserved)),
        free_runs,
        extents_strange: owners.iter().flatten().filter(|owner| !known(owner)).count(),
        matches,
        map_extents,
        map,
    })
}

/// What there is most of; of a tie the greater, so that a letter is not hidden by what is free.
fn most(letters: impl Iterator<Item = char>) -> char {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    letters.for_each(|letter| *counts.entry(letter).or_default() += 1);
    counts.into_iter().max_by_key(|(letter, count)| (*count, *letter)).map_or('.', |(letter, _)| letter)
}

/// The texts and bytes of a match; `None` when its columns have none.
fn blobs(attached: &Attached, name: &str) -> Result<Option<Blobs>, LookError> {
    let game = attached.game()?;
    let one = OneMatch::open(attached, &game, name, None, |map| std::iter::once(0..map.pages).collect())?;
    let spaces: Vec<_> = one.map.blobs.iter().flatten().collect();
    let found = spaces.iter().fold(Blobs { count: 0, bytes: 0, room_bytes: 0 }, |mut sum, space| {
        for (_, bytes) in space.iter(&one.mirror).flatten() {
            sum.count += 1;
            sum.bytes += bytes.len() as u64;
        }
        sum.room_bytes += u64::from(space.max_pages()) * PAGE_BYTES as u64;
        sum
    });
    Ok((!spaces.is_empty()).then_some(found))
}

impl Shown for Arena {
    fn text(&self, paper: &Paper) -> String {
        let Self { extents_total, extents_used, extents_reserved, free_runs, map_extents, .. } = self;
        let mut text = format!(
            "{extents_used} of {extents_total} extents of {} KiB are used, {extents_reserved} are set aside; what is free lies in {free_runs} runs\n",
            EXTENT_BYTES / 1024
        );
        if self.extents_strange > 0 {
            text += &format!(
                "{} extents belong to no match that there is (? in the map); run `ringfort fsck`\n",
                self.extents_strange
            );
        }
        text += &format!("a character stands for {map_extents} extents\n\n");
        let map: Vec<char> = self.map.chars().collect();
        let columns = paper.columns.map_or(ARENA_MAP_COLUMNS, |columns| columns.clamp(8, ARENA_MAP_COLUMNS));
        for line in map.chunks(columns) {
            text.extend(line);
            text.push('\n');
        }
        text.push('\n');
        let percent =
            |shown: &ArenaMatch| u64::from(shown.pages_free) * 100 / (shown.extents as u64 * EXTENT_PAGES as u64).max(1);
        let row = |shown: &ArenaMatch| {
            vec![
                shown.letter.to_string(),
                printable(&shown.name),
                shown.extents.to_string(),
                shown.extents_reserved.to_string(),
                shown.pages.to_string(),
                shown.pages_free.to_string(),
                format!("{} %", percent(shown)),
                shown.blobs.as_ref().map_or("-".to_owned(), |blobs| format!("{} of {} bytes", blobs.count, blobs.bytes)),
            ]
        };
        let head = ["IN MAP", "MATCH", "EXTENTS", "SET ASIDE", "PAGES", "FREE", "FREE %", "BLOBS"];
        text += &table(paper, &head, self.matches.iter().map(row).collect());
        text
    }
}
