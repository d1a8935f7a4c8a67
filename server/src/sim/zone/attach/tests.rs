//! Attach, detach, resume and expiry, record by record, with the process replaced between any two ticks.

use ringfort_protocol::control::Code;
use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::layout::{DETACHED, JoinRecord, MailKind, RecordKind, RefusalRow, ResumeRecord, SessionRow, ZoneEntry};
use ringfort_shm_state::segment::padded;
use zerocopy::{FromZeros, IntoBytes};

use crate::sim::bench::{Bench, ZONE};
use crate::sim::tests::Counting;

type Zone = super::Zone<Counting>;

/// Ticks of the grace period, at the bench's ten a second.
const GRACE: u32 = 5;

struct Scene {
    bench: Bench<Counting>,
    zone: Option<Zone>,
}

/// The hash of a token by its number; 0 is none.
fn hash(token: u8) -> [u8; 32] {
    [token; 32]
}

impl Scene {
    /// A match with a session that was given token 1 over front-end 3.
    fn new(grace_ms: u32) -> Scene {
        let mut bench = Bench::<Counting>::new(4, 64);
        bench.entry = ZoneEntry { grace_ms, ..bench.entry };
        let zone = Some(bench.start());
        let mut scene = Scene { bench, zone };
        scene.join(1, 1, 3);
        scene.tick();
        scene
    }

    fn join(&mut self, token: u8, attempt: u64, frontend: u32) {
        let (nonce, token_hash) = ([9; 16], hash(token));
        let (incarnation, name) = (7, padded("ada"));
        let join = JoinRecord { nonce, token_hash, attempt, frontend, incarnation, name, ..JoinRecord::new_zeroed() };
        self.bench.push(RecordKind::Join, 0, 0, join.as_bytes());
    }

    fn resume_as(&mut self, name: &str, shown: u8, token: u8, attempt: u64, frontend: u32) {
        let (shown_hash, token_hash, name) = (hash(shown), hash(token), padded(name));
        let resume =
            ResumeRecord { shown_hash, token_hash, attempt, frontend, incarnation: 7, name, ..ResumeRecord::new_zeroed() };
        let id = self.row().map_or(1, |row| row.id);
        self.bench.push(RecordKind::Resume, id, 0, resume.as_bytes());
    }

    fn resume(&mut self, shown: u8, token: u8, attempt: u64, frontend: u32) {
        self.resume_as("ada", shown, token, attempt, frontend);
    }

    fn record(&mut self, kind: RecordKind, attachment: u32, payload: &[u8]) {
        let id = self.row().expect("a session").id;
        self.bench.push_attached(kind, id, attachment, 0, payload);
    }

    fn detach(&mut self, attachment: u32) {
        self.record(RecordKind::Detach, attachment, &[]);
    }

    /// A record that only who has the newest token can send.
    fn prove(&mut self, attachment: u32) {
        self.record(RecordKind::EventAck, attachment, &0u64.to_ne_bytes());
    }

    /// One tick, by another process than the one before.
    fn tick(&mut self) {
        self.bench.flush();
        let mut zone = self.zone.take().expect("a zone");
        self.bench.step(&mut zone);
        self.zone = Some(self.bench.restart(zone));
    }

    fn row(&self) -> Option<SessionRow> {
        self.bench.sessions().get(&9).copied()
    }

    /// Front-end, attachment, and the tokens that count.
    fn attached(&self) -> Option<(u32, u32, u8, u8)> {
        self.row().map(|row| (row.frontend, row.attachment, row.resume_hash[0], row.used_hash[0]))
    }

    /// The code with which the resume that brought a token was refused.
    fn refusal(&self, token: u8) -> Option<Code> {
        let (mirror, is) = self.bench.mirror();
        let mut rows = mirror.iter::<RefusalRow>(is.engine.refusals).map(|(_, row)| row);
        let row = rows.find(|row| row.nonce == [token; 16])?;
        Code::from_u64(row.code.into())
    }
}

#[test]
fn a_session_outlives_its_connection_for_the_grace_period_and_no_tick_longer() {
    let mut scene = Scene::new(GRACE * 100);
    scene.detach(1);
    scene.tick();
    let row = scene.row().unwrap();
    assert_eq!((row.frontend, row.connection, row.attachment), (DETACHED, 0, 1));
    let since = row.detached;
    for _ in 1..GRACE {
        scene.tick();
        assert_eq!(scene.row().map(|row| row.detached), Some(since));
    }
    scene.tick();
    assert!(scene.row().is_none());
    scene.bench.check();
}

#[test]
fn without_a_grace_period_a_lost_connection_is_the_end() {
    let mut scene = Scene::new(0);
    scene.detach(1);
    scene.tick();
    assert!(scene.row().is_none());
}

