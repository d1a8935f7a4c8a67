//! A zone's side of the world outside: answers are put together from the mailbox, late requests given up, and both are told the game.
//!
//! The parts of an answer are posted all at once, so all of them come in one tick, and an answer counts with that tick's commit.

use ringfort_protocol::SessionId;
use ringfort_shm_state::layout::{AnswerPart, AskKind, AskRow, MailRecord, Verdict};
use ringfort_shm_state::limits::ASK_BODY_BYTES;
use ringfort_shm_state::segment::unpadded;

use super::Zone;
use crate::game::{Answer, AnswerError, AskId, Game};

#[cfg(test)]
mod tests;

/// What the game is told when an answer is none that it can read.
const NO_TEXT: &str = "the answer is not UTF-8";

impl<G: Game> Zone<G> {
    /// Results that nobody has taken yet.
    pub(super) fn results(&self) -> u32 {
        self.bound.outbox.borrow().meta().results
    }

    pub(super) fn take_answer_part(&mut self, mail: &MailRecord) {
        let Some(AnswerPart { verdict, part, parts }) = AnswerPart::from_word(mail.b) else {
            self.counters.answers_ignored += 1;
            return;
        };
        if part == 0 {
            self.answer.clear();
        }
        let bytes = mail.payload.get(..mail.bytes as usize).unwrap_or_default();
        let room = ASK_BODY_BYTES - self.answer.len();
        self.answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if part + 1 == parts {
            let text = std::mem::take(&mut self.answer);
            self.take_answer(mail.a, verdict, &text);
            self.answer = text;
        }
    }

    fn take_answer(&mut self, number: u64, verdict: Verdict, text: &[u8]) {
        let is_for = |kind: AskKind| (kind == AskKind::Result) == (verdict == Verdict::Taken);
        let row = self.bound.outbox.borrow_mut().take_if(number, |row| AskKind::from_u32(row.kind).is_some_and(is_for));
        let Some(row) = row else {
            self.counters.answers_ignored += 1;
            return;
        };
        let body = match (verdict, std::str::from_utf8(text)) {
            (Verdict::Taken, _) => {
                self.counters.results_taken += 1;
                return;
            }
            (Verdict::Answered, Ok(text)) => Ok(text),
            (Verdict::Failed, Ok(why)) => Err(AnswerError::Failed(why)),
            (_, Err(_)) => Err(AnswerError::Failed(NO_TEXT)),
        };
        self.counters.asks_answered += 1;
        self.tell(&row, body);
    }

    /// Gives up the requests whose time is over.
    pub(super) fn give_up_asks(&mut self) {
        let due = self.bound.outbox.borrow().due(self.tick.now);
        for number in due {
            let Some(row) = self.bound.outbox.borrow_mut().take(number) else { continue };
            let unheard = row.kind == AskKind::Unheard as u32;
            self.counters.asks_given_up += 1;
            self.tell(&row, Err(if unheard { AnswerError::NoHook } else { AnswerError::TimedOut }));
        }
    }

    fn tell(&mut self, row: &AskRow, body: Result<&str, AnswerError<'_>>) {
        let about = Some(SessionId(row.session)).filter(|session| session.0 != 0);
        self.bound.game.answer(&self.tick, &Answer { id: AskId(row.number), topic: &unpadded(&row.topic), about, body });
    }

    /// Notes the names of the players that this tick's requests are about so far.
    pub(super) fn name_asks(&mut self) {
        let named = |session: u64| self.bound.sessions.get(session as u32).filter(|row| row.id == session).map(|row| row.name);
        self.bound.outbox.borrow_mut().note_names(named);
    }

    /// After the game: names for the tick's requests. A match that closes has no more use for answers.
    pub(super) fn note_asks(&mut self) {
        self.name_asks();
        let mut outbox = self.bound.outbox.borrow_mut();
        if self.tick.closed.get() {
            self.counters.asks_dropped += outbox.drop_questions();
        }
        self.counters.asks_refused += std::mem::take(&mut outbox.refused);
    }
}
