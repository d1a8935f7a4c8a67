//! Ringfort: game and session server over shared memory.

extern crate self as ringfort;

pub use ringfort_protocol as protocol;
pub use ringfort_shm_state as shm_state;

pub mod game;
