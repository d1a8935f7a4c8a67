//! Timing one process without a partner.

use ringfort_bench::shared::now_ns;

/// Nanoseconds of a call, over so many calls.
pub fn nanoseconds_each(calls: u64, mut call: impl FnMut()) -> f64 {
    let started = now_ns();
    (0..calls).for_each(|_| call());
    (now_ns() - started) as f64 / calls as f64
}
