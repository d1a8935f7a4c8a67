//! Datagrams in and out of a front-end's socket, many to a system call (`recvmmsg`, `sendmmsg`).
//!
//! First and last station of a message: [`UdpReceiver`] feeds the QUIC driver, the driver's packets go into
//! [`UdpSender`]. They are two values so that packets can be queued while received ones are looked at.
//! All buffers are made once; nothing here allocates afterwards. What the kernel won't take is dropped and
//! counted, as a network would: QUIC repairs what must be repaired, and a late snapshot is worth nothing.

use std::io;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use quinn_proto::Transmit;

use crate::limits::{UDP_BATCH, UDP_DATAGRAM_BYTES_MAX};

/// Words of `SO_MEMINFO`; a kernel that has fewer leaves the rest zero.
const MEMINFO_WORDS: usize = 9;
/// That of the drops (`SK_MEMINFO_DROPS` of linux/sock_diag.h).
const MEMINFO_DROPS: usize = 8;
/// Room for either kind of socket address.
const ADDRESS_BYTES: usize = size_of::<libc::sockaddr_in6>();

// `Address` reads and writes these structures byte by byte.
const _: () = {
    assert!(size_of::<libc::sockaddr_in>() == 16 && ADDRESS_BYTES == 28);
    assert!(offset_of!(libc::sockaddr_in, sin_family) == 0 && size_of::<libc::sa_family_t>() == 2);
    assert!(offset_of!(libc::sockaddr_in, sin_port) == 2 && offset_of!(libc::sockaddr_in, sin_addr) == 4);
    assert!(offset_of!(libc::sockaddr_in6, sin6_family) == 0 && offset_of!(libc::sockaddr_in6, sin6_port) == 2);
    assert!(offset_of!(libc::sockaddr_in6, sin6_flowinfo) == 4 && offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
    assert!(offset_of!(libc::sockaddr_in6, sin6_scope_id) == 24);
    assert!(align_of::<Address>() >= align_of::<libc::sockaddr_in6>());
};

/// A socket address as the kernel lays it out (`sockaddr_in` or `sockaddr_in6`).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Address([u8; ADDRESS_BYTES]);

impl Address {
    const NONE: Address = Address([0; ADDRESS_BYTES]);

    /// The address and how many of its bytes count.
    fn encode(address: SocketAddr) -> (Address, u32) {
        let mut bytes = [0; ADDRESS_BYTES];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, ADDRESS_BYTES)
            }
        };
        bytes[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
        (Address(bytes), len as u32)
    }

    /// What the kernel wrote; none for a family that no UDP socket of ours has.
    fn decode(&self) -> Option<SocketAddr> {
        let four = |at: usize| -> [u8; 4] { std::array::from_fn(|i| self.0[at + i]) };
        let port = u16::from_be_bytes([self.0[2], self.0[3]]);
        match i32::from(libc::sa_family_t::from_ne_bytes([self.0[0], self.0[1]])) {
            libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(four(4)), port).into()),
            libc::AF_INET6 => {
                let ip: [u8; 16] = std::array::from_fn(|i| self.0[8 + i]);
                let (flow, scope) = (u32::from_ne_bytes(four(4)), u32::from_ne_bytes(four(24)));
                Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
            }
            _ => None,
        }
    }
}

/// Addresses and bytes of one batch, in or out, with a length for each.
struct Packets {
    addresses: [Address; UDP_BATCH],
    address_lens: [u32; UDP_BATCH],
    lens: [usize; UDP_BATCH],
    bytes: Box<[[u8; UDP_DATAGRAM_BYTES_MAX]]>,
}

/// How each system call sees one batch: the headers point into the vectors and into [`Packets`].
struct Headers {
    vectors: [libc::iovec; UDP_BATCH],
    headers: [libc::mmsghdr; UDP_BATCH],
}

impl Packets {
    fn new() -> Packets {
        Packets {
            addresses: [Address::NONE; UDP_BATCH],
            address_lens: [ADDRESS_BYTES as u32; UDP_BATCH],
            lens: [UDP_DATAGRAM_BYTES_MAX; UDP_BATCH],
            bytes: vec![[0; UDP_DATAGRAM_BYTES_MAX]; UDP_BATCH].into_boxed_slice(),
        }
    }

