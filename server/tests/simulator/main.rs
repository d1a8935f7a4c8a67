//! Seeded simulations of whole sessions: `cargo test -p ringfort --test simulator -- --sessions 10000 --loss 20`.
//!
//! Every world is made from one seed. A failure prints it, and `--seed SEED --sessions 1` runs that world again, alone.

mod canary;
mod forecasts;
mod game;
mod hits;
mod options;
mod overload;
mod predicted;
mod script;
mod storm;
mod views;

fn main() -> std::process::ExitCode {
    storm::main(&options::Options::from_args())
}
