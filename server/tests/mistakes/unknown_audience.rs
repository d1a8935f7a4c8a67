//! #[sync] with an audience that there is not.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
struct Body {
    pos: Vec2,
}

#[derive(State)]
struct World {
    ents: Entities,
    #[sync(everyone)]
    body: Column<Body>,
}

fn main() {}
