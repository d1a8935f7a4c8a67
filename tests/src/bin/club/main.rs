//! The server of a game that leads its match.

mod game;

use std::process::ExitCode;

fn main() -> ExitCode {
    ringfort::main::<game::Club>()
}
