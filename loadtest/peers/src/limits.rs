//! Every bound of the echo peers in one place.

/// Packets of one connection that may leave in one segmented send, as quinn does it.
pub const SEGMENTS_MAX: usize = 10;

/// Parts of a tick over which the answers of a loop with rounded timers are spread.
pub const SLOTS: usize = 20;

/// How long a connection's timer may be overdue, in ticks, before a loop with rounded timers looks at it outside of a tick.
pub const OVERDUE_TICKS: f64 = 1.5;

/// Bytes of the largest transmit that is made at once.
pub const SCRATCH_BYTES: usize = 64 * 1024;