#[test]
fn a_resume_attaches_anew_and_the_shown_token_dies_at_the_first_record_after_it() {
    let mut scene = Scene::new(GRACE * 100);
    scene.detach(1);
    scene.tick();
    scene.resume(1, 2, 5, 4);
    scene.tick();
    assert_eq!(scene.attached(), Some((4, 2, 2, 1)));
    assert_eq!(scene.row().unwrap().detached, 0);
    // A record of the older attachment says nothing.
    scene.prove(1);
    scene.tick();
    assert_eq!(scene.attached(), Some((4, 2, 2, 1)));
    scene.prove(2);
    scene.tick();
    assert_eq!(scene.attached(), Some((4, 2, 2, 0)));
    // Stolen, and shown too late.
    scene.resume(1, 3, 99, 1);
    scene.tick();
    assert_eq!((scene.attached(), scene.refusal(3)), (Some((4, 2, 2, 0)), Some(Code::ResumeRefused)));
    (0..2 * GRACE).for_each(|_| scene.tick());
    assert!(scene.row().is_some(), "its grace period is over with the resume");
    scene.bench.check();
}

#[test]
fn who_never_got_its_new_token_shows_the_old_one_again() {
    let mut scene = Scene::new(GRACE * 100);
    scene.resume(1, 2, 5, 4);
    scene.tick();
    scene.resume(1, 3, 6, 0);
    scene.tick();
    assert_eq!(scene.attached(), Some((0, 3, 3, 1)));
    // The one that was never heard of opens nothing, nor does an older connection that comes late.
    scene.resume(2, 4, 7, 1);
    scene.resume(1, 5, 6, 1);
    scene.resume(1, 6, 5, 1);
    scene.tick();
    assert_eq!(scene.attached(), Some((0, 3, 3, 1)));
    assert_eq!([4, 5, 6].map(|token| scene.refusal(token)), [Some(Code::ResumeRefused); 3]);
}

#[test]
fn of_two_resumes_in_one_tick_the_later_connection_has_the_session() {
    for (attempts, winner) in [((5, 6), 3), ((6, 5), 2), ((5, 5), 2)] {
        let mut scene = Scene::new(GRACE * 100);
        scene.resume(1, 2, attempts.0, 4);
        scene.resume(1, 3, attempts.1, 5);
        scene.tick();
        assert_eq!(scene.attached().map(|(_, _, newest, used)| (newest, used)), Some((winner, 1)), "{attempts:?}");
    }
}

#[test]
fn nothing_else_opens_a_session() {
    let mut scene = Scene::new(GRACE * 100);
    let id = scene.row().unwrap().id;
    scene.resume(8, 2, 5, 4);
    scene.resume(0, 3, 5, 4);
    scene.resume_as("eve", 1, 4, 5, 4);
    let gone = ResumeRecord { shown_hash: hash(1), token_hash: hash(5), name: padded("ada"), ..ResumeRecord::new_zeroed() };
    scene.bench.push(RecordKind::Resume, id + (1 << 32), 0, gone.as_bytes());
    scene.bench.push(RecordKind::Resume, id, 0, &gone.as_bytes()[1..]);
    scene.tick();
    assert_eq!(scene.attached(), Some((3, 1, 1, 0)));
    assert_eq!([2, 3, 4, 5].map(|token| scene.refusal(token)), [Some(Code::ResumeRefused); 4]);
}

#[test]
fn a_join_that_was_never_heard_of_is_found_by_its_nonce_and_brings_a_new_token() {
    let mut scene = Scene::new(GRACE * 100);
    scene.join(2, 5, 4);
    scene.tick();
    assert_eq!(scene.attached(), Some((4, 2, 2, 1)));
    // The first one comes late.
    scene.join(3, 4, 3);
    scene.tick();
    assert_eq!(scene.attached(), Some((4, 2, 2, 1)));
}

#[test]
fn a_front_ends_death_detaches_its_sessions_and_no_successors() {
    let mut scene = Scene::new(GRACE * 100);
    let died = |scene: &Scene, incarnation| {
        let consumed = scene.bench.world.newest(ZONE).unwrap().head.mail_cursor;
        DirectoryWriter::new(&scene.bench.directory).post(ZONE, consumed, MailKind::FrontendDied, 3, incarnation, "").unwrap();
    };
    died(&scene, 6);
    scene.tick();
    assert_eq!(scene.attached(), Some((3, 1, 1, 0)), "it is another incarnation's");
    died(&scene, 7);
    scene.tick();
    assert_eq!(scene.attached(), Some((DETACHED, 1, 1, 0)));
    scene.resume(1, 2, 5, 4);
    scene.tick();
    died(&scene, 7);
    scene.tick();
    assert_eq!(scene.attached(), Some((4, 2, 2, 1)));
}

#[test]
fn records_of_the_time_before_the_connection_was_lost_still_count() {
    let mut scene = Scene::new(GRACE * 100);
    let row = scene.row().unwrap();
    scene.bench.input(row.id, 1, 1);
    scene.detach(1);
    scene.tick();
    assert_eq!(scene.bench.acked(&row).highest, 1);
    scene.resume(1, 2, 5, 4);
    // Of the older attachment, and behind the resume.
    scene.bench.input(row.id, 2, 1);
    scene.tick();
    assert_eq!(scene.bench.acked(&row).highest, 1);
}
