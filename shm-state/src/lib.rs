//! Ringfort's shared memory: segments, the robust lock, inboxes and mailboxes, and the copy-on-write world.

pub mod cell;
pub mod layout;
pub mod limits;
pub mod lock;
pub mod memory;
mod plain;
pub mod process;

pub use plain::{Gaps, Plain, clear_padding};
pub mod directory;
mod ending;
pub mod entities;
mod free_pages;
pub mod fsck;
mod hash;
pub mod inbox;
pub mod kill_point;
pub mod mirror;
pub mod pages;
pub mod past;
pub mod segment;
pub mod table;
mod tree;
pub mod words;
pub mod worker;
pub mod world;
mod writer;

#[cfg(test)]
mod tests;
