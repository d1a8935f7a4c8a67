//! Requests leave with a commit and answers are applied once, over restarts, full mailboxes, full outboxes and full arenas.

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::fsck::Problem;
use ringfort_shm_state::layout::{AskKind, MailKind, RecordKind, SessionRow, Verdict, ZoneEntry};
use ringfort_shm_state::limits::{ASK_BODY_BYTES, ASK_TOPIC_BYTES, MAILBOX_RECORDS};

use super::super::{Outcome, Zone};
use crate::game::{Ask, AskRules};
use crate::limits::{ASKS_MIN, LINGER_MS, RESULTS_MAX};
use crate::prelude::*;
use crate::sim::bench::{Bench, ZONE, random};

/// What became of requests.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    /// Answers.
    answered: u32,
    /// Bytes of all answers.
    bytes: u32,
    /// Sum of the numbers of the requests that were answered.
    numbers: u32,
    /// Failures that the hook has told.
    failed: u32,
    /// Requests that nobody answered in time.
    timed_out: u32,
    /// Requests that nobody heard.
    unheard: u32,
    /// Requests that were not made.
    refused: u32,
    /// The newest request.
    last: AskId,
}

#[derive(State)]
struct Asking {
    ents: Entities,
    #[sync(all)]
    told: Global<Told>,
}

#[derive(Input, Clone, Copy, Debug, Default)]
struct Nothing {
    #[q(max = 1)]
    unused: u8,
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
enum Order {
    /// So many requests of so many bytes.
    Ask { count: u32, bytes: u32 },
    /// Ends the match with a result of so many bytes.
    Finish { bytes: u32 },
    /// Asks what cannot be asked.
    Misuse,
}

impl Game for Asking {
    const HZ: u32 = 10;
    const CAPACITY: u32 = 4;
    type Input = Nothing;
    type Command = Order;
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, t: &Tick<Self>, who: SessionId, _why: Why) {
        t.ask("save", Some(who), "").expect("room");
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, order: &Order) {
        match order {
            Order::Ask { count, bytes } => {
                for n in 0..*count {
                    match t.ask("load", Some(who), &text(n, *bytes)) {
                        Ok(id) => self.told.last = id,
                        Err(_) => self.told.refused += 1,
                    }
                }
            }
            Order::Finish { bytes } => {
                self.told.refused += u32::from(t.close_with(&text(0, *bytes)).is_err());
            }
            Order::Misuse => {
                let long = "x".repeat(ASK_TOPIC_BYTES + 1);
                let bodies = "x".repeat(ASK_BODY_BYTES + 1);
                let wrong = [("", ""), (long.as_str(), ""), ("result", ""), ("load", bodies.as_str())];
                self.told.refused += wrong.iter().filter(|(topic, body)| t.ask(topic, None, body).is_err()).count() as u32;
            }
        }
    }

    fn answer(&mut self, t: &Tick<Self>, answer: &Answer<'_>) {
        if answer.body == Ok("ask again") {
            self.told.last = t.ask("load", answer.about, "again").expect("room");
        }
        assert_eq!(answer.topic, "load");
        match answer.body {
            Ok(body) => {
                self.told.answered += 1;
                self.told.bytes += body.len() as u32;
                self.told.numbers += answer.id.number() as u32;
            }
            Err(AnswerError::Failed(why)) => {
                assert_eq!(why, "no such player");
                self.told.failed += 1;
            }
            Err(AnswerError::TimedOut) => self.told.timed_out += 1,
            Err(AnswerError::NoHook) => self.told.unheard += 1,
        }
    }

    fn step(&mut self, _t: &Tick<Self>) {}
}

/// A body of so many bytes that tells which it is.
fn text(n: u32, bytes: u32) -> String {
    let mut text = format!("{n} ");
    text.extend(std::iter::repeat_n('x', bytes as usize));
    text.truncate(bytes as usize);
    text
}

/// A zone with one player, and the numbers of the commands that the player has given.
struct Play {
    bench: Bench<Asking>,
    row: SessionRow,
    commands: u32,
}

impl Play {
    fn begin(capacity: u32, asks: AskRules) -> (Self, Zone<Asking>) {
        let mut bench = Bench::<Asking>::new(capacity, 64);
        bench.asks = asks;
        let mut zone = bench.start();
        bench.join(1);
        bench.flush();
        bench.step(&mut zone);
        let row = bench.sessions()[&1];
        (Self { bench, row, commands: 0 }, zone)
    }

    fn order(&mut self, order: Order) {
        self.commands += 1;
        let mut bytes = Vec::new();
        ringfort_protocol::Message::to_wire(&order, &mut bytes);
        self.bench.push(RecordKind::Command, self.row.id, self.commands, &bytes);
        self.bench.flush();
    }

