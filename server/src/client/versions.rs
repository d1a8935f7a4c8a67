//! The world as of each of the last snapshots, as the game's own struct.

use ringfort_protocol::bits::{BitReader, BitWriter};
use ringfort_protocol::client_world::{ClientWorld, Touched};
use ringfort_protocol::layout::WireBlob;
use ringfort_protocol::schema::length_bits;
use ringfort_protocol::{Entity, SessionId, TickNo};

use crate::game::{Copies, DescriptionError, Game, Version, ZoneLimits};

/// The last versions, oldest first, and which entities are ours in the newest.
pub(crate) struct Versions<G: Game> {
    copies: Copies<G>,
    /// In the order of their indices.
    mine: Vec<Entity>,
}

impl<G: Game> Versions<G> {
    /// None yet, of a match of this size in which we are `me`; at most so many are kept.
    pub(crate) fn new(limits: ZoneLimits, me: SessionId, most: usize) -> Result<Versions<G>, DescriptionError> {
        Ok(Versions { copies: Copies::new(limits, me, most)?, mine: Vec::new() })
    }

    /// Adds the world as it is after a snapshot: what the snapshot touched, or, of the first, everything.
    pub(crate) fn push(&mut self, world: &ClientWorld) {
        let first = self.copies.newest().is_none();
        let version = self.copies.begin(world.tick());
        if first {
            for entity in world.entities() {
                copy_entity(version, world, Touched { index: entity.index, columns: u32::MAX });
            }
        } else {
            for touched in world.touched() {
                copy_entity(version, world, *touched);
            }
        }
        copy_globals(version, world, if first { u32::MAX } else { world.globals_touched() });
        self.note_mine(world, first);
    }

    /// The newest.
    pub(crate) fn latest(&self) -> Option<&G> {
        self.copies.newest().map(Version::game)
    }

    /// The one of a tick.
    pub(crate) fn at(&self, tick: u32) -> Option<&G> {
        self.from(tick).filter(|version| version.tick().0 == tick).map(Version::game)
    }

    /// The first at or after a tick.
    pub(crate) fn from(&self, tick: u32) -> Option<&Version<G>> {
        self.copies.iter().rev().take_while(|version| version.tick().0 >= tick).last()
    }

    /// The ticks at hand, ascending.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = u32> {
        self.copies.iter().map(|version| version.tick().0)
    }

    /// Our own entities that we see, in the order of their indices.
    pub(crate) fn mine(&self) -> &[Entity] {
        &self.mine
    }

    fn note_mine(&mut self, world: &ClientWorld, first: bool) {
        if first {
            return self.mine.extend(world.mine());
        }
        for touched in world.touched().iter().filter(|touched| touched.columns == u32::MAX) {
            let at = self.mine.binary_search_by_key(&touched.index, |entity| entity.index);
            let own = world.entity_at(touched.index).and_then(|(entity, mine)| mine.then_some(entity));
            match (at, own) {
                (Ok(at), Some(entity)) => self.mine[at] = entity,
                (Ok(at), None) => drop(self.mine.remove(at)),
                (Err(at), Some(entity)) => self.mine.insert(at, entity),
                (Err(_), None) => {}
            }
        }
    }
}

/// The world before the first snapshot.
pub(crate) struct Nothing<G: Game>(Copies<G>);

impl<G: Game> Nothing<G> {
    /// Of any match of the game.
    pub(crate) fn new() -> Result<Nothing<G>, DescriptionError> {
        let mut copies = Copies::new(ZoneLimits::of::<G>(1), SessionId::NOBODY, 1)?;
        copies.begin(TickNo(0));
        Ok(Nothing(copies))
    }

    /// The world.
    pub(crate) fn game(&self) -> &G {
        self.0.newest().expect("begun when it was made").game()
    }

    /// The name of a column of the schema.
    pub(crate) fn column(&self, index: u16) -> String {
        self.0.description().schema.columns.get(usize::from(index)).map(|column| column.name.clone()).unwrap_or_default()
    }
}

fn copy_entity<G: Game>(version: &mut Version<G>, world: &ClientWorld, touched: Touched) {
    let Touched { index, columns } = touched;
    // All columns: another entity may stand there now, or none.
    let anew = columns == u32::MAX;
    let Some((entity, mine)) = world.entity_at(index) else { return version.gone(index) };
    if anew {
        version.fresh(entity, mine);
    }
    for (wire, column) in world.layout().columns.iter().enumerate().filter(|(wire, _)| columns >> wire & 1 == 1) {
        let row = world.encoded(entity, wire);
        match (row, column.blob) {
            (None, _) if anew => {}
            (Some(content), Some(WireBlob { max, .. })) => {
                let bytes = as_sent(content, max);
                version.row(column.schema_index, index, Some(BitReader::new(&bytes)));
            }
            (row, _) => version.row(column.schema_index, index, row.map(BitReader::new)),
        }
    }
}

/// A text or bytes as the wire has it: the length in as many bits as the longest takes, then the content.
fn as_sent(content: &[u8], max: u16) -> Vec<u8> {
    let mut to = BitWriter::default();
    to.write(content.len() as u64, length_bits(max));
    content.iter().for_each(|byte| to.write(u64::from(*byte), u8::BITS));
    to.finish()
}

fn copy_globals<G: Game>(version: &mut Version<G>, world: &ClientWorld, which: u32) {
    for (wire, global) in world.layout().globals.iter().enumerate().filter(|(wire, _)| which >> wire & 1 == 1) {
        if let Some(row) = world.encoded_global(wire) {
            version.global(global.schema_index, BitReader::new(row));
        }
    }
}
