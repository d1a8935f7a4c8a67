//! When the ticks of a match arrive: a clock made of the snapshots themselves, and how late they are by it.
//!
//! Nobody's wall clock is compared with anybody's. Of the last snapshots the one that came earliest for its tick sets the clock; what
//! the others came later is jitter. A tick without a snapshot of its own counts as come with the next one, so that loss and a
//! snapshot rate below the tick rate lengthen the delay just as jitter does.

use std::time::{Duration, Instant};

use crate::limits::{ARRIVALS_IN_TIME, ARRIVALS_KEPT, CLOCK_SHIFT, CLOCK_SHIFT_SNAPSHOTS};

/// The clock of one match, as this client hears it. Times are in seconds since the first snapshot, ticks are counted from its.
#[derive(Debug)]
pub(crate) struct Arrivals {
    period: f64,
    first: Option<(Instant, u32)>,
    newest: u32,
    /// Seconds between a tick's arrival and its place on a clock that starts with the first snapshot; a ring.
    offsets: Vec<f64>,
    next: usize,
    sorted: Vec<f64>,
    shifted: u32,
}

impl Arrivals {
    /// For a match of so many ticks a second.
    pub(crate) fn new(hz: u32) -> Arrivals {
        let (offsets, sorted) = (Vec::with_capacity(ARRIVALS_KEPT), Vec::with_capacity(ARRIVALS_KEPT));
        Arrivals { period: 1.0 / f64::from(hz.max(1)), first: None, newest: 0, offsets, next: 0, sorted, shifted: 0 }
    }

    /// Notes the snapshot of a tick newer than all before.
    pub(crate) fn arrived(&mut self, now: Instant, tick: u32) {
        let (first, first_tick) = *self.first.get_or_insert((now, tick));
        let offset = |tick: u32| (now - first).as_secs_f64() - f64::from(tick - first_tick) * self.period;
        let (offset_of_this, gap) = (offset(tick), tick.saturating_sub(self.newest));
        let late = self.base().is_some_and(|base| offset_of_this - base > CLOCK_SHIFT.as_secs_f64());
        self.shifted = if late { self.shifted + 1 } else { 0 };
        if self.shifted >= CLOCK_SHIFT_SNAPSHOTS {
            self.offsets.clear();
            (self.next, self.shifted) = (0, 0);
        }
        // What was left out came with this one; a longer pause is no loss but a stand-still.
        let left_out = if self.offsets.is_empty() || gap as usize > ARRIVALS_KEPT / 4 { 0 } else { gap.saturating_sub(1) };
        for back in (0..=left_out).rev() {
            let offset = offset_of_this + f64::from(back) * self.period;
            if self.offsets.len() < ARRIVALS_KEPT {
                self.offsets.push(offset);
            } else {
                self.offsets[self.next] = offset;
                self.next = (self.next + 1) % ARRIVALS_KEPT;
            }
        }
        self.newest = tick;
        self.sorted.clone_from(&self.offsets);
        self.sorted.sort_unstable_by(f64::total_cmp);
    }

    /// Seconds that a tick stands for.
    pub(crate) fn period(&self) -> f64 {
        self.period
    }

    /// The tick that arrives now if nothing keeps it, with its fraction; nothing before the first snapshot.
    pub(crate) fn tick_at(&self, now: Instant) -> Option<f64> {
        let (first, first_tick) = self.first?;
        let since = now.saturating_duration_since(first).as_secs_f64();
        Some(f64::from(first_tick) + (since - self.base()?) / self.period)
    }

    /// How late the latest arrivals are, but for the few that are not waited for.
    pub(crate) fn jitter(&self) -> Duration {
        let Some(base) = self.base() else { return Duration::ZERO };
        let place = (self.sorted.len() as f64 * ARRIVALS_IN_TIME).ceil() as usize;
        Duration::from_secs_f64((self.sorted[place.clamp(1, self.sorted.len()) - 1] - base).max(0.0))
    }

    fn base(&self) -> Option<f64> {
        self.sorted.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(50);

    /// Snapshots of consecutive ticks, each so many milliseconds late.
    fn after(late_ms: impl IntoIterator<Item = u64>) -> (Arrivals, Instant) {
        let (start, mut arrivals, mut now) = (Instant::now(), Arrivals::new(20), Instant::now());
        for (i, late) in late_ms.into_iter().enumerate() {
            now = start + TICK * i as u32 + Duration::from_millis(late);
            arrivals.arrived(now, 100 + i as u32);
        }
        (arrivals, now)
    }

    #[test]
    fn without_jitter_the_clock_is_that_of_the_ticks() {
        let (arrivals, now) = after([0; 40]);
        assert_eq!(arrivals.jitter(), Duration::ZERO);
        assert!((arrivals.tick_at(now + TICK / 2).expect("a clock") - 139.5).abs() < 1e-6);
    }

    #[test]
    fn jitter_is_what_all_but_the_latest_few_are_late() {
        let late = (0..100).map(|i| if i == 50 { 400 } else { i * 7 % 11 * 3 });
        let (arrivals, _) = after(late);
        assert_eq!(arrivals.jitter().as_millis(), 30);
    }

    #[test]
    fn a_snapshot_that_is_lost_counts_as_a_tick_late() {
        let (start, mut arrivals) = (Instant::now(), Arrivals::new(20));
        for tick in (0..80u32).filter(|tick| tick % 5 != 3) {
            arrivals.arrived(start + TICK * tick, tick);
        }
        assert_eq!(arrivals.jitter().as_millis(), 50);
    }

    #[test]
    fn a_match_that_stood_still_gets_a_clock_of_its_own() {
        let late = (0..60).map(|i| if i < 40 { 0 } else { 3_000 });
        let (arrivals, now) = after(late);
        assert_eq!(arrivals.jitter(), Duration::ZERO);
        assert!((arrivals.tick_at(now).expect("a clock") - 159.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (arrivals, _) = after((0..1000).map(|i| i % 3));
        assert_eq!(arrivals.offsets.len(), ARRIVALS_KEPT);
    }
}
