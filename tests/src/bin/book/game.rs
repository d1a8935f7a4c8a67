//! A game that keeps a player's book: how many inputs and commands there were, and their sums.

use ringfort::prelude::*;

/// What has come of a player.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
pub struct Page {
    /// Inputs applied.
    pub inputs: u32,
    /// The sum of their numbers.
    pub sum: u32,
    /// The sum of the numbers' squares: no two numbers counted twice and one never make the same.
    pub squares: u64,
    /// The newest command.
    pub command: u32,
    /// Commands that were not the next.
    pub disorder: u32,
}

/// The world.
#[derive(State)]
pub struct Book {
    /// The entities.
    pub ents: Entities,
    /// A page for each player, which only that one sees.
    #[sync(owner)]
    pub pages: Column<Page>,
    /// Whose entity is whose.
    pub seats: Seats<Seat>,
}

/// A player's entity.
#[derive(Component, Clone, Copy)]
pub struct Seat {
    page: Entity,
}

/// An input.
#[derive(Input, Clone, Copy, Debug, Default)]
pub struct Numbered {
    /// Its number.
    pub number: u32,
}

/// A command.
#[derive(Message, Clone, Copy, Debug)]
pub enum Ask {
    /// To be written down.
    Note {
        /// The how-manieth.
        number: u32,
    },
}

/// An answer.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub enum Noted {
    /// It is written down.
    #[reliable]
    Done {
        /// The how-manieth.
        number: u32,
    },
}

impl Game for Book {
    const HZ: u32 = 30;
    type Input = Numbered;
    type Command = Ask;
    type Event = Noted;
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, _t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let page = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { page });
        self.pages.insert(page, Page::default());
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.page);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, ask: &Ask) {
        let Ask::Note { number } = *ask;
        let page = &mut self.pages[self.seats[who].page];
        page.disorder += u32::from(number != page.command + 1);
        page.command = number;
        t.send(To::One(who), Noted::Done { number });
    }

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime) {
            let page = &mut self.pages[self.seats[p.session].page];
            page.inputs += 1;
            page.sum = page.sum.wrapping_add(p.input.number);
            page.squares = page.squares.wrapping_add(u64::from(p.input.number).pow(2));
        }
    }
}
