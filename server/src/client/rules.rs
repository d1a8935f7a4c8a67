//! What the program says of columns before it connects: which are predicted, with which function, and how corrections are shown.

use std::any::Any;
use std::time::{Duration, Instant};

use ringfort_protocol::{AckBits, Entity, TickNo};

use super::error::Error;
use super::predict::{Correction, Fix, Prediction, Unacked, Verdict};
use super::turns::Turns;
use crate::game::{Column, Component, Game};
use crate::limits::PREDICTED_COLUMNS_MAX;

/// How long a correction fades unless the program says otherwise.
const FADE: Duration = Duration::from_millis(100);

/// Names a column: `|s| &s.body`.
pub type ColumnOf<G, T> = fn(&G) -> &Column<T>;
/// The game's own rule for one tick of one entity: state, input, seconds.
pub type Drive<T, I> = fn(&mut T, &I, f32);
/// Decides how a correction is shown.
pub type OnCorrection<T> = fn(&Correction<T>) -> Fix;

/// All that was said.
pub(crate) struct Rules<G: Game> {
    predictions: Vec<Box<dyn Predict<G>>>,
    corrections: Vec<Box<dyn Correct<G>>>,
}

trait Predict<G: Game> {
    fn column(&self, world: &G) -> (u16, bool);
    fn start(&self, hz: u32, corrections: &[Box<dyn Correct<G>>], world: &G) -> Box<dyn Predicting<G>>;
}

trait Correct<G: Game> {
    fn column(&self, world: &G) -> u16;
    /// The `OnCorrection<T>`.
    fn rule(&self) -> &dyn Any;
}

/// One column's prediction in a match.
pub(crate) trait Predicting<G: Game> {
    /// Index of the column in the schema.
    fn column(&self) -> u16;
    /// Applies an input that was just sent.
    fn step(&mut self, sequence: u32, input: &G::Input);
    /// Compares with a snapshot's world; returns whether there was a correction.
    fn settle(&mut self, now: Instant, seen: Own<'_, G>, verdict: Verdict, unacked: &Unacked<G::Input>) -> bool;
    /// Takes out inputs that the server has given up; returns whether that was a correction.
    fn reject(&mut self, now: Instant, tick: TickNo, inputs: AckBits, unacked: &Unacked<G::Input>) -> bool;
    /// The `Prediction<T, G::Input>`.
    fn prediction(&self) -> &dyn Any;
}

/// What a snapshot says of our own entities.
#[derive(Clone, Copy)]
pub(crate) struct Own<'w, G> {
    /// The newest snapshot's world.
    pub(crate) world: &'w G,
    /// Our entities in it, in the order of their indices.
    pub(crate) mine: &'w [Entity],
    /// When changes of each column of the schema are sent.
    pub(crate) turns: &'w [Turns],
}

struct PredictColumn<G: Game, T: Component> {
    column: ColumnOf<G, T>,
    drive: Drive<T, G::Input>,
}

struct CorrectColumn<G: Game, T: Component> {
    column: ColumnOf<G, T>,
    rule: OnCorrection<T>,
}

struct PredictingColumn<G: Game, T: Component> {
    column: ColumnOf<G, T>,
    index: u16,
    prediction: Prediction<T, G::Input>,
}

impl<G: Game> Rules<G> {
    pub(crate) fn new() -> Rules<G> {
        Rules { predictions: Vec::new(), corrections: Vec::new() }
    }

    pub(crate) fn predict<T: Component>(&mut self, column: ColumnOf<G, T>, drive: Drive<T, G::Input>) {
        self.predictions.push(Box::new(PredictColumn { column, drive }));
    }

    pub(crate) fn on_correction<T: Component>(&mut self, column: ColumnOf<G, T>, rule: OnCorrection<T>) {
        self.corrections.push(Box::new(CorrectColumn { column, rule }));
    }

    /// Finds what cannot work, on any world of the game.
    pub(crate) fn check(&self, world: &G, name: impl Fn(u16) -> String) -> Result<(), Error> {
        if self.predictions.len() > PREDICTED_COLUMNS_MAX {
            return Err(Error::TooManyPredictions);
        }
        let mut predicted = Vec::new();
        for prediction in &self.predictions {
            let (column, allowed) = prediction.column(world);
            if !allowed {
                return Err(Error::NotPredictable { column: name(column) });
            }
            if predicted.contains(&column) {
                return Err(Error::PredictedTwice { column: name(column) });
            }
            predicted.push(column);
        }
        match self.corrections.iter().map(|rule| rule.column(world)).find(|column| !predicted.contains(column)) {
            Some(column) => Err(Error::NothingToCorrect { column: name(column) }),
            None => Ok(()),
        }
    }

    /// The predictions of a match that begins.
    pub(crate) fn start(&self, hz: u32, world: &G) -> Vec<Box<dyn Predicting<G>>> {
        self.predictions.iter().map(|prediction| prediction.start(hz, &self.corrections, world)).collect()
    }
}

impl<G: Game, T: Component> Predict<G> for PredictColumn<G, T> {
    fn column(&self, world: &G) -> (u16, bool) {
        let column = (self.column)(world);
        (column.index(), column.is_predicted())
    }

    fn start(&self, hz: u32, corrections: &[Box<dyn Correct<G>>], world: &G) -> Box<dyn Predicting<G>> {
        let index = (self.column)(world).index();
        let rule = corrections.iter().rev().find(|rule| rule.column(world) == index);
        let rule = rule.and_then(|rule| rule.rule().downcast_ref::<OnCorrection<T>>().copied());
        let prediction = Prediction::new(self.drive, rule.unwrap_or(|_| Fix::Blend(FADE)), hz);
        Box::new(PredictingColumn { column: self.column, index, prediction })
    }
}

impl<G: Game, T: Component> Correct<G> for CorrectColumn<G, T> {
    fn column(&self, world: &G) -> u16 {
        (self.column)(world).index()
    }

    fn rule(&self) -> &dyn Any {
        &self.rule
    }
}

impl<G: Game, T: Component> Predicting<G> for PredictingColumn<G, T> {
    fn column(&self) -> u16 {
        self.index
    }

    fn step(&mut self, sequence: u32, input: &G::Input) {
        self.prediction.step(sequence, input);
    }

    fn settle(&mut self, now: Instant, seen: Own<'_, G>, verdict: Verdict, unacked: &Unacked<G::Input>) -> bool {
        let column = (self.column)(seen.world);
        let server = seen.mine.iter().find_map(|entity| Some((*entity, *column.get(*entity)?)));
        let turns = seen.turns.get(usize::from(self.index)).copied().unwrap_or(Turns::EVERY_TICK);
        // Between its turns a row is what it was: that says nothing of the inputs since.
        let same = server.is_some_and(|(entity, _)| entity == self.prediction.entity());
        if same && server.is_some_and(|(entity, _)| !turns.is_turn(entity.index, verdict.tick.0)) {
            return false;
        }
        self.prediction.settle(now, server, verdict, unacked).is_some()
    }

    fn reject(&mut self, now: Instant, tick: TickNo, inputs: AckBits, unacked: &Unacked<G::Input>) -> bool {
        self.prediction.reject(now, tick, inputs, unacked).is_some()
    }

    fn prediction(&self) -> &dyn Any {
        &self.prediction
    }
}
