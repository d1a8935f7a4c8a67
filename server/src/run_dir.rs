//! The instance's run directory: lock file, control socket, keys, development certificate, logs.
//!
//! It is `$XDG_RUNTIME_DIR/ringfort/<instance>`, or `/tmp/ringfort-<uid>/<instance>` without one, mode 0700.
//! Whoever could write into it could pose as the supervisor, so a directory that is a symlink, another user's,
//! or open to others is refused. **Invariant: secrets lie here, in files of mode 0600, and never in a segment.**
//!
//! The segments are the machine's, and a run directory is what XDG_RUNTIME_DIR says. So there is a second lock, on a file beside the
//! segments: two supervisors that see the same segments see the same file. Looking for live processes alone would not do, as two
//! that look at the same moment see nobody. Whoever holds the file removes it, and whoever locked one that has lost its name meanwhile
//! takes the next.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use ringfort_shm_state::process;
use ringfort_shm_state::segment::{SegmentError, SegmentSpec, open_private};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::cli::Role;
use crate::descriptors;
use crate::limits::{LOCK_FREE_MS, LOCK_LOOK_MS};

/// The environment variable that names the directory in which run directories are made.
pub const RUNTIME_VARIABLE: &str = "XDG_RUNTIME_DIR";

/// First bytes of the keys file: what it is and its version.
const KEYS_MAGIC: &[u8; 16] = b"ringfort keys 01";

/// The link to where the results lie.
const RESULTS_LINK: &str = "results";

/// An instance's run directory, checked to be ours alone.
#[derive(Debug, Clone)]
pub struct RunDir {
    instance: String,
    path: PathBuf,
}

/// Why the run directory, or a file in it, can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// A symlink or a file stands where the directory should.
    #[error("{} is not a directory but a link or a file; remove it", .0.display())]
    NotADirectory(PathBuf),
    /// Another user owns the directory and could plant files in it.
    #[error(
        "{} belongs to user {owner}, not to you; remove it, or set XDG_RUNTIME_DIR to a directory of your own",
        path.display()
    )]
    ForeignOwner {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may enter the directory.
    #[error("{} can be entered by other users (mode {mode:03o}); run `chmod 700` on it", path.display())]
    OpenToOthers {
        /// Which directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system refused.
    #[error("cannot {doing} {} ({source}); check its permissions and the free space there", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keys file is not one.
    #[error("{} is damaged; stop the instance, delete the file and start again (clients will have to reconnect)", .0.display())]
    DamagedKeys(PathBuf),
    /// The system has no random numbers to make keys from.
    #[error("the system gave no random numbers to make keys from; check /dev/urandom")]
    NoRandomness,
}

/// Why the instance's lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process runs the instance.
    #[error(
        "instance \"{instance}\" is already running{}; stop it with `ringfort down --instance {instance}`, or choose \
         another name with --instance",
        match pid { Some(pid) => format!(" as process {pid}"), None => String::new() }
    )]
    Held {
        /// Which instance.
        instance: String,
        /// Who runs it, unless it is only just starting.
        pid: Option<u32>,
    },
    /// Another process runs the instance, and has another run directory.
    #[error(
        "instance \"{instance}\" is already running{} under another XDG_RUNTIME_DIR; stop it from there, or choose another name \
         with --instance",
        match pid { Some(pid) => format!(" as process {pid}"), None => String::new() }
    )]
    HeldElsewhere {
        /// Which instance.
        instance: String,
        /// Who runs it, unless it is only just starting.
        pid: Option<u32>,
    },
    /// The lock file can't be used.
    #[error(transparent)]
    File(#[from] RunDirError),
    /// The lock file beside the segments can't be used.
    #[error(transparent)]
    Segments(#[from] SegmentError),
}

/// Holds the instance: no other process can while this value lives. Released by dropping it, or by dying.
#[derive(Debug)]
pub struct InstanceLock {
    // The one beside the segments is given back last.
    _run_dir: File,
    _segments: File,
    segments_path: PathBuf,
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // While it is held, so that it is ours. One that stays does no harm.
        let _ = std::fs::remove_file(&self.segments_path);
    }
}

/// Secrets that all front-ends of an instance share, over every incarnation.
#[derive(Clone)]
pub struct Keys {
    /// Signs stateless resets: a front-end can reset the connections of its killed predecessor.
    pub reset: [u8; 64],
    /// Signs address-validation and retry tokens, which are valid at every slot.
    pub token: [u8; 64],
    /// Encrypts TLS session tickets, which are valid at every slot.
    pub ticket: [u8; 64],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

impl RunDir {
    /// Opens the directory of an instance whose name has been checked, and creates what is missing of it.
    pub fn open(instance: &str) -> Result<RunDir, RunDirError> {
        Self::open_under(&base_directory(), instance)
    }

