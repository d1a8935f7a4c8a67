//! Where tables lie: how many rows fit a page, and in which order the tables follow each other.

use ringfort_shm_state::limits::PAGE_BYTES;
use ringfort_shm_state::table::{TableAt, Tables, presence_bytes, rows_per_page};

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
