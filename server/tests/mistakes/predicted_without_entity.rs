//! A predicted event belongs to the owner of its first entity.

use ringfort::prelude::*;

#[derive(Message, Clone, Copy)]
enum Event {
    #[predicted]
    Shot { aim: u8 },
}

fn main() {}
