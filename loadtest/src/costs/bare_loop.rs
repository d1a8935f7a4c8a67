//! A QUIC endpoint in one loop over quinn-proto and nothing else: exact timers, no tick, no shared memory.
//!
//! The least that a server can be made of. As a server it is one of the two baselines; as a client it drives both.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event, ServerConfig,
};
use ringfort_client::udp::{Link, Received, Udp};

/// Datagrams of one connection that may leave in one segmented send, as quinn does it.
const SEGMENTS_MAX: usize = 10;

/// What a program built on the loop does with what arrives.
pub(crate) trait App {
    /// What it keeps for each connection.
    type Peer: Default;
    /// The handshake is done.
    fn connected(&mut self, _index: usize, _peer: &mut Self::Peer) {}
    /// A datagram has arrived; `Some` is sent back at once.
    fn datagram(&mut self, peer: &mut Self::Peer, bytes: &[u8]) -> Option<Bytes>;
    /// The connection is gone, or never came to be.
    fn lost(&mut self, _peer: &mut Self::Peer) {}
}

/// The endpoint, its socket and its connections.
pub(crate) struct BareLoop<A: App> {
    udp: Udp,
    endpoint: Endpoint,
    /// By `ConnectionHandle`, which quinn-proto uses again after a connection has drained.
    slots: Vec<Option<Box<Slot<A::Peer>>>>,
    dirty: Vec<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// What the timers' milliseconds are counted from.
    epoch: Instant,
    scratch: Vec<u8>,
}

struct Slot<P> {
    connection: Connection,
    peer: P,
    connected: bool,
    dirty: bool,
    armed: Option<Instant>,
}

impl<A: App> BareLoop<A> {
    /// An endpoint at `address`; with a `server` configuration it accepts whoever comes.
    pub(crate) fn bind(address: SocketAddr, server: Option<ServerConfig>) -> io::Result<BareLoop<A>> {
        Ok(BareLoop {
            udp: Udp::bind(address)?,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), server.map(Arc::new), true, None),
            slots: Vec::new(),
            dirty: Vec::new(),
            timers: BinaryHeap::new(),
            epoch: Instant::now(),
            scratch: Vec::with_capacity(64 * 1024),
        })
    }

    /// The address that it is bound to.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.link().local_addr()
    }

    /// Starts a connection and returns its index.
    pub(crate) fn connect(&mut self, config: ClientConfig, to: SocketAddr) -> Result<usize, ConnectError> {
        let (handle, connection) = self.endpoint.connect(Instant::now(), config, to, "localhost")?;
        self.insert(handle, connection);
        Ok(handle.0)
    }

    /// How many slots there are; indices below it may be given to [`BareLoop::send`].
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What the program keeps for connection `index`, when its handshake is done and it still lives.
    pub(crate) fn peer(&mut self, index: usize) -> Option<&mut A::Peer> {
        let slot = self.slots.get_mut(index)?.as_mut()?;
        slot.connected.then_some(&mut slot.peer)
    }

    /// Puts a datagram on its way; it leaves with the end of the next turn. Returns whether it was taken.
    pub(crate) fn send(&mut self, index: usize, bytes: Bytes) -> bool {
        let Some(Some(slot)) = self.slots.get_mut(index) else { return false };
        mark(&mut self.dirty, slot, index);
        slot.connected && slot.connection.datagrams().send(bytes, true).is_ok()
    }

    /// One turn: sends what is due, sleeps until a datagram, a timer or `until`, and handles what there is.
    pub(crate) fn turn(&mut self, app: &mut A, until: Instant) -> io::Result<()> {
        self.flush(app);
        let wake = self.timers.peek().map_or(until, |Reverse((at, _))| until.min(*at));
        self.udp.wait(Some(wake.saturating_duration_since(Instant::now())))?;
        self.receive()?;
        self.fire_timers(Instant::now());
        self.flush(app);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let BareLoop { udp, endpoint, slots, dirty, scratch, .. } = self;
        udp.receive(|link, datagram| {
            scratch.clear();
            let Received { from, local_ip, ecn, data } = datagram;
            match endpoint.handle(now, from, local_ip, ecn, data, scratch) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    if let Some(Some(slot)) = slots.get_mut(handle.0) {
                        slot.connection.handle_event(event);
                        mark(dirty, slot, handle.0);
                    }
                }
                Some(DatagramEvent::NewConnection(incoming)) => match endpoint.accept(incoming, now, scratch, None) {
                    Ok((handle, connection)) => occupy(slots, dirty, handle, connection),
                    Err(error) => {
                        if let Some(transmit) = error.response {
                            link.send(&transmit, scratch);
                        }
                    }
                },
                Some(DatagramEvent::Response(transmit)) => link.send(&transmit, scratch),
                None => {}
            }
        })?;
        Ok(())
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some(&Reverse((at, index))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(Some(slot)) = self.slots.get_mut(index) else { continue };
            // An entry that an earlier one replaced, or of a connection that had this slot before.
            if slot.armed != Some(at) {
                continue;
            }
            slot.armed = None;
            match slot.connection.poll_timeout() {
                // The deadline has moved since, so there is nothing to do but to look again then.
                Some(deadline) if deadline > now => arm(&mut self.timers, self.epoch, slot, index, deadline),
                Some(_) => {
                    slot.connection.handle_timeout(now);
                    mark(&mut self.dirty, slot, index);
                }
                None => {}
            }
        }
    }

    fn flush(&mut self, app: &mut A) {
        let now = Instant::now();
        // Handling a connection marks none, so the list may be taken out and put back for its memory.
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(Some(slot)) = self.slots.get_mut(index) else { continue };
            slot.dirty = false;
            let drained = poll_endpoint(&mut self.endpoint, index, &mut slot.connection);
            poll_app(app, index, slot);
            transmit(self.udp.link(), &mut slot.connection, now, &mut self.scratch);
            if drained {
                self.slots[index] = None;
            } else if let Some(deadline) = slot.connection.poll_timeout() {
                arm(&mut self.timers, self.epoch, slot, index, deadline);
            }
        }
        self.dirty = dirty;
    }

    fn insert(&mut self, handle: ConnectionHandle, connection: Connection) {
        occupy(&mut self.slots, &mut self.dirty, handle, connection);
    }
}

