//! Which moment is drawn: a little behind the newest snapshot, so that there is nearly always one to blend with.
//!
//! The moment moves with time, a few per cent faster or slower while it comes to its delay, and never backwards. What is drawn is
//! also what an input says the player saw, so the blend is rounded to what an input can say before anything is drawn with it.

use std::time::{Duration, Instant};

use super::arrivals::Arrivals;
use crate::limits::{CLOCK_SHIFT, DRAWN_SLEW_MAX, INTERPOLATION_MAX, VERSIONS_MAX, VERSIONS_MIN};

/// How far behind the newest snapshot other entities are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delay {
    /// One tick, or as many as a blended column's `rate` leaves between two of its changes, and as much as snapshots are late: short on a
    /// good network, longer on a bad one.
    #[default]
    Auto,
    /// Always this, as far as the snapshots reach that are kept ([`VERSIONS_MAX`]).
    Fixed(Duration),
}

impl Delay {
    /// In ticks.
    fn ticks(self, arrivals: &Arrivals, interval: u32) -> f64 {
        let delay = match self {
            Delay::Auto => {
                let interval = f64::from(interval) * arrivals.period();
                (arrivals.jitter().as_secs_f64() + interval).min(longest(interval))
            }
            Delay::Fixed(delay) => delay.as_secs_f64(),
        };
        delay / arrivals.period()
    }

    /// How many snapshots are to be kept to draw between, at so many ticks a second and so many ticks between two changes of a blended
    /// column: the longest delay, and the change before the moment.
    pub(crate) fn versions(self, hz: u32, interval: u32) -> usize {
        let seconds = match self {
            Delay::Auto => longest(f64::from(interval) / f64::from(hz.max(1))),
            Delay::Fixed(delay) => delay.as_secs_f64(),
        };
        let ticks = (seconds * f64::from(hz)).ceil() + f64::from(interval) + 1.0;
        (ticks as usize).clamp(VERSIONS_MIN, VERSIONS_MAX)
    }
}

/// The longest automatic delay, in seconds; never shorter than the time between two changes.
fn longest(interval: f64) -> f64 {
    INTERPOLATION_MAX.as_secs_f64().max(interval)
}

/// The moment that is drawn.
#[derive(Debug)]
pub(crate) struct Drawn {
    delay: Delay,
    /// Ticks between two changes of a blended column, at most.
    interval: u32,
    /// The moment, in ticks, and when it was that.
    at: Option<(f64, Instant)>,
}

/// Two snapshots and the blend between them, in 1/256.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pair {
    /// Tick of the older one.
    pub(crate) older: u32,
    /// Tick of the newer one: the older again if there is none.
    pub(crate) newer: u32,
    /// How much of the newer.
    pub(crate) alpha: u8,
}

impl Drawn {
    /// Nothing is drawn yet.
    pub(crate) fn new(delay: Delay, interval: u32) -> Drawn {
        Drawn { delay, interval, at: None }
    }

    /// Moves on to `now`. `newest` is the tick of the newest snapshot, beyond which nothing can be drawn.
    pub(crate) fn advance(&mut self, now: Instant, arrivals: &Arrivals, newest: u32) {
        let Some(arriving) = arrivals.tick_at(now) else { return };
        let target = arriving - self.delay.ticks(arrivals, self.interval);
        let at = match self.at {
            None => target,
            Some((at, before)) => {
                let passed = now.saturating_duration_since(before).as_secs_f64() / arrivals.period();
                let behind = target - (at + passed);
                let far = CLOCK_SHIFT.as_secs_f64() / arrivals.period();
                if behind > far {
                    target
                } else if behind < -far {
                    // Far ahead of what can be drawn: the match stood still, and the moment waits for it.
                    at
                } else {
                    at + passed + behind.clamp(-DRAWN_SLEW_MAX * passed, DRAWN_SLEW_MAX * passed)
                }
            }
        };
        let least = self.at.map_or(0.0, |(before, _)| before);
        self.at = Some((at.min(f64::from(newest)).max(least), now));
    }

    /// The moment, in ticks; nothing before the first snapshot.
    pub(crate) fn tick(&self) -> Option<f64> {
        self.at.map(|(at, _)| at)
    }

