//! The configuration: `ringfort.toml`, overridden by flags, checked once, handed to the workers as JSON.
//!
//! [`DEFAULTS_TOML`] is the documentation of every key and is compared with [`Config::default`] by a test,
//! so that neither can drift from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod admin;
mod interest;
mod limits;

pub use admin::Admin;
pub use interest::Interest;
pub use limits::{DEFAULT as LIMITS_DEFAULT, Limits};

use crate::cli::{UpArgs, collect_options};
use crate::limits::{
    ARENA_MIB_MAX, ARENA_MIB_MIN, CONFIG_FILE_BYTES_MAX, FRONTENDS_MAX, GAME_OPTIONS_BYTES_MAX, GRACE_MS_MAX, HANG_MS_MAX,
    HANG_MS_MIN, IDLE_MINUTES_MAX, INBOX_MIB_MAX, INSTANCE_NAME_BYTES_MAX, MATCH_INBOX_BYTES_MIN, MATCH_NAME_BYTES_MAX,
    MATCHES_MAX, REWIND_MS_MAX, SIM_MEMORY_MIB_MAX, SIM_MEMORY_MIB_MIN, SIMS_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_MIN,
    SPECTATORS_MAX, TICK_HZ_MAX,
};

/// The file that is read when `--config` names no other.
pub const DEFAULT_FILE: &str = "ringfort.toml";

/// A whole configuration file: each key, its default and what it means. `ringfort config --defaults` prints it.
pub const DEFAULTS_TOML: &str = include_str!("config/defaults.toml");

mod hooks;
pub use hooks::Hooks;

/// Options for a game, by key.
pub type Options = BTreeMap<String, OptionValue>;

/// The value of a game option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "an option's value must be a whole number or a string")]
pub enum OptionValue {
    /// A whole number.
    Number(i64),
    /// Anything else.
    Text(String),
}

/// The effective configuration of an instance. Field by field what [`DEFAULTS_TOML`] documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the instance on this machine.
    pub instance: String,
    /// Address that clients connect to.
    pub listen: SocketAddr,
    /// Number of front-end processes.
    pub frontends: u32,
    /// Number of sims at work; one more stands by.
    pub sims: u32,
    /// Milliseconds without a heartbeat after which a sim counts as hung.
    pub hang_ms: u32,
    /// Ticks a second; the game's own rate when absent.
    pub tick_hz: Option<u32>,
    /// Milliseconds that a player's view may lie back when a hit is decided by it.
    pub rewind_ms: u32,
    /// Milliseconds for which a session without a connection stays; the game says it when this is not set.
    pub grace_ms: Option<u32>,
    /// Whether every tick runs twice and is compared.
    pub check_determinism: bool,
    /// Size of the arena in MiB.
    pub arena_mib: u32,
    /// Memory that a sim process may take for itself, in MiB.
    pub sim_memory_mib: u32,
    /// Size of the players' inboxes together in MiB.
    pub inbox_mib: u32,
    /// Most matches at one time.
    pub max_matches: u32,
    /// Spectators of a match that says nothing else.
    pub spectators: u32,
    /// Minutes without a session after which a match that says nothing else ends itself, 0 for never.
    pub idle_minutes: u32,
    /// How many matches to start with when `named_matches` is empty.
    pub matches: u32,
    /// What is logged.
    pub log_level: LogLevel,
    /// The certificate that clients see.
    pub tls: Tls,
    /// Who may play.
    pub auth: Auth,
    /// Who answers the game's requests.
    pub hooks: Hooks,
    /// Where monitors ask.
    pub admin: Admin,
    /// What a client may do.
    pub limits: Limits,
    /// Of which entities a client is told.
    pub interest: Interest,
    /// Bytes of the largest snapshot.
    pub snapshot_bytes: u32,
    /// Options for the game, for every match.
    pub game: Options,
    /// Matches to start with, by name.
    #[serde(rename = "match")]
    pub named_matches: Vec<MatchConfig>,
}

/// `[tls]`: PEM files; both or neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// File with the certificate chain.
    pub cert: Option<PathBuf>,
    /// File with the private key.
    pub key: Option<PathBuf>,
}

/// `[auth]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// How a credential is judged.
    pub mode: AuthMode,
    /// File with the key that verifies tokens.
    pub key: Option<PathBuf>,
    /// Whom tokens must be from.
    pub issuer: Option<String>,
}

/// How a client's credential is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Any name is believed.
    #[default]
    Development,
    /// A token that is signed with the configured key.
    Token,
}

