//! Predicted events: shown at once, and settled by the server's verdict on the input that they came with.
//!
//! The server says for each input and each `#[predicted]` variant whether it has sent such an event of ours. Said: the event is confirmed,
//! and the server's own copy of it is not shown again. Not said although the input is acknowledged: the event is taken back.
//!
//! A reliable event may overtake the snapshot with its verdict. It is kept until then: only the verdict tells which input it is of, and
//! whether it is one that was predicted.

use std::collections::VecDeque;

use ringfort_protocol::limits::MAX_PREDICTED;
use ringfort_protocol::{AckBits, Entity, Message, TickNo};

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
    early: Vec<Early<E>>,
    /// The tick up to which verdicts are known.
    settled: TickNo,
}

/// An event without a verdict.
#[derive(Debug)]
struct Forecast<E> {
    sequence: u32,
    variant: usize,
    /// Whom it is about: an entity of ours.
    entity: Entity,
    tick: TickNo,
    what: E,
}

/// A reliable event of ours that has come before the verdict on it.
#[derive(Clone, Copy, Debug)]
struct Early<E> {
    variant: usize,
    tick: TickNo,
    what: E,
}

/// A confirmed event: the server's copy of it is not shown.
#[derive(Clone, Copy, Debug)]
struct Heard {
    variant: usize,
    entity: Entity,
    /// Tick of the snapshot that confirmed it.
    by: TickNo,
}

impl<E: Message> Forecasts<E> {
    pub(crate) fn new() -> Forecasts<E> {
        Forecasts { pending: VecDeque::new(), heard: VecDeque::new(), early: Vec::new(), settled: TickNo(0) }
    }

    /// Whether an event can be predicted: its variant is `#[predicted]`, not too many wait already, and no other of its variant is
    /// among those `beside` it, which are of the same input: the server has one word for each input and variant.
    pub(crate) fn accepts(&self, what: &E, beside: &[E]) -> bool {
        let variant = |what: &E| what.predicted().map(|(variant, _)| variant);
        let own = variant(what);
        own.is_some() && self.pending.len() + beside.len() < FORECASTS_MAX && beside.iter().all(|other| variant(other) != own)
    }

    /// Notes an event that is shown with the input `sequence`, when the newest snapshot is of `tick`.
    pub(crate) fn push(&mut self, sequence: u32, tick: TickNo, what: E) {
        if let Some((variant, entity)) = what.predicted() {
            self.pending.push_back(Forecast { sequence, variant, entity, tick, what });
        }
    }

    /// Takes the verdicts of the snapshot `by`; `told` gets what the server did not do, and what it did without our having predicted it.
    pub(crate) fn settle(
        &mut self,
        by: TickNo,
        inputs: AckBits,
        verdicts: &[u32; MAX_PREDICTED],
        mut told: impl FnMut(TickNo, E, Sure),
    ) {
        let (heard, early) = (&mut self.heard, &mut self.early);
        self.settled = by;
        self.pending.retain(|forecast| {
            let Forecast { sequence, variant, entity, what, .. } = *forecast;
            if sequence > inputs.highest {
                return true;
            }
            let behind = inputs.highest - sequence;
            if behind <= AckBits::FIELD && !inputs.contains(sequence) {
                // Skipped so far; it may still come.
                return true;
            }
            if verdicts[variant].checked_shr(behind).unwrap_or(0) & 1 == 1 {
                let mut same = (0..early.len()).filter(|at| early[*at].variant == variant && early[*at].tick <= by);
                let first = same.clone().next();
                if let Some(at) = same.find(|at| is_same(&early[*at].what, &what)).or(first) {
                    early.remove(at);
                    return false;
                }
                if heard.len() >= FORECASTS_MAX {
                    heard.pop_front();
                }
                heard.push_back(Heard { variant, entity, by });
            } else {
                // Also when it is so far behind that no bit tells: an effect that runs on for nothing would be worse.
                told(forecast.tick, what, Sure::Cancelled);
            }
            false
        });
        // The verdicts on their inputs are here, and were not on anything predicted.
        for Early { tick, what, .. } in early.extract_if(.., |early| early.tick <= by) {
            told(tick, what, Sure::Confirmed);
        }
    }

    /// The server has given these inputs up, and no verdict on them will come: what was predicted of them is taken back.
    pub(crate) fn reject(&mut self, inputs: AckBits, mut told: impl FnMut(TickNo, E, Sure)) {
        self.pending.retain(|forecast| {
            let given_up = inputs.contains(forecast.sequence);
            if given_up {
                told(forecast.tick, forecast.what, Sure::Cancelled);
            }
            !given_up
        });
    }

