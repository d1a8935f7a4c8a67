use bytes::BytesMut;
use quinn_proto::Transmit;
use ringfort_protocol::driver::{Closed, Handler};
use ringfort_shm_state::layout::{JoinRecord, SegmentKind};
use ringfort_shm_state::segment::{Segment, SegmentSpec};
use zerocopy::{FromZeros, IntoBytes};

use super::super::desk::Desk;
use super::*;
use crate::auth::Pass;
use crate::sim::bench::{Bench, ZONE};
use crate::sim::zone::Zone;
use crate::skirmish::Skirmish;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// A match for so many players, and the first front-end, which knows of it.
struct Scene {
    bench: Bench<Skirmish>,
    zone: Zone<Skirmish>,
    desk: Desk,
    now: Instant,
}

const INCARNATION: u32 = 1;
/// Between two of its ticks.
const PERIOD_US: u32 = 100_000;

impl Scene {
    fn new(capacity: u32) -> Self {
        let mut bench = Bench::<Skirmish>::new(capacity, 64);
        let zone = bench.start();
        let now = Instant::now();
        let segment = |spec| Segment::private(spec, 1).unwrap();
        let inbox = segment(SegmentSpec::inbox(SegmentKind::InboxNet, 1 << 16));
        let shared = (Rc::clone(&bench.world), Rc::new(segment(SegmentSpec::DIRECTORY)), Rc::new(inbox));
        let own = segment(SegmentSpec::worker(SegmentKind::Frontend, 0));
        let mut desk = Desk::simulated::<Skirmish>(Driver::plain_server(now, 1200), 0, INCARNATION, shared, own, now);
        desk.clients.link(ZONE, bench.entry).unwrap();
        Self { bench, zone, desk, now }
    }

    fn link(&mut self) -> &mut ZoneLink {
        self.desk.clients.zones.get_mut(&ZONE).unwrap()
    }

    /// With the link to the match taken out, as it is while it is worked with.
    fn with_link(&mut self, work: impl FnOnce(&mut Clients, &mut Driver<App>, &mut ZoneLink)) {
        let Desk { driver, clients } = &mut self.desk;
        clients.with_zone(driver, ZONE, work);
    }

    /// Sessions without a connection any more.
    fn sessions(&mut self, slots: std::ops::Range<u32>) {
        self.link().sessions = slots.map(|slot| (slot, ConnId { index: slot, generation: 1 })).collect();
    }

    /// A connection, before its hello.
    fn connect(&mut self) -> ConnId {
        let Self { desk: Desk { driver, clients }, now, .. } = self;
        let (ours, theirs) = (SocketAddr::from(([10, 0, 0, 1], 7_000)), SocketAddr::from(([10, 1, 0, 1], 40_000)));
        let mut nowhere = |_: &Transmit, _: &[u8]| {};
        let mut client = Driver::plain_client(*now);
        client.connect_plain(*now, ours, ());
        let mut packets = Vec::new();
        client.poll(*now, &mut Deaf, &mut |_, bytes| packets.push(BytesMut::from(bytes)));
        packets.into_iter().for_each(|packet| driver.handle_datagram(*now, theirs, None, None, packet, &mut nowhere));
        driver.poll(*now, clients, &mut nowhere);
        driver.connections().next().unwrap().id()
    }

    /// The match takes in a player that comes over a connection of this front-end.
    fn join(&mut self, nonce: u8, id: ConnId) -> SessionRow {
        let connection = u64::from(id.generation) << 32 | u64::from(id.index);
        let join = JoinRecord { nonce: [nonce; 16], connection, incarnation: INCARNATION, ..JoinRecord::new_zeroed() };
        self.bench.push(RecordKind::Join, 0, 0, join.as_bytes());
        self.tick();
        self.bench.sessions()[&nonce]
    }

    fn tick(&mut self) {
        self.bench.flush();
        self.bench.step(&mut self.zone);
    }

    fn is_live(&self, id: ConnId) -> bool {
        self.desk.driver.get(id).is_some_and(|conn| matches!(conn.app.stage, Stage::Live(_)))
    }
}

/// A client that is told nothing.
struct Deaf;

impl Handler<()> for Deaf {
    fn connected(&mut self, _conn: &mut Conn<()>) {}
    fn datagram(&mut self, _conn: &mut Conn<()>, _bytes: &[u8]) {}
    fn frame(&mut self, _conn: &mut Conn<()>, _body: &[u8]) {}
    fn closed(&mut self, _conn: &mut Conn<()>, _why: &Closed) {}
}

