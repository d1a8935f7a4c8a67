//! How old what clients see is: at each snapshot of a sample of clients, all that is near is compared with the committed world.

use std::collections::HashMap;

use ringfort_client::Session;
use ringfort_protocol::Vec2;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bot::Game;
use super::partial::Latency;
use super::truth::Truth;
use crate::limits::{RANKS, TICKS_REMEMBERED};

/// A step of the positions on the wire, in metres.
const QUANTUM_M: f32 = 0.016;
/// So many thousandths of a quantum are counted apart.
const MILLI: f32 = 1_000.0;

/// What was found about the entities of one kind: those of a rank, or all in sight.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ages {
    /// How often the position that a client had was so many ticks old; the last is for all that are older.
    ticks: Vec<u64>,
    /// How often a client did not have the entity.
    missing: u64,
    /// How far off the position was, in thousandths of a quantum.
    error: Latency,
}

/// What was found in all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Freshness {
    /// Clients that were looked at.
    pub(crate) clients: usize,
    /// Snapshots that were.
    pub(crate) snapshots: u64,
    /// Snapshots whose tick could not be had any more.
    pub(crate) unknown: u64,
    /// Ticks a second of the match.
    tick_hz: u32,
    /// By rank: the nearest first.
    ranks: Vec<Ages>,
    /// All within sight.
    within: Ages,
}

impl Ages {
    fn count(&mut self, age: Option<(usize, f32)>) {
        let Some((ticks, error)) = age else {
            self.missing += 1;
            return;
        };
        if self.ticks.len() <= ticks {
            self.ticks.resize(ticks + 1, 0);
        }
        self.ticks[ticks] += 1;
        self.error.record_value((error / QUANTUM_M * MILLI).round() as u64);
    }

    fn merge(&mut self, other: &Ages) {
        if self.ticks.len() < other.ticks.len() {
            self.ticks.resize(other.ticks.len(), 0);
        }
        self.ticks.iter_mut().zip(&other.ticks).for_each(|(sum, more)| *sum += more);
        self.missing += other.missing;
        self.error.merge(&other.error);
    }

    fn had(&self) -> u64 {
        self.ticks.iter().sum()
    }

    fn ticks_at(&self, quantile: f64) -> usize {
        let wanted = ((self.had() as f64 * quantile).ceil() as u64).max(1);
        let mut before = 0;
        let found = self.ticks.iter().position(|count| {
            before += count;
            before >= wanted
        });
        found.unwrap_or(0)
    }

    fn json(&self, tick_hz: u32) -> Value {
        let known = |quantile: f64| (self.had() > 0).then_some(quantile);
        let ages = [0.5, 0.99, 1.0].map(|quantile| known(quantile).map(|quantile| self.ticks_at(quantile)));
        let ms = ages.map(|ticks| Some(ticks? as f64 * 1e3 / f64::from(tick_hz.max(1))));
        let quanta = [0.5, 0.99, 1.0].map(|quantile| Some(self.error.value_at(known(quantile)?) as f64 / f64::from(MILLI)));
        let wanted = self.had() + self.missing;
        json!({
            "count": wanted,
            "missing_percent": if wanted == 0 { 0.0 } else { 100.0 * self.missing as f64 / wanted as f64 },
            "age_ticks": { "p50": ages[0], "p99": ages[1], "max": ages[2] },
            "age_ms": { "p50": ms[0], "p99": ms[1], "max": ms[2] },
            "error_quanta": { "p50": quanta[0], "p99": quanta[1], "max": quanta[2] },
        })
    }
}

impl Freshness {
    /// Adds another process's.
    pub(crate) fn merge(&mut self, other: &Freshness) {
        self.clients += other.clients;
        self.snapshots += other.snapshots;
        self.unknown += other.unknown;
        self.tick_hz = self.tick_hz.max(other.tick_hz);
        if self.ranks.len() < other.ranks.len() {
            self.ranks.resize(other.ranks.len(), Ages::default());
        }
        self.ranks.iter_mut().zip(&other.ranks).for_each(|(sum, more)| sum.merge(more));
        self.within.merge(&other.within);
    }

    /// The figures; nothing when no client was looked at.
    pub(crate) fn json(&self) -> Option<Value> {
        if self.snapshots == 0 {
            return None;
        }
        let mut nearest = Ages::default();
        self.ranks.iter().for_each(|rank| nearest.merge(rank));
        Some(json!({
            "clients": self.clients,
            "snapshots": self.snapshots,
            "snapshots_unknown": self.unknown,
            "nearest": nearest.json(self.tick_hz),
            "within_sight": self.within.json(self.tick_hz),
            "within_sight_mean": (self.within.had() + self.within.missing) as f64 / self.snapshots as f64,
            "by_rank": self.ranks.iter().map(|rank| rank.json(self.tick_hz)).collect::<Vec<_>>(),
        }))
    }

