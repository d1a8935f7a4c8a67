//! All rounds as one table for a person and as JSON for a program.

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::sample::{Freshness, Sample};
use super::spread::Spread;
use super::subject::Subject;
use super::{PeersArgs, PeersError};

/// All samples, by round and in the order of the subjects.
pub(super) struct Report<'a> {
    args: &'a PeersArgs,
    rounds: &'a [Vec<Sample>],
}

/// A figure of a sample, under the name that it has in JSON.
type Figure = (&'static str, fn(&Sample) -> Option<f64>);

const FIGURES: &[Figure] = &[
    ("us_per_client_tick", |sample| Some(sample.us_per_client_tick)),
    ("cpu_percent", |sample| Some(sample.cpu_percent)),
    ("down_bytes", |sample| Some(sample.down_bytes)),
    ("down_kb_per_s", |sample| Some(sample.down_kb_per_s)),
    ("delivered", |sample| Some(sample.delivered)),
    ("network_ms_p50", |sample| sample.network_ms_p50),
    ("network_ms_p99", |sample| sample.network_ms_p99),
    ("packets_out", |sample| sample.packets_out),
    ("packets_in", |sample| sample.packets_in),
    ("pss_bytes_per_client", |sample| Some(sample.pss_bytes_per_client)),
    ("rss_bytes_per_client", |sample| Some(sample.rss_bytes_per_client)),
    ("near_ticks_p50", |sample| age(sample, |age| age.near_ticks_p50)),
    ("near_ticks_p99", |sample| age(sample, |age| age.near_ticks_p99)),
    ("all_ticks_p50", |sample| age(sample, |age| age.all_ticks_p50)),
    ("all_ticks_p99", |sample| age(sample, |age| age.all_ticks_p99)),
    ("within_sight", |sample| age(sample, |age| age.within_sight)),
    ("missing_percent", |sample| sample.freshness.and_then(|age| age.missing_percent)),
    ("generator_cpu_percent", |sample| Some(sample.generator_cpu_percent)),
    ("generator_late_ms_p99", |sample| Some(sample.generator_late_ms_p99)),
];

/// The table's columns after the subject, its cost and the ratio: title, figures with "/" between, places.
const COLUMNS: &[(&str, &[&str], usize)] = &[
    ("% of a core", &["cpu_percent"], 1),
    ("packets a datagram, out / in", &["packets_out", "packets_in"], 2),
    ("network ms, p50 / p99", &["network_ms_p50", "network_ms_p99"], 1),
    ("kB/s to each client", &["down_kb_per_s"], 2),
    ("age of the nearest 32, ticks, p50 / p99", &["near_ticks_p50", "near_ticks_p99"], 0),
    ("of all in 80 m", &["all_ticks_p50", "all_ticks_p99"], 0),
    ("of those missing, %", &["missing_percent"], 2),
    ("load's % of a core", &["generator_cpu_percent"], 0),
];

fn age(sample: &Sample, of: fn(Freshness) -> f64) -> Option<f64> {
    sample.freshness.map(of)
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a PeersArgs, rounds: &'a [Vec<Sample>]) -> Report<'a> {
        Report { args, rounds }
    }

    /// Writes the JSON; `-` is the standard output.
    pub(super) fn write(&self, path: &Path) -> Result<(), PeersError> {
        let text = format!("{:#}\n", self.json());
        if path == Path::new("-") {
            print!("{text}");
            return Ok(());
        }
        fs::write(path, text).map_err(|source| PeersError::Write { path: path.into(), source })
    }

    fn json(&self) -> Value {
        let mut subjects = Map::new();
        for (at, subject) in self.args.subjects.iter().enumerate() {
            let mut figures = Map::new();
            for (name, of) in FIGURES {
                figures.insert((*name).into(), self.spread(|round| of(&round[at])).map_or(Value::Null, Spread::json));
            }
            figures.insert("ratio_of_ringfort".into(), self.ratio(at).map_or(Value::Null, Spread::json));
            let transport = self.rounds.iter().find_map(|round| round[at].transport.clone());
            figures.insert("transport".into(), transport.into());
            figures.insert("kept_up".into(), self.kept_up(at).into());
            figures.insert("rounds".into(), self.rounds.iter().map(|round| round[at].json()).collect());
            subjects.insert(subject.name().into(), figures.into());
        }
        json!({
            "clients": self.args.clients,
            "hz": self.args.hz,
            "players": self.args.players.unwrap_or(self.args.clients),
            "rounds": self.rounds.len(),
            "window_s": self.args.seconds,
            "kept_up": (0..self.args.subjects.len()).all(|at| self.kept_up(at)),
            "subjects": subjects,
        })
    }

    fn spread(&self, of: impl Fn(&[Sample]) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| of(round)).collect())
    }

    /// Ringfort's cost to that of subject `at`, round by round.
    fn ratio(&self, at: usize) -> Option<Spread> {
        let ringfort = self.args.subjects.iter().position(|subject| *subject == Subject::Ringfort)?;
        let us = |round: &[Sample], at: usize| round[at].us_per_client_tick;
        (at != ringfort).then(|| self.spread(|round| Some(us(round, ringfort) / us(round, at))))?
    }

    fn kept_up(&self, at: usize) -> bool {
        self.rounds.iter().all(|round| round[at].kept_up())
    }

    /// "yes", or how much of what it owed it delivered.
    fn verdict(&self, at: usize) -> String {
        if self.kept_up(at) {
            return "yes".into();
        }
        let least = self.spread(|round| Some(round[at].delivered)).map_or(0.0, |spread| spread.min);
        format!("no: {:.1} of {} a second", least * f64::from(self.args.hz), self.args.hz)
    }

    fn row(&self, at: usize) -> Vec<String> {
        let figure = |name: &str| FIGURES.iter().find(|(known, _)| *known == name).map(|(_, of)| *of);
        let cell = |names: &[&str], places: usize| {
            let of = |name: &&str| self.spread(|round| figure(name)?(&round[at]));
            let medians: Option<Vec<String>> = names.iter().map(|name| Some(format!("{:.places$}", of(name)?.median))).collect();
            medians.map_or("-".into(), |medians| medians.join(" / "))
        };
        let or_dash = |spread: Option<Spread>, places: usize| spread.map_or("-".into(), |spread| format!("{spread:.places$}"));
        let transport = self.rounds.iter().find_map(|round| round[at].transport.as_deref());
        let name = self.args.subjects[at].name();
        let mut row = vec![transport.map_or(name.to_owned(), |transport| format!("{name} ({transport})"))];
        row.push(or_dash(self.spread(|round| Some(round[at].us_per_client_tick)), 1));
        row.push(or_dash(self.ratio(at), 2));
        row.extend(COLUMNS.iter().map(|(_, names, places)| cell(names, *places)));
        let kib = self.spread(|round| Some(round[at].pss_bytes_per_client / 1024.0));
        row.push(kib.map_or("-".into(), |spread| format!("{:.1}", spread.median)));
        row.push(self.verdict(at));
        row
    }
}

