//! Whole-system tests: real processes, real sockets, real kills.

mod chaos;
#[path = "../src/bin/club/game.rs"]
mod club;
mod death;
mod hooks;
mod hostile;
mod loadtest;
mod matches;
mod play;
mod refused;
mod resume;
mod shared_memory;
mod stop;
mod tokens;
mod walk;
