//! Snapshots, applied one after the other as a client does.

use super::parts;
use crate::bits::Row;
use crate::client_world::{Applied, ClientWorld};
use crate::component::ColumnId;
use crate::limits::MAX_SNAPSHOT_BYTES;
use crate::snapshot::{Item, SnapshotReader, SnapshotShape, SnapshotWriter};
use crate::test_game::{Body, Health, schema};
use crate::{Entity, TickNo, WireLayout};

/// A snapshot's item with its rows copied out: words and bits.
#[derive(Clone, PartialEq, Debug)]
enum Copied {
    Global(usize, Bits),
    Update(u32),
    Fresh(u32, u32, bool),
    Gone(u32),
    Column(usize, Option<Bits>),
    Cue(Bits),
}

type Bits = (Vec<u64>, u32);

/// The match's size, and then snapshots.
pub fn snapshot(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let max_entities = [1, 16, 100, 1 << 16][usize::from(first % 4)];
    let layout = WireLayout::new(&schema()).expect("a sound schema");
    let mut world = ClientWorld::new(layout.clone(), max_entities);
    let mut twin = ClientWorld::new(layout.clone(), max_entities);
    for part in parts(data) {
        let before = world.tick();
        match world.apply(part, |cue| assert!(cue.remaining() >= 8)) {
            Ok(Applied::Older(tick)) => assert!(tick <= before && world.tick() == before),
            Ok(Applied::Newer(tick)) => {
                assert!(tick > before && world.tick() == tick && world.acks().contains(tick.0));
                look_at(&world, max_entities);
                if part.len() <= MAX_SNAPSHOT_BYTES {
                    write_again(part, &layout, max_entities, &mut twin);
                }
            }
            Err(_) => return,
        }
    }
}

fn look_at(world: &ClientWorld, max_entities: u32) {
    let entities: Vec<Entity> = world.entities().collect();
    assert!(entities.len() <= max_entities as usize);
    assert!(entities.iter().all(|entity| entity.index < max_entities && world.sees(*entity)));
    assert!(world.mine().all(|entity| entities.contains(&entity)));
    assert!(world.iter(ColumnId::<Body>::new(0)).count() <= entities.len());
    assert!(world.iter(ColumnId::<Health>::new(2)).all(|(_, health)| health.hp <= 100));
    for entity in entities {
        if let Some(name) = world.blob(entity, 5) {
            assert!(name.len() <= 20 && std::str::from_utf8(name).is_ok());
        }
        let shown = (0..world.layout().columns.len()).filter_map(|wire| world.encoded(entity, wire));
        assert!(shown.map(<[u8]>::len).sum::<usize>() <= 128, "the sum of the columns' widths");
    }
}

/// What was read is written once more, and read as the same.
fn write_again(datagram: &[u8], layout: &WireLayout, max_entities: u32, twin: &mut ClientWorld) {
    let items = read(datagram, layout, max_entities);
    let header = SnapshotReader::new(datagram, layout).expect("it was applied").header;
    let mut writer = SnapshotWriter::new();
    writer.start(&header, SnapshotShape::new(layout, max_entities), MAX_SNAPSHOT_BYTES);
    // A match of few entities has an index in fewer bits than a step: what named it may not fit as a step.
    if !write(&items, &mut writer) {
        return;
    }
    let again = writer.finish().to_vec();
    assert_eq!(read(&again, layout, max_entities), items);
    // A snapshot that was not written again in full was not applied to the twin either, so it may lack entities.
    if let Ok(Applied::Newer(TickNo(tick))) = twin.apply(&again, |_| {}) {
        assert_eq!(tick, header.tick.0);
    }
}

fn read(datagram: &[u8], layout: &WireLayout, max_entities: u32) -> Vec<Copied> {
    let mut items = Vec::new();
    let bits = |mut row: crate::bits::BitReader<'_>| {
        let (mut words, bits) = (Vec::new(), row.remaining() as u32);
        row.copy_bits(bits, &mut words).expect("as many as there are");
        (words, bits)
    };
    let reader = SnapshotReader::new(datagram, layout).expect("a header");
    let done = reader.read(max_entities, |item| {
        items.push(match item {
            Item::Global { global, row } => Copied::Global(global, bits(row)),
            Item::Update { index } => Copied::Update(index),
            Item::Fresh { index, generation, mine } => Copied::Fresh(index, generation, mine),
            Item::Gone { index } => Copied::Gone(index),
            Item::Column { column, row, .. } => Copied::Column(column, row.map(bits)),
            Item::Cue { event } => Copied::Cue(bits(event)),
        });
        Ok(())
    });
    done.expect("what was applied can be read");
    items
}

fn row((words, bits): &Bits) -> Row<'_> {
    Row { words, bits: *bits }
}

fn write(items: &[Copied], writer: &mut SnapshotWriter) -> bool {
    let globals = items.iter().take_while(|item| matches!(item, Copied::Global(..))).count();
    let (globals, mut rest) = items.split_at(globals);
    let find = |items: &[Copied], wanted: usize| {
        items.iter().position(|item| matches!(item, Copied::Global(at, _) | Copied::Column(at, _) if *at == wanted))
    };
    let mask = |items: &[Copied]| {
        items.iter().fold(0, |mask, item| match item {
            Copied::Global(at, _) | Copied::Column(at, _) => mask | 1 << at,
            _ => mask,
        })
    };
    let mut fits = writer.globals(mask(globals), |wanted| match find(globals, wanted).map(|at| &globals[at]) {
        Some(Copied::Global(_, bits)) => row(bits),
        _ => unreachable!("the mask is made of them"),
    });
    while let Some((record, behind)) = rest.split_first() {
        let columns = behind.iter().take_while(|item| matches!(item, Copied::Column(..))).count();
        let (columns, behind) = behind.split_at(columns);
        rest = behind;
        let column = |wanted: usize| match find(columns, wanted).map(|at| &columns[at]) {
            Some(Copied::Column(_, bits)) => bits.as_ref().map(row),
            _ => unreachable!("the mask is made of them"),
        };
        fits &= match record {
            Copied::Update(index) => writer.update(*index, mask(columns), column),
            Copied::Fresh(index, generation, mine) => {
                let whole = |wanted| column(wanted).expect("what is fresh has all that it names");
                writer.fresh(*index, *generation, *mine, mask(columns), whole)
            }
            Copied::Gone(index) => writer.gone(*index),
            Copied::Cue(bits) => writer.cue(row(bits)),
            Copied::Global(..) | Copied::Column(..) => unreachable!("they were taken with what they belong to"),
        };
    }
    fits
}
