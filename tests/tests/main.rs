//! Whole-system tests: real processes, real sockets, real kills.

mod adopt;
#[path = "../src/bin/bomb/game.rs"]
mod bomb;
#[path = "../src/bin/book/game.rs"]
mod book;
mod chaos;
#[path = "../src/bin/club/game.rs"]
mod club;
mod death;
mod frontends;
mod hooks;
mod hostile;
mod kill_points;
mod loadtest;
mod look;
mod look_world;
mod matches;
mod moves;
mod operators;
mod peers;
mod play;
mod poison;
mod rebind;
mod refused;
mod resume;
mod resume_play;
mod secrets;
mod shared_memory;
mod squad;
mod stock;
mod stop;
mod storms;
mod story;
mod tokens;
mod top;
mod walk;
