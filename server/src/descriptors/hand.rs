//! The worker's half: a thread that hands all descriptors to whoever asks at the worker's UNIX socket and is its own user.
//!
//! The thread blocks in `accept`, has all signals blocked and allocates nothing, so that neither the handlers of faults nor the
//! limit of a sim's memory know of it. It takes no lock.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ringfort_shm_state::kill_point;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, sendmsg, socket_with,
};

use super::ask::short;
use super::{COUNT, Descriptors};
use crate::limits::{HAND_BACKLOG, HAND_MS, HAND_STACK_BYTES};
use crate::supervisor::signals::with_all_blocked;

/// What comes with the descriptors: what they are, and the version of their order.
pub(super) const GREETING: &[u8] = b"ringfort descriptors 1\n";

/// Has a thread hand these descriptors over at a socket of this path for as long as the process lives.
pub fn serve(path: &Path, passed: &'static Descriptors<OwnedFd>) -> io::Result<()> {
    let listener = bound(path)?;
    let all: Vec<BorrowedFd<'static>> = passed.targets().map(|(_, descriptor)| descriptor).collect();
    let thread = thread::Builder::new().name("descriptors".to_owned()).stack_size(HAND_STACK_BYTES);
    with_all_blocked(|| thread.spawn(move || serve_all(&listener, &all)).map(drop))?
}

/// Listens at a path in place of what a dead process of the same number has left there.
fn bound(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let near = short(path)?;
    bind(&listener, &SocketAddrUnix::new(near.path())?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listen(&listener, HAND_BACKLOG)?;
    Ok(listener)
}

fn serve_all(listener: &OwnedFd, all: &[BorrowedFd<'static>]) {
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC) {
            // Whoever asked and did not get it asks again, or another worker.
            Ok(asker) => drop(hand(&asker, all)),
            // Too many open files, for instance: nothing that is over at once.
            Err(_) => thread::sleep(Duration::from_millis(HAND_MS)),
        }
    }
}

/// Hands all over in one message.
fn hand(asker: &OwnedFd, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    kill_point!("hand:accepted");
    // The directory's mode keeps others out already; root may do everything anyway.
    let peer = socket_peercred(asker)?;
    if peer.uid != rustix::process::geteuid() && !peer.uid.is_root() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    set_socket_timeout(asker, Timeout::Send, Some(Duration::from_millis(HAND_MS)))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(all)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    sendmsg(asker, &[IoSlice::new(GREETING)], &mut control, SendFlags::NOSIGNAL)?;
    kill_point!("hand:sent");
    Ok(())
}
