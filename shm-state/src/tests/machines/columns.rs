//! Columns against maps: tables of awkward row sizes side by side in one zone, and every page byte for byte what the rows say.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use zerocopy::IntoBytes;

use super::super::*;
use crate::mirror::Mirror;
use crate::plain::{Gaps, Plain};
use crate::table::{RawTable, Table, TableAt, Tables, rows_per_page};

#[test]
fn columns_follow_the_model() {
    super::follow::<Zone>(24, 20..160);
}

/// A row whose bytes all follow from one number.
trait Row: Plain + PartialEq + std::fmt::Debug {
    fn filled(n: u8) -> Self;
    /// The number that its first byte says.
    fn number(&self) -> u8;
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bytes<const N: usize>([u8; N]);

// SAFETY: bytes, without padding and pointers, and every pattern is valid.
unsafe impl<const N: usize> Plain for Bytes<N> {}

impl<const N: usize> Row for Bytes<N> {
    fn filled(n: u8) -> Self {
        Self(std::array::from_fn(|i| n.wrapping_add(i as u8)))
    }

    fn number(&self) -> u8 {
        self.0[0]
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Gapped {
    first: u8,
    second: u32,
    third: u16,
}

// SAFETY: integers without a pointer, every pattern is valid, and the gaps are worked out from all three fields.
unsafe impl Plain for Gapped {
    const PADDING: &'static [(usize, usize)] = {
        const GAPS: &Gaps<3> = &Gaps::between(
            size_of::<Gapped>(),
            [(offset_of!(Gapped, first), 1), (offset_of!(Gapped, second), 4), (offset_of!(Gapped, third), 2)],
        );
        GAPS.as_slice()
    };
}

impl Row for Gapped {
    fn filled(n: u8) -> Self {
        let [second @ .., _, _] = Bytes::<6>::filled(n.wrapping_add(4)).0;
        let third = Bytes::<2>::filled(n.wrapping_add(8)).0;
        Self { first: n, second: u32::from_le_bytes(second), third: u16::from_le_bytes(third) }
    }

    fn number(&self) -> u8 {
        self.first
    }
}

/// Rows and bytes of a row of each table: a page holds many, a few or one of them, and the last page is rarely full.
const TABLES: [(u32, usize); 6] = [(5_000, 1), (900, 8), (700, size_of::<Gapped>()), (171, 24), (90, 100), (4, 4080)];
/// Where [`Gapped`] is in it, and the bytes of it that belong to no field.
const GAPPED: usize = 2;
const GAPS: [usize; 5] = [1, 2, 3, 10, 11];

/// The bytes of a row as they must lie in a committed page.
fn encoded(table: usize, n: u8) -> Vec<u8> {
    let byte = |i: usize| if table == GAPPED && GAPS.contains(&i) { 0 } else { n.wrapping_add(i as u8) };
    (0..TABLES[table].1).map(byte).collect()
}

fn places() -> (Vec<TableAt>, u32) {
    let mut tables = Tables::default();
    let at = TABLES.iter().map(|(rows, bytes)| tables.add(*rows, *bytes)).collect();
    (at, tables.pages())
}

#[derive(Clone, Debug)]
enum Step {
    /// So many rows from one on.
    Insert {
        table: usize,
        row: u32,
        count: u32,
        value: u8,
    },
    Change {
        table: usize,
        row: u32,
        value: u8,
        raw: bool,
    },
    /// So many rows from one on.
    Remove {
        table: usize,
        row: u32,
        count: u32,
    },
    Commit,
    Lose {
        dies: bool,
    },
}

type Rows = [BTreeMap<u32, u8>; TABLES.len()];

#[derive(Clone, Debug, Default)]
struct Model {
    now: Rows,
    committed: Rows,
    /// Table and page of it that this tick has written, also in vain.
    touched: BTreeSet<(usize, u32)>,
}

fn per_page(table: usize) -> u32 {
    rows_per_page(TABLES[table].1) as u32
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let place = (0..TABLES.len()).prop_flat_map(|table| {
            let (rows, edge) = (TABLES[table].0, per_page(table));
            // Rows beyond the table are asked for as well, and the ends of words and pages more often than chance would have it.
            let row = prop_oneof![4 => 0..rows + 2, 1 => edge.saturating_sub(2)..edge + 2, 1 => 62..66u32, 1 => rows.saturating_sub(2)..rows + 2];
            (Just(table), row)
        });
        let count = prop_oneof![3 => Just(1u32), 1 => 2..200u32];
        prop_oneof![
            8 => (place.clone(), count.clone(), any::<u8>()).prop_map(|((table, row), count, value)| Step::Insert { table, row, count, value }),
            6 => (place.clone(), any::<u8>(), any::<bool>()).prop_map(|((table, row), value, raw)| Step::Change { table, row, value, raw }),
            4 => (place, count).prop_map(|((table, row), count)| Step::Remove { table, row, count }),
            3 => Just(Step::Commit),
            1 => any::<bool>().prop_map(|dies| Step::Lose { dies }),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match *step {
            Step::Insert { table, row, count, value } => {
                for row in (row..row + count).filter(|row| *row < TABLES[table].0) {
                    state.touched.insert((table, row / per_page(table)));
                    state.now[table].insert(row, value);
                }
            }
            Step::Change { table, row, value, .. } => {
                if let Some(old) = state.now[table].get_mut(&row) {
                    *old = value;
                    state.touched.insert((table, row / per_page(table)));
                }
            }
            Step::Remove { table, row, count } => {
                for row in row..row + count {
                    if state.now[table].remove(&row).is_some() {
                        state.touched.insert((table, row / per_page(table)));
                    }
                }
            }
            Step::Commit => {
                state.committed = state.now.clone();
                state.touched.clear();
            }
            Step::Lose { .. } => {
                state.now = state.committed.clone();
                state.touched.clear();
            }
        }
        state
    }
}

/// A table of whatever row.
trait Column {
    fn insert(&mut self, row: u32, value: u8) -> bool;
    fn change(&mut self, row: u32, value: u8, raw: bool) -> bool;
    /// Whether there was a row; it must have been filled with `expected`.
    fn remove(&mut self, row: u32, expected: Option<u8>) -> bool;
    /// The numbers of the rows in touched pages, in order; their padding is zeroed.
    fn walk(&mut self) -> Vec<u8>;
    fn check(&self, rows: &BTreeMap<u32, u8>);
    /// One row, its neighbours in both directions of absence, and whether its page was touched.
    fn check_row(&self, rows: &BTreeMap<u32, u8>, row: u32, touched: bool);
}

struct Filled<T> {
    table: Table<T>,
    raw: RawTable<T>,
    rubbish: u8,
}

impl<T: Row> Filled<T> {
    /// Leaves what changes with every call where the row has no field.
    fn soil(&mut self, row: u32) {
        self.rubbish = self.rubbish.wrapping_mul(5).wrapping_add(3);
        for (offset, bytes) in T::PADDING {
            let place = self.raw.write(row).expect("present").cast::<u8>();
            // SAFETY: the gap lies within the row, in a page that is private to this tick, and no reference to the row exists.
            unsafe { std::ptr::write_bytes(place.add(*offset), self.rubbish, *bytes) };
        }
    }
}

impl<T: Row> Column for Filled<T> {
    fn insert(&mut self, row: u32, value: u8) -> bool {
        let inserted = self.table.insert(row, T::filled(value));
        if inserted {
            self.soil(row);
        }
        inserted
    }

