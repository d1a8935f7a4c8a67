//! Prediction: what our own entity will be once the server has applied the inputs that are on their way.
//!
//! The value after every input is kept until a snapshot tells the server's for the same input. If both encode to the same bits, all is
//! well; if not, the server's value is taken and the inputs after it are applied again, each result rounded to what the wire carries,
//! as the server rounds at its commits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringfort_protocol::bits::BitWriter;
use ringfort_protocol::{AckBits, Component, Entity, Input, TickNo};

use crate::limits::PREDICTED_INPUTS_MAX;

/// A prediction that the server did not share.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Correction<T> {
    /// The tick of the snapshot that shows it; of an input that was rejected, the tick of the newest snapshot.
    pub tick: TickNo,
    /// What we predicted for the newest input that this tick contains; with a rejected input, for the newest that we have sent.
    pub predicted: T,
    /// What the server says; of a rejected input, the same prediction without it.
    pub server: T,
    /// Inputs that were applied again on top of it.
    pub replayed: u32,
    /// For how many ticks in a row, up to this one, the server had no new input of ours and repeated the last.
    pub repeated: u8,
}

/// How a correction is shown. The predicted value itself is right at once in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fix {
    /// Draw the right value at once.
    Snap,
    /// Draw what we predicted before, going over to the right value in so much time.
    Blend(Duration),
}

/// The inputs that no snapshot has acknowledged, as they were sent, in the order of their sequences.
#[derive(Debug)]
pub(crate) struct Unacked<I> {
    inputs: VecDeque<(u32, I)>,
}

impl<I: Input> Unacked<I> {
    pub(crate) fn new() -> Unacked<I> {
        Unacked { inputs: VecDeque::with_capacity(PREDICTED_INPUTS_MAX) }
    }

    pub(crate) fn push(&mut self, sequence: u32, input: I) {
        if self.inputs.len() >= PREDICTED_INPUTS_MAX {
            self.inputs.pop_front();
        }
        self.inputs.push_back((sequence, input));
    }

    /// Forgets what lies before the newest input that the server has applied.
    pub(crate) fn settle(&mut self, highest: u32) {
        while self.inputs.front().is_some_and(|(sequence, _)| *sequence <= highest) {
            self.inputs.pop_front();
        }
    }

    /// Forgets inputs that the server has given up.
    pub(crate) fn reject(&mut self, inputs: AckBits) {
        self.inputs.retain(|(sequence, _)| !inputs.contains(*sequence));
    }

    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }
}

/// One column's prediction for our own entity.
pub(crate) struct Prediction<T, I> {
    drive: fn(&mut T, &I, f32),
    on_correction: fn(&Correction<T>) -> Fix,
    dt: f32,
    entity: Entity,
    /// The value after each input, from the newest acknowledged one on, which has the server's value.
    after: VecDeque<(u32, T)>,
    /// The trajectory that was drawn before the last correction, and goes on until it has faded.
    ghost: Option<Ghost<T>>,
    ours: BitWriter,
    theirs: BitWriter,
}

#[derive(Clone, Copy)]
struct Ghost<T> {
    value: T,
    since: Instant,
    lasts: Duration,
}

/// What a snapshot says of the inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) tick: TickNo,
    /// The newest input that the tick contains.
    pub(crate) highest: u32,
    pub(crate) repeated: u8,
}

impl<T: Component, I: Input> Prediction<T, I> {
    /// `drive` is the game's own rule for one tick of `dt` seconds.
    pub(crate) fn new(drive: fn(&mut T, &I, f32), on_correction: fn(&Correction<T>) -> Fix, hz: u32) -> Prediction<T, I> {
        Prediction {
            drive,
            on_correction,
            dt: 1.0 / hz.max(1) as f32,
            entity: Entity::NONE,
            after: VecDeque::with_capacity(PREDICTED_INPUTS_MAX + 1),
            ghost: None,
            ours: BitWriter::default(),
            theirs: BitWriter::default(),
        }
    }

    /// Applies an input that was just sent.
    pub(crate) fn step(&mut self, sequence: u32, input: &I) {
        let (drive, dt) = (self.drive, self.dt);
        let Some((_, mut value)) = self.after.back().copied() else { return };
        drive(&mut value, input, dt);
        value.quantise();
        if self.after.len() > PREDICTED_INPUTS_MAX {
            self.after.pop_front();
        }
        self.after.push_back((sequence, value));
        if let Some(ghost) = &mut self.ghost {
            drive(&mut ghost.value, input, dt);
            ghost.value.quantise();
        }
    }

