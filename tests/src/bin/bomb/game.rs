//! A game whose players count what they do, and may send a bomb with it.
//!
//! What goes off, goes off in the middle of a tick, after a part of it was written. Each explosion is written to a file beside the
//! configuration first, so that the tests can count them.

#[path = "bombs.rs"]
pub mod bombs;

use std::time::Duration;

use ringfort::prelude::*;

use bombs::Bomb;

/// What a command counts for: in the server with other rules it is more.
fn command_counts() -> u32 {
    if option_env!("CARGO_BIN_NAME") == Some("bomb-next") { 100 } else { 1 }
}

/// Who is called so blows the game up by joining it.
pub const TERROR: &str = "terror";

/// When a bomb goes off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum When {
    /// At every attempt to apply what brings it.
    Always = 0,
    /// The first time that this instance applies such a one.
    Once = 1,
    /// In every tick after the one that applies what brings it.
    Armed = 2,
}

impl When {
    fn from_u8(number: u8) -> Option<When> {
        [When::Always, When::Once, When::Armed].into_iter().find(|when| *when as u8 == number)
    }
}

/// What was applied of a player's: each input counts once, with its number.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Inputs.
    pub inputs: u32,
    /// Sum of their numbers.
    pub sum: u32,
    /// Commands.
    pub commands: u32,
}

/// What goes off in every tick; 0 for nothing.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct Charge {
    /// A [`Bomb`].
    pub bomb: u8,
}

/// A player's place.
#[derive(Component, Clone, Copy, Debug)]
pub struct Seat {
    /// Has the tally.
    pub marker: Entity,
}

/// The world.
#[derive(State)]
pub struct Minefield {
    /// One for each player.
    pub ents: Entities,
    /// Seen by everybody.
    #[sync(all)]
    pub tally: Column<Tally>,
    /// Written at the very beginning of what blows up, so that a tick that is not given up whole shows.
    #[sync(all)]
    pub touched: Global<Tally>,
    /// Nobody's business.
    pub charge: Global<Charge>,
    /// Who plays.
    pub seats: Seats<Seat>,
}

/// What a player does.
#[derive(Input, Clone, Copy, Debug, Default, PartialEq)]
pub struct Order {
    /// Of the player's own counting.
    pub number: u32,
    /// A [`Bomb`], 0 for none.
    pub bomb: u8,
    /// A [`When`].
    pub when: u8,
}

/// What a player asks.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    /// To be counted.
    Count,
    /// To be blown up.
    Blow {
        /// A [`Bomb`].
        bomb: u8,
        /// A [`When`].
        when: u8,
    },
}

/// What the game tells.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub enum News {
    /// A command was counted.
    #[reliable]
    Counted {
        /// Whose.
        by: Entity,
        /// How many it has sent by now.
        commands: u32,
    },
}

impl Game for Minefield {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 16;
    const OPTIONS: &'static [OptionDoc] =
        &[OptionDoc::whole("slow_ms", "milliseconds that every tick takes; 0, the default, for none", 0, 1000)];
    type Input = Order;
    type Command = Ask;
    type Event = News;
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, t: &Tick<Self>, who: SessionId, hello: &Hello<'_>) {
        if hello.name == TERROR {
            Bomb::Panic.go_off(t.now());
        }
        let marker = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { marker });
        self.tally.insert(marker, Tally::default());
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.marker);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, ask: &Ask) {
        let by = self.seats[who].marker;
        self.tally[by].commands += command_counts();
        let commands = self.tally[by].commands;
        t.send(To::One(who), News::Counted { by, commands });
        if let Ask::Blow { bomb, when } = *ask {
            self.throw(t, bomb, when);
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        std::thread::sleep(Duration::from_millis(t.option_or("slow_ms", 0)));
        if let Some(bomb) = Bomb::from_u8(self.charge.bomb) {
            bomb.go_off(t.now());
        }
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime) {
            let tally = &mut self.tally[self.seats[p.session].marker];
            tally.inputs += 1;
            tally.sum = tally.sum.wrapping_add(p.input.number);
            self.throw(t, p.input.bomb, p.input.when);
        }
    }
}

impl Minefield {
    fn throw(&mut self, t: &Tick<Self>, bomb: u8, when: u8) {
        let Some(bomb) = Bomb::from_u8(bomb) else { return };
        self.touched.inputs += 1;
        match When::from_u8(when) {
            Some(When::Always) => bomb.go_off(t.now()),
            Some(When::Once) if bomb.is_first() => bomb.go_off(t.now()),
            Some(When::Armed) => self.charge.bomb = bomb as u8,
            Some(When::Once) | None => {}
        }
    }
}
