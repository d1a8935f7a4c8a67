//! What a peer may send: packets and bytes a second on a connection, and newcomers from an address.

use crate::bucket::{Bucket, Rate};

/// What a driver lets its peers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Packets of one connection; more are dropped before they are decrypted.
    pub packets: Rate,
    /// Their bytes.
    pub bytes: Rate,
    /// Packets dropped before the connection is closed with `Flooding`.
    pub excess: Rate,
    /// Handshakes from one address.
    pub handshakes: Rate,
    /// Connections of one address at one time.
    pub connections_per_address: u32,
    /// Addresses of this machine are not counted.
    pub exempt_loopback: bool,
}

impl Limits {
    /// None worth the name.
    pub const NONE: Limits = {
        let all = Rate { per_second: u32::MAX, burst: u32::MAX };
        Limits {
            packets: all,
            bytes: all,
            excess: all,
            handshakes: all,
            connections_per_address: u32::MAX,
            exempt_loopback: true,
        }
    };
}

/// What is left of a connection's limits.
pub(super) struct Meter {
    packets: Bucket,
    bytes: Bucket,
    excess: Bucket,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pass {
    /// It is taken in.
    Yes,
    /// As if the network had lost it: an honest peer sends less from here on.
    Dropped,
    /// So many were dropped that the peer is no honest one.
    Flood,
}

impl Meter {
    pub(super) fn new(limits: &Limits, now_us: u64) -> Meter {
        let full = |rate| Bucket::full(rate, now_us);
        Meter { packets: full(limits.packets), bytes: full(limits.bytes), excess: full(limits.excess) }
    }

    pub(super) fn packet(&mut self, limits: &Limits, now_us: u64, bytes: u32) -> Pass {
        if self.packets.take(limits.packets, now_us, 1) && self.bytes.take(limits.bytes, now_us, bytes) {
            Pass::Yes
        } else if self.excess.take(limits.excess, now_us, 1) {
            Pass::Dropped
        } else {
            Pass::Flood
        }
    }
}
