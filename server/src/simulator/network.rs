//! The network between simulated machines: it loses, doubles, reorders, delays and damages, all by one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;

use ringfort_protocol::driver::plain;

use super::Random;

/// How packets fare on their way, in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Share that is lost.
    pub loss: f64,
    /// Share that arrives twice.
    pub doubled: f64,
    /// The least time under way, in microseconds.
    pub delay_us: u64,
    /// Up to so much is added to each packet's time by itself, so packets overtake each other.
    pub jitter_us: u64,
    /// Share that arrives with some of its bits changed.
    pub damaged: f64,
}

impl Weather {
    /// Nothing is lost, and everything takes the same short time.
    pub const FAIR: Self = Self { loss: 0.0, doubled: 0.0, delay_us: 5_000, jitter_us: 0, damaged: 0.0 };
}

/// What is between the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams and control streams as they are; the streams arrive whole and in order, late when packets are lost. Damage
    /// reaches the decoders.
    Plain,
    /// QUIC's own packets. Damage is what its encryption is there for.
    Quic,
}

/// A packet that has arrived.
#[derive(Debug)]
pub struct Packet {
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it arrives.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// Packets and bytes that were given to the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of UDP payload, or of what would be in it.
    pub bytes: u64,
}

/// All packets under way.
pub struct Network {
    carrier: Carrier,
    random: Random,
    under_way: BinaryHeap<Reverse<(u64, u64)>>,
    packets: BTreeMap<u64, Packet>,
    number: u64,
    weather: BTreeMap<SocketAddr, Weather>,
    /// When the last packet of an ordered stream arrives.
    ordered: BTreeMap<(SocketAddr, SocketAddr), u64>,
    /// Of everything that was ever sent, in order.
    pub(super) trace: u64,
    /// By sender.
    pub(super) traffic: BTreeMap<SocketAddr, Traffic>,
    /// Packets to this address are kept, as they were sent.
    pub(super) recorded: Option<(SocketAddr, Vec<Vec<u8>>)>,
}

impl Network {
    pub(super) fn new(carrier: Carrier, random: Random) -> Self {
        Self {
            carrier,
            random,
            under_way: BinaryHeap::new(),
            packets: BTreeMap::new(),
            number: 0,
            weather: BTreeMap::new(),
            ordered: BTreeMap::new(),
            trace: 0,
            traffic: BTreeMap::new(),
            recorded: None,
        }
    }

    /// Sets how packets from and to a client fare from here on.
    pub(super) fn set_weather(&mut self, client: SocketAddr, weather: Weather) {
        self.weather.insert(client, weather);
    }

    /// When the next packet arrives.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse((at, _))| *at)
    }

    /// The next packet that has arrived by now.
    pub(super) fn arrived(&mut self, now_us: u64) -> Option<Packet> {
        let Reverse((_, number)) = *self.under_way.peek().filter(|Reverse((at, _))| *at <= now_us)?;
        self.under_way.pop();
        self.packets.remove(&number)
    }

    /// Takes a packet. `client` is the end that the weather goes by.
    pub(super) fn send(&mut self, now_us: u64, client: SocketAddr, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.note(now_us, from, to, bytes);
        let weather = self.weather.get(&client).copied().unwrap_or(Weather::FAIR);
        if self.carrier == Carrier::Plain && !plain::is_datagram(bytes) {
            return self.send_in_order(now_us, &weather, from, to, bytes);
        }
        let copies = if self.random.chance(weather.loss) { 0 } else { 1 + u32::from(self.random.chance(weather.doubled)) };
        for _ in 0..copies {
            let at = now_us + weather.delay_us + self.random.below(weather.jitter_us + 1);
            let bytes = self.damage(&weather, bytes);
            self.put(at, Packet { from, to, bytes });
        }
    }

    /// As a stream of QUIC comes out at its other end: whole, in order, and late when it had to be sent again.
    fn send_in_order(&mut self, now_us: u64, weather: &Weather, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let mut at = now_us + weather.delay_us + self.random.below(weather.jitter_us + 1);
        while self.random.chance(weather.loss.min(0.9)) {
            at += 2 * weather.delay_us + weather.jitter_us + 10_000;
        }
        let last = self.ordered.entry((from, to)).or_default();
        at = at.max(*last);
        *last = at;
        let bytes = self.damage(weather, bytes);
        self.put(at, Packet { from, to, bytes });
    }

    /// Bytes of a packet that stand for what QUIC would say in its own way.
    fn overhead(&self) -> usize {
        if self.carrier == Carrier::Plain { plain::HEADER_BYTES } else { 0 }
    }

    fn put(&mut self, at: u64, packet: Packet) {
        self.number += 1;
        self.under_way.push(Reverse((at, self.number)));
        self.packets.insert(self.number, packet);
    }

    /// Plain packets keep their header, which says what they are to the network and is no part of the wire.
    fn damage(&mut self, weather: &Weather, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let whole = self.overhead();
        if bytes.len() <= whole || !self.random.chance(weather.damaged) {
            return bytes;
        }
        for _ in 0..1 + self.random.below(4) {
            let at = whole + self.random.below((bytes.len() - whole) as u64) as usize;
            match self.random.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_within(at..),
                2 => bytes[at] = 0xff,
                _ => bytes[at] ^= 1 << self.random.below(8),
            }
            if bytes.len() <= whole {
                break;
            }
        }
        bytes
    }

    fn note(&mut self, now_us: u64, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let carried = (bytes.len() - self.overhead()) as u64;
        let traffic = self.traffic.entry(from).or_default();
        // A plain packet without content stands for what QUIC does by itself.
        traffic.packets += u64::from(carried > 0);
        traffic.bytes += carried;
        let words = bytes.chunks(8).map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        // What QUIC encrypts differs from run to run; how long it is does not.
        match self.carrier {
            Carrier::Plain => [now_us, u64::from(to.port())].into_iter().chain(words).for_each(|word| self.mix(word)),
            Carrier::Quic => self.mix(now_us),
        }
        if let Some((_, packets)) = self.recorded.as_mut().filter(|(address, _)| *address == to) {
            packets.push(bytes.to_vec());
        }
    }

    /// Adds to the trace, by which two runs are told apart.
    pub(super) fn mix(&mut self, word: u64) {
        self.trace = (self.trace.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
