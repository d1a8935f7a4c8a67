//! The inbox against a queue: every committed record is drained exactly once a life of the sim, in order and unchanged, whoever
//! dies.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::inbox::{Appended, Batch, Inbox};
use crate::layout::{InboxControl, RecordHeader, RecordKind, inbox};
use crate::limits::{MAX_RECORD_PAYLOAD, MIN_INBOX_BYTES};
use crate::lock::{Locked, RobustLock};
use crate::memory::{Memory, Words};

#[test]
fn the_inbox_follows_the_model() {
    super::follow::<Ring>(64, 20..160);
}

const PRODUCERS: usize = 3;
const ZONE: usize = 3;
/// The ring lies between two areas of its own size, which nothing may touch.
const BYTES: u64 = MIN_INBOX_BYTES;
const CONTROL: usize = inbox::CONTROLS + ZONE * InboxControl::BYTES;
const DATA: usize = inbox::DATA + BYTES as usize;

#[derive(Clone, Debug)]
enum Step {
    /// A producer adds records with these payload sizes to its batch and tries to append all of that.
    Append { producer: usize, sizes: Vec<usize> },
    /// A producer tries while another holds the lock.
    AppendWhileHeld { producer: usize, sizes: Vec<usize> },
    /// A holder dies in the middle of its copy: words beyond the tail are written, the tail is not.
    HolderDies { words: Vec<u64> },
    /// The sim looks at the tail, or goes by what it saw last, and drains so many records.
    Drain { looks: bool, most: usize },
    /// What was drained is part of a committed world.
    Commit,
    /// The sim dies; its successor drains again from the committed cursor.
    SimDies,
}

/// Producer, its number for the record, payload size.
type Sent = (usize, u32, usize);

#[derive(Clone, Debug, Default)]
struct Model {
    tail: u64,
    /// The drain's cursor, the committed one, and the tail that the sim saw last.
    cursor: u64,
    consumed: u64,
    seen: u64,
    /// Records since the committed cursor with their ends; the first `drained` of them were drained since.
    log: VecDeque<(Sent, u64)>,
    drained: usize,
    /// What each producer still has to append, and how many records it has made.
    pending: [VecDeque<Sent>; PRODUCERS],
    made: [u32; PRODUCERS],
    refused: u64,
    repairs: u64,
    /// Whether the lock's last holder died with it.
    orphaned: bool,
    /// What the last step must give: records appended, or records drained.
    last: Vec<Sent>,
}

fn record_bytes(payload: usize) -> u64 {
    (size_of::<RecordHeader>() + payload.next_multiple_of(8)) as u64
}

impl Model {
    fn make(&mut self, producer: usize, sizes: &[usize]) {
        for size in sizes {
            self.pending[producer].push_back((producer, self.made[producer], *size));
            self.made[producer] += 1;
        }
    }

    fn append(&mut self, producer: usize) {
        self.repairs += u64::from(std::mem::take(&mut self.orphaned));
        while let Some(record) = self.pending[producer].front().copied() {
            let need = record_bytes(record.2);
            let to_the_end = BYTES - self.tail % BYTES;
            let end = self.tail + need + if need > to_the_end { to_the_end } else { 0 };
            if end > self.consumed + BYTES {
                break;
            }
            self.tail = end;
            self.log.push_back((record, end));
            self.last.push(record);
            self.pending[producer].pop_front();
        }
        self.refused += self.pending[producer].len() as u64;
    }

