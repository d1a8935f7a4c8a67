//! The supervisor's half: asks a worker for all descriptors, and believes nothing of the answer that it can look at itself.

use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, recvmsg, socket_with,
};

use super::hand::GREETING;
use super::{COUNT, Descriptors};
use crate::limits::HAND_MS;

/// Why a worker's descriptors are not had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or nobody answers in time.
    #[error("it does not answer ({0})")]
    Silent(#[from] io::Error),
    /// Another process listens in its place.
    #[error("process {0} answers in its place")]
    Stranger(i32),
    /// What it sends is not what a worker of this version sends.
    #[error("its answer is not that of a worker of this version")]
    OtherVersion,
    /// It sends more or fewer descriptors.
    #[error("it sends {0} descriptors instead of {COUNT}")]
    Count(usize),
    /// One of them is something else.
    #[error("its descriptor {number} is no {expected}")]
    Kind {
        /// Which, counted from 0.
        number: usize,
        /// What it should be.
        expected: &'static str,
    },
}

/// Asks the worker with a process id at its socket. Each wait ends after [`HAND_MS`]: a process that was stopped keeps nobody.
pub fn ask(path: &Path, pid: u32) -> Result<Descriptors<OwnedFd>, AskError> {
    let socket = connected(path)?;
    let peer = socket_peercred(&socket).map_err(io::Error::from)?.pid.as_raw_pid();
    if u32::try_from(peer) != Ok(pid) {
        return Err(AskError::Stranger(peer));
    }
    let list = receive(&socket)?;
    let count = list.len();
    let all = Descriptors::of_list(list).ok_or(AskError::Count(count))?;
    check(&all)?;
    Ok(all)
}

/// Whether somebody listens at a worker's socket, were it a process that was stopped.
pub fn is_listening(path: &Path) -> bool {
    // One that was stopped, and was asked in vain before, has no room for one more who waits.
    connected(path).map_or_else(|error| !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused), |_| true)
}

fn connected(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for timeout in [Timeout::Send, Timeout::Recv] {
        // That of sending bounds connecting, too.
        set_socket_timeout(&socket, timeout, Some(Duration::from_millis(HAND_MS)))?;
    }
    let near = short(path)?;
    connect(&socket, &SocketAddrUnix::new(near.path())?)?;
    Ok(socket)
}

/// One message, which must be the greeting with descriptors.
fn receive(socket: &OwnedFd) -> Result<Vec<OwnedFd>, AskError> {
    // One byte more than is right, so that more is seen.
    let mut bytes = [0; GREETING.len() + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    let received = received.map_err(io::Error::from)?;
    let mut list = Vec::with_capacity(COUNT);
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            list.extend(descriptors);
        }
    }
    if received.bytes == 0 && list.is_empty() {
        return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
    }
    if &bytes[..received.bytes] != GREETING || received.flags.contains(ReturnFlags::TRUNC) {
        return Err(AskError::OtherVersion);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(AskError::Count(list.len()));
    }
    Ok(list)
}

/// Whether each is what it should be. To which address the sockets are bound is looked at by who takes them.
fn check(all: &Descriptors<OwnedFd>) -> Result<(), AskError> {
    let wakes = || all.frontend_wakes.iter().chain(&all.sim_wakes);
    let sockets = all.sockets.iter().map(|socket| (socket, "UDP socket", is_udp(socket)));
    let wakes = wakes().map(|wake| (wake, "eventfd", is_eventfd(wake)));
    let files = [&all.directory, &all.world].map(|file| (file, "segment", is_file(file)));
    match sockets.chain(wakes).chain(files).enumerate().find(|(_, (_, _, fits))| !fits) {
        Some((number, (_, expected, _))) => Err(AskError::Kind { number, expected }),
        None => Ok(()),
    }
}

fn is_udp(descriptor: &OwnedFd) -> bool {
    let domain = rustix::net::sockopt::socket_domain(descriptor);
    matches!(domain, Ok(AddressFamily::INET | AddressFamily::INET6)) && socket_type(descriptor) == Ok(SocketType::DGRAM)
}

fn is_eventfd(descriptor: &OwnedFd) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
    link.is_ok_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
}

fn is_file(descriptor: &OwnedFd) -> bool {
    fstat(descriptor).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// A path by way of its directory's descriptor: a socket's address has room for 107 bytes.
pub(super) struct Short {
    _directory: File,
    path: PathBuf,
}

impl Short {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

pub(super) fn short(path: &Path) -> io::Result<Short> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(ErrorKind::InvalidInput.into()) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = File::from(rustix::fs::open(parent, flags, Mode::empty())?);
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok(Short { _directory: directory, path })
}
