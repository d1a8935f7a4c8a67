//! What the ratios of interleaved pairs of runs say: their median, and how far it may be off.
//!
//! The interval is drawn from the pairs themselves (the percentile bootstrap: Efron 1979).

use crate::limits::RESAMPLES;
use crate::random::Random;

/// The middle, or between the middle two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(sorted.len().saturating_sub(1) / 2) + at(sorted.len() / 2)) / 2.0
}

/// Within which the median of as many values, drawn from these with replacement, lies in 95 of 100 cases.
pub(crate) fn interval(values: &[f64], random: &mut Random) -> (f64, f64) {
    let mut draw = || median(&values.iter().map(|_| values[random.below(values.len())]).collect::<Vec<f64>>());
    let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLES / 40], medians[RESAMPLES - 1 - RESAMPLES / 40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_median_and_narrows_with_the_values() {
        let of = |count: usize| -> Vec<f64> { (0..count).map(|at| 1.0 + (at % 11) as f64 / 100.0).collect() };
        let mut random = Random::new(1, 0);
        let widths = [11, 1100].map(|count| {
            let values = of(count);
            let (low, high) = interval(&values, &mut random);
            let median = median(&values);
            assert_eq!(median, 1.05);
            assert!(low <= median && median <= high, "{low} .. {high}");
            high - low
        });
        assert!(widths[0] > 0.03 && widths[1] < 0.02, "{widths:?}");
        assert_eq!(interval(&[1.5], &mut random), (1.5, 1.5));
    }
}
