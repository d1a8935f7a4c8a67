//! A match in shared memory, as supervisor and front-end see it, and the sims that own it one after the other: forked processes.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::rc::Rc;

use ringfort::game::{AskRules, Description, ZoneLimits};
use ringfort::sim::fault;
use ringfort::sim::zone::{Outcome, Zone};
use ringfort_protocol::AckBits;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::fsck;
use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
use ringfort_shm_state::kill_point::{Action, arm};
use ringfort_shm_state::layout::{
    EventRow, JoinRecord, RecordHeader, RecordKind, SegmentKind, SessionInput, SessionRejected, SessionRow, ZoneEntry, ZoneState,
};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, leftovers, padded};
use ringfort_shm_state::world::World;
use rustix::process::{Pid, WaitOptions, waitpid};
use zerocopy::{FromZeros, IntoBytes};

use crate::game::{Noted, Tally, Value};

/// The match's slot, its number, and the bytes of its inbox.
const ZONE: usize = 3;
const MATCH: u64 = 77;
const INBOX_BYTES: u64 = 1 << 14;
const EXTENTS: u64 = 48;
/// Ticks of a sim's life that nobody ends, and after which it hands the match over.
const TICKS: u32 = 5;
/// Exit codes: the life is over; the game failed; an assertion did not hold.
const DONE: i32 = 0;
const GAME_FAILED: i32 = 9;
const WRONG: i32 = 101;
/// Time between two ticks.
const PERIOD_US: u64 = 100_000;

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It handed the match over.
    Released,
    /// It died where it was to.
    Killed,
    /// The game failed.
    Failed,
}

/// All of it.
pub struct Stage {
    name: String,
    letters: PathBuf,
    world: Rc<World>,
    inboxes: Segment,
    directory: Segment,
    is: Description,
    entry: ZoneEntry,
}

/// What the match has come to.
#[derive(Debug)]
pub struct Account {
    pub tally: Tally,
    pub acknowledged: AckBits,
    pub rejected: AckBits,
    /// Numbers of the session's reliable events.
    pub events: Vec<u64>,
    /// Sequences in the file of dead letters.
    pub letters: Vec<u32>,
}

impl Stage {
    /// A match of which nothing is open yet. `number` tells stages of this process apart.
    pub fn new(number: u32) -> Stage {
        let name = format!("zk-{}-{number}", std::process::id());
        let make = |spec: SegmentSpec| {
            Segment::create(&name, spec)
                .and_then(|_| Segment::open(&name, spec, Access::ReadWrite))
                .unwrap_or_else(|e| panic!("{e}"))
        };
        let limits = ZoneLimits::of::<Noted>(4);
        let is = Description::of::<Noted>(limits).expect("the game has such a match");
        let entry = ZoneEntry {
            incarnation: MATCH,
            state: ZoneState::Open as u32,
            epoch: 1,
            tick_hz: 10,
            capacity: limits.capacity,
            max_entities: limits.max_entities,
            inbox_bytes: INBOX_BYTES,
            seed: 9,
            tables_hash: is.tables_hash,
            name: padded("kills"),
            ..ZoneEntry::new_zeroed()
        };
        let letters = std::env::temp_dir().join(format!("{name}.jsonl"));
        let world = Rc::new(World::new(make(SegmentSpec::world(EXTENTS))));
        let inboxes = make(SegmentSpec::inbox(SegmentKind::InboxNet, INBOX_BYTES));
        let directory = make(SegmentSpec::DIRECTORY);
        Stage { name, letters, world, inboxes, directory, is, entry }
    }

