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
pub mod entities;
mod free_pages;
pub mod fsck;
pub mod inbox;
pub mod kill_point;
pub mod mirror;
pub mod pages;
pub mod segment;
pub mod table;
pub mod worker;
pub mod world;

#[cfg(test)]
mod tests;