    /// A tick that is committed.
    fn step(&mut self, zone: &mut Zone<Asking>) {
        assert!(matches!(self.bench.step(zone), Outcome::Committed { .. }));
    }

    /// What waits, by a mirror of the outbox alone.
    fn waiting(&self) -> Vec<Ask> {
        let (_, is) = self.bench.mirror();
        let mut mirror = ringfort_shm_state::mirror::Mirror::of_pages(ZONE, is.engine.outbox.pages());
        mirror.refresh(&self.bench.world).unwrap();
        let asks = is.engine.outbox.read(&mirror);
        assert_eq!(mirror.head().unwrap().asks as usize, asks.len());
        assert_eq!(mirror.head().unwrap().results as usize, asks.iter().filter(|ask| ask.kind == AskKind::Result).count());
        asks
    }

    fn told(&self) -> Told {
        let (mirror, is) = self.bench.mirror();
        let bytes = mirror.row(&is.globals[0], 0).unwrap();
        let word = |i: usize| u32::from_ne_bytes(bytes[i * 4..i * 4 + 4].try_into().unwrap());
        let last = u64::from_ne_bytes(bytes[std::mem::offset_of!(Told, last)..][..8].try_into().unwrap());
        let at = |field: usize| word(field / 4);
        Told {
            answered: at(std::mem::offset_of!(Told, answered)),
            bytes: at(std::mem::offset_of!(Told, bytes)),
            numbers: at(std::mem::offset_of!(Told, numbers)),
            failed: at(std::mem::offset_of!(Told, failed)),
            timed_out: at(std::mem::offset_of!(Told, timed_out)),
            unheard: at(std::mem::offset_of!(Told, unheard)),
            refused: at(std::mem::offset_of!(Told, refused)),
            last: AskId(last),
        }
    }

    /// Whether the answer found room in the mailbox.
    fn post(&self, number: u64, verdict: Verdict, text: &str) -> bool {
        let consumed = self.bench.world.newest(ZONE).unwrap().head.mail_cursor;
        DirectoryWriter::new(&self.bench.directory).post_answer(ZONE, consumed, number, verdict, text).is_ok()
    }

    fn check(&self) {
        let zones = [(ZONE, self.bench.entry)];
        let describe = |capacity, _| crate::game::Description::of::<Asking>(crate::game::ZoneLimits::of::<Asking>(capacity));
        assert_eq!(crate::fsck::check_world(&self.bench.world, &zones, describe).problems, []);
    }
}

const HEARD: AskRules = AskRules { timeout_ticks: Some(50) };

#[test]
fn a_request_stands_in_the_commit_with_its_player_and_its_answer_counts_once() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    play.order(Order::Ask { count: 2, bytes: 5 });
    play.step(&mut zone);
    let waiting = play.waiting();
    let expected = |number, body: &str| Ask {
        number,
        kind: AskKind::Question,
        session: play.row.id,
        topic: "load".into(),
        name: "ada".into(),
        body: body.into(),
    };
    assert_eq!(waiting, [expected(1, "0 xxx"), expected(2, "1 xxx")]);
    let long = "ä".repeat(ASK_BODY_BYTES / 2);
    assert!(play.post(2, Verdict::Answered, &long) && play.post(2, Verdict::Answered, "again"));
    assert!(play.post(7, Verdict::Answered, "never asked"));
    play.step(&mut zone);
    assert!(play.post(1, Verdict::Failed, "no such player"));
    play.step(&mut zone);
    assert_eq!(play.told(), Told { answered: 1, bytes: 2048, numbers: 2, failed: 1, last: AskId(2), ..Told::default() });
    assert_eq!(play.waiting(), []);
    assert_eq!((zone.counters.asks_answered, zone.counters.answers_ignored), (2, 2));
    play.check();
}

#[test]
fn every_answer_counts_once_over_restarts_repeats_and_a_mailbox_that_is_full() {
    let mut full = 0;
    for seed in 1..=30u64 {
        let mut rng = seed * 0x9e37_79b9;
        let (mut play, mut zone) = Play::begin(4, AskRules { timeout_ticks: Some(100_000) });
        let mut bytes = 0;
        for _ in 0..100 {
            if random(&mut rng).is_multiple_of(3) {
                play.order(Order::Ask { count: (random(&mut rng) % 4) as u32, bytes: (random(&mut rng) % 300) as u32 });
            }
            let mut waiting: Vec<u64> = play.waiting().iter().map(|ask| ask.number).collect();
            waiting.truncate((random(&mut rng) % 6) as usize);
            for number in waiting {
                // The same answer may come twice, and then counts once.
                let text = "y".repeat((number * 37 % 2000) as usize);
                full += u32::from(!play.post(number, Verdict::Answered, &text));
                if random(&mut rng).is_multiple_of(3) {
                    play.post(number, Verdict::Answered, &text);
                }
            }
            play.step(&mut zone);
            if random(&mut rng).is_multiple_of(4) {
                zone = play.bench.restart(zone);
            }
        }
        for _ in 0..300 {
            for ask in play.waiting() {
                play.post(ask.number, Verdict::Answered, &"y".repeat((ask.number * 37 % 2000) as usize));
            }
            play.step(&mut zone);
        }
        let told = play.told();
        assert_eq!(play.waiting(), [], "seed {seed}");
        let asked = told.last.number();
        (1..=asked).for_each(|number| bytes += (number * 37 % 2000) as u32);
        assert_eq!((u64::from(told.answered), told.bytes), (asked, bytes), "seed {seed}");
        assert_eq!(u64::from(told.numbers), asked * (asked + 1) / 2, "seed {seed}");
        play.check();
    }
    assert!(full > 0, "the mailbox was meant to be too small");
}

