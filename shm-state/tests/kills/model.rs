//! What a zone must look like: the journalled ticks run again on private pages, with no arena, no window and no deaths.
//!
//! Rows are laid out here once more, by the numbers of their tables alone. Blobs are the crate's own in a world of this process:
//! they must come out the same, page by page, and each must hold the bytes that it was given.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ringfort_shm_state::blobs::{Blobs, BlobsAt};
use ringfort_shm_state::layout::RootHead;
use ringfort_shm_state::limits::{PAGE_WORDS, WINDOW};
use ringfort_shm_state::memory::Page;
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::world::World;
use zerocopy::{FromZeros, IntoBytes};

use crate::game::{self, Places, Rows, TABLES, Tick};
use crate::process::Violation;
use crate::shared::{Journalled, Zone as ZoneNotes};

/// One root as it must be.
pub struct Root {
    /// Its sequence.
    pub sequence: u64,
    /// The match.
    pub incarnation: u64,
    /// First sequence of the match.
    pub first_sequence: u64,
    /// The tick, or the last one when the match has ended.
    pub tick: u32,
    /// Cursor of the inbox.
    pub cursor: u64,
    /// Whether it is one of the empty roots that end a match.
    pub ended: bool,
    /// Logical pages that exist, none of them of zeros alone; the contents of each.
    pub pages: Vec<Option<Rc<Page>>>,
    /// Table pages that exist: once one does it stays.
    tables: Vec<bool>,
    /// Pages that it names, table pages included.
    live: usize,
    /// Pages that its predecessor named and it does not.
    retired: usize,
}

/// A zone's model.
pub struct Model {
    seed: u64,
    places: Places,
    blobs: Oracle,
    /// Roots of the window, and one more; the newest last.
    pub roots: VecDeque<Root>,
    /// Empty roots at the end of the last match so far.
    endings: u64,
    /// The newest sequence.
    pub sequence: u64,
    /// Matches seen.
    pub matches: u64,
    /// By producer: records consumed.
    pub consumed: BTreeMap<u64, u64>,
    /// Records consumed in all.
    pub records: u64,
    /// Ticks that were run without their burst.
    pub lean: u64,
}

/// The blobs of a zone in a world of this process alone.
struct Oracle {
    world: Rc<World>,
    pages: Rc<Pages>,
    blobs: Blobs,
    mirror: Mirror,
}

/// The one zone of the oracle's world.
const SLOT: usize = 0;
/// Extents of that world.
const EXTENTS: usize = 32;

impl Oracle {
    /// No blobs, in a new match.
    fn new(world: Rc<World>, incarnation: u64, places: &Places) -> Self {
        let pages = Pages::open(Rc::clone(&world), SLOT, incarnation, 1, places.pages).unwrap_or_else(|e| panic!("{e}"));
        let pages = Rc::new(pages);
        // SAFETY: the pages were just opened, so nothing else is bound to them; the blobs were declared among their tables.
        let blobs = unsafe { Blobs::bind(&pages, places.blobs) };
        Self { world, pages, blobs, mirror: Mirror::new(SLOT) }
    }

    /// Ends the tick, and puts the blobs' pages where the zone's are.
    fn settle(&mut self, pages: &mut [Option<Rc<Page>>], touched: &mut Vec<u32>) {
        // SAFETY: no reference to a blob or a row is alive.
        unsafe { self.pages.commit(RootHead::new_zeroed()) }.unwrap_or_else(|e| panic!("{e}"));
        self.mirror.refresh(&self.world).unwrap_or_else(|e| panic!("{e}"));
        for change in self.mirror.changes() {
            pages[change.logical as usize] = Some(Rc::new(*self.mirror.page(change.logical)));
            touched.push(change.logical);
        }
    }
}

/// Pages under change.
struct Scratch<'t> {
    tables: &'t [TableAt; TABLES],
    blobs: Option<&'t mut Blobs>,
    pages: Vec<Option<Rc<Page>>>,
    touched: Vec<u32>,
}

impl Scratch<'_> {
    fn place(&self, table: usize, row: u32) -> (usize, usize) {
        let at = &self.tables[table];
        assert!(row < at.rows);
        ((at.base + row / at.per_page) as usize, (row % at.per_page) as usize)
    }

    fn bytes(&self, table: usize, index: usize) -> std::ops::Range<usize> {
        let at = &self.tables[table];
        let start = at.first_row as usize + index * at.row_bytes as usize;
        start..start + at.row_bytes as usize
    }

    fn page(&mut self, logical: usize) -> &mut Page {
        self.touched.push(logical as u32);
        Rc::make_mut(self.pages[logical].get_or_insert_with(|| Rc::new([0; PAGE_WORDS])))
    }
}

