//! Every bound of the server in one place: when a queue, table or message is full, one of these says so.
//!
//! A bound that is reached means a counted drop or a clear error, never growth without end.

use std::time::Duration;

use ringfort_protocol::bucket::Rate;
use ringfort_shm_state::limits as shared;

pub use ringfort_protocol::limits::CONNECTION_ID_BYTES;

/// UDP sockets of the instance's port, and so the modulus that steers a connection id to a front-end.
///
/// It never changes with the number of front-ends: scaling would otherwise re-steer living connections.
pub const SOCKET_SLOTS: usize = ringfort_protocol::limits::FRONTEND_SLOTS as usize;
/// What is asked of the kernel for each UDP socket's receive and send buffer.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Most front-end processes of an instance: each owns one socket slot.
pub const FRONTENDS_MAX: u32 = SOCKET_SLOTS as u32;
/// Wake-ups of front-ends: one a slot, and one for the front-end that stands by.
pub const FRONTEND_WAKES: usize = SOCKET_SLOTS + 1;
/// Most sims that an instance can be configured to have at work.
pub const SIMS_MAX: u32 = SIM_SLOTS_MAX - STANDBY_SIMS;
/// Sims beyond those at work, warmed and without matches: the first that is ready takes over from one that dies.
pub const STANDBY_SIMS: u32 = 1;
/// Most sim processes of an instance.
pub const SIM_SLOTS_MAX: u32 = 16;
/// Fastest tick rate that can be configured.
pub const TICK_HZ_MAX: u32 = ringfort_protocol::limits::MAX_TICK_HZ;
/// Bytes that the synced columns of an entity, or the globals, may take together: a snapshot's, less header, verdicts, index and generation.
pub const SNAPSHOT_ROOM_BYTES: usize = ringfort_protocol::limits::MAX_SNAPSHOT_BYTES - 64;
/// Longest time that a player's view may lie back: the window of roots is shorter at most tick rates.
pub const REWIND_MS_MAX: u32 = 10_000;
/// Longest time for which a session without a connection may stay: a day.
pub const GRACE_MS_MAX: u32 = 24 * 3_600 * 1_000;
/// Smallest arena that holds a world worth running.
pub const ARENA_MIB_MIN: u32 = 16;
/// Largest arena: page handles have no room for more.
pub const ARENA_MIB_MAX: u32 = (((1u64 << shared::PAGE_INDEX_BITS) * shared::PAGE_BYTES as u64) >> 20) as u32;
/// Largest share of memory for the players' inboxes.
pub const INBOX_MIB_MAX: u32 = 1 << 14;
/// Smallest inbox of one match in bytes.
pub const MATCH_INBOX_BYTES_MIN: u64 = shared::MIN_INBOX_BYTES;
/// Most matches that an instance can be configured for.
pub const MATCHES_MAX: u32 = shared::MAX_ZONES as u32;
/// Longest instance name.
pub const INSTANCE_NAME_BYTES_MAX: usize = shared::INSTANCE_NAME_BYTES;
/// Longest match name.
pub const MATCH_NAME_BYTES_MAX: usize = shared::ZONE_NAME_BYTES;
/// Longest JSON of one match's game options, which is how shared memory holds them.
pub const GAME_OPTIONS_BYTES_MAX: usize = shared::ZONE_OPTIONS_BYTES;
/// Longest configuration file; also keeps the effective configuration below the kernel's limit for one
/// environment variable (128 KiB), through which workers receive it.
pub const CONFIG_FILE_BYTES_MAX: usize = 48 << 10;
/// Longest value of the environment variable that carries the configuration: below the kernel's MAX_ARG_STRLEN.
pub const WORKER_CONFIG_BYTES_MAX: usize = 120 << 10;
/// Longest PEM file that is read for a certificate chain or a key.
pub const PEM_FILE_BYTES_MAX: usize = 256 << 10;

/// Longest file that is read for a key of tokens.
pub const KEY_FILE_BYTES_MAX: usize = 4 << 10;
/// Shortest secret that tokens may be signed with: as long as what HMAC with SHA-256 makes of it (RFC 7518, section 3.2).
pub const TOKEN_SECRET_BYTES_MIN: usize = 32;
/// Seconds by which the clocks of a token's issuer and of the server may differ.
pub const TOKEN_LEEWAY_S: u64 = 5;
/// Longest life of a token that `ringfort token issue` makes, in minutes: 30 days.
pub const TOKEN_MINUTES_MAX: u32 = 30 * 24 * 60;
/// Largest rate and burst that can be configured for a limit.
pub const RATE_MAX: u32 = 100_000_000;
/// Least burst of bytes: a client's largest packet and some.
pub const RATE_BYTES_BURST_MIN: u32 = 2048;
/// Most connections that one address can be granted.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = ringfort_protocol::limits::MAX_CONNECTIONS as u32;

