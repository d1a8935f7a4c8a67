//! The socket under a hub: datagrams come in by batches (`recvmmsg`) and go out one by one.
//!
//! First and last stop of every message on the client's side. Nothing here knows QUIC's state; whoever owns an
//! endpoint feeds it from [`Udp::receive`] and hands its transmits to [`Link::send`]. The load generator's bare
//! baselines use it too, so that all measured programs share one packet pipeline.

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use ringfort_protocol::driver::Block;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits;

/// A non-blocking UDP socket with its receive buffers.
pub struct Udp {
    link: Link,
    buffers: Vec<u8>,
    block: Block,
}

/// The sending half: shared, so that an answer can go out while a batch is being handled.
pub struct Link {
    socket: UdpSocket,
    state: UdpSocketState,
    refused: Cell<u64>,
}

/// One datagram as the kernel delivered it.
pub struct Received {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses it was sent to.
    pub local_ip: Option<IpAddr>,
    /// Congestion marks of the IP header.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub data: BytesMut,
}

impl Udp {
    /// Binds a socket; port 0 lets the kernel choose.
    pub fn bind(address: SocketAddr) -> io::Result<Udp> {
        let socket = UdpSocket::bind(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        state.set_recv_buffer_size(UdpSockRef::from(&socket), limits::SOCKET_BUFFER_BYTES)?;
        state.set_send_buffer_size(UdpSockRef::from(&socket), limits::SOCKET_BUFFER_BYTES)?;
        Ok(Udp {
            link: Link { socket, state, refused: Cell::new(0) },
            buffers: vec![0; BATCH_SIZE * limits::RECEIVE_BUFFER_BYTES],
            block: Block::new(limits::RECEIVE_BLOCK_BYTES),
        })
    }

    /// The sending half.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Hands over what lies in the socket, at most [`limits::RECEIVE_BATCHES_MAX`] batches; returns how many datagrams.
    pub fn receive(&mut self, mut each: impl FnMut(&Link, Received)) -> io::Result<usize> {
        let mut count = 0;
        for _ in 0..limits::RECEIVE_BATCHES_MAX {
            let mut meta = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = self.buffers.chunks_exact_mut(limits::RECEIVE_BUFFER_BYTES);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let read = match self.link.recv(&mut slices, &mut meta) {
                Ok(read) => read,
                Err(error) if is_transient(&error) => break,
                Err(error) => return Err(error),
            };
            for (meta, slice) in meta.iter().zip(&slices).take(read) {
                for bytes in slice[..meta.len].chunks(meta.stride.max(1)) {
                    count += 1;
                    each(&self.link, received(&mut self.block, meta, bytes));
                }
            }
            if read < BATCH_SIZE {
                break;
            }
        }
        Ok(count)
    }

    /// Sleeps until the socket is readable or `timeout` has passed; `None` waits [`limits::WAIT_MAX`].
    /// Returns whether there is something to read.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.unwrap_or(limits::WAIT_MAX).min(limits::WAIT_MAX);
        let timespec = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let mut descriptors = [PollFd::new(&self.link.socket, PollFlags::IN)];
        match poll(&mut descriptors, Some(&timespec)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Link {
    /// Sends what `poll_transmit` wrote into `bytes`. A full socket drops it, as the network might: QUIC repairs
    /// what has to arrive, and the drop is counted.
    pub fn send(&self, transmit: &Transmit, bytes: &[u8]) {
        let sent = self.state.send(
            UdpSockRef::from(&self.socket),
            &quinn_udp::Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
                contents: &bytes[..transmit.size],
                segment_size: transmit.segment_size,
                src_ip: transmit.src_ip,
            },
        );
        if sent.is_err() {
            self.refused.set(self.refused.get() + 1);
        }
    }

    /// How many sends the full socket refused.
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn recv(&self, slices: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.state.recv(UdpSockRef::from(&self.socket), slices, meta)
    }
}

fn received(block: &mut Block, meta: &RecvMeta, bytes: &[u8]) -> Received {
    Received {
        from: meta.addr,
        local_ip: meta.dst_ip,
        ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
        data: block.cut(bytes),
    }
}

/// Nothing to read, or news of an earlier send (a port unreachable), which the QUIC time-outs judge better.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
