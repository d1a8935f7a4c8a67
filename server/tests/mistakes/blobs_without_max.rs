//! Texts of no greatest length.

use ringfort::prelude::*;

#[derive(State)]
struct World {
    ents: Entities,
    #[sync(all)]
    name: Blobs<str>,
}

fn main() {}