    /// [`RunDir::open`] below a directory of the caller's choice, which is created and checked likewise.
    pub fn open_under(base: &Path, instance: &str) -> Result<RunDir, RunDirError> {
        let path = base.join(instance);
        for directory in [base, &path] {
            match rustix::fs::mkdir(directory, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(failed("create", directory)(error.into())),
            }
            check_directory(directory)?;
        }
        Ok(RunDir { instance: instance.to_owned(), path })
    }

    /// Name of the instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a process with this value of [`RUNTIME_VARIABLE`] has the same directory for this instance.
    pub fn is_below(&self, runtime: Option<OsString>) -> bool {
        base_of(runtime).join(&self.instance) == self.path
    }

    /// The supervisor's UNIX socket.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// The certificate made for development.
    pub fn dev_cert(&self) -> PathBuf {
        self.path.join("dev-cert.pem")
    }

    /// The private key of [`RunDir::dev_cert`].
    pub fn dev_key(&self) -> PathBuf {
        self.path.join("dev-key.pem")
    }

    /// A worker's log.
    pub fn worker_log(&self, role: Role, slot: u32) -> PathBuf {
        self.logs().join(format!("{role}-{slot}.log"))
    }

    /// The supervisor's log.
    pub fn supervisor_log(&self) -> PathBuf {
        self.logs().join("supervisor.log")
    }

    /// Notes where the instance's results lie, and what else outlives it beside them, for commands that are not given its configuration. It stays when
    /// the instance has stopped. Only for the holder of the lock.
    pub fn note_results(&self, file: &Path, _lock: &InstanceLock) -> Result<(), RunDirError> {
        let (link, fresh) = (self.path.join(RESULTS_LINK), self.path.join("results.new"));
        // Left by a start that was killed.
        let _ = std::fs::remove_file(&fresh);
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        std::os::unix::fs::symlink(file, &fresh).map_err(failed("create", &fresh))?;
        std::fs::rename(&fresh, &link).map_err(failed("replace", &link))
    }

    /// Where the results lie of the instance of this name that runs, or has run last, if that is noted. Nothing is created.
    pub fn results_of(instance: &str) -> Option<PathBuf> {
        Self::results_under(&base_directory(), instance)
    }

    fn results_under(base: &Path, instance: &str) -> Option<PathBuf> {
        let path = base.join(instance);
        // What others may have put there is not followed.
        check_directory(base).and_then(|()| check_directory(&path)).ok()?;
        std::fs::read_link(path.join(RESULTS_LINK)).ok()
    }

    fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The directory of the sockets at which workers hand their descriptors over, each named after its process: `PID.sock`.
    pub fn workers(&self) -> PathBuf {
        self.path.join("workers")
    }

    /// The socket at which a worker hands its descriptors over.
    pub fn worker_socket(&self, pid: u32) -> PathBuf {
        self.workers().join(format!("{pid}.sock"))
    }

    /// Creates the directories of the logs and of the workers' sockets.
    pub fn ensure_directories(&self) -> Result<(), RunDirError> {
        for path in [self.logs(), self.workers()] {
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(failed("create", &path)(error.into())),
            }
        }
        Ok(())
    }

