//! Predicted events: shown at once, and settled by the server's verdict on the input that they came with.
//!
//! The server says for each input and each `#[predicted]` variant whether it has sent such an event of ours. Said: the event is confirmed,
//! and the server's own copy of it is not shown again. Not said although the input is acknowledged: the event is taken back.

use std::collections::VecDeque;

use ringfort_protocol::limits::MAX_PREDICTED;
use ringfort_protocol::{AckBits, Message, TickNo};

use crate::limits::FORECASTS_MAX;

/// How sure an event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sure {
    /// We think so; the server has not said anything yet.
    Predicted,
    /// The server says so. An event of ours that was shown as predicted does not come again.
    Confirmed,
    /// We thought so, and the server did not: take it back.
    Cancelled,
}

/// Predicted events, until they are settled and the server's own copy of them has come.
#[derive(Debug)]
pub(crate) struct Forecasts<E> {
    pending: VecDeque<Forecast<E>>,
    heard: VecDeque<Heard>,
}

/// An event without a verdict.
#[derive(Debug)]
struct Forecast<E> {
    sequence: u32,
    variant: usize,
    tick: TickNo,
    what: E,
}

/// A confirmed event: the server's copy of it is not shown.
#[derive(Clone, Copy, Debug)]
struct Heard {
    variant: usize,
    /// Tick of the snapshot that confirmed it.
    by: TickNo,
}

impl<E: Message> Forecasts<E> {
    pub(crate) fn new() -> Forecasts<E> {
        Forecasts { pending: VecDeque::new(), heard: VecDeque::new() }
    }

    /// Whether an event can be predicted: its variant is `#[predicted]`, and not too many wait already, `beside` included.
    pub(crate) fn accepts(&self, what: &E, beside: usize) -> bool {
        what.predicted().is_some() && self.pending.len() + beside < FORECASTS_MAX
    }

    /// Notes an event that is shown with the input `sequence`, when the newest snapshot is of `tick`.
    pub(crate) fn push(&mut self, sequence: u32, tick: TickNo, what: E) {
        if let Some((variant, _)) = what.predicted() {
            self.pending.push_back(Forecast { sequence, variant, tick, what });
        }
    }

    /// Takes the verdicts of the snapshot `by`; `cancelled` gets what the server did not do.
    pub(crate) fn settle(
        &mut self,
        by: TickNo,
        inputs: AckBits,
        verdicts: &[u32; MAX_PREDICTED],
        mut cancelled: impl FnMut(TickNo, E),
    ) {
        let heard = &mut self.heard;
        self.pending.retain(|forecast| {
            let Forecast { sequence, variant, .. } = *forecast;
            if sequence > inputs.highest {
                return true;
            }
            let behind = inputs.highest - sequence;
            if behind <= AckBits::FIELD && !inputs.contains(sequence) {
                // Skipped so far; it may still come.
                return true;
            }
            if verdicts[variant].checked_shr(behind).unwrap_or(0) & 1 == 1 {
                if heard.len() >= FORECASTS_MAX {
                    heard.pop_front();
                }
                heard.push_back(Heard { variant, by });
            } else {
                // Also when it is so far behind that no bit tells: an effect that runs on for nothing would be worse.
                cancelled(forecast.tick, forecast.what);
            }
            false
        });
    }

