//! Why the instance did not start, and why a match was refused: one sentence each, with what to do about it.

use std::io;
use std::path::PathBuf;

use ringfort_shm_state::directory::MapTooLarge;
use ringfort_shm_state::segment::SegmentError;

use super::control::ControlBindError;
use super::leftovers::Unfit;
use super::sockets::BindError;
use super::spawn::{Ending, SpawnError};
use crate::admin::AdminError;
use crate::auth::KeyError;
use crate::certificate::CertificateError;
use crate::cli::Role;
use crate::config::ConfigError;
use crate::game::DescriptionError;
use crate::limits::{CAPACITY_MAX, GAME_OPTIONS_BYTES_MAX, OPEN_FILES_MIN, WORKER_START_MS};
use crate::logging::LoggingError;
use crate::run_dir::{LockError, RunDirError};

/// Why `up` gave up. Whatever it had made is removed again; what an earlier run left stays, unless `--fresh` had removed it by then.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The run directory can't be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The instance runs already.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Monitors can't be answered.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Logging can't start.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// There is no certificate to show.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// There is no usable key for tokens.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The port can't be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A process of an earlier run still lives.
    #[error(
        "process {pid}, {role} {slot} of an earlier run of instance \"{instance}\", still runs; end it with `kill -9 {pid}`, \
         then start again"
    )]
    LeftoverLives {
        /// Which instance.
        instance: String,
        /// The process.
        pid: u32,
        /// What it does.
        role: &'static str,
        /// Which of its kind.
        slot: u32,
    },
    /// Workers of an earlier supervisor live, and are others than this binary could go on with.
    #[error(
        "workers of instance \"{instance}\" still run without a supervisor, process {pid} among them, and this binary cannot go on with \
         them: {unfit}; nothing was touched: use the binary that started them, or its `ringfort down --instance {instance}`"
    )]
    OtherWorkers {
        /// Which instance.
        instance: String,
        /// One of them.
        pid: u32,
        /// Why not.
        #[source]
        unfit: Unfit,
    },
    /// Workers of an earlier supervisor live, and have another run directory.
    #[error(
        "workers of instance \"{instance}\" still run without a supervisor, process {pid} among them, and had another XDG_RUNTIME_DIR \
         (\"{runtime}\"); `ringfort up` with that one goes on with them, and `ringfort down --instance {instance}` stops them"
    )]
    WorkersElsewhere {
        /// Which instance.
        instance: String,
        /// One of them.
        pid: u32,
        /// What they had.
        runtime: String,
    },
    /// A worker lives whose instance's shared memory is gone.
    #[error(
        "process {pid}, a worker of instance \"{instance}\", still runs, but the segments that it used were removed from /dev/shm; end it \
         with `kill -9 {pid}`, then start again"
    )]
    Unlisted {
        /// Which instance.
        instance: String,
        /// The process.
        pid: u32,
    },
    /// Too few files can be open.
    #[error(
        "a process may have {found} open files here, and the supervisor of workers needs {OPEN_FILES_MIN}; raise the hard limit \
         (`ulimit -Hn`, LimitNOFILE= of systemd, docker: --ulimit nofile)"
    )]
    OpenFiles {
        /// How many.
        found: u64,
    },
    /// Workers of an earlier supervisor live, and nothing is to be gone on with.
    #[error(
        "{count} workers of instance \"{instance}\" still run without a supervisor; `ringfort up` without --fresh goes on with them, and \
         `ringfort down --instance {instance}` stops them"
    )]
    WorkersLive {
        /// Which instance.
        instance: String,
        /// How many.
        count: usize,
    },
    /// What an earlier run left can't be gone on with.
    #[error(
        "instance \"{instance}\" cannot go on with what an earlier run left in /dev/shm: {unfit}; `ringfort up --fresh` removes \
         that and starts anew"
    )]
    Leftovers {
        /// Which instance.
        instance: String,
        /// Why not.
        #[source]
        unfit: Unfit,
    },
    /// What an earlier run left can't be removed.
    #[error("{} of an earlier run cannot be removed ({source}); remove it by hand", path.display())]
    LeftoverStays {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Shared memory can't be had.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The game's map has no room in the directory.
    #[error(transparent)]
    Map(#[from] MapTooLarge),
    /// The control socket can't be made.
    #[error(transparent)]
    Control(#[from] ControlBindError),
    /// The signals can't be waited for, or wake-ups can't be made.
    #[error("cannot make the descriptors of the supervisor's loop ({0}); allow at least 1024 open files (`ulimit -n`)")]
    Descriptors(#[source] io::Error),
    /// A worker was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A worker died while the instance started.
    #[error("{role} {slot} {ending} while it started; its log {} says why", log.display())]
    WorkerDied {
        /// What it was to do.
        role: Role,
        /// Which of its kind.
        slot: u32,
        /// How it ended.
        ending: Ending,
        /// Its log.
        log: PathBuf,
    },
    /// A worker does nothing.
    #[error("{role} {slot} did not get ready within {WORKER_START_MS} ms; see its log {}, and how busy the machine is", log.display())]
    WorkerSilent {
        /// What it was to do.
        role: Role,
        /// Which of its kind.
        slot: u32,
        /// Its log.
        log: PathBuf,
    },
    /// A match to start with was refused.
    #[error(transparent)]
    Match(#[from] MatchError),
    /// The options of `[game]`, or of the flags, fit no match.
    #[error("the options for every match are refused: {0}")]
    Options(#[source] MatchError),
    /// The arena is too small for the matches to start with.
    #[error(
        "only {fit} of the {wanted} matches to start with fit the arena: together they reserve {needed} extents of 64 KiB, and it \
         has {total}; start with fewer, lower their capacity, or raise `arena_mib` to {mib}"
    )]
    ArenaTooSmall {
        /// Matches that fit, counted from the first.
        fit: usize,
        /// Matches to start with.
        wanted: usize,
        /// Extents that all of them reserve.
        needed: usize,
        /// Extents of the arena.
        total: usize,
        /// `arena_mib` that is enough for them.
        mib: usize,
    },
    /// Asked to stop before it had started.
    #[error(
        "interrupted while starting; what was made is removed again, and what an earlier run left stays unless --fresh had it removed"
    )]
    Interrupted,
}

/// Why a match was not created, or not ended.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// Its name or its options break a rule.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// More kicks than a match is told of at a time.
    #[error("match \"{name}\" has not been told of earlier kicks yet; try again in a moment, or see `ringfort status`")]
    TooManyKicks {
        /// Which match.
        name: String,
    },
    /// It has no world yet that anything could be set in.
    #[error("match \"{name}\" has not opened yet; try again in a moment")]
    NotOpenYet {
        /// Which match.
        name: String,
    },
    /// Its sim has not taken what stands in its mailbox.
    #[error(
        "match \"{name}\" has not taken what was set before; `ringfort status` tells whether its sim hangs or the match is paused"
    )]
    MailboxFull {
        /// Which match.
        name: String,
    },
    /// No field is so long.
    #[error(
        "a value of {bytes} bytes is longer than any field that can be set; use a `ringfort` of the same version as the server"
    )]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The game has no such option.
    #[error("the game has no option \"{key}\"; it has {allowed}")]
    UnknownOption {
        /// What was given.
        key: String,
        /// What there is.
        allowed: String,
    },
    /// The capacity is no number in range.
    #[error("the game option capacity is {value}; it must be a whole number from 1 to {CAPACITY_MAX}")]
    Capacity {
        /// What was given.
        value: String,
    },
    /// An option of the game's own is not in its range.
    #[error("the game option {name} is {value}; it must be a {kind} from {min} to {max}")]
    OptionRange {
        /// Which option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        kind: &'static str,
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// The options are too long as shared memory holds them.
    #[error(
        "the game options of one match take {bytes} bytes, more than the {GAME_OPTIONS_BYTES_MAX} allowed; remove or shorten some"
    )]
    OptionsTooLong {
        /// How long they are.
        bytes: usize,
    },
    /// The game can't have matches of that size.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// A match of that name runs, or ends just now.
    #[error("there is a match \"{0}\" already; choose another name, or end that one and wait until it is gone")]
    NameTaken(String),
    /// There is no match of that name.
    #[error("there is no match \"{0}\"; `ringfort matches list` shows those that there are")]
    NoSuchMatch(String),
    /// It runs.
    #[error("match \"{0}\" is not paused; `ringfort matches list` shows which are")]
    NotPaused(String),
    /// No slot is free.
    #[error("there are {max} matches, as many as `max_matches` allows; end one, or raise it and start the instance anew")]
    TooMany {
        /// `max_matches`.
        max: u32,
    },
    /// The arena can't take one more match of this size.
    #[error(
        "the match reserves {needed} extents of 64 KiB and {free} of the arena's {total} are left; an arena of that size takes \
         {fit} such matches, and `max_matches` of them ({max}) need `arena_mib` = {mib}: end another match, lower the capacity, \
         or raise `arena_mib` and start the instance anew"
    )]
    ArenaFull {
        /// Extents that the match needs.
        needed: usize,
        /// Extents that are not reserved.
        free: usize,
        /// Extents of the arena.
        total: usize,
        /// Matches of this size that fit an empty arena.
        fit: usize,
        /// `max_matches`.
        max: u32,
        /// `arena_mib` for as many of this size.
        mib: usize,
    },
    /// No area of the inbox segment is large enough.
    #[error("there are no {bytes} bytes in a row left for the match's inbox; end another match, or raise `inbox_mib`")]
    InboxFull {
        /// What the match needs.
        bytes: u64,
    },
    /// There is no seed for it.
    #[error("the system gave no random numbers for the match's seed; check /dev/urandom")]
    NoRandomness,
    /// Its end could not be put where its sim finds it.
    #[error(
        "match \"{0}\" could not be told to end yet: its sim has not made the match's first ticks, or does not read its mailbox; see \
         `ringfort status`, then try again"
    )]
    NotTold(String),
    /// Its sim could not open it.
    #[error("match \"{name}\" could not be opened by its sim; the log {} says why", log.display())]
    NotOpened {
        /// Which match.
        name: String,
        /// The sim's log.
        log: PathBuf,
    },
}

impl MatchError {
    /// Whether other matches have taken what this one needs.
    pub(super) fn is_lack_of_room(&self) -> bool {
        matches!(self, MatchError::TooMany { .. } | MatchError::ArenaFull { .. } | MatchError::InboxFull { .. })
    }
}
