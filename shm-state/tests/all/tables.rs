//! Tables against a map: rows of awkward sizes, across pages, with commits and roll-backs between.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use ringfort_shm_state::Plain;
use ringfort_shm_state::layout::RootHead;
use ringfort_shm_state::limits::PAGE_BYTES;
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::table::{Table, TableAt, Tables, presence_bytes, rows_per_page};
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

/// A row of a given size whose bytes all follow from one number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row<const N: usize>([u8; N]);

// SAFETY: bytes, without padding and pointers, and every pattern is valid.
unsafe impl<const N: usize> Plain for Row<N> {}

fn row<const N: usize>(n: u8) -> Row<N> {
    Row(std::array::from_fn(|i| n.wrapping_add(i as u8)))
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u8),
    Change(u32, u8),
    Remove(u32),
    Commit,
    RollBack,
}

fn step() -> impl Strategy<Value = Step> {
    // Rows beyond the table are asked for as well.
    let index = 0..1_000u32;
    prop_oneof![
        6 => (index.clone(), any::<u8>()).prop_map(|(r, n)| Step::Insert(r, n)),
        2 => (index.clone(), any::<u8>()).prop_map(|(r, n)| Step::Change(r, n)),
        3 => index.prop_map(Step::Remove),
        1 => Just(Step::Commit),
        1 => Just(Step::RollBack),
    ]
}

struct Fixture<const N: usize> {
    world: Rc<World>,
    pages: Rc<Pages>,
    table: Table<Row<N>>,
    before: Table<Row<8>>,
    after: Table<Row<8>>,
}

fn fixture<const N: usize>(rows: u32) -> Fixture<N> {
    let mut tables = Tables::default();
    let places = [tables.add(3, 8), tables.add(rows, N), tables.add(3, 8)];
    let world = Rc::new(World::heap(64));
    let pages = Rc::new(Pages::open(Rc::clone(&world), 0, 1, 1, tables.pages()).expect("a free slot"));
    // SAFETY: three places, a table each.
    let (mut before, table, mut after) =
        unsafe { (Table::bind(&pages, places[0]), Table::bind(&pages, places[1]), Table::bind(&pages, places[2])) };
    (0..3).for_each(|i| assert!(before.insert(i, row(1)) && after.insert(i, row(2))));
    let fixture = Fixture { world, pages, table, before, after };
    fixture.commit();
    fixture
}

impl<const N: usize> Fixture<N> {
    fn commit(&self) {
        // SAFETY: no reference into a table is alive.
        unsafe { self.pages.commit(RootHead::new_zeroed()) }.expect("room in the arena");
    }
}

fn check<const N: usize>(table: &Table<Row<N>>, model: &BTreeMap<u32, u8>) {
    let rows: Vec<(u32, Row<N>)> = table.iter().map(|(i, r)| (i, *r)).collect();
    assert_eq!(rows, model.iter().map(|(i, n)| (*i, row(*n))).collect::<Vec<_>>());
    for from in 0..table.at().rows + 2 {
        assert_eq!(table.next_present(from), model.range(from..).next().map(|(i, _)| *i));
        assert_eq!(table.get(from).copied(), model.get(&from).map(|n| row(*n)));
    }
    let absent = (0..table.at().rows).find(|i| !model.contains_key(i));
    assert_eq!((table.first_absent(0), table.count()), (absent, model.len()));
}

