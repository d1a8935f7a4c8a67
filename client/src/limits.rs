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

/// Sessions of one hub.
pub const SESSIONS_MAX: usize = 20_000;

/// Events that wait for the program. Cues beyond it are dropped and counted; a reliable event beyond it ends the session.
pub const EVENTS_MAX: usize = 1_024;

/// Statuses that wait for the program; a session has a handful in all, unless its joins are refused again and again. Beyond it the
/// oldest goes.
pub const STATUSES_MAX: usize = 64;

/// Bytes of a match's name or code; a longer one is refused before it is sent.
pub const TARGET_BYTES_MAX: usize = 256;

/// Commands that wait for the server; one more is refused.
pub const COMMANDS_MAX: usize = 64;

/// How long a snapshot waits for an input to carry its acknowledgement, and an input to be sent again.
pub const ACK_DELAY: Duration = Duration::from_millis(150);

/// How long a message that the server had no room for waits until it is sent again.
pub const RETRY_DELAY: Duration = Duration::from_millis(100);
