//! What a run found, as JSON for programs and as a page for a person.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::args::Scenario;
use super::crowd::{Totals, Trouble};
use super::gaps::{Gaps, Kind, Micros, Windows};
use super::ledger::Audit;

/// How many troubles are told.
const TROUBLES_TOLD: usize = 8;

/// A finished run.
pub(super) struct Report<'a> {
    pub(super) scenario: &'a Scenario,
    /// How often each was done.
    pub(super) counts: [usize; Kind::ALL.len()],
    pub(super) spared: u64,
    /// What was said of moves, upgrades and scalings that were refused.
    pub(super) refused: [Vec<String>; 3],
    /// How those supervisors ended that nobody had killed.
    pub(super) failed_starts: Vec<String>,
    pub(super) lost: Vec<&'a str>,
    pub(super) totals: Totals,
    /// Sessions that are on another front-end or connection than at first, where none may be.
    pub(super) moved: usize,
    /// Sessions that are there beside those of the clients.
    pub(super) left_over: usize,
    /// Processes that ended of a fault of their own, as the instance's log tells.
    pub(super) faults: Vec<String>,
    /// What was asked for and never done, so that the run says nothing about it.
    pub(super) undone: Vec<&'static str>,
    pub(super) audit: Audit,
    pub(super) troubles: Vec<Trouble>,
    pub(super) gaps: [Gaps; Kind::ALL.len()],
    pub(super) windows: Windows,
    pub(super) fsck: Vec<String>,
    /// What the instance has counted.
    pub(super) counters: BTreeMap<&'static str, u64>,
    pub(super) late_ms_p99: f64,
}

impl Report<'_> {
    /// What must be zero, by names that stay.
    fn zeros(&self) -> [(&'static str, u64); 16] {
        let Audit { inputs_missing, inputs_doubled, inputs_rejected, inputs_unacknowledged, events_missing, .. } = self.audit;
        let Audit { events_doubled, commands_missing, commands_doubled, accounts_wrong, .. } = self.audit;
        [
            ("sessions_lost", self.lost.len() as u64),
            ("sessions_changed", self.totals.changed),
            ("sessions_moved", self.moved as u64),
            ("sessions_left_over", self.left_over as u64),
            ("inputs_missing", inputs_missing),
            ("inputs_doubled", inputs_doubled),
            ("inputs_rejected", inputs_rejected),
            ("inputs_unacknowledged", inputs_unacknowledged),
            ("commands_missing", commands_missing),
            ("commands_doubled", commands_doubled),
            ("events_missing", events_missing),
            ("events_doubled", events_doubled),
            ("accounts_wrong", accounts_wrong),
            ("fsck_errors", self.fsck.len() as u64),
            ("faults", self.faults.len() as u64),
            ("undone", self.undone.len() as u64),
        ]
    }

    /// Whether nothing was lost, missing, doubled or damaged. A command may fail because a process was killed that it needs.
    pub(super) fn ok(&self) -> bool {
        let [moves, upgrades, scalings] = &self.refused;
        let moved = moves.is_empty() || !self.scenario.kill.is_empty();
        let went = moved && upgrades.is_empty() && scalings.is_empty() && self.failed_starts.is_empty();
        let stayed = !self.scenario.connections_stay || self.totals.resumed == 0;
        self.zeros().iter().all(|(_, count)| *count == 0) && went && stayed
    }

    /// The figures, under names that stay.
    pub(super) fn json(&self) -> Value {
        let common = &self.scenario.common;
        let mut gaps = Map::new();
        for (kind, all) in Kind::ALL.iter().zip(&self.gaps).filter(|(_, all)| all.has_any()) {
            gaps.insert(kind.name().to_owned(), quantiles(all));
        }
        let hits: Map<String, Value> =
            Kind::ALL.iter().zip(self.counts).map(|(kind, count)| (kind.name().to_owned(), count.into())).collect();
        let [kills, stops, moves, upgrades, ..] = self.counts;
        let [moves_refused, upgrades_refused, scalings_refused] = self.refused.each_ref().map(Vec::len);
        let absence: Vec<Micros> = self.windows.absences.iter().map(|(gone, back)| back - gone).collect();
        let mut report = json!({
            "kills": kills,
            "stops": stops,
            "moves": moves,
            "upgrades": upgrades,
            "hits": hits,
            "spared": self.spared,
            "moves_refused": moves_refused,
            "upgrades_refused": upgrades_refused,
            "scalings_refused": scalings_refused,
            "starts_failed": self.failed_starts.len(),
            "sessions": self.scenario.clients,
            "resumed": self.totals.resumed,
            "rebound": self.totals.rebound,
            "inputs_sent": self.totals.sent,
            "inputs_acknowledged": self.totals.acknowledged,
            "inputs_skipped": self.totals.skipped,
            "gap_ms": gaps,
            "absence_ms": { "count": absence.len(), "p50": at(&absence, 0.5), "p99": at(&absence, 0.99), "max": at(&absence, 1.0) },
            "troubles": self.troubles.iter().take(TROUBLES_TOLD).map(|trouble| self.trouble(trouble)).collect::<Vec<_>>(),
            "counters": self.counters,
            "generator": { "late_ms_p99": self.late_ms_p99 },
            "run": {
                "tick_hz": common.tick_hz,
                "rate_hz": common.rate,
                "duration_s": self.scenario.duration.as_secs_f64(),
                "every_ms": self.scenario.every.as_millis() as u64,
                "kill": self.scenario.kill.iter().map(|role| role.name()).collect::<Vec<_>>(),
                "matches": common.matches,
                "sims": common.sims,
                "frontends": common.frontends,
                "seed": common.seed,
            },
            "ok": self.ok(),
        });
        for (name, count) in self.zeros() {
            report[name] = count.into();
        }
        report
    }

    /// What went wrong, to whom, and what was done just before.
    fn trouble(&self, trouble: &Trouble) -> String {
        let Trouble { client, at, what } = trouble;
        let before = |at: Micros| {
            let hits = self.windows.hits.partition_point(|hit| hit.at <= at);
            let hit = hits.checked_sub(1).map(|last| &self.windows.hits[last]);
            hit.map(|hit| format!(", {:.0} ms after hit {hits} ({} at {:.0} ms)", ms(at - hit.at), hit.kind.name(), ms(hit.at)))
        };
        let when = match at {
            Some(at) => format!("at {:.0} ms{}", ms(*at), before(*at).unwrap_or_default()),
            None => "at the end".to_owned(),
        };
        format!("client {client} {when}: {what}")
    }
}