    /// The match is over, and no verdict will come: what was predicted is taken back, and what has come early is told.
    pub(crate) fn finish(&mut self, mut told: impl FnMut(TickNo, E, Sure)) {
        self.heard.clear();
        for Forecast { variant, tick, what, .. } in self.pending.drain(..) {
            match self.early.iter().position(|early| early.variant == variant && is_same(&early.what, &what)) {
                Some(at) => drop(self.early.remove(at)),
                None => told(tick, what, Sure::Cancelled),
            }
        }
        for Early { tick, what, .. } in self.early.drain(..) {
            told(tick, what, Sure::Confirmed);
        }
    }

    /// Whether an event that the server has sent in `tick` is to be shown now: it is not if it was shown as predicted, or waits for the
    /// verdict that tells. `mine` says whether it is about an entity that is still ours.
    pub(crate) fn is_news(&mut self, tick: TickNo, what: &E, mine: bool) -> bool {
        let Some((variant, entity)) = what.predicted() else { return true };
        // Our entity may have died meanwhile; then what was predicted knows it.
        let ours = |predicted: Entity| mine || predicted == entity;
        // A cue comes with its own tick's snapshot or never; a reliable event may come before or after the verdict.
        let reliable = what.reliable();
        let same =
            |heard: &Heard| heard.variant == variant && ours(heard.entity) && (heard.by == tick || reliable && heard.by > tick);
        if let Some(at) = self.heard.iter().position(same) {
            self.heard.remove(at);
            return false;
        }
        let waits = |forecast: &Forecast<E>| forecast.variant == variant && ours(forecast.entity);
        let unsettled = reliable && tick > self.settled && self.pending.iter().any(waits);
        if !unsettled || self.early.len() >= FORECASTS_MAX {
            return true;
        }
        self.early.push(Early { variant, tick, what: *what });
        false
    }
}