    /// Whether an event of ours that the server has sent in `tick` is to be shown: it is not if it was shown as predicted.
    pub(crate) fn is_news(&mut self, tick: TickNo, what: &E) -> bool {
        let Some((variant, _)) = what.predicted() else { return true };
        // A cue comes with its own tick's snapshot or never; a reliable event may come before or after the verdict.
        let reliable = what.reliable();
        let same = |heard: &Heard| heard.variant == variant && (heard.by == tick || reliable && heard.by > tick);
        if let Some(at) = self.heard.iter().position(same) {
            self.heard.remove(at);
            return false;
        }
        let waiting = self.pending.iter().position(|forecast| forecast.variant == variant).filter(|_| reliable);
        waiting.is_none_or(|at| self.pending.remove(at).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_protocol::Entity;

    #[derive(ringfort_derive::Message, Clone, Copy, PartialEq, Debug)]
    enum Ev {
        Hurt {
            dmg: u8,
        },
        #[predicted]
        Shot {
            by: Entity,
        },
        #[predicted]
        #[reliable]
        Built {
            by: Entity,
        },
    }

    const ME: Entity = Entity { index: 1, generation: 1 };
    const SHOT: Ev = Ev::Shot { by: ME };
    const BUILT: Ev = Ev::Built { by: ME };

    /// Settles by the snapshot of tick `by`, which contains all inputs up to `highest`; returns what was cancelled.
    fn settle(forecasts: &mut Forecasts<Ev>, by: u32, highest: u32, verdicts: [u32; 2]) -> Vec<Ev> {
        let (mut cancelled, mut all) = (Vec::new(), [0; MAX_PREDICTED]);
        all[..2].copy_from_slice(&verdicts);
        let inputs = AckBits { highest, bits: u32::MAX };
        forecasts.settle(TickNo(by), inputs, &all, |_, what| cancelled.push(what));
        cancelled
    }

    #[test]
    fn a_confirmed_event_is_heard_once() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), SHOT);
        assert_eq!(settle(&mut forecasts, 9, 4, [0, 0]), []);
        assert_eq!(settle(&mut forecasts, 10, 6, [0b10, 0]), []);
        assert!(!forecasts.is_news(TickNo(10), &SHOT));
        assert!(forecasts.is_news(TickNo(10), &SHOT), "a second one was not predicted");
    }

    #[test]
    fn an_event_that_the_server_did_not_send_is_cancelled_once() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), SHOT);
        forecasts.push(6, TickNo(1), SHOT);
        assert_eq!(settle(&mut forecasts, 10, 5, [0, 0]), [SHOT]);
        assert_eq!(settle(&mut forecasts, 11, 5, [0, 0]), []);
        assert_eq!(settle(&mut forecasts, 12, 6, [0b1, 0]), []);
    }

    #[test]
    fn a_cue_that_was_lost_hides_no_later_one() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), SHOT);
        settle(&mut forecasts, 10, 6, [0b10, 0]);
        assert!(forecasts.is_news(TickNo(11), &SHOT));
    }

    #[test]
    fn a_reliable_event_may_come_before_or_after_its_verdict() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), BUILT);
        assert!(!forecasts.is_news(TickNo(8), &BUILT));
        assert_eq!(settle(&mut forecasts, 8, 5, [0, 1]), []);
        forecasts.push(6, TickNo(1), BUILT);
        settle(&mut forecasts, 12, 6, [0, 1]);
        assert!(!forecasts.is_news(TickNo(10), &BUILT));
        assert!(forecasts.is_news(TickNo(13), &BUILT));
    }

    #[test]
    fn an_input_that_was_skipped_waits_and_one_that_nobody_knows_of_is_cancelled() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), SHOT);
        let gap = AckBits { highest: 7, bits: 0b01 };
        forecasts.settle(TickNo(9), gap, &[u32::MAX; MAX_PREDICTED], |_, _| panic!("it may still come"));
        assert_eq!(settle(&mut forecasts, 60, 50, [u32::MAX, 0]), [SHOT]);
    }

    #[test]
    fn what_waits_is_bounded_and_only_predicted_variants_are_taken() {
        let mut forecasts = Forecasts::new();
        assert!(!forecasts.accepts(&Ev::Hurt { dmg: 1 }, 0));
        for sequence in 1..=FORECASTS_MAX as u32 {
            assert!(forecasts.accepts(&SHOT, 0));
            forecasts.push(sequence, TickNo(1), SHOT);
        }
        assert!(!forecasts.accepts(&SHOT, 0));
        settle(&mut forecasts, 9, FORECASTS_MAX as u32, [u32::MAX, 0]);
        (1..200).for_each(|i| {
            forecasts.push(100 + i, TickNo(1), SHOT);
            settle(&mut forecasts, 10 + i, 100 + i, [1, 0]);
        });
        assert!(forecasts.heard.len() <= FORECASTS_MAX);
    }
}
