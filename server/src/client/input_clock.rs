//! When the next input is due: one a tick, so that it arrives shortly before the tick that takes it.
//!
//! The server says of its newest input how long before its tick it came. From that the clock is slewed by a few per cent, until the
//! margin is as large as the jitter of the inputs' way asks for and no larger: a smaller one and inputs come too late now and then,
//! a larger one and everything the player does happens later than it could.

use std::time::{Duration, Instant};

use crate::limits::{INPUT_MARGIN_MAX, INPUT_MARGIN_MIN, INPUT_SLEW_MAX, SLOTS_DUE_MAX};

/// How fast the clock answers: the share of an error, in ticks, that is made up for in each tick. Small against the round trip,
/// after which the answer shows.
const GAIN: f64 = 0.02;
/// Share of a new sample in the smoothed margin and in its deviation.
const SMOOTHING: f64 = 0.125;
/// Deviations of the margin that the target holds beside the least margin.
const DEVIATIONS: f64 = 3.0;
/// How much the target grows, in ticks, when an input came too late.
const LATE_STEP: f64 = 0.05;
/// What is left of that growth after each input in time.
const LATE_DECAY: f64 = 0.995;

/// The clock of one match's inputs.
#[derive(Debug)]
pub(crate) struct InputClock {
    period: f64,
    next: Option<Instant>,
    /// How much longer than a tick the next slot waits, as a share of it.
    slew: f64,
    margin: Option<f64>,
    deviation: f64,
    late: f64,
    was_repeated: bool,
    dropped: u64,
}

impl InputClock {
    /// For a match of so many ticks a second; the first input is due at once.
    pub(crate) fn new(hz: u32) -> InputClock {
        InputClock {
            period: 1.0 / f64::from(hz.max(1)),
            next: None,
            slew: 0.0,
            margin: None,
            deviation: 0.0,
            late: 0.0,
            was_repeated: false,
            dropped: 0,
        }
    }

