//! Who comes from where: handshakes a second and connections at one time, for each source address.
//!
//! An address is an IPv4 address or an IPv6 network of 64 bits, which is what one customer of a network has. The table is
//! bounded; an address is forgotten when nothing is left that speaks against it.

use super::Limits;
use crate::bucket::{Bucket, Rate};
use crate::limits::{ADDRESS_LOOKS, MAX_ADDRESSES, PROOF_SHARE, STRANGERS_PER_HANDSHAKE};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// An address in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Origin(u128);

/// What becomes of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It may go on; the origin, if it was counted there, is to be released when the connection is forgotten.
    Admit(Option<Origin>),
    /// Only if the address is proven.
    Prove,
    /// Not now: the peer's next attempt may succeed.
    TooFast,
    /// The address has as many connections as it may have.
    TooMany,
}

/// All addresses that something is known of.
#[derive(Default)]
pub(super) struct Addresses {
    /// A map with a key of its own, so that nobody can choose addresses that collide.
    entries: HashMap<Origin, Entry>,
    /// The same, in the order in which they came or were last looked at in vain.
    order: VecDeque<Origin>,
}

struct Entry {
    handshakes: Bucket,
    /// Packets that belong to no connection yet.
    strangers: Bucket,
    open: u32,
}

impl Addresses {
    /// Whether a packet of no connection is worth looking at, or worth an answer.
    pub(super) fn hears_stranger(&mut self, limits: &Limits, ip: IpAddr, now_us: u64) -> bool {
        let Some(origin) = origin(limits, ip) else { return true };
        self.entry(limits, origin, now_us).is_some_and(|entry| entry.strangers.take(strangers(limits), now_us, 1))
    }

    /// Counts a handshake. One whose address is not proven may come from anybody: such ones cannot use up what an address has.
    pub(super) fn admit(&mut self, limits: &Limits, ip: IpAddr, proven: bool, now_us: u64) -> Verdict {
        let Some(origin) = origin(limits, ip) else { return Verdict::Admit(None) };
        let Some(entry) = self.entry(limits, origin, now_us) else { return Verdict::TooFast };
        if entry.open >= limits.connections_per_address {
            return Verdict::TooMany;
        }
        let reserve = if proven { 0 } else { limits.handshakes.burst / PROOF_SHARE };
        if !entry.handshakes.take_above(limits.handshakes, now_us, 1, reserve) {
            return if proven { Verdict::TooFast } else { Verdict::Prove };
        }
        entry.open += 1;
        Verdict::Admit(Some(origin))
    }

    /// A connection that was admitted is forgotten.
    pub(super) fn release(&mut self, origin: Option<Origin>) {
        if let Some(entry) = origin.and_then(|origin| self.entries.get_mut(&origin)) {
            entry.open = entry.open.saturating_sub(1);
        }
    }

    /// An address's entry; none when the table is full of addresses that are not to be forgotten.
    fn entry(&mut self, limits: &Limits, origin: Origin, now_us: u64) -> Option<&mut Entry> {
        if !self.entries.contains_key(&origin) {
            if self.entries.len() >= MAX_ADDRESSES && !self.forget_one(limits, now_us) {
                return None;
            }
            let (handshakes, strangers) = (Bucket::full(limits.handshakes, now_us), Bucket::full(strangers(limits), now_us));
            self.entries.insert(origin, Entry { handshakes, strangers, open: 0 });
            self.order.push_back(origin);
        }
        self.entries.get_mut(&origin)
    }

    /// Forgets the oldest address without connections whose buckets are full: it would begin with the same.
    fn forget_one(&mut self, limits: &Limits, now_us: u64) -> bool {
        for _ in 0..ADDRESS_LOOKS {
            let Some(oldest) = self.order.pop_front() else { return false };
            let idle = |entry: &mut Entry| {
                entry.open == 0
                    && entry.handshakes.is_full(limits.handshakes, now_us)
                    && entry.strangers.is_full(strangers(limits), now_us)
            };
            if self.entries.get_mut(&oldest).is_none_or(idle) {
                self.entries.remove(&oldest);
                return true;
            }
            self.order.push_back(oldest);
        }
        false
    }
}

/// Packets of no connection: enough for the handshakes that there may be.
fn strangers(limits: &Limits) -> Rate {
    let Rate { per_second, burst } = limits.handshakes;
    Rate { per_second: per_second.saturating_mul(STRANGERS_PER_HANDSHAKE), burst: burst.saturating_mul(STRANGERS_PER_HANDSHAKE) }
}

/// Where an address is counted; nowhere when it is exempt or there is no limit.
fn origin(limits: &Limits, ip: IpAddr) -> Option<Origin> {
    let ip = ip.to_canonical();
    if limits.handshakes == Limits::NONE.handshakes || limits.exempt_loopback && ip.is_loopback() {
        return None;
    }
    Some(Origin(match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
    }))
}

#[cfg(test)]
mod tests;
