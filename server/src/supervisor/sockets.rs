//! The instance's UDP port: one socket for each slot, bound in slot order, and the program that steers between them.
//!
//! The supervisor binds all [`SOCKET_SLOTS`] sockets at the start and keeps them, so a killed front-end's slot
//! never shifts the others'. A front-end owns the slot of its own number and finds it in the first byte of every
//! connection id that it issues (`k * SOCKET_SLOTS + slot`), which is where a classic BPF program in the kernel
//! looks. A slot without a process gets no new connections: those go to the live slots only.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Socket, Type};

use crate::limits::{CONNECTION_ID_BYTES, SOCKET_BUFFER_BYTES, SOCKET_SLOTS};

/// The sockets of all slots, bound to one address.
#[derive(Debug)]
pub struct Sockets {
    slots: Vec<UdpSocket>,
    address: SocketAddr,
    buffers: SocketBuffers,
}

/// How many bytes of buffer each socket has; the kernel may give less than [`SOCKET_BUFFER_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketBuffers {
    /// For datagrams not yet received.
    pub receive: usize,
    /// For datagrams not yet sent.
    pub send: usize,
}

/// Why the port can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Someone has it.
    #[error("the UDP address {0} is in use by another program; stop that, or choose another with `listen` or --listen")]
    InUse(SocketAddr),
    /// The address is none of this machine's.
    #[error("{0} is not an address of this machine; choose one that is with `listen` or --listen")]
    NotOurs(SocketAddr),
    /// The port is reserved for privileged users.
    #[error("you may not bind {0}; choose a port of 1024 or more with `listen` or --listen")]
    Forbidden(SocketAddr),
    /// Anything else.
    #[error("cannot bind the UDP address {listen} ({source}); choose another with `listen` or --listen")]
    Other {
        /// Which address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel took the sockets but not the steering program.
    #[error(transparent)]
    Steer(#[from] SteerError),
}

/// Why datagrams can't be steered.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// No slot is live; what was attached before holds on.
    #[error("no front-end is live, so there is none to steer new connections to")]
    NoneLive,
    /// A slot number is out of range.
    #[error("there is no socket slot {0}; the slots are 0 to {max}", max = SOCKET_SLOTS - 1)]
    NoSuchSlot(usize),
    /// The kernel refused the program.
    #[error("the kernel refused the steering program ({0}); Linux 4.5 or later is needed, without a filter on setsockopt")]
    Refused(#[source] io::Error),
}

impl Sockets {
    /// Binds all slots to `listen` and steers new connections to slot 0 until [`Sockets::steer`] says otherwise.
    /// For port 0 the kernel chooses a free one.
    pub fn bind(listen: SocketAddr) -> Result<Sockets, BindError> {
        let first = bind_first(listen).map_err(|source| bind_error(listen, source))?;
        let address = first.local_addr().map_err(|source| bind_error(listen, source))?;
        let buffers = enlarge_buffers(&first);
        let mut slots = vec![first];
        while slots.len() < SOCKET_SLOTS {
            let next = bind_next(address).map_err(|source| bind_error(address, source))?;
            enlarge_buffers(&next);
            slots.push(next);
        }
        let sockets = Sockets { slots, address, buffers };
        sockets.steer(&[0])?;
        Ok(sockets)
    }

    /// Goes on with sockets that an earlier supervisor has bound, by slot, to this address. `None` when they are others.
    pub(super) fn adopt(slots: Vec<OwnedFd>, address: SocketAddr) -> Option<Sockets> {
        let slots: Vec<UdpSocket> = slots.into_iter().map(UdpSocket::from).collect();
        // The directory has no scope of a link's address.
        let is = |bound: SocketAddr| (bound.ip(), bound.port()) == (address.ip(), address.port());
        let is_bound = |socket: &UdpSocket| socket.local_addr().is_ok_and(is);
        let buffers = buffers_of(slots.first()?);
        (slots.len() == SOCKET_SLOTS && slots.iter().all(is_bound)).then_some(Sockets { slots, address, buffers })
    }

    /// The address that clients connect to, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the kernel gave each socket.
    pub fn buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// The sockets, by slot.
    pub fn all(&self) -> Vec<BorrowedFd<'_>> {
        self.slots.iter().map(AsFd::as_fd).collect()
    }

    /// From now on new connections go to these slots; connections that exist stay where they are.
    pub fn steer(&self, live_slots: &[usize]) -> Result<(), SteerError> {
        let mut program = steering_program(live_slots)?;
        attach(&self.slots[0], &mut program).map_err(SteerError::Refused)
    }
}

