//! Descriptors handed over between two threads of the tests, and answers that no worker gives.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, sendmsg, socket_with,
};

use super::hand::GREETING;
use super::*;

/// What a worker has, with sockets that are bound to nothing.
fn whole() -> Descriptors<OwnedFd> {
    let socket = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let wake = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
    let file = || OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap());
    Descriptors {
        sockets: (0..SOCKET_SLOTS).map(|_| socket()).collect(),
        frontend_wakes: (0..FRONTEND_WAKES).map(|_| wake()).collect(),
        sim_wakes: (0..SIM_SLOTS_MAX).map(|_| wake()).collect(),
        directory: file(),
        world: file(),
    }
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join("worker.sock")
}

/// What comes of asking a worker that answers with these bytes and descriptors.
fn answered(bytes: &[u8], list: &[BorrowedFd<'_>]) -> Result<Descriptors<OwnedFd>, AskError> {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let asker = accept(&listener).unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT + 8))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(list.is_empty() || control.push(SendAncillaryMessage::ScmRights(list)));
            sendmsg(&asker, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
        });
        ask(&path, std::process::id())
    })
}

fn list(of: &Descriptors<OwnedFd>) -> Vec<BorrowedFd<'_>> {
    of.targets().map(|(_, descriptor)| descriptor).collect()
}

#[test]
fn a_worker_hands_over_what_it_has_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than a socket's address may be.
    let deep = directory.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let path = path_in(&deep);
    std::fs::write(&path, "left by a dead process").unwrap();
    let passed: &'static Descriptors<OwnedFd> = Box::leak(Box::new(whole()));
    serve(&path, passed).unwrap();
    for _ in 0..3 {
        let got = ask(&path, std::process::id()).unwrap();
        let same = |one: &OwnedFd, other: &OwnedFd| {
            let [one, other] = [one, other].map(|of| rustix::fs::fstat(of).unwrap());
            (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        };
        assert!(got.sockets.iter().zip(&passed.sockets).all(|(one, other)| same(one, other)));
        assert!(same(&got.world, &passed.world));
        rustix::io::write(&passed.sim_wakes[3], &5u64.to_ne_bytes()).unwrap();
        let mut count = [0; 8];
        rustix::io::read(&got.sim_wakes[3], &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 5);
    }
}

#[test]
fn an_answer_of_another_process_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    serve(&path, Box::leak(Box::new(whole()))).unwrap();
    assert!(matches!(ask(&path, 1), Err(AskError::Stranger(_))));
}

#[test]
fn who_is_not_there_or_says_nothing_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    assert!(matches!(ask(&path, std::process::id()), Err(AskError::Silent(_))));
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    assert!(!is_listening(&directory.path().join("another.sock")));
    for _ in 0..4 {
        assert!(matches!(ask(&path, std::process::id()), Err(AskError::Silent(_))), "it was stopped");
        assert!(is_listening(&path));
    }
    drop(listener);
    assert!(!is_listening(&path));
    assert!(matches!(ask(&path, std::process::id()), Err(AskError::Silent(_))), "it has died");
}

#[test]
fn what_no_worker_sends_is_refused() {
    let passed = whole();
    let all = list(&passed);
    assert!(answered(GREETING, &all).is_ok());
    let mut longer = all.clone();
    longer.push(passed.world.as_fd());
    for (bytes, list) in [
        (GREETING, &all[..0]),
        (GREETING, &all[..1]),
        (GREETING, &all[..COUNT - 1]),
        (GREETING, &longer[..]),
        (b"ringfort descriptors 2\n", &all[..]),
        (b"ringfort descriptors 1\n\n", &all[..]),
        (&GREETING[..GREETING.len() - 1], &all[..]),
        (&[0xff; 4000], &all[..]),
        (b"\0", &all[..]),
    ] {
        let refused = answered(bytes, list).unwrap_err();
        assert!(matches!(refused, AskError::OtherVersion | AskError::Count(_)), "{bytes:?} {}: {refused}", list.len());
    }
    for (one, other) in [(0, COUNT - 1), (3, SOCKET_SLOTS), (SOCKET_SLOTS, COUNT - 1), (COUNT - 1, 0), (COUNT - 2, SOCKET_SLOTS)]
    {
        let mut swapped = all.clone();
        swapped[one] = all[other];
        let refused = answered(GREETING, &swapped).unwrap_err();
        assert!(matches!(refused, AskError::Kind { number, .. } if number == one), "{one} is {other}: {refused}");
    }
}

/// Every place with every kind that is wrong there, and every length of the greeting.
#[test]
fn no_answer_that_is_bent_in_one_place_is_taken() {
    let passed = whole();
    let all = list(&passed);
    let pipe = std::io::pipe().unwrap();
    for at in (0..COUNT).step_by(5) {
        let mut bent = all.clone();
        bent[at] = pipe.0.as_fd();
        assert!(matches!(answered(GREETING, &bent), Err(AskError::Kind { number, .. }) if number == at), "{at}");
    }
    for at in 0..GREETING.len() {
        let mut bent = GREETING.to_vec();
        bent[at] ^= 0x20;
        assert!(matches!(answered(&bent, &all), Err(AskError::OtherVersion)), "{at}");
    }
}
