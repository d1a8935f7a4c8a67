//! What a chaos run found, as JSON for programs and as a page for a person.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::ChaosArgs;
use super::gaps::{Gaps, Kind, Micros};
use super::ledger::Audit;

/// A finished run.
pub(super) struct Report<'a> {
    pub(super) args: &'a ChaosArgs,
    /// How often each was done.
    pub(super) counts: [usize; Kind::ALL.len()],
    pub(super) spared: u64,
    /// What was said of moves and of upgrades that were refused.
    pub(super) moves_refused: Vec<String>,
    pub(super) upgrades_refused: Vec<String>,
    pub(super) lost: Vec<&'a str>,
    pub(super) inputs_sent: u64,
    pub(super) inputs_acknowledged: u64,
    pub(super) audit: Audit,
    pub(super) gaps: [Gaps; Kind::ALL.len()],
    pub(super) fsck: Vec<String>,
    /// What the instance has counted.
    pub(super) counters: BTreeMap<&'static str, u64>,
    pub(super) late_ms_p99: f64,
}

impl Report<'_> {
    /// Whether nothing was lost, missing, doubled or damaged. A match may be kept from moving by a death of its sim.
    pub(super) fn ok(&self) -> bool {
        let moved = self.moves_refused.is_empty() || !self.args.kill.is_empty();
        let went = moved && self.upgrades_refused.is_empty();
        self.lost.is_empty() && self.audit.is_clean() && self.fsck.is_empty() && went
    }

    /// The figures, under names that stay.
    pub(super) fn json(&self) -> Value {
        let Audit {
            inputs_missing, inputs_doubled, inputs_rejected, inputs_unacknowledged, events_missing, events_doubled, ..
        } = self.audit;
        let Audit { commands_missing, commands_doubled, accounts_wrong, .. } = self.audit;
        let mut gaps = Map::new();
        for (kind, all) in Kind::ALL.iter().zip(&self.gaps) {
            if !all.hit.is_empty() {
                gaps.insert(kind.name().to_owned(), quantiles(all));
            }
        }
        let [kills, stops, moves, upgrades] = self.counts;
        json!({
            "kills": kills,
            "stops": stops,
            "moves": moves,
            "upgrades": upgrades,
            "spared": self.spared,
            "moves_refused": self.moves_refused.len(),
            "upgrades_refused": self.upgrades_refused.len(),
            "sessions": self.args.clients,
            "sessions_lost": self.lost.len(),
            "inputs_sent": self.inputs_sent,
            "inputs_acknowledged": self.inputs_acknowledged,
            "inputs_unacknowledged": inputs_unacknowledged,
            "inputs_missing": inputs_missing,
            "inputs_doubled": inputs_doubled,
            "inputs_rejected": inputs_rejected,
            "commands_missing": commands_missing,
            "commands_doubled": commands_doubled,
            "events_missing": events_missing,
            "events_doubled": events_doubled,
            "accounts_wrong": accounts_wrong,
            "gap_ms": gaps,
            "fsck_errors": self.fsck.len(),
            "counters": self.counters,
            "generator": { "late_ms_p99": self.late_ms_p99 },
            "run": {
                "tick_hz": self.args.tick_hz,
                "rate_hz": self.args.rate,
                "duration_s": self.args.duration.as_secs_f64(),
                "every_ms": ms(self.args.every.as_micros() as Micros),
                "matches": self.args.matches,
                "sims": self.args.sims,
                "seed": self.args.seed,
            },
            "ok": self.ok(),
        })
    }
}

fn quantiles(gaps: &Gaps) -> Value {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| at(&gaps.hit, quantile));
    let [normal_p50, normal_p99, normal_max] = [0.5, 0.99, 1.0].map(|quantile| at(&gaps.normal, quantile));
    json!({
        "count": gaps.hit.len(), "p50": p50, "p99": p99, "max": max,
        "normal_count": gaps.normal.len(), "normal_p50": normal_p50, "normal_p99": normal_p99, "normal_max": normal_max,
    })
}

/// The value at a quantile in milliseconds, by the nearest rank; 0 of nothing.
fn at(values: &[Micros], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().map_or(0.0, ms)
}

fn ms(micros: Micros) -> f64 {
    f64::from(micros) / 1e3
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (args, audit) = (self.args, &self.audit);
        let [kills, stops, moves, upgrades] = self.counts;
        writeln!(f, "{} clients x {} Hz in {} matches at {} Hz", args.clients, args.rate, args.matches, args.tick_hz)?;
        writeln!(f, "done       {kills} kills, {stops} stops, {moves} moves, {upgrades} upgrades")?;
        let mut refusals = self.upgrades_refused.iter().chain(&self.moves_refused);
        let refused = refusals.clone().count();
        writeln!(f, "           {} times no sim was there to be killed; {refused} moves and upgrades refused", self.spared)?;
        if let Some(why) = refusals.next() {
            writeln!(f, "           {why}")?;
        }
        writeln!(f, "sessions   {} lost", self.lost.len())?;
        if let Some(reason) = self.lost.first() {
            writeln!(f, "           {reason}")?;
        }
        writeln!(
            f,
            "inputs     {} sent, {} acknowledged, {} not; {} missing, {} doubled, {} rejected",
            self.inputs_sent,
            self.inputs_acknowledged,
            audit.inputs_unacknowledged,
            audit.inputs_missing,
            audit.inputs_doubled,
            audit.inputs_rejected
        )?;
        writeln!(f, "commands   {} missing, {} doubled", audit.commands_missing, audit.commands_doubled)?;
        writeln!(f, "events     {} missing, {} doubled", audit.events_missing, audit.events_doubled)?;
        writeln!(f, "memory     {} accounts wrong, {} problems found by fsck", audit.accounts_wrong, self.fsck.len())?;
        self.fsck.iter().take(8).try_for_each(|problem| writeln!(f, "           {problem}"))?;
        writeln!(f, "longest silence, ms       p50       p99       max   normal p50       p99       max")?;
        for (kind, gaps) in Kind::ALL.iter().zip(&self.gaps).filter(|(_, gaps)| !gaps.hit.is_empty()) {
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| at(&gaps.hit, quantile));
            let [normal_p50, normal_p99, normal_max] = [0.5, 0.99, 1.0].map(|quantile| at(&gaps.normal, quantile));
            write!(f, "  {:<18} {p50:>9.1} {p99:>9.1} {max:>9.1}", kind.name())?;
            writeln!(f, "    {normal_p50:>9.1} {normal_p99:>9.1} {normal_max:>9.1}")?;
        }
        writeln!(f, "generator  inputs late by {:.2} ms (p99)", self.late_ms_p99)?;
        writeln!(f, "{}", if self.ok() { "ok" } else { "NOT OK" })
    }
}