/// Descriptors that can be passed to one worker.
pub const WORKER_DESCRIPTORS_MAX: usize = 96;

/// How long a worker may take to answer who asks for its descriptors, and that one to take them.
pub const HAND_MS: u64 = 300;
/// Those who may wait for a worker's descriptors.
pub const HAND_BACKLOG: i32 = 4;
/// How often all workers are asked for them.
pub const HAND_ROUNDS: u32 = 3;
/// Stack of the thread that hands them over.
pub const HAND_STACK_BYTES: usize = 128 << 10;
/// Open files that a supervisor and its workers must be allowed: descriptors are passed at numbers from 512 on.
pub const OPEN_FILES_MIN: u64 = 1_024;
/// How long a worker waits to be in the directory before it gives up.
pub const ENTRY_MS: u64 = 5_000;

/// Longest condition of `entities --where`.
pub const FILTER_BYTES_MAX: usize = 4 << 10;
/// Parentheses and `not` of such a condition within one another.
pub const FILTER_DEPTH_MAX: usize = 64;
/// How often `events --follow` and `set` look for a new commit.
pub const FOLLOW_LOOK_MS: u64 = 10;
/// Longest time in seconds that `set` can be told to wait for the match to have taken what it was sent.
pub const SET_WAIT_S_MAX: u32 = 3_600;
/// Longest value of a field that can be set.
pub const SET_BYTES_MAX: usize = 8;

/// Connections to the control socket at one time.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;
/// Longest request or response on the control socket, line end included.
pub const CONTROL_LINE_BYTES_MAX: usize = 64 << 10;
/// How long a control connection may take to send its request.
pub const CONTROL_IDLE_MS: u64 = 2_000;
/// How long a command waits for the supervisor to answer.
pub const CONTROL_REPLY_MS: u64 = 15_000;

/// How long a match may take to be handed over by its sim.
pub const MOVE_MS: u64 = 5_000;
/// How long the process of a sim may take to be ready for a match.
pub const SIM_READY_MS: u64 = 10_000;
/// How long a front-end that is to end waits for its clients to have gone elsewhere.
pub const FRONTEND_DRAIN_MS: u64 = 10_000;
/// How long a front-end whose slot stays empty answers those who have not heard that it goes.
pub const FRONTEND_LINGER_MS: u64 = 1_000;
/// A front-end that is to end asks a client to go elsewhere this often: all 150 of a match within a third of a second, and not all at once.
pub const FRONTEND_DRAIN_EVERY_MS: u64 = 2;
/// Clients that it asks in one turn of its loop, if it comes to turns less often.
pub const FRONTEND_DRAIN_PER_TURN: usize = 8;
/// Longest time in seconds for which `down --drain` can be told to wait for the players: a week.
pub const DOWN_DRAIN_S_MAX: u32 = 7 * 24 * 3_600;
/// How often `down --drain` looks how many sessions are left.
pub const DOWN_LOOK_MS: u64 = 250;
/// How long planned work on the sims may take altogether.
pub const OPERATION_MS: u64 = 300_000;
/// How long a command for such work waits for the supervisor to answer.
pub const OPERATION_REPLY_MS: u64 = OPERATION_MS + CONTROL_REPLY_MS;
/// Most that a binary may say of itself, and that is asked of it at once.
pub const DESCRIBE_BYTES_MAX: u64 = 4 << 20;
/// How long a binary may take to say what it is.
pub const DESCRIBE_MS: u64 = 5_000;

