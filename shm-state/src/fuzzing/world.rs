//! A world that a sim left behind: read by mirrors, `fsck` and the supervisor, and taken over by the next sim.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use zerocopy::FromZeros;

use super::{Region, Source, digest};
use crate::cell::Cell;
use crate::entities::EntityTable;
use crate::fsck;
use crate::layout::{AttemptEntry, EntityRow, RootHead, ZoneEntry, ZoneMeta, ZoneState, world as at};
use crate::limits::{EXTENT_BYTES, EXTENT_PAGES, MAX_TABLES, PAGE_BYTES, PAGE_WORDS, ROOT_RING, WINDOW};
use crate::memory::Words;
use crate::mirror::Mirror;
use crate::pages::{CommitError, Pages};
use crate::plain::Plain;
use crate::table::{Table, TableAt, Tables};
use crate::world::{PageHandle, Root, World};

/// Extents of the arena: room for what the target does, and little more.
const EXTENTS: usize = 8;
/// The slot and the match whose words are bent, and those of a neighbour.
const ZONE: usize = 0;
const MATCH: u64 = 7;
const NEIGHBOUR: usize = 1;
const ENTITIES: u32 = 400;
const LARGE_ROWS: u32 = 2_400;
/// Rows of a zone whose root names directory pages.
const MANY_ROWS: u32 = 80_000;
/// Ticks that a successor runs: enough that pages from before it are used again.
const TICKS_AFTER: u32 = WINDOW as u32 + 4;

/// A row of a quarter of a page, so that a zone has more than one table page.
#[derive(Clone, Copy)]
struct Large([u8; 1000]);

// SAFETY: bytes, without padding and pointers, and every pattern is valid.
unsafe impl Plain for Large {}

/// The tables of the target's zones.
#[derive(Clone, Copy)]
struct Places {
    meta: TableAt,
    entities: TableAt,
    large: TableAt,
    pages: u32,
}

fn places(large_rows: u32) -> Places {
    let mut tables = Tables::default();
    let meta = tables.add(1, size_of::<ZoneMeta>());
    let entities = tables.add(ENTITIES, size_of::<EntityRow>());
    let large = tables.add(large_rows, size_of::<Large>());
    Places { meta, entities, large, pages: tables.pages() }
}

/// A zone as its sim has it.
struct Zone {
    pages: Rc<Pages>,
    meta: Table<ZoneMeta>,
    entities: EntityTable,
    large: Table<Large>,
}

impl Zone {
    fn over(pages: Pages, places: Places) -> Self {
        let pages = Rc::new(pages);
        // SAFETY: each table is bound here once, and every pattern is a valid row of these types.
        let (meta, rows, large) = unsafe {
            (Table::bind(&pages, places.meta), Table::bind(&pages, places.entities), Table::bind(&pages, places.large))
        };
        Self { pages, meta, entities: EntityTable::new(rows), large }
    }

    /// One tick's work: entities come and go, rows of both ends of the zone change.
    fn tick(&mut self, tick: u32) -> Result<RootHead, CommitError> {
        let mut meta = self.meta.get(0).copied().unwrap_or(ZoneMeta::new_zeroed());
        let spawned = self.entities.spawn(&mut meta, u64::from(tick));
        self.entities.spawn(&mut meta, 1);
        if let Some((index, generation)) = spawned
            && self.entities.kill(&mut meta, index, generation)
        {
            self.entities.free(&mut meta, index);
        }
        self.meta.insert(0, meta);
        self.large.insert(0, Large([tick as u8; 1000]));
        self.large.insert(self.large.at().rows - 1 - tick % 8, Large([1; 1000]));
        self.large.remove(tick % 8);
        // SAFETY: no reference into a table is alive: `spawn` and `insert` keep none.
        unsafe { self.pages.commit(RootHead { tick, net_cursor: 64, ..RootHead::new_zeroed() }) }
    }