/// `[[match]]`: one match to start with, or one that is wanted later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// What clients ask for when they join.
    pub name: String,
    /// The game's options for this match.
    #[serde(default)]
    pub options: Options,
    /// Whether it is joined only with a code that it gets.
    #[serde(default)]
    pub private: bool,
    /// Spectators that it has room for.
    pub spectators: Option<u32>,
    /// Minutes without a session after which it ends itself, 0 for never.
    pub idle_minutes: Option<u32>,
}

/// What is logged: this level and all that are graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the levels that every logging library has")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Why there is no valid configuration. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read ({source}); check the path and its permissions", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too long.
    #[error(
        "the configuration file {} has {bytes} bytes, more than the {CONFIG_FILE_BYTES_MAX} allowed; create matches \
         with `ringfort matches create` instead of listing them",
        file.display()
    )]
    TooLong {
        /// Which file.
        file: PathBuf,
        /// Its size.
        bytes: usize,
    },
    /// The file is no TOML, has an unknown key, or a value of the wrong type.
    #[error(
        "{}:{line}: {}{problem}; correct that line (`ringfort config --defaults` shows every key)",
        file.display(),
        if key.is_empty() { String::new() } else { format!("`{key}`: ") }
    )]
    Parse {
        /// Which file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key with its table, as far as it can be told.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A worker was handed something that is no configuration.
    #[error("the worker's configuration cannot be read ({0}); start workers with `ringfort up` only")]
    Worker(#[source] serde_json::Error),
    /// The instance's name breaks the rules.
    #[error("the instance name \"{0}\" is not allowed; use 1 to {INSTANCE_NAME_BYTES_MAX} characters of a-z, 0-9 and '-'")]
    Instance(String),
    /// A number is out of its range.
    #[error("`{key}` is {value}; it must be from {min} to {max}")]
    Range {
        /// Which key.
        key: &'static str,
        /// What it is.
        value: u32,
        /// The least it may be.
        min: u32,
        /// The most it may be.
        max: u32,
    },
    /// More matches to start with than there may be.
    #[error("there are {wanted} matches to start with but `max_matches` is {max}; raise it or start fewer")]
    TooManyMatches {
        /// How many are configured.
        wanted: usize,
        /// `max_matches`.
        max: u32,
    },
    /// A match's name breaks the rules.
    #[error(
        "the match name \"{0}\" is not allowed; use 1 to {MATCH_NAME_BYTES_MAX} characters of letters, digits, '-', '_' and '.'"
    )]
    MatchName(String),
    /// Two matches have one name.
    #[error("two matches are called \"{0}\"; give each [[match]] a name of its own")]
    DuplicateMatch(String),
    /// One of the two TLS files is missing.
    #[error("`tls.{given}` is set but `tls.{missing}` is not; set both, or neither for a self-signed certificate")]
    HalfTls {
        /// The key that is there.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// The hook of `[hooks]` is none.
    #[error("`hooks.{key}` {problem}")]
    Hooks {
        /// Which key.
        key: &'static str,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
    /// What `[admin]` says cannot be.
    #[error("`admin.{key}` {problem}")]
    Admin {
        /// Which key.
        key: &'static str,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
    /// The token that monitors are asked for cannot be read.
    #[error("the token file {} cannot be read ({source}); check `admin.token_file`", file.display())]
    AdminToken {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read or change that token.
    #[error("other users may read or write the token file {} (mode {mode:03o}); run `chmod 600` on it", file.display())]
    AdminTokenOpen {
        /// Which file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A game option's key is not usable.
    #[error("the game option key \"{0}\" is not allowed; use characters of a-z, 0-9, '-' and '_'")]
    OptionKey(String),
    /// The options of a match are too long together.
    #[error(
        "the game options of one match take {0} bytes, more than the {GAME_OPTIONS_BYTES_MAX} allowed; remove or shorten some"
    )]
    OptionsTooLong(usize),
}

impl Default for Config {
    fn default() -> Self {
        Config {
            instance: "default".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7777)),
            frontends: 2,
            sims: 2,
            hang_ms: 1000,
            tick_hz: None,
            rewind_ms: 250,
            grace_ms: None,
            check_determinism: false,
            arena_mib: 512,
            sim_memory_mib: 1024,
            inbox_mib: 32,
            max_matches: 512,
            spectators: 0,
            idle_minutes: 0,
            matches: 1,
            log_level: LogLevel::Info,
            tls: Tls::default(),
            auth: Auth::default(),
            hooks: Hooks::default(),
            admin: Admin::default(),
            limits: Limits::default(),
            interest: Interest::default(),
            snapshot_bytes: SNAPSHOT_BYTES_MAX,
            game: Options::new(),
            named_matches: Vec::new(),
        }
    }
}

