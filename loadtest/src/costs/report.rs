//! The costs of all rounds as a table for a person and as JSON for a program.

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::subject::{Sample, Subject};
use super::{Answer, CostsArgs, CostsError};

/// All samples, by round and in the order of `subjects`.
pub(super) struct Report<'a> {
    args: &'a CostsArgs,
    subjects: &'a [Subject],
    rounds: &'a [Vec<Sample>],
}

/// A figure over all rounds.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a CostsArgs, subjects: &'a [Subject], rounds: &'a [Vec<Sample>]) -> Report<'a> {
        Report { args, subjects, rounds }
    }

    /// Writes the JSON; `-` is the standard output.
    pub(super) fn write(&self, path: &Path) -> Result<(), CostsError> {
        let text = format!("{:#}\n", self.json());
        if path == Path::new("-") {
            print!("{text}");
            return Ok(());
        }
        fs::write(path, text).map_err(|source| CostsError::Write { path: path.into(), source })
    }

    fn json(&self) -> Value {
        let mut servers = Map::new();
        for (at, subject) in self.subjects.iter().enumerate() {
            servers.insert(
                subject.name().into(),
                json!({
                    "us_per_client_tick": self.spread(|round| round[at].us_per_client_tick).json(),
                    "cpu_percent": self.spread(|round| round[at].cpu_percent).json(),
                    "generator_cpu_percent": self.spread(|round| round[at].generator_cpu_percent).json(),
                    "down_bytes": self.spread(|round| round[at].down_bytes as f64).json(),
                    "delivered": self.spread(|round| round[at].delivered).json(),
                    "rounds_us": self.rounds.iter().map(|round| round[at].us_per_client_tick).collect::<Vec<_>>(),
                }),
            );
        }
        let mut ratios = Map::new();
        for (name, spread) in self.ratios() {
            ratios.insert(name, spread.json());
        }
        json!({
            "clients": self.args.clients,
            "hz": self.args.hz,
            "rounds": self.rounds.len(),
            "window_s": self.args.seconds,
            "answer": self.args.answer.flag(),
            "kept_up": self.rounds.iter().flatten().all(Sample::kept_up),
            "servers": servers,
            "ratios": ratios,
        })
    }

    /// Ringfort to each baseline, or one baseline to the other when Ringfort was left out.
    fn ratios(&self) -> Vec<(String, Spread)> {
        let first = self.subjects[0];
        let others = self.subjects.iter().enumerate().skip(1);
        others
            .map(|(at, subject)| {
                let ratio = |round: &[Sample]| round[0].us_per_client_tick / round[at].us_per_client_tick;
                (format!("{}_to_{}", first.name(), subject.name()), self.spread(ratio))
            })
            .collect()
    }

    fn spread(&self, of: impl Fn(&[Sample]) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| of(round)).collect())
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread { median: (at(low) + at(high)) / 2.0, min: at(0), max: at(values.len().saturating_sub(1)) }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CostsArgs { clients, hz, seconds, answer, .. } = self.args;
        let rounds = self.rounds.len();
        writeln!(f, "Server CPU at {clients} clients x {hz} Hz, {rounds} rounds of {seconds} s; median (min .. max)")?;
        writeln!(f, "{:<13} {:>31} {:>9} {:>10} {:>10}", "", "us per client and tick", "% of core", "bytes down", "delivered")?;
        for (at, subject) in self.subjects.iter().enumerate() {
            let us = self.spread(|round| round[at].us_per_client_tick);
            writeln!(
                f,
                "{:<13} {us:>31} {:>9.1} {:>10.0} {:>9.1}%",
                subject.name(),
                self.spread(|round| round[at].cpu_percent).median,
                self.spread(|round| round[at].down_bytes as f64).median,
                100.0 * self.spread(|round| round[at].delivered).min,
            )?;
        }
        for (name, spread) in self.ratios() {
            writeln!(f, "{:<28} {spread:>16.2}", name.replace('_', " "))?;
        }
        if !self.rounds.iter().flatten().all(Sample::kept_up) {
            writeln!(f, "A server did not deliver a datagram per client and tick: its cost is that of doing less.")?;
        }
        if *answer == Answer::Receipt {
            writeln!(f, "The baselines answered each datagram at once and did not wait for a tick.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(1);
        let Spread { median, min, max } = self;
        let text = format!("{median:.places$} ({min:.places$} .. {max:.places$})");
        // `pad` would cut the text at the precision, so the width alone is applied here.
        let width = f.width().unwrap_or(0);
        write!(f, "{text:>width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(format!("{spread:>18.1}"), "  2.5 (1.0 .. 4.0)");
    }
}
