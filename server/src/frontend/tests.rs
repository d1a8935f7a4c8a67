//! What clients see, against what was committed: a zone of skirmish, the view, snapshots with loss, and each client's world.

use ringfort_protocol::baseline::Baselines;
use ringfort_protocol::bits::{BitReader, BitWriter};
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::schema::{Sync, encode_row};
use ringfort_protocol::snapshot::{Lapse, SnapshotReader};
use ringfort_protocol::view::VIEW_BYTES;
use ringfort_protocol::{AckBits, Component, Entity, Input, Press, Vec2};
use ringfort_shm_state::blobs::BlobId;
use ringfort_shm_state::layout::{Audience, EntityRow, EventRow, RecordKind, SessionRow};
use zerocopy::FromZeros;

use super::counters::Counters;
use super::session::Live;
use super::snapshot::{SnapshotBuilder, is_for};
use super::zone_view::ZoneView;

use crate::auth::Pass;
use crate::limits::INTEREST_KEEPS;
use crate::sim::bench::{Bench, ZONE, random};
use crate::skirmish::{Body, Cmd, Skirmish};

struct Player {
    live: Live,
    row: SessionRow,
    world: ClientWorld,
    acks: AckBits,
}

/// Every column of every entity that a client holds has a value that was committed at some tick, and with room for all it is the
/// present one; what a client may not see it does not hold.
fn compare(view: &ZoneView, player: &Player, complete: bool, seed: u64) {
    let is = view.description();
    let me = view.entities().get(player.row.entity_index as usize);
    for (index, entity) in view.entities().iter().enumerate() {
        let e = ringfort_protocol::Entity { index: index as u32, generation: entity.generation };
        let distance =
            if entity.has_left { f32::NAN } else { (Vec2 { x: entity.x, y: entity.y } - player.live.viewpoint).length() };
        let own = entity.owner == player.live.session;
        for (i, schema) in is.schema.columns.iter().enumerate() {
            let Some(wire) = is.wire.wire_column(i as u16) else { continue };
            let may = match schema.sync {
                Sync::All => true,
                Sync::Owner => own,
                Sync::Near(radius) => own || distance <= radius * INTEREST_KEEPS,
                Sync::None => false,
            };
            // What was near stays for a little further: between the two distances both is right.
            let either = matches!(schema.sync, Sync::Near(radius) if !own && distance > radius * 0.999 && distance <= radius * INTEREST_KEEPS * 1.001);
            let committed = view.mirror().row(&is.columns[i], index as u32).filter(|_| entity.generation != 0 && may);
            // What is held back, and when it passes, has its own tests; here every client must have what the view lets pass.
            let paced = schema.rate != 0 || schema.once;
            let expected = committed.map(|row| {
                if let Some(blobs) = is.blobs[i] {
                    let id = BlobId::from_row(row).expect("a row of a blob column names a blob");
                    return blobs.get(view.mirror(), id).expect("intact").expect("alive").to_vec();
                }
                if paced {
                    let mut bits = BitWriter::new(Vec::new());
                    bits.append(view.row(index, wire));
                    return bits.finish();
                }
                let mut bits = BitWriter::new(Vec::new());
                encode_row(schema, row, &mut bits);
                bits.finish()
            });
            let has = player.world.encoded(e, wire).map(<[u8]>::to_vec);
            if complete && !(either && has.is_none()) {
                assert_eq!(has, expected, "seed {seed}: {} of {e}, own {own}, distance {distance}, me {me:?}", schema.name);
            }
        }
    }
}

