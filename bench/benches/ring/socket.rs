//! A UNIX socketpair that keeps message bounds: one message a call, or a batch a call by sendmmsg and recvmmsg.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::message::{Expected, Message, message};
use crate::pace::Pace;

/// Bytes asked for as the socket's buffers; the system gives what it allows.
const BUFFER_BYTES: usize = 1 << 20;

/// The two ends.
pub struct Pair {
    producer: OwnedFd,
    consumer: OwnedFd,
}

impl Pair {
    /// A connected pair.
    pub fn new() -> Self {
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (producer, consumer) = pair.expect("the system has socketpairs");
        for end in [&producer, &consumer] {
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, BUFFER_BYTES);
        }
        Self { producer, consumer }
    }

    /// Sends messages, a batch a call.
    pub fn produce(&self, pace: &Pace, count: u64, per_batch: u64) {
        let mut batch = vec![[0; 8]; per_batch as usize];
        let mut vector = Vector::new(per_batch as usize);
        pace.start_producing();
        for first in (0..count).step_by(per_batch as usize) {
            batch.iter_mut().zip(first..).for_each(|(m, n)| *m = message(n));
            let mut sent = 0;
            while sent < batch.len() {
                sent += if per_batch == 1 {
                    // SAFETY: the descriptor is open, and the buffer is the message's 64 bytes.
                    let n = unsafe { libc::send(self.producer.as_raw_fd(), batch.as_ptr().cast(), size_of::<Message>(), 0) };
                    usize::from(checked(n) == size_of::<Message>())
                } else {
                    let headers = vector.aim(&mut batch[sent..]);
                    // SAFETY: as many headers as the length says, each aimed at one message of `batch`, which outlives the call.
                    let n = unsafe { libc::sendmmsg(self.producer.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, 0) };
                    checked(n as isize)
                };
            }
        }
    }

    /// Receives messages, up to a batch a call.
    pub fn consume(&self, pace: &Pace, count: u64, per_batch: u64) {
        let mut batch = vec![[0; 8]; per_batch as usize];
        let mut vector = Vector::new(per_batch as usize);
        let mut expected = Expected::default();
        pace.wait_for_producer();
        pace.start_consuming();
        while expected.count() < count {
            let received = if per_batch == 1 {
                // SAFETY: the descriptor is open, and the buffer is the message's 64 bytes.
                let n = unsafe { libc::recv(self.consumer.as_raw_fd(), batch.as_mut_ptr().cast(), size_of::<Message>(), 0) };
                usize::from(checked(n) == size_of::<Message>())
            } else {
                let headers = vector.aim(&mut batch);
                let (fd, n) = (self.consumer.as_raw_fd(), headers.len() as u32);
                // SAFETY: as many headers as the length says, each aimed at one message of `batch`, which outlives the call.
                let n = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), n, libc::MSG_WAITFORONE, std::ptr::null_mut()) };
                checked(n as isize)
            };
            batch[..received].iter().for_each(|m| expected.take(m[0], m[7]));
        }
        pace.end();
    }
}

/// Headers for a batch.
struct Vector {
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Vector {
    fn new(messages: usize) -> Self {
        Self { parts: Vec::with_capacity(messages), headers: Vec::with_capacity(messages) }
    }

    /// Aims a header at each message.
    fn aim(&mut self, messages: &mut [Message]) -> &mut [libc::mmsghdr] {
        self.parts.clear();
        self.headers.clear();
        let part = |m: &mut Message| libc::iovec { iov_base: m.as_mut_ptr().cast(), iov_len: size_of::<Message>() };
        self.parts.extend(messages.iter_mut().map(part));
        for part in &mut self.parts {
            // SAFETY: a header of zeroes has no name, no parts and no control data.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(header);
        }
        &mut self.headers
    }
}

fn checked(n: isize) -> usize {
    match usize::try_from(n) {
        Ok(n) => n,
        Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => 0,
        Err(_) => panic!("the socketpair failed: {}", io::Error::last_os_error()),
    }
}
