//! The server's machine in a simulation: private segments, one zone, and front-ends without sockets.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use quinn_proto::Transmit;
use ringfort_protocol::driver::Driver;
use ringfort_protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort_protocol::quic::{KEY_BYTES, server_config, server_endpoint};
use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::fsck;
use ringfort_shm_state::layout::{MailKind, SegmentKind, ZoneEntry, ZoneState};
use ringfort_shm_state::segment::{Segment, SegmentSpec, padded};
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

use super::{Carrier, Failed, Plan};
use crate::config::Interest;
use crate::frontend::Desk;
use crate::game::{AskRules, Description, Game, ZoneLimits};
use crate::limits::LOOP_SLEEP_MAX_MS;
use crate::sim::zone::{Outcome, Zone};

/// Slot of the one zone.
const ZONE: usize = 0;
/// Bytes of its inbox.
const INBOX_BYTES: u64 = 1 << 15;
/// Extents of its arena.
const EXTENTS: usize = 256;

/// A front-end and when it is to turn.
pub(super) struct Office {
    pub(super) desk: Desk,
    pub(super) incarnation: u32,
    pub(super) due_us: u64,
    pub(super) woken: bool,
    /// How much later than in fact it finds what it sends to have left.
    pub(super) late_us: u64,
}

/// Everything that a server's processes share and are.
pub(super) struct Machine<G: Game> {
    world: Rc<World>,
    directory: Rc<Segment>,
    inbox: Rc<Segment>,
    entry: ZoneEntry,
    /// Nothing while no sim steps it.
    zone: Option<Zone<G>>,
    pub(super) offices: Vec<Office>,
    carrier: Carrier,
    budget: usize,
    interest: Interest,
    base: Instant,
    certificate: Option<(rustls::pki_types::CertificateDer<'static>, Vec<u8>)>,
}

/// No hooks are there to ask.
const NOBODY_ANSWERS: AskRules = AskRules { timeout_ticks: None };

/// The address of a front-end.
pub(super) fn frontend_address(slot: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7000 + slot as u16))
}

