//! Ringfort: game and session server over shared memory.

extern crate self as ringfort;

pub use ringfort_protocol as protocol;
pub use ringfort_shm_state as shm_state;
pub use run::{main, main_with};

pub mod test {
    //! A game stepped in its own unit tests: `use ringfort::test::TestWorld`.

    pub use crate::test_world::{Asked, JoinRefused, TestWorld};
}

/// The author's guide, whose game is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/author.md")]
pub mod author_guide {}

mod admin;
pub mod attach;
pub mod audit;
pub mod auth;
pub mod certificate;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
mod counters;
pub mod dead_letters;
pub mod describe;
pub mod descriptors;
mod flight;
pub mod frontend;
pub mod fsck;
pub mod game;
pub mod hook;
mod jsonl;
pub mod limits;
pub mod log_level;
pub mod logging;
pub mod look;
mod manual;
pub mod metrics;
pub mod new;
mod outlive;
pub mod prelude;
mod run;
pub mod run_dir;
pub mod saved;
mod secret_file;
pub mod set;
pub mod sim;
#[cfg(feature = "simulator")]
pub mod simulator;
#[rustfmt::skip] // laid out to be read on one page
pub mod skirmish;
pub mod status;
pub mod stop_signal;
pub mod supervisor;
mod test_world;
pub mod top;
pub mod udp;
mod warm;