/// Longest sleep of the supervisor's loop: how late it notices that a match has opened or ended, and how often it looks for hangs.
pub const SUPERVISOR_TURN_MS: u64 = 20;
/// Shortest time without a heartbeat after which a sim may be configured to count as hung: one without matches sleeps for half of it.
pub const HANG_MS_MIN: u32 = 200;
const _: () = assert!(HANG_MS_MIN as u64 >= 2 * LOOP_SLEEP_MAX_MS);
/// Longest such time.
pub const HANG_MS_MAX: u32 = 600_000;
/// On-time polls at which a lock is found held by the same holder for the same operation before that holder counts as hung: a tenth of a second
/// for what takes microseconds.
pub const LOCK_POLLS_MAX: u32 = 5;
/// Ticks without a heartbeat that a sim has at least, however fast they are due.
pub const HANG_TICKS_MIN: u64 = 4;
/// Time without a heartbeat that a process has at least while it starts.
pub const HANG_START_MS: u64 = 3_000;
/// A hung process that has used the processor for less than this since it fell silent was stopped or blocked: no fault of its game. Little
/// enough for a loop on a busy machine, and more than a process uses that waits.
pub const HANG_CPU_MS_MIN: u64 = 30;
/// Deaths of sims over the opening of a match, after which it is not tried again.
pub const OPENING_DEATHS_MAX: u32 = 2;
/// How often a sim looks for a match that is being handed over to it, if nobody wakes it.
pub const HANDOVER_POLL_MS: u64 = 2;
/// How often a sim that stands by touches memory that the worlds have taken meanwhile.
pub const WARM_AGAIN_MS: u64 = 500;
/// How long a start waits for the instance's lock when who took it is dead.
pub const LOCK_FREE_MS: u64 = 1_000;
/// How often it looks.
pub const LOCK_LOOK_MS: u64 = 5;
/// How long a start on what an earlier run left waits for that run's processes to give the port free, when they were just killed.
pub const PORT_FREE_MS: u64 = 1_000;
/// How often it looks.
pub const PORT_LOOK_MS: u64 = 5;
/// How long a worker may take from its start to claiming its segment while the instance starts.
pub const WORKER_START_MS: u64 = 10_000;
/// How long a match may take to open before whoever asked for it is told that it is not open yet.
pub const MATCH_OPEN_MS: u64 = 10_000;
/// How long `up` waits for processes of a killed supervisor to die before it refuses because of them.
pub const LEFTOVER_PATIENCE_MS: u64 = 2_000;
/// How often it looks whether they have.
pub const LEFTOVER_POLL_MS: u64 = 20;
/// How long a front-end may take to say goodbye to its clients before it is killed.
pub const FRONTEND_STOP_MS: u64 = 4_000;
/// How long a sim may take to end before it is killed.
pub const SIM_STOP_MS: u64 = 2_000;
/// How long the hook process may take to end before it is killed.
pub const HOOK_STOP_MS: u64 = 1_000;
/// How long `down` waits for a supervisor that has the instance's lock and does not listen yet.
pub const DOWN_LOCK_MS: u64 = 3_000;
/// How long `down` waits, after the answer, for the supervisor's process to be gone.
pub const SUPERVISOR_EXIT_MS: u64 = 2_000;
/// Delay before a worker that died is started again; doubled by each quick death in a row.
pub const RESTART_DELAY_MIN_MS: u64 = 10;
/// Longest delay before a worker is started again: it never ceases to be.
pub const RESTART_DELAY_MAX_MS: u64 = 5_000;
/// A worker that lived shorter than this died quickly.
pub const QUICK_DEATH_MS: u64 = 10_000;
/// A front-end that was ready and lived shorter than this died quickly: what kills one again and again must not keep the machine busy.
pub const FRONTEND_QUICK_DEATH_MS: u64 = 1_000;
/// Time without a heartbeat after which a front-end that stands by is not relied on.
pub const STANDBY_SILENT_MS: u64 = 3 * LOOP_SLEEP_MAX_MS;
/// Inbox bytes for each player of a match, before the area is rounded up to a power of two.
pub const INBOX_BYTES_PER_PLAYER: u64 = 256;
/// The supervisor's place in the directory's process table.
pub const SUPERVISOR_PLACE: usize = 0;
/// Place of front-end 0 in the directory's process table; the others follow.
pub const FRONTEND_PLACES: usize = 1;
/// Slot of the front-end that stands by: it has no socket, and takes the slot of one that dies.
pub const FRONTEND_STANDBY: u32 = FRONTENDS_MAX;
/// Place of sim 0 in the directory's process table, behind the front-end that stands by; the others follow.
pub const SIM_PLACES: usize = FRONTEND_PLACES + FRONTENDS_MAX as usize + 1;
/// Place of the hook process in the directory's process table.
pub const HOOK_PLACE: usize = SIM_PLACES + SIM_SLOTS_MAX as usize;
/// Place of the admin process in the directory's process table.
pub const ADMIN_PLACE: usize = HOOK_PLACE + 1;
const _: () = assert!(ADMIN_PLACE < shared::MAX_WORKERS, "every process has a place");

