//! Two rows of one column are borrowed by pair_mut.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
struct Body {
    mass: u32,
}

fn exchange(body: &mut Column<Body>, a: Entity, b: Entity) {
    let one = &mut body[a];
    let other = &mut body[b];
    std::mem::swap(one, other);
}

fn main() {}
