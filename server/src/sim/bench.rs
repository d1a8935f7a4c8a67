//! A zone stepped without processes, for tests of the sim and of the front-end.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::fsck;
use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
use ringfort_shm_state::layout::{JoinRecord, RecordHeader, RecordKind, SegmentKind, SessionRow, ZoneEntry, ZoneState};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::{Segment, SegmentSpec, padded};
use ringfort_shm_state::world::World;
use zerocopy::{FromZeros, IntoBytes};

use super::zone::{Outcome, Zone};
use crate::game::{AskRules, Description, Game, ZoneLimits};

/// A zone's segments, in memory of this process alone.
pub(crate) struct Bench<G> {
    pub(crate) directory: Segment,
    pub(crate) inbox: Segment,
    pub(crate) world: Rc<World>,
    pub(crate) entry: ZoneEntry,
    batch: Batch,
    pub(crate) now: u64,
    pub(crate) asks: AskRules,
    game: PhantomData<G>,
}

pub(crate) const ZONE: usize = 5;

impl<G: Game> Bench<G> {
    pub(crate) fn new(capacity: u32, extents: usize) -> Self {
        let directory = Segment::private(SegmentSpec::DIRECTORY, 0).unwrap();
        let inbox = Segment::private(SegmentSpec::inbox(SegmentKind::InboxNet, 1 << 16), ZONE + 1).unwrap();
        let limits = ZoneLimits::of::<G>(capacity);
        let description = Description::of::<G>(limits).unwrap();
        let entry = ZoneEntry {
            incarnation: 77,
            state: ZoneState::Open as u32,
            epoch: 1,
            tick_hz: 10,
            rewind_ms: 1000,
            capacity,
            max_entities: limits.max_entities,
            inbox_bytes: 1 << 14,
            seed: 9,
            tables_hash: description.tables_hash,
            name: padded("test"),
            ..ZoneEntry::new_zeroed()
        };
        let world = Rc::new(World::heap(extents));
        Self {
            directory,
            inbox,
            world,
            entry,
            batch: Batch::default(),
            now: 1_000_000,
            asks: AskRules { timeout_ticks: Some(50) },
            game: PhantomData,
        }
    }

    pub(crate) fn start(&mut self) -> Zone<G> {
        Zone::start(&self.world, self.inbox.memory(), ZONE, self.entry, self.asks, self.now).unwrap()
    }

    /// The process that stepped the zone is gone; a successor of the next epoch takes over.
    pub(crate) fn restart(&mut self, zone: Zone<G>) -> Zone<G> {
        drop(zone);
        self.entry.epoch += 1;
        self.start()
    }

    pub(crate) fn step(&mut self, zone: &mut Zone<G>) -> Outcome {
        self.now += 100_000;
        let now = self.now;
        zone.step(&self.world, self.inbox.memory(), Directory::new(&self.directory), now, || now)
    }

    /// Lets the time of so many ticks go by without one.
    pub(crate) fn wait(&mut self, ticks: u32) {
        self.now += u64::from(ticks) * 100_000;
    }

    pub(crate) fn push(&mut self, kind: RecordKind, session: u64, sequence: u32, payload: &[u8]) {
        self.push_attached(kind, session, 1, sequence, payload);
    }

    pub(crate) fn push_attached(&mut self, kind: RecordKind, session: u64, attachment: u32, sequence: u32, payload: &[u8]) {
        let header = RecordHeader { bytes: 0, kind: kind as u16, attachment, session, sequence, incarnation: 77 };
        self.batch.push(header, payload);
    }

    pub(crate) fn flush(&mut self) {
        let inbox = Inbox::new(self.inbox.memory(), ZONE, 0, 1 << 14).unwrap();
        let consumed = self.world.consumed(ZONE, 77).unwrap();
        let appended = inbox.append(self.inbox.memory(), &self.batch, consumed).unwrap();
        assert!(matches!(appended, Appended::All(_)));
        self.batch.consume(self.batch.len());
    }

    pub(crate) fn join(&mut self, nonce: u8) {
        let join = JoinRecord { nonce: [nonce; 16], name: padded("ada"), ..JoinRecord::new_zeroed() };
        self.push(RecordKind::Join, 0, 0, join.as_bytes());
    }

    pub(crate) fn description(&self) -> Description {
        Description::of::<G>(ZoneLimits::of_entry(&self.entry)).unwrap()
    }

    pub(crate) fn mirror(&self) -> (Mirror, Description) {
        let limits = ZoneLimits::of_entry(&self.entry);
        let mut mirror = Mirror::new(ZONE);
        mirror.refresh(&self.world).unwrap();
        (mirror, Description::of::<G>(limits).unwrap())
    }

    pub(crate) fn sessions(&self) -> BTreeMap<u8, SessionRow> {
        let (mirror, is) = self.mirror();
        mirror.iter::<SessionRow>(is.engine.sessions).map(|(_, row)| (row.nonce[0], row)).collect()
    }

    pub(crate) fn acked(&self, row: &SessionRow) -> ringfort_protocol::AckBits {
        let input = self.inputs(row);
        ringfort_protocol::AckBits { highest: input.highest, bits: input.bits }
    }

    pub(crate) fn inputs(&self, row: &SessionRow) -> ringfort_shm_state::layout::SessionInput {
        let (mirror, is) = self.mirror();
        mirror.get(&is.engine.inputs, row.id as u32).unwrap()
    }

    pub(crate) fn verdicts(&self, row: &SessionRow) -> [u32; 4] {
        let (mirror, is) = self.mirror();
        let highest = self.inputs(row).highest;
        let verdict = mirror.get::<ringfort_shm_state::layout::SessionVerdict>(&is.engine.verdicts, row.id as u32);
        verdict.map_or([0; 4], |verdict| verdict.seen_from(highest))
    }

    pub(crate) fn given_up(&self, row: &SessionRow) -> ringfort_shm_state::layout::SessionRejected {
        let (mirror, is) = self.mirror();
        mirror.get(&is.engine.rejected, row.id as u32).unwrap_or_else(zerocopy::FromZeros::new_zeroed)
    }

    pub(crate) fn check(&self) {
        let report = fsck::check(&self.world, &[(ZONE, self.entry)]);
        assert_eq!(report.problems, []);
    }
}

/// A seeded stream for schedules.
pub(crate) fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
