//! What a worker writes about itself: who it is, its heartbeat, its counters, and a sim's histograms. One writer, any reader.

use std::sync::atomic::Ordering;

use crate::layout::{HISTOGRAM_BUCKETS, WorkerSelf, worker as at};
use crate::limits::{MAX_COUNTERS, MAX_ZONES};
use crate::memory::{Memory, Words};
use crate::process::ProcessId;
use crate::segment::Segment;

/// A worker's own segment, from its own process or from any other.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPage<'m> {
    memory: &'m Memory,
}

/// Which histogram of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickHistogram {
    /// Start of the tick to its publication, microseconds.
    Took = 0,
    /// Due time to start, microseconds.
    Late = 1,
}

/// Quantiles of a shared histogram, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Values counted.
    pub count: u64,
    /// Half of the values are at most this.
    pub p50: u64,
    /// 99 of 100 values are at most this.
    pub p99: u64,
    /// The largest, exact.
    pub max: u64,
}

impl<'m> WorkerPage<'m> {
    /// The page in a worker's segment.
    pub fn new(segment: &'m Segment) -> Self {
        Self { memory: segment.memory() }
    }

    /// A worker's page in memory that is no segment.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn over(memory: &'m Memory) -> Self {
        Self { memory }
    }

    /// Says who writes here. A worker does this before anything else.
    pub fn claim(&self) {
        let me = ProcessId::current();
        self.memory.write(at::SELF, &WorkerSelf { pid: me.pid.into(), start_time: me.start_time });
    }

    /// Who writes here.
    pub fn claimed_by(&self) -> ProcessId {
        let me: WorkerSelf = self.memory.read(at::SELF);
        ProcessId { pid: me.pid as u32, start_time: me.start_time }
    }

    /// Notes the loop's time, microseconds of CLOCK_MONOTONIC.
    pub fn beat(&self, now_us: u64) {
        self.memory.store(at::HEARTBEAT, now_us, Ordering::Relaxed);
    }

    /// Time of the last loop.
    pub fn heartbeat(&self) -> u64 {
        self.memory.load(at::HEARTBEAT, Ordering::Relaxed)
    }

    /// Says that everything up to a directory generation was acted upon: no zone closed by then is touched any more.
    pub fn saw_generation(&self, generation: u64) {
        // SYNC POINT: seen-generation
        self.memory.store(at::SEEN_GENERATION, generation, Ordering::Release);
    }

    /// The generation that the worker has acted upon.
    pub fn seen_generation(&self) -> u64 {
        // SYNC POINT: seen-generation
        self.memory.load(at::SEEN_GENERATION, Ordering::Acquire)
    }

    /// A sim says whose tick or takeover is under way.
    pub fn set_stepping(&self, zone: Option<usize>) {
        self.memory.store(at::STEPPING, zone.map_or(0, |zone| zone as u64 + 1), Ordering::Relaxed);
    }

    /// The zone whose tick or takeover was under way last.
    pub fn stepping(&self) -> Option<usize> {
        let zone = self.memory.load(at::STEPPING, Ordering::Relaxed).checked_sub(1)?;
        usize::try_from(zone).ok().filter(|zone| *zone < MAX_ZONES)
    }

    /// A sim says whether it may be given zones.
    pub fn set_ready(&self, ready: bool) {
        // SYNC POINT: sim-ready
        self.memory.store(at::READY, ready.into(), Ordering::Release);
    }

    /// Whether a sim may be given zones. Of a process that claimed its segment before.
    pub fn is_ready(&self) -> bool {
        // SYNC POINT: sim-ready
        self.memory.load(at::READY, Ordering::Acquire) == 1
    }

    /// Says from which level on the worker logs, 1 error to 5 trace.
    pub fn set_log_level(&self, level: u8) {
        self.memory.store(at::LOG_LEVEL, level.into(), Ordering::Relaxed);
    }

    /// The level from which on the worker logs; 0 when it has not said so.
    pub fn log_level(&self) -> u8 {
        u8::try_from(self.memory.load(at::LOG_LEVEL, Ordering::Relaxed)).unwrap_or(0)
    }

    /// Sets a counter to its new value.
    pub fn set_counter(&self, counter: usize, value: u64) {
        assert!(counter < MAX_COUNTERS);
        self.memory.store(at::COUNTERS + counter * 8, value, Ordering::Relaxed);
    }

    /// Adds to a counter. The worker is the only writer, so this is a plain load and store.
    pub fn add(&self, counter: usize, n: u64) {
        self.set_counter(counter, self.counter(counter).wrapping_add(n));
    }

    /// Reads a counter.
    pub fn counter(&self, counter: usize) -> u64 {
        assert!(counter < MAX_COUNTERS);
        self.memory.load(at::COUNTERS + counter * 8, Ordering::Relaxed)
    }

    /// Says which match of a zone slot the sim could not start; 0 takes it back.
    pub fn set_failed(&self, zone: usize, incarnation: u64) {
        assert!(zone < MAX_ZONES);
        // SYNC POINT: zone-failed
        self.memory.store(at::FAILED + zone * 8, incarnation, Ordering::Release);
    }

    /// Whether the sim could not start a match: nobody steps it.
    pub fn has_failed(&self, zone: usize, incarnation: u64) -> bool {
        assert!(zone < MAX_ZONES);
        // SYNC POINT: zone-failed
        self.memory.load(at::FAILED + zone * 8, Ordering::Acquire) == incarnation
    }

    fn histogram(zone: usize, which: TickHistogram) -> usize {
        assert!(zone < MAX_ZONES);
        at::HISTOGRAMS + zone * at::HISTOGRAM_STRIDE + 8 + which as usize * at::HISTOGRAM_BYTES
    }

    /// Empties a zone's histograms for a new match.
    pub fn reset_histograms(&self, zone: usize, incarnation: u64) {
        for which in [TickHistogram::Took, TickHistogram::Late] {
            self.memory.copy_in(Self::histogram(zone, which), &[0; HISTOGRAM_BUCKETS + 1]);
        }
        self.memory.store(at::HISTOGRAMS + zone * at::HISTOGRAM_STRIDE, incarnation, Ordering::Release);
    }

    /// Counts a value, in microseconds.
    pub fn record(&self, zone: usize, which: TickHistogram, us: u64) {
        let base = Self::histogram(zone, which);
        let bucket = base + bucket_of(us) * 8;
        self.memory.store(bucket, self.memory.load(bucket, Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        let max = base + HISTOGRAM_BUCKETS * 8;
        if us > self.memory.load(max, Ordering::Relaxed) {
            self.memory.store(max, us, Ordering::Relaxed);
        }
    }

    /// Quantiles of a zone's histogram; `None` when it belongs to another match.
    pub fn quantiles(&self, zone: usize, incarnation: u64, which: TickHistogram) -> Option<Quantiles> {
        self.times(zone, incarnation, which).map(|times| times.quantiles())
    }

    /// A copy of a zone's histogram; `None` when it belongs to another match.
    pub fn times(&self, zone: usize, incarnation: u64, which: TickHistogram) -> Option<Times> {
        if self.memory.load(at::HISTOGRAMS + zone * at::HISTOGRAM_STRIDE, Ordering::Acquire) != incarnation {
            return None;
        }
        let mut words = [0; HISTOGRAM_BUCKETS + 1];
        self.memory.copy_out(Self::histogram(zone, which), &mut words);
        Some(Times { words })
    }
}

/// A copy of a histogram: counts by bucket, and the largest value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    words: [u64; HISTOGRAM_BUCKETS + 1],
}

