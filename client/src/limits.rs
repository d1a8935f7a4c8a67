//! Every bound of the client in one place, with what happens at it.

use std::time::Duration;

/// Bytes of one receive buffer: room for what the kernel may coalesce into one read (generic receive offload).
pub const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of the block that received datagrams are cut from before quinn-proto takes them.
pub const RECEIVE_BLOCK_BYTES: usize = 64 * 1024;

/// Bytes of the blocks that datagrams to send are cut from.
pub const SEND_BLOCK_BYTES: usize = 16 * 1024;

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

/// How long a snapshot waits for an input to carry its acknowledgement, and an input to be sent again; in a slow match one and a half ticks.
pub const ACK_DELAY: Duration = Duration::from_millis(150);

/// How long a message that the server had no room for waits until it is sent again, give or take a half; each time twice as long.
pub const RETRY_DELAY: Duration = Duration::from_millis(100);

/// How often that doubles: a server that is overloaded for seconds is not to be asked by everybody ten times in each.
pub const RETRY_DOUBLINGS: u32 = 4;

/// Longest that the first attempt to get a lost connection back waits, so that the clients of a front-end that has died do not all come in
/// the same millisecond.
pub const RECONNECT_SPREAD: Duration = Duration::from_millis(10);

/// How long the second attempt waits, give or take a half; each later one twice as long.
pub const RECONNECT_DELAY: Duration = Duration::from_millis(50);

/// Longest that an attempt waits for its turn, give or take a half.
pub const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);

/// A connection that is lost sooner after the server has answered over it was brief. After a second one in a row, pauses grow as after
/// attempts in vain.
pub const STEADY_AFTER: Duration = Duration::from_millis(500);

/// Silence after which an attempt is given up, at least; each later one is given twice as long, up to [`ATTEMPT_DOUBLINGS`].
pub const ATTEMPT_PATIENCE: Duration = Duration::from_millis(700);

/// Silence after which an attempt is given up while nothing is known of the way; each later one is given twice as long, up to
/// [`ATTEMPT_DOUBLINGS`]. QUIC repeats a first packet after one second, and then after ever longer: a server with many newcomers lets some of
/// them go unanswered.
pub const ATTEMPT_PATIENCE_UNKNOWN: Duration = Duration::from_secs(3);

/// Round trips of silence after which an attempt is given up, if that is more than [`ATTEMPT_PATIENCE`].
pub const ATTEMPT_ROUND_TRIPS: u32 = 8;

/// How often an attempt's patience doubles.
pub const ATTEMPT_DOUBLINGS: u32 = 2;

/// Time between two signs of life that a server is asked for which owes us an answer.
pub const PROBE_EVERY: Duration = Duration::from_millis(250);

/// Silence after which a connection counts as lost. A server answers at least QUIC's signs of life, every other second; that it is not to be
/// heard at all is known long before QUIC's own time-out.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);

/// For how long a first connection is tried: as long as thousands who come at once may take to get in.
pub const CONNECT_MAX: Duration = Duration::from_secs(30);

/// For how long a lost connection is tried to get back, unless the program says otherwise. A session waits for its grace period by its
/// match's time, which may stand still while ours passes.
pub const RESUME_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(SILENCE_MAX.as_secs() > ringfort_protocol::limits::KEEP_ALIVE_SECONDS);