/// Binds slot 0 and only then makes it the first of a group that others may join.
///
/// Without SO_REUSEPORT the bind fails when anyone has the port; with it, it would silently join a group of the same
/// user, and port 0 could even choose such a group's port. Setting the flag afterwards leaves no moment in between.
fn bind_first(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(listen)?;
    socket.bind(&listen.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Joins the group; its members are numbered in the order in which they join.
fn bind_next(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // `[::]` serves both families, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Asks for large buffers, past the system's limit where that is allowed. Too small ones cost datagrams, not the start.
fn enlarge_buffers(socket: &UdpSocket) -> SocketBuffers {
    use rustix::net::sockopt;
    if sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BUFFER_BYTES).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES);
    }
    buffers_of(socket)
}

fn buffers_of(socket: &UdpSocket) -> SocketBuffers {
    use rustix::net::sockopt;
    // The kernel tells twice what it gave: half is for its own bookkeeping (socket(7)).
    SocketBuffers {
        receive: sockopt::socket_recv_buffer_size(socket).unwrap_or(0) / 2,
        send: sockopt::socket_send_buffer_size(socket).unwrap_or(0) / 2,
    }
}

fn bind_error(listen: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(listen),
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs(listen),
        io::ErrorKind::PermissionDenied => BindError::Forbidden(listen),
        _ => BindError::Other { listen, source },
    }
}

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_LENGTH: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_LEN;
const IF_SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const RETURN_VALUE: u32 = libc::BPF_RET | libc::BPF_A;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Classic BPF over the UDP payload, whose byte 0 is QUIC's flags byte (RFC 9000 section 17). Returns a slot.
///
/// A long header (bit 0x80) has the destination id's length at 5 and the id at 6; a short header has the id at 1.
/// A long header with an id of another length than ours is a client's first flight: a new connection.
fn steering_program(live_slots: &[usize]) -> Result<Vec<libc::sock_filter>, SteerError> {
    let first_live = *live_slots.first().ok_or(SteerError::NoneLive)?;
    if let Some(slot) = live_slots.iter().find(|slot| **slot >= SOCKET_SLOTS) {
        return Err(SteerError::NoSuchSlot(*slot));
    }
    // Of more entries than slots, the later ones could not be told apart by a one-byte jump.
    let live_slots = &live_slots[..live_slots.len().min(SOCKET_SLOTS)];
    let step = |code: u32, k: usize, then: u8, otherwise: u8| libc::sock_filter {
        code: code as u16,
        jt: then,
        jf: otherwise,
        k: k as u32,
    };
    let mut program = vec![
        // Too short for a long header's id; a load past the end would mean slot 0, live or not.
        step(LOAD_LENGTH, 0, 0, 0),
        step(IF_AT_LEAST, 7, 1, 0),
        step(RETURN, first_live, 0, 0),
        step(LOAD_BYTE, 0, 0, 0),
        step(IF_SET, 0x80, 3, 0),
        // Short header.
        step(LOAD_BYTE, 1, 0, 0),
        step(MODULO, SOCKET_SLOTS, 0, 0),
        step(RETURN_VALUE, 0, 0, 0),
        // Long header with an id of ours.
        step(LOAD_BYTE, 5, 0, 0),
        step(IF_EQUAL, CONNECTION_ID_BYTES, 0, 3),
        step(LOAD_BYTE, 6, 0, 0),
        step(MODULO, SOCKET_SLOTS, 0, 0),
        step(RETURN_VALUE, 0, 0, 0),
        // New connection.
        step(LOAD_BYTE, 6, 0, 0),
        step(MODULO, live_slots.len(), 0, 0),
    ];
    for (index, slot) in live_slots.iter().enumerate() {
        program.push(step(IF_EQUAL, index, 0, 1));
        program.push(step(RETURN, *slot, 0, 0));
    }
    program.push(step(RETURN, first_live, 0, 0));
    Ok(program)
}

