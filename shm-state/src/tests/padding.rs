//! Padding of rows: found by the compiler, zeroed before a commit.

use std::mem::offset_of;

use super::*;
use crate::plain::{Gaps, Plain};
use crate::table::{Table, Tables};

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
        const GAPS: &Gaps<3> =
            &Gaps::between(size_of::<Gapped>(), [(offset_of!(Gapped, third), 2), (0, 1), (offset_of!(Gapped, second), 4)]);
        GAPS.as_slice()
    };
}

/// Writes a row and leaves rubbish where it has no field.
fn write(table: &mut Table<Gapped>, row: u32, value: Gapped, rubbish: u8) {
    table.insert(row, value);
    let place = table.raw().write(row).expect("just put there").cast::<u8>();
    for (offset, bytes) in Gapped::PADDING {
        // SAFETY: the gap lies within the row, in a page that is private to this tick, and no reference to the row exists.
        unsafe { std::ptr::write_bytes(place.add(*offset), rubbish, *bytes) };
    }
}

#[test]
fn gaps_are_what_no_field_covers() {
    assert_eq!(Gapped::PADDING, [(1, 3), (10, 2)]);
    assert!(Gaps::between(8, [(4, 4), (0, 4)]).as_slice().is_empty());
    assert_eq!(Gaps::between(16, [(0, 1)]).as_slice(), [(1, 15)]);
    assert_eq!(Gaps::between(24, [(16, 1), (8, 8), (0, 2), (2, 4)]).as_slice(), [(6, 2), (17, 7)]);
}

#[test]
#[should_panic(expected = "fields of the type")]
fn fields_that_overlap_are_refused() {
    Gaps::between(8, [(0, 4), (2, 4)]);
}

#[test]
fn padding_is_zero_at_commit_and_makes_no_change() {
    let mut tables = Tables::default();
    let at = tables.add(700, size_of::<Gapped>());
    let world = world(16);
    let pages = Rc::new(Pages::open(Rc::clone(&world), 0, 1, 1, tables.pages()).expect("a free slot"));
    // SAFETY: one table, one place.
    let mut table: Table<Gapped> = unsafe { Table::bind(&pages, at) };
    let value = |row: u32| Gapped { first: 1, second: row, third: 2 };
    let mut page = [0; PAGE_WORDS];
    for rubbish in [0xaa, 0x55, 0xff] {
        // The first and the last row of a page, and the last of all.
        for row in [0, at.per_page - 1, 699] {
            write(&mut table, row, value(row), rubbish);
        }
        table.for_touched(|row| row.third = 2);
        let last = commit(&pages, 1);
        for row in [0, at.per_page - 1, 699] {
            let words = get(&pages, row / at.per_page);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let start = at.first_row as usize + (row % at.per_page) as usize * size_of::<Gapped>();
            let number = row.to_ne_bytes();
            let expected = [1, 0, 0, 0, number[0], number[1], number[2], number[3], 2, 0, 0, 0];
            assert_eq!(bytes[start..start + 12], expected);
        }
        let newest = world.root(0, last.sequence).expect("just published");
        if rubbish == 0xaa {
            assert!(world.copy_page(newest.tables[0], &mut page));
        }
        let mut again = [0; PAGE_WORDS];
        assert!(world.copy_page(newest.tables[0], &mut again));
        assert_eq!(page, again, "the same rows are the same pages, whatever lay between their fields");
    }
}
