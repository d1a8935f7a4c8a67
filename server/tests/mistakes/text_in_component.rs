//! A text has no place in a row.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
struct Named {
    name: &'static str,
}

fn main() {}
