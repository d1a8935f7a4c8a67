//! A game that fails: once more with the very same records, then without its inputs and commands, then not at all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ringfort_protocol::AckBits;
use ringfort_shm_state::fsck::{Problem, Report};
use ringfort_shm_state::layout::{AttemptEntry, FaultEntry, FaultKind, RootHead, SessionInput, SessionRejected, fault_key};
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::segment::padded;
use ringfort_shm_state::table::Table;

use super::*;
use crate::game::{Description, ZoneLimits};
use crate::limits::{ATTEMPTS_MAX, DEATHS_PER_TICK_MAX, REFUSALS_PER_TICK};
use crate::sim::judge::{Judgement, judge};
use crate::sim::letters::{Kind, Letter};
use crate::sim::zone::OpenError;

thread_local! {
    /// How many steps fail from now on, whatever is in them.
    static FAILING: Cell<u32> = const { Cell::new(0) };
    /// The values on which the game fails.
    static POISON: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
    /// What each tick applied when it ran last.
    static APPLIED: RefCell<BTreeMap<u32, Vec<u32>>> = const { RefCell::new(BTreeMap::new()) };
    static NOW: Cell<u32> = const { Cell::new(0) };
}

/// A step of the game begins.
pub(super) fn step_begins(now: TickNo) {
    NOW.set(now.0);
    APPLIED.with_borrow_mut(|applied| applied.insert(now.0, Vec::new()));
    if FAILING.get() > 0 {
        FAILING.set(FAILING.get() - 1);
        panic!("on purpose");
    }
}

/// The game has applied a value.
pub(super) fn applied(value: u32) {
    APPLIED.with_borrow_mut(|applied| applied.entry(NOW.get()).or_default().push(value));
    assert!(!POISON.with_borrow(|poison| poison.contains(&value)), "{value} is poison");
}

fn poison(values: &[u32]) {
    POISON.set(values.iter().copied().collect());
}

impl Bench<Counting> {
    pub(super) fn judged(&self) -> Judgement {
        let committed = self.world.newest(ZONE).map_or(0, |root| root.head.tick);
        judge(&self.entry, committed, self.world.attempt(ZONE), self.world.fault(ZONE))
    }

    /// As the hook of panics does it.
    fn record_fault(&self) {
        let attempt = self.world.attempt(ZONE).unwrap();
        let key = fault_key(attempt.tick, attempt.attempt, attempt.resumes);
        let text = padded("on purpose at game.rs:1");
        let fault =
            FaultEntry { key, incarnation: 77, kind: FaultKind::Panic as u32, bytes: 23, text, ..FaultEntry::new_zeroed() };
        self.world.record_fault(ZONE, &fault);
    }

    /// The zone's process dies in the midst of a tick.
    fn die(&mut self, mut zone: Zone<Counting>, is_recorded: bool) {
        let died = catch_unwind(AssertUnwindSafe(|| self.step(&mut zone)));
        assert!(died.is_err(), "it was to fail");
        std::mem::forget(zone);
        if is_recorded {
            self.record_fault();
        }
        self.entry.epoch += 1;
    }

    /// Steps once, over as many deaths as it takes.
    fn survive(&mut self, mut zone: Zone<Counting>) -> Zone<Counting> {
        while catch_unwind(AssertUnwindSafe(|| self.step(&mut zone))).is_err() {
            std::mem::forget(zone);
            self.record_fault();
            self.entry.epoch += 1;
            zone = self.start();
        }
        zone
    }

    fn command(&mut self, session: u64, number: u32, n: u32) {
        let mut add = Vec::new();
        ringfort_protocol::Message::to_wire(&Order::Add { n }, &mut add);
        self.push(RecordKind::Command, session, number, &add);
    }

    /// What `ringfort fsck` says of the match.
    fn fsck(&self) -> Report {
        crate::fsck::check_world(&self.world, &[(ZONE, self.entry)], |capacity, _| {
            Description::of::<Counting>(ZoneLimits::of::<Counting>(capacity))
        })
    }

    fn check_match(&self) {
        assert_eq!(self.fsck().problems, []);
    }

    fn rejected(&self, row: &SessionRow) -> AckBits {
        let given_up = self.given_up(row);
        AckBits { highest: given_up.input, bits: given_up.input_bits }
    }
}