/// A table that is Markdown, too, with columns as wide as they need to be.
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeersArgs { clients, hz, seconds, .. } = self.args;
        let rounds = self.rounds.len();
        writeln!(
            f,
            "{clients} clients x {hz} Hz, {rounds} interleaved rounds of {seconds} s: medians, and the least and greatest round\n"
        )?;
        let mut head = vec!["", "CPU, us per client and tick", "Ringfort to it"];
        head.extend(COLUMNS.iter().map(|(title, ..)| *title));
        head.extend(["PSS KiB a client", "kept up"]);
        let mut rows: Vec<Vec<String>> = vec![head.into_iter().map(str::to_owned).collect()];
        rows.extend((0..self.args.subjects.len()).map(|at| self.row(at)));
        let widths: Vec<usize> =
            (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
        for (number, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect();
            writeln!(f, "|{}|", cells.join("|"))?;
            if number == 0 {
                let lines: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
                writeln!(f, "|{}|", lines.join("|"))?;
            }
        }
        if !(0..self.args.subjects.len()).all(|at| self.kept_up(at)) {
            writeln!(f, "\nWho did not keep up cost what it costs to do less.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        peers: PeersArgs,
    }

    #[test]
    fn the_table_has_ratios_and_says_who_did_not_keep_up() {
        let args = Cli::parse_from(["peers", "--subjects", "ringfort,one-loop", "--hz", "10"]).peers;
        let sample = |us, delivered| Sample { us_per_client_tick: us, delivered, packets_out: Some(1.0), ..Sample::default() };
        let rounds = [[sample(20.0, 1.0), sample(10.0, 0.68)], [sample(30.0, 1.0), sample(10.0, 1.0)]].map(Vec::from);
        let report = Report::new(&args, &rounds);
        let json = report.json();
        assert_eq!(json["subjects"]["one-loop"]["ratio_of_ringfort"]["median"], 2.5);
        assert_eq!(json["subjects"]["ringfort"]["ratio_of_ringfort"], Value::Null);
        assert_eq!((&json["kept_up"], &json["subjects"]["ringfort"]["kept_up"]), (&false.into(), &true.into()));
        let table = report.to_string();
        let row = table.lines().find(|line| line.starts_with("| one-loop")).expect("it has a row");
        assert!(row.contains("10.0 (10.0 .. 10.0)") && row.contains("2.50 (2.00 .. 3.00)"), "{table}");
        assert!(row.contains("no: 6.8 of 10 a second"), "{table}");
        assert!(FIGURES.len() >= COLUMNS.len() && !row.contains("NaN"), "{table}");
    }
}
