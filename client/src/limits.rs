//! Every bound of the client in one place, with what happens at it.

use std::time::Duration;

/// Bytes of one receive buffer: room for what the kernel may coalesce into one read (generic receive offload).
pub const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of the block that received datagrams are cut from before quinn-proto takes them.
pub const RECEIVE_BLOCK_BYTES: usize = 64 * 1024;

/// Batches of datagrams read in one pump. What is left waits in the socket's buffer for the next pump.
pub const RECEIVE_BATCHES_MAX: usize = 8;

/// Size that the socket's kernel buffers are asked to have; the kernel may grant less.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Longest that a wait without any deadline blocks, so that a lost wake-up is a delay and never a hang.
pub const WAIT_MAX: Duration = Duration::from_secs(1);
