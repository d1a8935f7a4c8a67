//! A match's owner dies at every kill point of takeover, tick and hand-over, its successor at every one again, and a third goes on: each input
//! is applied once or given up once, the events are in order, and the memory is sound after every death.
//!
//! A program with one thread instead of tests with many: it forks.

mod game;
mod stage;

use std::collections::BTreeSet;
use std::process::ExitCode;

use ringfort_shm_state::kill_point::SERVER;

use game::POISON;
use stage::{Account, Ended, Stage};

/// Those of the shared memory that lie between the server's own.
const BETWEEN: [&str; 6] =
    ["claim:published", "adopt:marked", "commit:root_written", "commit:published", "release:begun", "release:published"];
/// Inputs of a run; the one in the middle is the poison, if there is any.
const INPUTS: u32 = 7;
/// Sims that a run takes at most: two deaths by us, two of the game, and some that go on to the end.
const LIVES: usize = 12;
/// Lives without a death after which everything must have been taken in.
const QUIET_LIVES: usize = 2;

fn main() -> ExitCode {
    // What the harness of other tests is asked: to list, or to run what has another name.
    let mut words = std::env::args().skip(1);
    if words.any(|word| word == "--list" || (!word.starts_with('-') && !"kills".contains(&word))) {
        return ExitCode::SUCCESS;
    }
    // The game fails on purpose, in children.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.to_string().contains("on purpose") {
            eprintln!("{panic}");
        }
    }));
    let points: Vec<&'static str> = SERVER.iter().chain(&BETWEEN).copied().collect();
    let (mut number, mut hit) = (0, BTreeSet::new());
    for poisoned in [false, true] {
        for first in &points {
            for second in &points {
                number += 1;
                let hits = run(number, poisoned, [first, second]);
                hit.extend((hits == 2).then_some((poisoned, *first, *second)));
            }
        }
    }
    let reached: BTreeSet<_> = hit.iter().map(|(_, first, _)| *first).collect();
    let missed: Vec<_> = points.iter().filter(|point| !reached.contains(*point)).collect();
    println!("{} of {number} runs had both deaths; after every one all was as it must be", hit.len());
    assert!(missed.is_empty(), "no sim has died at {missed:?}, with another death after it");
    ExitCode::SUCCESS
}

/// One match, with a death at each of two places, as soon as one comes by there. Returns how many of them it had.
fn run(number: u32, poisoned: bool, deaths: [&'static str; 2]) -> usize {
    let mut stage = Stage::new(number);
    assert_eq!(stage.life(None), Ended::Released, "nobody has died yet");
    stage.join();
    assert_eq!(stage.life(None), Ended::Released, "nobody has died yet");
    for sequence in 1..=INPUTS {
        let poison = poisoned && sequence == INPUTS.div_ceil(2);
        stage.input(sequence, if poison { POISON } else { sequence });
    }
    let (mut died, mut quiet) = (0, 0);
    for _ in 0..LIVES {
        match stage.life(deaths.get(died).copied()) {
            Ended::Killed => died += 1,
            Ended::Failed => {}
            Ended::Released => quiet += 1,
        }
        if quiet == QUIET_LIVES {
            check(&stage.account(), poisoned, deaths);
            return died;
        }
    }
    panic!("after {LIVES} lives the match with deaths at {deaths:?} has not come to rest: {:?}", stage.account());
}

fn check(account: &Account, poisoned: bool, deaths: [&str; 2]) {
    let context = || format!("deaths at {deaths:?}, poison {poisoned}: {account:?}");
    let is_poison = |sequence: u32| poisoned && sequence == INPUTS.div_ceil(2);
    for sequence in 1..=INPUTS {
        let value = if is_poison(sequence) { POISON } else { sequence };
        let applied = account.tally.applied >> value & 1 == 1;
        let (told, given_up) = (account.acknowledged.contains(sequence), account.rejected.contains(sequence));
        assert_eq!(
            (applied, !applied),
            (told, given_up),
            "input {sequence} is applied and told so, or given up and told so; {}",
            context()
        );
        assert_eq!(
            given_up,
            account.letters.contains(&sequence),
            "what was given up is in the file, and nothing else; {}",
            context()
        );
        assert!(!is_poison(sequence) || given_up, "{}", context());
        assert!(poisoned || applied, "{}", context());
    }
    assert_eq!(account.tally.doubled, 0, "{}", context());
    let events = account.tally.applied.count_ones();
    assert_eq!((account.tally.events, account.events.len() as u32), (events, events), "an event for each input; {}", context());
    assert!(account.events.windows(2).all(|pair| pair[1] == pair[0] + 1), "without gaps; {}", context());
}
