//! The layout's document is what the declarations say.

use ringfort_shm_state::document::document;
use ringfort_shm_state::layout::{STRUCTS, layout_hash};

#[test]
fn the_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/shm-layout.md");
    let written = std::fs::read_to_string(path).expect("docs/shm-layout.md");
    let differs = written.lines().zip(document().lines().map(str::to_owned).collect::<Vec<_>>()).find(|(a, b)| a != b);
    assert_eq!(differs, None, "run `cargo run -p ringfort-shm-state --example layout > docs/shm-layout.md`");
    assert_eq!(written.len(), document().len());
}

#[test]
fn fields_lie_side_by_side_without_padding() {
    for s in STRUCTS {
        let mut end = 0;
        for f in s.fields {
            assert_eq!(f.offset, end, "{}.{}", s.name, f.name);
            assert!(!f.doc.trim().is_empty(), "{}.{} says what it is", s.name, f.name);
            end += f.bytes;
        }
        assert_eq!(end, s.bytes, "{}", s.name);
    }
    assert_ne!(layout_hash(), 0);
}
