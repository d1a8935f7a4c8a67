//! A world is decoded from its files with nothing but the numbers in `docs/shm-layout.md`.

use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::entities::EntityTable;
use ringfort_shm_state::layout::{EntityRow, RootHead, ZoneEntry, ZoneMeta, ZoneState};
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::segment::{Segment, SegmentSpec, padded};
use ringfort_shm_state::table::{Table, Tables};
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

use crate::Instance;

/// The numbers of the document.
struct Document {
    /// By segment and what it is.
    offsets: BTreeMap<(String, String), usize>,
    /// Offset and bytes, by struct and field.
    fields: BTreeMap<(String, String), (usize, usize)>,
    sizes: BTreeMap<String, usize>,
}

impl Document {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/shm-layout.md");
        let text = fs::read_to_string(path).expect("docs/shm-layout.md");
        let (mut offsets, mut fields, mut sizes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut of = String::new();
        for line in text.lines() {
            if let Some((name, bytes)) = line.strip_prefix("## ").and_then(|l| l.strip_suffix(" bytes)")?.split_once(" (")) {
                of = name.to_owned();
                sizes.insert(of.clone(), bytes.parse().expect("a size"));
            }
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            match cells[..] {
                [segment, what, offset] => {
                    if let Ok(offset) = offset.parse() {
                        offsets.insert((segment.to_owned(), what.to_owned()), offset);
                    }
                }
                [field, _, offset, bytes, _] => {
                    if let (Ok(offset), Ok(bytes)) = (offset.parse(), bytes.parse()) {
                        fields.insert((of.clone(), field.to_owned()), (offset, bytes));
                    }
                }
                _ => {}
            }
        }
        Self { offsets, fields, sizes }
    }

    fn at(&self, segment: &str, what: &str) -> usize {
        let key = (segment.to_owned(), what.to_owned());
        *self.offsets.get(&key).unwrap_or_else(|| panic!("{segment}: {what} is in the document"))
    }

    fn any(&self, what: &str) -> usize {
        self.at("any", what)
    }

    /// A field of a struct at a place in a file.
    fn field(&self, file: &[u8], base: usize, of: &str, field: &str) -> u64 {
        let key = (of.to_owned(), field.to_owned());
        let (offset, bytes) = *self.fields.get(&key).unwrap_or_else(|| panic!("{of}.{field} is in the document"));
        number(file, base + offset, bytes)
    }
}

