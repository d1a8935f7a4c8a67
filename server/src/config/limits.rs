//! `[limits]`: what one client, and one address, may do.

use ringfort_protocol::bucket::Rate;
use ringfort_protocol::driver;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check_range};
use crate::limits::{CONNECTIONS_PER_ADDRESS_MAX, RATE_BYTES_BURST_MIN, RATE_MAX};

/// `[limits]`: field by field what the documented defaults say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// UDP packets of one client.
    pub packets: Rate,
    /// Their bytes.
    pub bytes: Rate,
    /// Control messages of one client.
    pub control: Rate,
    /// Commands of one client.
    pub commands: Rate,
    /// Joins of one connection.
    pub joins: Rate,
    /// What may be refused of the above before the connection is closed.
    pub excess: Rate,
    /// Handshakes from one address.
    pub handshakes: Rate,
    /// Connections of one address.
    pub connections: u32,
    /// Whether clients on this machine are exempt from the limits of addresses.
    pub exempt_loopback: bool,
}

/// The documented defaults.
pub const DEFAULT: Limits = Limits {
    packets: Rate { per_second: 600, burst: 1200 },
    bytes: Rate { per_second: 262_144, burst: 262_144 },
    control: Rate { per_second: 1000, burst: 1024 },
    commands: Rate { per_second: 120, burst: 240 },
    joins: Rate { per_second: 2, burst: 20 },
    excess: Rate { per_second: 20, burst: 1000 },
    handshakes: Rate { per_second: 100, burst: 400 },
    connections: 1000,
    exempt_loopback: true,
};

impl Default for Limits {
    fn default() -> Self {
        DEFAULT
    }
}

impl Limits {
    /// What the driver of a front-end is to look after.
    pub fn of_driver(&self) -> driver::Limits {
        driver::Limits {
            packets: self.packets,
            bytes: self.bytes,
            excess: self.excess,
            handshakes: self.handshakes,
            connections_per_address: self.connections,
            exempt_loopback: self.exempt_loopback,
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (per_second, burst, rate, burst_min) in [
            ("limits.packets.per_second", "limits.packets.burst", self.packets, 1),
            ("limits.bytes.per_second", "limits.bytes.burst", self.bytes, RATE_BYTES_BURST_MIN),
            ("limits.control.per_second", "limits.control.burst", self.control, 1),
            ("limits.commands.per_second", "limits.commands.burst", self.commands, 1),
            ("limits.joins.per_second", "limits.joins.burst", self.joins, 1),
            ("limits.excess.per_second", "limits.excess.burst", self.excess, 1),
            ("limits.handshakes.per_second", "limits.handshakes.burst", self.handshakes, 1),
        ] {
            check_range(per_second, rate.per_second, 1, RATE_MAX)?;
            check_range(burst, rate.burst, burst_min, RATE_MAX)?;
        }
        check_range("limits.connections", self.connections, 1, CONNECTIONS_PER_ADDRESS_MAX)
    }
}