/// Bytes of the audit log before it becomes the older one.
pub const AUDIT_BYTES_MAX: u64 = 16 << 20;
/// Lines of the audit log that wait to be written; more commands are refused.
pub const AUDIT_JOBS_MAX: usize = 2 * CONTROL_CONNECTIONS_MAX;
/// A command that comes less than so many microseconds before the last one, by the machine's clock, has come after it all the same.
pub const AUDIT_APART_US_MAX: u64 = 1_000_000;
/// How long a supervisor that stops waits for the audit log.
pub const AUDIT_STOP_MS: u64 = 2_000;
/// Commands that `audit` shows unless told otherwise, and at most.
pub const AUDIT_LINES_SHOWN: u32 = 50;
/// See [`AUDIT_LINES_SHOWN`].
pub const AUDIT_LINES_MAX: u32 = 100_000;
/// Bytes of the machine's list of users that are looked through for a name.
pub const PASSWD_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a monitor's token, at least and at most.
pub const ADMIN_TOKEN_BYTES_MIN: usize = 16;
/// See [`ADMIN_TOKEN_BYTES_MIN`].
pub const ADMIN_TOKEN_BYTES_MAX: usize = 512;
/// Monitors that are answered at the same time; more are closed at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 16;
/// How long a monitor may take to send a request, and a connection may last in all.
pub const ADMIN_REQUEST_MS: u64 = 5_000;
/// See [`ADMIN_REQUEST_MS`].
pub const ADMIN_CONNECTION_MS: u64 = 60_000;
/// Bytes of a request's head.
pub const ADMIN_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header fields of a request.
pub const ADMIN_HEADERS_MAX: usize = 32;
/// How often the admin process gives a sign of life.
pub const ADMIN_BEAT_MS: u64 = 100;
/// Matches that metrics name; the others are summed under "other".
pub const METRICS_MATCHES_MAX: usize = 256;
/// How often `tail` looks for new records: more often than a ring of roots turns over at the fastest tick rate.
pub const TAIL_POLL_MS: u64 = 100;
/// Lines of the past that `tail` begins with when it follows.
pub const TAIL_LINES: usize = 20;
/// Refused clients that a front-end's flight recorder tells of; of more it tells the number.
pub const FLIGHT_REFUSALS: Rate = Rate { per_second: 8, burst: 64 };
/// What a tick has done to sessions that the flight recorder tells of; a crowd that comes or goes in one tick is told in part.
pub const FLIGHTS_PER_TICK: usize = 32;
/// How often the hook process looks for new requests.
pub const HOOK_POLL_MS: u64 = 20;
/// How long the hook process waits for the supervisor to post answers.
pub const HOOK_POST_MS: u64 = 2_000;
/// Requests that the hook has been given and has not answered; the others wait in their outboxes.
pub const HOOK_IN_FLIGHT_MAX: usize = 256;
/// Those of one match, so that one whose requests nobody answers leaves places to the others.
pub const HOOK_IN_FLIGHT_PER_MATCH: usize = HOOK_IN_FLIGHT_MAX / 4;
/// Those of one match that a web hook serves at the same time.
pub const HOOK_WEB_PER_MATCH: usize = HOOK_WEB_THREADS * 3 / 4;
/// Requests that the hook process keeps; beyond them they wait in their outboxes.
pub const HOOK_DESK_MAX: usize = 8192;
/// Bytes that wait for a hook program to read them; beyond them requests wait in their outboxes.
pub const HOOK_BACKLOG_BYTES: usize = 256 << 10;
/// Longest line that a hook program may write; a longer one ends it.
pub const HOOK_LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of answers, as JSON, that go to the supervisor in one request.
pub const HOOK_POST_BYTES: usize = CONTROL_LINE_BYTES_MAX / 2;
/// Requests with answers that go to the supervisor in one turn of the loop.
pub const HOOK_POSTS_PER_TURN: usize = 16;
/// How long a match whose mailbox was full is left alone.
pub const HOOK_POST_AGAIN_MS: u64 = 50;
/// Bytes that are read from a hook program's output in one turn of the loop; the rest is read in the next.
pub const HOOK_READ_BYTES_PER_TURN: usize = 4 * HOOK_LINE_BYTES_MAX;
/// Requests that a web hook serves at the same time.
pub const HOOK_WEB_THREADS: usize = 8;
/// Delay before a web hook is asked again what it failed to answer; doubled by each failure in a row.
pub const HOOK_RETRY_MIN_MS: u64 = 100;
/// Longest such delay.
pub const HOOK_RETRY_MAX_MS: u64 = 5_000;
/// Bytes of the file of results; with the next it becomes the old one, of which there is one.
pub const RESULTS_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the file of dead letters; with the next it becomes the old one, of which there is one.
pub const DEAD_LETTERS_BYTES_MAX: u64 = 64 << 20;
/// How often the lock of a file of JSON lines is tried, a millisecond apart, before what was to be appended is given up.
pub const JSONL_LOCK_TRIES: u32 = 100;
/// Matches whose results wait to be written; beyond them they wait in their matches.
pub const RESULT_JOBS_MAX: usize = 64;
/// How long a stop waits for each match's results to be on disk.
pub const RESULT_STOP_MS: u64 = 2_000;
/// How often a match whose result waits is looked at.
pub const RESULT_LOOK_MS: u64 = 200;

