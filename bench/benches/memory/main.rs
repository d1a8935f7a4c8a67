//! What the world costs in memory: an entity's components beside plain arrays of the same structs, and the window of earlier roots
//! beside its formula.

use std::rc::Rc;

use ringfort::skirmish::{Body, Gun, Health, Score};
use ringfort_bench::progress::Progress;
use ringfort_bench::report::{head, machine, row};
use ringfort_bench::rows::{Layout, Wide, Zone};
use ringfort_bench::shared::Unnamed;
use ringfort_shm_state::layout::EntityRow;
use ringfort_shm_state::limits::{EXTENT_BYTES, EXTENT_PAGES, KEEP_FREE_PAGES, PAGE_BYTES, PAGE_WORDS, WINDOW};
use ringfort_shm_state::segment::{Access, SegmentSpec};
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::world::World;

/// Picks a column.
type Column = fn(&Layout) -> TableAt;

/// Entities of the worlds whose components are counted.
const SIZES: [u32; 4] = [100, 1_000, 100_000, 1_000_000];
/// Entities of the worlds whose window is measured.
const WINDOW_SIZES: [u32; 2] = [10_000, 100_000];
/// Percent of the pages of 64-byte rows that a tick changes.
const PERCENTS: [u32; 4] = [1, 10, 50, 100];
/// Ticks before the window is measured: every root in it is of this rate, and pages have gone round.
const TICKS: u32 = 2 * WINDOW as u32 + 8;

fn main() {
    println!("# memory: the world's bytes\n\n{}\n", machine());
    let mut progress = Progress::new(SIZES.len() + WINDOW_SIZES.len() * PERCENTS.len());
    let components: Vec<_> = SIZES
        .into_iter()
        .map(|entities| {
            progress.next(&format!("{entities} entities"));
            (entities, filled(entities))
        })
        .collect();
    let mut windows = Vec::new();
    for entities in WINDOW_SIZES {
        for percent in PERCENTS {
            progress.next(&format!("{entities} entities, {percent} % of the pages a tick"));
            windows.push(Measured::new(entities, percent));
        }
    }
    drop(progress);
    tell_components(&components);
    tell_windows(&windows);
}

/// Extents that a world takes whose every entity has every component, after its first commit.
fn filled(entities: u32) -> usize {
    let layout = Layout::new(entities);
    zone(&layout, 0).extents()
}

/// A filled zone in an arena that has room for ticks that change so many pages.
fn zone(layout: &Layout, changed: u32) -> Zone {
    let window = (changed + tables(changed) + 2) * (WINDOW as u32 + 2);
    let pages = layout.pages + tables(layout.pages) + window;
    let unnamed = Unnamed::create(SegmentSpec::world(u64::from(pages).div_ceil(EXTENT_PAGES as u64) + 32));
    Zone::fill(&Rc::new(World::new(unnamed.attach(Access::ReadWrite))), layout)
}

/// Table and directory pages above so many pages in a row, at most.
fn tables(pages: u32) -> u32 {
    pages.div_ceil(PAGE_WORDS as u32) + pages.div_ceil((PAGE_WORDS * PAGE_WORDS) as u32) + 1
}

fn tell_components(components: &[(u32, usize)]) {
    println!("Bytes of an entity in each component's pages, all entities having it, and in an array of the same structs:\n");
    let sizes = SIZES.map(|n| format!("{n} entities"));
    let cells: Vec<&str> = ["component", "array"].into_iter().chain(sizes.iter().map(String::as_str)).collect();
    head(&cells);
    let columns: [(&str, usize, Column); 6] = [
        ("entity table", size_of::<EntityRow>(), |l| l.entities),
        ("Body", size_of::<Body>(), |l| l.body),
        ("Health", size_of::<Health>(), |l| l.health),
        ("Gun", size_of::<Gun>(), |l| l.gun),
        ("Score", size_of::<Score>(), |l| l.score),
        ("64-byte row", size_of::<Wide>(), |l| l.wide),
    ];
    for (name, array, column) in columns {
        let of = |(entities, _): &(u32, usize)| {
            let bytes = column(&Layout::new(*entities)).pages() as usize * PAGE_BYTES;
            let each = bytes as f64 / f64::from(*entities);
            format!("{each:.2} (x {:.3})", each / array as f64)
        };
        row(&[name.to_owned(), array.to_string()].into_iter().chain(components.iter().map(of)).collect::<Vec<_>>());
    }
    let array: usize = columns.iter().map(|c| c.1).sum();
    let of = |(entities, extents): &(u32, usize)| {
        let each = (extents * EXTENT_BYTES) as f64 / f64::from(*entities);
        format!("{each:.2} (x {:.3})", each / array as f64)
    };
    let name = "all, measured as extents x 64 KiB, table pages included".to_owned();
    row(&[name, array.to_string()].into_iter().chain(components.iter().map(of)).collect::<Vec<_>>());
    println!();
}

/// A window after ticks that each changed the same number of pages.
struct Measured {
    entities: u32,
    world_pages: u32,
    changed: u32,
    changed_tables: u32,
    extents: usize,
}

impl Measured {
    fn new(entities: u32, percent: u32) -> Self {
        let layout = Layout::new(entities);
        let wide = layout.wide;
        let changed = (wide.pages() * percent / 100).max(1);
        let mut zone = zone(&layout, changed);
        for _ in 0..TICKS {
            (0..changed).for_each(|page| zone.wide.get_mut(page * wide.per_page).expect("every row is there").0[0] += 1);
            zone.commit().expect("the arena has room");
        }
        let table = |page: u32| page / PAGE_WORDS as u32;
        let changed_tables = table(wide.base + changed - 1) - table(wide.base) + 1;
        let world_pages = layout.pages + layout.pages.div_ceil(PAGE_WORDS as u32);
        Self { entities, world_pages, changed, changed_tables, extents: zone.extents() }
    }

    /// Pages by the formula: the world's, and for each root of the window what the next one replaced or the tick copies.
    fn formula(&self) -> u32 {
        self.world_pages + (self.changed + self.changed_tables) * WINDOW as u32
    }
}

fn tell_windows(windows: &[Measured]) {
    println!(
        "The window after {TICKS} ticks. Formula: (pages of the world + its table pages + {WINDOW} x (pages changed a tick + their table\n\
         pages)) x 4 KiB. Measured: extents in use x 64 KiB; a zone keeps up to {} free pages ({} KiB) before it gives extents back.\n",
        2 * KEEP_FREE_PAGES,
        2 * KEEP_FREE_PAGES * PAGE_BYTES / 1024
    );
    head(&[
        "entities",
        "pages of the world",
        "changed a tick",
        "formula KiB",
        "measured KiB",
        "measured over formula",
        "measured over the world alone",
    ]);
    for w in windows {
        let (formula, measured) = (w.formula() as usize * PAGE_BYTES / 1024, w.extents * EXTENT_BYTES / 1024);
        let alone = w.world_pages as usize * PAGE_BYTES / 1024;
        row(&[
            w.entities.to_string(),
            w.world_pages.to_string(),
            format!("{} + {} tables", w.changed, w.changed_tables),
            formula.to_string(),
            measured.to_string(),
            format!("{:.3}", measured as f64 / formula as f64),
            format!("{:.2}", measured as f64 / alone as f64),
        ]);
    }
}
