//! One connection: its datagrams, its control stream, its end.

use super::addresses::Origin;
use super::link::{self, Link};
use super::meter::Meter;
use super::rounding::Rounding;
use super::{Closed, ConnId, DriverStats};
use crate::codec::{self, EncodeError};
use crate::control::Code;
use crate::limits::{MAX_CONTROL_BACKLOG, MAX_REASON_BYTES, MAX_STRAY_STREAMS, MESSAGE_BYTES_KEPT};
use bytes::Bytes;
use quinn_proto::{ConnectionEvent, Dir, ReadError, Side, StreamEvent, StreamId};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

/// Why a datagram was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// It is longer than [`Conn::max_datagram`].
    #[error("the datagram is longer than the connection allows")]
    TooLong,
    /// The handshake isn't done, the connection is over, or the peer takes no datagrams.
    #[error("the connection takes no datagrams now")]
    NotReady,
}

/// Why a control message was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// It can't be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The peer has not read [`MAX_CONTROL_BACKLOG`] bytes: the connection is being closed with `Flooding`.
    #[error("the peer doesn't read what it is sent")]
    Backlog,
    /// The connection is over.
    #[error("the connection is over")]
    Closed,
}

/// A connection and the application's state for it.
pub struct Conn<T> {
    /// The application's.
    pub app: T,
    pub(super) link: Link,
    /// Whether it stands in the driver's list.
    pub(super) dirty: bool,
    /// The millisecond of the wheel in which its timer stands; 0 if in none.
    pub(super) armed: u64,
    pub(super) rounding: Rounding,
    /// Something of ours is to leave, and what QUIC has to say along with it.
    pub(super) outbound: bool,
    /// Since when it has had something to say that waits for a datagram: QUIC sets no timer for what it means to say at once.
    pub(super) waits_since: Option<Instant>,
    /// What is left of what its peer may send.
    pub(super) meter: Meter,
    /// The address that it is counted for.
    pub(super) origin: Option<Origin>,
    id: ConnId,
    connected: bool,
    /// Set when the application, or a bound, wants it closed; taken by the next poll.
    closing: Option<(Code, Bytes)>,
    over: bool,
    stream: Option<StreamId>,
    pub(super) readable: bool,
    /// The peer has written its last.
    ended: bool,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// How much of `outgoing` the stream has taken.
    written: usize,
    /// What is in `outgoing` leaves at once.
    urgent: bool,
    backlog_overflow: bool,
    stray_streams: u32,
    /// Frames that were received, as of the last packet.
    frames: u64,
}

/// What a connection has to say.
pub(super) enum Event {
    Connected,
    Datagram(Bytes),
    Frames(Frames),
    Closed(Closed),
}

/// Bytes of the control stream with at least one whole frame, or one that is too long.
pub(super) struct Frames(Vec<u8>);

/// What is left of them, and whether it can still become a frame.
pub(super) struct Rest {
    bytes: Vec<u8>,
    sound: bool,
}

/// The peer took its control stream back.
struct StreamReset;

impl<T> Conn<T> {
    pub(super) fn new(id: ConnId, link: Link, app: T, meter: Meter, origin: Option<Origin>) -> Conn<T> {
        Conn {
            app,
            link,
            dirty: false,
            armed: 0,
            rounding: Rounding::default(),
            outbound: false,
            waits_since: None,
            meter,
            origin,
            id,
            connected: false,
            closing: None,
            over: false,
            stream: None,
            readable: false,
            ended: false,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            urgent: false,
            backlog_overflow: false,
            stray_streams: 0,
            frames: 0,
        }
    }

    /// Its name in the driver.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The peer's address, which may change.
    pub fn remote(&self) -> SocketAddr {
        self.link.remote()
    }

    /// Whether neither end has closed it.
    pub fn is_open(&self) -> bool {
        !self.over && self.closing.is_none()
    }

