//! Each contradiction among a zone's entities is planted, and the logical check must name it.

use super::*;
use crate::entities::{EntityProblem, EntityTable, check};
use crate::layout::{EntityRow, SessionInput, ZoneMeta};
use crate::mirror::Mirror;
use crate::table::{Table, TableAt, Tables};

struct Zone {
    world: Rc<World>,
    pages: Rc<Pages>,
    meta_at: TableAt,
    entities_at: TableAt,
    column_at: TableAt,
    rows: EntityTable,
    column: Table<SessionInput>,
    meta: ZoneMeta,
    tick: u32,
}

impl Zone {
    /// Entities 0, 2 and 4 live and have a component; 3 and then 1 are free.
    fn new() -> Self {
        let world = world(8);
        let mut tables = Tables::default();
        let meta_at = tables.add(1, size_of::<ZoneMeta>());
        let entities_at = tables.add(20, size_of::<EntityRow>());
        let column_at = tables.add(20, size_of::<SessionInput>());
        let pages = Rc::new(Pages::open(Rc::clone(&world), 0, 1, 1, tables.pages()).expect("a free slot"));
        // SAFETY: the zone has one table for each place, but for those that `plant` binds and drops.
        let (rows, column) = unsafe { (Table::bind(&pages, entities_at), Table::bind(&pages, column_at)) };
        let (rows, meta) = (EntityTable::new(rows), ZoneMeta::new_zeroed());
        let mut zone = Self { world, pages, meta_at, entities_at, column_at, rows, column, meta, tick: 0 };
        for index in 0..5 {
            assert_eq!(zone.rows.spawn(&mut zone.meta, 9), Some((index, 1)));
            zone.column.insert(index, SessionInput::new_zeroed());
        }
        for index in [1, 3] {
            assert!(zone.rows.kill(&mut zone.meta, index, 1));
            zone.column.remove(index);
            zone.rows.free(&mut zone.meta, index);
        }
        assert_eq!(zone.found(), []);
        zone
    }

    /// Changes a row behind the allocator's back.
    fn plant(&mut self, index: u32, change: impl FnOnce(&mut EntityRow)) {
        // SAFETY: no reference into the place is alive, and this table is dropped before another is used.
        let mut rows: Table<EntityRow> = unsafe { Table::bind(&self.pages, self.entities_at) };
        change(rows.get_mut(index).expect("a row that was used"));
    }

    /// What a commit of all this has wrong with it.
    fn found(&mut self) -> Vec<EntityProblem> {
        // SAFETY: as in `plant`.
        unsafe { Table::<ZoneMeta>::bind(&self.pages, self.meta_at) }.insert(0, self.meta);
        self.tick += 1;
        commit(&self.pages, self.tick);
        let mut mirror = Mirror::new(0);
        mirror.refresh(&self.world).expect("readable");
        check(&mirror, &self.meta_at, &self.entities_at, &[self.column_at])
    }
}

#[test]
fn an_index_that_nobody_will_use_again() {
    let mut zone = Zone::new();
    assert!(zone.rows.kill(&mut zone.meta, 2, 1), "killed, and never freed");
    assert_eq!(zone.found(), [EntityProblem::Leaked { index: 2 }, EntityProblem::LeftBehind { column: 0, index: 2 }]);
    let mut zone = Zone::new();
    zone.plant(3, |row| row.next_free = 0);
    assert_eq!(zone.found(), [EntityProblem::Leaked { index: 1 }], "the list was cut");
}

#[test]
fn a_list_that_names_what_is_not_free() {
    let mut zone = Zone::new();
    zone.plant(1, |row| row.next_free = 5);
    assert_eq!(zone.found(), [EntityProblem::BrokenList { index: 4 }], "a living entity");
    zone.plant(1, |row| row.next_free = 4);
    assert_eq!(zone.found(), [EntityProblem::BrokenList { index: 3 }], "a cycle");
    zone.plant(1, |row| row.next_free = u32::MAX);
    assert_eq!(zone.found(), [EntityProblem::BrokenList { index: u32::MAX - 1 }], "beyond the table");
}

#[test]
fn counters_that_are_wrong() {
    let mut zone = Zone::new();
    zone.meta.entities_alive = 7;
    assert_eq!(zone.found(), [EntityProblem::WrongCount { counted: 7, found: 3 }]);
    zone.meta.entities_alive = 3;
    zone.meta.entity_used = 6;
    assert_eq!(zone.found(), [EntityProblem::WrongRow { index: 5, found: "missing", used: 6 }]);
    zone.meta.entity_used = 4;
    assert_eq!(zone.found(), [EntityProblem::WrongRow { index: 4, found: "there", used: 4 }]);
}

#[test]
fn a_component_that_outlived_its_entity() {
    let mut zone = Zone::new();
    zone.column.insert(3, SessionInput::new_zeroed());
    zone.column.insert(19, SessionInput::new_zeroed());
    let left = |index| EntityProblem::LeftBehind { column: 0, index };
    assert_eq!(zone.found(), [left(3), left(19)]);
}