    fn change(&mut self, row: u32, value: u8, raw: bool) -> bool {
        let changed = if raw {
            // SAFETY: the place of a present row in a private page, to which no reference is alive.
            self.raw.write(row).map(|place| unsafe { place.write(T::filled(value)) }).is_some()
        } else {
            self.table.get_mut(row).map(|place| *place = T::filled(value)).is_some()
        };
        if changed {
            self.soil(row);
        }
        changed
    }

    fn remove(&mut self, row: u32, expected: Option<u8>) -> bool {
        let removed = self.table.remove(row);
        assert_eq!(removed, expected.map(T::filled));
        removed.is_some()
    }

    fn walk(&mut self) -> Vec<u8> {
        let mut seen = Vec::new();
        self.table.for_touched(|row| {
            assert_eq!(*row, T::filled(row.number()));
            seen.push(row.number());
        });
        seen
    }

    fn check(&self, rows: &BTreeMap<u32, u8>) {
        let found: Vec<(u32, T)> = self.table.iter().map(|(row, value)| (row, *value)).collect();
        assert_eq!(found, rows.iter().map(|(row, n)| (*row, T::filled(*n))).collect::<Vec<_>>());
        assert_eq!(self.table.count(), rows.len());
    }

    fn check_row(&self, rows: &BTreeMap<u32, u8>, row: u32, touched: bool) {
        let (table, end) = (&self.table, self.table.at().rows);
        assert_eq!(table.get(row).copied(), rows.get(&row).map(|n| T::filled(*n)), "row {row}");
        // SAFETY: `read` gives the place of a present row; nothing writes it while it is copied.
        assert_eq!(self.raw.read(row).map(|place| unsafe { *place }), rows.get(&row).map(|n| T::filled(*n)));
        assert_eq!(table.next_present(row), rows.range(row..).next().map(|(next, _)| *next), "from {row}");
        assert_eq!(table.first_absent(row), (row..end).find(|row| !rows.contains_key(row)), "from {row}");
        assert_eq!(table.touched(row), touched, "row {row}");
    }
}

struct Zone {
    world: Rc<World>,
    epoch: u16,
    pages: Option<Rc<Pages>>,
    columns: Vec<Box<dyn Column>>,
}

impl Zone {
    fn bind(&mut self, pages: Pages) {
        let (pages, at) = (Rc::new(pages), places().0);
        fn column<T: Row>(pages: &Rc<Pages>, at: TableAt) -> Box<dyn Column> {
            // SAFETY: each place is bound once for these pages, always for the same row.
            let table: Table<T> = unsafe { Table::bind(pages, at) };
            Box::new(Filled { raw: table.raw(), table, rubbish: 0 })
        }
        self.columns = vec![
            column::<Bytes<1>>(&pages, at[0]),
            column::<Bytes<8>>(&pages, at[1]),
            column::<Gapped>(&pages, at[GAPPED]),
            column::<Bytes<24>>(&pages, at[3]),
            column::<Bytes<100>>(&pages, at[4]),
            column::<Bytes<4080>>(&pages, at[5]),
        ];
        self.pages = Some(pages);
    }

