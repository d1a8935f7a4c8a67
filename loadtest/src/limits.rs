//! Every bound of the load generator in one place, with what happens at it.

use std::time::Duration;

/// Clients that one run may ask for: a front-end's connection table is far smaller, and addresses run out first.
pub(crate) const CLIENTS_MAX: usize = 100_000;

/// Generator processes that one run may be split over.
pub(crate) const PROCESSES_MAX: usize = 64;

/// Connections that are started a second when no ramp is given.
pub(crate) const CONNECTS_PER_SECOND: f64 = 500.0;

/// Connections of the bare baselines that may be in their handshake at once.
pub(crate) const HANDSHAKES_MAX: usize = 64;

/// How long clients may take to connect and join after the ramp, before they count as failed.
pub(crate) const CONNECT_PATIENCE: Duration = Duration::from_secs(15);

/// How long after the last input its acknowledgement is waited for.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// How long the leave messages may take to go out.
pub(crate) const FAREWELL: Duration = Duration::from_millis(500);

/// How long a spawned server may take until it accepts connections.
pub(crate) const SERVER_START: Duration = Duration::from_secs(15);

/// How long a spawned server may take to end after it has been asked to.
pub(crate) const SERVER_STOP: Duration = Duration::from_secs(10);

/// Inputs in flight whose due and sending times are remembered per client; older ones are no longer measured.
pub(crate) const INPUTS_IN_FLIGHT: usize = 64;

/// Highest latency that the histograms tell apart, in microseconds: one minute.
pub(crate) const LATENCY_US_MAX: u64 = 60_000_000;

/// Own processor use, in percent of a core per process, above which the generator is the bottleneck.
pub(crate) const SATURATED_CPU_PERCENT: f64 = 90.0;

/// How late the generator's inputs may leave it, at the 99th percentile and in milliseconds, before it counts as the bottleneck;
/// half an input's period where that is less.
pub(crate) const LATE_MS_MAX: f64 = 10.0;

/// Most inputs a second and client: the highest tick rate that a server can be configured to.
pub(crate) const RATE_HZ_MAX: f64 = 240.0;

/// How long a worker may say nothing before the run gives up on it; it speaks once a second.
pub(crate) const WORKER_SILENCE: Duration = Duration::from_secs(30);

/// How much longer than ramp and duration a worker may take in all.
pub(crate) const WORKER_PATIENCE: Duration = Duration::from_secs(60);
