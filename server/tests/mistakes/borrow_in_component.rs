//! A component that borrows.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
struct Named<'a> {
    name: &'a u32,
}

fn main() {}
