use super::*;
use crate::game::GameMap;
use crate::skirmish::Skirmish;

/// An entity of the bundled game: hp 10 at (3, -4), owned by ada, without a gun.
struct Ada;

impl Subject for Ada {
    fn field(&self, at: FieldAt) -> Option<Value> {
        match (at.column, at.field, at.half) {
            (1, 0, None) => Some(Value::Unsigned(10)),
            (0, 0, Some(0)) => Some(Value::Float(3.0)),
            (0, 0, Some(1)) => Some(Value::Float(-4.0)),
            (4, 0, None) => Some(Value::Text("ada lovelace".into())),
            _ => None,
        }
    }
    fn has(&self, column: usize) -> bool {
        column != 2
    }
    fn owner(&self) -> u64 {
        77
    }
    fn owner_name(&self) -> Option<&str> {
        Some("ada")
    }
    fn index(&self) -> u32 {
        7
    }
    fn alive(&self) -> bool {
        true
    }
}

fn parse(text: &str) -> Result<Filter, FilterError> {
    Filter::parse(text, &GameMap::of::<Skirmish>().schema)
}

#[test]
fn conditions_hold_or_do_not() {
    for (text, holds) in [
        ("hp.hp < 20", true),
        ("hp.hp<20", true),
        ("hp = 10", true),
        ("hp == 10.0", true),
        ("hp != 10", false),
        ("hp >= 10.5", false),
        ("hp > -1", true),
        ("body.pos.x > 2.5 and body.pos.y < -3", true),
        ("body.pos.x > 2.5 and body.pos.y < -5 or index = 7", true),
        ("body.pos.x > 9 and (body.pos.y < -3 or index = 7)", false),
        ("not has(gun)", true),
        ("not (has(gun) or has(hp))", false),
        ("gun.ammo != 3", false),
        ("not gun.ammo = 3", true),
        ("owner = ada", true),
        ("owner = 'ada'", true),
        ("owner = 77", true),
        ("owner != none", true),
        ("name = 'ada lovelace'", true),
        ("name >= b", false),
        ("alive", true),
        ("alive = no", false),
        ("index <= 6", false),
    ] {
        assert_eq!(parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&Ada), holds, "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_answered_in_a_sentence() {
    for (text, words) in [
        ("", "the name of a field was expected"),
        ("hp.hp <", "at its end: a value"),
        ("hp.hp 20", "= != <"),
        ("hp.hp < 20 body", "`and`, `or` or the end"),
        ("(hp.hp < 20", "\")\" was expected"),
        ("hp.hq < 20", "column hp has: hp"),
        ("has(hq)", "the game has: body, hp"),
        ("has(3)", "no column 3"),
        ("hp.hp < full", "compared with a number, and \"full\" is none"),
        ("body.pos = 3", "body.pos is a vector: compare body.pos.x"),
        ("alive < true", "alive has no order"),
        ("name = 'ada", "another that closes it"),
        ("hp.hp < 20 and", "the name of a field"),
        ("hp.hp ! 20", "\"!\""),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn conditions_without_end_are_refused() {
    assert_eq!(parse(&"(".repeat(FILTER_DEPTH_MAX + 1)), Err(FilterError::TooLong));
    assert_eq!(parse(&"not ".repeat(FILTER_DEPTH_MAX + 1)), Err(FilterError::TooLong));
    assert_eq!(parse(&"a".repeat(FILTER_BYTES_MAX + 1)), Err(FilterError::TooLong));
    let long = vec!["hp = 1"; FILTER_BYTES_MAX / 10].join(" or ");
    assert!(!parse(&long).unwrap().holds(&Ada));
}
