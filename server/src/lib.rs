//! Ringfort: game and session server over shared memory.

extern crate self as ringfort;

pub use ringfort_protocol as protocol;
pub use ringfort_shm_state as shm_state;

pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod game;
pub mod limits;
pub mod logging;
pub mod run_dir;
pub mod sim;
pub mod supervisor;
pub mod udp;
