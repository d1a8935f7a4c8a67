//! What makes two schemas differ, and what does not.

use super::*;
use crate::test_game::{field, schema as game};

fn check(change: impl FnOnce(&mut Schema), difference: Option<&str>) {
    let (ours, mut theirs) = (game(), game());
    change(&mut theirs);
    assert_eq!(ours.first_difference(&theirs).as_deref(), difference);
    assert_eq!(ours.hash() == theirs.hash(), difference.is_none(), "{difference:?}");
}

#[test]
fn the_first_difference_is_named() {
    check(|_| {}, None);
    check(|theirs| theirs.game = "Other".to_owned(), Some("game: Test here, Other there"));
    check(
        |theirs| theirs.columns[0].fields[1].coding = Coding::Angle { bits: 12 },
        Some("Body.aim: angle in 10 bits here, angle in 12 bits there"),
    );
    check(|theirs| theirs.columns[2].fields[0].kind = FieldKind::U16, Some("Health.hp: u8 here, u16 there"));
    check(|theirs| theirs.columns[2].sync = Sync::Owner, Some("hp: seen by all here, owner there"));
    check(|theirs| theirs.columns.swap(2, 3), Some("column: hp here, wide there"));
    check(|theirs| theirs.columns.truncate(4), Some("column: tag here, no more there"));
    let text = Some("Blob.content: text of at most 20 bytes here, at most 20 bytes there");
    check(|theirs| theirs.columns[5].fields[0].kind = FieldKind::Bytes { max: 20 }, text);
    check(|theirs| theirs.input.push(field("more", 0, FieldKind::U8, Coding::Raw)), Some("input: no more here, more there"));
    check(|theirs| theirs.events[1].reliable = false, Some("Over: reliable here, unreliable there"));
}

#[test]
fn what_stays_on_the_server_makes_no_difference() {
    check(|theirs| theirs.columns[1].name = "renamed".to_owned(), None);
    check(|theirs| drop(theirs.columns.remove(1)), None);
    check(|theirs| theirs.columns[0].sync = Sync::Near(5.0), None);
    check(|theirs| (theirs.columns[0].once, theirs.columns[0].rate) = (true, 10), None);
    check(|theirs| theirs.columns[0].fields[0].offset = 4, None);
    check(|theirs| theirs.hz = 5, None);
}

#[test]
fn the_hash_is_stable() {
    assert_eq!(game().hash(), GOLDEN_HASH);
}

/// Changing it locks out every client that is not built again.
const GOLDEN_HASH: u64 = 15_618_292_535_064_296_968;

#[test]
fn bounds_are_checked() {
    let check = |change: &dyn Fn(&mut Schema), wanted: &str| {
        let mut schema = game();
        change(&mut schema);
        let error = schema.validate().expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    };
    assert_eq!(game().validate(), Ok(()));
    let range = |min, max, step| Coding::Range { min, max, step };
    check(&|schema| schema.columns[0].fields[0].coding = range(1.0, -1.0, 0.1), "pos");
    check(&|schema| schema.columns[0].fields[0].coding = range(f32::NAN, 1.0, 0.1), "pos");
    check(&|schema| schema.columns[0].fields[0].coding = range(0.0, 1.0, 0.0), "pos");
    check(&|schema| schema.columns[0].fields[0].coding = range(1e6, 1e6 + 8.0, 0.001), "pos");
    check(&|schema| schema.columns[0].fields[1].coding = Coding::Angle { bits: 63 }, "aim");
    check(&|schema| schema.columns[2].fields[0].coding = Coding::Max(256), "hp");
    check(&|schema| schema.columns[0].fields[1].offset = 9, "outside");
    check(&|schema| schema.columns[0].name.clear(), "name");
    check(&|schema| schema.columns[0].fields = vec![schema.columns[0].fields[0].clone(); 65], "fields");
    check(&|schema| schema.columns = vec![schema.columns[2].clone(); 33], "synced columns");
    let name = field("letters", 0, FieldKind::Text { max: 5 }, Coding::Raw);
    check(&|schema| schema.columns[5].fields[0].kind = FieldKind::Text { max: 0 }, "content");
    check(&|schema| schema.columns[5].fields[0].kind = FieldKind::Text { max: 256 }, "2048");
    check(&|schema| schema.columns[5].fields.push(name.clone()), "content");
    check(&|schema| schema.columns[0].fields.push(name.clone()), "letters");
    check(&|schema| schema.globals[0].fields = vec![name.clone()], "letters");
    check(&|schema| schema.input = vec![name.clone()], "letters");
    check(&|schema| schema.commands[0].fields = vec![name.clone()], "letters");
    check(&|schema| schema.events = vec![schema.events[0].clone(); 5], "predicted");
    check(&|schema| schema.events[0].fields.remove(0).name.clear(), "names no entity");
    check(&|schema| schema.input = vec![field("x", 0, FieldKind::U64, Coding::Raw); 9], "input");
}

#[test]
fn the_position_is_found() {
    assert_eq!(game().position, Some(Position { column: 0, offset: 0 }));
}
