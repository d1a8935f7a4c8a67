//! The core as state machines: random sequences of operations against simple models, shrunk to the shortest that fails.
//!
//! `PROPTEST_CASES` sets how many sequences each machine runs, `PROPTEST_RNG_SEED` the first one's seed; each further sequence has
//! the next number. A failure prints its own seed, with which it is the first and only one to run, and its shortest sequence.

mod columns;
mod entities;
mod inbox;
mod mirror;
mod roots;
mod zone;

use std::cell::Cell;
use std::fmt::Write;
use std::ops::Range;
use std::panic;
use std::sync::Once;

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

/// Bound on the attempts to make a failing sequence shorter.
const MAX_SHRINKS: u32 = 20_000;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps this thread's panics from the output while `attempt` runs: shrinking panics at every attempt that fails.
fn quietly<R>(attempt: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let result = attempt();
    QUIET.set(false);
    result
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// Runs so many sequences of so many steps, unless the environment says otherwise.
fn follow<M: StateMachineTest>(cases: u64, steps: Range<usize>) {
    let cases = from_environment("PROPTEST_CASES").unwrap_or(cases);
    let first = from_environment("PROPTEST_RNG_SEED")
        .unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    for seed in (0..cases).map(|case| first.wrapping_add(case)) {
        follow_one::<M>(seed, steps.clone());
    }
}

fn follow_one<M: StateMachineTest>(seed: u64, steps: Range<usize>) {
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: MAX_SHRINKS, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let sequences = M::Reference::sequential_strategy(steps);
    let run = |(initial, steps, seen)| {
        M::test_sequential(config.clone(), initial, steps, seen);
        Ok(())
    };
    match quietly(|| runner.run(&sequences, run)) {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("seed {seed} gives no sequence: {why}"),
        Err(TestError::Fail(why, (initial, steps, _))) => {
            eprintln!("{}", account(seed, &format!("{initial:?}"), &steps));
            // Once more and aloud, so that the panic says where it happened.
            M::test_sequential(config, initial, steps, None);
            panic!("the shortest sequence failed before and does not fail now: {why}");
        }
    }
}

/// What a failure prints: how to repeat it, and what to repeat.
fn account(seed: u64, initial: &str, steps: &[impl std::fmt::Debug]) -> String {
    let name = std::thread::current().name().unwrap_or("the test").to_owned();
    let mut text = format!(
        "seed {seed} fails; repeat it with\n  PROPTEST_RNG_SEED={seed} PROPTEST_CASES=1 cargo test -p ringfort-shm-state {name}\nthe shortest sequence found begins with {initial} and has {} steps:",
        steps.len()
    );
    for (i, step) in steps.iter().enumerate() {
        let _ = write!(text, "\n  {}. {step:?}", i + 1);
    }
    text
}