    /// Points `out` at the packets of a range: at as much of each as its lengths say. The pointers hold until
    /// `self` is used otherwise or `out` is moved.
    fn point(&mut self, range: Range<usize>, out: &mut Headers) {
        for i in range.clone() {
            let len = self.lens[i].min(UDP_DATAGRAM_BYTES_MAX);
            out.vectors[i] = libc::iovec { iov_base: self.bytes[i].as_mut_ptr().cast(), iov_len: len };
        }
        let vectors = out.vectors.as_mut_ptr();
        for i in range {
            let header = &mut out.headers[i].msg_hdr;
            header.msg_name = self.addresses[i].0.as_mut_ptr().cast();
            header.msg_namelen = self.address_lens[i].min(ADDRESS_BYTES as u32);
            header.msg_iov = vectors.wrapping_add(i);
            header.msg_iovlen = 1;
        }
    }
}

impl Headers {
    fn zeroed() -> Headers {
        // SAFETY: iovec and mmsghdr are C structures of integers and raw pointers, for which all bytes zero is a value.
        unsafe { std::mem::zeroed() }
    }
}

/// What happened to datagrams so far, for the counters of `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// Datagrams that arrived.
    pub received: u64,
    /// Of those, longer than there is room for, and thrown away.
    pub truncated: u64,
    /// Packets that the kernel took.
    pub sent: u64,
    /// Packets dropped because the kernel's buffers were full.
    pub dropped: u64,
    /// Packets that the kernel refused for what they are (unreachable, not permitted).
    pub refused: u64,
    /// Packets longer than there is room for, never offered to the kernel.
    pub oversized: u64,
}

/// Both directions of one socket.
pub struct UdpBatch {
    /// What came in.
    pub receiver: UdpReceiver,
    /// What goes out.
    pub sender: UdpSender,
}

/// The receiving side: one batch at a time.
pub struct UdpReceiver {
    socket: OwnedFd,
    packets: Packets,
    /// How many of `packets` the last batch filled; those thrown away have length 0.
    filled: usize,
    counters: UdpCounters,
}

/// The sending side: a queue that is flushed when full and whenever the loop says so.
pub struct UdpSender {
    socket: OwnedFd,
    packets: Packets,
    queued: usize,
    counters: UdpCounters,
}

impl UdpBatch {
    /// Both directions of `socket`, which is duplicated so that the batch needs no lifetime.
    pub fn new(socket: BorrowedFd<'_>) -> io::Result<UdpBatch> {
        let receiver = UdpReceiver {
            socket: socket.try_clone_to_owned()?,
            packets: Packets::new(),
            filled: 0,
            counters: UdpCounters::default(),
        };
        let sender = UdpSender {
            socket: socket.try_clone_to_owned()?,
            packets: Packets::new(),
            queued: 0,
            counters: UdpCounters::default(),
        };
        Ok(UdpBatch { receiver, sender })
    }

    /// The counters of both directions.
    pub fn counters(&self) -> UdpCounters {
        let (incoming, outgoing) = (self.receiver.counters, self.sender.counters);
        UdpCounters { received: incoming.received, truncated: incoming.truncated, ..outgoing }
    }

    /// Datagrams that the kernel has dropped since the socket was bound, because they came faster than they were received and its buffer was
    /// full. Zero where the kernel does not tell (`SO_MEMINFO`, Linux 4.12).
    pub fn overrun(&self) -> u64 {
        memory_info(&self.receiver.socket).map_or(0, |info| info[MEMINFO_DROPS].into())
    }
}

