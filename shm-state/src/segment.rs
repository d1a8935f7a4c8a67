//! Segments: files in `/dev/shm`, created whole, attached read-write or read-only, removed by name.
//!
//! Space is allocated up front, so a full `/dev/shm` is an error at start and never a SIGBUS later. A segment becomes usable by
//! its `ready` word alone; attaching checks magic, version, layout hash, kind, instance and length. Anybody may put a file under
//! a segment's name into `/dev/shm`, so what is opened by name must be a regular file that is ours alone.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use memmap2::{MmapOptions, MmapRaw};

use crate::layout::{
    HEADER_BYTES, Header, InboxControl, MAGIC, SegmentKind, VERSION, directory, inbox, layout_hash, worker, world,
};
use crate::limits::{EXTENT_BYTES, EXTENT_PAGES, INSTANCE_NAME_BYTES, MAX_ZONES, PAGE_INDEX_BITS};
use crate::lock::{LockBroken, RobustLock};
use crate::memory::{Memory, Words};
use crate::process::ProcessId;

/// Where POSIX shared memory lives on Linux.
const SHM_DIR: &str = "/dev/shm";

/// Extents of the largest arena whose pages handles can name.
const MAX_EXTENTS: u64 = (1 << PAGE_INDEX_BITS) / EXTENT_PAGES as u64;

/// Why a segment could not be created or attached.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file is there already.
    #[error(
        "{path} exists already: another instance of that name runs, or one left it behind (`ringfort up --fresh` removes leftovers)"
    )]
    Exists {
        /// The segment's file.
        path: PathBuf,
    },
    /// /dev/shm is full.
    #[error(
        "/dev/shm has no room for {path} ({mib} MiB): free some, enlarge it (docker: --shm-size), or start anew with a lower arena_mib / inbox_mib in ringfort.toml"
    )]
    NoRoom {
        /// The segment's file.
        path: PathBuf,
        /// Its size.
        mib: u64,
    },
    /// There is no such segment.
    #[error("{path} does not exist: no instance of that name runs (start it with `ringfort up --instance NAME`)")]
    Missing {
        /// The segment's file.
        path: PathBuf,
    },
    /// Another user's file has the name.
    #[error(
        "{path} belongs to user {owner}, not to you; choose another name with --instance, or have the file removed if no instance \
         of that user needs it"
    )]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others could have written into the file, or can.
    #[error("{path} is open to other users (mode {mode:03o}, not 600), so nothing in it can be relied on; remove it")]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A link, a pipe or something else has the name.
    #[error("{path} is not a regular file, so it is none of an instance's; remove it")]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// The header is not that of a usable segment of this binary.
    #[error(
        "{path} cannot be attached: {what} is {found:#x} there, this binary has {expected:#x}; stop the instance with the binary that started it, or remove it with `ringfort up --fresh`"
    )]
    Mismatch {
        /// The segment's file.
        path: PathBuf,
        /// Which header field.
        what: &'static str,
        /// Its value in the file.
        found: u64,
        /// The value this binary expects.
        expected: u64,
    },
    /// Asked for more than the layout can address.
    #[error("an arena of {mib} MiB is more than page handles can name (at most {max} MiB)")]
    TooLarge {
        /// What was asked for.
        mib: u64,
        /// What is possible.
        max: u64,
    },
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The locks could not be made.
    #[error(transparent)]
    Lock(#[from] LockBroken),
}

/// Whether a process may write a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Mapped read-only; the kernel refuses stores.
    ReadOnly,
    /// Mapped for reading and writing.
    ReadWrite,
}

/// A mapped segment.
#[derive(Debug)]
pub struct Segment {
    memory: Memory,
    header: Header,
    file: Option<File>,
}

/// What is to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSpec {
    /// Which segment.
    pub kind: SegmentKind,
    /// Worker slot, 0 for the shared ones.
    pub slot: u32,
    /// Extents of the arena, or data bytes of the inboxes; 0 otherwise.
    pub parameter: u64,
}

impl SegmentSpec {
    /// The directory.
    pub const DIRECTORY: Self = Self { kind: SegmentKind::Directory, slot: 0, parameter: 0 };

    /// The world with an arena of so many extents.
    pub const fn world(extents: u64) -> Self {
        Self { kind: SegmentKind::World, slot: 0, parameter: extents }
    }