/// Whether two events say the same, as far as the wire carries it.
fn is_same<E: Message>(one: &E, other: &E) -> bool {
    let encoded = |event: &E| {
        let mut bytes = Vec::new();
        event.to_wire(&mut bytes);
        bytes
    };
    encoded(one) == encoded(other)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    impl Ev {
        fn built(entity: u32) -> Ev {
            Ev::Built { by: Entity { index: entity, generation: 1 } }
        }
    }

    const ME: Entity = Entity { index: 1, generation: 1 };
    const SHOT: Ev = Ev::Shot { by: ME };
    const BUILT: Ev = Ev::Built { by: ME };

    /// Settles by the snapshot of tick `by`, which contains all inputs up to `highest`; returns what was cancelled.
    fn settle(forecasts: &mut Forecasts<Ev>, by: u32, highest: u32, verdicts: [u32; 2]) -> Vec<Ev> {
        let (mut cancelled, mut all) = (Vec::new(), [0; MAX_PREDICTED]);
        all[..2].copy_from_slice(&verdicts);
        let inputs = AckBits { highest, bits: u32::MAX };
        forecasts.settle(TickNo(by), inputs, &all, |_, what, sure| cancelled.extend((sure == Sure::Cancelled).then_some(what)));
        cancelled
    }

    #[test]
    fn a_confirmed_event_is_heard_once() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), SHOT);
        assert_eq!(settle(&mut forecasts, 9, 4, [0, 0]), []);
        assert_eq!(settle(&mut forecasts, 10, 6, [0b10, 0]), []);
        assert!(!forecasts.is_news(TickNo(10), &SHOT, true));
        assert!(forecasts.is_news(TickNo(10), &SHOT, true), "a second one was not predicted");
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
        assert!(forecasts.is_news(TickNo(11), &SHOT, true));
    }

    #[test]
    fn a_reliable_event_may_come_before_or_after_its_verdict() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), BUILT);
        assert!(!forecasts.is_news(TickNo(8), &BUILT, true));
        assert_eq!(settle(&mut forecasts, 8, 5, [0, 1]), []);
        forecasts.push(6, TickNo(1), BUILT);
        settle(&mut forecasts, 12, 6, [0, 1]);
        assert!(!forecasts.is_news(TickNo(10), &BUILT, true));
        assert!(forecasts.is_news(TickNo(13), &BUILT, true));
    }

    #[test]
    fn of_two_predictions_the_verdict_picks_the_one_that_an_early_event_is_of() {
        let mut forecasts = Forecasts::new();
        (5..=6).for_each(|sequence| forecasts.push(sequence, TickNo(1), Ev::built(sequence)));
        assert!(!forecasts.is_news(TickNo(8), &Ev::built(6), true));
        // The server has built for input 6 and not for input 5.
        assert_eq!(settle(&mut forecasts, 8, 6, [0, 0b01]), [Ev::built(5)]);
        assert!(forecasts.is_news(TickNo(9), &Ev::built(7), true), "nothing is left that hides it");
    }

    #[test]
    fn an_early_event_that_no_prediction_was_of_is_told_with_the_verdicts() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), BUILT);
        assert!(!forecasts.is_news(TickNo(8), &Ev::built(9), true));
        let mut told = Vec::new();
        let nothing = AckBits { highest: 4, bits: u32::MAX };
        forecasts.settle(TickNo(8), nothing, &[0; MAX_PREDICTED], |tick, what, sure| told.push((tick, what, sure)));
        assert_eq!(told, [(TickNo(8), Ev::built(9), Sure::Confirmed)]);
        assert_eq!(settle(&mut forecasts, 9, 5, [0, 0]), [BUILT]);
    }

    #[test]
    fn an_event_of_an_entity_that_died_meanwhile_is_heard_once() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), SHOT);
        settle(&mut forecasts, 10, 5, [1, 0]);
        let other = Ev::Shot { by: Entity { index: 2, generation: 1 } };
        assert!(forecasts.is_news(TickNo(10), &other, false), "another's");
        assert!(!forecasts.is_news(TickNo(10), &SHOT, false));
    }

    #[test]
    fn one_event_of_a_kind_can_be_predicted_for_an_input() {
        let forecasts = Forecasts::new();
        assert!(forecasts.accepts(&SHOT, &[BUILT]));
        assert!(!forecasts.accepts(&SHOT, &[BUILT, SHOT]));
    }

    #[test]
    fn what_was_predicted_of_an_input_that_was_given_up_is_cancelled_and_the_rest_waits() {
        let (mut forecasts, mut told) = (Forecasts::new(), Vec::new());
        (5..=7).for_each(|sequence| forecasts.push(sequence, TickNo(1), Ev::built(sequence)));
        forecasts.reject(AckBits { highest: 7, bits: 0b10 }, |_, what, sure| told.push((what, sure)));
        assert_eq!(told, [(Ev::built(5), Sure::Cancelled), (Ev::built(7), Sure::Cancelled)]);
        assert_eq!(settle(&mut forecasts, 8, 8, [0, 0]), [Ev::built(6)]);
    }

    #[test]
    fn when_the_match_is_over_everything_is_settled() {
        let (mut forecasts, mut told) = (Forecasts::new(), Vec::new());
        (5..=6).for_each(|sequence| forecasts.push(sequence, TickNo(1), Ev::built(sequence)));
        assert!(!forecasts.is_news(TickNo(8), &Ev::built(6), true) && !forecasts.is_news(TickNo(9), &Ev::built(7), true));
        forecasts.finish(|_, what, sure| told.push((what, sure)));
        assert_eq!(told, [(Ev::built(5), Sure::Cancelled), (Ev::built(7), Sure::Confirmed)]);
    }

    #[test]
    fn an_input_that_was_skipped_waits_and_one_that_nobody_knows_of_is_cancelled() {
        let mut forecasts = Forecasts::new();
        forecasts.push(5, TickNo(1), SHOT);
        let gap = AckBits { highest: 7, bits: 0b01 };
        forecasts.settle(TickNo(9), gap, &[u32::MAX; MAX_PREDICTED], |_, _, _| panic!("it may still come"));
        assert_eq!(settle(&mut forecasts, 60, 50, [u32::MAX, 0]), [SHOT]);
    }

    #[test]
    fn what_waits_is_bounded_and_only_predicted_variants_are_taken() {
        let mut forecasts = Forecasts::new();
        assert!(!forecasts.accepts(&Ev::Hurt { dmg: 1 }, &[]));
        for sequence in 1..=FORECASTS_MAX as u32 {
            assert!(forecasts.accepts(&SHOT, &[]));
            forecasts.push(sequence, TickNo(1), SHOT);
        }
        assert!(!forecasts.accepts(&SHOT, &[]));
        settle(&mut forecasts, 9, FORECASTS_MAX as u32, [u32::MAX, 0]);
        (1..200).for_each(|i| {
            forecasts.push(100 + i, TickNo(1), SHOT);
            settle(&mut forecasts, 10 + i, 100 + i, [1, 0]);
        });
        assert!(forecasts.heard.len() <= FORECASTS_MAX);
    }
}