impl Config {
    /// What `up` runs with: the file, then the flags, then the checks.
    pub fn effective(file: Option<&Path>, instance: Option<&str>, flags: &UpArgs) -> Result<Config, ConfigError> {
        let mut config = Config::load(file)?;
        config.override_with(instance, flags);
        config.validate()?;
        Ok(config)
    }

    /// Reads `file`, or `./ringfort.toml` if there is one; the defaults otherwise. Not yet validated.
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let (file, required) = match file {
            Some(file) => (file, true),
            None => (Path::new(DEFAULT_FILE), false),
        };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound && !required => return Ok(Config::default()),
            Err(source) => return Err(ConfigError::Read { file: file.to_owned(), source }),
        };
        if text.len() > CONFIG_FILE_BYTES_MAX {
            return Err(ConfigError::TooLong { file: file.to_owned(), bytes: text.len() });
        }
        let mut config: Config = toml::from_str(&text).map_err(|error| parse_error(file, &text, &error))?;
        let directory = file.parent().unwrap_or(Path::new(""));
        for path in [&mut config.tls.cert, &mut config.tls.key, &mut config.auth.key].into_iter().flatten() {
            *path = directory.join(&path);
        }
        config.hooks.resolve(directory);
        config.admin.resolve(directory);
        Ok(config)
    }

    /// Sets what the flags name.
    fn override_with(&mut self, instance: Option<&str>, flags: &UpArgs) {
        if let Some(instance) = instance {
            self.instance = instance.to_owned();
        }
        if let Some(matches) = flags.matches {
            self.matches = matches;
            self.named_matches.clear();
        }
        self.listen = flags.listen.unwrap_or(self.listen);
        self.frontends = flags.frontends.unwrap_or(self.frontends);
        self.sims = flags.sims.unwrap_or(self.sims);
        self.tick_hz = flags.tick_hz.or(self.tick_hz);
        self.spectators = flags.spectators.unwrap_or(self.spectators);
        self.arena_mib = flags.arena_mib.unwrap_or(self.arena_mib);
        self.hang_ms = flags.hang_ms.unwrap_or(self.hang_ms);
        self.check_determinism |= flags.check_determinism;
        self.admin.listen = flags.admin.clone().or(self.admin.listen.take());
        self.game.extend(collect_options(&flags.game_options));
    }

    /// Checks every range and name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_instance(&self.instance)?;
        check_range("frontends", self.frontends, 1, FRONTENDS_MAX)?;
        check_range("sims", self.sims, 1, SIMS_MAX)?;
        check_range("hang_ms", self.hang_ms, HANG_MS_MIN, HANG_MS_MAX)?;
        check_range("tick_hz", self.tick_hz.unwrap_or(1), 1, TICK_HZ_MAX)?;
        check_range("rewind_ms", self.rewind_ms, 0, REWIND_MS_MAX)?;
        check_range("grace_ms", self.grace_ms.unwrap_or(0), 0, GRACE_MS_MAX)?;
        check_range("arena_mib", self.arena_mib, ARENA_MIB_MIN, ARENA_MIB_MAX)?;
        check_range("sim_memory_mib", self.sim_memory_mib, SIM_MEMORY_MIB_MIN, SIM_MEMORY_MIB_MAX)?;
        check_range("max_matches", self.max_matches, 1, MATCHES_MAX)?;
        let inboxes_mib = (u64::from(self.max_matches) * MATCH_INBOX_BYTES_MIN).div_ceil(1 << 20) as u32;
        check_range("inbox_mib", self.inbox_mib, inboxes_mib, INBOX_MIB_MAX)?;
        check_range("matches", self.matches, 0, self.max_matches)?;
        self.limits.validate()?;
        self.interest.validate()?;
        check_range("snapshot_bytes", self.snapshot_bytes, SNAPSHOT_BYTES_MIN, SNAPSHOT_BYTES_MAX)?;
        check_range("spectators", self.spectators, 0, SPECTATORS_MAX)?;
        check_range("idle_minutes", self.idle_minutes, 0, IDLE_MINUTES_MAX)?;
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => return Err(ConfigError::HalfTls { given: "cert", missing: "key" }),
            (None, Some(_)) => return Err(ConfigError::HalfTls { given: "key", missing: "cert" }),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if self.named_matches.len() > self.max_matches as usize {
            return Err(ConfigError::TooManyMatches { wanted: self.named_matches.len(), max: self.max_matches });
        }
        let mut names = BTreeSet::new();
        for entry in &self.named_matches {
            check_match_name(&entry.name)?;
            if !names.insert(&entry.name) {
                return Err(ConfigError::DuplicateMatch(entry.name.clone()));
            }
            check_options(&self.match_options(&entry.options))?;
            check_life(entry)?;
        }
        self.hooks.validate()?;
        self.admin.validate()?;
        check_options(&self.game)
    }

    /// The matches to start with; their options are complete.
    pub fn initial_matches(&self) -> Vec<MatchConfig> {
        if self.named_matches.is_empty() {
            let numbered = |n| self.complete(&MatchConfig { name: format!("match-{n}"), ..MatchConfig::default() });
            return (1..=self.matches).map(numbered).collect();
        }
        self.named_matches.iter().map(|entry| self.complete(entry)).collect()
    }

    /// A match with all that it does not say itself.
    pub fn complete(&self, wanted: &MatchConfig) -> MatchConfig {
        MatchConfig {
            options: self.match_options(&wanted.options),
            spectators: wanted.spectators.or(Some(self.spectators)),
            idle_minutes: wanted.idle_minutes.or(Some(self.idle_minutes)),
            ..wanted.clone()
        }
    }

    /// The options of one match: those of `[game]`, overridden by its own.
    pub fn match_options(&self, own: &Options) -> Options {
        let mut options = self.game.clone();
        options.extend(own.clone());
        options
    }

    /// The configuration as a worker receives it, see [`Config::from_json`].
    pub fn worker_json(&self) -> String {
        serde_json::to_string(self).expect("a Config has string keys and no fallible values")
    }

    /// What [`Config::worker_json`] wrote.
    pub fn from_json(json: &str) -> Result<Config, ConfigError> {
        let config: Config = serde_json::from_str(json).map_err(ConfigError::Worker)?;
        config.validate()?;
        Ok(config)
    }
}

