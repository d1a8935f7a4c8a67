//! A coding that its field's type does not have.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
struct Health {
    #[q(angle, bits = 10)]
    hp: u8,
}

fn main() {}