impl<G: Game> Machine<G> {
    pub(super) fn new(plan: &Plan, base: Instant, now_us: u64) -> Result<Self, Failed> {
        let segment = |spec| Segment::private(spec, 1).map(Rc::new).map_err(|e| Failed(e.to_string()));
        let limits = ZoneLimits::of::<G>(plan.capacity);
        let description = Description::of::<G>(limits).map_err(|e| Failed(e.to_string()))?;
        let options = serde_json::to_string(&plan.options).expect("texts");
        let entry = ZoneEntry {
            incarnation: 1,
            state: ZoneState::Open as u32,
            epoch: 1,
            tick_hz: plan.tick_hz,
            capacity: plan.capacity,
            max_entities: limits.max_entities,
            inbox_bytes: INBOX_BYTES,
            seed: plan.seed,
            rewind_ms: plan.rewind_ms,
            grace_ms: 0,
            tables_hash: description.tables_hash,
            name: padded("simulated"),
            options: padded(&options),
            ..ZoneEntry::new_zeroed()
        };
        let directory = segment(SegmentSpec::DIRECTORY)?;
        DirectoryWriter::new(&directory).publish_zone(ZONE, &entry);
        let certificate = (plan.carrier == Carrier::Quic).then(|| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
            (made.cert.der().clone(), made.signing_key.serialize_der())
        });
        let mut machine = Self {
            world: Rc::new(World::heap(EXTENTS)),
            directory,
            inbox: segment(SegmentSpec::inbox(SegmentKind::InboxNet, INBOX_BYTES))?,
            entry,
            zone: None,
            offices: Vec::new(),
            carrier: plan.carrier,
            budget: plan.budget,
            interest: plan.interest,
            base,
            certificate,
        };
        machine.start_zone(now_us)?;
        for slot in 0..plan.frontends {
            let office = machine.office(slot, 1, now_us)?;
            machine.offices.push(office);
        }
        Ok(machine)
    }

    /// The way to a description of the same match.
    pub(super) fn description(&self) -> Description {
        let limits = ZoneLimits::of_entry(&self.entry);
        Description::of::<G>(limits).expect("it was made before").with_interest(self.interest)
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    fn start_zone(&mut self, now_us: u64) -> Result<(), Failed> {
        let zone = Zone::start(&self.world, self.inbox.memory(), ZONE, self.entry, NOBODY_ANSWERS, now_us);
        self.zone = Some(zone.map_err(|e| Failed(format!("the zone does not start: {e}")))?);
        Ok(())
    }

    /// The sim's process dies between two ticks.
    pub(super) fn kill_sim(&mut self) {
        self.zone = None;
    }

    /// The game fails in the next tick, and the sim's process dies of it.
    pub(super) fn fail_game(&mut self, now_us: u64) -> Result<(), Failed> {
        self.take_over(now_us)?;
        if let Some(zone) = self.zone.take() {
            zone.fail(&self.world, self.inbox.memory(), Directory::new(&self.directory));
        }
        Ok(())
    }

    /// A zone whose sim has died gets another, under the next epoch.
    fn take_over(&mut self, now_us: u64) -> Result<(), Failed> {
        if self.zone.is_some() {
            return Ok(());
        }
        self.entry.epoch += 1;
        DirectoryWriter::new(&self.directory).publish_zone(ZONE, &self.entry);
        self.start_zone(now_us)
    }

    /// One tick; a zone whose sim has died is taken over first.
    pub(super) fn tick(&mut self, now_us: u64) -> Result<u64, Failed> {
        self.take_over(now_us)?;
        let directory = Directory::new(&self.directory);
        let zone = self.zone.as_mut().expect("it was started");
        match zone.step(&self.world, self.inbox.memory(), directory, now_us, || now_us) {
            Outcome::Committed { frontends } => Ok(frontends),
            other => Err(Failed(format!("a tick came to {other:?}"))),
        }
    }

    /// A front-end's process dies and another takes its place.
    pub(super) fn replace_frontend(&mut self, slot: usize, now_us: u64) -> Result<(), Failed> {
        let incarnation = self.offices[slot].incarnation;
        self.offices[slot] = self.office(slot as u32, incarnation + 1, now_us)?;
        let consumed = self.world.newest(ZONE).map_or(0, |root| root.head.mail_cursor);
        let writer = DirectoryWriter::new(&self.directory);
        let posted = writer.post(ZONE, consumed, MailKind::FrontendDied, slot as u64, u64::from(incarnation), "");
        posted.map_err(|e| Failed(e.to_string()))
    }

    fn office(&self, slot: u32, incarnation: u32, now_us: u64) -> Result<Office, Failed> {
        let now = self.base + Duration::from_micros(now_us);
        let driver = match &self.certificate {
            None => Driver::plain_server(now, self.budget),
            Some((certificate, key)) => {
                let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.clone()).into();
                let config = server_config(vec![certificate.clone()], key, &[3; KEY_BYTES], &[4; KEY_BYTES])
                    .map_err(|e| Failed(e.to_string()))?;
                Driver::server(now, server_endpoint(slot as u8, &[2; KEY_BYTES]), config)
            }
        };
        let own = Segment::private(SegmentSpec::worker(SegmentKind::Frontend, slot), 0).map_err(|e| Failed(e.to_string()))?;
        let shared = (Rc::clone(&self.world), Rc::clone(&self.directory), Rc::clone(&self.inbox));
        let mut desk = Desk::simulated::<G>(driver, slot, incarnation, shared, own, now);
        desk.bound(self.interest, MAX_SNAPSHOT_BYTES);
        Ok(Office { desk, incarnation, due_us: now_us, woken: false, late_us: 0 })
    }

    /// Whether a front-end's snapshots ever lacked room.
    pub(super) fn put_off(&self) -> bool {
        self.offices.iter().any(|office| office.desk.put_off() > 0)
    }

    pub(super) fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// What `fsck` finds.
    pub(super) fn check(&self) -> Result<(), Failed> {
        let report = fsck::check(&self.world, &[(ZONE, self.entry)]);
        if report.problems.is_empty() { Ok(()) } else { Err(Failed(format!("fsck: {:?}", report.problems))) }
    }
}

impl Office {
    /// One turn of the loop.
    pub(super) fn turn(&mut self, base: Instant, now_us: u64, out: &mut impl FnMut(&Transmit, &[u8])) {
        let now = base + Duration::from_micros(now_us);
        self.desk.turn(now, now_us, std::mem::take(&mut self.woken), false, out);
        self.desk.sent(now_us + self.late_us);
        self.desk.greet(now, out);
        let timer = self.desk.driver.next_timeout().map_or(u64::MAX, |at| at.saturating_duration_since(base).as_micros() as u64);
        let most = if self.desk.has_backlog() { 1_000 } else { LOOP_SLEEP_MAX_MS * 1_000 };
        self.due_us = timer.max(now_us + 1).min(now_us + most);
    }
}
