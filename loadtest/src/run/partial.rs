//! What one generator process measured, in a form that can be merged with the others'.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::freshness::Freshness;
use super::series::Series;
use super::verify::Verified;
use super::watchers::Watchers;
use crate::limits;

/// Steps of a told histogram to a doubling.
const HISTOGRAM_STEPS: f64 = 4.0;

/// Microseconds, three significant digits, up to [`limits::LATENCY_US_MAX`].
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// Counts one value; what is too long counts as the longest.
    pub(crate) fn record(&mut self, value: std::time::Duration) {
        self.0.saturating_record(u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a value that is no time.
    pub(crate) fn record_value(&mut self, value: u64) {
        self.0.saturating_record(value);
    }

    /// The value at a quantile of 0.0 to 1.0, as it was counted.
    pub(crate) fn value_at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The value at a quantile of 0.0 to 1.0, in milliseconds; 0 when nothing was counted.
    pub(crate) fn ms_at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The value at a quantile of 0.0 to 1.0, in milliseconds; nothing when nothing was counted.
    pub(crate) fn ms_known(&self, quantile: f64) -> Option<f64> {
        (self.count() > 0).then(|| self.ms_at(quantile))
    }

    /// Counts by the milliseconds that they are at most: four steps to a doubling.
    pub(crate) fn histogram_ms(&self) -> Vec<(f64, u64)> {
        let mut steps: BTreeMap<i32, u64> = BTreeMap::new();
        for value in self.0.iter_recorded() {
            let step = (value.value_iterated_to().max(1) as f64).log2() * HISTOGRAM_STEPS;
            *steps.entry(step.ceil() as i32).or_default() += value.count_at_value();
        }
        let (first, last) = (steps.keys().next().copied(), steps.keys().last().copied());
        let all = first.zip(last).map_or(0..0, |(first, last)| first..last + 1);
        let at_most = |step: i32| (f64::from(step) / HISTOGRAM_STEPS).exp2() / 1e3;
        all.map(|step| (at_most(step), steps.get(&step).copied().unwrap_or(0))).collect()
    }

    /// The longest, in milliseconds.
    pub(crate) fn ms_max(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Its quantiles in milliseconds.
    pub(super) fn quantiles(&self) -> Value {
        json!({
            "count": self.count(),
            "p50": self.ms_known(0.5),
            "p99": self.ms_known(0.99),
            "p999": self.ms_known(0.999),
            "max": self.ms_known(1.0),
        })
    }

    /// Adds another process's counts.
    pub(crate) fn merge(&mut self, other: &Latency) {
        for value in other.0.iter_recorded() {
            self.0.saturating_record_n(value.value_iterated_to(), value.count_at_value());
        }
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency(Histogram::new_with_bounds(1, limits::LATENCY_US_MAX, 3).expect("constant bounds are valid"))
    }
}

/// As pairs of value and count, which is all that the next process needs to count them again.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Latency, D::Error> {
        let mut latency = Latency::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latency.0.saturating_record_n(value, count);
        }
        Ok(latency)
    }
}

/// The figures of one generator process, or of several added up.
/// What an older generator does not tell is zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Partial {
    /// Clients that it was to connect.
    pub(crate) requested: usize,
    /// Clients that joined a match.
    pub(crate) connected: usize,
    /// Clients that never joined.
    pub(crate) failed: usize,
    /// Clients that joined and then lost their session for good before the end.
    pub(crate) disconnected: usize,
    /// Times that a session came back over another connection.
    pub(crate) resumed: u64,
    /// Those that only watch; they are in no other figure but `reasons`, `matches`, `events`, `verified` and `series`.
    pub(crate) watchers: Watchers,
    /// Why clients failed or were disconnected.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Inputs sent.
    pub(crate) sent: u64,
    /// Inputs that a snapshot acknowledged.
    pub(crate) acknowledged: u64,
    /// Inputs that the server has given up because the game failed on them.
    pub(crate) rejected: u64,
    /// Inputs that were under way when their match was over.
    pub(crate) abandoned: u64,
    /// Times that a client went on to another match because its own was over.
    pub(crate) rejoined: u64,
    /// Snapshots received while inputs were sent.
    pub(crate) snapshots: u64,
    /// Their bytes.
    pub(crate) snapshot_bytes: u64,
    /// The largest of them.
    pub(crate) snapshot_bytes_max: u64,
    /// Events received.
    pub(crate) events: u64,
    /// Seconds over which inputs were sent.
    pub(crate) seconds: f64,
    /// From the first packet to a place in a match.
    pub(crate) connect: Latency,
    /// From the moment an input was due to the first snapshot that acknowledges it.
    pub(crate) input_to_snapshot: Latency,
    /// The part of it that the network and both loops took: without the wait for the tick.
    pub(crate) network: Latency,
    /// Of each client the longest silence between two snapshots.
    pub(crate) gap: Latency,
    /// Of each session that came back: from the last snapshot before to the first one after.
    pub(crate) resume_gap: Latency,
    /// How late inputs left this process.
    pub(crate) late: Latency,
    /// Use of one core while inputs were sent; over several processes the highest.
    pub(crate) cpu_percent: f64,
    /// The processes, one by one.
    pub(crate) processes: Vec<Process>,
    /// Matches that clients were in, with how many joined each.
    pub(crate) matches: BTreeMap<String, u64>,
    /// Times that a client left and came again, as it was to.
    pub(crate) churned: u64,
    /// Seconds from the first connection's first packet until all clients had a place or had failed.
    pub(crate) all_in_s: f64,
    /// What happened in each second.
    pub(crate) series: Series,
    /// Packets that went through an injected network, and those that it lost.
    pub(crate) packets: u64,
    /// See `packets`.
    pub(crate) packets_lost: u64,
    /// How old what clients saw was.
    pub(crate) freshness: Freshness,
    /// What they had, compared with what was committed.
    pub(crate) verified: Verified,
    /// Why the committed world could not be looked at.
    pub(crate) truth_unknown: Option<String>,
}

