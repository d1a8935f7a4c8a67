//! A game with a field of every type: what is decoded without its code is what its code says.

use ringfort_protocol::bits::{BitReader, BitWriter};
use ringfort_protocol::schema::{Coding, FieldKind, FieldSchema, TAG_BITS};
use serde_json::json;

use super::*;
use crate::game::{GameMap, MatchMap};
use crate::look::{Names, OneMatch};
use crate::prelude::*;
use crate::sim::bench::{Bench, ZONE};
use ringfort_shm_state::mirror::Mirror;

#[derive(Component, Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum Colour {
    Red,
    Green,
    Blue,
}

#[derive(Component, Clone, Copy, Debug)]
struct All {
    byte: u8,
    #[q(max = 1000)]
    short: u16,
    word: u32,
    long: u64,
    tiny: i8,
    small: i16,
    int: i32,
    wide: i64,
    #[q(range = -10.0..=10.0, step = 0.5)]
    real: f32,
    yes: bool,
    pos: Vec2,
    friend: Entity,
    nobody: Entity,
    when: TickNo,
    who: SessionId,
    button: Press,
    colour: Colour,
}

#[derive(Component, Clone, Copy, Debug)]
struct Pair(u32, Colour);

#[derive(State)]
struct Zoo {
    ents: Entities,
    all: Column<All>,
    colour: Column<Colour>,
    #[max(40)]
    name: Blobs<str>,
    #[max(40)]
    data: Blobs<[u8]>,
    world: Global<Pair>,
}

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    press: Press,
}

#[derive(Message, Clone, Copy)]
enum Say {
    Nothing,
    #[reliable]
    All {
        byte: u8,
        #[q(max = 1000)]
        short: u16,
        wide: i64,
        #[q(range = -10.0..=10.0, step = 0.5)]
        at: Vec2,
        yes: bool,
        friend: Entity,
        colour: Colour,
        when: TickNo,
    },
}

impl Game for Zoo {
    const HZ: u32 = 10;
    type Input = Nothing;
    type Command = ();
    type Event = Say;
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {
        let (e, friend) = (self.ents.spawn(), self.ents.spawn());
        let all = All {
            byte: 200,
            short: 999,
            word: u32::MAX,
            long: u64::MAX,
            tiny: -128,
            small: -30_000,
            int: i32::MIN,
            wide: i64::MIN,
            real: -2.5,
            yes: true,
            pos: Vec2::new(1.5, -7.25),
            friend,
            nobody: Entity::NONE,
            when: TickNo(77),
            who: SessionId(1 << 40),
            button: Press::down(true),
            colour: Colour::Blue,
        };
        self.all.insert(e, all);
        self.colour.insert(e, Colour::Green);
        self.name.set(e, "zoë\u{7}").unwrap();
        self.data.set(e, &[0, 255, 16]).unwrap();
        *self.world = Pair(41, Colour::Green);
    }
    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
    fn step(&mut self, _t: &Tick<Self>) {}
}

fn zoo() -> (GameMap, OneMatch) {
    let mut bench = Bench::<Zoo>::new(4, 16);
    let _zone = bench.start();
    // As it comes out of the directory: data, and no code.
    let game: GameMap = serde_json::from_slice(&serde_json::to_vec(&GameMap::of::<Zoo>()).unwrap()).unwrap();
    let map: MatchMap = game.lay_out(&bench.entry).unwrap();
    let mut mirror = Mirror::new(ZONE);
    mirror.refresh(&bench.world).unwrap();
    (game, OneMatch { slot: ZONE, entry: bench.entry, map, mirror })
}

#[test]
fn fields_of_every_type_are_decoded_without_the_games_code() {
    let (game, one) = zoo();
    let names = Names::of(&game.schema.columns);
    let found = serde_json::to_value(one.fields(&game, &names, 0)).unwrap();
    let expected = json!({
        "all.byte": 200, "all.short": 999, "all.word": u32::MAX, "all.long": u64::MAX, "all.tiny": -128, "all.small": -30_000,
        "all.int": i32::MIN, "all.wide": i64::MIN, "all.real": -2.5, "all.yes": true, "all.pos": [1.5, -7.25],
        "all.friend": "1.1", "all.nobody": null, "all.when": 77, "all.who": 1u64 << 40, "all.button": 3, "all.colour": 2,
        "colour.value": 1, "name": "zoë\u{7}", "data": "00ff10",
    });
    assert_eq!(found, expected);
    assert!(one.fields(&game, &names, 1).is_empty(), "its friend has no rows");
    let globals = one.globals(&game, &Names::of(&game.schema.globals));
    assert_eq!(serde_json::to_value(globals).unwrap(), json!({ "world.0": 41, "world.1": 1 }));
    let text = |name: &str| {
        let fields = one.fields(&game, &names, 0);
        fields.0.into_iter().find(|(is, _)| **is == *name).unwrap().1.to_string()
    };
    let texts = ["all.pos", "all.friend", "all.nobody", "name", "data"].map(text);
    assert_eq!(texts, ["1.5,-7.25", "1.1", "none", "zoë?", "00ff10"]);
}