    /// A sim's life: it takes the match over, or opens it, makes some ticks, and hands it over. With a place at which it dies.
    pub fn life(&mut self, armed: Option<&'static str>) -> Ended {
        // SAFETY: this process has one thread, so nothing is in an undefined state in the child, which ends by `_exit`.
        let pid = match unsafe { libc::fork() } {
            0 => {
                let code = std::panic::catch_unwind(AssertUnwindSafe(|| self.run(armed))).unwrap_or(GAME_FAILED);
                // SAFETY: ends the process at once; nothing of it is used any more.
                unsafe { libc::_exit(code) }
            }
            pid => Pid::from_raw(pid).expect("fork gives a process id"),
        };
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).expect("a child").expect("it has ended");
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(DONE), _) => Ended::Released,
            (Some(GAME_FAILED), _) => Ended::Failed,
            (_, Some(libc::SIGKILL)) => Ended::Killed,
            other => panic!("a sim's life ended with {other:?}; its message is above"),
        };
        // Released, it is the next one's under the next epoch; otherwise it is granted anew, with one that nobody waits for.
        let released = self.world.published(ZONE).epoch == self.entry.epoch as u16 + 1;
        assert!(released || ended != Ended::Released, "a match that was handed over has the next epoch");
        self.entry.epoch += if released { 1 } else { 2 };
        let report = fsck::check(&self.world, &[(ZONE, self.entry)]);
        assert_eq!(report.problems, [], "after a life that {ended:?}");
        ended
    }

    /// What the child does.
    fn run(&self, armed: Option<&'static str>) -> i32 {
        if let Some(name) = armed {
            arm(name, 1, Action::Kill);
        }
        let directory = Directory::new(&self.directory);
        let memory = self.inboxes.memory();
        fault::install(&self.world).expect("handlers of signals");
        let asks = AskRules { timeout_ticks: Some(50) };
        let started = Zone::<Noted>::start(&self.world, memory, ZONE, self.entry, asks, PERIOD_US);
        let mut zone = match started {
            Ok(zone) => zone,
            Err(error) => {
                eprintln!("the match is not taken over: {error}");
                return WRONG;
            }
        };
        zone.keep_dead_letters(self.letters.clone());
        for _ in 0..TICKS {
            let due = self.world.newest(ZONE).map_or(0, |root| u64::from(root.head.tick)) * PERIOD_US + 2 * PERIOD_US;
            match zone.step(&self.world, memory, directory, due, || due) {
                Outcome::Committed { .. } => {}
                other => {
                    eprintln!("a tick came to {other:?}");
                    return WRONG;
                }
            }
        }
        if !zone.may_be_released() || zone.release(self.entry.epoch as u16 + 1).is_err() {
            eprintln!("the match is not handed over");
            return WRONG;
        }
        DONE
    }

    fn append(&self, kind: RecordKind, session: u64, sequence: u32, payload: &[u8]) {
        let attachment = u32::from(session != 0);
        let header = RecordHeader { bytes: 0, kind: kind as u16, attachment, session, sequence, incarnation: MATCH as u32 };
        let mut batch = Batch::default();
        batch.push(header, payload);
        let memory = self.inboxes.memory();
        let inbox = Inbox::new(memory, ZONE, 0, INBOX_BYTES).expect("an inbox");
        let consumed = self.world.consumed(ZONE, MATCH).expect("a root");
        let appended = inbox.append(memory, &batch, consumed).expect("nobody else has the lock");
        assert!(matches!(appended, Appended::All(_)), "{appended:?}");
    }

    /// A player comes in.
    pub fn join(&self) {
        let join = JoinRecord { nonce: [1; 16], name: padded("ada"), ..JoinRecord::new_zeroed() };
        self.append(RecordKind::Join, 0, 0, join.as_bytes());
    }

    /// The player's input of a number.
    pub fn input(&self, sequence: u32, value: u32) {
        let (session, _) = self.player();
        let mut bytes = Vec::new();
        ringfort_protocol::Input::to_wire(&Value { value }, &mut bytes);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        self.append(RecordKind::Input, session.id, sequence, &bytes);
    }

    fn mirror(&self) -> Mirror {
        let mut mirror = Mirror::new(ZONE);
        mirror.refresh(&self.world).unwrap_or_else(|e| panic!("{e}"));
        mirror
    }

    fn player(&self) -> (SessionRow, SessionInput) {
        let mirror = self.mirror();
        let (slot, row) = mirror.iter::<SessionRow>(self.is.engine.sessions).next().expect("the player has joined");
        (row, mirror.get(&self.is.engine.inputs, slot).expect("its inputs"))
    }

    /// What the newest root says of the player.
    pub fn account(&self) -> Account {
        let mirror = self.mirror();
        let (row, input) = self.player();
        let rejected: Option<SessionRejected> = mirror.get(&self.is.engine.rejected, row.id as u32);
        let bytes = mirror.row(&self.is.columns[0], row.entity_index).expect("its tally");
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let applied = u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes"));
        let mut events: Vec<u64> = mirror
            .iter::<EventRow>(self.is.engine.events)
            .filter(|(_, event)| event.session == row.id)
            .map(|(_, event)| event.number)
            .collect();
        events.sort_unstable();
        let text = std::fs::read_to_string(&self.letters).unwrap_or_default();
        let letter = |line: &str| -> u32 {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
            letter["sequence"].as_u64().expect("a number") as u32
        };
        let mut letters: Vec<u32> = text.lines().map(letter).collect();
        letters.sort_unstable();
        letters.dedup();
        Account {
            tally: Tally { applied, doubled: word(8), events: word(12) },
            acknowledged: AckBits { highest: input.highest, bits: input.bits },
            rejected: rejected.map_or(AckBits::NONE, |row| AckBits { highest: row.input, bits: row.input_bits }),
            events,
            letters,
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        leftovers(&self.name).iter().for_each(|path| drop(std::fs::remove_file(path)));
        let _ = std::fs::remove_file(&self.letters);
    }
}