impl Rows for Scratch<'_> {
    fn get(&self, table: usize, row: u32) -> Option<u64> {
        let (logical, index) = self.place(table, row);
        let page = self.pages[logical].as_ref().filter(|page| page[index / 64] >> (index % 64) & 1 == 1)?;
        let bytes = &page.as_bytes()[self.bytes(table, index)];
        Some(u64::from_le_bytes(bytes[..8].try_into().expect("rows have at least eight bytes")))
    }

    fn set(&mut self, table: usize, row: u32, value: u64) {
        let (logical, index) = self.place(table, row);
        let bytes = self.bytes(table, index);
        let page = self.page(logical);
        page[index / 64] |= 1 << (index % 64);
        game::expand(value, &mut page.as_mut_bytes()[bytes]);
    }

    fn remove(&mut self, table: usize, row: u32) {
        if self.get(table, row).is_none() {
            return;
        }
        let (logical, index) = self.place(table, row);
        let bytes = self.bytes(table, index);
        let page = self.page(logical);
        page[index / 64] &= !(1 << (index % 64));
        page.as_mut_bytes()[bytes].fill(0);
    }

    fn blob(&mut self, id: u64, value: Option<u64>) -> u64 {
        game::change_blob(self.blobs.as_mut().expect("a tick has them"), id, value)
    }
}

impl Model {
    /// A zone slot in which nothing has happened.
    pub fn new(seed: u64) -> Self {
        let places = Places::new();
        let blobs = Oracle::new(Rc::new(World::heap(EXTENTS)), u64::MAX >> 16, &places);
        Self {
            seed,
            places,
            blobs,
            roots: VecDeque::new(),
            endings: 0,
            sequence: 0,
            matches: 0,
            consumed: BTreeMap::new(),
            records: 0,
            lean: 0,
        }
    }

    /// The newest root.
    pub fn newest(&self) -> Option<&Root> {
        self.roots.back()
    }

    /// Cursor of the inbox.
    pub fn cursor(&self) -> u64 {
        self.newest().map_or(0, |root| root.cursor)
    }

    /// Follows the journal up to a root that was published.
    pub fn follow(&mut self, notes: &ZoneNotes, newest: u64) -> Result<(), Violation> {
        while self.sequence < newest {
            let sequence = self.sequence + 1;
            let root = match notes.journalled(sequence) {
                Some(tick) => self.tick(&tick)?,
                None => self.ending(sequence)?,
            };
            self.roots.push_back(root);
            self.sequence = sequence;
            if self.roots.len() > WINDOW as usize + 1 {
                self.roots.pop_front();
            }
        }
        Ok(())
    }

    /// One of the empty roots at the end of a match.
    fn ending(&mut self, sequence: u64) -> Result<Root, Violation> {
        let last = self.newest().ok_or_else(|| format!("root {sequence} is no tick, and there was none before it"))?;
        let (pages, tables) = (vec![None; last.pages.len()], Vec::new());
        let root = Root { sequence, ended: true, live: 0, retired: last.live, pages, tables, ..*last };
        self.endings += 1;
        Ok(root)
    }

