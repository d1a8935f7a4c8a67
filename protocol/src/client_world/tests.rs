//! The golden snapshot, applied, and malformed ones, refused.

use super::*;
use crate::bits::{BitWriter, Row};
use crate::snapshot::{Lapse, SnapshotShape, SnapshotWriter};
use crate::test_game::{AIM, Body, Clock, Health, PLACE, Random, schema};
use crate::{Vec2, component::Field, schema::encode_row};
use proptest::prelude::*;

const MAX: u32 = 100;
const BODY: ColumnId<Body> = ColumnId::new(0);
const HP: ColumnId<Health> = ColumnId::new(2);

fn world() -> ClientWorld {
    ClientWorld::new(WireLayout::new(&schema()).unwrap(), MAX)
}

fn header(tick: u32) -> SnapshotHeader {
    SnapshotHeader {
        stay: 6,
        tick: TickNo(tick),
        inputs: AckBits { highest: 7, bits: 3 },
        waited: Lapse::from_us(10_009),
        early: Lapse::UNKNOWN,
        repeated: 4,
        verdicts: [0x0403_0201, 0, 0, 0],
    }
}

fn words(write: impl FnOnce(&mut BitWriter)) -> (Vec<u64>, u32) {
    let mut bits = BitWriter::default();
    write(&mut bits);
    let mut words = Vec::new();
    let length = bits.copy_words(&mut words);
    (words, length)
}

/// A global, an entity that appears, and an event.
fn first() -> Vec<u8> {
    let clock = words(|to| Clock { ends: 0x0403_0201 }.encode(to));
    let body = words(|to| Body { pos: Vec2::new(0.0, -256.0), aim: 0.0 }.encode(to));
    let hp = words(|to| Health { hp: 100 }.encode(to));
    let shot = words(|to| {
        to.write(0, 8);
        Entity { index: 5, generation: 1 }.encode(crate::schema::Coding::Raw, to);
        Vec2::ZERO.encode(PLACE, to);
        0.0f32.encode(AIM, to);
    });
    let mut writer = SnapshotWriter::new();
    writer.start(&header(9), SnapshotShape::new(world().layout(), MAX), 1150);
    assert!(writer.globals(0b10, |_| Row { words: &clock.0, bits: clock.1 }));
    assert!(writer.fresh(5, 1, true, 0b0011, |column| {
        let (words, bits) = if column == 0 { &body } else { &hp };
        Row { words, bits: *bits }
    }));
    assert!(writer.cue(Row { words: &shot.0, bits: shot.1 }));
    writer.finish().to_vec()
}

#[test]
fn golden() {
    #[rustfmt::skip]
    let golden = [
        1, 6, 9, 0, 0, 0,                       // stay, tick
        7, 0, 0, 0, 3, 0, 0, 0,                 // inputs
        232, 3, 255, 255, 4,                    // waited, early, repeated
        1, 0, 1,                                // records, cues
        1, 2, 3, 4,                             // verdicts
        13, 16, 24, 32,      // globals, their mask, the clock
        136, 20, 0, 0, 0, 112,                  // 4 further than 0, fresh, generation 1, mine, columns
        0, 144, 1, 0, 0, 64, 6,                 // body, hp
        40, 0, 0, 0, 8, 0, 0, 0, 0, 32, 3, 32, 3, 0,
    ];
    assert_eq!(first(), golden);
}

#[test]
fn a_snapshot_is_applied_once() {
    let mut world = world();
    let mut cues = 0;
    assert_eq!(world.apply(&first(), |cue| cues += cue.remaining()), Ok(Applied::Newer(TickNo(9))));
    assert_eq!(cues, 8 + 64 + 32 + 10);
    assert_eq!(world.apply(&first(), |_| panic!("again")), Ok(Applied::Older(TickNo(9))));
    let entity = Entity { index: 5, generation: 1 };
    assert_eq!(world.get(entity, BODY), Some(Body { pos: Vec2::new(0.0, -256.0), aim: 0.0 }));
    assert_eq!(world.iter(HP).collect::<Vec<_>>(), [(entity, Health { hp: 100 })]);
    assert_eq!(world.mine().collect::<Vec<_>>(), [entity]);
    assert_eq!(world.get(Entity { index: 5, generation: 2 }, BODY), None);
    assert_eq!(world.global(GlobalId::<Clock>::new(1)), Some(Clock { ends: 0x0403_0201 }));
    assert_eq!(world.global(GlobalId::<Clock>::new(0)), None);
    assert_eq!(world.acks(), AckBits { highest: 9, bits: 0 });
    assert_eq!((world.touched(), world.globals_touched()), (&[Touched { index: 5, columns: u32::MAX }][..], 0b10));
    assert_eq!((world.entity_at(5), world.entity_at(4)), (Some((entity, true)), None));
    assert!(world.encoded_global(1).is_some() && world.encoded_global(0).is_none());
    let seen = world.header().unwrap();
    assert_eq!(seen, header(9));
    assert_eq!((seen.waited.duration(), seen.early.duration()), (Some(std::time::Duration::from_millis(10)), None));
}

