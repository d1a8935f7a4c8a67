//! The clients of a run that only watch: counted apart, since they send no inputs and so have fewer latencies.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::partial::Latency;

/// What the spectators of one generator process saw, or of several added up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Watchers {
    /// Those that it was to connect.
    pub(super) requested: usize,
    /// Those that got a place.
    pub(super) connected: usize,
    /// Those that never got one.
    pub(super) failed: usize,
    /// Those that got one and then lost their session for good before the end.
    pub(super) disconnected: usize,
    /// Times that a match was over and another was watched.
    pub(super) rejoined: u64,
    /// Times that a session came back over another connection.
    pub(super) resumed: u64,
    /// Snapshots received in the measured time.
    pub(super) snapshots: u64,
    /// Their bytes.
    pub(super) snapshot_bytes: u64,
    /// The largest of them.
    pub(super) snapshot_bytes_max: u64,
    /// From the first packet to a place.
    pub(super) connect: Latency,
    /// Of each the longest silence between two snapshots.
    pub(super) gap: Latency,
}

impl Watchers {
    /// Adds another process's.
    pub(super) fn merge(&mut self, other: &Watchers) {
        self.requested += other.requested;
        self.connected += other.connected;
        self.failed += other.failed;
        self.disconnected += other.disconnected;
        self.rejoined += other.rejoined;
        self.resumed += other.resumed;
        self.snapshots += other.snapshots;
        self.snapshot_bytes += other.snapshot_bytes;
        self.snapshot_bytes_max = self.snapshot_bytes_max.max(other.snapshot_bytes_max);
        self.connect.merge(&other.connect);
        self.gap.merge(&other.gap);
    }

    /// Whether all got a place and stayed.
    pub(super) fn are_well(&self) -> bool {
        self.failed == 0 && self.disconnected == 0 && self.connected == self.requested
    }

    /// The figures of a run whose measured time was so long; nothing when nobody was to watch.
    pub(super) fn json(&self, seconds: f64) -> Option<Value> {
        (self.requested > 0).then(|| {
            json!({
                "requested": self.requested,
                "connected": self.connected,
                "failed": self.failed,
                "disconnected": self.disconnected,
                "rejoined": self.rejoined,
                "resumed": self.resumed,
                "snapshots": {
                    "received": self.snapshots,
                    "per_client_hz": self.per_client_hz(seconds),
                    "bytes_mean": self.bytes_mean(),
                    "bytes_max": self.snapshot_bytes_max,
                },
                "latency_ms": { "connect": self.connect.quantiles(), "gap": self.gap.quantiles() },
            })
        })
    }

    /// A line of the page for a person.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, seconds: f64) -> fmt::Result {
        let Watchers { requested, connected, failed, disconnected, snapshots, .. } = self;
        if *requested == 0 {
            return Ok(());
        }
        let (hz, bytes) = (self.per_client_hz(seconds), self.bytes_mean());
        writeln!(f, "spectators {connected} of {requested} watch, {failed} failed, {disconnected} disconnected")?;
        writeln!(f, "           {snapshots} snapshots, {hz:.2} a second and spectator, {bytes:.0} bytes on average")
    }

    fn per_client_hz(&self, seconds: f64) -> f64 {
        let client_seconds = self.connected as f64 * seconds;
        if client_seconds > 0.0 { self.snapshots as f64 / client_seconds } else { 0.0 }
    }

    fn bytes_mean(&self) -> f64 {
        self.snapshot_bytes as f64 / self.snapshots.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn spectators_of_two_processes_add_up_and_are_well_when_all_watch() {
        let mut all = Watchers { requested: 2, connected: 2, snapshots: 60, snapshot_bytes: 600, ..Watchers::default() };
        all.gap.record(Duration::from_millis(110));
        assert!(all.are_well() && Watchers::default().json(3.0).is_none());
        all.merge(&Watchers { requested: 2, connected: 1, failed: 1, snapshot_bytes_max: 40, ..all.clone() });
        let told = all.json(10.0).expect("somebody watched");
        assert_eq!((&told["connected"], &told["failed"], &told["latency_ms"]["gap"]["count"]), (&json!(3), &json!(1), &json!(2)));
        assert_eq!((&told["snapshots"]["per_client_hz"], &told["snapshots"]["bytes_mean"]), (&json!(4.0), &json!(10.0)));
        assert!(!all.are_well());
    }
}
