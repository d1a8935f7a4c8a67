//! An index of nothing.

use ringfort::prelude::*;

#[derive(State)]
struct World {
    ents: Entities,
    grid: Grid,
}

fn main() {}
