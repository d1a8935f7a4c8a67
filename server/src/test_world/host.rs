//! A zone on memory of this process, and what a front-end and a supervisor would put into its inbox and its mailbox.

use std::rc::Rc;

use ringfort_protocol::SessionId;
use ringfort_protocol::token::hash_secret;
use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
use ringfort_shm_state::layout::{
    JoinRecord, RecordHeader, RecordKind, ResumeRecord, SegmentKind, SessionRow, Verdict, ZoneEntry, ZoneState,
};
use ringfort_shm_state::limits::MAX_INBOX_BYTES;
use ringfort_shm_state::segment::{Segment, SegmentError, SegmentSpec, padded};
use ringfort_shm_state::world::World;
use zerocopy::{FromZeros, IntoBytes};

use crate::config::{Config, Options};
use crate::game::{AskRules, Game};
use crate::limits::TEST_ASK_TIMEOUT_S;
use crate::sim::zone::{OpenError, Outcome, Zone};
use crate::supervisor::errors::MatchError;
use crate::supervisor::rules::Rules;

/// The zone's slot in the world, the directory and the inbox.
pub(super) const SLOT: usize = 0;
/// The match. A second one never lives in the same memory.
const MATCH: u64 = 1;
/// The front-end that all sessions are of.
const FRONTEND: u32 = 0;
const MICROSECONDS: u64 = 1_000_000;

/// What a match is made with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) options: Options,
    pub(super) tick_hz: Option<u32>,
    pub(super) rewind_ms: u32,
    pub(super) seed: u64,
    pub(super) hook: bool,
    pub(super) spectators: u32,
    pub(super) check_determinism: bool,
}

/// A match that cannot be.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Match(#[from] MatchError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Memory(#[from] SegmentError),
}

pub(super) struct Host<G: Game> {
    pub(super) world: Rc<World>,
    pub(super) entry: ZoneEntry,
    directory: Segment,
    inbox: Segment,
    asks: AskRules,
    check_determinism: bool,
    batch: Batch,
    now_us: u64,
    /// Nothing only while one takes over from another.
    zone: Option<Zone<G>>,
}

impl<G: Game> Host<G> {
    /// Opens the match, which is its first tick.
    pub(super) fn new(setup: &Setup) -> Result<Self, SetupError> {
        let config = Config { tick_hz: setup.tick_hz, rewind_ms: setup.rewind_ms, ..Config::default() };
        let plan = Rules::of::<G>(&config).plan(&setup.options, setup.spectators)?;
        let entry = ZoneEntry {
            incarnation: MATCH,
            state: ZoneState::Open as u32,
            epoch: 1,
            tick_hz: plan.tick_hz,
            capacity: plan.capacity,
            spectators: setup.spectators,
            max_entities: plan.max_entities,
            rewind_ms: plan.rewind_ms,
            grace_ms: plan.grace_ms,
            inbox_bytes: MAX_INBOX_BYTES,
            seed: setup.seed,
            tables_hash: plan.tables_hash,
            name: padded("test"),
            options: padded(&plan.options),
            ..ZoneEntry::new_zeroed()
        };
        let mut host = Self {
            world: Rc::new(World::heap(plan.extents)),
            entry,
            directory: Segment::private(SegmentSpec::DIRECTORY, 1)?,
            inbox: Segment::private(SegmentSpec::inbox(SegmentKind::InboxNet, MAX_INBOX_BYTES), 1)?,
            asks: AskRules { timeout_ticks: setup.hook.then_some(TEST_ASK_TIMEOUT_S * plan.tick_hz) },
            check_determinism: setup.check_determinism,
            batch: Batch::default(),
            now_us: MICROSECONDS,
            zone: None,
        };
        host.start()?;
        Ok(host)
    }

    fn start(&mut self) -> Result<(), OpenError> {
        let mut zone = Zone::start(&self.world, self.inbox.memory(), SLOT, self.entry, self.asks, self.now_us)?;
        zone.check_determinism(self.check_determinism);
        self.zone = Some(zone);
        Ok(())
    }

    /// The process is gone, and another takes over.
    pub(super) fn restart(&mut self) -> Result<(), OpenError> {
        self.zone = None;
        self.entry.epoch += 1;
        self.start()
    }

    pub(super) fn zone(&self) -> &Zone<G> {
        self.zone.as_ref().expect("a zone that could not be taken over has panicked")
    }

    /// What the last tick differed in when it ran again.
    pub(super) fn take_difference(&mut self) -> Option<String> {
        self.zone.as_mut().and_then(Zone::take_difference)
    }

    pub(super) fn step(&mut self) -> Outcome {
        self.flush();
        self.now_us += MICROSECONDS / u64::from(self.entry.tick_hz.max(1));
        let now = self.now_us;
        let zone = self.zone.as_mut().expect("as in `zone`");
        zone.step(&self.world, self.inbox.memory(), Directory::new(&self.directory), now, || now)
    }

    pub(super) fn push_join(&mut self, nonce: [u8; 16], name: &str, spectate: bool) {
        let join = JoinRecord {
            nonce,
            spectate: spectate.into(),
            frontend: FRONTEND,
            incarnation: 1,
            token_hash: hash_secret(&nonce),
            name: padded(name),
            ..JoinRecord::new_zeroed()
        };
        self.push(RecordKind::Join, SessionId::NOBODY, 0, 0, join.as_bytes());
    }

    /// A resume of a session by its newest token.
    pub(super) fn push_resume(&mut self, row: &SessionRow) {
        let resume = ResumeRecord {
            shown_hash: row.resume_hash,
            token_hash: hash_secret(&row.resume_hash),
            attempt: row.attempt + 1,
            frontend: FRONTEND,
            incarnation: 1,
            name: row.name,
            ..ResumeRecord::new_zeroed()
        };
        self.push(RecordKind::Resume, SessionId(row.id), 0, 0, resume.as_bytes());
    }

    pub(super) fn push(&mut self, kind: RecordKind, who: SessionId, attachment: u32, sequence: u32, payload: &[u8]) {
        let incarnation = self.entry.incarnation as u32;
        self.batch.push(RecordHeader { bytes: 0, kind: kind as u16, attachment, session: who.0, sequence, incarnation }, payload);
    }

    /// Posts an answer from outside.
    pub(super) fn answer(&self, ask: u64, verdict: Verdict, text: &str) {
        let consumed = self.world.newest(SLOT).map_or(0, |root| root.head.mail_cursor);
        DirectoryWriter::new(&self.directory)
            .post_answer(SLOT, consumed, ask, verdict, text)
            .expect("the mailbox has room for some answers a tick: step the world between them");
    }

    fn flush(&mut self) {
        let inbox = Inbox::new(self.inbox.memory(), SLOT, 0, MAX_INBOX_BYTES).expect("it was made of this size");
        let consumed = self.world.consumed(SLOT, MATCH).expect("the match has committed its opening");
        let appended = inbox.append(self.inbox.memory(), &self.batch, consumed).expect("nobody else has the lock");
        assert!(matches!(appended, Appended::All(_)), "more was sent in one tick than an inbox holds: step the world between");
        self.batch.consume(self.batch.len());
    }
}