fn deliver(player: &mut Player, bytes: &[u8]) {
    let tick = u32::from_le_bytes(bytes[2..6].try_into().unwrap());
    player.world.apply(bytes, |_: BitReader<'_>| {}).unwrap();
    player.acks.insert(tick);
}

fn run(seed: u64, budget: usize, loss: u64) {
    let mut rng = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bench = Bench::<Skirmish>::new(24, 256);
    let mut zone = bench.start();
    let mut view = ZoneView::new(ZONE, bench.mirror().1, bench.entry.tick_hz);
    let mut builder = SnapshotBuilder::new();
    let mut counts = Counters::default();
    let mut players: Vec<Player> = Vec::new();
    let (mut nonce, mut sequence) = (0u8, 0);
    for tick in 0..200u32 {
        if players.len() < 20 && nonce < 200 && random(&mut rng).is_multiple_of(3) {
            nonce += 1;
            bench.join(nonce);
        }
        if players.len() > 4 && random(&mut rng).is_multiple_of(15) {
            let gone = players.swap_remove(random(&mut rng) as usize % players.len());
            bench.push(RecordKind::Leave, gone.row.id, 0, &1u64.to_ne_bytes());
        }
        sequence += 1;
        for player in &players {
            let mut cmd = Cmd { aim: (random(&mut rng) % 628) as f32 / 100.0, ..Cmd::default() };
            cmd.wish = Vec2 { x: (random(&mut rng) % 3) as f32 - 1.0, y: (random(&mut rng) % 3) as f32 - 1.0 };
            let mut bytes = Vec::new();
            cmd.to_wire(&mut bytes);
            bytes.extend_from_slice(&[0; VIEW_BYTES]);
            bench.push(RecordKind::Input, player.row.id, sequence, &bytes);
        }
        bench.flush();
        bench.step(&mut zone);
        if tick % 40 == 17 {
            zone = bench.restart(zone);
        }
        view.refresh(&bench.world).unwrap();
        for row in bench.sessions().into_values() {
            if !players.iter().any(|p| p.row.id == row.id) {
                let wire = view.description().wire.clone();
                let baselines = Baselines::new(wire.columns.len(), wire.globals.len());
                let live = Live::new(Pass::default(), ZONE, row.id, row.attachment, row.event_cursor, baselines);
                let world = ClientWorld::new(wire, bench.entry.max_entities);
                players.push(Player { live, row, world, acks: AckBits::NONE });
            }
        }
        for player in &mut players {
            player.row = bench.sessions()[&player.row.nonce[0]];
            let bytes = builder.build(&view, &mut player.live, &player.row, budget, 0, &mut counts);
            assert!(bytes.len() <= budget);
            if random(&mut rng) % 100 >= loss {
                deliver(player, bytes);
                compare(&view, player, budget > 1000, seed);
                if random(&mut rng) % 100 >= loss {
                    player.live.baselines.acked(player.acks);
                }
            }
        }
    }
    // Nothing moves any more: whatever the budget, everybody catches up.
    for _ in 0..60 {
        bench.step(&mut zone);
        view.refresh(&bench.world).unwrap();
        for player in &mut players {
            let bytes = builder.build(&view, &mut player.live, &player.row, budget, 0, &mut counts);
            deliver(player, bytes);
            player.live.baselines.acked(player.acks);
        }
    }
    players.iter().for_each(|player| compare(&view, player, true, seed));
    assert!(players.iter().all(|player| !player.live.filling), "seed {seed}: who has all is filled");
    bench.check();
}

#[test]
fn clients_hold_exactly_what_they_may_see() {
    (1..=3).for_each(|seed| run(seed, 1150, 0));
}

#[test]
fn loss_on_the_way_down_and_up_changes_nothing_of_it() {
    (1..=3).for_each(|seed| run(seed, 1150, 30));
}

#[test]
fn what_does_not_fit_comes_later() {
    (1..=3).for_each(|seed| run(seed, 120, 10));
}

#[test]
fn rows_in_memory_encode_as_their_types_do() {
    let body = Body { pos: Vec2 { x: 1.5, y: -3.25 }, vel: Vec2 { x: 4.0, y: 0.05 }, aim: 2.0 };
    let mut typed = BitWriter::new(Vec::new());
    body.encode(&mut typed);
    let mut bench = Bench::<Skirmish>::new(4, 64);
    let mut zone = bench.start();
    bench.join(1);
    bench.flush();
    bench.step(&mut zone);
    let (mirror, is) = bench.mirror();
    let entity: EntityRow = mirror.get(&is.engine.entities, 0).unwrap();
    assert_eq!((entity.alive, entity.generation), (1, 1));
    let row = mirror.row(&is.columns[0], 0).unwrap();
    let mut bits = BitWriter::new(Vec::new());
    encode_row(&is.schema.columns[0], row, &mut bits);
    let mut back = bits.finish();
    let decoded = Body::decode(&mut BitReader::new(&back)).unwrap();
    let mut again = BitWriter::new(Vec::new());
    decoded.encode(&mut again);
    let again = again.finish();
    back.truncate(again.len());
    assert_eq!(back, again, "what is committed is what the wire carries");
}

#[test]
fn a_snapshot_says_how_the_inputs_came() {
    let mut bench = Bench::<Skirmish>::new(4, 64);
    let mut zone = bench.start();
    bench.join(1);
    bench.flush();
    bench.step(&mut zone);
    let row = bench.sessions()[&1];
    let mut view = ZoneView::new(ZONE, bench.mirror().1, bench.entry.tick_hz);
    let wire = view.description().wire.clone();
    let baselines = Baselines::new(wire.columns.len(), wire.globals.len());
    let mut live = Live::new(Pass::default(), ZONE, row.id, row.attachment, row.event_cursor, baselines);
    let mut builder = SnapshotBuilder::new();
    let mut header = |view: &ZoneView, live: &mut Live, now_us| {
        let bytes = builder.build(view, live, &row, 1150, now_us, &mut Counters::default());
        SnapshotReader::new(bytes, &wire).unwrap().header
    };
    // The first input shoots, the second does not, and then none comes.
    for (sequence, fire) in [(1, true), (2, false)] {
        let mut bytes = Vec::new();
        Cmd { fire: Press::down(fire), ..Cmd::default() }.to_wire(&mut bytes);
        bytes.extend_from_slice(&[0; VIEW_BYTES]);
        bench.push(RecordKind::Input, row.id, sequence, &bytes);
        bench.flush();
        bench.step(&mut zone);
    }
    view.refresh(&bench.world).unwrap();
    let unknown = header(&view, &mut live, 0);
    assert_eq!((unknown.inputs, unknown.repeated), (AckBits { highest: 2, bits: 1 }, 0));
    assert_eq!((unknown.waited, unknown.early), (Lapse::UNKNOWN, Lapse::UNKNOWN), "nobody knows when it came");
    assert_eq!(unknown.verdicts[0], 0b10, "the shot was the first input's");
    for _ in 0..3 {
        bench.step(&mut zone);
    }
    view.refresh(&bench.world).unwrap();
    let head = *view.head().unwrap();
    let began_us = head.published_us - u64::from(head.took_us);
    live.received(2, began_us - 3_000);
    let early = header(&view, &mut live, began_us + 7_000);
    assert_eq!((early.waited, early.early, early.repeated), (Lapse::from_us(10_000), Lapse::from_us(3_000), 3));
    bench.step(&mut zone);
    view.refresh(&bench.world).unwrap();
    live.received(2, began_us + 60_000_000);
    let late = header(&view, &mut live, began_us + 120_000_000);
    assert_eq!((late.waited, late.early, late.repeated), (Lapse::UNKNOWN, Lapse::ZERO, 4), "too long to be told, and not early");
}

#[derive(ringfort_derive::Component, Clone, Copy)]
struct Badge {
    n: u32,
}

#[derive(ringfort_derive::State)]
struct Club {
    ents: crate::game::Entities,
    #[sync(all, once)]
    badge: crate::game::Column<Badge>,
    #[sync(all)]
    plain: crate::game::Column<Badge>,
}

#[derive(ringfort_derive::Input, Clone, Copy, Default)]
struct Nothing {
    press: ringfort_protocol::Press,
}

impl crate::game::Game for Club {
    const HZ: u32 = 20;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &crate::game::Tick<Self>) {
        let e = self.ents.spawn();
        self.badge.insert(e, Badge { n: 1 });
        self.plain.insert(e, Badge { n: 1 });
    }

    fn join(&mut self, _t: &crate::game::Tick<Self>, _who: ringfort_protocol::SessionId, _hello: &crate::game::Hello<'_>) {}

    fn leave(&mut self, _t: &crate::game::Tick<Self>, _who: ringfort_protocol::SessionId, _why: crate::game::Why) {}

    fn step(&mut self, t: &crate::game::Tick<Self>) {
        for (_, mut badge, mut plain) in crate::game::Join::join((&mut self.badge, &mut self.plain)) {
            (badge.n, plain.n) = (t.now().0, t.now().0);
        }
    }
}

/// What is sent once is what it is when a client comes to see the entity; to those who see it already a change is none.
#[test]
fn what_is_sent_once_is_as_it_is_when_it_is_sent() {
    let mut bench = Bench::<Club>::new(4, 64);
    let mut zone = bench.start();
    let mut view = ZoneView::new(ZONE, bench.mirror().1, 20);
    view.refresh(&bench.world).unwrap();
    let first = view.head().unwrap().tick;
    for _ in 0..50 {
        bench.step(&mut zone);
        view.refresh(&bench.world).unwrap();
        let tick = view.head().unwrap().tick;
        assert_eq!((view.row(0, 0).words[0], view.row(0, 1).words[0]), (u64::from(tick), u64::from(tick)));
        assert_eq!(view.changed(0), [first, tick]);
    }
}

#[test]
fn who_has_no_place_yet_is_near_nothing() {
    let mut bench = Bench::<Skirmish>::new(16, 64);
    let mut zone = bench.start();
    (1..=16).for_each(|nonce| bench.join(nonce));
    bench.flush();
    bench.step(&mut zone);
    let mut view = ZoneView::new(ZONE, bench.mirror().1, bench.entry.tick_hz);
    view.refresh(&bench.world).unwrap();
    let wire = view.description().wire.clone();
    let near = |wire: usize| match view.description().schema.columns
        [usize::from(view.description().wire.columns[wire].schema_index)]
    .sync
    {
        Sync::Near(radius) => Some((wire, radius)),
        _ => None,
    };
    let columns: Vec<(usize, f32)> = (0..wire.columns.len()).filter_map(near).collect();
    let alive = view.entities().iter().enumerate().filter(|(_, e)| e.generation != 0);
    let places: Vec<(u32, u32, f32)> = alive.map(|(i, e)| (i as u32, e.generation, e.x.hypot(e.y))).collect();
    let is_near_origin = |(_, _, distance): &(u32, u32, f32)| columns.iter().any(|(_, radius)| distance <= radius);
    assert!(places.iter().any(is_near_origin), "somebody is near (0, 0)");
    // A spectator whom the game has follow nothing, and then one whom it has.
    let mut row = SessionRow { id: 1 << 32 | 20, ..SessionRow::new_zeroed() };
    let baselines = Baselines::new(wire.columns.len(), wire.globals.len());
    let mut live = Live::new(Pass::default(), ZONE, row.id, 1, 0, baselines);
    let mut world = ClientWorld::new(wire, bench.entry.max_entities);
    let (mut builder, mut counts) = (SnapshotBuilder::new(), Counters::default());
    let mut seen = |live: &mut Live, row: &SessionRow, view: &ZoneView| {
        world.apply(builder.build(view, live, row, 1150, 0, &mut counts), |_: BitReader<'_>| {}).unwrap();
        let has = |e: Entity| columns.iter().any(|(wire, _)| world.encoded(e, *wire).is_some());
        places.iter().filter(|(index, generation, _)| has(Entity { index: *index, generation: *generation })).count()
    };
    assert_eq!(seen(&mut live, &row, &view), 0);
    let centre = EventRow { audience: Audience::Near as u32, radius: 1000f32.to_bits(), ..EventRow::new_zeroed() };
    assert!(!is_for(&centre, &view, &live));
    (row.entity_index, row.entity_generation) = (places[0].0, places[0].1);
    bench.step(&mut zone);
    view.refresh(&bench.world).unwrap();
    assert!(seen(&mut live, &row, &view) > 0 && is_for(&centre, &view, &live));
}
