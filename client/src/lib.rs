//! Ringfort's client: one loop and no thread of its own.
//!
//! A program calls `pump(now)` as often as it likes; everything that happens, happens inside it. [`udp`] is the
//! socket at the bottom.

#![forbid(unsafe_code)]

pub mod limits;
pub mod udp;
