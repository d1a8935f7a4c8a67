//! First come, first asked; bounds that put off and lose nothing; answers that count once.

use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::segment::{Segment, SegmentSpec};

use super::*;

/// Requests of one match that may be asked at one time.
const SHARE: usize = 64;

/// A desk beside a hook process's counters.
struct Bench {
    instance: String,
    segment: Segment,
    desk: Desk,
    now: Instant,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for path in ringfort_shm_state::segment::leftovers(&self.instance) {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Bench {
    fn new(test: &str) -> Bench {
        let instance = format!("desk-{}-{test}", std::process::id());
        let segment = Segment::create(&instance, SegmentSpec::worker(SegmentKind::Hook, 0)).unwrap();
        Bench { instance, segment, desk: Desk::new(SHARE), now: Instant::now() }
    }

    fn follow(&mut self, match_id: u64, ids: impl IntoIterator<Item = u64>, results: &[u64]) -> bool {
        let waiting = |id| Waiting { question: question(match_id, id), is_result: results.contains(&id) };
        self.desk.follow(match_id, ids.into_iter().map(waiting).collect(), &WorkerPage::new(&self.segment))
    }

    fn hear(&mut self, news: News) {
        self.desk.hear(news, self.now, &WorkerPage::new(&self.segment));
    }

    fn answer(&mut self, match_id: u64, id: u64, answer: Result<&str, &str>) {
        self.hear(News::Answer(Key { match_id, id }, answer.map(str::to_owned).map_err(str::to_owned)));
    }

    /// Asks all that may be asked.
    fn ask(&mut self) -> Vec<(u64, u64)> {
        let mut asked = Vec::new();
        while let Some((question, _)) = self.desk.next_question(self.now) {
            let key = question.key();
            self.desk.asked(key);
            asked.push((key.match_id, key.id));
        }
        asked
    }

    fn count(&self, counter: usize) -> u64 {
        WorkerPage::new(&self.segment).counter(counter)
    }
}

fn question(match_id: u64, id: u64) -> Question {
    let text = String::new;
    Question { instance: text(), match_name: text(), match_id, id, topic: text(), session: None, name: text(), body: text() }
}

#[test]
fn who_came_first_is_asked_first_and_once() {
    let mut bench = Bench::new("turns");
    bench.follow(9, [1, 2], &[]);
    bench.follow(3, [1], &[]);
    bench.follow(9, [1, 2, 3], &[]);
    assert_eq!(bench.ask(), [(9, 1), (9, 2), (3, 1), (9, 3)]);
    assert_eq!(bench.ask(), []);
    bench.hear(News::Forgotten);
    assert_eq!(bench.ask(), [(3, 1), (9, 1), (9, 2), (9, 3)], "a new hook is asked for all again");
    assert_eq!(bench.desk.pending(), 4);
}

#[test]
fn what_has_left_its_outbox_is_forgotten_wherever_it_was() {
    let mut bench = Bench::new("gone");
    bench.follow(1, 1..=4, &[]);
    bench.ask();
    bench.answer(1, 2, Ok("yes"));
    bench.hear(News::Again(Key { match_id: 1, id: 3 }));
    bench.follow(1, [5, 6], &[]);
    assert_eq!((bench.desk.pending(), bench.count(count::GONE)), (2, 4));
    assert_eq!(bench.desk.next_answers(bench.now), []);
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.ask(), [(1, 5), (1, 6)]);
    bench.answer(1, 1, Ok("late"));
    assert_eq!(bench.count(count::STRAY_ANSWERS), 1);
    bench.desk.clear(1, &WorkerPage::new(&bench.segment));
    assert_eq!((bench.desk.pending(), bench.desk.asked), (0, 0));
}

#[test]
fn no_more_is_asked_than_may_be_and_no_more_kept() {
    let mut bench = Bench::new("bounds");
    let most = HOOK_DESK_MAX as u64;
    let of_each = most / 8;
    (1..=8).for_each(|match_id| assert!(bench.follow(match_id, 1..=of_each, &[])));
    assert!(!bench.follow(9, [1], &[]), "the desk is full");
    assert_eq!(bench.desk.pending(), HOOK_DESK_MAX);
    assert_eq!(bench.ask().len(), HOOK_IN_FLIGHT_MAX);
    bench.answer(1, 1, Ok(""));
    assert_eq!(bench.ask(), [(1, SHARE as u64 + 1)]);
    assert!(bench.follow(1, 2..=of_each, &[]) && bench.follow(9, [1], &[]));
}

#[test]
fn a_match_whose_requests_nobody_answers_holds_up_no_other() {
    let mut bench = Bench::new("share");
    bench.follow(1, 1..=400, &[]);
    bench.follow(2, 1..=3, &[]);
    let asked = bench.ask();
    assert_eq!(asked.iter().filter(|(match_id, _)| *match_id == 1).count(), SHARE);
    assert_eq!(asked[SHARE..], [(2, 1), (2, 2), (2, 3)]);
    bench.answer(1, 7, Ok(""));
    assert_eq!(bench.ask(), [(1, SHARE as u64 + 1)], "the next of the match, in its turn");
    bench.hear(News::Forgotten);
    assert_eq!((bench.ask().len(), bench.desk.asked), (SHARE + 3, SHARE + 3));
    bench.desk.clear(1, &WorkerPage::new(&bench.segment));
    assert_eq!((bench.desk.asked, bench.desk.held.len(), bench.desk.asked_by.len()), (3, 0, 1));
}

#[test]
fn a_match_that_takes_no_answers_holds_up_no_other() {
    let mut bench = Bench::new("stuck");
    let long = "x".repeat(ASK_BODY_BYTES);
    for match_id in 1..=3 {
        bench.follow(match_id, 1..=20, &[]);
        bench.ask();
        (1..=20).for_each(|id| bench.answer(match_id, id, Ok(&long)));
    }
    // Matches 1 and 2 are full; what one request has room for is less than their answers.
    let mut told = Vec::new();
    for _ in 0..200 {
        for answer in bench.desk.next_answers(bench.now) {
            let key = Key { match_id: answer.match_id, id: answer.id };
            if key.match_id == 3 {
                bench.desk.posted(key);
                told.push(key.id);
            } else {
                bench.desk.refused(key.match_id, bench.now);
            }
        }
    }
    assert_eq!(told, (1..=20).collect::<Vec<u64>>());
    assert_eq!(bench.desk.next_answers(bench.now), [], "the full ones are left alone");
    bench.now += Duration::from_millis(HOOK_POST_AGAIN_MS);
    let first = bench.desk.next_answers(bench.now);
    assert!(first.iter().any(|answer| answer.match_id == 1), "and then tried again, from their first");
    assert!(first.iter().all(|answer| answer.id == 1 || answer.match_id > 2));
}

#[test]
fn failures_are_asked_again_ever_later_and_a_result_until_it_is_taken() {
    let mut bench = Bench::new("again");
    bench.follow(1, [1], &[1]);
    let mut delays = Vec::new();
    for _ in 0..8 {
        assert_eq!(bench.ask(), [(1, 1)]);
        // A hook that cannot take a result has failed, not answered.
        bench.answer(1, 1, Err("no room"));
        let asked_at = bench.now;
        while bench.desk.next_question(bench.now).is_none() {
            bench.now += Duration::from_millis(1);
        }
        delays.push((bench.now - asked_at).as_millis() as u64);
    }
    assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, HOOK_RETRY_MAX_MS, HOOK_RETRY_MAX_MS]);
    bench.ask();
    bench.answer(1, 1, Ok("whatever"));
    let taken = HookAnswer { match_id: 1, id: 1, verdict: HookVerdict::Taken, text: String::new() };
    assert_eq!(bench.desk.next_answers(bench.now), [taken]);
    bench.desk.posted(Key { match_id: 1, id: 1 });
    assert_eq!((bench.desk.next_answers(bench.now), bench.desk.pending()), (vec![], 1), "it is done when its row is gone");
}

