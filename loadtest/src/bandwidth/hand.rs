//! The least that the fields take at the game's precision, packed by hand: each in as many bits as it has steps, and nothing that
//! says of whom, of what, or when.

/// A position: 512 m in steps of a centimetre on each axis.
const POSITION: u32 = 2 * width(51_200);
/// A velocity: 32 m/s in steps of 0.05 on each axis.
const VELOCITY: u32 = 2 * width(640);
/// A direction: a turn in 1024 parts.
const AIM: u32 = width(1023);
const HEALTH: u32 = width(100);
const AMMO: u32 = width(30);
const SCORE: u32 = 2 * u16::BITS;

/// Bits of each component, in the order of the crowd's.
const COMPONENTS: [u32; 4] = [POSITION + VELOCITY + AIM, HEALTH, AMMO, SCORE];

/// Bits of the components in `mask`.
pub(super) fn bits(mask: u32) -> u64 {
    COMPONENTS.iter().enumerate().map(|(at, bits)| u64::from(mask >> at & 1) * u64::from(*bits)).sum()
}

/// Bits that hold every number up to `greatest`.
const fn width(greatest: u32) -> u32 {
    u32::BITS - greatest.leading_zeros()
}
