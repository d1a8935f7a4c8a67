//! The bundled game's server: the whole command line over [`ringfort::skirmish::Skirmish`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ringfort::main::<ringfort::skirmish::Skirmish>()
}
