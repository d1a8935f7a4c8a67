//! What a run found, as JSON for programs and as a page for a person.

use std::fmt;

use serde_json::{Value, json};

use super::RunArgs;
use super::partial::{Latency, Partial};
use crate::limits;

/// A finished run.
pub(crate) struct Summary<'a> {
    args: &'a RunArgs,
    total: &'a Partial,
}

impl<'a> Summary<'a> {
    pub(crate) fn new(args: &'a RunArgs, total: &'a Partial) -> Summary<'a> {
        Summary { args, total }
    }

    /// Whether every client joined and stayed to the end.
    pub(crate) fn all_well(&self) -> bool {
        self.total.failed == 0 && self.total.disconnected == 0 && self.total.connected == self.args.clients
    }

    /// The figures, under names that stay.
    pub(crate) fn json(&self) -> Value {
        let total = self.total;
        json!({
            "clients": {
                "requested": self.args.clients,
                "connected": total.connected,
                "failed": total.failed,
                "disconnected": total.disconnected,
                "resumed": total.resumed,
                "reasons": total.reasons,
                "rejoined": total.rejoined,
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
            },
            "events": { "received": total.events },
            "latency_ms": {
                "connect": quantiles(&total.connect),
                "input_to_snapshot": quantiles(&total.input_to_snapshot),
                "network": quantiles(&total.network),
                "gap": quantiles(&total.gap),
                "resume_gap": quantiles(&total.resume_gap),
            },
            "generator": {
                "processes": self.args.processes,
                "cpu_percent": total.cpu_percent,
                "late_ms_p99": total.late.ms_at(0.99),
                "saturated": self.saturated(),
            },
            "run": { "rate_hz": self.args.rate, "duration_s": total.seconds, "seed": self.args.seed },
        })
    }

    /// Whether the generator, not the server, set the limit: then the latencies are its own. They are read in milliseconds, so
    /// a generator that is late by more than a few has spoilt them, however long its period is.
    fn saturated(&self) -> bool {
        let late_ms_max = (500.0 / self.args.rate).min(limits::LATE_MS_MAX);
        self.total.cpu_percent > limits::SATURATED_CPU_PERCENT || self.total.late.ms_at(0.99) > late_ms_max
    }

    fn per_client_hz(&self) -> f64 {
        let client_seconds = self.total.connected as f64 * self.total.seconds;
        if client_seconds > 0.0 { self.total.snapshots as f64 / client_seconds } else { 0.0 }
    }

    fn bytes_mean(&self) -> f64 {
        if self.total.snapshots == 0 { 0.0 } else { self.total.snapshot_bytes as f64 / self.total.snapshots as f64 }
    }
}

fn quantiles(latency: &Latency) -> Value {
    json!({
        "count": latency.count(),
        "p50": latency.ms_at(0.5),
        "p99": latency.ms_at(0.99),
        "p999": latency.ms_at(0.999),
        "max": latency.ms_max(),
    })
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { args, total } = self;
        let lost = total.sent.saturating_sub(total.acknowledged + total.rejected + total.abandoned);
        let lost_percent = if total.sent == 0 { 0.0 } else { 100.0 * lost as f64 / total.sent as f64 };
        writeln!(f, "{} clients x {} Hz for {:.1} s against {}", args.clients, args.rate, total.seconds, args.server)?;
        writeln!(f, "clients    {} connected, {} failed, {} disconnected", total.connected, total.failed, total.disconnected)?;
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
        if total.resumed > 0 {
            write_row(f, "resume gap", &total.resume_gap)?;
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

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, latency: &Latency) -> fmt::Result {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| latency.ms_at(quantile));
    writeln!(f, "  {name:<18} {p50:>9.2} {p99:>9.2} {p999:>9.2} {:>9.2}", latency.ms_max())
}
