//! Which request is where: waiting to be asked, asked, answered, or posted to its match. Sans-IO; a request leaves when its row does.
//!
//! **Invariant**: a match that takes no answers, or whose requests nobody answers, delays no other match's: each has a share of what is
//! asked at one time, and a match whose mailbox is full is left alone for a while.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use ringfort_shm_state::limits::ASK_BODY_BYTES;
use ringfort_shm_state::segment::cut;
use ringfort_shm_state::worker::WorkerPage;

use super::counters as count;
use super::{Key, News, Question};
use crate::limits::{
    HOOK_DESK_MAX, HOOK_IN_FLIGHT_MAX, HOOK_POST_AGAIN_MS, HOOK_POST_BYTES, HOOK_RETRY_MAX_MS, HOOK_RETRY_MIN_MS,
};
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
pub(super) struct Desk {
    entries: BTreeMap<Key, Entry>,
    /// Requests that are to be asked, first come, first asked; some may be gone.
    turns: VecDeque<Key>,
    /// Requests whose turn has come while their match had its share; some may be gone.
    held: HashMap<u64, VecDeque<Key>>,
    /// Requests that are to be asked again, by time; some may be gone.
    put_off: BTreeSet<(Instant, Key)>,
    /// Requests that the hook has.
    asked: usize,
    /// The same by match.
    asked_by: HashMap<u64, usize>,
    /// Most of one match.
    share: usize,
    /// Requests whose matches are to be told, by match.
    answered: BTreeMap<u64, BTreeSet<u64>>,
    /// Matches in the order in which they are told; some may have nothing to be told.
    posts: VecDeque<u64>,
    /// Matches whose mailboxes were full, and until when they are left alone.
    full: VecDeque<(Instant, u64)>,
}

impl Desk {
    /// An empty one; a match may have so many requests asked at one time.
    pub(super) fn new(share: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            turns: VecDeque::new(),
            held: HashMap::new(),
            put_off: BTreeSet::new(),
            asked: 0,
            asked_by: HashMap::new(),
            share,
            answered: BTreeMap::new(),
            posts: VecDeque::new(),
            full: VecDeque::new(),
        }
    }

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
            if entry.stage == Stage::Asked {
                self.no_longer_asked(match_id);
            }
            self.told(key);
            if let Stage::PutOff(at) = entry.stage {
                self.put_off.remove(&(at, key));
            }
            // What has left before it was answered was given up by its match, or its match is over.
            page.add(count::GONE, u64::from(entry.stage != Stage::Posted));
        }
        if let Some(held) = self.held.get_mut(&match_id) {
            held.retain(|key| there.contains(key));
            if held.is_empty() {
                self.held.remove(&match_id);
            }
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
        while let Some(key) = self.turns.front().copied() {
            let is_new = self.entries.get(&key).is_some_and(|entry| entry.stage == Stage::New);
            if is_new && self.asked_by.get(&key.match_id).is_none_or(|asked| *asked < self.share) {
                break;
            }
            self.turns.pop_front();
            if is_new {
                self.held.entry(key.match_id).or_default().push_back(key);
            }
        }
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
            *self.asked_by.entry(key.match_id).or_default() += 1;
        }
    }

    /// The hook has one request less of a match: the next one has its turn at once, as it had waited for it.
    fn no_longer_asked(&mut self, match_id: u64) {
        self.asked -= 1;
        if let Some(asked) = self.asked_by.get_mut(&match_id) {
            *asked -= 1;
            if *asked == 0 {
                self.asked_by.remove(&match_id);
            }
        }
        let Some(held) = self.held.get_mut(&match_id) else { return };
        while let Some(key) = held.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| entry.stage == Stage::New) {
                self.turns.push_front(key);
                break;
            }
        }
        if held.is_empty() {
            self.held.remove(&match_id);
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
                for key in asked {
                    self.no_longer_asked(key.match_id);
                    self.renew(key);
                }
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
        self.no_longer_asked(key.match_id);
        let answered = self.answered.entry(key.match_id).or_default();
        if answered.is_empty() && !self.posts.contains(&key.match_id) && !self.full.iter().any(|(_, full)| *full == key.match_id)
        {
            self.posts.push_back(key.match_id);
        }
        answered.insert(key.id);
    }

    fn put_off(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.stage == Stage::Asked) else { return };
        let delay = HOOK_RETRY_MIN_MS.checked_shl(entry.tries.saturating_sub(1).min(32)).unwrap_or(HOOK_RETRY_MAX_MS);
        let at = now + Duration::from_millis(delay.min(HOOK_RETRY_MAX_MS));
        entry.stage = Stage::PutOff(at);
        self.put_off.insert((at, key));
        self.no_longer_asked(key.match_id);
    }

    /// Answers for the supervisor, as many as one request has room for: one of each match, then the next of each.
    pub(super) fn next_answers(&mut self, now: Instant) -> Vec<HookAnswer> {
        while let Some((_, match_id)) = self.full.front().copied().filter(|(until, _)| *until <= now) {
            self.full.pop_front();
            self.posts.push_back(match_id);
        }
        self.posts.retain(|match_id| self.answered.contains_key(match_id));
        let mut turns: VecDeque<_> = self.posts.iter().map(|match_id| (*match_id, self.answered[match_id].iter())).collect();
        let (mut answers, mut bytes) = (Vec::new(), 0);
        while let Some((match_id, mut ids)) = turns.pop_front() {
            let Some(id) = ids.next() else { continue };
            let Some(Entry { stage: Stage::Answered(answer), .. }) = self.entries.get(&Key { match_id, id: *id }) else {
                continue;
            };
            // In JSON a byte of text takes six at most.
            bytes += 128 + 6 * answer.text.len();
            if !answers.is_empty() && bytes > HOOK_POST_BYTES {
                break;
            }
            answers.push(answer.clone());
            turns.push_back((match_id, ids));
        }
        answers
    }

    /// An answer stands in its match's mailbox; the other matches have their turn first.
    pub(super) fn posted(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.stage = Stage::Posted;
        }
        self.told(key);
        if self.posts.front() == Some(&key.match_id) {
            self.posts.rotate_left(1);
        }
    }

    /// A match's mailbox had no room: it is left alone for a while.
    pub(super) fn refused(&mut self, match_id: u64, now: Instant) {
        if let Some(at) = self.posts.iter().position(|other| *other == match_id) {
            self.posts.remove(at);
            self.full.push_back((now + Duration::from_millis(HOOK_POST_AGAIN_MS), match_id));
        }
    }

    /// An answer is none of those that are to be told any more.
    fn told(&mut self, key: Key) {
        if let Some(answered) = self.answered.get_mut(&key.match_id) {
            answered.remove(&key.id);
            if answered.is_empty() {
                self.answered.remove(&key.match_id);
            }
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
