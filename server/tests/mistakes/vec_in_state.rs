//! A state is made of columns, not of collections.

use ringfort::prelude::*;

#[derive(State)]
struct World {
    ents: Entities,
    scores: Vec<u32>,
}

fn main() {}