    /// An inbox segment with so many data bytes.
    pub const fn inbox(kind: SegmentKind, data_bytes: u64) -> Self {
        Self { kind, slot: 0, parameter: data_bytes }
    }

    /// A worker's own segment.
    pub const fn worker(kind: SegmentKind, slot: u32) -> Self {
        Self { kind, slot, parameter: 0 }
    }

    fn bytes(&self) -> usize {
        match self.kind {
            SegmentKind::Directory => directory::BYTES,
            SegmentKind::InboxNet | SegmentKind::InboxSys => inbox::DATA.saturating_add(self.parameter as usize),
            SegmentKind::World => world::bytes(self.parameter as usize),
            SegmentKind::Frontend | SegmentKind::Hook | SegmentKind::Admin => worker::FRONTEND_BYTES,
            SegmentKind::Sim => worker::SIM_BYTES,
        }
    }

    /// What the segment is called behind its instance's name.
    pub fn name(&self) -> String {
        match self.kind {
            SegmentKind::Directory => "directory".to_owned(),
            SegmentKind::InboxNet => "inbox.net".to_owned(),
            SegmentKind::InboxSys => "inbox.sys".to_owned(),
            SegmentKind::World => "world".to_owned(),
            SegmentKind::Frontend => format!("frontend.{}", self.slot),
            SegmentKind::Sim => format!("sim.{}", self.slot),
            SegmentKind::Hook => format!("hook.{}", self.slot),
            SegmentKind::Admin => format!("admin.{}", self.slot),
        }
    }

    /// The file of the segment.
    pub fn path(&self, instance: &str) -> PathBuf {
        PathBuf::from(format!("{SHM_DIR}/ringfort.{instance}.{}", self.name()))
    }
}

