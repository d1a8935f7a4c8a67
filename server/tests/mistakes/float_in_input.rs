//! A float of an input could be NaN.

use ringfort::prelude::*;

#[derive(Input, Clone, Copy, Default)]
struct Stick {
    to: Vec2,
}

fn main() {}
