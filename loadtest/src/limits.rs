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

/// Ticks of a match that are kept to tell how old what a client sees is; what is older counts as so old.
pub(crate) const TICKS_REMEMBERED: usize = 64;

/// Percent of the inputs that may stay unacknowledged in a step of a sweep that holds.
pub(crate) const UNACKNOWLEDGED_MAX_PERCENT: f64 = 0.1;

/// By which part of itself a figure may become worse before a comparison marks it.
pub(crate) const WORSE_BY: f64 = 0.1;

/// Packets that an injected network holds back in one direction; further ones are lost.
pub(crate) const PACKETS_DELAYED: usize = 1 << 20;

/// How often the server's memory is looked at: the kernel walks all page tables for it.
pub(crate) const MEMORY_EVERY: Duration = Duration::from_secs(5);

/// Looks at the server's memory that are kept; later ones are not taken.
pub(crate) const MEMORY_LOOKS_MAX: usize = 100_000;

/// Columns of an entity that are compared with the committed world; further ones are not.
pub(crate) const COLUMNS_COMPARED: usize = 4;

/// Nearest entities whose freshness is told one by one.
pub(crate) const RANKS: usize = 32;

/// Clients whose freshness is looked at, when nothing is said.
pub(crate) const FRESHNESS_CLIENTS: usize = 32;

/// Bytes from which on a snapshot may have put something off: the largest less what one more entity takes.
pub(crate) const SNAPSHOT_FULL_BYTES: usize = ringfort_protocol::limits::MAX_SNAPSHOT_BYTES - 64;

/// Bytes of a snapshot to a client that is filled little by little, as many have come at once, when it may have put something off.
pub(crate) const SNAPSHOT_FILLING_BYTES: std::ops::RangeInclusive<usize> =
    ringfort::limits::FILLING_SNAPSHOT_BYTES - 64..=ringfort::limits::FILLING_SNAPSHOT_BYTES;

/// Snapshots of a client after it has joined that may be such ones.
pub(crate) const SNAPSHOTS_TO_FILL: u64 = 40;

/// How far within an edge of sight, in metres, an entity must be there, and how far beyond it there may be none: no more than distances may be off by rounding.
pub(crate) const VERIFY_MARGIN_M: f32 = 0.05;

/// Snapshots whose tick could not be had any more, in percent of those that were compared, above which a comparison says nothing.
pub(crate) const VERIFY_UNKNOWN_MAX_PERCENT: f64 = 1.0;

/// Highest latency that the histograms tell apart, in microseconds: one minute.
pub(crate) const LATENCY_US_MAX: u64 = 60_000_000;

/// Own processor use, in percent of a core per process, above which the generator is the bottleneck.
pub(crate) const SATURATED_CPU_PERCENT: f64 = 90.0;

/// How late the generator's inputs may leave it, at the 99th percentile and in milliseconds, before it counts as the bottleneck;
/// half an input's period where that is less.
pub(crate) const LATE_MS_MAX: f64 = 10.0;

/// Seconds, or milliseconds, that a flag may ask for: eleven days of a run.
pub(crate) const SECONDS_MAX: f64 = 1e6;

/// Least inputs, or clients that leave, a second: one in a quarter of an hour.
pub(crate) const RATE_HZ_MIN: f64 = 1e-3;

/// Most clients that leave and come again, a second.
pub(crate) const CHURN_MAX: f64 = 1e4;

/// Most inputs a second and client: the highest tick rate that a server can be configured to.
pub(crate) const RATE_HZ_MAX: f64 = 240.0;

/// Pairs of runs that two builds, or few and many watchers, may be compared by.
pub(crate) const PAIRS_MAX: u64 = 1_000;

/// Times that a comparison's pairs are drawn again, to know how far its median may be off.
pub(crate) const RESAMPLES: usize = 10_000;

/// Packets that an attacker keeps, to send them again.
pub(crate) const PACKETS_KEPT: usize = 64;

