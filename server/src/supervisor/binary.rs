//! Another binary of the game: held open, asked what it is, and compared before anything is touched.
//!
//! The file is opened once; every process is started from that descriptor, so that it does not matter what becomes of the path meanwhile.
//! Asking blocks nothing: the supervisor's loop polls.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use serde::Deserialize;

use super::spawn::die_with_parent;
use crate::describe::{Described, first_difference};
use crate::game::ZoneLimits;
use crate::limits::{DESCRIBE_BYTES_MAX, DESCRIBE_MS};

/// Why a binary is refused.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It is not there.
    #[error("{} cannot be opened ({source}); name the binary of the game's server with --binary", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, or the like.
    #[error("{} is no file; name the binary of the game's server with --binary", .0.display())]
    NoFile(PathBuf),
    /// It does not run.
    #[error("{} cannot be executed ({source}); it must be a program of this machine, no script, that may be executed", path.display())]
    Execute {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended without an answer.
    #[error("{} is no server of this version of Ringfort: asked what it is, it ended with {status}", path.display())]
    Ended {
        /// Where.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// It says nothing.
    #[error("{} is refused: it did not say within {DESCRIBE_MS} ms what it is", .0.display())]
    Silent(PathBuf),
    /// It says too much.
    #[error("{} is refused: asked what it is, it said more than {DESCRIBE_BYTES_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    /// It says something else.
    #[error("{} is no server of this version of Ringfort: what it says of itself cannot be understood ({source})", path.display())]
    Garbage {
        /// Where.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// It would not understand what lies in shared memory, or not be understood.
    #[error("{} cannot go on with the matches that run: {difference}; nothing was touched", path.display())]
    Differs {
        /// Where.
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
}

/// An open binary.
#[derive(Debug)]
pub(super) struct Binary {
    file: File,
    path: PathBuf,
}

impl Binary {
    pub(super) fn open(path: &Path) -> Result<Binary, BinaryError> {
        // Whoever opens a pipe waits for its other end unless told not to; of a file's reads that changes nothing.
        let options = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, options, Mode::empty()).map_err(io::Error::from).map(File::from);
        let opened = opened.and_then(|file| Ok((file.metadata()?.is_file(), file)));
        match opened {
            Ok((true, file)) => Ok(Binary { file, path: path.to_owned() }),
            Ok((false, _)) => Err(BinaryError::NoFile(path.to_owned())),
            Err(source) => Err(BinaryError::Open { path: path.to_owned(), source }),
        }
    }

    /// What a process runs; `None` when that is what we run.
    pub(super) fn of_process(pid: u32) -> io::Result<Option<Binary>> {
        let link = PathBuf::from(format!("/proc/{pid}/exe"));
        // The file itself, whatever its path leads to by now.
        let file = File::open(&link)?;
        let (its, ours) = (file.metadata()?, std::fs::metadata("/proc/self/exe")?);
        if (its.dev(), its.ino()) == (ours.dev(), ours.ino()) {
            return Ok(None);
        }
        Ok(Some(Binary { file, path: std::fs::read_link(&link)? }))
    }

    /// Whether both are one file.
    pub(super) fn is(&self, other: &Binary) -> bool {
        let id = |of: &Binary| of.file.metadata().map(|found| (found.dev(), found.ino())).ok();
        id(self).is_some_and(|its| id(other) == Some(its))
    }

    /// Where it was found.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A command that executes it. Only while this lives.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.arg0("ringfort");
        command
    }
}

/// What every version of the description begins with.
#[derive(Deserialize)]
struct Versions {
    layout_version: u32,
    layout_hash: u64,
    protocol_version: u16,
}

/// A binary that is asked what it is.
pub(super) struct Probe {
    binary: Rc<Binary>,
    child: Child,
    output: ChildStdout,
    said: Vec<u8>,
    until: Instant,
}

impl Probe {
    /// Asks a binary what it is, and what matches of these sizes are to it.
    pub(super) fn start(binary: Binary, sizes: &[ZoneLimits], now: Instant) -> Result<Probe, BinaryError> {
        let mut command = binary.command();
        command.args(["describe", "--json"]);
        Probe::of(Rc::new(binary), command, sizes, now)
    }

    fn of(binary: Rc<Binary>, mut command: Command, sizes: &[ZoneLimits], now: Instant) -> Result<Probe, BinaryError> {
        die_with_parent(&mut command);
        let begun = question(sizes).and_then(|question| {
            let mut child = command.stdin(question).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
            let output = child.stdout.take().expect("it is piped");
            let flags = rustix::fs::fcntl_getfl(&output)?;
            rustix::fs::fcntl_setfl(&output, flags | OFlags::NONBLOCK)?;
            Ok((child, output))
        });
        let (child, output) = begun.map_err(|source| BinaryError::Execute { path: binary.path.clone(), source })?;
        Ok(Probe { binary, child, output, said: Vec::new(), until: now + Duration::from_millis(DESCRIBE_MS) })
    }

    /// What it says of itself, once it has. Blocks never.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Result<Described, BinaryError>> {
        // In this order: what it wrote before its end is read after it.
        let ended = self.child.try_wait();
        let path = || self.binary.path.clone();
        let room = (DESCRIBE_BYTES_MAX + 1).saturating_sub(self.said.len() as u64);
        match (&mut self.output).take(room).read_to_end(&mut self.said) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(source) => return Some(Err(BinaryError::Execute { path: path(), source })),
        }
        if self.said.len() as u64 > DESCRIBE_BYTES_MAX {
            return Some(Err(BinaryError::TooLong(path())));
        }
        match ended {
            Ok(Some(status)) if status.success() => {
                Some(parse(&self.said).map_err(|source| BinaryError::Garbage { path: path(), source }))
            }
            Ok(Some(status)) => Some(Err(BinaryError::Ended { path: path(), status })),
            Ok(None) if now >= self.until => Some(Err(BinaryError::Silent(path()))),
            Ok(None) => None,
            Err(source) => Some(Err(BinaryError::Execute { path: path(), source })),
        }
    }

    /// The binary, if what it says of itself is what `runs` says.
    pub(super) fn accept(&self, runs: &Described, offered: &Described) -> Result<Rc<Binary>, BinaryError> {
        let path = || self.binary.path.clone();
        let difference = first_difference(runs, offered);
        difference
            .map_or_else(|| Ok(Rc::clone(&self.binary)), |difference| Err(BinaryError::Differs { path: path(), difference }))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // An error says that it has ended already; either way the wait is short.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A description of this version; of another one its versions, which are a difference already.
fn parse(said: &[u8]) -> Result<Described, serde_json::Error> {
    let whole = serde_json::from_slice::<Described>(said);
    whole.or_else(|error| {
        let Versions { layout_version, layout_hash, protocol_version } = serde_json::from_slice(said).map_err(|_| error)?;
        let (schema, unlisted, timers, matches) = Default::default();
        Ok(Described { layout_version, layout_hash, protocol_version, schema, unlisted, timers, matches })
    })
}

/// The sizes as a file to be read: a pipe could fill up.
fn question(sizes: &[ZoneLimits]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("sizes", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(sizes)?)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::describe;
    use crate::skirmish::Skirmish;
    use rustix::fs::FileType;

    const SIZE: ZoneLimits = ZoneLimits { capacity: 8, max_entities: 64, spectators: 2 };

    fn binary() -> Rc<Binary> {
        Rc::new(Binary::open(Path::new("/bin/sh")).unwrap())
    }

    /// What comes of asking a script, standing in for a binary.
    fn asked(script: &str) -> Result<Described, BinaryError> {
        let binary = binary();
        let mut command = binary.command();
        command.args(["-c", script]);
        answer(Probe::of(binary, command, &[SIZE], Instant::now()).unwrap())
    }

    fn answer(mut probe: Probe) -> Result<Described, BinaryError> {
        loop {
            match probe.poll(Instant::now()) {
                Some(answer) => return answer,
                None => std::thread::yield_now(),
            }
        }
    }

    fn refusal(script: &str) -> String {
        asked(script).unwrap_err().to_string()
    }

    #[test]
    fn a_binary_says_what_it_is_and_is_accepted_for_that() {
        let runs = describe::<Skirmish>(&[SIZE]);
        let json = serde_json::to_string(&runs).unwrap().replace('\'', r"'\''");
        let offered = asked(&format!("read -r sizes; [ -n \"$sizes\" ] || exit 1; printf %s '{json}'")).unwrap();
        assert_eq!(offered, runs);
        let binary = binary();
        let probe = Probe::of(Rc::clone(&binary), binary.command(), &[], Instant::now()).unwrap();
        assert!(probe.accept(&runs, &offered).is_ok());
        let other = Described { protocol_version: 99, ..offered };
        let refused = probe.accept(&runs, &other).unwrap_err().to_string();
        assert!(refused.contains("protocol version is changed from") && refused.contains("to 99"), "{refused}");
    }

    #[test]
    fn what_is_no_server_is_refused_in_a_sentence() {
        assert!(refusal("exit 3").contains("ended with exit status: 3"));
        assert!(refusal("kill -9 $$").contains("signal: 9"));
        assert!(refusal("echo hello").contains("cannot be understood"));
        assert!(refusal("while :; do printf '%s' 0123456789012345678901234567890123456789; done").contains("said more than"));
    }

    #[test]
    fn what_says_nothing_is_refused_when_its_time_is_over() {
        let binary = binary();
        let mut command = binary.command();
        command.args(["-c", "sleep 1000"]);
        let begun = Instant::now();
        let mut probe = Probe::of(binary, command, &[], begun).unwrap();
        assert!(probe.poll(begun).is_none());
        let late = probe.poll(begun + Duration::from_millis(DESCRIBE_MS)).unwrap();
        assert!(matches!(late, Err(BinaryError::Silent(_))));
    }

    #[test]
    fn another_version_is_refused_by_its_version_whatever_else_it_says() {
        let offered = asked("echo '{\"layout_version\":77,\"layout_hash\":1,\"protocol_version\":2,\"news\":[]}'").unwrap();
        let difference = first_difference(&describe::<Skirmish>(&[]), &offered).unwrap();
        assert!(
            difference.contains("shared memory layout version is changed from") && difference.ends_with("to 77"),
            "{difference}"
        );
    }

    #[test]
    fn what_is_not_there_is_no_file_or_is_no_program_is_refused() {
        let open = |path: &str| Binary::open(Path::new(path)).unwrap_err().to_string();
        assert!(open("/nonexistent/server").contains("cannot be opened"));
        assert!(open("/").contains("is no file"));
        let pipe = std::env::temp_dir().join(format!("ringfort-pipe-{}", std::process::id()));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let refused = Binary::open(&pipe).unwrap_err().to_string();
        std::fs::remove_file(&pipe).unwrap();
        assert!(refused.contains("is no file"), "{refused}");
        let text = Binary::open(Path::new("/etc/passwd")).unwrap();
        let refused = Probe::start(text, &[], Instant::now()).err().unwrap().to_string();
        assert!(refused.contains("cannot be executed (Permission denied"), "{refused}");
    }

    #[test]
    fn what_a_process_runs_is_found_though_its_path_is_gone() {
        assert!(Binary::of_process(std::process::id()).unwrap().is_none());
        let path = std::env::temp_dir().join(format!("ringfort-gone-{}", std::process::id()));
        std::fs::copy("/bin/sh", &path).unwrap();
        let mut child = Command::new(&path).args(["-c", "read -r line"]).stdin(Stdio::piped()).spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        let found = || Binary::of_process(child.id()).unwrap().unwrap();
        let status = found().command().args(["-c", "exit 9"]).status().unwrap();
        assert!(found().is(&found()) && !found().is(&binary()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(status.code(), Some(9));
    }

    #[test]
    fn the_file_that_was_opened_is_executed_whatever_becomes_of_the_path() {
        let path = std::env::temp_dir().join(format!("ringfort-move-{}", std::process::id()));
        std::fs::copy("/bin/sh", &path).unwrap();
        let binary = Binary::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let status = binary.command().args(["-c", "exit 7"]).status().unwrap();
        assert_eq!(status.code(), Some(7));
    }
}
