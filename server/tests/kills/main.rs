//! A match's owner dies at every kill point of takeover, tick and hand-over, its successor at every one again, and a third goes on: each input
//! is applied once or given up once, the events are in order, and the memory is sound after every death. So it is before the game has failed
//! on an input, and after it has once and twice; what comes after a failure is never given up.
//!
//! A program with one thread instead of tests with many: it forks.

mod game;
mod stage;

use std::process::ExitCode;

use ringfort_shm_state::kill_point::SIM;

use game::POISON;
use stage::{Account, Ended, Stage};

/// Those of the shared memory that lie between the server's own.
const BETWEEN: [&str; 6] =
    ["claim:published", "adopt:marked", "commit:root_written", "commit:published", "release:begun", "release:published"];
/// Where the poison is written down, and the places behind the commit that gives it up.
const LETTERS: &str = "letters:written";
const BEHIND: [&str; 3] = ["commit:published", "release:begun", "release:published"];
/// Inputs of a run; the one in the middle is the poison, if there is any.
const INPUTS: u32 = 7;
/// How often the game may fail on the poison before the deaths by us begin.
const FAILURES: u32 = 2;
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
    let points: Vec<&'static str> = SIM.iter().chain(&BETWEEN).copied().collect();
    let (mut number, mut both) = (0, 0);
    for failures in [None].into_iter().chain((0..=FAILURES).map(Some)) {
        for first in &points {
            for second in &points {
                number += 1;
                let died = run(number, failures, [first, second]) == 2;
                assert_eq!(died, comes_by(failures, first, second), "deaths at {first} and {second} after {failures:?} failures");
                both += u32::from(died);
            }
        }
    }
    println!("{both} of {number} runs had both deaths, and the others could not; after every one all was as it must be");
    ExitCode::SUCCESS
}

/// Whether a sim comes by at the one place, and another at the other after its death: letters are written only for the poison, until it is given up.
fn comes_by(failures: Option<u32>, first: &str, second: &str) -> bool {
    let poison_is_left = failures.is_some() && !BEHIND.contains(&first);
    (first != LETTERS || failures.is_some()) && (second != LETTERS || poison_is_left)
}

/// One match, with a death at each of two places, as soon as one comes by there after so many failures of the game; without a number there
/// is no poison. Returns how many of the deaths it had.
fn run(number: u32, failures: Option<u32>, deaths: [&'static str; 2]) -> usize {
    let poisoned = failures.is_some();
    let mut stage = Stage::new(number);
    assert_eq!(stage.life(None), Ended::Released, "nobody has died yet");
    stage.join();
    assert_eq!(stage.life(None), Ended::Released, "nobody has died yet");
    for sequence in 1..=INPUTS {
        let poison = poisoned && sequence == INPUTS.div_ceil(2);
        stage.input(sequence, if poison { POISON } else { sequence });
    }
    let (mut died, mut quiet, mut failed) = (0, 0, 0);
    for _ in 0..LIVES {
        let armed = deaths.get(died).copied().filter(|_| failures.is_none_or(|failures| failed >= failures));
        match stage.life(armed) {
            Ended::Killed => died += 1,
            Ended::Failed => {
                failed += 1;
                // What comes now is for a later tick, however often this one is tried.
                stage.input(INPUTS + failed, INPUTS + failed);
            }
            Ended::Released => quiet += 1,
        }
        if quiet == QUIET_LIVES {
            check(&stage.account(), failures, failed, deaths);
            return died;
        }
    }
    panic!("after {LIVES} lives the match with deaths at {deaths:?} has not come to rest: {:?}", stage.account());
}

fn check(account: &Account, failures: Option<u32>, failed: u32, deaths: [&str; 2]) {
    let context = || format!("deaths at {deaths:?} after {failures:?} failures: {account:?}");
    let poisoned = failures.is_some();
    assert_eq!(failed, if poisoned { FAILURES } else { 0 }, "as it comes, and once more; {}", context());
    let is_poison = |sequence: u32| poisoned && sequence == INPUTS.div_ceil(2);
    for sequence in 1..=INPUTS + failed {
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
        assert!(
            applied || poisoned && sequence <= INPUTS,
            "what came after a failure, or without any, is applied; {}",
            context()
        );
    }
    assert_eq!(account.tally.doubled, 0, "{}", context());
    let events = account.tally.applied.count_ones();
    assert_eq!((account.tally.events, account.events.len() as u32), (events, events), "an event for each input; {}", context());
    assert!(account.events.windows(2).all(|pair| pair[1] == pair[0] + 1), "without gaps; {}", context());
}