fn run<const N: usize>(rows: u32, steps: &[Step]) {
    let mut f = fixture::<N>(rows);
    let (mut now, mut committed) = (BTreeMap::new(), BTreeMap::new());
    for step in steps {
        match *step {
            Step::Insert(at, n) => {
                assert_eq!(f.table.insert(at, row(n)), at < rows);
                if at < rows {
                    now.insert(at, n);
                    assert!(f.table.touched(at));
                }
            }
            Step::Change(at, n) => {
                let found = f.table.get_mut(at).map(|r| *r = row(n)).is_some();
                assert_eq!(found, now.contains_key(&at));
                now.entry(at).and_modify(|v| *v = n);
            }
            Step::Remove(at) => assert_eq!(f.table.remove(at), now.remove(&at).map(row)),
            Step::Commit => {
                f.commit();
                committed.clone_from(&now);
                assert!((0..rows).all(|r| !f.table.touched(r)));
            }
            Step::RollBack => {
                // SAFETY: no reference into a table is alive.
                unsafe { f.pages.roll_back() };
                now.clone_from(&committed);
            }
        }
    }
    check(&f.table, &now);
    f.commit();
    check(&f.table, &now);
    let mut mirror = Mirror::new(0);
    mirror.refresh(&f.world).expect("a root");
    for at in 0..rows + 2 {
        assert_eq!(mirror.row(&f.table.at(), at), now.get(&at).map(|n| row::<N>(*n).0).as_ref().map(|b| &b[..]));
    }
    let neighbours = |table: &Table<Row<8>>, n| (0..3).all(|i| table.get(i) == Some(&row(n)));
    assert!(neighbours(&f.before, 1) && neighbours(&f.after, 2), "nothing spilled over");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn tables_follow_the_model(steps in prop::collection::vec(step(), 1..300)) {
        // 40 rows of 100 bytes fit a page; 504 of 8; one of 4080; 900 rows end in the middle of a page and of a word.
        run::<100>(90, &steps);
        run::<8>(900, &steps);
        run::<24>(171, &steps);
        run::<4080>(5, &steps);
        run::<1>(999, &steps);
    }
}

#[test]
fn rows_and_their_presence_bits_fit_a_page() {
    for bytes in 1..=PAGE_BYTES - 16 {
        let rows = rows_per_page(bytes);
        assert!(rows >= 1 && presence_bytes(rows) + rows * bytes <= PAGE_BYTES, "{bytes}");
        assert!(presence_bytes(rows) * 8 >= rows && presence_bytes(rows).is_multiple_of(16), "{bytes}");
    }
}

#[test]
fn places_follow_each_other_and_the_hash_tells_orders_apart() {
    let places = |sizes: &[(u32, usize)]| {
        let mut tables = Tables::default();
        let places: Vec<TableAt> = sizes.iter().map(|(rows, bytes)| tables.add(*rows, *bytes)).collect();
        (places, tables)
    };
    let (at, tables) = places(&[(10, 4000), (1, 8), (505, 8)]);
    assert_eq!(at.iter().map(|t| (t.base, t.pages())).collect::<Vec<_>>(), [(0, 10), (10, 1), (11, 2)]);
    assert!(at[2].contains(12) && !at[2].contains(13) && !at[2].contains(10));
    assert_eq!(tables.pages(), 13);
    assert_eq!(tables.hash(), places(&[(10, 4000), (1, 8), (505, 8)]).1.hash());
    assert_ne!(tables.hash(), places(&[(1, 8), (10, 4000), (505, 8)]).1.hash());
    assert!(tables.check().is_ok());
    assert!(places(&[(262_145, 4000)]).1.check().is_err());
}

#[test]
fn only_touched_pages_are_walked() {
    let mut f = fixture::<100>(90);
    (0..90).for_each(|i| assert!(f.table.insert(i, row(0))));
    f.commit();
    f.table.get_mut(45).expect("present").0[0] = 9;
    let mut seen = Vec::new();
    f.table.for_touched(|r| seen.push(r.0[0]));
    assert_eq!(seen.len(), f.table.at().per_page as usize);
    assert_eq!(seen.iter().filter(|n| **n == 9).count(), 1);
    let raw = f.table.raw();
    assert_eq!(raw.read(90), None);
    let place = raw.write(3).expect("present");
    // SAFETY: a present row in a private page, and no reference to it exists.
    unsafe { (*place).0[0] = 7 };
    assert_eq!(f.table.get(3).map(|r| r.0[0]), Some(7));
}