    fn drain(&mut self, most: usize) {
        while self.last.len() < most && self.log.get(self.drained).is_some_and(|(_, end)| *end <= self.seen) {
            let (record, end) = self.log[self.drained];
            self.cursor = end;
            self.last.push(record);
            self.drained += 1;
        }
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![3 => 0..64usize, 1 => Just(MAX_RECORD_PAYLOAD), 1 => 0..=MAX_RECORD_PAYLOAD];
    prop::collection::vec(size, 0..24)
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let start = (0..10_000u64).prop_map(|words| words * 8);
        start.prop_map(|at| Self { tail: at, cursor: at, consumed: at, seen: at, ..Self::default() }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        // Zeros, words that look like records and pads, and anything.
        let like_a_header = (0..7u64, 0..=MAX_RECORD_PAYLOAD as u64).prop_map(|(kind, bytes)| kind << 16 | bytes);
        let word = prop_oneof![Just(0), like_a_header, any::<u64>()];
        prop_oneof![
            12 => (0..PRODUCERS, sizes()).prop_map(|(producer, sizes)| Step::Append { producer, sizes }),
            1 => (0..PRODUCERS, sizes()).prop_map(|(producer, sizes)| Step::AppendWhileHeld { producer, sizes }),
            2 => prop::collection::vec(word, 0..300).prop_map(|words| Step::HolderDies { words }),
            12 => (prop::bool::weighted(0.7), 0..60usize).prop_map(|(looks, most)| Step::Drain { looks, most }),
            6 => Just(Step::Commit),
            1 => Just(Step::SimDies),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        // Who takes an orphaned lock repairs it, so that nobody could hold it before the next append.
        !(state.orphaned && matches!(step, Step::AppendWhileHeld { .. }))
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.last.clear();
        match step {
            Step::Append { producer, sizes } => {
                state.make(*producer, sizes);
                state.append(*producer);
            }
            Step::AppendWhileHeld { producer, sizes } => state.make(*producer, sizes),
            Step::HolderDies { .. } => state.orphaned = true,
            Step::Drain { looks, most } => {
                state.seen = if *looks { state.tail } else { state.seen };
                state.drain(*most);
            }
            Step::Commit => {
                state.consumed = state.cursor;
                state.log.drain(..state.drained);
                state.drained = 0;
            }
            Step::SimDies => {
                (state.cursor, state.seen, state.drained) = (state.consumed, state.consumed, 0);
            }
        }
        state
    }
}

struct Ring {
    memory: Memory,
    ring: Inbox,
    pending: [Batch; PRODUCERS],
    made: [u32; PRODUCERS],
    cursor: u64,
    consumed: u64,
    seen: u64,
}

fn header((producer, number, _): Sent) -> RecordHeader {
    RecordHeader {
        kind: RecordKind::Input as u16,
        attachment: producer as u32,
        session: u64::MAX - u64::from(number),
        sequence: number,
        incarnation: !number,
        bytes: 0,
    }
}

fn payload((producer, number, size): Sent) -> Vec<u8> {
    (0..size).map(|i| (producer * 85 + number as usize * 7 + i) as u8).collect()
}

impl Ring {
    fn make(&mut self, producer: usize, sizes: &[usize]) {
        let mut fresh = Batch::default();
        for size in sizes {
            let record = (producer, self.made[producer], *size);
            fresh.push(header(record), &payload(record));
            self.made[producer] += 1;
        }
        self.pending[producer].absorb(&mut fresh);
        assert!(fresh.is_empty());
    }

    fn append(&mut self, producer: usize) -> Appended {
        self.ring.append(&self.memory, &self.pending[producer], self.consumed).expect("a sound lock")
    }

    /// Plants what a dead holder left: at most all that it was free to write.
    fn holder_dies(&self, words: &[u64]) {
        let tail = self.ring.tail(&self.memory);
        let free = (self.consumed + BYTES - tail) as usize / 8;
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let held = RobustLock::at(CONTROL).try_lock(&self.memory).expect("a sound lock");
                assert!(!matches!(held, Locked::Busy), "nobody else has the lock");
                for (i, word) in words[..words.len().min(free)].iter().enumerate() {
                    self.memory.copy_in(DATA + ((tail + i as u64 * 8) % BYTES) as usize, &[*word]);
                }
                // The thread ends with the lock: for the kernel that is a holder's death.
                std::mem::forget(held);
            });
            // Only a join waits for the thread itself; the scope's end waits for its closure.
            holder.join().expect("it found the lock free");
        });
    }

    fn drain(&mut self, most: usize) -> Vec<Sent> {
        let mut drained = Vec::new();
        while drained.len() < most {
            let next = self.ring.next(&self.memory, &mut self.cursor, self.seen).expect("a sound ring");
            let Some(record) = next else { break };
            let sent = (record.header.attachment as usize, record.header.sequence, record.payload().len());
            assert_eq!(record.kind, Some(RecordKind::Input));
            assert_eq!(RecordHeader { bytes: 0, ..record.header }, header(sent));
            assert_eq!(record.payload(), payload(sent));
            drained.push(sent);
        }
        drained
    }
}

