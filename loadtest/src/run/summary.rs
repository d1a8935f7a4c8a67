//! What a run found, as JSON for programs and as a page for a person.

use std::fmt;

use serde_json::{Value, json};

use super::RunArgs;
use super::crew::Found;
use super::footprint;
use super::partial::{Latency, Partial, Process};
use super::scenario::Scenario;
use super::series::Second;
use super::verify::Verified;
use crate::limits;
use crate::netem::Conditions;

/// A finished run.
pub(crate) struct Summary<'a> {
    args: &'a RunArgs,
    found: &'a Found,
    total: &'a Partial,
}

impl<'a> Summary<'a> {
    pub(crate) fn new(args: &'a RunArgs, found: &'a Found) -> Summary<'a> {
        Summary { args, found, total: &found.total }
    }

    /// Whether every client joined and stayed to the end, all in one match if they were to be.
    pub(crate) fn all_well(&self) -> bool {
        let well = |part: &Partial| part.failed == 0 && part.disconnected == 0 && part.connected == part.requested;
        well(self.total)
            && self.total.watchers.are_well()
            && self.found.storm.iter().all(well)
            && !self.is_scattered()
            && self.is_right()
    }

    /// Whether what clients had was what was committed, if that was to be compared.
    fn is_right(&self) -> bool {
        let right = |part: &Partial| part.verified.is_right() && part.truth_unknown.is_none();
        !self.args.verify || right(self.total) && self.found.storm.iter().all(right)
    }

    /// What all clients had, those of a storm included.
    fn verified(&self) -> Verified {
        let mut all = self.total.verified.clone();
        self.found.storm.iter().for_each(|storm| all.merge(&storm.verified));
        all
    }

    fn truth_unknown(&self) -> Option<&String> {
        self.total.truth_unknown.as_ref().or_else(|| self.found.storm.as_ref()?.truth_unknown.as_ref())
    }

    /// Whether they are in several matches, though they were to be in one.
    fn is_scattered(&self) -> bool {
        self.args.scenario.is_one_match() && self.total.matches.len() > 1
    }

    /// The seconds of the run, those of a storm added to those of the players; `t` counts from the beginning of the measured time.
    fn series(&self) -> Vec<Value> {
        let mut series = self.total.series.clone();
        for (number, second) in self.found.storm.iter().flat_map(|storm| &storm.series) {
            // Latencies are those of who played before.
            let second = Second { network: <_>::default(), input_to_snapshot: <_>::default(), ..second.clone() };
            series.entry(*number).or_default().merge(&second);
        }
        series.iter().map(|(number, second)| self.second(*number as i64 - self.found.began as i64, second)).collect()
    }

    fn second(&self, t: i64, second: &Second) -> Value {
        json!({
            "t": t,
            "live": second.live,
            "watching": second.watching,
            "joined": second.joined,
            "sent": second.sent,
            "acknowledged": second.acknowledged,
            "snapshots": second.snapshots,
            "bytes": second.bytes,
            "network_ms": { "p50": second.network.ms_at(0.5), "p99": second.network.ms_at(0.99), "max": second.network.ms_at(1.0) },
            "input_to_snapshot_ms": {
                "p50": second.input_to_snapshot.ms_at(0.5),
                "p99": second.input_to_snapshot.ms_at(0.99),
                "max": second.input_to_snapshot.ms_at(1.0),
            },
            "generator_cpu_percent": second.cpu_percent,
            "server": self.found.server_seconds.get(&((t + self.found.began as i64) as u64)),
        })
    }

    fn storm(&self) -> Option<Value> {
        let storm = self.found.storm.as_ref()?;
        Some(json!({
            "requested": storm.requested,
            "connected": storm.connected,
            "failed": storm.failed,
            "disconnected": storm.disconnected,
            "reasons": storm.reasons,
            "all_in_s": storm.all_in_s,
            "latency_ms": { "connect": storm.connect.quantiles(), "network": storm.network.quantiles() },
        }))
    }

    /// The figures, under names that stay.
    pub(crate) fn json(&self) -> Value {
        let total = self.total;
        let mut network = total.network.quantiles();
        network["histogram"] = json!(total.network.histogram_ms());
        json!({
            "clients": {
                "requested": total.requested,
                "connected": total.connected,
                "all_in_s": total.all_in_s,
                "churned": total.churned,
                "matches": total.matches,
                "failed": total.failed,
                "disconnected": total.disconnected,
                "resumed": total.resumed,
                "reasons": total.reasons,
                "rejoined": total.rejoined,
                "spectators": total.watchers.json(total.seconds),
            },
            "inputs": {
                "sent": total.sent,
                "acknowledged": total.acknowledged,
                "rejected": total.rejected,
                "abandoned": total.abandoned,
            },
            "snapshots": {
                "received": total.snapshots,
                "per_client_hz": self.per_client_hz(),
                "bytes_mean": self.bytes_mean(),
                "bytes_max": total.snapshot_bytes_max,
                "kb_per_second_and_client": self.per_client_hz() * self.bytes_mean() / 1e3,
            },
            "events": { "received": total.events },
            "latency_ms": {
                "connect": total.connect.quantiles(),
                "input_to_snapshot": total.input_to_snapshot.quantiles(),
                "network": network,
                "gap": total.gap.quantiles(),
                "resume_gap": total.resume_gap.quantiles(),
            },
            "generator": {
                "processes": self.args.processes,
                "cpu_percent": total.cpu_percent,
                "late_ms_p99": total.late.ms_known(0.99),
                "saturated": self.saturated(),
                "per_process": total.processes.iter().map(|process| self.process(process)).collect::<Vec<_>>(),
            },
            "server": self.found.server.as_ref().ok(),
            "server_unknown": self.found.server.as_ref().err(),
            "storm": self.storm(),
            "freshness": total.freshness.json(),
            "verify": self.args.verify.then(|| self.verified()),
            "truth_unknown": self.truth_unknown(),
            "series": self.series(),
            "network": {
                "loss_percent": self.args.network.loss,
                "delay_ms": self.args.network.delay,
                "jitter_ms": self.args.network.jitter,
                "reorder": self.args.network.reorder,
                "packets": total.packets,
                "packets_lost": total.packets_lost,
            },
            "run": {
                "scenario": self.args.scenario,
                "rate_hz": self.rate(),
                "duration_s": total.seconds,
                "seed": self.args.seed,
            },
        })
    }

    fn rate(&self) -> f64 {
        self.args.scenario.rate(self.args.rate)
    }

    fn process(&self, process: &Process) -> Value {
        json!({
            "clients": process.clients,
            "cpu_percent": process.cpu_percent,
            "late_ms_p99": process.late_ms_p99,
            "saturated": self.is_too_slow(process),
        })
    }

    /// Whether the generator, not the server, set the limit: then the latencies are its own.
    fn saturated(&self) -> bool {
        self.total.processes.iter().any(|process| self.is_too_slow(process))
    }

    /// Latencies are read in milliseconds, so a process that is late by more than a few has spoilt them, however long its period is.
    fn is_too_slow(&self, process: &Process) -> bool {
        let late_ms_max = (500.0 / self.rate()).min(limits::LATE_MS_MAX);
        process.cpu_percent > limits::SATURATED_CPU_PERCENT || process.late_ms_p99 > late_ms_max
    }

    fn per_client_hz(&self) -> f64 {
        let client_seconds = self.total.connected as f64 * self.total.seconds;
        if client_seconds > 0.0 { self.total.snapshots as f64 / client_seconds } else { 0.0 }
    }

    fn bytes_mean(&self) -> f64 {
        if self.total.snapshots == 0 { 0.0 } else { self.total.snapshot_bytes as f64 / self.total.snapshots as f64 }
    }
}