impl Default for Times {
    fn default() -> Self {
        Self { words: [0; HISTOGRAM_BUCKETS + 1] }
    }
}

impl Times {
    /// What was counted since an earlier copy. The largest value is known to an eighth.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (now, before) in since.words[..HISTOGRAM_BUCKETS].iter_mut().zip(&earlier.words) {
            *now = now.saturating_sub(*before);
        }
        let last = since.words[..HISTOGRAM_BUCKETS].iter().rposition(|n| *n > 0);
        since.words[HISTOGRAM_BUCKETS] = last.map_or(0, |bucket| upper_bound(bucket).min(self.words[HISTOGRAM_BUCKETS]));
        since
    }

    /// Adds what another histogram has counted.
    pub fn add(&mut self, other: &Self) {
        let max = self.words[HISTOGRAM_BUCKETS].max(other.words[HISTOGRAM_BUCKETS]);
        for (sum, more) in self.words.iter_mut().zip(&other.words) {
            *sum = sum.saturating_add(*more);
        }
        self.words[HISTOGRAM_BUCKETS] = max;
    }

    /// The largest value that each bucket counts, and how many it has counted, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.words[..HISTOGRAM_BUCKETS].iter().enumerate().map(|(bucket, n)| (upper_bound(bucket), *n))
    }

    /// How many values are at most this; exact where a bucket ends, as below each power of two.
    pub fn at_most(&self, us: u64) -> u64 {
        let within = |bucket: &usize| us == u64::MAX || upper_bound(*bucket) <= us;
        (0..HISTOGRAM_BUCKETS).take_while(within).fold(0, |sum, bucket| sum.saturating_add(self.words[bucket]))
    }

    /// Its quantiles.
    pub fn quantiles(&self) -> Quantiles {
        let (buckets, max) = (&self.words[..HISTOGRAM_BUCKETS], self.words[HISTOGRAM_BUCKETS]);
        // Whatever another process wrote there, sums stop at the greatest number.
        let count = buckets.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        let quantile = |q: f64| {
            let rank = (count as f64 * q).ceil().max(1.0) as u64;
            let mut seen = 0;
            let bucket = buckets.iter().position(|n| {
                seen = u64::saturating_add(seen, *n);
                seen >= rank
            });
            bucket.map_or(0, |b| upper_bound(b).min(max))
        };
        Quantiles { count, p50: quantile(0.5), p99: quantile(0.99), max }
    }
}