    /// Compares with a snapshot: `server` is our entity's row in it, if it has one. `unacked` are the inputs after
    /// `verdict.highest`. Returns the correction, if there was one.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        server: Option<(Entity, T)>,
        verdict: Verdict,
        unacked: &Unacked<I>,
    ) -> Option<Correction<T>> {
        let Some((entity, server)) = server else {
            // Dead, or not born yet: there is nothing to predict, and nothing of this life counts in the next.
            (self.entity, self.ghost) = (Entity::NONE, None);
            self.after.clear();
            return None;
        };
        let known = self.entity == entity;
        self.entity = entity;
        while self.after.get(1).is_some_and(|(sequence, _)| *sequence <= verdict.highest) {
            self.after.pop_front();
        }
        let predicted = self.after.front().filter(|_| known).map(|(_, value)| *value);
        if predicted.is_some_and(|predicted| self.encodes_alike(&predicted, &server)) {
            // Fields that are not sent follow the server's zero, as they would after a correction.
            return None;
        }
        let drawn = self.drawn(now).filter(|_| known);
        let replayed = self.replay((verdict.highest, server), unacked);
        let Verdict { tick, repeated, .. } = verdict;
        let correction = Correction { tick, predicted: predicted?, server, replayed, repeated };
        self.fade(now, &correction, drawn);
        Some(correction)
    }

    /// Takes out inputs that the server has given up: those after them, which are left in `unacked`, are applied again without them.
    /// Returns the correction, if that made one.
    pub(crate) fn reject(&mut self, now: Instant, tick: TickNo, inputs: AckBits, unacked: &Unacked<I>) -> Option<Correction<T>> {
        // The first value is the server's own, or as old as we remember.
        if !self.after.iter().skip(1).any(|(sequence, _)| inputs.contains(*sequence)) {
            return None;
        }
        let (first, predicted, drawn) = (*self.after.front()?, self.newest()?, self.drawn(now));
        let fading = self.ghost;
        let replayed = self.replay(first, unacked);
        let server = self.newest()?;
        if self.encodes_alike(&predicted, &server) {
            self.ghost = fading;
            return None;
        }
        let correction = Correction { tick, predicted, server, replayed, repeated: 0 };
        self.fade(now, &correction, drawn);
        Some(correction)
    }

    /// Predicts anew from the value after an input on; returns how many inputs came after it.
    fn replay(&mut self, first: (u32, T), unacked: &Unacked<I>) -> u32 {
        self.ghost = None;
        self.after.clear();
        self.after.push_back(first);
        for (sequence, input) in unacked.inputs.iter().filter(|(sequence, _)| *sequence > first.0) {
            self.step(*sequence, input);
        }
        self.after.len() as u32 - 1
    }

    /// Lets what was drawn before a correction fade, if the program wants that.
    fn fade(&mut self, now: Instant, correction: &Correction<T>, drawn: Option<T>) {
        if let (Fix::Blend(lasts), Some(value)) = ((self.on_correction)(correction), drawn) {
            self.ghost = Some(Ghost { value, since: now, lasts });
        }
    }

    /// Our entity, while it has a row.
    pub(crate) fn entity(&self) -> Entity {
        self.entity
    }

    /// The value after the newest input.
    pub(crate) fn newest(&self) -> Option<T> {
        self.after.back().map(|(_, value)| *value)
    }

    /// The value to draw: the newest, or between it and what was drawn before the last correction.
    pub(crate) fn drawn(&self, now: Instant) -> Option<T> {
        let newest = self.newest()?;
        let Some(ghost) = &self.ghost else { return Some(newest) };
        let passed = now.saturating_duration_since(ghost.since);
        if passed >= ghost.lasts {
            return Some(newest);
        }
        Some(ghost.value.lerp(&newest, passed.as_secs_f32() / ghost.lasts.as_secs_f32()))
    }

    fn encodes_alike(&mut self, a: &T, b: &T) -> bool {
        let Prediction { ours, theirs, .. } = self;
        ours.clear();
        theirs.clear();
        a.encode(ours);
        b.encode(theirs);
        ours.flush() == theirs.flush()
    }
}

#[cfg(test)]
mod tests;