/// Datagrams that one `recvmmsg` or `sendmmsg` carries at most.
pub const UDP_BATCH: usize = 64;
/// Room for one datagram, in or out; an Ethernet frame and some.
pub const UDP_DATAGRAM_BYTES_MAX: usize = 2048;

/// A log file that reaches this size becomes `<name>.1`, in place of the one before it.
pub const LOG_FILE_BYTES_MAX: u64 = 32 << 20;

/// Most players of one match.
pub const CAPACITY_MAX: u32 = ringfort_protocol::limits::MAX_CAPACITY;
/// Most spectators of one match: they share the rows of the session table with the players, of whom there is at least one.
pub const SPECTATORS_MAX: u32 = shared::MAX_SESSIONS - 1;
/// Longest time in minutes that a match may be configured to stay empty: a week.
pub const IDLE_MINUTES_MAX: u32 = 7 * 24 * 60;
/// Kicks that a match has not been told of; more are refused.
pub const KICKS_WAITING_MAX: usize = 64;
/// Timers that may be pending, for each entity that a match may have.
pub const TIMERS_PER_ENTITY: u32 = 2;
/// Rows of a match's log of reliable events: four a player, within these bounds. A session that leaves that many
/// unacknowledged is ended.
pub const EVENT_LOG_MIN: u32 = 128;
/// See [`EVENT_LOG_MIN`].
pub const EVENT_LOG_MAX: u32 = 8192;
/// Unreliable events of one tick: two a player, within these bounds. More are dropped and counted.
pub const CUES_MIN: u32 = 64;
/// See [`CUES_MIN`].
pub const CUES_MAX: u32 = 4096;
/// Requests to the outside that may wait in a match: two a player, within these bounds.
pub const ASKS_PER_PLAYER: u32 = 2;
/// See [`ASKS_PER_PLAYER`].
pub const ASKS_MIN: u32 = 32;
/// See [`ASKS_PER_PLAYER`].
pub const ASKS_MAX: u32 = 512;
/// Results of a match that are sure of a place, whatever else waits.
pub const RESULTS_MAX: u32 = 2;
/// Room for bodies, for each request that may wait.
pub const ASK_BYTES_PER_ROW: u32 = 512;
/// Longest time after which a request to the outside is given up, in seconds.
pub const ASK_TIMEOUT_S_MAX: u32 = 3_600;
/// Longest time for which a match's result waits for the hook, in seconds.
pub const RESULT_PATIENCE_S_MAX: u32 = 86_400;
/// Inbox records that a zone applies in one tick; the rest waits for the next.
pub const RECORDS_PER_TICK: usize = 65_536;
/// Joins that a zone refuses in one tick; the next join waits, with what is behind it, so that a front-end that has missed a tick still
/// finds what each was told.
pub const REFUSALS_PER_TICK: u64 = shared::MAX_REFUSALS as u64 / 2;
/// Inputs of one session that are applied in one tick, and taken between two commits; older ones of a longer burst are dropped and never
/// acknowledged. As many as a session may have saved up, so that those of a second in which its match hung are not lost.
pub const INPUTS_PER_TICK: usize = 32;
/// What one applied input costs its session. The unit is a fraction of an input, so that a tick can bring a little more than one.
pub const INPUT_COST: u32 = 32;
/// What each tick brings a session: 3 % more than an input costs, so that a client whose clock is fast never loses one.
pub const INPUT_CREDIT_PER_TICK: u32 = 33;
/// The most that a session saves up: twice the inputs of one datagram, as all of them may come at once after a loss.
pub const INPUT_CREDIT_MAX: u32 = 2 * ringfort_protocol::limits::MAX_INPUTS as u32 * INPUT_COST;
const _: () = assert!(INPUTS_PER_TICK as u32 * INPUT_COST <= INPUT_CREDIT_MAX);
/// Owners that may die on one tick without a fault of the game being known; then the zone is paused.
pub const DEATHS_PER_TICK_MAX: u32 = 8;
/// Attempts at a tick: as it comes, once more with the very same records, and without its inputs and commands. Then the zone is paused.
pub const ATTEMPTS_MAX: u32 = 3;
/// Ticks that a late zone runs back to back; then it skips ahead and counts what it skipped.
pub const CATCH_UP_TICKS: u32 = 3;
/// Stack on which a sim's handlers of signals run, as the game may have used its own up.
pub const FAULT_STACK_BYTES: usize = 64 << 10;
/// Least memory that a sim may be limited to, in MiB: its own code and the largest game's derived indices fit.
pub const SIM_MEMORY_MIB_MIN: u32 = 64;
/// Most memory that a sim may be limited to, in MiB.
pub const SIM_MEMORY_MIB_MAX: u32 = 1 << 20;
/// Slots into which the zones' ticks of one period are spread.
pub const STAGGER_SLOTS: u64 = 20;
/// How long a closed match stays readable, so that front-ends tell its players.
pub const LINGER_MS: u32 = 500;
/// Longest sleep of a worker's loop: its heartbeat's period.
pub const LOOP_SLEEP_MAX_MS: u64 = 100;

