//! Every target of `fuzzing` over its kept corpus and over random inputs.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::fuzzing::{TARGETS, Target};

/// Longest random input: some fifty decisions of the longest kind.
const MAX_INPUT_BYTES: usize = 600;

fn target(name: &str) -> Target {
    TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name").1
}

/// Bytes that print as one line, ready for `xxd -r -p`.
#[derive(Clone)]
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The environment variable that has the random inputs of an earlier run made again.
const SEED: &str = "RINGFORT_TEST_SEED";

/// Runs a target over its corpus and over so many random inputs. A failure prints its seed and
/// the smallest input that shows it.
fn survives(name: &str, cases: u32) {
    let target = target(name);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut kept: Vec<_> = fs::read_dir(&corpus).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    kept.sort();
    assert!(!kept.is_empty(), "{} has files", corpus.display());
    for path in kept {
        let input = fs::read(&path).expect("a file of the corpus");
        let survived = std::panic::catch_unwind(|| target(&input)).is_ok();
        assert!(survived, "the input that is {} (the panic is above)", path.display());
    }
    let seed = std::env::var(SEED).map_or_else(|_| rand_seed(), |seed| seed.parse().expect("a number"));
    let config = Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let inputs = prop::collection::vec(any::<u8>(), 0..MAX_INPUT_BYTES).prop_map(Input);
    let result = TestRunner::new(config).run(&inputs, |input| {
        target(&input.0);
        Ok(())
    });
    if let Err(error) = result {
        panic!("target {name}, again with {SEED}={seed}: {error}");
    }
}

fn rand_seed() -> u64 {
    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0)
}

#[test]
fn any_directory_is_read_without_harm() {
    survives("directory", 1_000);
}

#[test]
fn any_inbox_is_drained_without_harm_and_serves_again() {
    survives("inbox", 3_000);
}

#[test]
fn any_file_is_attached_or_refused_without_harm() {
    survives("segment", 2_000);
}

#[test]
fn any_worker_page_is_read_without_harm() {
    survives("worker", 1_000);
}

#[test]
fn any_world_is_read_and_taken_over_without_harm() {
    survives("world", 500);
}