    /// Ids of the processes that sockets of workers are named after.
    fn worker_pids(&self) -> Vec<u32> {
        let names = std::fs::read_dir(self.workers()).into_iter().flatten().flatten();
        names.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".sock")?.parse().ok()).collect()
    }

    /// A process that listens at a worker's socket, of whatever version it is.
    pub fn listening_worker(&self) -> Option<u32> {
        self.worker_pids().into_iter().find(|pid| descriptors::is_listening(&self.worker_socket(*pid)))
    }

    /// Removes the sockets of all workers but these.
    pub fn clear_workers(&self, living: &[u32]) {
        for pid in self.worker_pids().into_iter().filter(|pid| !living.contains(pid)) {
            // One that stays is asked in vain, or removed by the next process of that number.
            let _ = std::fs::remove_file(self.worker_socket(pid));
        }
    }

    /// Takes the instance's lock and leaves our pid in it for others to name.
    ///
    /// The descriptor is close-on-exec: a worker that outlives its supervisor must not hold the lock.
    pub fn lock(&self) -> Result<InstanceLock, LockError> {
        let until = Instant::now() + Duration::from_millis(LOCK_FREE_MS);
        loop {
            match self.try_lock() {
                // A child that the holder was starting when it was killed has the lock, too, until it has died of that.
                Err(LockError::Held { pid: Some(pid), .. } | LockError::HeldElsewhere { pid: Some(pid), .. })
                    if is_gone(pid) && Instant::now() < until =>
                {
                    std::thread::sleep(Duration::from_millis(LOCK_LOOK_MS));
                }
                taken => return taken,
            }
        }
    }

    fn try_lock(&self) -> Result<InstanceLock, LockError> {
        let path = self.path.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|error| failed("open", &path)(error.into()))?);
        if let Taken::By(pid) = take(&mut file, &path)? {
            return Err(LockError::Held { instance: self.instance.clone(), pid });
        }
        let segments_path =
            SegmentSpec::DIRECTORY.path(&self.instance).with_file_name(format!("ringfort.{}.lock", self.instance));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        loop {
            let mut segments = open_private(&segments_path, &mut options)?;
            if let Taken::By(pid) = take(&mut segments, &segments_path)? {
                return Err(LockError::HeldElsewhere { instance: self.instance.clone(), pid });
            }
            // Whoever held it before may have removed it after we had opened it.
            let here = segments.metadata().map_err(failed("look at", &segments_path))?;
            let named = std::fs::symlink_metadata(&segments_path);
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (here.dev(), here.ino())) {
                return Ok(InstanceLock { _run_dir: file, _segments: segments, segments_path });
            }
        }
    }

    /// The keys, made at the first start. Only for the holder of the lock.
    pub fn ensure_keys(&self, _lock: &InstanceLock) -> Result<Keys, RunDirError> {
        if !self.keys_file().exists() {
            let mut bytes = [0; KEYS_MAGIC.len() + size_of::<Keys>()];
            bytes[..KEYS_MAGIC.len()].copy_from_slice(KEYS_MAGIC);
            let secrets = &mut bytes[KEYS_MAGIC.len()..];
            SystemRandom::new().fill(secrets).map_err(|_| RunDirError::NoRandomness)?;
            write_private(&self.keys_file(), &bytes)?;
        }
        self.keys()
    }

    /// The keys as the supervisor made them; for workers.
    pub fn keys(&self) -> Result<Keys, RunDirError> {
        let path = self.keys_file();
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        let (parts, []) = bytes.strip_prefix(KEYS_MAGIC).unwrap_or_default().as_chunks::<64>() else {
            return Err(RunDirError::DamagedKeys(path));
        };
        let [reset, token, ticket] = *parts else { return Err(RunDirError::DamagedKeys(path)) };
        Ok(Keys { reset, token, ticket })
    }

    fn keys_file(&self) -> PathBuf {
        self.path.join("keys")
    }
}

/// Replaces a file by one of mode 0600 in one step: a crash leaves the old one or the new one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), RunDirError> {
    let fresh = path.with_extension("new");
    // Left by a start that was killed; `create_new` below would refuse it.
    let _ = std::fs::remove_file(&fresh);
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&fresh).map_err(failed("create", &fresh))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &fresh))?;
    std::fs::rename(&fresh, path).map_err(failed("replace", path))
}

/// Who has a lock file.
enum Taken {
    /// We have it now.
    ByUs,
    /// Another process, which may not have written its pid yet.
    By(Option<u32>),
}

/// Whether no such process runs any more.
fn is_gone(pid: u32) -> bool {
    process::state(pid).is_none_or(|state| matches!(state, 'Z' | 'X'))
}

/// Locks a file unless somebody has it, and leaves our pid in it.
fn take(file: &mut File, path: &Path) -> Result<Taken, RunDirError> {
    match rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file.take(16).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Ok(Taken::By(pid));
        }
        Err(error) => return Err(failed("lock", path)(error.into())),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(failed("write", path))?;
    Ok(Taken::ByUs)
}

fn base_directory() -> PathBuf {
    base_of(std::env::var_os(RUNTIME_VARIABLE))
}

