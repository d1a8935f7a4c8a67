//! What a bucket lets through, against the sum that it stands for.

use super::*;
use proptest::prelude::*;

fn rates() -> impl Strategy<Value = Rate> {
    (0u32..2_000, 0u32..5_000).prop_map(|(per_second, burst)| Rate { per_second, burst })
}

/// Steps of up to ten seconds, with how much is wanted after each.
fn demands() -> impl Strategy<Value = Vec<(u64, u32)>> {
    prop::collection::vec((0u64..10_000_000, 0u32..3_000), 1..60)
}

proptest! {
    #[test]
    fn over_any_span_no_more_passes_than_the_burst_and_what_came_back(rate in rates(), demands in demands()) {
        let (mut now, mut bucket) = (7, Bucket::full(rate, 7));
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for (passed, n) in demands {
            now += passed;
            if bucket.take(rate, now, n) {
                taken.push((now, u64::from(n)));
            }
        }
        for (first, (from, _)) in taken.iter().enumerate() {
            let mut sum = 0;
            for (at, n) in &taken[first..] {
                sum += n * TOKEN;
                prop_assert!(sum <= u64::from(rate.burst) * TOKEN + (at - from) * u64::from(rate.per_second));
            }
        }
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused(rate in rates(), gaps in prop::collection::vec(0u64..100_000, 1..60)) {
        prop_assume!(rate.per_second > 0 && rate.burst > 0);
        let (mut now, mut bucket) = (0, Bucket::full(rate, 0));
        for gap in gaps {
            now += TOKEN.div_ceil(u64::from(rate.per_second)) + gap;
            prop_assert!(bucket.take(rate, now, 1));
        }
    }

    #[test]
    fn a_refusal_takes_nothing_and_a_reserve_is_left(rate in rates(), n in 0u32..6_000, reserve in 0u32..6_000) {
        let mut bucket = Bucket::full(rate, 0);
        let before = bucket;
        let fits = u64::from(n) + u64::from(reserve) <= u64::from(rate.burst);
        prop_assert_eq!(bucket.take_above(rate, 0, n, reserve), fits);
        prop_assert_eq!(bucket == before, !fits || n == 0);
    }

    #[test]
    fn a_clock_that_jumps_neither_overflows_nor_takes_back(rate in rates(), jumps in prop::collection::vec(any::<u64>(), 1..20)) {
        let mut bucket = Bucket::full(rate, 0);
        for now in jumps {
            bucket.take(rate, now, 1);
            prop_assert!(bucket.level <= u64::from(rate.burst) * TOKEN);
        }
    }
}

#[test]
fn a_bucket_is_full_again_when_all_has_come_back() {
    let rate = Rate { per_second: 10, burst: 5 };
    let mut bucket = Bucket::full(rate, 100);
    assert!(bucket.take(rate, 100, 5) && !bucket.take(rate, 100, 1));
    assert!(!bucket.is_full(rate, 500_099));
    assert!(bucket.is_full(rate, 500_100));
}
