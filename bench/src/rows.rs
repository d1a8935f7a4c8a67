//! A zone bound table by table, without a game: `skirmish`'s columns, the entity table, and a column of 64-byte rows.

use std::rc::Rc;

use ringfort::skirmish::{Body, Gun, Health, Score};
use ringfort_shm_state::Plain;
use ringfort_shm_state::layout::{EntityRow, RootHead};
use ringfort_shm_state::pages::{CommitError, Pages};
use ringfort_shm_state::table::{Table, TableAt, Tables};
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

/// The zone's slot.
pub const SLOT: usize = 0;

/// A row of 64 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Wide(pub [u64; 8]);

// SAFETY: eight integers, without padding and without a pointer; every bit pattern is a value.
unsafe impl Plain for Wide {}

/// Where the tables of a zone lie.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Entities.
    pub entities: TableAt,
    /// Bodies.
    pub body: TableAt,
    /// Health.
    pub health: TableAt,
    /// Guns.
    pub gun: TableAt,
    /// Scores.
    pub score: TableAt,
    /// Rows of 64 bytes.
    pub wide: TableAt,
    /// Logical pages of all.
    pub pages: u32,
}

impl Layout {
    /// Tables for so many entities.
    ///
    /// # Panics
    /// When a zone cannot hold them.
    pub fn new(rows: u32) -> Self {
        let mut tables = Tables::default();
        let entities = tables.add(rows, size_of::<EntityRow>());
        let body = tables.add(rows, size_of::<Body>());
        let health = tables.add(rows, size_of::<Health>());
        let gun = tables.add(rows, size_of::<Gun>());
        let score = tables.add(rows, size_of::<Score>());
        let wide = tables.add(rows, size_of::<Wide>());
        tables.check().unwrap_or_else(|error| panic!("{error}"));
        Self { entities, body, health, gun, score, wide, pages: tables.pages() }
    }
}

/// A zone whose every entity has a row in every table.
pub struct Zone {
    pages: Rc<Pages>,
    /// Its bodies.
    pub body: Table<Body>,
    /// Its rows of 64 bytes.
    pub wide: Table<Wide>,
    tick: u32,
}

impl Zone {
    /// Fills a new zone and publishes it.
    ///
    /// # Panics
    /// When the arena has no room, or the slot is taken.
    pub fn fill(world: &Rc<World>, layout: &Layout) -> Self {
        let opened = Pages::open(Rc::clone(world), SLOT, 1, 1, layout.pages);
        let pages = Rc::new(opened.unwrap_or_else(|error| panic!("{error}")));
        let body = Body { pos: ringfort::protocol::Vec2::ZERO, vel: ringfort::protocol::Vec2::ZERO, aim: 1.0 };
        let entity = EntityRow { generation: 1, alive: 1, ..EntityRow::new_zeroed() };
        filled(&pages, layout.entities, entity);
        filled(&pages, layout.health, Health { hp: 100 });
        filled(&pages, layout.gun, Gun { ready: ringfort::protocol::TickNo(1), ammo: 30 });
        filled(&pages, layout.score, Score { kills: 1, deaths: 1 });
        let (body, wide) = (filled(&pages, layout.body, body), filled(&pages, layout.wide, Wide([1; 8])));
        let mut zone = Self { pages, body, wide, tick: 0 };
        zone.commit().unwrap_or_else(|error| panic!("{error}"));
        zone
    }

    /// Publishes the tick.
    pub fn commit(&mut self) -> Result<RootHead, CommitError> {
        self.tick += 1;
        // SAFETY: references into the tables come from the tables here, behind `&mut self`; those that `fill` bound besides are
        // gone.
        unsafe { self.pages.commit(RootHead { tick: self.tick, ..RootHead::new_zeroed() }) }
    }

    /// Extents that it owns.
    pub fn extents(&self) -> usize {
        self.pages.extents()
    }
}

/// A table with a row for every entity.
fn filled<T: Plain>(pages: &Rc<Pages>, at: TableAt, row: T) -> Table<T> {
    // SAFETY: `Zone::fill` binds each place once, in a zone that was just opened and holds nothing.
    let mut table = unsafe { Table::bind(pages, at) };
    (0..at.rows).for_each(|index| assert!(table.insert(index, row), "the row is one of the table"));
    table.for_touched(|_| {});
    table
}