/// Where the instances' directories are for a process with this value of [`RUNTIME_VARIABLE`].
fn base_of(runtime: Option<OsString>) -> PathBuf {
    match runtime.map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir()) {
        Some(runtime) => runtime.join("ringfort"),
        None => PathBuf::from(format!("/tmp/ringfort-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Looks at the directory through a descriptor, so that what is checked is what is there.
fn check_directory(path: &Path) -> Result<(), RunDirError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
            return Err(RunDirError::NotADirectory(path.to_owned()));
        }
        Err(error) => return Err(failed("open", path)(error.into())),
    };
    let stat = rustix::fs::fstat(&opened).map_err(|error| failed("look at", path)(error.into()))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(RunDirError::ForeignOwner { path: path.to_owned(), owner: stat.st_uid });
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(RunDirError::OpenToOthers { path: path.to_owned(), mode: stat.st_mode & 0o777 });
    }
    Ok(())
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_owned();
    move |source| RunDirError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A name of the test's own: the lock beside the segments is the machine's.
    fn name(test: &str) -> String {
        format!("r{}-{test}", std::process::id())
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directories_and_secrets_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open_under(&parent.path().join("base"), &name("private")).unwrap();
        run_dir.ensure_directories().unwrap();
        let lock = run_dir.lock().unwrap();
        run_dir.ensure_keys(&lock).unwrap();
        assert_eq!(mode(run_dir.path()), 0o700);
        assert_eq!(mode(&run_dir.keys_file()), 0o600);
        assert_eq!(mode(&run_dir.path().join("lock")), 0o600);
        RunDir::open_under(&parent.path().join("base"), &name("private")).unwrap();
    }

    #[test]
    fn links_files_and_open_directories_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let base = parent.path().join("base");
        RunDir::open_under(&base, "a").unwrap();
        std::os::unix::fs::symlink(base.join("a"), base.join("link")).unwrap();
        std::fs::write(base.join("file"), "").unwrap();
        std::fs::set_permissions(base.join("a"), PermissionsExt::from_mode(0o755)).unwrap();
        assert!(matches!(RunDir::open_under(&base, "link"), Err(RunDirError::NotADirectory(_))));
        assert!(matches!(RunDir::open_under(&base, "file"), Err(RunDirError::NotADirectory(_))));
        assert!(matches!(RunDir::open_under(&base, "a"), Err(RunDirError::OpenToOthers { mode: 0o755, .. })));
    }

    #[test]
    fn the_lock_names_its_holder() {
        let parent = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open_under(&parent.path().join("base"), &name("holder")).unwrap();
        let lock = run_dir.lock().unwrap();
        let sentence = run_dir.lock().unwrap_err().to_string();
        assert!(sentence.contains(&std::process::id().to_string()), "{sentence}");
        assert!(sentence.contains(&format!("ringfort down --instance {}", run_dir.instance())), "{sentence}");
        drop(lock);
        run_dir.lock().unwrap();
    }

    #[test]
    fn another_run_directory_is_no_way_around_the_lock() {
        let parent = tempfile::tempdir().unwrap();
        let [here, there] =
            ["here", "there"].map(|base| RunDir::open_under(&parent.path().join(base), &name("elsewhere")).unwrap());
        let lock = here.lock().unwrap();
        let beside = lock.segments_path.clone();
        assert_eq!(mode(&beside), 0o600);
        let sentence = there.lock().unwrap_err().to_string();
        let words = [format!("process {}", std::process::id()), "another XDG_RUNTIME_DIR".to_owned()];
        assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
        drop(lock);
        assert!(!beside.exists(), "nothing of it stays");
        // What one that was killed has left is taken over.
        std::fs::write(&beside, "1").unwrap();
        std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o600)).unwrap();
        drop(there.lock().unwrap());
        assert!(!beside.exists());
    }

    #[test]
    fn who_has_the_same_directory_is_told_by_the_environment() {
        let parent = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open_under(&parent.path().join("ringfort"), &name("below")).unwrap();
        let other = tempfile::tempdir().unwrap();
        assert!(run_dir.is_below(Some(parent.path().into())));
        assert!(!run_dir.is_below(Some(other.path().into())) && !run_dir.is_below(None) && !run_dir.is_below(Some("run".into())));
    }

    #[test]
    fn the_place_of_the_results_is_noted_and_the_last_note_counts() {
        let parent = tempfile::tempdir().unwrap();
        let base = parent.path().join("base");
        let results = || RunDir::results_under(&base, &name("results"));
        assert_eq!((results(), base.exists()), (None, false));
        let run_dir = RunDir::open_under(&base, &name("results")).unwrap();
        let lock = run_dir.lock().unwrap();
        for file in ["/state/a/results.jsonl", "/state/b/results.jsonl"] {
            run_dir.note_results(Path::new(file), &lock).unwrap();
            assert_eq!(results(), Some(file.into()), "whether or not there is one");
        }
        std::fs::set_permissions(&base, PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(results(), None, "anybody may have put it there");
    }

    #[test]
    fn keys_stay_and_damage_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let run_dir = RunDir::open_under(&parent.path().join("base"), &name("keys")).unwrap();
        let lock = run_dir.lock().unwrap();
        let made = run_dir.ensure_keys(&lock).unwrap();
        let again = run_dir.ensure_keys(&lock).unwrap();
        assert!(made.reset == again.reset && made.token == again.token && made.ticket == again.ticket);
        assert!(made.reset != made.token && made.reset != [0; 64]);
        std::fs::write(run_dir.keys_file(), b"short").unwrap();
        assert!(matches!(run_dir.keys(), Err(RunDirError::DamagedKeys(_))));
    }
}
