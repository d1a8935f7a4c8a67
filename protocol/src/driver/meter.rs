//! What a peer may send: packets and bytes a second on a connection, and newcomers from an address.

use crate::bucket::{Bucket, Rate};
use crate::limits::{FOREIGN_PACKETS, WITNESS_SHARE};

/// What a driver lets its peers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Packets of one connection; more are dropped before they are decrypted.
    pub packets: Rate,
    /// Their bytes.
    pub bytes: Rate,
    /// Packets above them before the connection is closed with `Flooding`; only what is known to be the peer's own counts.
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
///
/// A packet says nothing of its sender before it is decrypted: whoever has seen a connection's id can send junk by it, also under the
/// peer's address. So packets above the limits are dropped and cost the peer nothing but themselves; one of [`WITNESS_SHARE`] is decrypted all
/// the same, and only what turns out to be the peer's own speaks against it.
pub(super) struct Meter {
    packets: Bucket,
    bytes: Bucket,
    excess: Bucket,
    /// What is known to be the peer's own: those taken in, and for each witness as many as it stands for.
    own_packets: Bucket,
    own_bytes: Bucket,
    /// Packets from other addresses than the peer's.
    foreign: Bucket,
    /// Packets above the limits.
    above: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pass {
    /// It is taken in.
    Yes,
    /// As if the network had lost it: an honest peer sends less from here on.
    Dropped,
    /// It is above the limits and is looked into to see whose it is.
    Witness,
}

impl Meter {
    pub(super) fn new(limits: &Limits, now_us: u64) -> Meter {
        let full = |rate| Bucket::full(rate, now_us);
        Meter {
            packets: full(limits.packets),
            bytes: full(limits.bytes),
            excess: full(limits.excess),
            own_packets: full(limits.packets),
            own_bytes: full(limits.bytes),
            foreign: full(FOREIGN_PACKETS),
            above: 0,
        }
    }

    /// A packet that names the connection, from the address that its peer has or from another.
    pub(super) fn packet(&mut self, limits: &Limits, from_peer: bool, now_us: u64, bytes: u32) -> Pass {
        if !from_peer {
            // A peer whose address changes is known by its first packet from the new one.
            return if self.foreign.take(FOREIGN_PACKETS, now_us, 1) { Pass::Yes } else { Pass::Dropped };
        }
        if self.packets.take(limits.packets, now_us, 1) && self.bytes.take(limits.bytes, now_us, bytes) {
            return Pass::Yes;
        }
        self.above = self.above.wrapping_add(1);
        if self.above.is_multiple_of(WITNESS_SHARE) { Pass::Witness } else { Pass::Dropped }
    }

    /// A packet was the peer's own; a witness stands for those that were dropped, of which as large a share is the peer's. `false` when the peer
    /// has sent too many itself.
    pub(super) fn testify(&mut self, limits: &Limits, pass: Pass, now_us: u64, bytes: u32) -> bool {
        let stands_for = if pass == Pass::Witness { WITNESS_SHARE } else { 1 };
        let packets = self.own_packets.take(limits.packets, now_us, stands_for);
        let bytes = self.own_bytes.take(limits.bytes, now_us, bytes.saturating_mul(stands_for));
        pass != Pass::Witness || (packets && bytes) || self.excess.take(limits.excess, now_us, WITNESS_SHARE)
    }
}