/// Attaches the program to the socket's whole group, in place of the one before.
fn attach(socket: &UdpSocket, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` names `program` with its true length, below u16::MAX by the bound on slots, and both live until
    // the call returns; the kernel copies and checks the program, and the option's length is that of `filter`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: u8 = 0x40;
    const LONG: u8 = 0xc0;

    /// A datagram with this flags byte and destination id, padded to what QUIC would send.
    fn datagram(flags: u8, id: &[u8]) -> Vec<u8> {
        let mut bytes = vec![flags];
        if flags & 0x80 != 0 {
            bytes.extend([0, 0, 0, 1, id.len() as u8]);
        }
        bytes.extend(id);
        bytes.resize(60, 0xee);
        bytes
    }

    /// Sends from a fresh socket, so that an address hash would spread, and tells which slot it arrived at.
    fn slot_of(sockets: &Sockets, bytes: &[u8]) -> usize {
        let ip = if sockets.address().is_ipv4() { "127.0.0.1" } else { "::1" };
        let stranger = UdpSocket::bind((ip, 0)).unwrap();
        stranger.send_to(bytes, sockets.address()).unwrap();
        let arrived = |socket: &UdpSocket| socket.recv(&mut [0; 128]).is_ok();
        let slots: Vec<usize> = (0..SOCKET_SLOTS).filter(|slot| arrived(&sockets.slots[*slot])).collect();
        assert_eq!(slots.len(), 1, "{slots:?}");
        slots[0]
    }

    fn check_steering(listen: &str) {
        let sockets = Sockets::bind(listen.parse().unwrap()).unwrap();
        assert_ne!(sockets.address().port(), 0);
        sockets.steer(&[3, 5]).unwrap();
        for first in [0, 7, 16, 200, 255] {
            let mut id = [0x55; CONNECTION_ID_BYTES];
            id[0] = first;
            assert_eq!(slot_of(&sockets, &datagram(SHORT, &id)), usize::from(first) % SOCKET_SLOTS);
            assert_eq!(slot_of(&sockets, &datagram(LONG, &id)), usize::from(first) % SOCKET_SLOTS);
            for other_len in [8, 20] {
                let new = datagram(LONG, &[first; 20][..other_len]);
                assert_eq!(slot_of(&sockets, &new), [3, 5][usize::from(first) % 2]);
            }
        }
        assert_eq!(slot_of(&sockets, &[LONG, 0, 0]), 3);
        sockets.steer(&[9]).unwrap();
        assert_eq!(slot_of(&sockets, &datagram(LONG, &[0; 8])), 9);
        sockets.steer(&(0..SOCKET_SLOTS).collect::<Vec<_>>()).unwrap();
        assert_eq!(slot_of(&sockets, &datagram(LONG, &[15; 8])), 15);
    }

    #[test]
    fn steers_over_ipv4() {
        check_steering("127.0.0.1:0");
    }

    #[test]
    fn steers_over_ipv6() {
        check_steering("[::1]:0");
    }

    #[test]
    fn sockets_that_were_handed_over_steer_as_before() {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = sockets.address();
        let copies = || sockets.all().into_iter().map(|socket| socket.try_clone_to_owned().unwrap()).collect::<Vec<_>>();
        let (mut fewer, mut other) = (copies(), copies());
        fewer.pop();
        other[3] = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        assert!(Sockets::adopt(fewer, address).is_none() && Sockets::adopt(other, address).is_none());
        assert!(Sockets::adopt(copies(), "127.0.0.1:1".parse().unwrap()).is_none());
        let adopted = Sockets::adopt(copies(), address).unwrap();
        drop(sockets);
        adopted.steer(&[4, 6]).unwrap();
        assert_eq!([0, 1].map(|first| slot_of(&adopted, &datagram(LONG, &[first; 8]))), [4, 6]);
        assert_eq!(slot_of(&adopted, &datagram(SHORT, &[9; CONNECTION_ID_BYTES])), 9);
    }

    #[test]
    fn sockets_that_were_handed_over_are_known_without_the_scope_of_their_link() {
        let sockets = Sockets::bind("[::1]:0".parse().unwrap()).unwrap();
        let SocketAddr::V6(mut other) = sockets.address() else { panic!("a V6 address") };
        other.set_scope_id(7);
        let copies = sockets.all().into_iter().map(|socket| socket.try_clone_to_owned().unwrap()).collect();
        assert!(Sockets::adopt(copies, other.into()).is_some());
    }

    #[test]
    fn a_port_in_use_is_seen() {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let sentence = Sockets::bind(sockets.address()).unwrap_err().to_string();
        assert!(sentence.contains("in use") && sentence.contains("--listen"), "{sentence}");
        let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(Sockets::bind(plain.local_addr().unwrap()), Err(BindError::InUse(_))));
        assert!(matches!(Sockets::bind("192.0.2.1:0".parse().unwrap()), Err(BindError::NotOurs(_))));
    }

    #[test]
    fn bad_slots_are_refused() {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(matches!(sockets.steer(&[]), Err(SteerError::NoneLive)));
        assert!(matches!(sockets.steer(&[1, 16]), Err(SteerError::NoSuchSlot(16))));
        assert!(sockets.buffers().receive > 0 && sockets.buffers().send > 0);
    }
}
