//! A game that leads its match: it has a doorkeeper, a host who shuts the door, and a sign outside.

use ringfort::prelude::*;

/// Who is in.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct Guests {
    /// How many.
    pub count: u32,
}

/// The world.
#[derive(State)]
pub struct Club {
    /// Seen by everybody.
    #[sync(all)]
    pub guests: Global<Guests>,
}

/// Nobody does anything.
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Nothing {
    /// Unused.
    #[q(max = 1)]
    pub unused: u8,
}

impl Game for Club {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 8;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, t: &Tick<Self>) {
        t.set_label("the door is open");
    }

    fn admit(&self, _t: &Tick<Self>, hello: &Hello<'_>) -> Result<(), Refusal> {
        match hello.name {
            "mallory" if hello.spectator => Err("not even to watch, mallory".into()),
            "mallory" => Err("not tonight, mallory".into()),
            _ => Ok(()),
        }
    }

    fn join(&mut self, t: &Tick<Self>, _who: SessionId, hello: &Hello<'_>) {
        self.guests.count += 1;
        if hello.name == "host" {
            t.lock();
            t.set_label("the host is in: \u{1b}[31mclosed");
        }
    }

    fn leave(&mut self, t: &Tick<Self>, _who: SessionId, _why: Why) {
        t.unlock();
    }

    fn step(&mut self, _t: &Tick<Self>) {}
}
