use super::*;
use crate::skirmish::Skirmish;

const SIZES: [ZoneLimits; 2] =
    [ZoneLimits { capacity: 8, max_entities: 64, spectators: 2 }, ZoneLimits { capacity: 32, max_entities: 256, spectators: 0 }];

fn changed(change: impl FnOnce(&mut Described)) -> String {
    let runs = describe::<Skirmish>(&SIZES);
    let mut offered = runs.clone();
    change(&mut offered);
    first_difference(&runs, &offered).expect("they differ")
}

fn column<'a>(of: &'a mut Described, name: &str) -> &'a mut ColumnSchema {
    of.schema.columns.iter_mut().find(|column| column.name == name).expect("a column of the game")
}

#[test]
fn a_binary_is_no_other_than_itself() {
    let runs = describe::<Skirmish>(&SIZES);
    let text = serde_json::to_vec(&runs).unwrap();
    let read: Described = serde_json::from_slice(&text).unwrap();
    assert_eq!(read, runs, "what is written is read");
    assert_eq!(first_difference(&runs, &read), None);
    assert!(runs.matches.iter().all(|of| of.tables.is_ok()));
}

#[test]
fn a_field_that_was_added_removed_or_changed_is_named() {
    let added = changed(|of| {
        let hp = column(of, "hp");
        let field = hp.fields[0].clone();
        hp.fields.push(ringfort_protocol::schema::FieldSchema { name: "armor".to_owned(), ..field });
    });
    assert_eq!(added, "field Health.armor is added");
    assert_eq!(changed(|of| drop(column(of, "score").fields.pop())), "field Score.deaths is removed");
    let kind = ringfort_protocol::schema::FieldKind::U16;
    assert_eq!(changed(|of| column(of, "hp").fields[0].kind = kind), "field Health.hp is changed from u8 to u16");
    let coding = ringfort_protocol::schema::Coding::Max(200);
    assert_eq!(
        changed(|of| column(of, "hp").fields[0].coding = coding),
        "field Health.hp's coding is changed from at most 100 in 7 bits to at most 200 in 8 bits"
    );
    assert_eq!(changed(|of| column(of, "score").fields.swap(0, 1)), "field Score.kills stands elsewhere");
}

#[test]
fn what_is_no_field_is_named_too() {
    assert_eq!(
        changed(|of| of.layout_version += 1),
        format!("shared memory layout version is changed from {VERSION} to {}", VERSION + 1)
    );
    assert!(changed(|of| of.layout_hash ^= 1).starts_with("shared memory layout is changed from 0x"));
    assert_eq!(changed(|of| of.schema.hz = 7), format!("tick rate is changed from {} to 7", Skirmish::HZ));
    assert_eq!(changed(|of| of.schema.game = "Chess".to_owned()), "game is changed from Skirmish to Chess");
    assert_eq!(changed(|of| drop(of.schema.columns.remove(0))), "column body is removed");
    assert_eq!(
        changed(|of| column(of, "hp").sync = ringfort_protocol::schema::Sync::All),
        "column hp's #[sync] is changed from near = 80 to all"
    );
    assert_eq!(changed(|of| of.unlisted[0].fields[0].offset = 8), "field Seat.avatar's offset is changed from 0 to 8");
    assert!(changed(|of| drop(of.timers.pop())).starts_with("timer "));
}

#[test]
fn the_tables_of_a_match_are_compared_size_by_size() {
    let tables = |of: &mut Described, change: fn(&mut DescribedTables)| change(of.matches[1].tables.as_mut().unwrap());
    assert_eq!(
        changed(|of| tables(of, |tables| tables.tables[0].2 = 8)).split(" from ").next(),
        Some("bytes of a row of table the engine's own row is changed")
    );
    assert!(changed(|of| tables(of, |tables| tables.hash ^= 1)).starts_with("hash of the tables is changed from 0x"));
    let none = changed(|of| of.matches[0].tables = Err("too many".to_owned()));
    assert_eq!(none, "game has no match of 8 players any more: too many");
    assert!(changed(|of| drop(of.matches.pop())).starts_with("answer about a match is changed"));
}

#[test]
fn sizes_are_read_as_they_are_written() {
    let text = serde_json::to_vec(&SIZES).unwrap();
    assert_eq!(read_sizes(&*text).unwrap(), SIZES);
    assert!(read_sizes(&b"[{]"[..]).unwrap_err().to_string().contains("no JSON list"));
}