/// Bytes of records that a front-end keeps for a zone whose inbox is full or locked; inputs beyond it are not taken, so that
/// clients send them again.
pub const ZONE_BACKLOG_BYTES: usize = 256 << 10;
/// How long a client may take from its handshake to its hello.
pub const HELLO_TIMEOUT_MS: u64 = 5_000;
/// How long a join waits for its zone's answer.
pub const JOIN_TIMEOUT_MS: u64 = 10_000;
/// How long a client may stay without a match.
pub const IDLE_TIMEOUT_MS: u64 = 60_000;
/// Time after which a connection that has found no match is closed, however often it has asked for one.
pub const MATCHLESS_TIMEOUT_MS: u64 = 600_000;
/// Matches that a join of any match tries before it is refused.
pub const JOIN_TRIES_MAX: usize = 16;
/// Codes of no private match that a connection may try before it is closed; a code has 30^8 values.
pub const WRONG_CODES_MAX: u32 = 8;
/// How long a front-end that stops keeps telling its clients.
pub const GOODBYE_MS: u64 = 300;
/// Batches that a front-end receives before it turns to other work.
pub const RECEIVE_BATCHES_PER_LOOP: usize = 8;
/// How often a front-end looks at its zones without having been called.
pub const REFRESH_AT_LEAST_MS: u64 = 50;
/// Reliable events that a client is told after one commit; the rest waits for the next.
pub const EVENTS_PER_SNAPSHOT: u64 = 256;
/// Bytes of snapshots that one look at the zones gives to clients that have yet to get the whole of what they see. When a front-end has
/// died its clients come to others all at once; those who play there are not to wait for them.
pub const FILLING_BYTES: usize = 256 << 10;
/// Bytes of a snapshot to such a client when those are used up: its own entity, and the news of its inputs.
pub const FILLING_SNAPSHOT_BYTES: usize = 256;
/// Snapshots of full size after which a client has had its share: one that never gets the whole of what it sees, because more comes into
/// its sight than a snapshot carries, would keep the others waiting for ever.
pub const FILLING_SNAPSHOTS_MAX: u32 = 128;
/// Clients of a match that a front-end tells of a commit without spreading it.
pub const AT_ONCE_CLIENTS: usize = 256;
/// The share of a tick over which it tells more of them, as a divisor.
pub const SPREAD_SHARE: u64 = 2;
/// Longest time for that, in microseconds.
pub const SPREAD_US_MAX: u64 = 125_000;
/// Parts that they are told in.
pub const SPREAD_SLOTS: u64 = 10;
/// Snapshots that a front-end builds before it looks at what has arrived meanwhile.
pub const CLIENTS_PER_PIECE: usize = 64;
/// Bytes of the blocks that snapshots are cut from.
pub const SNAPSHOT_BLOCK_BYTES: usize = 16 << 10;
/// Entities with a position that a client is told of at most, where the game gives a radius and no number.
pub const INTEREST_ENTITIES: u32 = 256;
/// Share of its radius by which what a client is told of leaves later than it comes, so that who walks along the edge is not told anew
/// again and again: of interest, of columns that are `near`, and of the nearest where there are too many.
pub const INTEREST_KEEPS: f32 = 1.1;
/// Cells of the grid of interest across a client's radius.
pub const INTEREST_CELLS_PER_RADIUS: f32 = 2.0;
/// Cells of that grid at most, for each entity; in a wider world they are larger.
pub const INTEREST_CELLS_PER_ENTITY: usize = 4;
/// Least cells that it may have, however few entities there are.
pub const INTEREST_CELLS_MIN: usize = 256;
/// Largest radius and number of entities that can be configured for interest.
pub const INTEREST_MAX: u32 = ringfort_protocol::limits::MAX_ENTITIES;
/// Least budget of a snapshot that can be configured, in bytes: header, globals and a record or two.
pub const SNAPSHOT_BYTES_MIN: u32 = 256;
/// Largest such budget, which is the default: what fits a packet on every way.
pub const SNAPSHOT_BYTES_MAX: u32 = ringfort_protocol::limits::MAX_SNAPSHOT_BYTES as u32;
/// How long a front-end lets packets gather before it takes them in: the most that this adds to an input's way.
pub const GATHER_US: u64 = 500;
/// New joins of one match that a front-end has under way; others wait until the match has answered some, so that a storm of them costs no
/// tick much more than any other.
pub const JOINS_UNDER_WAY_MAX: usize = 128;
/// New joins of one match that wait for that; one more is answered with `Busy`, and its client asks again.
pub const JOINS_QUEUED_MAX: usize = ringfort_protocol::limits::MAX_CONNECTIONS;
/// One part in so many of a front-end's time goes to newcomers' handshakes, whatever else there is to do.
pub const GREETING_SHARE: u32 = 4;
/// The same while it is so overloaded that new joins are put off: a client that wants its session back needs a handshake, too.
pub const GREETING_SHARE_SHED: u32 = 16;
/// Time for newcomers that is kept when they have no use for it: the longest that those who play wait for them.
pub const GREETING_BURST: Duration = Duration::from_millis(2);
/// How often a front-end judges whether it keeps up.
pub const SHED_EVERY: Duration = Duration::from_millis(500);
/// Periods from a commit to its last snapshot above which a front-end does without one thing more.
pub const SHED_RISE: f64 = 0.75;
/// Periods below which it goes back by one. Well below the other, as what was given up costs up to twice as much as the rest.
pub const SHED_FALL: f64 = 0.3;
/// Judgements in a row that must be below it.
pub const SHED_CALM_JUDGEMENTS: u32 = 4;
/// The same for one that has gone back in vain again and again.
pub const SHED_CALM_JUDGEMENTS_MAX: u32 = 64;
/// One commit counts as late as this at most, so that a front-end which was stopped for a while is not taken for an overloaded one.
pub const SHED_LAG_MAX: f64 = 4.0;
/// How long a client that wants any match waits for room before it is told that all are full.
pub const JOIN_WAIT_MS: u64 = 2_000;
/// Memory from which received datagrams are cut.
///
/// Small, since one packet that quinn-proto keeps holds on to its whole block.
pub const RECEIVE_BLOCK_BYTES: usize = 16 << 10;
/// Commands of one session that a front-end takes between two commits; more are answered with `Busy`.
pub const COMMANDS_PER_TICK: u32 = 16;
// A tick drains what came between two commits at most twice. If it gives its commands up, a session's row names each of them, so that the
// acknowledgement of a later one never hides it.
const _: () = assert!(2 * COMMANDS_PER_TICK <= ringfort_protocol::AckBits::FIELD + 1);
/// Ticks by which a client's newest acknowledgement may lie behind before it is counted: what was sent so long ago is not remembered.
pub const ACK_AGE_MAX: u32 = ringfort_protocol::limits::SENT_WINDOW as u32;
/// A session that was told nothing is done with the log's events by steps of the log's length over this.
pub const EVENT_SETTLE_SHARE: u64 = 4;
/// Seconds after which a request to the outside is given up in a [`TestWorld`](crate::test::TestWorld).
pub const TEST_ASK_TIMEOUT_S: u32 = 10;