    fn pages(&self) -> &Pages {
        self.pages.as_deref().expect("an owner")
    }

    fn commit(&mut self, before: &Rows, touched: &BTreeSet<(usize, u32)>) {
        for (table, column) in self.columns.iter_mut().enumerate() {
            let on_touched = before[table].iter().filter(|(row, _)| touched.contains(&(table, *row / per_page(table))));
            assert_eq!(column.walk(), on_touched.map(|(_, n)| *n).collect::<Vec<_>>(), "rows of touched pages of table {table}");
        }
        commit(self.pages(), 1);
    }

    fn lose(&mut self, dies: bool) {
        if dies {
            self.columns.clear();
            self.pages = None;
            self.epoch += 1;
            let adopted = Pages::adopt(Rc::clone(&self.world), 0, 1, self.epoch, places().1);
            self.bind(adopted.expect("granted").0);
        } else {
            // SAFETY: no reference into a table is alive.
            unsafe { self.pages().roll_back() };
        }
    }

    /// Everything, and each committed page byte for byte.
    fn check(&self, rows: &Rows) {
        for (table, at) in places().0.iter().enumerate() {
            self.columns[table].check(&rows[table]);
            for page in 0..at.pages() {
                let mut expected = [0; PAGE_WORDS];
                let first = page * at.per_page;
                for (row, n) in rows[table].range(first..first + at.per_page) {
                    let index = row - first;
                    expected.as_mut_bytes()[index as usize / 8] |= 1 << (index % 8);
                    let start = (at.first_row + index * at.row_bytes) as usize;
                    expected.as_mut_bytes()[start..start + at.row_bytes as usize].copy_from_slice(&encoded(table, *n));
                }
                assert!(get(self.pages(), at.base + page) == expected, "page {page} of table {table}");
            }
        }
    }
}

impl StateMachineTest for Zone {
    type SystemUnderTest = (Self, Model);
    type Reference = Model;

    fn init_test(model: &Model) -> (Self, Model) {
        let world = world(64);
        let pages = Pages::open(Rc::clone(&world), 0, 1, 1, places().1).expect("a free slot");
        let mut zone = Self { world, epoch: 1, pages: None, columns: Vec::new() };
        zone.bind(pages);
        commit(zone.pages(), 1);
        (zone, model.clone())
    }

    fn apply((mut zone, before): (Self, Model), model: &Model, step: Step) -> (Self, Model) {
        match step {
            Step::Insert { table, row, count, value } => {
                for row in row..row + count {
                    assert_eq!(zone.columns[table].insert(row, value), row < TABLES[table].0);
                }
            }
            Step::Change { table, row, value, raw } => {
                assert_eq!(zone.columns[table].change(row, value, raw), before.now[table].contains_key(&row));
            }
            Step::Remove { table, row, count } => {
                for row in row..row + count {
                    let expected = before.now[table].get(&row).copied();
                    assert_eq!(zone.columns[table].remove(row, expected), expected.is_some());
                }
            }
            Step::Commit => {
                zone.commit(&before.now, &before.touched);
                zone.check(&model.now);
            }
            Step::Lose { dies } => {
                zone.lose(dies);
                zone.check(&model.now);
            }
        }
        if let Step::Insert { table, row, .. } | Step::Change { table, row, .. } | Step::Remove { table, row, .. } = step {
            let touched = row < TABLES[table].0 && model.touched.contains(&(table, row / per_page(table)));
            zone.columns[table].check_row(&model.now[table], row, touched);
        }
        (zone, model.clone())
    }

    fn teardown((mut zone, _): (Self, Model), model: Model) {
        zone.commit(&model.now, &model.touched);
        zone.check(&model.now);
        let mut mirror = Mirror::new(0);
        mirror.refresh(&zone.world).expect("a root");
        for (table, at) in places().0.iter().enumerate() {
            for row in 0..at.rows + 2 {
                zone.columns[table].check_row(&model.now[table], row, false);
                assert_eq!(mirror.row(at, row), model.now[table].get(&row).map(|n| encoded(table, *n)).as_deref());
            }
        }
    }
}
