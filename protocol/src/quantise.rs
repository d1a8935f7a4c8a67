//! From numbers to codes of a fixed number of bits and back, the same on every machine.
//!
//! The arithmetic is done in `f64` with correctly rounded operations only. What was decoded encodes to the same code
//! again, so that a world that holds quantised values is exactly what the wire carries. NaN and infinity can't be
//! expressed by a range or an angle: they become the range's least value, and the angle 0.
//!
//! A range is divided into a whole number of equal steps, the number nearest to what its `step` asks for. So both of its
//! ends have a code of their own, and so has the zero in the middle of a symmetric one, though 0.01 is no binary fraction.

use crate::bits::bits_for;
use crate::schema::Coding;
use std::f64::consts::TAU;

/// Number of steps in a range; the codes are `0..=steps`.
pub(crate) const fn steps(min: f32, max: f32, step: f32) -> u64 {
    // Half is added and the rest cut off, as `round` would do; written out to be usable in constants.
    ((max as f64 - min as f64) / step as f64 + 0.5) as u64
}

/// Turns from which on an angle is taken for 0: an `f32` of that size has no direction left.
const TURNS_MAX: f64 = 1e9;

/// Bits of one `f32` in this coding.
pub(crate) const fn f32_bits(coding: Coding) -> u32 {
    match coding {
        Coding::Range { min, max, step } => bits_for(steps(min, max, step) + 1),
        Coding::Angle { bits } => bits as u32,
        Coding::Raw | Coding::Max(_) => 32,
    }
}

/// The code of `value`.
#[inline]
pub(crate) fn encode_f32(value: f32, coding: Coding) -> u64 {
    match coding {
        Coding::Range { min, max, step } => {
            if !value.is_finite() {
                return 0;
            }
            let (least, steps) = (f64::from(min), steps(min, max, step));
            let code = (f64::from(value) - least) * steps as f64 / (f64::from(max) - least);
            // The nearest: half is added and the rest cut off, as `round` is a call into the C library; by way of i64, which the
            // processor converts to in one instruction, and saturating.
            ((code + 0.5).max(0.0) as i64 as u64).min(steps)
        }
        Coding::Angle { bits } => {
            if !value.is_finite() {
                return 0;
            }
            let turns = f64::from(value) / TAU;
            let codes = turns * (1u64 << bits) as f64;
            // An angle of so many turns says nothing of a direction any more.
            if turns.abs() >= TURNS_MAX {
                return 0;
            }
            // The nearest, as above; whole turns are the bits above.
            (codes + 0.5f64.copysign(codes)) as i64 as u64 & ((1 << bits) - 1)
        }
        Coding::Raw | Coding::Max(_) => u64::from(value.to_bits()),
    }
}

/// The value of `code`, or nothing if no value has it. Angles come out in `-pi..pi`.
#[inline]
pub(crate) fn decode_f32(code: u64, coding: Coding) -> Option<f32> {
    match coding {
        Coding::Range { min, max, step } => {
            let (least, steps) = (f64::from(min), steps(min, max, step));
            let value = least + code as f64 * (f64::from(max) - least) / steps as f64;
            (code <= steps).then_some(value as f32)
        }
        Coding::Angle { bits } => {
            let codes = 1i64 << bits;
            let signed = if code as i64 >= codes / 2 { code as i64 - codes } else { code as i64 };
            Some((signed as f64 * (TAU / codes as f64)) as f32)
        }
        Coding::Raw | Coding::Max(_) => Some(f32::from_bits(code as u32)),
    }
}

/// Bits of an unsigned integer of `width` bits in this coding.
pub(crate) const fn unsigned_bits(width: u32, coding: Coding) -> u32 {
    match coding {
        Coding::Max(max) => {
            if max == u64::MAX {
                64
            } else {
                bits_for(max + 1)
            }
        }
        Coding::Raw | Coding::Range { .. } | Coding::Angle { .. } => width,
    }
}

/// `value`, no more than the coding can say.
#[inline]
pub(crate) fn clamp_unsigned(value: u64, coding: Coding) -> u64 {
    match coding {
        Coding::Max(max) => value.min(max),
        Coding::Raw | Coding::Range { .. } | Coding::Angle { .. } => value,
    }
}
