//! The seconds of a run: what happened in each, in a form that processes' figures can be added up in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::limits;

/// The seconds of a run by their number in the Unix epoch, so that those of several processes meet.
pub(crate) type Series = BTreeMap<u64, Second>;

/// One second of one generator process, or of several added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Second {
    /// Clients that play in a match at its end.
    pub(crate) live: usize,
    /// Clients that watch one.
    pub(crate) watching: usize,
    /// Clients that got a place in it.
    pub(crate) joined: u64,
    /// Inputs sent.
    pub(crate) sent: u64,
    /// Inputs acknowledged.
    pub(crate) acknowledged: u64,
    /// Snapshots received.
    pub(crate) snapshots: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// See `Partial`.
    pub(crate) input_to_snapshot: Counts,
    /// See `Partial`.
    pub(crate) network: Counts,
    /// Use of one core; over several processes the sum.
    pub(crate) cpu_percent: f64,
}

impl Second {
    /// Adds the same second of another process.
    pub(crate) fn merge(&mut self, other: &Second) {
        self.live += other.live;
        self.watching += other.watching;
        self.joined += other.joined;
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.snapshots += other.snapshots;
        self.bytes += other.bytes;
        self.input_to_snapshot.merge(&other.input_to_snapshot);
        self.network.merge(&other.network);
        self.cpu_percent += other.cpu_percent;
    }
}

/// Values in microseconds with how often each was seen, in ascending order: a histogram that is no longer counted into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Counts(Vec<(u64, u64)>);

impl Counts {
    fn of(histogram: &Histogram<u64>) -> Counts {
        Counts(histogram.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect())
    }

    fn merge(&mut self, other: &Counts) {
        self.0.extend_from_slice(&other.0);
        self.0.sort_unstable_by_key(|(value, _)| *value);
        self.0.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
    }

    /// The value at a quantile of 0.0 to 1.0, in milliseconds; nothing when nothing was counted.
    pub(crate) fn ms_at(&self, quantile: f64) -> Option<f64> {
        let all: u64 = self.0.iter().map(|(_, count)| count).sum();
        let wanted = ((all as f64 * quantile).ceil() as u64).max(1);
        let mut before = 0;
        let found = self.0.iter().find(|(_, count)| {
            before += count;
            before >= wanted
        });
        found.map(|(value, _)| *value as f64 / 1e3)
    }
}

/// The second that is under way, counted into without allocating.
pub(super) struct Clerk {
    /// A moment, and what the system's clock said then, since the epoch.
    began: (Instant, Duration),
    number: u64,
    now: Second,
    input_to_snapshot: Histogram<u64>,
    network: Histogram<u64>,
}

impl Clerk {
    pub(super) fn new(now: Instant) -> Clerk {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let histogram = || Histogram::new_with_bounds(1, limits::LATENCY_US_MAX, 2).expect("constant bounds are valid");
        Clerk {
            began: (now, since),
            number: since.as_secs(),
            now: Second::default(),
            input_to_snapshot: histogram(),
            network: histogram(),
        }
    }

    /// The second under way, to count into.
    pub(super) fn second(&mut self) -> &mut Second {
        &mut self.now
    }

    pub(super) fn acknowledged(&mut self, since_due: Duration) {
        self.now.acknowledged += 1;
        self.input_to_snapshot.saturating_record(since_due.as_micros() as u64);
    }

    pub(super) fn network(&mut self, took: Duration) {
        self.network.saturating_record(took.as_micros() as u64);
    }

    /// Which second it is.
    fn number_at(&self, now: Instant) -> u64 {
        (self.began.1 + now.saturating_duration_since(self.began.0)).as_secs()
    }

    /// Whether the second under way is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.number_at(now) > self.number
    }

    /// Puts the second away that is over, and begins the one that it is now.
    pub(super) fn close(&mut self, now: Instant, (live, watching): (usize, usize), cpu_percent: f64, series: &mut Series) {
        let mut second = std::mem::take(&mut self.now);
        second.input_to_snapshot = Counts::of(&self.input_to_snapshot);
        second.network = Counts::of(&self.network);
        (second.live, second.watching, second.cpu_percent) = (live, watching, cpu_percent);
        series.insert(self.number, second);
        self.input_to_snapshot.reset();
        self.network.reset();
        self.number = self.number_at(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_of_two_processes_add_up_and_keep_their_quantiles() {
        let counts = |values: &[(u64, u64)]| Counts(values.to_vec());
        let mut one = Second { live: 2, network: counts(&[(1_000, 50), (2_000, 49)]), ..Second::default() };
        one.merge(&Second { live: 3, network: counts(&[(1_000, 1), (90_000, 1)]), ..Second::default() });
        assert_eq!((one.live, &one.network), (5, &counts(&[(1_000, 51), (2_000, 49), (90_000, 1)])));
        assert_eq!([0.5, 0.99, 1.0].map(|quantile| one.network.ms_at(quantile)), [Some(1.0), Some(2.0), Some(90.0)]);
        assert_eq!(Counts::default().ms_at(0.5), None);
    }

    #[test]
    fn a_second_holds_what_was_counted_in_it() {
        let start = Instant::now();
        let mut clerk = Clerk::new(start);
        let mut series = Series::new();
        let later = start + Duration::from_secs(3);
        clerk.second().sent += 7;
        clerk.acknowledged(Duration::from_millis(5));
        assert!(clerk.is_over(later) && !clerk.is_over(start));
        let first = clerk.number;
        clerk.close(later, (9, 4), 50.0, &mut series);
        clerk.close(later + Duration::from_secs(1), (9, 4), 50.0, &mut series);
        let numbers: Vec<u64> = series.keys().copied().collect();
        assert_eq!(numbers, [first, first + 3]);
        let told = &series[&first];
        assert_eq!(
            (told.sent, told.acknowledged, told.live, told.watching, told.input_to_snapshot.ms_at(1.0).map(f64::round)),
            (7, 1, 9, 4, Some(5.0))
        );
        assert_eq!(series[&(first + 3)].sent, 0);
    }
}