    /// The snapshots to draw between, of those at hand in the order of their ticks.
    pub(crate) fn pair(&self, ticks: impl Iterator<Item = u32>) -> Option<Pair> {
        let (at, _) = self.at?;
        let mut older = None;
        for tick in ticks {
            match older {
                Some(older) if f64::from(tick) > at => {
                    let alpha = (at - f64::from(older)) / f64::from(tick - older) * 256.0;
                    return Some(Pair { older, newer: tick, alpha: alpha.clamp(0.0, 255.0) as u8 });
                }
                // Nothing as old as the moment is left: the oldest has to do.
                _ => older = Some(tick),
            }
            if f64::from(tick) > at {
                break;
            }
        }
        older.map(|older| Pair { older, newer: older, alpha: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    /// A client that draws every 5 ms of snapshots that come `late` after their tick, and what moments it drew, with the tick that
    /// arrived at best.
    fn drawn(delay: Delay, late: impl Fn(u32) -> Option<Duration>) -> Vec<(f64, f64, u32)> {
        let (start, mut arrivals, mut drawn, mut moments) = (Instant::now(), Arrivals::new(50), Drawn::new(delay, 1), Vec::new());
        let mut coming: Vec<(Duration, u32)> = (1..400).filter_map(|t| Some((TICK * t + late(t)?, t))).collect();
        coming.sort_unstable();
        let (mut coming, mut newest) = (coming.into_iter().peekable(), 0);
        for step in 0..1600u32 {
            let now = TICK / 4 * step;
            while let Some((at, tick)) = coming.next_if(|(at, _)| *at <= now) {
                if tick > newest {
                    newest = tick;
                    arrivals.arrived(start + at, tick);
                }
            }
            drawn.advance(start + now, &arrivals, newest);
            if let Some(at) = drawn.tick() {
                moments.push((at, now.as_secs_f64() / TICK.as_secs_f64(), newest));
            }
        }
        moments
    }

    fn random(tick: u32) -> u64 {
        let word = u64::from(tick).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (word ^ word >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40
    }

    #[test]
    fn the_moment_never_goes_back_and_never_beyond_what_is_known() {
        let late = |tick| (!random(tick).is_multiple_of(5)).then(|| Duration::from_millis(random(tick + 1000) % 70));
        for pair in drawn(Delay::Auto, late).windows(2) {
            assert!(pair[1].0 >= pair[0].0 && pair[1].0 <= f64::from(pair[1].2), "{pair:?}");
        }
    }

    #[test]
    fn a_good_network_is_drawn_one_tick_late() {
        let moments = drawn(Delay::Auto, |_| Some(Duration::ZERO));
        for (at, arriving, _) in &moments[100..] {
            assert!((arriving - at - 1.0).abs() < 0.05, "{at} at {arriving}");
        }
    }

    #[test]
    fn with_jitter_there_is_nearly_always_a_newer_snapshot_to_blend_with() {
        let moments = drawn(Delay::Auto, |tick| Some(Duration::from_millis(random(tick) % 50)));
        let late = moments[400..].iter().filter(|(at, _, newest)| *at >= f64::from(*newest)).count();
        assert!(late * 20 < moments.len() - 400, "{late} of {}", moments.len() - 400);
        assert!(moments.iter().all(|(at, arriving, _)| arriving - at < 5.0));
    }

    #[test]
    fn the_delay_is_never_shorter_than_the_time_between_two_snapshots() {
        let (start, mut arrivals) = (Instant::now(), Arrivals::new(1));
        (0..20).for_each(|tick| arrivals.arrived(start + Duration::from_secs(1) * tick, tick));
        assert_eq!(Delay::Auto.ticks(&arrivals, 1), 1.0);
    }

    #[test]
    fn what_is_kept_reaches_back_to_the_drawn_moment() {
        let second = Delay::Fixed(Duration::from_secs(1));
        for (delay, hz, interval, ticks) in [(Delay::Auto, 240, 1, 121), (Delay::Auto, 240, 240, 480), (second, 128, 1, 129)] {
            assert!(delay.versions(hz, interval) >= ticks, "{delay:?} at {hz}");
        }
        assert_eq!(Delay::Auto.versions(20, 1), VERSIONS_MIN);
        assert_eq!(Delay::Fixed(Duration::MAX).versions(240, 1), VERSIONS_MAX);
    }

    #[test]
    fn a_fixed_delay_is_kept() {
        let moments = drawn(Delay::Fixed(Duration::from_millis(100)), |_| Some(Duration::ZERO));
        let (at, arriving, _) = moments[moments.len() - 1];
        assert!((arriving - at - 5.0).abs() < 0.01, "{at} at {arriving}");
    }

    #[test]
    fn the_pair_encloses_the_moment() {
        let drawn = |at| Drawn { delay: Delay::Auto, interval: 1, at: Some((at, Instant::now())) };
        let pair = |at, ticks: &[u32]| drawn(at).pair(ticks.iter().copied()).expect("a pair");
        assert_eq!(pair(5.5, &[3, 5, 7, 8]), Pair { older: 5, newer: 7, alpha: 64 });
        assert_eq!(pair(7.0, &[3, 5, 7, 8]), Pair { older: 7, newer: 8, alpha: 0 });
        assert_eq!(pair(8.0, &[3, 5, 7, 8]), Pair { older: 8, newer: 8, alpha: 0 });
        assert_eq!(pair(2.0, &[3, 5]), Pair { older: 3, newer: 3, alpha: 0 });
        assert_eq!(pair(4.999_999, &[3, 5]), Pair { older: 3, newer: 5, alpha: 255 });
        assert_eq!(drawn(1.0).pair([].into_iter()), None);
    }
}
