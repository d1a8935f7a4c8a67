//! Versions of pages outside shared memory: what one writes no other sees.

use super::*;
use crate::heap_pages::HeapPages;
use crate::layout::SessionInput;
use crate::table::{Table, Tables};

fn row(highest: u32) -> SessionInput {
    SessionInput { highest, ..SessionInput::new_zeroed() }
}

#[test]
fn versions_share_what_they_have_in_common_and_nothing_else() {
    let mut tables = Tables::default();
    let at = tables.add(300, size_of::<SessionInput>());
    let versions: Vec<HeapPages> = (0..4).map(|_| HeapPages::new(tables.pages())).collect();
    // SAFETY: one table on each of the versions.
    let mut rows: Vec<Table<SessionInput>> = versions.iter().map(|pages| unsafe { Table::bind(pages, at) }).collect();
    let mut model: Vec<BTreeMap<u32, u32>> = vec![BTreeMap::new(); 4];
    let mut seed = 7u64;
    for step in 0..20_000u32 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (to, from, place) = ((seed >> 33) as usize % 4, (seed >> 40) as usize % 4, (seed >> 48) as u32 % 300);
        match seed >> 60 {
            0 => {
                // SAFETY: no row is borrowed.
                unsafe { versions[to].become_copy_of(&versions[from]) };
                model[to] = model[from].clone();
            }
            1 => {
                assert_eq!(rows[to].remove(place).map(|r| r.highest), model[to].remove(&place));
            }
            _ => {
                rows[to].insert(place, row(step));
                model[to].insert(place, step);
            }
        }
        for (rows, model) in rows.iter().zip(&model) {
            assert_eq!(rows.get(place).map(|r| r.highest), model.get(&place).copied());
        }
    }
    for (rows, model) in rows.iter().zip(&model) {
        assert!(rows.iter().map(|(place, r)| (place, r.highest)).eq(model.iter().map(|(place, highest)| (*place, *highest))));
    }
}

#[test]
fn a_commit_closes_what_it_was_looked_back_to() {
    let world = world(16);
    let pages = Rc::new(Pages::open(Rc::clone(&world), 0, 1, 1, 3).expect("a free slot"));
    let past = pages.past();
    set(&pages, 1, 5, 55);
    commit(&pages, 10);
    set(&pages, 1, 5, 66);
    let word = |past: &crate::past::PastPages| {
        use crate::sheet::Rows;
        // SAFETY: `read` gives a page of PAGE_BYTES that nobody writes while its root is in the window.
        unsafe { past.sheet().read(1).cast::<u64>().add(5).read() }
    };
    assert_eq!((word(&past), past.head()), (0, None), "closed, it reads as zeros");
    // SAFETY: no reference into the past pages is kept.
    assert!(unsafe { pages.look_back(&past, 10) });
    assert_eq!(word(&past), 55);
    // SAFETY: as above.
    assert!(!unsafe { pages.look_back(&past, 11) }, "not committed");
    commit(&pages, 11);
    assert_eq!((word(&past), past.head()), (0, None));
}