#[test]
fn what_nobody_answers_in_time_is_given_up_and_comes_too_late_after_that() {
    let (mut play, mut zone) = Play::begin(4, AskRules { timeout_ticks: Some(3) });
    play.order(Order::Ask { count: 2, bytes: 10 });
    play.step(&mut zone);
    zone = play.bench.restart(zone);
    play.step(&mut zone);
    play.step(&mut zone);
    assert_eq!((play.told().timed_out, play.waiting().len()), (0, 2));
    play.step(&mut zone);
    assert_eq!((play.told().timed_out, play.waiting().len()), (2, 0));
    assert!(play.post(1, Verdict::Answered, "late"));
    play.step(&mut zone);
    assert_eq!((play.told().answered, zone.counters.answers_ignored, zone.counters.asks_given_up), (0, 1, 2));
    play.check();
}

#[test]
fn without_a_hook_a_request_fails_in_the_next_tick() {
    let (mut play, mut zone) = Play::begin(4, AskRules { timeout_ticks: None });
    play.order(Order::Ask { count: 3, bytes: 10 });
    play.step(&mut zone);
    assert!(play.waiting().iter().all(|ask| ask.kind == AskKind::Unheard));
    play.step(&mut zone);
    assert_eq!((play.told().unheard, play.waiting().len()), (3, 0));
}

#[test]
fn a_full_outbox_refuses_requests_and_still_takes_the_result() {
    for bytes in [10, ASK_BODY_BYTES as u32] {
        let (mut play, mut zone) = Play::begin(4, HEARD);
        play.order(Order::Ask { count: ASKS_MIN + 9, bytes });
        play.step(&mut zone);
        let waiting = play.waiting().len() as u32;
        assert_eq!(play.told().refused, ASKS_MIN + 9 - waiting, "{bytes} bytes");
        assert!(waiting <= ASKS_MIN && (bytes > 10 || waiting == ASKS_MIN), "{bytes} bytes: {waiting}");
        assert_eq!(zone.counters.asks_refused, u64::from(play.told().refused));
        play.check();
        (0..=RESULTS_MAX).for_each(|_| play.order(Order::Finish { bytes: ASK_BODY_BYTES as u32 }));
        play.step(&mut zone);
        let results = play.waiting();
        assert_eq!(results.len() as u32, RESULTS_MAX, "the requests were dropped, one result was too many");
        assert!(
            results.iter().all(|ask| ask.kind == AskKind::Result && ask.topic == "result" && ask.body.len() == ASK_BODY_BYTES)
        );
        assert_eq!(zone.counters.asks_dropped, u64::from(waiting));
        play.check();
    }
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    play.order(Order::Misuse);
    play.order(Order::Finish { bytes: ASK_BODY_BYTES as u32 + 1 });
    play.step(&mut zone);
    assert_eq!((play.told().refused, play.waiting()), (5, vec![]));
    assert_eq!(zone.counters.asks_refused, 5);
    play.order(Order::Ask { count: 1, bytes: 1 });
    play.step(&mut zone);
    assert_eq!(play.waiting().len(), 1, "the match was not closed");
}

#[test]
fn a_match_that_is_over_is_kept_until_its_result_is_taken() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    play.order(Order::Finish { bytes: 100 });
    let linger = 10 * LINGER_MS / 1000 + 2;
    for _ in 0..3 * linger {
        play.step(&mut zone);
        zone = play.bench.restart(zone);
    }
    let [result] = play.waiting().try_into().expect("one result");
    assert_eq!((result.kind, result.body), (AskKind::Result, text(0, 100)));
    // An answer is not what it waits for.
    assert!(play.post(result.number, Verdict::Answered, "thanks"));
    play.step(&mut zone);
    assert_eq!((play.waiting().len(), zone.counters.answers_ignored), (1, 1));
    assert!(play.post(result.number, Verdict::Taken, ""));
    play.step(&mut zone);
    assert_eq!((play.waiting().len(), zone.counters.results_taken), (0, 1));
    assert!(matches!(play.bench.step(&mut zone), Outcome::Ended { .. }));
    assert_eq!(play.bench.world.extents_used(), 0);
}