impl Gaps {
    fn has_any(&self) -> bool {
        ![&self.hit, &self.unsupervised, &self.others].into_iter().all(Vec::is_empty)
    }

    /// Those that are told, by name.
    fn lists(&self) -> [(&'static str, &[Micros]); 5] {
        [
            ("", &self.hit),
            ("unsupervised_", &self.unsupervised),
            ("others_", &self.others),
            ("normal_", &self.normal),
            ("again_", &self.again),
        ]
    }
}

fn quantiles(gaps: &Gaps) -> Value {
    let mut all = Map::new();
    for (prefix, list) in gaps.lists() {
        all.insert(format!("{prefix}count"), list.len().into());
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            all.insert(format!("{prefix}{name}"), at(list, quantile).into());
        }
    }
    all.into()
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
        let (scenario, common, audit, totals) = (self.scenario, &self.scenario.common, &self.audit, &self.totals);
        let Scenario { clients, .. } = scenario;
        writeln!(
            f,
            "{clients} clients x {} Hz in {} matches at {} Hz, seed {}",
            common.rate, common.matches, common.tick_hz, common.seed
        )?;
        let hits = Kind::ALL.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let hits: Vec<String> = hits.map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        writeln!(f, "done       {}", if hits.is_empty() { "nothing".to_owned() } else { hits.join(", ") })?;
        let refused: usize = self.refused.iter().map(Vec::len).sum();
        writeln!(f, "           {} times nobody was there to be killed; {refused} commands refused", self.spared)?;
        if !self.undone.is_empty() {
            writeln!(f, "           never done, so that nothing is known of it: {}", self.undone.join(", "))?;
        }
        let failed = self.failed_starts.iter().chain(self.refused.iter().flatten()).chain(&self.faults);
        failed.take(TROUBLES_TOLD).try_for_each(|why| writeln!(f, "           {why}"))?;
        if !self.windows.absences.is_empty() {
            let absence: Vec<Micros> = self.windows.absences.iter().map(|(gone, back)| back - gone).collect();
            let [p50, max] = [0.5, 1.0].map(|quantile| at(&absence, quantile));
            writeln!(f, "           {} times no supervisor, for {p50:.0} ms (p50), {max:.0} ms at most", absence.len())?;
        }
        writeln!(
            f,
            "sessions   {} lost, {} changed, {} moved, {} left over; {} times resumed, {} times another address",
            self.lost.len(),
            totals.changed,
            self.moved,
            self.left_over,
            totals.resumed,
            totals.rebound
        )?;
        writeln!(
            f,
            "inputs     {} sent, {} acknowledged, {} not; {} missing, {} doubled, {} rejected, {} not taken",
            totals.sent,
            totals.acknowledged,
            audit.inputs_unacknowledged,
            audit.inputs_missing,
            audit.inputs_doubled,
            audit.inputs_rejected,
            totals.skipped
        )?;
        writeln!(f, "commands   {} missing, {} doubled", audit.commands_missing, audit.commands_doubled)?;
        writeln!(f, "events     {} missing, {} doubled", audit.events_missing, audit.events_doubled)?;
        let (wrong, problems, faults) = (audit.accounts_wrong, self.fsck.len(), self.faults.len());
        writeln!(
            f,
            "memory     {wrong} accounts wrong, {problems} problems found by fsck; {faults} processes ended of a fault of their own"
        )?;
        self.fsck.iter().take(TROUBLES_TOLD).try_for_each(|problem| writeln!(f, "           {problem}"))?;
        self.troubles.iter().take(TROUBLES_TOLD).try_for_each(|trouble| writeln!(f, "           {}", self.trouble(trouble)))?;
        self.write_gaps(f)?;
        writeln!(f, "generator  inputs late by {:.2} ms (p99)", self.late_ms_p99)?;
        writeln!(f, "{}", if self.ok() { "ok" } else { "NOT OK" })
    }
}

impl Report<'_> {
    /// A table: a row for each list of silences that has any.
    fn write_gaps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "longest silence, ms                    count       p50       p99       max")?;
        for (kind, gaps) in Kind::ALL.iter().zip(&self.gaps).filter(|(_, gaps)| gaps.has_any()) {
            let names = ["hit", "hit, without a supervisor", "not hit", "normal", "until they play again"];
            for (name, (_, list)) in names.iter().zip(gaps.lists()).filter(|(_, (_, list))| !list.is_empty()) {
                let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| at(list, quantile));
                let row = format!("{}: {name}", kind.name());
                writeln!(f, "  {row:<34} {:>7} {p50:>9.1} {p99:>9.1} {max:>9.1}", list.len())?;
            }
        }
        Ok(())
    }
}