    /// Reads whatever rows there are.
    fn read(&self) {
        let sum = self.large.iter().fold(0u64, |sum, (_, row)| sum + u64::from(row.0[999]));
        assert!(sum <= u64::from(MANY_ROWS) * 255 && self.meta.count() <= 1);
        let alive = (0..ENTITIES + 10).filter(|index| self.entities.generation(*index).is_some()).count();
        assert!(alive <= ENTITIES as usize);
        let _ = (self.large.first_absent(0), self.entities.owner(3, 1), self.entities.alive(u32::MAX, 1));
    }
}

/// Bends a zone's control block, owner words, table pages and rows, and reads and takes over what is left.
pub fn world(data: &[u8]) {
    let mut source = Source(data);
    let places = places(if source.byte().is_multiple_of(8) { MANY_ROWS } else { LARGE_ROWS });
    let world = Rc::new(World::heap(EXTENTS));
    let mut mirror = Mirror::new(ZONE);
    let newest = build(&world, places, &mut mirror);
    match source.byte() % 8 {
        0 => {
            let control = (at::CONTROLS, at::CONTROL_STRIDE / 8);
            source.flood(world.memory(), control);
        }
        _ => damage(&world, newest, &mut source),
    }
    let last = source.byte();
    look(&world, newest, &mut source);
    refresh(&world, &mut mirror, places);
    refresh(&world, &mut Mirror::new(ZONE), places);
    check(&world);
    take_over(&world, places, last);
    refresh(&world, &mut mirror, places);
    if last & 16 != 0 {
        check(&world);
    }
}

/// Two zones with some history, the first seen by a mirror before its last commits.
fn build(world: &Rc<World>, places: Places, mirror: &mut Mirror) -> u64 {
    let open = |zone, incarnation| Pages::open(Rc::clone(world), zone, incarnation, 1, places.pages).expect("a free slot");
    let mut zone = Zone::over(open(ZONE, MATCH), places);
    let mut neighbour = Zone::over(open(NEIGHBOUR, MATCH + 1), places);
    neighbour.tick(1).expect("room in the arena");
    zone.tick(1).expect("room in the arena");
    mirror.refresh(world).expect("a sound root");
    for tick in 2..4 {
        zone.tick(tick).expect("room in the arena");
    }
    world.publish_attempt(ZONE, &AttemptEntry { tick: 5, attempt: 1, ..AttemptEntry::new_zeroed() });
    world.published(ZONE).sequence
}

fn page_region(world: &World, page: u32) -> Region {
    (at::arena(world.extents()) + page as usize * PAGE_BYTES, PAGE_WORDS)
}

fn root_region(sequence: u64) -> Region {
    (
        at::CONTROLS + ZONE * at::CONTROL_STRIDE + at::ROOTS + (sequence % ROOT_RING) as usize * at::ROOT_STRIDE,
        at::ROOT_STRIDE / 8,
    )
}

/// Bends words where it matters; a writer that lies computes the checksum of what it wrote.
fn damage(world: &World, newest: u64, source: &mut Source<'_>) {
    let memory = world.memory();
    let control = at::CONTROLS + ZONE * at::CONTROL_STRIDE;
    let table = |group: usize| world.newest(ZONE).map_or(0, |root| root.tables[group].index());
    let below = PageHandle(memory.load(page_region(world, table(0)).0, Ordering::Relaxed));
    let tables = [table(0), table(1), below.index() % world.pages() as u32].map(|page| page_region(world, page));
    let head_words = size_of::<RootHead>() / 8;
    let heads = (root_region(newest).0, head_words);
    let handles = (heads.0 + head_words * 8, MAX_TABLES);
    let published = (control + at::PUBLISHED, 1);
    let attempt = (control + at::ATTEMPT, Cell::<AttemptEntry>::BYTES / 8);
    let owners = (at::OWNERS, EXTENTS);
    let arena = (at::arena(EXTENTS), EXTENTS * EXTENT_BYTES / 8);
    for _ in 0..source.byte() % 64 {
        match source.byte() % 16 {
            0 => source.bend(memory, &[published]),
            1 => source.bend(memory, &[attempt, (control, at::CONTROL_STRIDE / 8)]),
            2 => source.bend(memory, &[owners]),
            3 => {
                let root = root_region(newest - source.below(3) as u64);
                source.bend(memory, &[root]);
            }
            4 => source.bend(memory, &[arena]),
            5 | 6 => name_a_page(world, (tables[source.below(3)].0, PAGE_WORDS), newest, source),
            7 => name_a_page(world, handles, newest, source),
            8 | 9 => source.bend(memory, &tables),
            10 => bend_a_row(world, tables[source.below(3)], source),
            11 | 12 => source.bend(memory, &[heads, handles]),
            13 => publish(world, newest, source),
            _ => {}
        }
        if source.byte().is_multiple_of(2) {
            seal(world, newest - source.below(2) as u64);
        }
    }
}