impl StateMachineTest for Ring {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let memory = Memory::heap(inbox::DATA + 3 * BYTES as usize);
        RobustLock::at(CONTROL).initialise(&memory).expect("a new lock");
        memory.atomic(CONTROL + InboxControl::TAIL_OFFSET).store(model.tail, Ordering::Release);
        let ring = Inbox::new(&memory, ZONE, BYTES, BYTES).expect("an area of the segment");
        let (cursor, consumed, seen) = (model.cursor, model.consumed, model.seen);
        Self { memory, ring, pending: Default::default(), made: [0; PRODUCERS], cursor, consumed, seen }
    }

    fn apply(mut ring: Self, model: &Model, step: Step) -> Self {
        match step {
            Step::Append { producer, sizes } => {
                ring.make(producer, &sizes);
                let (records, tail) = (model.last.len(), model.tail);
                let all = model.pending[producer].is_empty();
                let expected = if all { Appended::All(tail) } else { Appended::Part { records, tail } };
                assert_eq!(ring.append(producer), expected);
                ring.pending[producer].consume(records);
            }
            Step::AppendWhileHeld { producer, sizes } => {
                ring.make(producer, &sizes);
                let control = RobustLock::at(CONTROL);
                let held = control.try_lock(&ring.memory).expect("a sound lock");
                assert!(matches!(held, Locked::Clean(_)));
                let appended = ring.ring.append(&ring.memory, &ring.pending[producer], ring.consumed);
                assert_eq!(appended, Ok(Appended::Busy));
            }
            Step::HolderDies { words } => ring.holder_dies(&words),
            Step::Drain { looks, most } => {
                ring.seen = if looks { ring.ring.tail(&ring.memory) } else { ring.seen };
                assert_eq!(ring.drain(most), model.last);
            }
            Step::Commit => ring.consumed = ring.cursor,
            Step::SimDies => (ring.cursor, ring.seen) = (ring.consumed, ring.consumed),
        }
        ring
    }

    fn check_invariants(ring: &Self, model: &Model) {
        assert_eq!((ring.ring.tail(&ring.memory), ring.consumed), (model.tail, model.consumed));
        assert_eq!(ring.ring.refused(&ring.memory), model.refused);
        assert_eq!(ring.ring.repairs(&ring.memory), model.repairs);
        for (batch, pending) in ring.pending.iter().zip(&model.pending) {
            let bytes: u64 = pending.iter().map(|record| record_bytes(record.2)).sum();
            assert_eq!((batch.len(), batch.bytes() as u64), (pending.len(), bytes));
        }
    }

    fn teardown(mut ring: Self, model: Model) {
        ring.seen = ring.ring.tail(&ring.memory);
        let left: Vec<Sent> = model.log.iter().skip(model.drained).map(|(record, _)| *record).collect();
        assert_eq!(ring.drain(usize::MAX), left);
        assert_eq!(ring.cursor, if left.is_empty() { model.cursor } else { model.tail });
        for around in [inbox::DATA, DATA + BYTES as usize] {
            let mut words = vec![0; BYTES as usize / 8];
            ring.memory.copy_out(around, &mut words);
            assert!(words.iter().all(|word| *word == 0), "nothing was written beside the ring");
        }
    }
}
