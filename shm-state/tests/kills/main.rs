//! Processes that are killed at random instructions and at every kill point, and what must hold afterwards.
//!
//! A sim owns two zones in an arena that is too small for both, two producers append to their inboxes. One of them is killed;
//! when its death is confirmed everything is checked against a model, and a successor takes over from what it left. A program
//! with one thread instead of tests with many: it forks.

mod arguments;
mod creator;
mod game;
mod instance;
mod model;
mod pairs;
mod process;
mod producer;
mod random;
mod report;
mod rounds;
mod scenes;
mod shared;
mod sim;
mod verify;
mod walk;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use arguments::Arguments;
use game::SCRIPTED;
use process::Violation;
use report::Report;

/// Kills or pairs between two lines of progress on a terminal.
const PROGRESS_EVERY: u64 = 50;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    instance::remove_leftovers_of_the_dead();
    let begun = Instant::now();
    let descriptors = open_descriptors();
    let mut report = Report::default();
    if let Err(violation) = run(&arguments, &mut report) {
        report.violations += 1;
        eprintln!("\nviolation: {violation}\nagain: cargo test -p ringfort-shm-state --test kills -- {arguments}");
    }
    report.leaked_segments = instance::segments_left();
    report.leaked_descriptors = open_descriptors().abs_diff(descriptors);
    report.leaked_children = u64::from(process::children_left());
    println!("{report}\nseed         {}, {:.1} s", arguments.seed, begun.elapsed().as_secs_f64());
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments, report: &mut Report) -> Result<(), Violation> {
    if arguments.pairs {
        scenes::run(arguments.seed | SCRIPTED, report)?;
        pairs::Pairs::run(arguments.seed | SCRIPTED, report, |r| progress("pairs", r.pairs))?;
    }
    rounds::Rounds::run(arguments.seed & !SCRIPTED, arguments.kills, report, |r| progress("kills", r.kills))
}

fn progress(what: &str, done: u64) {
    if done.is_multiple_of(PROGRESS_EVERY) && std::io::stderr().is_terminal() {
        eprint!("\r{done} {what} ");
        let _ = std::io::stderr().flush();
    }
}

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}