fn letters(file: &std::path::Path) -> Vec<Letter> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_second_attempt_takes_exactly_the_records_of_the_first() {
    let (mut bench, zone, row) = one_player();
    bench.input(row.id, 1, 5);
    bench.flush();
    FAILING.set(1);
    bench.die(zone, true);
    // What comes after the death is for the next tick: an input, and a front-end's end, which takes the session along.
    bench.input(row.id, 2, 6);
    bench.flush();
    DirectoryWriter::new(&bench.directory).post(ZONE, 0, MailKind::FrontendDied, 0, 9, "").unwrap();
    let mut zone = bench.start();
    assert_eq!(zone.attempt(), 2);
    assert!(matches!(bench.step(&mut zone), Outcome::Committed { .. }));
    assert_eq!((bench.tally(&row).sum, bench.acked(&row).highest, zone.attempt()), (5, 1, 1));
    assert_eq!((zone.counters.ticks_retried, zone.counters.ticks_rejected), (1, 0));
    bench.step(&mut zone);
    assert_eq!(bench.sessions().len(), 0);
    assert_eq!(bench.judged().next.attempt, 1);
}

#[test]
fn a_death_that_nobody_can_explain_takes_all_records_again_and_rejects_none() {
    let (mut bench, mut zone, row) = one_player();
    bench.input(row.id, 1, 5);
    for deaths in 1..DEATHS_PER_TICK_MAX {
        bench.flush();
        FAILING.set(1);
        bench.die(zone, false);
        assert_eq!((bench.judged().next.deaths, bench.judged().pause), (deaths, None));
        bench.input(row.id, 1 + deaths, 1);
        zone = bench.start();
        assert_eq!(zone.attempt(), 1);
    }
    bench.flush();
    let Err(OpenError::Paused { .. }) = ({
        FAILING.set(1);
        bench.die(zone, false);
        Zone::<Counting>::start(&bench.world, bench.inbox.memory(), ZONE, bench.entry, bench.asks, bench.now)
    }) else {
        panic!("paused")
    };
    bench.entry.resumes += 1;
    let mut zone = bench.start();
    bench.step(&mut zone);
    bench.step(&mut zone);
    assert_eq!(bench.tally(&row).count, DEATHS_PER_TICK_MAX);
}

#[test]
fn a_death_between_a_takeover_and_its_first_tick_counts_for_nothing() {
    let (mut bench, mut zone, row) = one_player();
    for deaths in 0..3 {
        for _ in 0..2 * DEATHS_PER_TICK_MAX {
            zone = bench.restart(zone);
            let judged = bench.judged();
            assert_eq!((judged.next.deaths, judged.next.attempt, judged.pause), (deaths, 1, None));
        }
        FAILING.set(1);
        bench.die(zone, false);
        zone = bench.start();
    }
    bench.input(row.id, 1, 5);
    bench.flush();
    bench.step(&mut zone);
    assert_eq!((bench.tally(&row).sum, bench.judged().next.deaths), (5, 0));
}

