//! The server of a game that dies in whatever way its players want.

mod game;

use std::process::ExitCode;

fn main() -> ExitCode {
    ringfort::main::<game::Minefield>()
}
