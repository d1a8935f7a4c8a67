//! Whole-system tests: real processes, real sockets, real kills.

mod death;
mod hooks;
mod hostile;
mod loadtest;
mod play;
mod refused;
mod resume;
mod shared_memory;
mod stop;
mod tokens;
mod walk;