#[test]
fn answers_fit_a_mailbox_and_the_control_socket() {
    let mut bench = Bench::new("fit");
    bench.desk = Desk::new(HOOK_IN_FLIGHT_MAX);
    bench.follow(1, 1..=200, &[]);
    bench.ask();
    let (long, most) = ("ä".repeat(ASK_BODY_BYTES), "\u{1}".repeat(ASK_BODY_BYTES));
    bench.answer(1, 1, Ok(&long));
    bench.answer(1, 2, Err(&long));
    (3..=200).for_each(|id| bench.answer(1, id, Ok(&most)));
    let mut posted = 0;
    while let answers = bench.desk.next_answers(bench.now)
        && !answers.is_empty()
    {
        let request = crate::supervisor::control::Request::HookAnswers { answers: answers.clone() };
        let line = serde_json::to_vec(&request).unwrap();
        assert!(line.len() < crate::limits::CONTROL_LINE_BYTES_MAX, "{} bytes", line.len());
        for HookAnswer { match_id, id, verdict, text } in answers {
            assert!(text.len() <= ASK_BODY_BYTES && (id > 2 || verdict == HookVerdict::Failed));
            bench.desk.posted(Key { match_id, id });
            posted += 1;
        }
    }
    assert_eq!((posted, bench.count(count::FAILED), bench.count(count::ANSWERED)), (200, 2, 198));
}