    fn tick(&mut self, tick: &Journalled) -> Result<Root, Violation> {
        let sequence = tick.sequence;
        let logical_pages = self.places.pages;
        let goes_on = self.newest().is_some_and(|last| last.incarnation == tick.incarnation);
        if goes_on && self.endings > 0 {
            return Err(format!("root {sequence} is tick {} of match {}, which has ended", tick.tick, tick.incarnation));
        }
        if !goes_on && self.matches > 0 && self.endings < WINDOW {
            return Err(format!("a match ended in {} roots, its pages were still in the window", self.endings));
        }
        let (first_sequence, last_tick, before, mut tables) = match self.newest() {
            Some(last) if goes_on => (last.first_sequence, last.tick, last.pages.clone(), last.tables.clone()),
            _ => (sequence, 0, vec![None; logical_pages as usize], vec![false; (logical_pages as usize).div_ceil(PAGE_WORDS)]),
        };
        if tick.tick != last_tick + 1 || tick.cursor[0] != self.cursor() || tick.cursor[1] < tick.cursor[0] {
            return Err(format!("root {sequence} follows tick {last_tick} with cursor {}: {tick:?}", self.cursor()));
        }
        self.account(tick)?;
        if !goes_on {
            self.blobs = Oracle::new(Rc::clone(&self.blobs.world), tick.incarnation, &self.places);
        }
        let (tables_at, blobs) = (&self.places.tables, Some(&mut self.blobs.blobs));
        let mut scratch = Scratch { tables: tables_at, blobs, pages: before.clone(), touched: Vec::new() };
        let (seed, incarnation) = (self.seed, tick.incarnation);
        game::step(&mut scratch, &Tick { seed, incarnation, tick: tick.tick, lean: tick.lean, records: &tick.records });
        let Scratch { mut pages, mut touched, .. } = scratch;
        self.blobs.settle(&mut pages, &mut touched);
        let changed = settle(&before, &mut pages, touched);
        let mut retired = changed.iter().filter(|page| before[**page as usize].is_some()).count();
        let mut groups: Vec<usize> = changed.iter().map(|page| *page as usize / PAGE_WORDS).collect();
        groups.dedup();
        for group in groups {
            retired += usize::from(std::mem::replace(&mut tables[group], true));
        }
        let live = pages.iter().flatten().count() + tables.iter().filter(|there| **there).count();
        if !goes_on {
            (self.endings, self.matches) = (0, self.matches + 1);
        }
        self.lean += u64::from(tick.lean);
        Ok(Root {
            sequence,
            incarnation,
            first_sequence,
            tick: tick.tick,
            cursor: tick.cursor[1],
            ended: false,
            pages,
            tables,
            live,
            retired,
        })
    }

    /// Every producer's records are consumed in order, each once.
    fn account(&mut self, tick: &Journalled) -> Result<(), Violation> {
        for sent in &tick.records {
            let next = self.consumed.entry(sent.producer).or_insert(0);
            if u64::from(sent.sequence) != *next {
                return Err(format!("tick {} consumed {sent:?}, the next of that producer was {next}", tick.tick));
            }
            *next += 1;
            self.records += 1;
        }
        Ok(())
    }

    /// The blobs of a root: their ids, and the numbers that their bytes follow from.
    pub fn links(&self, root: &Root) -> Vec<(u64, u64)> {
        let rows = Scratch { tables: &self.places.tables, blobs: None, pages: root.pages.clone(), touched: Vec::new() };
        game::links(&rows).collect()
    }

    /// Where the zone's blobs lie.
    pub fn blobs_at(&self) -> BlobsAt {
        self.places.blobs
    }

    /// The head that a root of the window must have, apart from times and checksum.
    pub fn head(&self, root: &Root) -> RootHead {
        let head = game::head(root.tick, root.cursor);
        let flags = if root.ended { ringfort_shm_state::layout::RootFlags::ENDED } else { 0 };
        let (sessions, entities) = if root.ended { (0, 0) } else { (head.sessions, head.entities) };
        RootHead {
            sequence: root.sequence,
            incarnation: root.incarnation,
            first_sequence: root.first_sequence,
            flags,
            logical_pages: root.pages.len() as u32,
            tables: root.pages.len().div_ceil(PAGE_WORDS) as u32,
            sessions,
            entities,
            ..head
        }
    }

    /// Pages that a commit counted as used: those that its root names, and those that roots replaced which had not yet left.
    /// `None` where the model no longer knows.
    pub fn pages_used(&self, root: &Root) -> Option<usize> {
        if root.ended {
            return Some(0);
        }
        let from = root.first_sequence.max((root.sequence + 1).saturating_sub(WINDOW));
        let known = self.roots.front().is_some_and(|oldest| oldest.sequence <= from);
        let retired =
            self.roots.iter().filter(|r| (from..=root.sequence).contains(&r.sequence)).map(|r| r.retired).sum::<usize>();
        known.then_some(root.live + retired)
    }
}

/// Puts pages back that were touched and are what they were, and forgets pages of zeros; returns those that changed, in order.
fn settle(before: &[Option<Rc<Page>>], pages: &mut [Option<Rc<Page>>], mut touched: Vec<u32>) -> Vec<u32> {
    touched.sort_unstable();
    touched.dedup();
    touched.retain(|logical| {
        let (old, new) = (&before[*logical as usize], &mut pages[*logical as usize]);
        let zeros = [0; PAGE_WORDS];
        let same = old.as_deref().unwrap_or(&zeros) == new.as_deref().unwrap_or(&zeros);
        if same {
            new.clone_from(old);
        } else if new.as_deref() == Some(&zeros) {
            *new = None;
        }
        !same
    });
    touched
}