#[test]
fn what_is_kept_grows_with_what_is_visible_and_places_are_used_again() {
    let mut world = world();
    let mut writer = SnapshotWriter::new();
    let shape = SnapshotShape::new(world.layout(), MAX);
    let mut tick = 0;
    let mut tell = |world: &mut ClientWorld, gone: &[u32], fresh: &[u32]| {
        tick += 1;
        writer.start(&header(tick), shape, 1150);
        gone.iter().for_each(|&index| assert!(writer.gone(index)));
        for &index in fresh {
            let (hp, bits) = words(|to| Health { hp: index as u8 }.encode(to));
            assert!(writer.fresh(index, tick, false, 0b10, |_| Row { words: &hp, bits }));
        }
        world.apply(writer.finish(), |_| {}).unwrap();
    };
    let seen = |world: &ClientWorld| world.iter(HP).map(|(entity, hp)| (entity.index, u32::from(hp.hp))).collect::<Vec<_>>();
    tell(&mut world, &[], &[99, 3]);
    tell(&mut world, &[3, 4], &[50, 98]);
    assert_eq!(seen(&world), [(50, 50), (98, 98), (99, 99)]);
    tell(&mut world, &[98, 99], &[0, 50]);
    assert_eq!(seen(&world), [(0, 0), (50, 50)]);
    assert_eq!(world.entity_at(50), Some((Entity { index: 50, generation: 3 }, false)));
    assert_eq!(world.slots.places, 3, "never more than three at once");
}

#[test]
fn a_record_like_the_one_before_takes_two_bits_beside_its_rows() {
    let mut world = world();
    let hp = |hp| words(|to| Health { hp }.encode(to));
    let mut writer = SnapshotWriter::new();
    let shape = SnapshotShape::new(world.layout(), MAX);
    let indices = [0, 1, 2, 4, 20, 60, 3];
    writer.start(&header(1), shape, 1150);
    let (one, bits) = hp(1);
    for index in indices {
        assert!(writer.fresh(index, 1, false, 0b10, |_| Row { words: &one, bits }));
    }
    world.apply(writer.finish(), |_| {}).unwrap();
    writer.start(&header(2), shape, 1150);
    let mut took = Vec::new();
    for index in indices {
        let before = writer.remaining_bits();
        let (words, bits) = hp(index as u8 + 10);
        assert!(writer.update(index, 0b10, |_| Some(Row { words: &words, bits })));
        took.push(before - writer.remaining_bits() - 7);
    }
    // The first says its columns and closes the globals. Then come the next ones, one a little and one just near enough further
    // on, and two that are named.
    assert_eq!(took, [1 + 1 + 3 + 5 + 1, 2, 2, 7, 7, 10, 10]);
    world.apply(writer.finish(), |_| {}).unwrap();
    let seen = indices.map(|index| world.get(Entity { index, generation: 1 }, HP).unwrap().hp);
    assert_eq!(seen, indices.map(|index| index as u8 + 10));
    // A column that is gone is no row like the one before, and makes no new kind.
    writer.start(&header(3), shape, 1150);
    let (words, bits) = hp(5);
    let row = Row { words: &words, bits };
    writer.update(0, 0b10, |_| Some(row));
    writer.update(1, 0b10, |_| None);
    writer.update(2, 0b10, |_| Some(row));
    world.apply(writer.finish(), |_| {}).unwrap();
    let has = [0, 1, 2].map(|index| world.get(Entity { index, generation: 1 }, HP).map(|health| health.hp));
    assert_eq!(has, [Some(5), None, Some(5)]);
    // Like the one before, where there is none before.
    writer.start(&header(4), shape, 1150);
    let mut bytes = writer.finish().to_vec();
    (bytes[19], bytes[26]) = (1, 0b0100);
    assert_eq!(world.apply(&bytes, |_| {}), Err(SnapshotError::Op));
}

#[test]
fn a_text_is_as_long_as_it_is() {
    let mut world = world();
    let mut writer = SnapshotWriter::new();
    let shape = SnapshotShape::new(world.layout(), MAX);
    let entity = Entity { index: 7, generation: 3 };
    let column = schema().columns[5].clone();
    assert_eq!(
        world.layout().columns[4],
        WireColumn { schema_index: 5, bits: 5 + 160, words: 3, bytes: 21, blob: Some(WireBlob { max: 20, text: true }) }
    );
    for (tick, name) in (1..).zip(["a name of 20 byte é", "", "ada"]) {
        let (words, bits) = words(|to| encode_row(&column, name.as_bytes(), to));
        assert_eq!(bits as usize, 5 + 8 * name.len());
        writer.start(&header(tick), shape, 1150);
        assert!(writer.fresh(7, 3, false, 0b10000, |_| Row { words: &words, bits }));
        assert_eq!(world.apply(writer.finish(), |_| {}), Ok(Applied::Newer(TickNo(tick))));
        assert_eq!(world.blob(entity, 5), Some(name.as_bytes()));
    }
    assert_eq!((world.blob(entity, 0), world.blob(Entity { index: 7, generation: 4 }, 5)), (None, None));
    // What is too long is cut off, so that no row is wider than its column says.
    assert_eq!(words(|to| encode_row(&column, &[b'x'; 30], to)).1, 165);
}