/// Puts a handle that looks like one into a word of a region, most often near its beginning.
fn name_a_page(world: &World, (offset, words): Region, newest: u64, source: &mut Source<'_>) {
    let word = if source.byte() < 200 { source.below(words.min(24)) } else { source.below(words) };
    let birth = (newest + 2).saturating_sub(source.below(6) as u64);
    let page = source.below(world.pages() + 4) as u32;
    world.memory().copy_in(offset + word * 8, &[PageHandle::new(birth, page).0]);
}

/// Bends a word of one of the zone's first rows: the counters, the entity table's list, presence bits.
fn bend_a_row(world: &World, table: Region, source: &mut Source<'_>) {
    let handle = PageHandle(world.memory().load(table.0 + source.below(4) * 8, Ordering::Relaxed));
    if (handle.index() as usize) < world.pages() {
        let (offset, words) = page_region(world, handle.index());
        let near = words.min(32);
        source.bend(world.memory(), &[(offset, near)]);
    }
}

/// Publishes another sequence, with the newest root's descriptor in its place.
fn publish(world: &World, newest: u64, source: &mut Source<'_>) {
    let from = world.published(ZONE);
    let sequence = source.number(newest) & ((1 << 48) - 1);
    let mut root = raw_root(world, newest);
    root.head.sequence = sequence;
    if source.byte().is_multiple_of(2) {
        root.head.first_sequence = source.number(sequence);
    }
    world.write_root(ZONE, &mut root);
    let _ = world.publish(ZONE, from, crate::world::Published { sequence, ..from });
}

/// The descriptor at a sequence's place, whatever it is.
fn raw_root(world: &World, sequence: u64) -> Root {
    let (offset, _) = root_region(sequence);
    let mut words = [0; MAX_TABLES];
    world.memory().copy_out(offset + size_of::<RootHead>(), &mut words);
    Root { head: world.memory().read(offset), tables: words.map(PageHandle) }
}

fn seal(world: &World, sequence: u64) {
    let mut root = raw_root(world, sequence);
    root.head.sequence = sequence;
    world.write_root(ZONE, &mut root);
}

/// Everything that is asked of a world without following its pages.
fn look(world: &World, newest: u64, source: &mut Source<'_>) {
    let _ = (world.attempt(ZONE), world.consumed(ZONE, MATCH), world.newest(ZONE), world.newest(NEIGHBOUR));
    assert!(world.extents_used() <= EXTENTS);
    for sequence in (newest.saturating_sub(ROOT_RING)..newest + 3).chain([source.number(newest), u64::MAX, 0]) {
        if let Ok(root) = world.root(ZONE, sequence) {
            assert!(root.head.sequence == sequence && root.head.tables as usize <= MAX_TABLES);
        }
        let _ = world.in_window(ZONE, sequence);
    }
}