/// Snapshot arrivals that a client judges the jitter by: two to six seconds at usual rates.
pub const ARRIVALS_KEPT: usize = 128;
/// Share of the arrivals that the interpolation delay waits for; what comes later than that is drawn late.
pub const ARRIVALS_IN_TIME: f64 = 0.97;
/// A snapshot later than this by the clock of those before it is no jitter: the match stood still.
pub const CLOCK_SHIFT: Duration = Duration::from_millis(500);
/// So many of them in a row, and the clock begins anew.
pub const CLOCK_SHIFT_SNAPSHOTS: u32 = 8;
/// Longest automatic interpolation delay, unless two changes of a blended column are further apart.
pub const INTERPOLATION_MAX: Duration = Duration::from_millis(500);
/// How much faster or slower than time the drawn moment may move, while it comes to its delay.
pub const DRAWN_SLEW_MAX: f64 = 0.05;
/// Snapshots that a client keeps to draw between at least.
pub const VERSIONS_MIN: usize = 64;
/// Most of them, two seconds at 240 ticks a second: as many as the drawn delay asks for; beyond it the oldest goes.
pub const VERSIONS_MAX: usize = 512;
/// Input slots that a client which fell behind may still use; older ones are dropped and counted.
pub const SLOTS_DUE_MAX: u32 = 4;
/// How much longer or shorter than a tick the time between two inputs may be, while it comes to its margin: within what
/// [`INPUT_CREDIT_PER_TICK`] allows.
pub const INPUT_SLEW_MAX: f64 = 0.025;
/// Least margin between an input's arrival and its tick that a client aims at, in ticks.
pub const INPUT_MARGIN_MIN: f64 = 0.25;
/// Largest such margin, in ticks: the server lets no input wait for longer.
pub const INPUT_MARGIN_MAX: f64 = 1.0;
/// Unacknowledged inputs that a client predicts with; beyond it the oldest is forgotten.
pub const PREDICTED_INPUTS_MAX: usize = 128;
/// Columns that a client may predict.
pub const PREDICTED_COLUMNS_MAX: usize = 8;
/// Predicted events that wait for the server's verdict; one more is not shown.
pub const FORECASTS_MAX: usize = 64;
/// Events that a client's program has not taken yet. Beyond it the oldest goes and is counted.
pub const CLIENT_EVENTS_MAX: usize = 2048;
/// Statuses that a client's program has not taken yet. Beyond it the oldest goes.
pub const CLIENT_STATUSES_MAX: usize = 64;
/// How long a client in a match hears no snapshot until it says that it is stalled, and how often it says so again.
pub const STALLED_AFTER: Duration = Duration::from_millis(500);
/// How long `connect` waits for the server's welcome.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long `leave` waits for the server's goodbye.
pub const FAREWELL: Duration = Duration::from_millis(500);
/// Longest name of a crate that `ringfort new` makes.
pub const NEW_NAME_BYTES_MAX: usize = 64;
/// Looks of `top` over which it draws how full a match's ring was.
pub const TOP_FILLS_KEPT: usize = 240;
/// Shortest time over which `top` tells rates, in milliseconds.
pub const TOP_RATE_MS_MIN: u64 = 500;
/// Looks after which `top` lets the older half of the tick times go that its quantiles are of.
pub const TOP_TIMES_LOOKS: u32 = 10;
/// Rows above and below the chosen one that `top` decodes: more than a screen has.
pub const TOP_ROWS_AROUND: usize = 100;
/// Events of a match that `top` lists.
pub const TOP_EVENTS_MAX: usize = 200;
/// Fields that `top` lists of an entity in a row of many.
pub const TOP_FIELDS_MAX: usize = 24;
/// Pages of the content of a column of texts that `top` copies for a list of entities; a column with more shows `…` there.
pub const TOP_BLOB_PAGES_MAX: usize = 1024;
/// Letters of a filter that is typed in `top`.
pub const TOP_FILTER_CHARS_MAX: usize = 200;
/// Fields of a state that a map of a game may have.
pub const MAP_PLACES_MAX: usize = 256;
/// Shortest time between two looks of `--watch`, in seconds.
pub const WATCH_S_MIN: f64 = 0.05;
/// Longest time between two looks of `--watch`, in seconds.
pub const WATCH_S_MAX: f64 = 3600.0;