impl Segment {
    /// Creates a segment, whole and zeroed, and maps it for writing. What was begun is removed again when it fails.
    pub fn create(instance: &str, spec: SegmentSpec) -> Result<Self, SegmentError> {
        let path = spec.path(instance);
        if spec.kind == SegmentKind::World && spec.parameter > MAX_EXTENTS {
            let mib = |extents: u64| (extents * EXTENT_BYTES as u64) >> 20;
            return Err(SegmentError::TooLarge { mib: mib(spec.parameter), max: mib(MAX_EXTENTS) });
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                SegmentError::Exists { path: path.clone() }
            } else {
                SegmentError::Io { path: path.clone(), source }
            }
        })?;
        crate::kill_point!("segment:created");
        Self::fill(instance, spec, file).inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
        })
    }

    fn fill(instance: &str, spec: SegmentSpec, file: File) -> Result<Self, SegmentError> {
        let path = spec.path(instance);
        let bytes = spec.bytes() as u64;
        let io = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOSPC | libc::ENOMEM | libc::EFBIG) => {
                SegmentError::NoRoom { path: path.clone(), mib: bytes.div_ceil(1 << 20) }
            }
            _ => SegmentError::Io { path: path.clone(), source },
        };
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).map_err(|e| io(e.into()))?;
        crate::kill_point!("segment:allocated");
        let map = MmapOptions::new().map_raw(&file).map_err(io)?;
        let memory = Memory::mapped(map, true);
        let header = Self::lay_out(&memory, instance, spec, MAX_ZONES)?;
        Ok(Self { memory, header, file: Some(file) })
    }

    /// A segment in memory of this process alone, without a file: for tests, simulations and worlds without processes. Of an
    /// inbox, the locks of the first `zones` slots are made; the others are not to be used.
    pub fn private(spec: SegmentSpec, zones: usize) -> Result<Self, SegmentError> {
        let memory = Memory::heap(spec.bytes());
        let header = Self::lay_out(&memory, "", spec, zones)?;
        Ok(Self { memory, header, file: None })
    }

    /// Writes what every segment begins with, and makes the locks of an inbox.
    fn lay_out(memory: &Memory, instance: &str, spec: SegmentSpec, zones: usize) -> Result<Header, SegmentError> {
        let creator = ProcessId::current();
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            kind: spec.kind as u32,
            layout_hash: layout_hash(),
            bytes: spec.bytes() as u64,
            instance: padded(instance),
            creator_start: creator.start_time,
            creator_pid: creator.pid,
            slot: spec.slot,
            parameter: spec.parameter,
            ready: 0,
        };
        memory.write(0, &header);
        crate::kill_point!("segment:header_written");
        if matches!(spec.kind, SegmentKind::InboxNet | SegmentKind::InboxSys) {
            for zone in 0..zones.min(MAX_ZONES) {
                RobustLock::at(inbox::CONTROLS + zone * InboxControl::BYTES).initialise(memory)?;
            }
        }
        // SYNC POINT: segment-ready
        memory.store(std::mem::offset_of!(Header, ready), 1, Ordering::Release);
        crate::kill_point!("segment:ready");
        header.ready = 1;
        Ok(header)
    }

    /// Opens a segment by name.
    pub fn open(instance: &str, spec: SegmentSpec, access: Access) -> Result<Self, SegmentError> {
        let path = spec.path(instance);
        let file = open_private(&path, OpenOptions::new().read(true).write(access == Access::ReadWrite))?;
        Self::attach(instance, spec, file, access)
    }

    /// Attaches a segment whose descriptor was passed in: the way of front-ends, whose descriptors are read-only. Whose file it is
    /// was looked at by who opened it.
    pub fn from_fd(instance: &str, spec: SegmentSpec, fd: OwnedFd, access: Access) -> Result<Self, SegmentError> {
        Self::attach(instance, spec, File::from(fd), access)
    }

    fn attach(instance: &str, spec: SegmentSpec, file: File, access: Access) -> Result<Self, SegmentError> {
        let path = spec.path(instance);
        let io = |source| SegmentError::Io { path: path.clone(), source };
        let length = file.metadata().map_err(io)?.len();
        if length < HEADER_BYTES as u64 {
            return Err(SegmentError::Mismatch { path, what: "the length", found: length, expected: HEADER_BYTES as u64 });
        }
        // The length that was looked at is the length that is mapped, whatever becomes of the file meanwhile.
        let mut options = MmapOptions::new();
        options.len(usize::try_from(length).unwrap_or(usize::MAX));
        let map: MmapRaw = match access {
            // Not populated: a sim that is started again has to step its zones soon, and touches few pages at first.
            Access::ReadWrite => options.map_raw(&file),
            Access::ReadOnly => options.map_raw_read_only(&file),
        }
        .map_err(io)?;
        let memory = Memory::mapped(map, access == Access::ReadWrite);
        let header = check_header(&memory, &path, instance, spec)?;
        Ok(Self { memory, header, file: Some(file) })
    }

    /// A segment that was kept in a file, as it is in this process's memory now. `path` is what an error calls it.
    pub fn kept(memory: Memory, path: &Path, instance: &str, spec: SegmentSpec) -> Result<Self, SegmentError> {
        let header = check_header(&memory, path, instance, spec)?;
        Ok(Self { memory, header, file: None })
    }

    /// Its bytes.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Its bytes alone; the descriptor is closed, the mapping stays.
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    /// Its header as it was attached.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its descriptor, to be passed to a child. Opened as it was attached; a private segment has none.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// A second descriptor of the same segment that cannot be used for writing.
    pub fn read_only_file(&self, instance: &str, spec: SegmentSpec) -> Result<File, SegmentError> {
        open_private(&spec.path(instance), OpenOptions::new().read(true))
    }
}

/// The header of a segment that this binary can use: its own layout, whole, and of this instance.
pub fn check_header(memory: &impl Words, path: &Path, instance: &str, spec: SegmentSpec) -> Result<Header, SegmentError> {
    let mismatch = |what, found, expected| SegmentError::Mismatch { path: path.to_owned(), what, found, expected };
    let length = memory.bytes() as u64;
    if length < HEADER_BYTES as u64 {
        return Err(mismatch("the length", length, HEADER_BYTES as u64));
    }
    // SYNC POINT: segment-ready
    let ready = memory.load(std::mem::offset_of!(Header, ready), Ordering::Acquire);
    let header: Header = memory.read(0);
    let expected = SegmentSpec { parameter: header.parameter, ..spec };
    // Asked before the length is worked out from it, which must not overflow.
    let fits = spec.kind != SegmentKind::World || header.parameter <= MAX_EXTENTS;
    for (what, found, expected) in [
        ("the magic", header.magic, MAGIC),
        ("the version", header.version.into(), VERSION.into()),
        ("the layout hash", header.layout_hash, layout_hash()),
        ("the kind", header.kind.into(), spec.kind as u64),
        ("the slot", header.slot.into(), spec.slot.into()),
        ("the ready mark", ready, 1),
        (
            "the instance's hash",
            crate::layout::hash_bytes(&header.instance),
            crate::layout::hash_bytes(&padded::<INSTANCE_NAME_BYTES>(instance)),
        ),
        ("the length", length, if fits { expected.bytes() as u64 } else { u64::MAX }),
    ] {
        if found != expected {
            return Err(mismatch(what, found, expected));
        }
    }
    Ok(header)
}