#[test]
fn events_of_every_type_are_decoded_without_the_games_code() {
    let say = Say::All {
        byte: 7,
        short: 1000,
        wide: -5,
        at: Vec2::new(-10.0, 0.5),
        yes: true,
        friend: Entity { index: 3, generation: 4 },
        colour: Colour::Green,
        when: TickNo(9),
    };
    let mut bits = BitWriter::default();
    ringfort_protocol::Message::encode(&say, &mut bits);
    let bytes = bits.finish();
    let variant = &GameMap::of::<Zoo>().schema.events[1];
    let mut bits = BitReader::new(&bytes);
    assert_eq!(bits.read(TAG_BITS).unwrap(), 1);
    let values: Vec<Value> = variant.fields.iter().map(|field| Value::of_wire(field, &mut bits).unwrap()).collect();
    let json = serde_json::to_value(values).unwrap();
    assert_eq!(json, json!([7, 1000, -5, [-10.0, 0.5], true, "3.4", 1, 9]));
    let mut short = BitReader::new(&bytes[..3]);
    let cut = variant.fields.iter().map(|field| Value::of_wire(field, &mut short)).find_map(Result::err);
    assert_eq!(cut, Some(DecodeError::Truncated));
}

fn field(kind: FieldKind, coding: Coding) -> FieldSchema {
    FieldSchema { name: "f".into(), offset: 0, kind, coding, synced: true }
}

#[test]
fn damaged_rows_are_said_to_be() {
    let yes = field(FieldKind::Bool, Coding::Raw);
    assert!(matches!(Value::of_memory(&yes, &[2]), Value::Bad(_)));
    assert!(matches!(Value::of_memory(&field(FieldKind::Enum { variants: 3 }, Coding::Raw), &[3]), Value::Bad(_)));
    assert!(matches!(Value::of_memory(&field(FieldKind::U64, Coding::Raw), &[0; 7]), Value::Bad(_)));
    let far = FieldSchema { offset: u32::MAX, ..yes };
    assert!(matches!(Value::of_memory(&far, &[1]), Value::Bad(_)));
    assert!(matches!(Value::of_blob(FieldKind::Text { max: 4 }, &[0xff]), Value::Bad(_)));
    assert_eq!(serde_json::to_value(Value::Float(f32::NAN)).unwrap(), json!("NaN"));
    assert_eq!(serde_json::to_value(Value::Bad("torn".into())).unwrap(), json!({ "bad": "torn" }));
}

#[test]
fn what_is_typed_comes_back_from_memory_and_what_does_not_fit_is_refused() {
    let range = Coding::Range { min: -1.0, max: 1.0, step: 0.5 };
    let fits: [(FieldKind, Coding, &[&str], &[&str]); 14] = [
        (FieldKind::U8, Coding::Max(100), &["0", "100"], &["101", "-1", "1.5", "", "x"]),
        (FieldKind::U16, Coding::Raw, &["65535"], &["65536"]),
        (FieldKind::U64, Coding::Raw, &["18446744073709551615"], &["18446744073709551616"]),
        (FieldKind::I8, Coding::Raw, &["-128", "127"], &["-129", "128"]),
        (FieldKind::I32, Coding::Raw, &["-2147483648"], &["2147483648"]),
        (FieldKind::I64, Coding::Raw, &["-9223372036854775808", "9223372036854775807"], &["9223372036854775808"]),
        (FieldKind::F32, Coding::Raw, &["-0.25"], &["NaN", "inf", "1e40"]),
        (FieldKind::F32, range, &["-1", "1"], &["1.1", "-2"]),
        (FieldKind::Bool, Coding::Raw, &["true", "false"], &["maybe"]),
        (FieldKind::Vec2, range, &["0.5,-1"], &["0.5", "0,2", "0,NaN", "0,0,0"]),
        (FieldKind::Entity, Coding::Raw, &["7.1", "none"], &["7", "7.0", "x.1"]),
        (FieldKind::Enum { variants: 3 }, Coding::Raw, &["0", "2"], &["3", "Red"]),
        (FieldKind::Press, Coding::Raw, &["3"], &["4"]),
        (FieldKind::Tick, Coding::Raw, &["4294967295"], &["4294967296"]),
    ];
    for (kind, coding, good, bad) in fits {
        let field = field(kind, coding);
        for text in good {
            let bytes = Value::to_memory(&field, text).unwrap();
            assert_eq!(bytes.len(), kind.memory_bytes());
            assert_eq!(Value::of_memory(&field, &bytes).to_string(), *text, "{kind:?}");
        }
        for text in bad {
            let refused = Value::to_memory(&field, text).unwrap_err().to_string();
            assert!(refused.contains(text) && refused.contains("takes"), "{refused}");
        }
    }
    let text = field(FieldKind::Text { max: 9 }, Coding::Raw);
    assert!(Value::to_memory(&text, "x").unwrap_err().to_string().contains("cannot be set"));
}