#[test]
fn the_third_attempt_gives_inputs_and_commands_up_and_keeps_all_else() {
    let mut bench = Bench::<Counting>::new(4, 64);
    let mut zone = bench.start();
    [1, 2, 3].into_iter().for_each(|nonce| bench.join(nonce));
    bench.flush();
    bench.step(&mut zone);
    let sessions = bench.sessions();
    let (a, b, c) = (sessions[&1], sessions[&2], sessions[&3]);
    // Of two inputs of one tick the second waits in its session's row.
    bench.input(b.id, 1, 10);
    bench.input(b.id, 2, 11);
    bench.flush();
    bench.step(&mut zone);
    poison(&[666]);
    bench.input(a.id, 1, 666);
    bench.input(b.id, 3, 12);
    bench.input(b.id, 1, 10);
    bench.command(b.id, 1, 7);
    bench.command(b.id, 1, 7);
    bench.push(RecordKind::Leave, c.id, 0, &1u64.to_ne_bytes());
    bench.input(c.id, 1, 13);
    bench.join(4);
    bench.flush();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dead-letters.jsonl");
    for attempt in 1..ATTEMPTS_MAX {
        bench.die(zone, true);
        zone = bench.start();
        zone.keep_dead_letters(file.clone());
        assert_eq!(zone.attempt(), attempt + 1);
    }
    bench.input(a.id, 2, 20);
    bench.flush();
    assert!(matches!(bench.step(&mut zone), Outcome::Committed { .. }));
    let counted = zone.counters;
    assert_eq!((counted.ticks_rejected, counted.inputs_rejected, counted.commands_rejected), (1, 3, 1));
    assert_eq!(bench.sessions().keys().copied().collect::<Vec<_>>(), [1, 2, 4], "who left has left, who joined has joined");
    assert_eq!(bench.rejected(&a).iter().collect::<Vec<_>>(), [1]);
    assert_eq!(bench.rejected(&b).iter().collect::<Vec<_>>(), [3, 2]);
    assert_eq!((bench.acked(&a), bench.acked(&b).iter().collect::<Vec<_>>()), (AckBits::NONE, vec![1]));
    assert_eq!((bench.inputs(&b).queued, bench.given_up(&b).command, bench.sessions()[&2].command), (0, 1, 1));
    let written: Vec<_> =
        letters(&file).into_iter().map(|l| (l.session, l.kind, l.sequence, l.bytes, l.view, l.reason, l.tick)).collect();
    let hex = |value| {
        let mut bytes = Vec::new();
        ringfort_protocol::Input::to_wire(&Value { value }, &mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let of = |row: &SessionRow, sequence, value| {
        (row.id, Kind::Input, sequence, hex(value), Some(sequence), "on purpose at game.rs:1".to_owned(), 4)
    };
    assert_eq!(written[..3], [of(&b, 2, 11), of(&a, 1, 666), of(&b, 3, 12)]);
    assert_eq!((written.len(), written[3].1, written[3].2), (4, Kind::Command, 1));
    // The client does not know yet, and sends what was given up again, with what is new.
    bench.input(a.id, 1, 666);
    bench.command(b.id, 1, 7);
    bench.command(b.id, 2, 8);
    bench.flush();
    bench.step(&mut zone);
    bench.step(&mut zone);
    assert_eq!((bench.tally(&a).sum, bench.acked(&a).iter().collect::<Vec<_>>()), (20, vec![2]));
    assert_eq!((bench.tally(&b).sum, bench.tally(&b).commands), (10, 8));
    bench.check_match();
}

#[test]
fn the_third_fault_pauses_and_an_operator_lets_the_match_go_on() {
    let (mut bench, mut zone, row) = one_player();
    bench.input(row.id, 1, 5);
    bench.flush();
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(zone.attempt(), attempt);
        FAILING.set(1);
        bench.die(zone, true);
        if attempt == ATTEMPTS_MAX {
            break;
        }
        zone = bench.start();
    }
    let refused = Zone::<Counting>::start(&bench.world, bench.inbox.memory(), ZONE, bench.entry, bench.asks, bench.now);
    let refused = refused.err().expect("it is paused").to_string();
    assert!(refused.contains("three times") && refused.contains("matches resume"), "{refused}");
    bench.entry.resumes += 1;
    let mut zone = bench.start();
    assert_eq!(zone.attempt(), 1);
    bench.step(&mut zone);
    assert_eq!((bench.tally(&row).sum, bench.rejected(&row)), (5, AckBits::NONE), "nothing was given up by what never passed");
}

#[test]
fn a_hang_is_told_as_such() {
    let (mut bench, zone, row) = one_player();
    bench.input(row.id, 1, 5);
    bench.flush();
    FAILING.set(2);
    bench.die(zone, false);
    (bench.entry.hang_tick, bench.entry.hang_attempt) = (bench.judged().next.tick, 1);
    let zone = bench.start();
    bench.die(zone, false);
    bench.entry.hang_attempt = 2;
    let mut zone = bench.start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dead-letters.jsonl");
    zone.keep_dead_letters(file.clone());
    assert_eq!(zone.attempt(), 3);
    bench.step(&mut zone);
    let written = letters(&file);
    assert_eq!((written.len(), written[0].reason.as_str(), written[0].player.as_str()), (1, "hang", "ada"));
    assert_eq!((bench.tally(&row).count, bench.rejected(&row).highest), (0, 1));
}

#[test]
fn a_fault_in_a_takeover_is_tried_again_without_records() {
    let (mut bench, zone, row) = one_player();
    bench.input(row.id, 1, 5);
    bench.flush();
    drop(zone);
    // The next owner has died before it took any record in, of a panic while the game's indices were rebuilt, say.
    let head = bench.world.newest(ZONE).unwrap().head;
    let RootHead { net_cursor, mail_cursor, .. } = head;
    bench.world.publish_attempt(ZONE, &AttemptEntry { net_cursor, mail_cursor, ..bench.judged().next });
    bench.record_fault();
    bench.entry.epoch += 1;
    let mut zone = bench.start();
    assert_eq!(zone.attempt(), 2);
    bench.step(&mut zone);
    assert_eq!((bench.tally(&row).count, zone.attempt()), (0, 1));
    bench.step(&mut zone);
    assert_eq!(bench.tally(&row).sum, 5);
}

#[test]
fn what_is_behind_more_joins_than_a_tick_refuses_is_given_up_in_a_tick_of_its_own() {
    let joins = REFUSALS_PER_TICK as u8 + 8;
    let mut bench = Bench::<Counting>::new(100, 256);
    let mut zone = bench.start();
    bench.join(200);
    bench.flush();
    bench.step(&mut zone);
    let row = bench.sessions()[&200];
    poison(&[666]);
    bench.input(row.id, 1, 5);
    (1..=joins).for_each(|nonce| bench.join(nonce));
    bench.input(row.id, 2, 666);
    bench.input(row.id, 3, 7);
    bench.flush();
    zone = bench.survive(zone);
    assert_eq!(
        (bench.sessions().len(), bench.rejected(&row).iter().collect::<Vec<_>>()),
        (REFUSALS_PER_TICK as usize + 1, vec![1])
    );
    zone = bench.survive(zone);
    assert_eq!((bench.sessions().len(), bench.rejected(&row).iter().collect::<Vec<_>>()), (joins as usize + 1, vec![3, 2, 1]));
    bench.input(row.id, 4, 9);
    bench.flush();
    bench.step(&mut zone);
    assert_eq!(bench.tally(&row).sum, 9);
    bench.check_match();
}

#[test]
fn what_an_older_attachment_sent_is_neither_applied_nor_given_up() {
    let (mut bench, zone, row) = one_player();
    bench.input(row.id, 1, 5);
    bench.join(1);
    bench.input(row.id, 2, 6);
    bench.command(row.id, 1, 7);
    bench.push(RecordKind::Leave, row.id, 0, &1u64.to_ne_bytes());
    bench.flush();
    FAILING.set(2);
    bench.die(zone, true);
    let zone = bench.start();
    bench.die(zone, true);
    let mut zone = bench.start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dead-letters.jsonl");
    zone.keep_dead_letters(file.clone());
    bench.step(&mut zone);
    assert_eq!(letters(&file).iter().map(|letter| (letter.kind, letter.sequence)).collect::<Vec<_>>(), [(Kind::Input, 1)]);
    assert_eq!((bench.rejected(&row).iter().collect::<Vec<_>>(), bench.sessions()[&1].command), (vec![1], 0));
}

#[test]
fn fsck_finds_an_input_that_is_both_applied_and_given_up() {
    let (mut bench, zone, row) = one_player();
    drop(zone);
    bench.entry.epoch += 1;
    let is = bench.description();
    let (pages, head) = Pages::adopt(Rc::clone(&bench.world), ZONE, 77, bench.entry.epoch as u16, is.pages).unwrap();
    let pages = Rc::new(pages);
    // SAFETY: the only table there, of the type that the engine has there.
    let mut inputs: Table<SessionInput> = unsafe { Table::bind(&pages, is.engine.inputs) };
    // SAFETY: as above.
    let mut rejected: Table<SessionRejected> = unsafe { Table::bind(&pages, is.engine.rejected) };
    assert!(inputs.insert(row.id as u32, SessionInput { highest: 4, bits: 0b001, ..SessionInput::new_zeroed() }));
    assert!(rejected.insert(row.id as u32, SessionRejected { input: 3, input_bits: 0b010, ..SessionRejected::new_zeroed() }));
    let head = RootHead { sessions: 1, tick: head.tick + 1, ..head };
    // SAFETY: no reference into the pages is alive.
    unsafe { pages.commit(head) }.unwrap();
    let report = bench.fsck();
    assert_eq!(report.problems, [Problem::GivenUp { zone: ZONE, row: row.id as u32, sequence: 3 }]);
}

/// A match whose one player's input has made its game fail twice.
fn before_the_third_attempt() -> (Bench<Counting>, Zone<Counting>, SessionRow) {
    let (mut bench, zone, row) = one_player();
    poison(&[666]);
    bench.input(row.id, 1, 666);
    bench.flush();
    bench.die(zone, true);
    let zone = bench.start();
    bench.die(zone, true);
    let zone = bench.start();
    (bench, zone, row)
}

#[test]
fn what_cannot_be_written_is_given_up_all_the_same() {
    let (mut bench, mut zone, row) = before_the_third_attempt();
    let directory = tempfile::tempdir().unwrap();
    zone.keep_dead_letters(directory.path().to_owned());
    assert!(matches!(bench.step(&mut zone), Outcome::Committed { .. }));
    assert_eq!((bench.rejected(&row).highest, zone.counters.inputs_rejected), (1, 1));
}

#[test]
fn a_tick_that_runs_twice_gives_up_once() {
    let (mut bench, mut zone, row) = before_the_third_attempt();
    zone.check_determinism(true);
    bench.step(&mut zone);
    assert_eq!((zone.take_difference(), zone.counters.inputs_rejected, bench.rejected(&row).highest), (None, 1, 1));
}

#[test]
fn over_any_faults_deaths_and_resends_an_input_is_applied_once_or_given_up() {
    for seed in 1..=30u64 {
        let mut rng = seed * 0x9e37_79b9;
        let (mut bench, mut zone, row) = one_player();
        APPLIED.take();
        poison(&(1..400).filter(|value| value % 11 == 7).collect::<Vec<_>>());
        let (mut sent, mut acked, mut given_up) = (0, BTreeSet::new(), BTreeSet::new());
        let waits = |acked: &BTreeSet<u32>, given_up: &BTreeSet<u32>, sent: u32| -> Vec<u32> {
            (1..=sent).filter(|n| !acked.contains(n) && !given_up.contains(n)).collect()
        };
        for round in 0..150 {
            // A client sends what waits again, and no more than sixteen at a time.
            let mut now = waits(&acked, &given_up, sent);
            if now.len() < 8 && round < 140 && !random(&mut rng).is_multiple_of(8) {
                sent += 1;
                now.push(sent);
            }
            now.into_iter().for_each(|sequence| bench.input(row.id, sequence, sequence));
            bench.flush();
            match random(&mut rng) % 8 {
                0 => zone = bench.restart(zone),
                1 => {
                    FAILING.set(1);
                    bench.die(zone, false);
                    zone = bench.start();
                }
                2 => {
                    FAILING.set(1);
                    bench.die(zone, true);
                    if random(&mut rng).is_multiple_of(2) {
                        waits(&acked, &given_up, sent).into_iter().for_each(|sequence| bench.input(row.id, sequence, sequence));
                        bench.flush();
                    }
                    zone = bench.start();
                }
                _ => {}
            }
            zone = bench.survive(zone);
            acked.extend(bench.acked(&row).iter());
            given_up.extend(bench.rejected(&row).iter());
            assert!(acked.is_disjoint(&given_up), "seed {seed}: {acked:?} and {given_up:?}");
        }
        let mut applied: Vec<u32> = APPLIED.take().into_values().flatten().collect();
        applied.sort_unstable();
        assert_eq!(applied, acked.iter().copied().collect::<Vec<_>>(), "seed {seed}: what is acknowledged was applied once");
        assert_eq!(waits(&acked, &given_up, sent), Vec::<u32>::new(), "seed {seed}: nothing is left over");
        assert!(given_up.iter().any(|n| n % 11 == 7) && acked.len() > 60, "seed {seed}: {given_up:?}");
        assert_eq!(bench.tally(&row).count as usize, acked.len(), "seed {seed}");
        bench.check_match();
    }
}
