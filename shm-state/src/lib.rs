//! Ringfort's shared memory: segments, the robust lock, inboxes and mailboxes, and the copy-on-write world.
//!
//! A commit from the game's write to a reader's copy: [`table`] (rows) · [`pages`] (private copies) · `writer` (what changed, and its
//! pages' names) · [`world`] (roots, one compare-and-swap) · [`mirror`] (what changed, copied and validated). [`inbox`] carries records
//! the other way. [`layout`] says where everything lies, [`limits`] how much there can be, [`soundness`] why it may be done so.

pub mod blobs;
pub mod byte_table;
pub mod cell;
pub mod layout;
mod layout_hash;
pub mod limits;
pub mod lock;
pub mod memory;
mod plain;
pub mod process;

pub use plain::{Gaps, Plain, clear_padding};
pub mod copy;
pub mod directory;
pub mod document;
mod ending;
pub mod entities;
pub mod flight;
mod free_pages;
pub mod fsck;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
pub mod heap_pages;
pub mod inbox;
pub mod kill_point;
pub mod mirror;
pub mod pages;
pub mod past;
pub mod segment;
pub mod sheet;
#[doc = include_str!("soundness.md")]
pub mod soundness {}
pub mod table;
mod tree;
pub mod words;
pub mod worker;
pub mod world;
mod writer;

#[cfg(test)]
mod tests;
