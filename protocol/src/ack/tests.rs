//! Against a model: the set of all numbers ever inserted.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn it_is_the_set_of_what_was_inserted(numbers in prop::collection::vec((1..200u32, 1..40u32), 0..100)) {
        let mut acks = AckBits::NONE;
        let mut seen = BTreeSet::new();
        let mut base = 0;
        for (jump, back) in numbers {
            base += jump / 20;
            let number = (base + 40 - back).max(1);
            let too_old = number + 32 < acks.highest;
            let expected = match (seen.contains(&number), too_old) {
                (_, true) => Inserted::TooOld,
                (true, false) => Inserted::Duplicate,
                (false, false) => Inserted::New,
            };
            prop_assert_eq!(acks.insert(number), expected);
            seen.insert(number);
            let window: Vec<u32> = seen.iter().rev().copied().filter(|n| n + 32 >= acks.highest).collect();
            prop_assert_eq!(acks.iter().collect::<Vec<_>>(), window);
            for number in 0..acks.highest + 40 {
                let held = seen.contains(&number) && number + 32 >= acks.highest;
                prop_assert_eq!(acks.contains(number), held, "{}", number);
            }
        }
    }
}

#[test]
fn zero_is_never_received() {
    let mut acks = AckBits::NONE;
    assert_eq!(acks.insert(0), Inserted::TooOld);
    assert_eq!((acks.insert(1), acks), (Inserted::New, AckBits { highest: 1, bits: 0 }));
    assert!(!acks.contains(0));
    // A peer may claim bits below 1; they name nothing.
    assert_eq!(AckBits { highest: 2, bits: u32::MAX }.iter().collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn far_jumps_clear_the_field() {
    let mut acks = AckBits { highest: 5, bits: u32::MAX };
    acks.insert(37);
    assert_eq!(acks.bits, 1 << 31);
    acks.insert(u32::MAX);
    assert_eq!(acks.bits, 0);
}

#[test]
fn without_is_the_difference() {
    let mut seed = 7u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for _ in 0..20_000 {
        let make = |random: &mut dyn FnMut(u64) -> u64| {
            let mut acks = AckBits::NONE;
            for _ in 0..random(12) {
                let _ = acks.insert(random(60) as u32);
            }
            acks
        };
        let (new, known) = (make(&mut random), make(&mut random));
        let mut found: Vec<u32> = new.without(known).collect();
        // When the known ones are newer, repeating is allowed; leaving out what was not known never is.
        let expected: Vec<u32> = new.iter().filter(|n| !known.contains(*n)).collect();
        if new.highest >= known.highest {
            found.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(found, expected, "{new:?} without {known:?}");
        } else {
            assert!(expected.iter().all(|n| found.contains(n)));
        }
    }
}