/// The instance that a command other than `up` means: the flag, else the configuration file's, else the default.
pub fn instance_name(flag: Option<&str>, file: Option<&Path>) -> Result<String, ConfigError> {
    let name = match flag {
        Some(name) => name.to_owned(),
        None => Config::load(file)?.instance,
    };
    check_instance(&name)?;
    Ok(name)
}

/// Whether a name can be an instance's: it becomes part of paths and of segment names.
pub fn check_instance(name: &str) -> Result<(), ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=INSTANCE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(ConfigError::Instance(name.to_owned()))
}

/// Whether a name can be a match's.
pub fn check_match_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=MATCH_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(ConfigError::MatchName(name.to_owned()))
}

/// Whether what a match says of its life keeps its bounds.
pub fn check_life(wanted: &MatchConfig) -> Result<(), ConfigError> {
    check_range("spectators", wanted.spectators.unwrap_or(0), 0, SPECTATORS_MAX)?;
    check_range("idle_minutes", wanted.idle_minutes.unwrap_or(0), 0, IDLE_MINUTES_MAX)
}

/// Whether the options of one match keep their bounds.
pub fn check_options(options: &Options) -> Result<(), ConfigError> {
    options.keys().try_for_each(|key| check_option_key(key))?;
    let bytes = options_json(options).len();
    if bytes > GAME_OPTIONS_BYTES_MAX {
        return Err(ConfigError::OptionsTooLong(bytes));
    }
    Ok(())
}

/// Whether a key can be a game option's.
pub fn check_option_key(key: &str) -> Result<(), ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if !key.is_empty() && key.bytes().all(allowed) {
        return Ok(());
    }
    Err(ConfigError::OptionKey(key.to_owned()))
}

/// The options of a match as shared memory holds them.
pub fn options_json(options: &Options) -> String {
    serde_json::to_string(options).expect("options are strings and numbers under string keys")
}

/// What [`options_json`] wrote.
pub fn options_from_json(json: &str) -> Result<Options, serde_json::Error> {
    serde_json::from_str(json)
}

pub(crate) fn check_range(key: &'static str, value: u32, min: u32, max: u32) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Range { key, value, min, max })
}

fn parse_error(file: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    ConfigError::Parse {
        file: file.to_owned(),
        line: line + 1,
        key: key_on_line(text, line),
        problem: error.message().trim_end().replace('\n', ", "),
    }
}

/// The dotted key that stands on a line (from 0), with the table above it; empty when it can't be told.
fn key_on_line(text: &str, line: usize) -> String {
    let header = |line: &str| {
        let inner = line.trim().strip_prefix('[')?.split(']').next()?;
        Some(inner.trim_start_matches('[').trim().to_owned())
    };
    let this = text.lines().nth(line).unwrap_or("");
    if let Some(table) = header(this) {
        return table;
    }
    let Some((key, _)) = this.split_once('=') else { return String::new() };
    let table = text.lines().take(line).filter_map(header).last();
    match table {
        Some(table) => format!("{table}.{}", key.trim()),
        None => key.trim().to_owned(),
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
