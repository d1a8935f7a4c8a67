//! An enum in the world says how it is stored.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
enum Phase {
    Play,
    Over,
}

fn main() {}
