//! Ringfort's shared memory.

mod plain;

pub use plain::Plain;