impl UdpReceiver {
    /// Replaces the last batch by what is waiting, without blocking. Returns how many datagrams arrived:
    /// 0 for none, [`UDP_BATCH`] when there may be more.
    pub fn receive(&mut self) -> io::Result<usize> {
        self.filled = 0;
        self.packets.lens.fill(UDP_DATAGRAM_BYTES_MAX);
        self.packets.address_lens.fill(ADDRESS_BYTES as u32);
        let mut headers = Headers::zeroed();
        let arrived = loop {
            match receive_batch(&self.socket, &mut self.packets, &mut headers) {
                Ok(arrived) => break arrived,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) => return Err(error),
            }
        };
        for (i, header) in headers.headers[..arrived].iter().enumerate() {
            let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            self.packets.lens[i] = if truncated { 0 } else { header.msg_len as usize };
            self.counters.truncated += u64::from(truncated);
        }
        self.counters.received += arrived as u64;
        self.filled = arrived;
        Ok(arrived)
    }

    /// The datagrams of the last batch and where each came from. Empty ones are skipped: none is QUIC.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        (0..self.filled).filter_map(|i| {
            let bytes = self.packets.bytes[i].get(..self.packets.lens[i])?;
            let from = self.packets.addresses[i].decode()?;
            (!bytes.is_empty()).then_some((from, bytes))
        })
    }
}

impl UdpSender {
    /// Queues what the driver wants sent; several datagrams in one are taken apart. Flushes when full.
    pub fn push(&mut self, transmit: &Transmit, bytes: &[u8]) {
        let bytes = &bytes[..transmit.size.min(bytes.len())];
        let segment = transmit.segment_size.unwrap_or(bytes.len()).max(1);
        for packet in bytes.chunks(segment) {
            self.push_packet(transmit.destination, packet);
        }
    }

    fn push_packet(&mut self, destination: SocketAddr, packet: &[u8]) {
        if packet.len() > UDP_DATAGRAM_BYTES_MAX {
            self.counters.oversized += 1;
            return;
        }
        if self.queued == UDP_BATCH {
            self.flush();
        }
        let at = self.queued;
        (self.packets.addresses[at], self.packets.address_lens[at]) = Address::encode(destination);
        self.packets.bytes[at][..packet.len()].copy_from_slice(packet);
        self.packets.lens[at] = packet.len();
        self.queued += 1;
    }

    /// Gives the queue to the kernel without blocking; what it won't take is dropped and counted.
    pub fn flush(&mut self) {
        if self.queued == 0 {
            return;
        }
        let mut headers = Headers::zeroed();
        let mut first = 0;
        while first < self.queued {
            match send_batch(&self.socket, &mut self.packets, &mut headers, first..self.queued) {
                Ok(sent) => {
                    self.counters.sent += sent as u64;
                    first += sent;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                        self.counters.dropped += (self.queued - first) as u64;
                        break;
                    }
                    // The error is the first packet's alone: the others have their own destinations.
                    _ => {
                        self.counters.refused += 1;
                        first += 1;
                    }
                },
            }
        }
        self.queued = 0;
    }
}

/// What the kernel tells of a socket's memory, by `SK_MEMINFO_*`.
fn memory_info(socket: &OwnedFd) -> io::Result<[u32; MEMINFO_WORDS]> {
    let mut info = [0u32; MEMINFO_WORDS];
    let mut bytes = size_of_val(&info) as libc::socklen_t;
    let into = info.as_mut_ptr().cast();
    // SAFETY: `into` points at `bytes` writable bytes, which live until the call is over, and any bytes are valid words.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, into, &raw mut bytes) };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// Fills `packets` with what waits; `headers` tells each one's length and flags.
fn receive_batch(socket: &OwnedFd, packets: &mut Packets, headers: &mut Headers) -> io::Result<usize> {
    packets.point(0..UDP_BATCH, headers);
    let (headers, count) = (headers.headers.as_mut_ptr(), UDP_BATCH as u32);
    // SAFETY: `headers` are UDP_BATCH headers that were just pointed at buffers and addresses of `packets`, with their
    // true lengths; both are exclusively borrowed until the call is over.
    let arrived = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
    usize::try_from(arrived).map_err(|_| io::Error::last_os_error())
}

/// Sends the packets of a range; returns how many of them the kernel took, at least one.
fn send_batch(socket: &OwnedFd, packets: &mut Packets, headers: &mut Headers, range: Range<usize>) -> io::Result<usize> {
    packets.point(range.clone(), headers);
    let waiting = &mut headers.headers[range];
    let (waiting, count) = (waiting.as_mut_ptr(), waiting.len() as u32);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `waiting` are `count` headers that were just pointed at bytes and addresses of `packets`, with lengths
    // that lie within; both are exclusively borrowed until the call is over.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), waiting, count, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
#[path = "udp/tests.rs"]
mod tests;