fn occupy<P: Default>(
    slots: &mut Vec<Option<Box<Slot<P>>>>,
    dirty: &mut Vec<usize>,
    handle: ConnectionHandle,
    connection: Connection,
) {
    if slots.len() <= handle.0 {
        slots.resize_with(handle.0 + 1, || None);
    }
    let slot =
        slots[handle.0].insert(Box::new(Slot { connection, peer: P::default(), connected: false, dirty: false, armed: None }));
    mark(dirty, slot, handle.0);
}

/// Wakes for `deadline` at the next whole millisecond, so that timers come in batches, as tokio's do. A later
/// deadline than the armed one needs no entry: the earlier wake-up finds it.
fn arm<P>(
    timers: &mut BinaryHeap<Reverse<(Instant, usize)>>,
    epoch: Instant,
    slot: &mut Slot<P>,
    index: usize,
    deadline: Instant,
) {
    // Rounded up to the nanosecond: an entry before its deadline would be found, and made, for ever.
    let millis = deadline.saturating_duration_since(epoch).as_nanos().div_ceil(1_000_000);
    let at = epoch + Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
    if slot.armed.is_none_or(|armed| at < armed) {
        slot.armed = Some(at);
        timers.push(Reverse((at, index)));
    }
}

fn mark<P>(dirty: &mut Vec<usize>, slot: &mut Slot<P>, index: usize) {
    if !slot.dirty {
        slot.dirty = true;
        dirty.push(index);
    }
}

/// Exchanges events between a connection and the endpoint; returns whether the connection may be forgotten.
fn poll_endpoint(endpoint: &mut Endpoint, index: usize, connection: &mut Connection) -> bool {
    let mut drained = false;
    while let Some(event) = connection.poll_endpoint_events() {
        drained |= event.is_drained();
        if let Some(event) = endpoint.handle_event(ConnectionHandle(index), event) {
            connection.handle_event(event);
        }
    }
    drained
}

fn poll_app<A: App>(app: &mut A, index: usize, slot: &mut Slot<A::Peer>) {
    while let Some(event) = slot.connection.poll() {
        match event {
            Event::Connected => {
                slot.connected = true;
                app.connected(index, &mut slot.peer);
            }
            Event::ConnectionLost { .. } => {
                slot.connected = false;
                app.lost(&mut slot.peer);
            }
            _ => {}
        }
    }
    while let Some(bytes) = slot.connection.datagrams().recv() {
        if let Some(answer) = app.datagram(&mut slot.peer, &bytes) {
            // A datagram that the connection refuses is lost, as on the wire.
            let _ = slot.connection.datagrams().send(answer, true);
        }
    }
}

fn transmit(link: &Link, connection: &mut Connection, now: Instant, scratch: &mut Vec<u8>) {
    loop {
        scratch.clear();
        match connection.poll_transmit(now, SEGMENTS_MAX, scratch) {
            Some(transmit) => link.send(&transmit, scratch),
            None => break,
        }
    }
}
