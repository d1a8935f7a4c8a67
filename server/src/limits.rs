//! Every bound of the server in one place: when a queue, table or message is full, one of these says so.
//!
//! A bound that is reached means a counted drop or a clear error, never growth without end.

/// UDP sockets of the instance's port, and so the modulus that steers a connection id to a front-end.
///
/// It never changes with the number of front-ends: scaling would otherwise re-steer living connections.
pub const SOCKET_SLOTS: usize = 16;
/// Length of the connection ids that front-ends issue; the first byte is `k * SOCKET_SLOTS + slot`.
///
/// Neither 8 nor 20, which clients choose for their first flight, so that the steering program can tell them apart.
pub const CONNECTION_ID_BYTES: usize = 10;
/// What is asked of the kernel for each UDP socket's receive and send buffer.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Most front-end processes of an instance: each owns one socket slot.
pub const FRONTENDS_MAX: u32 = SOCKET_SLOTS as u32;
/// Most sim processes of an instance.
pub const SIMS_MAX: u32 = 16;
/// Fastest tick rate that can be configured.
pub const TICK_HZ_MAX: u32 = 240;
/// Smallest arena that holds a world worth running.
pub const ARENA_MIB_MIN: u32 = 16;
/// Largest arena that can be configured.
pub const ARENA_MIB_MAX: u32 = 1 << 20;
/// Largest share of memory for the players' inboxes.
pub const INBOX_MIB_MAX: u32 = 1 << 14;
/// Most matches that an instance can be configured for.
pub const MATCHES_MAX: u32 = 4096;
/// Longest instance name.
pub const INSTANCE_NAME_BYTES_MAX: usize = 32;
/// Longest match name.
pub const MATCH_NAME_BYTES_MAX: usize = 32;
/// Most game options of one match.
pub const GAME_OPTIONS_MAX: usize = 64;
/// Longest key or text value of a game option.
pub const GAME_OPTION_BYTES_MAX: usize = 256;
/// Longest configuration file; also keeps the effective configuration below the kernel's limit for one
/// environment variable (128 KiB), through which workers receive it.
pub const CONFIG_FILE_BYTES_MAX: usize = 48 << 10;
/// Longest value of the environment variable that carries the configuration: below the kernel's MAX_ARG_STRLEN.
pub const WORKER_CONFIG_BYTES_MAX: usize = 120 << 10;
/// Longest PEM file that is read for a certificate chain or a key.
pub const PEM_FILE_BYTES_MAX: usize = 256 << 10;

/// Descriptors that can be passed to one worker.
pub const WORKER_DESCRIPTORS_MAX: usize = 64;

/// Connections to the control socket at one time.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;
/// Longest request or response on the control socket, line end included.
pub const CONTROL_LINE_BYTES_MAX: usize = 64 << 10;
/// How long a control connection may take to send its request.
pub const CONTROL_IDLE_MS: u64 = 2_000;
/// How long a command waits for the supervisor to answer.
pub const CONTROL_REPLY_MS: u64 = 15_000;

/// Datagrams that one `recvmmsg` or `sendmmsg` carries at most.
pub const UDP_BATCH: usize = 64;
/// Room for one datagram, in or out; an Ethernet frame and some.
pub const UDP_DATAGRAM_BYTES_MAX: usize = 2048;

/// A log file that reaches this size becomes `<name>.1`, in place of the one before it.
pub const LOG_FILE_BYTES_MAX: u64 = 32 << 20;
