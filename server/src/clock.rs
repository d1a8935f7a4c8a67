//! The two clocks that processes of one machine share.

use rustix::time::{ClockId, clock_gettime};

fn micros(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

/// Microseconds of CLOCK_MONOTONIC.
pub fn now_us() -> u64 {
    micros(ClockId::Monotonic)
}

/// Microseconds since 1970, for people.
pub fn wall_us() -> u64 {
    micros(ClockId::Realtime)
}

/// Microseconds of CLOCK_BOOTTIME, for uptimes.
pub fn boot_us() -> u64 {
    micros(ClockId::Boottime)
}
