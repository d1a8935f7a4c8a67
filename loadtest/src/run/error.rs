//! What can go wrong with a run as a whole. What goes wrong with a client is counted, not an error.

use std::io;
use std::path::PathBuf;

use super::phases::FileError;

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A socket, a pipe or a process of ours failed.
    #[error("input or output failed: {0}")]
    Io(#[source] io::Error),
    /// The client library could not be set up.
    #[error(transparent)]
    Client(#[from] ringfort_client::Error),
    /// A generator process died or hangs.
    #[error("a generator process ended or said nothing in time; its messages stand above")]
    WorkerSilent,
    /// A generator process said what cannot be understood.
    #[error("a generator process's report: {0}")]
    Report(#[source] serde_json::Error),
    /// An assertion is about nothing.
    #[error("--assert {assertion}: the report has no such figure; `--json -` shows those that there are")]
    NoSuchFigure {
        /// Which.
        assertion: String,
    },
    /// A scenario file makes no sense.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<FileError>,
    },
    /// The figures could not be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RunError {
    /// Whether the command line or its file was wrong, and not the run.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, RunError::NoSuchFigure { .. } | RunError::File { .. })
    }
}