fn number(file: &[u8], at: usize, bytes: usize) -> u64 {
    file[at..at + bytes].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// The alive entities of a match: index, generation and owner, as the page tells how to find them.
fn decode(directory: &[u8], world: &[u8], name: &str) -> Vec<(u32, u64, u64)> {
    let doc = Document::read();
    let of_zone = |what| doc.at("directory", what);
    // The zone: a published cell whose newest copy has the name.
    let (slot, entry) = (0..doc.any("zone slots"))
        .find_map(|slot| {
            let cell = of_zone("zone table") + slot * of_zone("zone table stride");
            let version = number(directory, cell, 8);
            let entry = cell + 64 + (version % 2) as usize * doc.sizes["ZoneEntry"];
            let named = entry + doc.fields[&("ZoneEntry".to_owned(), "name".to_owned())].0;
            (version != 0 && directory[named..].starts_with(name.as_bytes())).then_some((slot, entry))
        })
        .expect("the match is in the directory");
    let rows = doc.field(directory, entry, "ZoneEntry", "max_entities") as usize;
    // The newest root.
    let extents = doc.field(world, 0, "Header", "parameter") as usize;
    let extent_bytes = doc.any("extent bytes");
    let arena = (doc.at("world", "owner table") + extents * 8).div_ceil(extent_bytes) * extent_bytes;
    let control = doc.at("world", "control blocks") + slot * doc.at("world", "control block stride");
    let published = number(world, control + doc.at("world", "in a control block: published word"), 8);
    let sequence = published % (1 << doc.any("sequence bits of the published word"));
    let ring = control + doc.at("world", "in a control block: ring of roots");
    let root = ring + (sequence as usize % doc.any("roots in a ring")) * doc.at("world", "root stride");
    assert_eq!(doc.field(world, root, "RootHead", "sequence"), sequence);
    let page_of = |handle: u64| {
        let index = handle % (1 << doc.any("page index bits of a handle"));
        arena + index as usize * doc.any("page bytes")
    };
    let per_page = doc.any("handles in a page");
    let large = doc.field(world, root, "RootHead", "logical_pages") as usize > doc.any("handles in a root") * per_page;
    let in_root = |i: usize| number(world, root + doc.sizes["RootHead"] + i * 8, 8);
    let below = |handle: u64, i: usize| if handle == 0 { 0 } else { number(world, page_of(handle) + i * 8, 8) };
    let logical = |page: usize| {
        let table = page / per_page;
        let table = if large { below(in_root(table / per_page), table % per_page) } else { in_root(table) };
        below(table, page % per_page)
    };
    // The entity table follows the one page of ZoneMeta.
    let row_bytes = doc.sizes["EntityRow"];
    let presence = |n: usize| n.div_ceil(8).div_ceil(16) * 16;
    let in_page = (1..).take_while(|n| presence(*n) + n * row_bytes <= doc.any("page bytes")).last().expect("a row fits");
    let mut alive = Vec::new();
    for row in 0..rows {
        let (handle, i) = (logical(1 + row / in_page), row % in_page);
        if handle == 0 || world[page_of(handle) + i / 8] >> (i % 8) & 1 == 0 {
            continue;
        }
        let at = page_of(handle) + presence(in_page) + i * row_bytes;
        if doc.field(world, at, "EntityRow", "alive") == 1 {
            let field = |name| doc.field(world, at, "EntityRow", name);
            alive.push((row as u32, field("generation"), field("owner")));
        }
    }
    alive
}

/// Spawns, kills and commits, then decodes, in a zone whose other tables take so many pages.
fn committed_is_decoded(other_pages: u32) {
    const MAX_ENTITIES: u32 = 2_000;
    const SLOT: usize = 3;
    let instance = Instance::new();
    let directory = Segment::create(&instance.0, SegmentSpec::DIRECTORY).expect("room in /dev/shm");
    let spec = SegmentSpec::world(40);
    let world = Rc::new(World::new(Segment::create(&instance.0, spec).expect("room in /dev/shm")));
    let entry = ZoneEntry {
        incarnation: 9,
        state: ZoneState::Open as u32,
        max_entities: MAX_ENTITIES,
        name: padded("by hand"),
        ..ZoneEntry::new_zeroed()
    };
    DirectoryWriter::new(&directory).publish_zone(SLOT, &entry);
    let mut tables = Tables::default();
    let meta = tables.add(1, size_of::<ZoneMeta>());
    let entities = tables.add(MAX_ENTITIES, size_of::<EntityRow>());
    tables.add(other_pages, 4_000);
    let pages = Rc::new(Pages::open(world, SLOT, 9, 1, tables.pages()).expect("a free slot"));
    // SAFETY: one table for each place, of pages that hold nothing yet.
    let (mut meta, entities) = unsafe { (Table::<ZoneMeta>::bind(&pages, meta), Table::<EntityRow>::bind(&pages, entities)) };
    let mut entities = EntityTable::new(entities);
    meta.insert(0, ZoneMeta::new_zeroed());
    let mut model = BTreeMap::new();
    for tick in 1..=50u32 {
        let meta = meta.get_mut(0).expect("inserted");
        for owner in 1..=7 {
            let (index, generation) = entities.spawn(meta, owner * u64::from(tick)).expect("room");
            model.insert(index, (generation, owner * u64::from(tick)));
        }
        let killed: Vec<u32> = model.keys().copied().filter(|index| (index + tick).is_multiple_of(37)).collect();
        for index in killed {
            let (generation, _) = model.remove(&index).expect("alive");
            assert!(entities.kill(meta, index, generation));
            entities.free(meta, index);
        }
        // SAFETY: no reference into a table is alive.
        unsafe { pages.commit(RootHead { tick, ..RootHead::new_zeroed() }) }.expect("room in the arena");
    }
    let file = |spec: SegmentSpec| fs::read(spec.path(&instance.0)).expect("the segment's file");
    let decoded = decode(&file(SegmentSpec::DIRECTORY), &file(spec), "by hand");
    let expected: Vec<_> = model.into_iter().map(|(index, (generation, owner))| (index, u64::from(generation), owner)).collect();
    assert!(expected.len() > 100);
    assert_eq!(decoded, expected);
}

#[test]
fn a_world_is_decoded_with_the_document_alone() {
    committed_is_decoded(10);
}

#[test]
fn a_world_with_directory_pages_is_decoded_with_the_document_alone() {
    committed_is_decoded(20_000);
}
