//! A worker's own segment: read by the supervisor and the command line, and written on by the worker's successor.

use super::Source;
use crate::flight::{FlightRing, Flown, blank};
use crate::layout::{flight, worker as at};
use crate::limits::{MAX_COUNTERS, MAX_ZONES};
use crate::memory::Memory;
use crate::worker::{Quantiles, TickHistogram, WorkerPage};

/// Reads a worker's page whose words are arbitrary, and writes on where it was left.
pub fn worker(data: &[u8]) {
    let mut source = Source(data);
    let memory = Memory::heap(at::SIM_BYTES);
    let page = WorkerPage::over(&memory);
    let zone = [0, 1, MAX_ZONES - 1][source.below(3)];
    page.claim();
    page.reset_histograms(zone, 7);
    page.record(zone, TickHistogram::Took, 900);
    let histograms = (at::HISTOGRAMS + zone * at::HISTOGRAM_STRIDE, at::HISTOGRAM_STRIDE / 8);
    let recorder = (at::FLIGHT, flight::BYTES / 8);
    let regions = [histograms, (at::SELF, 16), (at::COUNTERS, MAX_COUNTERS), (at::FAILED + zone * 8, 1), recorder];
    match source.byte() % 2 {
        0 => (0..source.byte() % 32).for_each(|_| source.bend(&memory, &regions)),
        _ => {
            let incarnation = source.word();
            source.flood(&memory, regions[usize::from(incarnation as u8) % regions.len()]);
        }
    }
    let _ = (page.claimed_by().is_alive(), page.heartbeat(), page.seen_generation(), page.has_failed(zone, 7));
    for which in [TickHistogram::Took, TickHistogram::Late] {
        if let Some(Quantiles { p50, p99, max, .. }) = page.quantiles(zone, 7, which) {
            assert!(p50 <= max && p99 <= max, "no quantile above the greatest value");
        }
    }
    let ring = FlightRing::WORKER;
    ring.write(&memory, &blank());
    let (numbers, _) = ring.since(&memory, 0);
    for number in numbers {
        if let Flown::Record(record) = ring.read(&memory, number) {
            assert!(record.sequence == number, "it is the one that was asked for");
        }
    }
    for counter in 0..MAX_COUNTERS {
        page.add(counter, 1);
    }
    for us in [0, 900, u64::MAX] {
        page.record(zone, TickHistogram::Took, us);
    }
}