    /// Whether its handshake was ever done.
    pub fn was_connected(&self) -> bool {
        self.connected
    }

    /// quinn's estimate of the round trip, acknowledgement delays left out.
    pub fn rtt(&self) -> Duration {
        self.link.rtt()
    }

    /// quinn's counters.
    pub fn stats(&self) -> quinn_proto::ConnectionStats {
        self.link.stats()
    }

    /// Packets of the connection that have arrived, whatever was in them.
    pub fn packets_received(&self) -> u64 {
        self.link.packets_received()
    }

    /// Lets QUIC's own messages and timers wait for our datagrams, of which one leaves about every `period`. Only for a peer that has said that
    /// it does the same. Said again, it changes the period.
    pub fn round_timers(&mut self, period: Duration) {
        if self.link.quic().is_some() {
            self.rounding.begin(period);
        }
    }

    /// Says whether something reliable of ours is unacknowledged: timers are exact for as long, so that it is repaired soon if it is lost.
    pub fn repair_soon(&mut self, soon: bool) {
        self.rounding.suspend(soon);
    }

    /// Gives QUIC its exact timers back, as at the beginning. What has waited leaves when it is due, or was due.
    pub fn exact_timers(&mut self) {
        self.rounding.end();
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self) {
        if self.is_open() {
            self.outbound = true;
            self.link.ping();
        }
    }

    /// Bytes of the longest datagram that [`Conn::send_datagram`] takes; 0 if none.
    pub fn max_datagram(&mut self) -> usize {
        if self.connected && self.is_open() { self.link.max_datagram() } else { 0 }
    }

    /// Queues a datagram. If the network is slower than we are, the oldest queued ones are dropped: they are stale.
    pub fn send_datagram(&mut self, bytes: Bytes) -> Result<(), SendError> {
        if !self.connected || !self.is_open() {
            return Err(SendError::NotReady);
        }
        self.outbound = true;
        self.link.send_datagram(bytes).map_err(|error| match error {
            quinn_proto::SendDatagramError::TooLarge => SendError::TooLong,
            _ => SendError::NotReady,
        })
    }

    /// Writes a message to the control stream; before the handshake is done it waits.
    pub fn send_control<M: Serialize>(&mut self, message: &M) -> Result<(), WriteError> {
        if !self.is_open() {
            return Err(WriteError::Closed);
        }
        codec::encode_frame(message, &mut self.outgoing)?;
        self.urgent = true;
        self.check_backlog()
    }

    /// Writes a frame that is encoded already (see [`codec::encode_frame`]), for what many are sent.
    pub fn write_control(&mut self, frame: &[u8]) -> Result<(), WriteError> {
        if !self.is_open() {
            return Err(WriteError::Closed);
        }
        self.urgent = true;
        self.add_control(frame)
    }

    /// As [`Conn::write_control`], but where timers wait for datagrams this waits, too: for what is no hurry.
    pub fn add_control(&mut self, frame: &[u8]) -> Result<(), WriteError> {
        if !self.is_open() {
            return Err(WriteError::Closed);
        }
        self.outgoing.extend_from_slice(frame);
        self.check_backlog()
    }

    /// Closes the connection with the next poll. Control messages that the peer does not have by then are lost, so the
    /// reason, cut to [`MAX_REASON_BYTES`], should say all.
    pub fn close(&mut self, code: Code, reason: &str) {
        if self.is_open() {
            let fits = |length: &usize| reason.is_char_boundary(*length);
            let length = (0..=reason.len().min(MAX_REASON_BYTES)).rev().find(fits).unwrap_or(0);
            self.outbound = true;
            self.closing = Some((code, Bytes::copy_from_slice(&reason.as_bytes()[..length])));
        }
    }

    /// Takes in a packet. `false` if it brought nothing: it could not be decrypted, or was here before.
    pub(super) fn take_packet(&mut self, event: ConnectionEvent) -> bool {
        let Some(quic) = self.link.quic() else { return false };
        quic.handle_event(event);
        let frames = link::frames(&quic.stats().frame_rx);
        std::mem::replace(&mut self.frames, frames) != frames
    }

