//! Logs: every line goes to stderr and to the process's own file, and begins with the process's role and slot.
//!
//! A panic is logged with its whole backtrace before the process dies of it.

use std::backtrace::Backtrace;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use crate::cli::Role;
use crate::config::LogLevel;
use crate::limits::LOG_FILE_BYTES_MAX;
use crate::log_level;

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The log file can't be opened.
    #[error("the log file {} cannot be opened ({source}); check its permissions and the free space there", file.display())]
    Open {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Logging was started twice.
    #[error("logging runs already in this process; start it once")]
    Twice,
}

/// Whose lines these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The supervisor.
    Supervisor,
    /// A worker: its role and slot.
    Worker(Role, u32),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Supervisor => f.write_str("supervisor"),
            Source::Worker(role, slot) => write!(f, "{role}-{slot}"),
        }
    }
}

/// The log of this process, once it was started.
static LOG: OnceLock<Log> = OnceLock::new();

/// What changes the level that this process logs from.
type Filter = reload::Handle<LevelFilter, Registry>;

/// The filter of this process, once logging was started.
static FILTER: OnceLock<Filter> = OnceLock::new();

/// Logs from another level on. `false` where logging was never started.
pub fn set_level(level: LogLevel) -> bool {
    let done = FILTER.get().is_some_and(|filter| filter.reload(level_filter(level)).is_ok());
    if done {
        log_level::set(level);
    }
    done
}

/// Starts logging in this process, once, and makes panics log.
pub fn start(source: Source, level: LogLevel, file: &Path) -> Result<(), LoggingError> {
    let log = Log::open(source, file)?;
    let (subscriber, filter) = subscriber(&log, level);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    FILTER.set(filter).map_err(|_| LoggingError::Twice)?;
    log_level::set(level);
    LOG.set(log).map_err(|_| LoggingError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Goes on under another name in another file. Does nothing where logging was never started.
pub fn rename(source: Source, file: &Path) -> Result<(), LoggingError> {
    let Some(log) = LOG.get() else { return Ok(()) };
    *log.file() = open(file)?;
    *log.prefix.lock().unwrap_or_else(PoisonError::into_inner) = source.to_string();
    Ok(())
}

fn open(file: &Path) -> Result<LogFile, LoggingError> {
    LogFile::open(file, LOG_FILE_BYTES_MAX).map_err(|source| LoggingError::Open { file: file.to_owned(), source })
}

fn subscriber(log: &Log, level: LogLevel) -> (impl Subscriber + Send + Sync + use<>, Filter) {
    let format = PrefixedFormat { log: log.clone(), inner: tracing_subscriber::fmt::format().with_ansi(false) };
    let (filter, handle) = reload::Layer::new(level_filter(level));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).event_format(format).with_writer(log.clone());
    (tracing_subscriber::registry().with(filter).with(lines), handle)
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The panic's message and place stand in its own display; the backtrace is complete whatever RUST_BACKTRACE says.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!("thread '{thread}' {panic}\n{}", Backtrace::force_capture());
}

/// The usual line behind the name of the process.
struct PrefixedFormat {
    log: Log,
    inner: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for PrefixedFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "{} ", self.log.prefix.lock().unwrap_or_else(PoisonError::into_inner))?;
        self.inner.format_event(context, writer, event)
    }
}

/// Where a formatted line goes, beside stderr, and what it begins with. Both can change: see [`rename`].
#[derive(Clone)]
struct Log {
    prefix: Arc<Mutex<String>>,
    file: Arc<Mutex<LogFile>>,
}

impl Log {
    fn open(source: Source, file: &Path) -> Result<Log, LoggingError> {
        Ok(Log { prefix: Arc::new(Mutex::new(source.to_string())), file: Arc::new(Mutex::new(open(file)?)) })
    }

    fn file(&self) -> MutexGuard<'_, LogFile> {
        // A thread that panicked while it wrote leaves half a line at worst, no reason to lose those that follow.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Tee<'a>;

    fn make_writer(&'a self) -> Tee<'a> {
        Tee(self.file())
    }
}

/// Writes a line to both; a failure of one doesn't keep it from the other, and none stops the server.
struct Tee<'a>(MutexGuard<'a, LogFile>);

impl Write for Tee<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(line);
        let _ = self.0.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log file that is bounded: when full it becomes `<name>.1`, in place of the one before.
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    fn open(path: &Path, bytes_max: u64) -> io::Result<LogFile> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path: path.to_owned(), file, bytes, bytes_max })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
            *self = LogFile::open(&self.path, self.bytes_max)?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_role_and_slot_and_panics_their_backtrace() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("frontend-1.log");
        let log = Log::open(Source::Worker(Role::Frontend, 1), &file).unwrap();
        let (subscriber, filter) = subscriber(&log, LogLevel::Info);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(sessions = 3, "ready");
            tracing::debug!("not logged at this level");
            filter.reload(level_filter(LogLevel::Debug)).unwrap();
            tracing::debug!("from here on");
            filter.reload(level_filter(LogLevel::Info)).unwrap();
            tracing::debug!("not logged any more");
            // The hook is the whole process's: the other tests get theirs back at once.
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let died = std::panic::catch_unwind(|| panic!("on purpose"));
            std::panic::set_hook(before);
            assert!(died.is_err());
        });
        let text = std::fs::read_to_string(&file).unwrap();
        let line = text.lines().next().unwrap();
        assert!(line.starts_with("frontend-1 ") && line.contains("ready") && line.contains("sessions=3"), "{line}");
        assert!(!text.contains("not logged") && text.contains("from here on"), "{text}");
        assert!(text.contains("panicked at") && text.contains("on purpose") && text.contains("logging.rs"), "{text}");
    }

    #[test]
    fn a_full_file_is_turned_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut log = LogFile::open(&path, 10).unwrap();
        for line in [b"111111\n", b"222222\n", b"333333\n"] {
            log.append(line).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"333333\n");
        assert_eq!(std::fs::read(directory.path().join("a.log.1")).unwrap(), b"222222\n");
    }
}