/// What one generator process used of its core, and how late it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its clients.
    pub(crate) clients: usize,
    /// Use of one core while inputs were sent.
    pub(crate) cpu_percent: f64,
    /// How late inputs left it, at the 99th percentile.
    pub(crate) late_ms_p99: f64,
}

impl Partial {
    /// Adds another process's figures.
    pub(crate) fn merge(&mut self, other: &Partial) {
        self.requested += other.requested;
        self.connected += other.connected;
        self.failed += other.failed;
        self.disconnected += other.disconnected;
        self.resumed += other.resumed;
        self.watchers.merge(&other.watchers);
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        self.abandoned += other.abandoned;
        self.rejoined += other.rejoined;
        self.snapshots += other.snapshots;
        self.snapshot_bytes += other.snapshot_bytes;
        self.snapshot_bytes_max = self.snapshot_bytes_max.max(other.snapshot_bytes_max);
        self.events += other.events;
        self.seconds = self.seconds.max(other.seconds);
        self.connect.merge(&other.connect);
        self.input_to_snapshot.merge(&other.input_to_snapshot);
        self.network.merge(&other.network);
        self.gap.merge(&other.gap);
        self.resume_gap.merge(&other.resume_gap);
        self.late.merge(&other.late);
        self.cpu_percent = self.cpu_percent.max(other.cpu_percent);
        self.processes.extend_from_slice(&other.processes);
        for (name, count) in &other.matches {
            *self.matches.entry(name.clone()).or_default() += count;
        }
        self.churned += other.churned;
        self.all_in_s = self.all_in_s.max(other.all_in_s);
        self.packets += other.packets;
        self.packets_lost += other.packets_lost;
        self.freshness.merge(&other.freshness);
        self.verified.merge(&other.verified);
        self.truth_unknown = self.truth_unknown.take().or_else(|| other.truth_unknown.clone());
        for (number, second) in &other.series {
            self.series.entry(*number).or_default().merge(second);
        }
    }

    /// Counts a client that did not make it or did not stay.
    pub(crate) fn count_reason(&mut self, reason: String) {
        *self.reasons.entry(reason).or_default() += 1;
    }
}

/// A sign of life, once a second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Clients in a match at this moment.
    pub(crate) live: usize,
    /// Clients that failed or were disconnected.
    pub(crate) gone: usize,
    /// Inputs sent so far.
    pub(crate) sent: u64,
    /// Snapshots received so far.
    pub(crate) snapshots: u64,
    /// Median and 99th percentile of the latency so far, in milliseconds.
    pub(crate) p50_ms: f64,
    /// See `p50_ms`.
    pub(crate) p99_ms: f64,
    /// Use of one core since the last sign.
    pub(crate) cpu_percent: f64,
}

impl Progress {
    /// Adds another process's: counts add up, of the rest the worst is shown.
    pub(crate) fn merge(&mut self, other: &Progress) {
        self.live += other.live;
        self.gone += other.gone;
        self.sent += other.sent;
        self.snapshots += other.snapshots;
        self.p50_ms = self.p50_ms.max(other.p50_ms);
        self.p99_ms = self.p99_ms.max(other.p99_ms);
        self.cpu_percent = self.cpu_percent.max(other.cpu_percent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_told_histogram_has_every_count_and_no_hole() {
        let mut latency = Latency::default();
        for us in [1_000, 1_010, 4_000, 4_000] {
            latency.record(Duration::from_micros(us));
        }
        let told = latency.histogram_ms();
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 4);
        assert!(told.windows(2).all(|two| (two[1].0 / two[0].0 - 2f64.powf(0.25)).abs() < 1e-9) && told.len() == 9, "{told:?}");
        assert!(told[0].0 >= 1.0 && Latency::default().histogram_ms().is_empty());
    }

    #[test]
    fn histograms_survive_the_pipe_and_add_up() {
        let mut first = Partial { requested: 2, ..Partial::default() };
        first.network.record(Duration::from_micros(1_500));
        first.count_reason("full".into());
        let text = serde_json::to_string(&first).expect("serialises");
        let mut back: Partial = serde_json::from_str(&text).expect("deserialises");
        back.merge(&first);
        assert_eq!((back.requested, back.network.count(), back.reasons["full"]), (4, 2, 2));
        assert_eq!(back.network.ms_max(), 1.5);
    }
}
