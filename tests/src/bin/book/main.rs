//! The server of a game that keeps its players' books.

mod game;

use std::process::ExitCode;

fn main() -> ExitCode {
    ringfort::main::<game::Book>()
}