/// Values below 8 have a bucket each; above, each power of two has eight.
fn bucket_of(us: u64) -> usize {
    if us < 8 {
        return us as usize;
    }
    let log = us.ilog2() as usize;
    let bucket = (log - 2) * 8 + ((us >> (log - 3)) & 7) as usize;
    bucket.min(HISTOGRAM_BUCKETS - 1)
}

/// The largest value that a bucket counts.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (log, sub) = (bucket / 8 + 2, (bucket % 8) as u64);
    (1 << log) + ((sub + 1) << (log - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_at_most_an_eighth_wide() {
        let mut last = 0;
        for us in 0..1_000_000u64 {
            let b = bucket_of(us);
            assert!(b == last || b == last + 1, "{us}");
            assert!(us <= upper_bound(b) && upper_bound(b) <= us + us / 8, "{us} {b}");
            last = b;
        }
        assert_eq!(bucket_of(u64::MAX), HISTOGRAM_BUCKETS - 1);
    }

    #[test]
    fn what_was_counted_between_two_copies_has_its_own_quantiles() {
        let count = |values: &[u64]| {
            let mut times = Times::default();
            for us in values {
                times.words[bucket_of(*us)] += 1;
                times.words[HISTOGRAM_BUCKETS] = times.words[HISTOGRAM_BUCKETS].max(*us);
            }
            times
        };
        let (early, late) = (count(&[5_000, 3]), count(&[5_000, 3, 100, 100, 230]));
        let since = late.since(&early).quantiles();
        assert_eq!((since.count, since.p50), (3, 103));
        let filled: Vec<(u64, u64)> = early.buckets().filter(|(_, n)| *n > 0).collect();
        assert_eq!(filled, [(3, 1), (5_119, 1)]);
        assert!((230..=256).contains(&since.max), "{since:?}");
        let mut both = early.clone();
        both.add(&late);
        assert_eq!((both.quantiles().count, both.quantiles().max), (7, 5_000));
        assert_eq!(early.since(&early).quantiles(), Quantiles::default());
        let counts = [0, 127, 255, 8191, u64::MAX].map(|us| late.at_most(us));
        assert_eq!(counts, [0, 3, 4, 5, 5]);
    }
}