#[test]
fn a_result_waits_for_an_arena_with_room() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    // Neighbours take what is left.
    let neighbour = Bench::<Asking>::new(4, 1);
    let world = std::rc::Rc::clone(&play.bench.world);
    let start = |slot: usize, incarnation, epoch| {
        let template: &ZoneEntry = &neighbour.entry;
        let entry = ZoneEntry { incarnation, epoch, ..*template };
        Zone::<Asking>::start(&world, neighbour.inbox.memory(), slot, entry, HEARD, 0)
    };
    let greedy: Vec<_> = (100..200).map_while(|slot| start(slot, 1000, 1).ok()).collect();
    let slots = 100..100 + greedy.len();
    let mut starved = 0;
    for _ in 0..60 {
        if play.waiting().len() < 20 {
            play.order(Order::Ask { count: 1, bytes: 2000 });
        }
        starved += u32::from(play.bench.step(&mut zone) == Outcome::Starved);
    }
    play.order(Order::Finish { bytes: 100 });
    for _ in 0..20 {
        let starves = play.bench.step(&mut zone) == Outcome::Starved;
        assert!(starves, "the arena was meant to be too small");
        starved += 1;
    }
    assert_eq!(zone.counters.ticks_starved, u64::from(starved));
    drop(greedy);
    for slot in slots {
        // Whoever opens the slot next gives its extents back.
        let mut next = start(slot, 2000, 2).expect("a slot whose owner is dead");
        DirectoryWriter::new(&neighbour.directory).post(slot, 0, MailKind::End, 0, 0, "").unwrap();
        let directory = Directory::new(&neighbour.directory);
        while !matches!(next.step(&world, neighbour.inbox.memory(), directory, 0, || 0), Outcome::Ended { .. }) {}
    }
    for _ in 0..3 {
        play.step(&mut zone);
    }
    assert_eq!(play.waiting().iter().map(|ask| ask.kind).collect::<Vec<_>>(), [AskKind::Result]);
    play.check();
}

#[test]
fn the_mailbox_never_overwrites_what_the_zone_has_not_read() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    play.order(Order::Ask { count: 20, bytes: 1 });
    play.step(&mut zone);
    let posted = (1..=20).filter(|number| play.post(*number, Verdict::Answered, &"z".repeat(700))).count() as u64;
    assert!(posted * 4 <= MAILBOX_RECORDS && posted > 3, "{posted}");
    DirectoryWriter::new(&play.bench.directory).post(ZONE, 0, MailKind::FrontendDied, 9, 9, "").expect("room for news");
    assert_eq!(Directory::new(&play.bench.directory).mail_tail(ZONE), posted * 4 + 1);
    play.step(&mut zone);
    assert_eq!((u64::from(play.told().answered), u64::from(play.told().bytes)), (posted, posted * 700));
}

#[test]
fn what_is_asked_over_a_player_that_leaves_has_its_name() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    play.bench.push(RecordKind::Leave, play.row.id, 0, &1u64.to_ne_bytes());
    play.bench.flush();
    play.step(&mut zone);
    let [save] = play.waiting().try_into().expect("one request");
    assert_eq!((save.topic.as_str(), save.name.as_str(), save.session), ("save", "ada", play.row.id));
}

#[test]
fn an_answer_may_lead_to_the_next_question() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    play.order(Order::Ask { count: 1, bytes: 1 });
    play.step(&mut zone);
    for number in 1..=5 {
        assert!(play.post(number, Verdict::Answered, "ask again"));
        play.step(&mut zone);
        let waiting = play.waiting();
        assert_eq!(waiting.iter().map(|ask| (ask.number, ask.body.as_str())).collect::<Vec<_>>(), [(number + 1, "again")]);
    }
    play.check();
}

#[test]
fn fsck_finds_a_body_without_a_request() {
    let (mut play, mut zone) = Play::begin(4, HEARD);
    play.order(Order::Ask { count: 2, bytes: 9 });
    play.step(&mut zone);
    play.check();
    zone.bound.outbox.borrow_mut().leak();
    play.step(&mut zone);
    let zones = [(ZONE, play.bench.entry)];
    let describe = |capacity, _| crate::game::Description::of::<Asking>(crate::game::ZoneLimits::of::<Asking>(capacity));
    let problems = crate::fsck::check_world(&play.bench.world, &zones, describe).problems;
    assert_eq!(problems, [Problem::Asks { zone: ZONE, counted: 2, found: 2, bodies: 3 }]);
}
