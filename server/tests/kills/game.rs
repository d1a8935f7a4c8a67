//! A game that notes each input that it applies, and fails on one of them.

use ringfort::prelude::*;

/// The value on which it fails.
pub const POISON: u32 = 13;

#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Values applied, a bit each.
    pub applied: u64,
    /// Those that were applied before.
    pub doubled: u32,
    /// Events sent.
    pub events: u32,
}

#[derive(Component, Clone, Copy)]
pub struct Seat {
    marker: Entity,
}

#[derive(State)]
pub struct Noted {
    ents: Entities,
    #[sync(all)]
    tally: Column<Tally>,
    seats: Seats<Seat>,
}

#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Value {
    pub value: u32,
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub enum News {
    #[reliable]
    Applied { value: u32 },
}

impl Game for Noted {
    const HZ: u32 = 10;
    const CAPACITY: u32 = 4;
    type Input = Value;
    type Command = ();
    type Event = News;
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, _t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let marker = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { marker });
        self.tally.insert(marker, Tally::default());
    }

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime) {
            let tally = &mut self.tally[self.seats[p.session].marker];
            let bit = 1 << p.input.value;
            tally.doubled += u32::from(tally.applied & bit != 0);
            tally.applied |= bit;
            tally.events += 1;
            t.send(To::One(p.session), News::Applied { value: p.input.value });
            assert_ne!(p.input.value, POISON, "on purpose");
        }
    }
}