#[test]
fn a_commit_counts_as_served_when_those_who_were_left_have_gone() {
    let mut scene = Scene::new(8);
    scene.sessions(0..3);
    scene.with_link(|clients, driver, link| {
        link.published_us = 5;
        link.round.begin(3, 0, PERIOD_US);
        clients.serve_piece(driver, link, &mut 1);
        assert!(clients.served.is_empty() && !link.round.is_over(), "one of three was told");
        link.sessions.clear();
        clients.serve_piece(driver, link, &mut 9);
        assert_eq!((&clients.served[..], link.round.is_over()), (&[(5, link.period_us())][..], true));
        clients.serve_piece(driver, link, &mut 9);
        assert_eq!(clients.served.len(), 1, "once");
    });
}

#[test]
fn the_last_commit_is_told_to_all_however_much_is_done_without() {
    let mut scene = Scene::new(8);
    scene.sessions(0..8);
    scene.desk.shed_to(crate::frontend::shed::LEVEL_MAX);
    scene.with_link(|clients, _, link| {
        let told = |link: &mut ZoneLink| std::iter::from_fn(|| link.round.take(u64::MAX, &link.sessions)).count();
        clients.begin_round(link, &RootHead::new_zeroed());
        assert_eq!(told(link), 2);
        clients.begin_round(link, &RootHead { flags: RootFlags::CLOSING, ..RootHead::new_zeroed() });
        assert_eq!(told(link), 8);
        assert_eq!(clients.counts.0[count::SNAPSHOTS_SKIPPED], 6);
    });
}

#[test]
fn no_snapshot_is_too_short_for_the_widest_entity() {
    let mut scene = Scene::new(8);
    let clients = &mut scene.desk.clients;
    clients.snapshot_bytes = 1_000;
    let mut live = Live::new(Pass::default(), ZONE, 1, 1, 0, Baselines::new(1, 0));
    live.filling = false;
    let budgets = |clients: &mut Clients, live: &mut Live| {
        [(100, 1_150), (700, 1_150), (1_100, 1_150), (700, 600)].map(|(least, room)| clients.budget(live, least, room))
    };
    assert_eq!(budgets(clients, &mut live), [1_000, 1_000, 1_100, 600]);
    clients.shed.set(crate::frontend::shed::LEVEL_MAX);
    assert_eq!(budgets(clients, &mut live), [250, 700, 1_100, 600]);
    clients.shed.set(0);
    (live.filling, clients.filling_left) = (true, 0);
    assert_eq!(budgets(clients, &mut live), [FILLING_SNAPSHOT_BYTES, 700, 1_100, 600]);
    assert_eq!(live.filled, 0, "what was short is not its share");
    clients.filling_left = FILLING_BYTES;
    assert_eq!((budgets(clients, &mut live), live.filled), ([1_000, 1_000, 1_100, 600], 4));
}

#[test]
fn a_slot_that_another_session_has_taken_is_not_served_over_the_connection_before() {
    let mut scene = Scene::new(1);
    let id = scene.connect();
    let first = scene.join(1, id);
    let wire = &scene.link().view.description().wire;
    let baselines = Baselines::new(wire.columns.len(), wire.globals.len());
    let live = Live::new(Pass::default(), ZONE, first.id, first.attachment, 0, baselines);
    scene.desk.driver.connection(id).unwrap().app.stage = Stage::Live(Box::new(live));
    scene.link().sessions.insert(first.id as u32, id);
    let told = |scene: &mut Scene| {
        let Desk { driver, clients } = &mut scene.desk;
        clients.look(driver);
        clients.serve(driver);
        (clients.counts.0[count::SNAPSHOTS], clients.zones.get(&ZONE).map(|link| link.sessions.len()))
    };
    assert_eq!((told(&mut scene), scene.is_live(id)), ((1, Some(1)), true));
    // Before this front-end looks again that one is gone, and another is there, whose connection is lost as well.
    scene.bench.push(RecordKind::Leave, first.id, 0, &Why::Kicked.to_u64().to_ne_bytes());
    scene.tick();
    let second = scene.join(2, ConnId { index: 77, generation: 1 });
    assert_eq!((first.id as u32, first.id == second.id), (second.id as u32, false));
    assert_eq!((told(&mut scene), scene.is_live(id)), ((1, Some(0)), false), "its own session is gone");
}
