//! The derives, used as a game uses them: what they say in the schema, what they put on the wire, and what they refuse.

use ringfort::game::{self, Column, Entities, Global, Played, Tick, Timers, Why};
use ringfort::protocol;
use ringfort::protocol::bits::{BitReader, BitWriter};
use ringfort::protocol::schema::{Coding, FieldKind, Schema, Sync, encode_row};
use ringfort::protocol::{
    Component as _, DecodeError, Entity, Field as _, Input as _, Message as _, Press, SessionId, TickNo, TimerPayload as _, Vec2,
    Wire as _, WireLayout,
};
use ringfort::shm_state::Plain as _;
use ringfort_derive::{Component, Input, Message, State, Timer};

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Body {
    #[q(range = -256.0..=256.0, step = 0.01)]
    pos: Vec2,
    #[q(range = -16.0..=16.0, step = 0.05)]
    vel: Vec2,
    #[q(angle, bits = 10)]
    aim: f32,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Gun {
    #[q(max = 30)]
    ammo: u8,
    #[sync(none)]
    ready: TickNo,
    mode: Mode,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
#[repr(u8)]
enum Mode {
    Single,
    Burst,
    Auto = 2,
}

#[derive(Component, Clone, Copy)]
struct Pair(u16, Entity);

#[derive(Component, Clone, Copy)]
struct Tag(bool);

#[derive(Input, Clone, Copy, Default, PartialEq, Debug)]
struct Cmd {
    #[q(range = -1.0..=1.0, step = 0.0625)]
    wish: Vec2,
    #[q(angle, bits = 10)]
    aim: f32,
    fire: Press,
}

#[derive(Message, Clone, Copy, PartialEq, Debug)]
enum Ask {
    Suicide,
}

#[derive(Message, Clone, Copy, PartialEq, Debug)]
enum Ev {
    #[predicted]
    Shot {
        by: Entity,
        #[q(range = -256.0..=256.0, step = 0.01)]
        at: Vec2,
    },
    #[reliable]
    Kill(Entity, Entity),
    #[reliable]
    Over,
}

#[derive(Timer, Clone, Copy, PartialEq, Debug)]
enum Later {
    Respawn(Entity),
    End,
}

#[derive(State)]
struct Arena {
    ents: Entities,
    #[sync(near = 80.0, priority = 4.0)]
    body: Column<Body>,
    #[sync(owner)]
    gun: game::Column<Gun>,
    secret: Column<Pair>,
    #[sync(all)]
    mode: Global<Mode>,
    #[sync(all)]
    tag: Column<Tag>,
    timers: Timers<Later>,
}

impl game::Game for Arena {
    const HZ: u32 = 30;
    type Input = Cmd;
    type Command = Ask;
    type Event = Ev;
    type Timer = Later;

    fn open(&mut self, t: &Tick<Self>) {
        // The fields are used as a game would, so that the compiler sees the derives in the midst of a real one.
        let e = self.ents.spawn();
        self.body.insert(e, Body { pos: Vec2::ZERO, vel: Vec2::ZERO, aim: 0.0 });
        self.gun.insert(e, Gun { ammo: 30, ready: t.now(), mode: Mode::Single });
        self.secret.insert(e, Pair(1, e));
        self.tag.insert(e, Tag(true));
        *self.mode = Mode::Burst;
        self.timers.at(t.now() + 1, Later::End);
    }
    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &game::Hello<'_>) {}
    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
    fn step(&mut self, _t: &Tick<Self>) {}
}

fn schema() -> &'static Schema {
    Played::<Arena>::schema()
}

#[test]
fn the_state_is_the_schema() {
    let schema = schema();
    assert_eq!((&*schema.game, schema.hz), ("Arena", 30));
    let columns: Vec<_> = schema.columns.iter().map(|c| (&*c.name, &*c.component, c.sync)).collect();
    let expected = [
        ("body", "Body", Sync::Near(80.0)),
        ("gun", "Gun", Sync::Owner),
        ("secret", "Pair", Sync::None),
        ("tag", "Tag", Sync::All),
    ];
    assert_eq!(columns, expected);
    assert_eq!((&*schema.globals[0].name, &*schema.globals[0].component), ("mode", "Mode"));
    let columns = [Arena::BODY.index, Arena::GUN.index, Arena::SECRET.index, Arena::TAG.index];
    assert_eq!((columns, Arena::MODE.index), ([0, 1, 2, 3], 0));
    let layout = WireLayout::new(schema).unwrap();
    assert_eq!(layout.columns.iter().map(|column| column.bits).collect::<Vec<_>>(), [62, 7, 1]);
    assert_eq!(layout.wire_column(Arena::TAG.index), Some(2));
    assert_eq!(schema.position.map(|position| position.column), Some(0));
}

#[test]
fn fields_are_described() {
    let body = Body::fields();
    let codings: Vec<_> = body.iter().map(|field| (&*field.name, field.kind, field.coding)).collect();
    let expected = [
        ("pos", FieldKind::Vec2, Coding::Range { min: -256.0, max: 256.0, step: 0.01 }),
        ("vel", FieldKind::Vec2, Coding::Range { min: -16.0, max: 16.0, step: 0.05 }),
        ("aim", FieldKind::F32, Coding::Angle { bits: 10 }),
    ];
    assert_eq!(codings, expected);
    let gun = Gun::fields();
    assert_eq!(gun.iter().map(|field| field.synced).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!((gun[2].kind, gun[2].wire_bits()), (FieldKind::Enum { variants: 3 }, 2));
    assert_eq!(Pair::fields().iter().map(|field| &*field.name).collect::<Vec<_>>(), ["0", "1"]);
}

#[test]
fn components_pass_the_wire() {
    let mut body = Body { pos: Vec2::new(1.234, -999.0), vel: Vec2::ZERO, aim: 1.0 };
    body.quantise();
    assert!((body.pos.x - 1.23).abs() < 1e-4 && body.pos.y == -256.0 && body.vel == Vec2::ZERO);
    let mut bits = BitWriter::default();
    body.encode(&mut bits);
    let bytes = bits.finish();
    assert_eq!(Body::decode(&mut BitReader::new(&bytes)), Ok(body));

    let gun = Gun { ammo: 29, ready: TickNo(77), mode: Mode::Auto };
    let mut bits = BitWriter::default();
    gun.encode(&mut bits);
    let bytes = bits.finish();
    assert_eq!(bytes, [29 | 2 << 5]);
    let seen = Gun { ready: TickNo(0), ..gun };
    assert_eq!(Gun::decode(&mut BitReader::new(&bytes)), Ok(seen));
    // A mode that there is not, and more ammunition than there can be.
    assert_eq!(Gun::decode(&mut BitReader::new(&[3 << 5])), Err(DecodeError::OutOfRange));
    assert_eq!(Gun::decode(&mut BitReader::new(&[31])), Err(DecodeError::OutOfRange));
    assert_eq!(Mode::unsynced(), Mode::Single);
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Dial {
    #[q(range = 0.0..=10.0, step = 0.5)]
    level: f32,
    raw: f32,
    #[q(angle, bits = 8)]
    hand: f32,
    on: bool,
    count: u16,
    #[sync(none)]
    hidden: f32,
}

#[test]
fn rows_blend_into_each_other() {
    let from = Body { pos: Vec2::new(1.0, -2.0), vel: Vec2::ZERO, aim: 3.0 };
    let to = Body { pos: Vec2::new(3.0, 2.0), vel: Vec2::new(0.0, 8.0), aim: -3.0 };
    let seam = std::f32::consts::PI;
    let quarter = from.lerp(&to, 0.25);
    assert_eq!((quarter.pos, quarter.vel), (Vec2::new(1.5, -1.0), Vec2::new(0.0, 2.0)));
    // From 3 to -3 the shorter way leads over the seam at pi.
    let arc = 2.0 * (seam - 3.0);
    assert!((quarter.aim - (3.0 + arc / 4.0)).abs() < 1e-6, "{}", quarter.aim);
    let late = from.lerp(&to, 0.75).aim;
    assert!((late - (-3.0 - arc / 4.0)).abs() < 1e-6, "{late}");
    assert!((to.lerp(&from, 0.25).aim - late).abs() < 1e-6, "the same place from the other side");
    assert_eq!((from.lerp(&to, 0.0), from.lerp(&to, -1.0), from.lerp(&to, f32::NAN)), (from, from, from));
    assert_eq!((from.lerp(&to, 1.0), from.lerp(&to, 2.0), from.lerp(&from, 0.3)), (to, to, from));
    let opposite = Body { aim: 0.0, ..from }.lerp(&Body { aim: seam, ..from }, 0.5).aim;
    assert!((opposite.abs() - seam / 2.0).abs() < 1e-6);

    let from = Dial { level: 2.0, raw: 1.0, hand: 0.0, on: false, count: 1, hidden: 0.0 };
    let to = Dial { level: 4.0, raw: -8.0, hand: 1.0, on: true, count: 5, hidden: 100.0 };
    let half = from.lerp(&to, 0.5);
    assert_eq!(half, Dial { level: 3.0, raw: -3.5, hand: 0.5, on: false, count: 1, hidden: 50.0 });
    assert_eq!(from.lerp(&to, 1.0), to);
    let mode = |alpha| protocol::Component::lerp(&Mode::Single, &Mode::Auto, alpha);
    assert_eq!((mode(0.9), mode(1.0)), (Mode::Single, Mode::Auto));
}

#[test]
fn rows_are_so_far_apart() {
    let from = Body { pos: Vec2::ZERO, vel: Vec2::ZERO, aim: 3.0 };
    let to = Body { pos: Vec2::new(3.0, 4.0), vel: Vec2::new(0.0, -6.0), aim: 0.0 };
    assert_eq!(from.distance(&to), 5.0, "as far as their places, whatever their speeds");
    assert_eq!(from.distance(&Body { aim: 0.0, ..from }), 0.0, "a turn is no way");
    let dial = Dial { level: 2.0, raw: 1.0, hand: 0.0, on: false, count: 1, hidden: 0.0 };
    let other = Dial { level: 4.0, raw: -8.0, hand: 1.0, on: true, count: 5, hidden: 100.0 };
    assert_eq!(dial.distance(&other), 9.0, "without vectors the farthest of the numbers that are sent");
    assert_eq!((protocol::Component::distance(&Mode::Single, &Mode::Auto), Tag(true).distance(&Tag(false))), (0.0, 0.0));
}

#[test]
fn bytes_without_a_meaning_are_no_row() {
    let gun = |mode| {
        let mut row = vec![0xff; size_of::<Gun>()];
        row[Gun::fields()[2].offset as usize] = mode;
        row
    };
    assert!((0..3).all(|mode| Gun::valid(&gun(mode))) && (3..=255).all(|mode| !Gun::valid(&gun(mode))));
    assert!(!Gun::valid(&gun(0)[1..]), "as long as a row");
    assert!(Tag::valid(&[0]) && Tag::valid(&[1]) && !Tag::valid(&[2]));
    let mode = |row: &[u8]| <Mode as protocol::Component>::valid(row);
    assert!(mode(&[2]) && !mode(&[3]) && !mode(&[]));
    assert!(Body::valid(&[0xff; size_of::<Body>()]), "any bits are a number");
}

#[test]
fn rows_in_memory_encode_like_values() {
    let gun = Gun { ammo: 12, ready: TickNo(1), mode: Mode::Burst };
    let column = &schema().columns[1];
    let mut row = vec![0; column.row_bytes as usize];
    for (field, byte) in column.fields.iter().zip([gun.ammo, 1, gun.mode as u8]) {
        row[field.offset as usize] = byte;
    }
    let (mut from_row, mut from_value) = (BitWriter::default(), BitWriter::default());
    encode_row(column, &row, &mut from_row);
    gun.encode(&mut from_value);
    assert_eq!(from_row.finish(), from_value.finish());
}

#[test]
fn what_no_field_covers_is_known() {
    // Whatever order the compiler chooses, a component's bytes are its fields' and its padding's.
    let covered = |fields: &[usize], padding: &[(usize, usize)]| {
        fields.iter().sum::<usize>() + padding.iter().map(|(_, bytes)| bytes).sum::<usize>()
    };
    assert_eq!((covered(&[1, 4, 1], Gun::PADDING), Gun::PADDING.len()), (size_of::<Gun>(), 1));
    assert_eq!((covered(&[2, 8], Pair::PADDING), Pair::PADDING.len()), (size_of::<Pair>(), 1));
    assert!(Body::PADDING.is_empty() && Mode::PADDING.is_empty() && Tag::PADDING.is_empty());
    for field in Gun::fields() {
        assert!(Gun::PADDING.iter().all(|(start, bytes)| !(*start..start + bytes).contains(&(field.offset as usize))));
    }
}

#[test]
fn inputs_keep_their_edges() {
    let held = Cmd { wish: Vec2::new(0.5, -1.0), aim: 0.0, fire: Press::down(true) };
    assert_eq!(Cmd::wire_bytes(), 3);
    let mut bytes = Vec::new();
    held.to_wire(&mut bytes);
    assert_eq!((bytes.len(), Cmd::from_wire(&bytes)), (3, Ok(held)));
    let mut next = held;
    next.after(&held);
    assert!(next.fire.held() && !next.fire.pressed());
    next.merge(&held);
    assert!(next.fire.pressed());
    next.repeat();
    assert!(next.fire.held() && !next.fire.pressed());
    let mut wild = Cmd { wish: Vec2::new(f32::NAN, f32::INFINITY), aim: f32::NAN, fire: Press::default() };
    wild.quantise();
    assert_eq!(wild, Cmd { wish: Vec2::new(-1.0, -1.0), ..Cmd::default() });
}

#[test]
fn messages_pass_the_wire() {
    let a = Entity { index: 1, generation: 2 };
    let b = Entity { index: 3, generation: 4 };
    for event in [Ev::Shot { by: a, at: Vec2::ZERO }, Ev::Kill(a, b), Ev::Over] {
        let mut bytes = Vec::new();
        event.to_wire(&mut bytes);
        assert_eq!(bytes.len(), Ev::variants()[event.variant()].wire_bits().div_ceil(8) as usize);
        assert_eq!(Ev::from_wire(&bytes), Ok(event));
        assert_eq!(event.reliable(), event.variant() > 0);
        bytes.push(0);
        assert_eq!(Ev::from_wire(&bytes), Err(DecodeError::Trailing));
    }
    assert_eq!(Ev::from_wire(&[3]), Err(DecodeError::UnknownVariant));
    let predicted: Vec<_> = Ev::variants().iter().map(|variant| variant.predicted).collect();
    assert_eq!(predicted, [true, false, false]);
    assert_eq!(Ev::Shot { by: a, at: Vec2::ZERO }.predicted(), Some((0, a)), "the first predicted one, of its first entity");
    assert_eq!((Ev::Kill(a, b).predicted(), Ask::Suicide.predicted()), (None, None));
    assert_eq!(Ask::from_wire(&[0]), Ok(Ask::Suicide));
}

#[test]
fn timers_are_bytes() {
    assert_eq!(Later::max_bytes(), 9);
    for timer in [Later::Respawn(Entity { index: 1, generation: 2 }), Later::End] {
        let mut bits = BitWriter::default();
        timer.encode(&mut bits);
        assert_eq!(Later::decode(&mut BitReader::new(&bits.finish())), Ok(timer));
    }
}