impl Summary<'_> {
    /// How old what clients saw was, and whether it was right.
    fn write_truth(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total;
        if let Some(reason) = self.truth_unknown() {
            writeln!(f, "           The committed world could not be looked at: {reason}")?;
        }
        if let Some(freshness) = total.freshness.json() {
            let number = |path: &str| freshness.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
            writeln!(
                f,
                "freshness  {} clients, {:.0} others in sight, {:.1} KB a second to each",
                total.freshness.clients,
                number("/within_sight_mean"),
                self.per_client_hz() * self.bytes_mean() / 1e3
            )?;
            for (what, name) in [("nearest 32", "nearest"), ("in sight", "within_sight")] {
                let at = |path: &str| number(&format!("/{name}/{path}"));
                let [p50, p99, max] = ["p50", "p99", "max"].map(|quantile| at(&format!("age_ms/{quantile}")));
                let (missing, quanta) = (at("missing_percent"), at("error_quanta/max"));
                writeln!(
                    f,
                    "  {what:<10} ms old p50 {p50:.0} p99 {p99:.0} max {max:.0}, {missing:.3} % missing, off by {quanta:.1} quanta"
                )?;
            }
        }
        if self.args.verify {
            let Verified { snapshots, equal, entities, put_off, mismatches, missing, unknown, first, .. } = &self.verified();
            let Verified { full, blind, early, .. } = &self.verified();
            writeln!(f, "verify     {snapshots} snapshots, {equal} equal by hash; {entities} entities, {put_off} put off")?;
            writeln!(f, "           {full} full, {blind} of clients without a place, {early} before the match was known")?;
            writeln!(f, "           {mismatches} mismatches, {missing} missing, {unknown} snapshots of unknown ticks")?;
            if let Some(first) = first {
                writeln!(f, "           the first: {first}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { args, total, found } = self;
        let lost = total.sent.saturating_sub(total.acknowledged + total.rejected + total.abandoned);
        let lost_percent = if total.sent == 0 { 0.0 } else { 100.0 * lost as f64 / total.sent as f64 };
        let (clients, rate) = (total.requested, self.rate());
        writeln!(f, "{:?}: {clients} clients x {rate} Hz for {:.1} s against {}", args.scenario, total.seconds, args.server)?;
        let Partial { connected, failed, disconnected, all_in_s, .. } = total;
        writeln!(f, "clients    {connected} connected within {all_in_s:.1} s, {failed} failed, {disconnected} disconnected")?;
        total.watchers.write(f, total.seconds)?;
        if args.scenario == Scenario::Churn {
            writeln!(f, "           {} times one left and came again", total.churned)?;
        }
        if self.is_scattered() {
            writeln!(f, "           They are in {} matches and should be in one: name it by --match.", total.matches.len())?;
        }
        if total.resumed > 0 {
            writeln!(f, "           {} times a session came back over another connection", total.resumed)?;
        }
        if total.rejoined > 0 {
            writeln!(f, "           {} times a match was over and another was joined", total.rejoined)?;
        }
        for (reason, count) in &total.reasons {
            writeln!(f, "           {count} x {reason}")?;
        }
        writeln!(f, "inputs     {} sent, {} acknowledged, {lost} lost ({lost_percent:.3} %)", total.sent, total.acknowledged)?;
        if total.rejected > 0 {
            writeln!(f, "           {} rejected because the game failed on them", total.rejected)?;
        }
        writeln!(
            f,
            "snapshots  {} received, {:.2} a second and client, {:.0} bytes on average, {} at most",
            total.snapshots,
            self.per_client_hz(),
            self.bytes_mean(),
            total.snapshot_bytes_max
        )?;
        writeln!(f, "latency, ms               p50       p99     p99.9       max")?;
        write_row(f, "connect", &total.connect)?;
        write_row(f, "input to snapshot", &total.input_to_snapshot)?;
        write_row(f, "network", &total.network)?;
        write_row(f, "gap", &total.gap)?;
        if total.watchers.gap.count() > 0 {
            write_row(f, "spectators connect", &total.watchers.connect)?;
            write_row(f, "spectators gap", &total.watchers.gap)?;
        }
        if total.resumed > 0 {
            write_row(f, "resume gap", &total.resume_gap)?;
        }
        if let Some(storm) = &found.storm {
            writeln!(
                f,
                "storm      {} of {} in within {:.1} s, {} failed, {} disconnected",
                storm.connected, storm.requested, storm.all_in_s, storm.failed, storm.disconnected
            )?;
            for (reason, count) in &storm.reasons {
                writeln!(f, "           {count} x {reason}")?;
            }
            write_row(f, "storm connect", &storm.connect)?;
            write_row(f, "storm network", &storm.network)?;
        }
        if args.network.are_bad() {
            let Conditions { loss, delay, jitter, .. } = args.network;
            let (lost, packets) = (total.packets_lost, total.packets);
            writeln!(f, "network    {loss} % lost, {delay} +- {jitter} ms each way: {lost} of {packets} packets lost")?;
        }
        self.write_truth(f)?;
        match &self.found.server {
            Ok(server) => write_server(f, server)?,
            Err(reason) => writeln!(f, "server     not looked at: {reason}")?,
        }
        writeln!(
            f,
            "generator  {} processes, at most {:.0} % of a core, inputs late by {:.2} ms (p99)",
            args.processes,
            total.cpu_percent,
            total.late.ms_at(0.99)
        )?;
        if self.saturated() {
            writeln!(
                f,
                "The generator was the bottleneck: these latencies say nothing about the server. Use fewer clients, \
                 more --processes, or another machine."
            )?;
        }
        Ok(())
    }
}

fn write_server(f: &mut fmt::Formatter<'_>, server: &Value) -> fmt::Result {
    let number = |path: &str| server.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let of = |role: &str| number(&format!("/cpu_percent/{role}"));
    writeln!(
        f,
        "server     {:.0} % of a core: front-ends {:.0}, sims {:.0}, supervisor {:.0}; {:.1} MiB counted once (PSS)",
        of("total"),
        of("frontend"),
        of("sim"),
        of("supervisor"),
        number("/pss_bytes") / f64::from(1 << 20)
    )?;
    footprint::write(f, &server["memory"])?;
    for (what, name) in [("tick", "tick_us"), ("late", "tick_late_us")] {
        let at = |quantile: &str| number(&format!("/{name}/{quantile}"));
        writeln!(f, "  {what:<5} us            p50 {:>7} p99 {:>7} max {:>7}", at("p50"), at("p99"), at("max"))?;
    }
    let [inward, outward] = ["in", "out"].map(|way| number(&format!("/packets_per_datagram/{way}")));
    writeln!(f, "  packets a datagram  {inward:.2} in, {outward:.2} out")
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, latency: &Latency) -> fmt::Result {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| latency.ms_at(quantile));
    writeln!(f, "  {name:<18} {p50:>9.2} {p99:>9.2} {p999:>9.2} {:>9.2}", latency.ms_max())
}
