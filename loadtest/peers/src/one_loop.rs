//! A QUIC endpoint in one loop over quinn-proto and nothing else: no game, no shared memory.
//!
//! The least that a server can be made of. As a server it is a peer; as a client it drives the echo peers. Its timers are stock, or
//! rounded to the tick as Ringfort's are ([`Timers`]).

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

use crate::Timers;
use crate::limits::{SCRATCH_BYTES, SEGMENTS_MAX};

/// What a program built on the loop does with what arrives.
pub trait App {
    /// What it keeps for each connection.
    type Peer: Default;
    /// The handshake is done.
    fn connected(&mut self, _peer: &mut Self::Peer) {}
    /// A datagram has arrived.
    fn datagram(&mut self, now: Instant, peer: &mut Self::Peer, bytes: &[u8]);
    /// The connection is gone, or never came to be.
    fn lost(&mut self, _peer: &mut Self::Peer) {}
}

/// UDP packets that an endpoint has sent and received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Left it.
    pub sent: u64,
    /// Came to it.
    pub received: u64,
}

/// The endpoint, its socket and its connections.
pub struct OneLoop<A: App> {
    timing: Timers,
    packets: Packets,
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
    /// It has begun to send datagrams, so its timers may wait for the next.
    paced: bool,
    dirty: bool,
    armed: Option<Instant>,
}

impl<A: App> OneLoop<A> {
    /// An endpoint at `address`; with a `server` configuration it accepts whoever comes.
    pub fn bind(address: SocketAddr, server: Option<ServerConfig>, timing: Timers) -> io::Result<OneLoop<A>> {
        Ok(OneLoop {
            timing,
            packets: Packets::default(),
            udp: Udp::bind(address)?,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), server.map(Arc::new), true, None),
            slots: Vec::new(),
            dirty: Vec::new(),
            timers: BinaryHeap::new(),
            epoch: Instant::now(),
            scratch: Vec::with_capacity(SCRATCH_BYTES),
        })
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.link().local_addr()
    }

    /// UDP packets so far.
    pub fn packets(&self) -> Packets {
        self.packets
    }

    /// Starts a connection and returns its index.
    pub fn connect(&mut self, config: ClientConfig, to: SocketAddr) -> Result<usize, ConnectError> {
        let (handle, connection) = self.endpoint.connect(Instant::now(), config, to, "localhost")?;
        occupy(&mut self.slots, &mut self.dirty, handle, connection);
        Ok(handle.0)
    }

    /// How many slots there are; indices below it may be given to [`OneLoop::send`].
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What the program keeps for connection `index`, when its handshake is done and it still lives.
    pub fn peer(&mut self, index: usize) -> Option<&mut A::Peer> {
        let slot = self.slots.get_mut(index)?.as_mut()?;
        slot.connected.then_some(&mut slot.peer)
    }

    /// Puts a datagram on its way; it leaves with the end of the next turn. Returns whether it was taken.
    pub fn send(&mut self, index: usize, bytes: Bytes) -> bool {
        let Some(Some(slot)) = self.slots.get_mut(index) else { return false };
        slot.paced = slot.connected;
        mark(&mut self.dirty, slot, index);
        slot.connected && slot.connection.datagrams().send(bytes, true).is_ok()
    }

    /// One turn: sends what is due, sleeps until a datagram, a timer or `until`, and handles what there is.
    pub fn turn(&mut self, app: &mut A, until: Instant) -> io::Result<()> {
        self.flush(app);
        let wake = self.timers.peek().map_or(until, |Reverse((at, _))| until.min(*at));
        self.udp.wait(Some(wake.saturating_duration_since(Instant::now())))?;
        self.receive(app)?;
        self.fire_timers(Instant::now());
        self.flush(app);
        Ok(())
    }

    fn receive(&mut self, app: &mut A) -> io::Result<()> {
        let now = Instant::now();
        let OneLoop { timing, packets, udp, endpoint, slots, dirty, timers, epoch, scratch } = self;
        let received = udp.receive(|link, datagram| {
            scratch.clear();
            let Received { from, local_ip, ecn, data } = datagram;
            match endpoint.handle(now, from, local_ip, ecn, data, scratch) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    let Some(Some(slot)) = slots.get_mut(handle.0) else { return };
                    slot.connection.handle_event(event);
                    if !timing.waits(slot.paced) {
                        return mark(dirty, slot, handle.0);
                    }
                    poll_app(app, slot);
                    if !slot.connected {
                        mark(dirty, slot, handle.0);
                    } else if let Some(deadline) = slot.connection.poll_timeout() {
                        arm(timers, *epoch, slot, handle.0, timing.latest(deadline, true));
                    }
                }
                Some(DatagramEvent::NewConnection(incoming)) => match endpoint.accept(incoming, now, scratch, None) {
                    Ok((handle, connection)) => occupy(slots, dirty, handle, connection),
                    Err(error) => {
                        if let Some(transmit) = error.response {
                            packets.sent += 1;
                            link.send(&transmit, scratch);
                        }
                    }
                },
                Some(DatagramEvent::Response(transmit)) => {
                    packets.sent += 1;
                    link.send(&transmit, scratch);
                }
                None => {}
            }
        })?;
        packets.received += received as u64;
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
            let Some(deadline) = slot.connection.poll_timeout() else { continue };
            let latest = self.timing.latest(deadline, slot.paced);
            if latest > now {
                // The deadline has moved since, so there is nothing to do but to look again then.
                arm(&mut self.timers, self.epoch, slot, index, latest);
            } else {
                slot.connection.handle_timeout(now);
                mark(&mut self.dirty, slot, index);
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
            poll_app(app, slot);
            self.packets.sent += transmit(self.udp.link(), &mut slot.connection, now, &mut self.scratch);
            if self.timing.waits(slot.paced) && slot.connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
                // What was due has left by now, mostly; the rest is what the timer is about.
                slot.connection.handle_timeout(now);
                self.packets.sent += transmit(self.udp.link(), &mut slot.connection, now, &mut self.scratch);
            }
            if drained {
                self.slots[index] = None;
            } else if let Some(deadline) = slot.connection.poll_timeout() {
                arm(&mut self.timers, self.epoch, slot, index, self.timing.latest(deadline, slot.paced));
            }
        }
        self.dirty = dirty;
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
    let slot = Slot { connection, peer: P::default(), connected: false, paced: false, dirty: false, armed: None };
    mark(dirty, slots[handle.0].insert(Box::new(slot)), handle.0);
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

fn poll_app<A: App>(app: &mut A, slot: &mut Slot<A::Peer>) {
    while let Some(event) = slot.connection.poll() {
        match event {
            Event::Connected => {
                slot.connected = true;
                app.connected(&mut slot.peer);
            }
            Event::ConnectionLost { .. } => {
                slot.connected = false;
                app.lost(&mut slot.peer);
            }
            _ => {}
        }
    }
    while let Some(bytes) = slot.connection.datagrams().recv() {
        app.datagram(Instant::now(), &mut slot.peer, &bytes);
    }
}

/// Sends what the connection has to send; returns how many packets that was.
fn transmit(link: &Link, connection: &mut Connection, now: Instant, scratch: &mut Vec<u8>) -> u64 {
    let mut packets = 0;
    loop {
        scratch.clear();
        let Some(transmit) = connection.poll_transmit(now, SEGMENTS_MAX, scratch) else { return packets };
        packets += transmit.segment_size.map_or(1, |segment| transmit.size.div_ceil(segment)) as u64;
        link.send(&transmit, scratch);
    }
}

#[cfg(test)]
mod tests;