/// How long an attacker waits for what its attack needs: a handshake, a welcome, a place.
pub(crate) const PEER_PATIENCE: Duration = Duration::from_secs(10);

/// How long an attacker waits for packets before it looks at its timers.
pub(crate) const PEER_IDLE: Duration = Duration::from_millis(10);

/// How long an attacker waits for the server to close its connection.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How long an attacker waits to be thrown out for having said no hello; the server does so after five seconds.
pub(crate) const HELLO_PATIENCE: Duration = Duration::from_secs(12);

/// How long a connection that ought to stay open is looked at.
pub(crate) const REMAIN: Duration = Duration::from_millis(500);

/// Attackers of one measurement: each has an address of 127.1.0.0/16.
pub(crate) const ATTACKERS_MAX: i64 = 10_000;

/// Attackers whose addresses have three bytes in common.
pub(crate) const ATTACKERS_PER_NET: u32 = 250;

/// Packets a second of the attackers among many, in turns: what a client of 60 Hz sends and some, what the server lets a client send, and four
/// times as much.
pub(crate) const ATTACKER_PACKETS_PER_SECOND: [u32; 3] = [100, 600, 2400];

/// Connections that one attacker opens at most.
pub(crate) const ATTACKER_CONNECTIONS: usize = 1_200;

/// How long one attack of one attacker among many may take.
pub(crate) const ATTACK_TIME: Duration = Duration::from_secs(6);

/// What an attacker among many rests between two attacks.
pub(crate) const ATTACK_PAUSE: Duration = Duration::from_millis(500);

/// How much the attackers' process gives way to others (nice(2)).
pub(crate) const MOB_NICENESS: i32 = 19;

/// How long attackers are at work before the players come.
pub(crate) const MOB_LEAD: Duration = Duration::from_secs(1);

/// How long the connections of a run may take to be over; the longest are those that nobody closed.
pub(crate) const SERVER_QUIET: Duration = Duration::from_secs(40);

/// How long a worker may say nothing before the run gives up on it; it speaks once a second.
pub(crate) const WORKER_SILENCE: Duration = Duration::from_secs(30);

/// How much longer than ramp and duration a worker may take in all.
pub(crate) const WORKER_PATIENCE: Duration = Duration::from_secs(60);

/// Clients of one chaos run, which are all in one process.
pub(crate) const CHAOS_CLIENTS_MAX: usize = 2_000;

/// Seconds of killing in one chaos run: its times are kept in 32 bits of microseconds, of which there are 4294 seconds.
pub(crate) const CHAOS_SECONDS_MAX: f64 = 3_600.0;

/// How long after a hit a client's silence is laid to it.
pub(crate) const GAP_WINDOW: Duration = Duration::from_secs(2);

/// How long after the last input it is waited, at most, for acknowledgements and events that are under way.
pub(crate) const CHAOS_SETTLE: Duration = Duration::from_secs(20);

/// How long the host of an instance waits before it starts a supervisor again that was not killed but ended by itself.
pub(crate) const HOST_RESTART: Duration = Duration::from_millis(200);

/// Kills of one run of which the number was given.
pub(crate) const CHAOS_HITS_MAX: u64 = 10_000;

/// How long the clients of a Colyseus room may take to join; a room that cannot keep up lets them in slowly.
pub(crate) const COLYSEUS_JOIN_PATIENCE: Duration = Duration::from_secs(180);

/// Open files of a load beside its clients' sockets.
pub(crate) const DESCRIPTORS_SPARE: u64 = 64;

/// How long those who look at a server are given to begin before what they cost is measured.
pub(crate) const OBSERVE_SETTLE: Duration = Duration::from_millis(1500);

/// How long the clients of `observe` may take to be in, and how much longer than its windows they stay.
pub(crate) const OBSERVE_START: Duration = Duration::from_secs(30);

/// How much longer than its windows a pair of `observe` may take: the clients play for as long.
pub(crate) const OBSERVE_SLACK: Duration = Duration::from_secs(5);
