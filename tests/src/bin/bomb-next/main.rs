//! The server of the same game with other rules: a command counts for more.

#[path = "../bomb/game.rs"]
mod game;

use std::process::ExitCode;

fn main() -> ExitCode {
    ringfort::main::<game::Minefield>()
}