fn refresh(world: &World, mirror: &mut Mirror, places: Places) {
    for _ in 0..2 {
        let refreshed = mirror.refresh(world).is_ok();
        // No lie makes a reader hold more than the zone's pages, what they replaced, and table pages.
        let bound = 2 * (places.pages as usize + 2 * MAX_TABLES);
        assert!(mirror.held_pages() <= bound, "{} pages held, {refreshed}", mirror.held_pages());
        assert!(mirror.iter::<ZoneMeta>(places.meta).count() <= 1);
        assert!(mirror.iter::<EntityRow>(places.entities).count() <= ENTITIES as usize);
        let rows = places.large.rows;
        let ends = (0..40).chain(rows - 40..rows + 9);
        assert!(ends.filter(|row| mirror.row(&places.large, *row).is_some()).count() <= 80);
        for change in mirror.changes() {
            let _ = mirror.page(change.logical)[0];
        }
    }
}

fn listed(slot: usize, incarnation: u64) -> (usize, ZoneEntry) {
    (slot, ZoneEntry { incarnation, state: ZoneState::Open as u32, ..ZoneEntry::new_zeroed() })
}

fn check(world: &World) {
    let report = fsck::check(world, &[listed(ZONE, MATCH), listed(NEIGHBOUR, MATCH + 1)]);
    assert!(report.pages <= world.pages() * 2 && report.roots <= 2 * WINDOW as usize);
    assert!(report.problems.len() <= crate::limits::MAX_PROBLEMS, "{} problems", report.problems.len());
}

/// Pages that are not the zone's: in extents of others. Free extents may be taken.
fn foreign(world: &World) -> Vec<Region> {
    let others = |extent: &usize| world.owner(*extent).is_some_and(|(zone, _)| zone != ZONE);
    let first = |extent| (page_region(world, (extent * EXTENT_PAGES) as u32).0, EXTENT_BYTES / 8);
    (0..world.extents()).filter(others).map(first).collect()
}

/// The next sim: takes the zone over and steps it, or gives it up; nothing of the neighbours changes either way.
fn take_over(world: &Rc<World>, places: Places, how: u8) {
    let foreign = foreign(world);
    let before: Vec<u64> = foreign.iter().map(|region| digest(world.memory(), *region)).collect();
    let epoch = world.published(ZONE).epoch.wrapping_add(1);
    if how.is_multiple_of(4) {
        let _ = world.finish_ended(ZONE, MATCH);
    }
    match Pages::adopt(Rc::clone(world), ZONE, MATCH, epoch, places.pages) {
        Ok((pages, head)) => {
            assert_eq!(head.incarnation, MATCH);
            let mut zone = Zone::over(pages, places);
            zone.read();
            go_on(world, &mut zone, how);
        }
        Err(_) => {
            if world.abandon(ZONE, epoch).is_ok() {
                assert_eq!(world.extents_of(ZONE).count(), 0, "its memory is back");
            }
            if let Ok(pages) = Pages::open(Rc::clone(world), ZONE, MATCH + 2, epoch, places.pages) {
                go_on(world, &mut Zone::over(pages, places), how);
            }
        }
    }
    let after: Vec<u64> = foreign.iter().map(|region| digest(world.memory(), *region)).collect();
    assert_eq!(after, before, "only the zone's own extents are written");
}

fn go_on(world: &World, zone: &mut Zone, how: u8) {
    let ticks = if how & 12 == 0 { TICKS_AFTER } else { 3 };
    for tick in 0..ticks {
        match zone.tick(tick) {
            Ok(head) => assert_eq!(world.newest(ZONE).map(|root| root.head), Ok(head), "a commit can be read"),
            Err(CommitError::ArenaFull { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    zone.read();
    if how & 2 != 0 {
        // SAFETY: no reference into a table is alive, and the zone is dropped after this.
        unsafe { zone.pages.end(RootHead::new_zeroed()) }.expect("not fenced");
        assert_eq!(world.extents_of(ZONE).filter(|e| world.owner(*e).is_some_and(|o| o.1 == MATCH)).count(), 0);
    }
}