    /// Compares what a client has after a snapshot with the world of its tick.
    pub(super) fn look(&mut self, truth: &Truth, session: &Session<Game>, near: &mut Vec<(f32, u32)>) {
        let Some(world) = session.world() else { return };
        let Some(commit) = truth.at(world.tick().0) else {
            self.unknown += 1;
            return;
        };
        let me = session.view().mine();
        let Some((me, from)) = me.and_then(|me| Some((me, commit.get(me)?.pos?))) else { return };
        self.snapshots += 1;
        self.tick_hz = truth.tick_hz();
        self.ranks.resize(RANKS, Ages::default());
        near.clear();
        let reach = truth.radius() * truth.radius();
        for (index, known) in commit.rows.iter().enumerate().filter(|(index, _)| *index != me.index as usize) {
            let Some(pos) = known.pos else { continue };
            let way = pos - from;
            if way.dot(way) <= reach {
                near.push((way.dot(way), index as u32));
            }
        }
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        for (rank, (_, index)) in near.iter().enumerate() {
            let known = &commit.rows[*index as usize];
            let had = world.entity_at(*index).map(|(entity, _)| truth.as_seen(world, entity));
            let had = had.filter(|had| had.generation == known.generation);
            let age = had.and_then(|had| {
                let pos = truth.position(&had)?;
                Some((age(truth, commit.tick, *index, had.generation, pos), distance(pos, known.pos?)))
            });
            self.within.count(age);
            if let Some(rank) = self.ranks.get_mut(rank) {
                rank.count(age);
            }
        }
    }
}

/// How many ticks ago the entity was where the client has it.
fn age(truth: &Truth, tick: u32, index: u32, generation: u32, pos: Vec2) -> usize {
    let was_there = |back: &usize| {
        let commit = truth.at(tick.saturating_sub(*back as u32));
        commit
            .and_then(|commit| commit.rows.get(index as usize))
            .is_some_and(|row| row.generation == generation && row.pos == Some(pos))
    };
    (0..TICKS_REMEMBERED).find(was_there).unwrap_or(TICKS_REMEMBERED)
}

/// How far two positions are apart on the axis on which they are farther.
fn distance(one: Vec2, other: Vec2) -> f32 {
    (one.x - other.x).abs().max((one.y - other.y).abs())
}

/// The truths of the matches that clients are in, by name, and who is looked at.
#[derive(Default)]
pub(super) struct Truths {
    matches: HashMap<String, Option<Truth>>,
    /// Why a match could not be looked at.
    pub(super) failed: Option<String>,
}

impl Truths {
    /// The truth of a match, brought up to a tick.
    pub(super) fn of(&mut self, instance: &str, name: &str, tick: u32) -> Option<&Truth> {
        if !self.matches.contains_key(name) {
            let opened = Truth::open(instance, name);
            let truth = opened.map_err(|reason| self.failed.get_or_insert(reason).len()).ok();
            self.matches.insert(name.to_owned(), truth);
        }
        let truth = self.matches.get_mut(name)?.as_mut()?;
        truth.know(tick);
        Some(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_tell_quantiles_and_what_is_missing() {
        let mut one = Ages::default();
        (0..98).for_each(|_| one.count(Some((0, 0.0))));
        one.count(Some((1, 0.016)));
        let mut other = Ages::default();
        other.count(Some((5, 0.16)));
        other.count(None);
        one.merge(&other);
        let told = one.json(10);
        assert_eq!(told["age_ticks"], json!({ "p50": 0, "p99": 1, "max": 5 }));
        assert_eq!(told["age_ms"]["max"], json!(500.0));
        assert_eq!(told["count"], json!(101));
        let quanta = &told["error_quanta"];
        assert_eq!((&quanta["p50"], quanta["max"].as_f64().map(f64::round)), (&json!(0.0), Some(10.0)));
        let mut nothing = Ages::default();
        nothing.count(None);
        assert_eq!(
            (&nothing.json(10)["age_ticks"]["p99"], &nothing.json(10)["error_quanta"]["max"]),
            (&Value::Null, &Value::Null)
        );
        assert!((told["missing_percent"].as_f64().expect("a number") - 0.99).abs() < 0.01);
    }
}
