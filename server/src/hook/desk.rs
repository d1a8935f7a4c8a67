//! Which request is where: waiting to be asked, asked, answered, or posted to its match. Sans-IO; a request leaves when its row does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringfort_shm_state::limits::ASK_BODY_BYTES;
use ringfort_shm_state::segment::cut;
use ringfort_shm_state::worker::WorkerPage;

use super::counters as count;
use super::{Key, News, Question};
use crate::limits::{HOOK_IN_FLIGHT_MAX, HOOK_POST_BYTES, HOOK_RETRY_MAX_MS, HOOK_RETRY_MIN_MS};
use crate::supervisor::control::{HookAnswer, HookVerdict};

/// A request that waits in an outbox.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) question: Question,
    /// It wants to be taken, not answered.
    pub(super) is_result: bool,
}

/// Where a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It is to be asked, not before a time if one is given.
    New { not_before: Option<Instant> },
    /// The hook has it.
    Asked,
    /// The hook has answered; the match is to be told.
    Answered(HookAnswer),
    /// It stands in the match's mailbox.
    Posted,
}

struct Entry {
    waiting: Waiting,
    stage: Stage,
    /// Times that it was asked.
    tries: u32,
}

/// All requests that wait.
#[derive(Default)]
pub(super) struct Desk {
    entries: BTreeMap<Key, Entry>,
    asked: usize,
}

impl Desk {
    /// Requests that are not done.
    pub(super) fn pending(&self) -> usize {
        self.entries.len()
    }

    /// What waits in a match is exactly this.
    pub(super) fn follow(&mut self, match_id: u64, waiting: impl Iterator<Item = Waiting>, page: &WorkerPage<'_>) {
        let mut there = BTreeSet::new();
        for waiting in waiting {
            let key = waiting.question.key();
            there.insert(key);
            self.entries.entry(key).or_insert(Entry { waiting, stage: Stage::New { not_before: None }, tries: 0 });
        }
        self.drop_but(match_id, &there, page);
    }

    /// Nothing waits in a match any more.
    pub(super) fn clear(&mut self, match_id: u64, page: &WorkerPage<'_>) {
        self.drop_but(match_id, &BTreeSet::new(), page);
    }

    fn drop_but(&mut self, match_id: u64, there: &BTreeSet<Key>, page: &WorkerPage<'_>) {
        let range = Key { match_id, id: 0 }..=Key { match_id, id: u64::MAX };
        let gone: Vec<Key> = self.entries.range(range).map(|(key, _)| *key).filter(|key| !there.contains(key)).collect();
        for key in gone {
            let Some(entry) = self.entries.remove(&key) else { continue };
            self.asked -= usize::from(entry.stage == Stage::Asked);
            // What has left before it was answered was given up by its match, or its match is over.
            page.add(count::GONE, u64::from(entry.stage != Stage::Posted));
        }
    }

    /// The next request that the hook is to be asked, and whether it was asked before.
    pub(super) fn next_question(&self, now: Instant) -> Option<(&Question, bool)> {
        if self.asked >= HOOK_IN_FLIGHT_MAX {
            return None;
        }
        let is_due = |entry: &&Entry| matches!(entry.stage, Stage::New { not_before } if not_before.is_none_or(|at| at <= now));
        self.entries.values().find(is_due).map(|entry| (&entry.waiting.question, entry.tries > 0))
    }

    /// The hook has a request.
    pub(super) fn asked(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.stage = Stage::Asked;
            entry.tries = entry.tries.saturating_add(1);
            self.asked += 1;
        }
    }

    /// The hook says something.
    pub(super) fn hear(&mut self, news: News, now: Instant, page: &WorkerPage<'_>) {
        match news {
            News::Answer(key, answer) => self.answer(key, answer, now, page),
            News::Again(key) => {
                page.add(count::WEB_FAILURES, 1);
                self.put_off(key, now);
            }
            News::Forgotten => {
                for entry in self.entries.values_mut().filter(|entry| entry.stage == Stage::Asked) {
                    entry.stage = Stage::New { not_before: None };
                }
                self.asked = 0;
            }
        }
    }

    fn answer(&mut self, key: Key, answer: Result<String, String>, now: Instant, page: &WorkerPage<'_>) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.stage == Stage::Asked) else {
            page.add(count::STRAY_ANSWERS, 1);
            return;
        };
        let (counter, verdict, text) = match (entry.waiting.is_result, fitting(answer)) {
            (true, Ok(_)) => (count::RESULTS_TAKEN, HookVerdict::Taken, String::new()),
            (true, Err(_)) => {
                page.add(count::FAILED, 1);
                return self.put_off(key, now);
            }
            (false, Ok(text)) => (count::ANSWERED, HookVerdict::Answered, text),
            (false, Err(text)) => (count::FAILED, HookVerdict::Failed, text),
        };
        page.add(counter, 1);
        entry.stage = Stage::Answered(HookAnswer { match_id: key.match_id, id: key.id, verdict, text });
        self.asked -= 1;
    }

    fn put_off(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.stage == Stage::Asked) else { return };
        let delay = HOOK_RETRY_MIN_MS.checked_shl(entry.tries.saturating_sub(1).min(32)).unwrap_or(HOOK_RETRY_MAX_MS);
        entry.stage = Stage::New { not_before: Some(now + Duration::from_millis(delay.min(HOOK_RETRY_MAX_MS))) };
        self.asked -= 1;
    }

    /// Answers for the supervisor, as many as one request has room for; at most one that has none, which it would have to cut.
    pub(super) fn to_be_posted(&self) -> Vec<HookAnswer> {
        let mut bytes = 0;
        let answered = self.entries.values().filter_map(|entry| match &entry.stage {
            Stage::Answered(answer) => Some(answer.clone()),
            _ => None,
        });
        answered
            .take_while(|answer| {
                let before = bytes;
                // In JSON a byte of text takes six at most.
                bytes += 128 + 6 * answer.text.len();
                before == 0 || bytes <= HOOK_POST_BYTES
            })
            .collect()
    }

    /// An answer stands in its match's mailbox.
    pub(super) fn posted(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.stage = Stage::Posted;
        }
    }
}

/// An answer that fits a mailbox; one that does not is a failure, not half an answer. Of a failure's reason the beginning will do.
fn fitting(answer: Result<String, String>) -> Result<String, String> {
    match answer {
        Ok(text) if text.len() > ASK_BODY_BYTES => {
            Err(format!("the answer has {} bytes, at most {ASK_BODY_BYTES} fit", text.len()))
        }
        Ok(text) => Ok(text),
        Err(mut why) => {
            why.truncate(cut(&why, ASK_BODY_BYTES).len());
            Err(why)
        }
    }
}
