//! An input that does not fit its 32 bytes.

use ringfort::prelude::*;

#[derive(Input, Clone, Copy, Default)]
struct Everything {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u8,
}

fn main() {}
