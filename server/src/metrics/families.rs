//! Every metric: its name, its kind, its unit, what it means. `docs/metrics.md` is compared with this.

/// How a metric is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, and begins anew with its process.
    Counter,
    /// Counts by size.
    Histogram,
    /// Says what something is.
    Info,
}

impl Kind {
    /// As OpenMetrics calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}

/// A metric and its samples' name without suffixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// How it is to be read.
    pub kind: Kind,
    /// Its unit, which its name ends in; empty when it has none.
    pub unit: &'static str,
    /// What it means.
    pub help: String,
}

macro_rules! families {
    ($($(#[$cfg:meta])* $family:ident = $name:literal $kind:ident $unit:literal $help:literal,)+) => {
        /// A metric that is not one of a worker's counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each says it in its help")]
        pub enum Fixed { $($family),+ }

        impl Fixed {
            /// All of them, in the order in which they are printed.
            pub const ALL: &[Fixed] = &[$(Fixed::$family),+];

            /// What is said of it.
            pub fn family(self) -> Family {
                let (name, kind, unit, help) = match self {
                    $(Fixed::$family => ($name, Kind::$kind, $unit, $help)),+
                };
                Family { name: name.to_owned(), kind, unit, help: help.to_owned() }
            }
        }
    };
}

families! {
    Instance = "ringfort_instance" Info "" "The instance: its name and the version of the program that tells of it.",
    Uptime = "ringfort_uptime_seconds" Gauge "seconds" "Time since the instance was started; an adoption does not end it.",
    Stopping = "ringfort_stopping" Gauge "" "1 when the instance stops or takes no new players, else 0.",
    PeersRefused = "ringfort_control_peers_refused" Counter "" "Processes of other users that wanted to command the instance.",
    ArenaBytes = "ringfort_arena_bytes" Gauge "bytes" "Memory of the worlds.",
    ArenaUsed = "ringfort_arena_used_bytes" Gauge "bytes" "Memory of the worlds that matches own.",
    ArenaReserved = "ringfort_arena_reserved_bytes" Gauge "bytes" "Memory of the worlds that is set aside for matches.",
    Matches = "ringfort_matches" Gauge "" "Matches that go on, paused ones too.",
    ProcessUp = "ringfort_process_up" Gauge "" "1 when the process lives and is not stopped by a signal, else 0.",
    ProcessRestarts = "ringfort_process_restarts" Counter "" "Times that the process was started again after a death.",
    ProcessCpu = "ringfort_process_cpu_seconds" Counter "seconds" "Processor time of the process.",
    ProcessMemory = "ringfort_process_resident_memory_bytes" Gauge "bytes" "Memory of the process, shared memory too.",
    ProcessHeartbeat = "ringfort_process_heartbeat_age_seconds" Gauge "seconds" "Time since the process last went through its loop.",
    MatchTicks = "ringfort_match_ticks" Counter "" "Committed ticks of the match.",
    MatchPaused = "ringfort_match_paused" Gauge "" "1 when nobody steps the match, else 0.",
    MatchCommitAge = "ringfort_match_commit_age_seconds" Gauge "seconds" "Time since the match's newest commit.",
    MatchSessions = "ringfort_match_sessions" Gauge "" "Sessions of players in the match.",
    MatchSpectators = "ringfort_match_spectators" Gauge "" "Sessions in the match that only watch.",
    MatchCapacity = "ringfort_match_capacity" Gauge "" "Players that fit.",
    MatchEntities = "ringfort_match_entities" Gauge "" "Entities alive in the match.",
    MatchArena = "ringfort_match_arena_bytes" Gauge "bytes" "Memory that the match's window of commits holds.",
    MatchInbox = "ringfort_match_inbox_bytes" Gauge "bytes" "Inputs and commands that the match has yet to apply.",
    MatchInboxCapacity = "ringfort_match_inbox_capacity_bytes" Gauge "bytes" "Size of the match's inbox.",
    MatchInboxRefused = "ringfort_match_inbox_refused" Counter "" "Records that the inbox's slot had no room for.",
    MatchLockRepairs = "ringfort_match_lock_repairs" Counter "" "Repairs of the inbox slot's lock after a holder's death.",
    MatchAsks = "ringfort_match_pending_requests" Gauge "" "Requests to the outside that wait for their answers.",
    MatchDuration = "ringfort_match_tick_duration_seconds" Histogram "seconds" "Time from a tick's start to its commit.",
    MatchLateness = "ringfort_match_tick_lateness_seconds" Histogram "seconds" "How long after its time a tick began.",
}

/// Counters of workers that go up and down.
const GAUGES: &[&str] = &["fe_connections", "fe_sessions", "fe_shed_level", "fe_handshakes_waiting", "hook_pending"];

/// The metric of a worker's counter.
pub fn of_counter(counter: &str) -> Family {
    let (role, rest) = counter.split_once('_').unwrap_or(("", counter));
    let role = if role == "fe" { "frontend" } else { role };
    let kind = if GAUGES.contains(&counter) { Kind::Gauge } else { Kind::Counter };
    let unit = if rest.ends_with("_bytes") { "bytes" } else { "" };
    let help = format!("What `ringfort status` calls {counter}, of one process.");
    Family { name: format!("ringfort_{role}_{rest}"), kind, unit, help }
}
