//! An index of a column that there is not.

use ringfort::prelude::*;

#[derive(State)]
struct World {
    ents: Entities,
    #[index(body.pos, cell = 8.0)]
    grid: Grid,
}

fn main() {}
