//! Clients cannot blend what they are not sent.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
struct Body {
    pos: Vec2,
}

#[derive(State)]
struct World {
    ents: Entities,
    #[interp(lerp)]
    body: Column<Body>,
}

fn main() {}