/// Maps a segment read-only, whatever lies in it: for a copy of what is damaged.
pub fn map_raw(path: &Path) -> Result<Memory, SegmentError> {
    let io = |source| SegmentError::Io { path: path.to_owned(), source };
    let file = open_private(path, OpenOptions::new().read(true))?;
    let length = file.metadata().map_err(io)?.len();
    if length < 8 {
        return Memory::try_heap(8).map_err(io);
    }
    let mut options = MmapOptions::new();
    options.len(usize::try_from(length).unwrap_or(usize::MAX));
    Ok(Memory::mapped(options.map_raw_read_only(&file).map_err(io)?, false))
}

/// Opens a file of `/dev/shm` that must be a regular one and ours alone. Follows no link, and waits for nobody at a pipe's end.
pub fn open_private(path: &Path, options: &mut OpenOptions) -> Result<File, SegmentError> {
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|source| match std::fs::symlink_metadata(path) {
        Ok(found) => refusal(path, &found).unwrap_or(SegmentError::Io { path: path.to_owned(), source }),
        Err(_) if source.kind() == io::ErrorKind::NotFound => SegmentError::Missing { path: path.to_owned() },
        Err(_) => SegmentError::Io { path: path.to_owned(), source },
    })?;
    // Asked of the descriptor, so that what was looked at is what is used.
    let found = file.metadata().map_err(|source| SegmentError::Io { path: path.to_owned(), source })?;
    refusal(path, &found).map_or(Ok(file), Err)
}

/// Looks at a file of `/dev/shm` without opening it: whether it is a regular one and ours alone. One that is gone is no fault.
pub fn check_private(path: &Path) -> Result<(), SegmentError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => refusal(path, &found).map_or(Ok(()), Err),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(SegmentError::Io { path: path.to_owned(), source }),
    }
}

/// Why a file is not one that only we could have written.
fn refusal(path: &Path, found: &Metadata) -> Option<SegmentError> {
    let path = || path.to_owned();
    if found.uid() != rustix::process::geteuid().as_raw() {
        Some(SegmentError::ForeignOwner { path: path(), owner: found.uid() })
    } else if !found.is_file() {
        Some(SegmentError::NotAFile { path: path() })
    } else if found.mode() & 0o077 != 0 {
        Some(SegmentError::OpenToOthers { path: path(), mode: found.mode() & 0o777 })
    } else {
        None
    }
}

/// Zero-padded bytes of a string, cut at the array's length.
pub fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let text = cut(text, N);
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// The longest beginning of a text that takes at most so many bytes.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The text of a zero-padded array; bytes that are not UTF-8 become replacement characters.
pub fn unpadded(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Names of the instances that have a directory in /dev/shm, in order.
pub fn instances() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(SHM_DIR) else { return Vec::new() };
    let name = |file: &str| Some(file.strip_prefix("ringfort.")?.strip_suffix(".directory")?.to_owned());
    let mut found: Vec<String> = entries.flatten().filter_map(|entry| name(entry.file_name().to_str()?)).collect();
    found.sort();
    found
}

/// Files in /dev/shm that belong to an instance, for removal by whoever holds the instance's lock.
pub fn leftovers(instance: &str) -> Vec<PathBuf> {
    let prefix = format!("ringfort.{instance}.");
    let Ok(entries) = std::fs::read_dir(SHM_DIR) else { return Vec::new() };
    let of_worker = |rest: &str| {
        let slot = ["frontend.", "sim.", "hook.", "admin."].into_iter().find_map(|role| rest.strip_prefix(role));
        slot.is_some_and(|slot| slot.parse::<u32>().is_ok())
    };
    let ours = |name: &str| {
        let rest = name.strip_prefix(&prefix);
        rest.is_some_and(|rest| ["directory", "inbox.net", "inbox.sys", "world"].contains(&rest) || of_worker(rest))
    };
    let mut found: Vec<PathBuf> =
        entries.flatten().filter(|e| e.file_name().to_str().is_some_and(ours)).map(|e| e.path()).collect();
    found.sort();
    found
}
