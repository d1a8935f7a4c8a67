//! Which request is where: waiting to be asked, asked, answered, or posted to its match. Sans-IO; a request leaves when its row does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ringfort_shm_state::limits::ASK_BODY_BYTES;
use ringfort_shm_state::segment::cut;
use ringfort_shm_state::worker::WorkerPage;

use super::counters as count;
use super::{Key, News, Question};
use crate::limits::{HOOK_DESK_MAX, HOOK_IN_FLIGHT_MAX, HOOK_POST_BYTES, HOOK_RETRY_MAX_MS, HOOK_RETRY_MIN_MS};
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
    /// It is to be asked, in its turn.
    New,
    /// It is to be asked again at this time.
    PutOff(Instant),
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
    /// Requests that are to be asked, first come, first asked; some may be gone.
    turns: VecDeque<Key>,
    /// Requests that are to be asked again, by time; some may be gone.
    put_off: BTreeSet<(Instant, Key)>,
    /// Requests that the hook has.
    asked: usize,
    /// Requests whose matches are to be told.
    answered: BTreeSet<Key>,
}

impl Desk {
    /// Requests that are not done.
    pub(super) fn pending(&self) -> usize {
        self.entries.len()
    }

    /// What waits in a match is exactly this. `false` when there was no room for all of it.
    pub(super) fn follow(&mut self, match_id: u64, waiting: Vec<Waiting>, page: &WorkerPage<'_>) -> bool {
        let there: BTreeSet<Key> = waiting.iter().map(|waiting| waiting.question.key()).collect();
        self.drop_but(match_id, &there, page);
        for waiting in waiting {
            let key = waiting.question.key();
            if self.entries.contains_key(&key) {
                continue;
            }
            if self.entries.len() >= HOOK_DESK_MAX {
                return false;
            }
            self.entries.insert(key, Entry { waiting, stage: Stage::New, tries: 0 });
            self.turns.push_back(key);
        }
        true
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
            self.answered.remove(&key);
            if let Stage::PutOff(at) = entry.stage {
                self.put_off.remove(&(at, key));
            }
            // What has left before it was answered was given up by its match, or its match is over.
            page.add(count::GONE, u64::from(entry.stage != Stage::Posted));
        }
    }

    /// The next request that the hook is to be asked, and whether it was asked before.
    pub(super) fn next_question(&mut self, now: Instant) -> Option<(&Question, bool)> {
        if self.asked >= HOOK_IN_FLIGHT_MAX {
            return None;
        }
        while let Some((at, key)) = self.put_off.first().copied().filter(|(at, _)| *at <= now) {
            self.put_off.remove(&(at, key));
            self.renew(key);
        }
        let is_new = |key: &Key| self.entries.get(key).is_some_and(|entry| entry.stage == Stage::New);
        let gone = self.turns.iter().take_while(|key| !is_new(key)).count();
        self.turns.drain(..gone);
        let entry = &self.entries[self.turns.front()?];
        Some((&entry.waiting.question, entry.tries > 0))
    }

    /// Has a request asked in its turn.
    fn renew(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.stage = Stage::New;
            self.turns.push_back(key);
        }
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
                let asked = |(key, entry): (&Key, &Entry)| (entry.stage == Stage::Asked).then_some(*key);
                let asked: Vec<Key> = self.entries.iter().filter_map(asked).collect();
                asked.into_iter().for_each(|key| self.renew(key));
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
        self.answered.insert(key);
    }

    fn put_off(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.stage == Stage::Asked) else { return };
        let delay = HOOK_RETRY_MIN_MS.checked_shl(entry.tries.saturating_sub(1).min(32)).unwrap_or(HOOK_RETRY_MAX_MS);
        let at = now + Duration::from_millis(delay.min(HOOK_RETRY_MAX_MS));
        entry.stage = Stage::PutOff(at);
        self.put_off.insert((at, key));
        self.asked -= 1;
    }

    /// Answers for the supervisor, as many as one request has room for.
    pub(super) fn to_be_posted(&self) -> Vec<HookAnswer> {
        let mut bytes = 0;
        let answered = self.answered.iter().filter_map(|key| match &self.entries.get(key)?.stage {
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
            self.answered.remove(&key);
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

#[cfg(test)]
mod tests;