#[test]
fn what_is_malformed_is_refused() {
    let good = first();
    for length in 0..good.len() {
        assert!(world().apply(&good[..length], |_| {}).is_err(), "cut to {length}");
    }
    let check = |change: &dyn Fn(&mut Vec<u8>), error| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(world().apply(&bad, |_| {}), Err(error));
    };
    check(&|bad| bad[0] = 2, SnapshotError::Tag);
    check(&|bad| bad.push(0), SnapshotError::Trailing);
    check(&|bad| *bad.last_mut().unwrap() |= 0x80, SnapshotError::Trailing);
    let mut writer = SnapshotWriter::new();
    let shape = SnapshotShape::new(world().layout(), MAX);
    writer.start(&header(1), shape, 1150);
    writer.update(5, 0, |_| None);
    assert_eq!(world().apply(writer.finish(), |_| {}), Err(SnapshotError::Unknown(5)));
    writer.start(&header(1), shape, 1150);
    writer.gone(100);
    assert_eq!(world().apply(writer.finish(), |_| {}), Err(SnapshotError::Index(100)));
    writer.start(&header(1), shape, 1150);
    writer.fresh(5, 0, false, 0, |_| Row { words: &[], bits: 0 });
    assert_eq!(world().apply(writer.finish(), |_| {}), Err(SnapshotError::Generation));
    writer.start(&header(1), shape, 1150);
    writer.cue(Row { words: &[2], bits: 8 });
    assert_eq!(world().apply(writer.finish(), |_| {}), Err(SnapshotError::Cue));
    // A name of 21 bytes, one that ends in the middle of a letter, and one that ends with the datagram.
    for (word, bits, error) in [
        (21, 5 + 21 * 8, SnapshotError::Blob(5)),
        (1 | 0xc3 << 5, 5 + 8, SnapshotError::Blob(5)),
        (20 | 0x61 << 5, 5 + 8, SnapshotError::Truncated),
    ] {
        writer.start(&header(1), shape, 1150);
        let words = [word, 0, 0];
        writer.fresh(5, 1, false, 0b10000, |_| Row { words: &words, bits });
        assert_eq!(world().apply(writer.finish(), |_| {}), Err(error));
    }
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    let mut writer = SnapshotWriter::new();
    let shape = SnapshotShape::new(world().layout(), MAX);
    writer.start(&header(1), shape, 34);
    let mut written = 0;
    while writer.gone(written % MAX) {
        written += 1;
    }
    assert_eq!(usize::from(writer.records()), written as usize);
    assert!(writer.remaining_bits() < 9 && !writer.cue(Row { words: &[0, 0], bits: 114 }));
    let bytes = writer.finish();
    assert!(bytes.len() <= 34);
    assert_eq!(world().apply(bytes, |_| {}), Ok(Applied::Newer(TickNo(1))));
}

proptest! {
    #[test]
    fn no_datagram_panics(seed in any::<u64>(), flips in 0..6usize) {
        let mut random = Random(seed);
        let mut world = world();
        let mut bytes = first();
        for _ in 0..flips {
            let bit = random.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if world.apply(&bytes, |_| {}).is_ok() {
            let _ = (world.iter(BODY).count(), world.iter(HP).count(), world.mine().count());
        }
        let noise: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
        let _ = world.apply(&noise, |_| {});
    }

    /// What a client decodes is what the server holds once it is quantised, and quantising again changes nothing.
    #[test]
    fn quantised_values_are_what_the_wire_carries(x in any::<f32>(), y in -300.0..300.0f32, aim in any::<f32>()) {
        let mut body = Body { pos: Vec2::new(x, y), aim };
        body.quantise();
        prop_assert!(body.pos.x.abs() <= 256.0 && body.pos.y.abs() <= 256.0 && body.aim.abs() <= std::f32::consts::PI);
        let (mut again, mut bits) = (body, BitWriter::default());
        again.quantise();
        prop_assert_eq!(again, body);
        body.encode(&mut bits);
        let bytes = bits.finish();
        prop_assert_eq!(Body::decode(&mut BitReader::new(&bytes)).unwrap(), body);
        let mut memory = Vec::new();
        [body.pos.x, body.pos.y, body.aim].iter().for_each(|value| memory.extend(value.to_ne_bytes()));
        let mut from_memory = BitWriter::default();
        encode_row(&schema().columns[0], &memory, &mut from_memory);
        prop_assert_eq!(from_memory.finish(), bytes);
        if y.abs() <= 256.0 {
            prop_assert!((body.pos.y - y).abs() <= 0.0051);
        }
    }
}