    /// Whether what there is to send is sent now: it is something of ours, or timers are exact.
    #[inline]
    pub(super) fn may_transmit(&self) -> bool {
        self.rounding.is_exact() || self.outbound || self.over
    }

    /// When its next timer is due and how much later it may go off.
    #[inline]
    pub(super) fn next_timeout(&mut self) -> Option<Instant> {
        let due = self.link.poll_timeout().into_iter().chain(self.waits_since).min()?;
        Some(due + self.rounding.slack())
    }

    pub(super) fn make_dirty(&mut self, dirty: &mut Vec<u32>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(self.id.index);
        }
    }

    /// The next thing to tell the application; what needs no telling is done here.
    pub(super) fn next_event(&mut self, max_frame: usize, stats: &mut DriverStats) -> Option<Event> {
        loop {
            if self.is_open() {
                if let Some(bytes) = self.link.receive_datagram() {
                    return Some(Event::Datagram(bytes));
                }
                if let Some(frames) = self.read_control(max_frame, stats) {
                    return Some(Event::Frames(frames));
                }
            }
            match self.link.poll()? {
                quinn_proto::Event::Connected => {
                    self.connected = true;
                    if let Some(quic) = self.link.quic().filter(|quic| quic.side() == Side::Client) {
                        self.stream = quic.streams().open(Dir::Bi);
                    }
                    return Some(Event::Connected);
                }
                quinn_proto::Event::ConnectionLost { reason } if !self.over => {
                    self.over = true;
                    return Some(Event::Closed(reason.into()));
                }
                quinn_proto::Event::Stream(event) => self.stream_event(event, stats),
                // Datagrams are looked for at every turn.
                _ => {}
            }
        }
    }

    /// Carries out a close that was asked for.
    pub(super) fn take_close(&mut self, now: Instant) -> Option<Closed> {
        let (code, reason) = self.closing.take()?;
        if self.over {
            return None;
        }
        self.over = true;
        self.link.close(now, code.into(), reason);
        Some(Closed::ByUs(code))
    }

    /// Gives the control stream as much as it takes.
    pub(super) fn flush_control(&mut self, stats: &mut DriverStats) {
        if self.backlog_overflow {
            self.backlog_overflow = false;
            stats.backlog_overflow += 1;
        }
        if !self.is_open() {
            return;
        }
        while self.written < self.outgoing.len() {
            match self.link.write_stream(self.stream, &self.outgoing[self.written..]) {
                Ok(bytes) => {
                    self.written += bytes;
                    self.outbound |= self.urgent;
                }
                Err(quinn_proto::WriteError::Blocked) => break,
                Err(_) => return self.bad_control(stats, "the control stream was stopped"),
            }
        }
        if self.written == self.outgoing.len() {
            self.outgoing.clear();
            // The welcome is the longest by far, and comes once.
            self.outgoing.shrink_to(MESSAGE_BYTES_KEPT);
            (self.written, self.urgent) = (0, false);
        }
    }

    /// Takes back what is not a whole frame yet.
    pub(super) fn return_frames(&mut self, rest: Rest, stats: &mut DriverStats) {
        self.incoming = rest.bytes;
        self.incoming.shrink_to(MESSAGE_BYTES_KEPT);
        // There may be more in the stream than was read.
        self.readable = true;
        if !rest.sound {
            self.bad_control(stats, "a control message is too long");
        }
    }

    fn check_backlog(&mut self) -> Result<(), WriteError> {
        if self.outgoing.len() - self.written <= MAX_CONTROL_BACKLOG {
            return Ok(());
        }
        self.backlog_overflow = true;
        self.close(Code::Flooding, "control messages are not read");
        Err(WriteError::Backlog)
    }

    fn stream_event(&mut self, event: StreamEvent, stats: &mut DriverStats) {
        match event {
            StreamEvent::Opened { dir } => {
                while let Some(id) = self.link.quic().and_then(|quic| quic.streams().accept(dir)) {
                    self.opened(id, stats);
                }
            }
            StreamEvent::Readable { id } if Some(id) == self.stream => self.readable = true,
            StreamEvent::Stopped { id, .. } if Some(id) == self.stream => {
                self.bad_control(stats, "the control stream was stopped");
            }
            // A stream that can be written to again is written to at every turn.
            _ => {}
        }
    }

    /// The first bidirectional stream is the control stream; there are no others.
    fn opened(&mut self, id: StreamId, stats: &mut DriverStats) {
        let Some(quic) = self.link.quic() else { return };
        if id.dir() == Dir::Bi && self.stream.is_none() && quic.side() == Side::Server {
            self.stream = Some(id);
            self.readable = true;
            return;
        }
        stats.stray_streams += 1;
        self.stray_streams += 1;
        // A stream that is closed already needs neither.
        let _ = quic.recv_stream(id).stop(Code::StrayStream.into());
        if id.dir() == Dir::Bi {
            let _ = quic.send_stream(id).reset(Code::StrayStream.into());
        }
        if self.stray_streams > MAX_STRAY_STREAMS {
            self.close(Code::Flooding, "too many streams");
        }
    }

    /// Reads until there is a whole frame, or nothing more.
    fn read_control(&mut self, max_frame: usize, stats: &mut DriverStats) -> Option<Frames> {
        if !self.readable {
            return None;
        }
        self.readable = false;
        if self.read_stream(codec::FRAME_HEADER_BYTES + max_frame).is_err() {
            self.bad_control(stats, "the control stream was reset");
            return None;
        }
        match codec::split_frame(&self.incoming, max_frame) {
            Ok(None) => {
                if self.ended {
                    stats.cut_frames += u64::from(!self.incoming.is_empty());
                    self.close(Code::Left, "the control stream has ended");
                }
                None
            }
            Ok(Some(_)) | Err(_) => Some(Frames(std::mem::take(&mut self.incoming))),
        }
    }

    /// Fills `incoming` up to `room` bytes.
    fn read_stream(&mut self, room: usize) -> Result<(), StreamReset> {
        #[cfg(feature = "plain")]
        if let Link::Plain(plain) = &mut self.link {
            plain.read_stream(&mut self.incoming, room);
            return Ok(());
        }
        let (Some(stream), Some(quic)) = (self.stream, self.link.quic()) else { return Ok(()) };
        let mut receive = quic.recv_stream(stream);
        // A stream that was read to its end is no longer there.
        let Ok(mut chunks) = receive.read(true) else { return Ok(()) };
        while self.incoming.len() < room {
            match chunks.next(room - self.incoming.len()) {
                Ok(Some(chunk)) => self.incoming.extend_from_slice(&chunk.bytes),
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(_)) => return Err(StreamReset),
            }
        }
        // The poll that follows transmits whatever window update this calls for.
        let _ = chunks.finalize();
        Ok(())
    }

    fn bad_control(&mut self, stats: &mut DriverStats, reason: &str) {
        stats.bad_control += 1;
        self.close(Code::BadMessage, reason);
    }
}

impl Frames {
    /// Hands out the bodies of all whole frames, for as long as `each` wants more.
    pub(super) fn each(self, max_frame: usize, mut each: impl FnMut(&[u8]) -> bool) -> Rest {
        let Frames(mut bytes) = self;
        let (mut at, mut sound) = (0, true);
        loop {
            match codec::split_frame(&bytes[at..], max_frame) {
                Ok(Some((body, length))) => {
                    at += length;
                    if !each(body) {
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    sound = false;
                    break;
                }
            }
        }
        bytes.drain(..at);
        Rest { bytes, sound }
    }
}
