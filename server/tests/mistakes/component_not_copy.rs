//! A component without Copy.

use ringfort::prelude::*;

#[derive(Component, Clone)]
struct Body {
    pos: Vec2,
}

fn main() {}
