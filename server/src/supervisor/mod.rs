//! The process that owns the instance's port and starts all others.

pub mod control;
pub mod sockets;
pub mod spawn;