/// Bytes of what a saved file tells about itself.
pub const SAVED_ABOUT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a saved file's table of chunks: 24 a chunk of 64 KiB, of an arena of 64 GiB and the rest.
pub const SAVED_TABLE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a segment of a saved file that is expanded whole, which all but the world are: the largest is that of the inboxes.
pub const SAVED_EXPANDED_BYTES_MAX: u64 = 5 << 30;
/// Chunks of a saved file that a reader keeps expanded: 256 MiB.
pub const SAVED_CHUNKS_HELD: usize = 4096;
/// Instances that an error lists.
pub const INSTANCES_LISTED: usize = 8;
/// How often a save copies a match again that went on too fast, or the directory that changed meanwhile.
pub const SAVE_ATTEMPTS: u32 = 8;
/// How often an inbox is read again of which the match has consumed meanwhile what was read.
pub const RING_READ_ATTEMPTS: u32 = 8;
/// Milliseconds between the two looks at a lock that is held.
pub const LOCK_LOOK_AGAIN_MS: u64 = 20;
/// Characters of a line of the arena's map.
pub const ARENA_MAP_COLUMNS: usize = 76;
/// Lines of the arena's map.
pub const ARENA_MAP_LINES: usize = 16;
/// Age of a heartbeat, in milliseconds, above which a process hangs; it has [`HANG_TICKS_MIN`] ticks of the slowest match at least.
pub const SILENT_MS: u64 = 1000;
/// Periods without a commit above which a match is late.
pub const LATE_PERIODS: u64 = 4;
/// Milliseconds without a commit below which no match is late.
pub const LATE_MS_MIN: u64 = 500;
/// Per cent of an inbox or of the arena's extents from which it counts as full. What waits in an inbox that is read is a few per cent of it.
pub const FULL_PERCENT: u64 = 80;
