//! The command line: our own options, and those that cargo hands to every test.

use std::fmt;

/// Random kills of an ordinary run.
const KILLS: u64 = 10_000;
/// Its seed.
const SEED: u64 = 1;
/// The name that a filter has to match.
const NAME: &str = "kills";
const USAGE: &str = "usage: kills [--kills N] [--seed S] [--pairs-only | --no-pairs]";

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Random kills.
    pub kills: u64,
    /// What schedules follow from.
    pub seed: u64,
    /// Whether the pairs of kill points are run, too.
    pub pairs: bool,
}

impl Arguments {
    /// Understands a command line. `None` when this program is not meant: a filter names another test, or the tests are listed.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut parsed = Self { kills: KILLS, seed: SEED, pairs: true };
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|n| n.parse().ok()).ok_or(format!("{word} takes a number; {USAGE}"));
            match word.as_str() {
                "--kills" => parsed.kills = number()?,
                "--seed" => parsed.seed = number()?,
                "--pairs-only" => parsed.kills = 0,
                "--no-pairs" => parsed.pairs = false,
                "--list" | "--ignored" => return Ok(None),
                "--test-threads" | "--color" | "--format" | "--skip" | "--logfile" | "-Z" => drop(words.next()),
                "--help" | "-h" => return Err(USAGE.to_owned()),
                // What else the test harness of the standard library understands changes nothing here.
                option if option.starts_with('-') => {}
                filter if NAME.contains(filter) => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(parsed))
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let pairs = if self.pairs { "" } else { " --no-pairs" };
        write!(f, "--seed {} --kills {}{pairs}", self.seed, self.kills)
    }
}