    /// Takes one slot if it is due. A program that fell behind gets at most [`SLOTS_DUE_MAX`] of them; what it missed beyond
    /// that is dropped and counted.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let next = self.next.unwrap_or(now);
        if next > now {
            return false;
        }
        let behind = ((now - next).as_secs_f64() / self.period) as u64;
        let dropped = (behind + 1).saturating_sub(SLOTS_DUE_MAX.into());
        self.dropped += dropped;
        let step = self.period * (1.0 + self.slew) + self.period * dropped as f64;
        self.next = Some(next + Duration::from_secs_f64(step));
        true
    }

    /// When the next slot is due; nothing before the first.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What a snapshot says of the newest input. `early` is the time from its receipt to the beginning of the tick that took it, in
    /// ticks, if the snapshot is the first to acknowledge it; `repeated` says whether the tick had no new input.
    pub(crate) fn feedback(&mut self, early: Option<f64>, repeated: bool) {
        if repeated && !self.was_repeated {
            self.late = (self.late + LATE_STEP).min(INPUT_MARGIN_MAX - INPUT_MARGIN_MIN);
        }
        self.was_repeated = repeated;
        // The tick after one without an input takes two, and tells nothing of the phase.
        let Some(early) = early.filter(|_| !repeated) else { return };
        let margin = self.margin.unwrap_or(early);
        self.deviation += ((early - margin).abs() - self.deviation) * SMOOTHING;
        let margin = margin + (early - margin) * SMOOTHING;
        self.margin = Some(margin);
        self.late *= LATE_DECAY;
        self.slew = ((margin - self.target()) * GAIN).clamp(-INPUT_SLEW_MAX, INPUT_SLEW_MAX);
    }

    /// The margin that is aimed at, in ticks.
    pub(crate) fn target(&self) -> f64 {
        (INPUT_MARGIN_MIN + DEVIATIONS * self.deviation + self.late).min(INPUT_MARGIN_MAX)
    }

    /// How long before their ticks inputs arrive, smoothed, in ticks; nothing before the first acknowledgement.
    pub(crate) fn margin(&self) -> Option<f64> {
        self.margin
    }

    /// Slots that the program did not use in time.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs of a client on a way of `delay` ± `jitter`, taken by a server as it takes them: of two that lie there the newer waits.
    /// Returns for each of the last 200 ticks how early its input was, in ticks; nothing for a tick without one.
    fn played(hz: u32, phase: f64, delay: f64, jitter: f64) -> Vec<Option<f64>> {
        let (start, period) = (Instant::now(), 1.0 / f64::from(hz));
        let mut clock = InputClock::new(hz);
        let (mut sent, mut waiting, mut answers, mut early) = (Vec::new(), None, Vec::new(), Vec::new());
        let (mut random, mut now) = (1u64, 0.0);
        for tick in 0..1200u32 {
            let ends = (f64::from(tick + 1) + phase) * period;
            // The client looks at its clock a thousand times a second.
            while now < ends {
                while clock.take(start + Duration::from_secs_f64(now)) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let late = (random >> 40) as f64 / (1u64 << 24) as f64 * jitter;
                    sent.push(now + delay + late);
                }
                now += 0.001;
            }
            let arrived: Vec<f64> = sent.extract_if(.., |at| *at <= ends).collect();
            let pending: Vec<f64> = waiting.take().into_iter().chain(arrived).collect();
            let applied = match pending.len() {
                0 => None,
                1 => Some(pending[0]),
                n => {
                    waiting = Some(pending[n - 1]);
                    Some(pending[n - 2])
                }
            };
            let applied = applied.map(|at| (ends - at) / period);
            early.push(applied);
            answers.push((ends + delay, applied));
            let due = answers.extract_if(.., |(at, _)| *at <= ends).collect::<Vec<_>>();
            due.iter().for_each(|(_, applied)| clock.feedback(*applied, applied.is_none()));
        }
        early.split_off(1000)
    }

    #[test]
    fn inputs_come_a_quarter_of_a_tick_early_on_an_even_way_whatever_the_phase() {
        for phase in [0.0, 0.2, 0.4, 0.6, 0.8, 0.97] {
            for delay in [0.002, 0.05, 0.15] {
                let early = played(60, phase, delay, 0.0);
                let late = early.iter().filter(|early| early.is_none()).count();
                assert_eq!(late, 0, "phase {phase}, delay {delay}");
                let last = early[199].expect("an input");
                assert!((0.1..0.6).contains(&last), "phase {phase}, delay {delay}: {last}");
            }
        }
    }

    #[test]
    fn jitter_makes_the_margin_larger() {
        for phase in [0.1, 0.5, 0.9] {
            let early = played(60, phase, 0.05, 0.010);
            let late = early.iter().filter(|early| early.is_none()).count();
            let mean = early.iter().flatten().sum::<f64>() / (200 - late) as f64;
            assert!(late <= 4, "phase {phase}: {late} late");
            assert!((0.4..1.3).contains(&mean), "phase {phase}: {mean}");
        }
    }

    #[test]
    fn a_program_that_fell_behind_owes_no_more_than_the_bound() {
        let (start, mut clock) = (Instant::now(), InputClock::new(20));
        assert!(clock.take(start) && !clock.take(start));
        let late = start + Duration::from_millis(1_010);
        let taken = (0..100).take_while(|_| clock.take(late)).count();
        assert_eq!((taken as u32, clock.dropped()), (SLOTS_DUE_MAX, 20 - u64::from(SLOTS_DUE_MAX)));
        assert!(clock.next().is_some_and(|next| next > late && next <= late + Duration::from_millis(50)));
    }

    #[test]
    fn the_slew_is_bounded() {
        let mut clock = InputClock::new(20);
        let start = Instant::now();
        clock.take(start);
        (0..100).for_each(|_| clock.feedback(Some(40.0), false));
        clock.take(clock.next().expect("a slot"));
        let (first, second) = (Duration::from_millis(50), clock.next().expect("a slot") - start);
        assert!(second - first <= Duration::from_secs_f64(0.05 * (1.0 + INPUT_SLEW_MAX) + 1e-6));
    }
}
