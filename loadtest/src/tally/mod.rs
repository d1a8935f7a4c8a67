//! `tally`: a game that does nothing but keep accounts, so that an input that was lost or applied twice shows.
//!
//! Each input carries its own number. A session's account notes which numbers were applied: those of two blocks of [`BLOCK`] as bits; a
//! block that is behind them is told to the session as a reliable event, with its bits. The blocks told and the account that the owner
//! sees are together the exact set of what was applied, and count, sum and squares must agree with it. Events are numbered, too.

use std::env;
use std::process::ExitCode;

use ringfort::prelude::*;
use ringfort::supervisor::spawn::CONFIG_VARIABLE;

/// The command of this program that is the game's whole command line.
pub(crate) const COMMAND: &str = "tally";
/// The command by which a supervisor asks a program what its game is.
const DESCRIBE: &str = "describe";
/// Input numbers that one word of an account has bits for.
pub(crate) const BLOCK: u32 = u64::BITS;
/// Ticks between two numbered events of a session. A match's log keeps four events for each player: a client that is away for as long as that
/// lasts, six seconds at 20 Hz with what the blocks take, loses its session.
const NEWS_EVERY: u32 = 60;

#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Account {
    /// Inputs applied, the sum of their numbers and of their squares.
    pub(crate) inputs: u32,
    pub(crate) sum: u64,
    pub(crate) squares: u64,
    /// Which of the numbers `block * BLOCK + bit` were applied, and which of the block after it.
    pub(crate) block: u32,
    pub(crate) low: u64,
    pub(crate) high: u64,
    /// Inputs applied though they were applied before, or though their block had been told.
    pub(crate) doubled: u32,
    /// Commands carried out; those that were carried out before; the number of the newest.
    pub(crate) commands: u32,
    pub(crate) commands_doubled: u32,
    pub(crate) newest_command: u32,
    /// The number of the newest event.
    pub(crate) events: u32,
}

#[derive(Component, Clone, Copy)]
pub(crate) struct Seat {
    avatar: Entity,
}

#[derive(State)]
pub(crate) struct Tally {
    ents: Entities,
    #[sync(owner)]
    accounts: Column<Account>,
    seats: Seats<Seat>,
}

#[derive(Input, Clone, Copy, Debug, Default)]
pub(crate) struct Numbered {
    pub(crate) number: u32,
}

#[derive(Message, Clone, Copy, Debug)]
pub(crate) enum Ask {
    Count { number: u32 },
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub(crate) enum News {
    /// Time has passed.
    #[reliable]
    Tick { number: u32 },
    /// A block that the account has no more room for.
    #[reliable]
    Block { number: u32, block: u32, bits: u64 },
}

impl Account {
    /// Makes room for the block of an input; the blocks that have no more room and hold something are returned.
    fn make_room(&mut self, number: u32) -> [Option<(u32, u64)>; 2] {
        let told = |block, bits| (bits != 0).then_some((block, bits));
        match (number / BLOCK).saturating_sub(self.block) {
            0 | 1 => [None; 2],
            2 => {
                let behind = told(self.block, self.low);
                (self.block, self.low, self.high) = (self.block + 1, self.high, 0);
                [behind, None]
            }
            further => {
                let behind = [told(self.block, self.low), told(self.block + 1, self.high)];
                (self.block, self.low, self.high) = (self.block + further - 1, 0, 0);
                behind
            }
        }
    }

    /// Counts an input that there is room for.
    fn count(&mut self, number: u32) {
        self.inputs += 1;
        self.sum += u64::from(number);
        self.squares += u64::from(number).pow(2);
        let word = match (number / BLOCK).checked_sub(self.block) {
            Some(0) => &mut self.low,
            Some(_) => &mut self.high,
            // Told already. Nothing so far behind the newest is applied for the first time.
            None => return self.doubled += 1,
        };
        let bit = 1 << (number % BLOCK);
        self.doubled += u32::from(*word & bit != 0);
        *word |= bit;
    }
}

impl Game for Tally {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 1000;
    type Input = Numbered;
    type Command = Ask;
    type Event = News;
    type Timer = ();

    fn max_entities(capacity: u32) -> u32 {
        capacity + 16
    }

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, _t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let avatar = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { avatar });
        self.accounts.insert(avatar, Account::default());
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.avatar);
        }
    }

    fn command(&mut self, _t: &Tick<Self>, who: SessionId, ask: &Ask) {
        let Ask::Count { number } = *ask;
        let account = &mut self.accounts[self.seats[who].avatar];
        account.commands += 1;
        account.commands_doubled += u32::from(number <= account.newest_command);
        account.newest_command = account.newest_command.max(number);
    }

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime) {
            let account = &mut self.accounts[self.seats[p.session].avatar];
            for (block, bits) in account.make_room(p.input.number).into_iter().flatten() {
                account.events += 1;
                t.send(To::One(p.session), News::Block { number: account.events, block, bits });
            }
            account.count(p.input.number);
        }
        let mut told = SessionId::NOBODY;
        for p in t.players() {
            let avatar = self.seats[p.session].avatar;
            // Not all in one tick, which would be a burst of as many events as there are players; each once, however many inputs it has.
            if (t.now().0 + avatar.index).is_multiple_of(NEWS_EVERY) && p.session != told {
                told = p.session;
                let account = &mut self.accounts[avatar];
                account.events += 1;
                t.send(To::One(p.session), News::Tick { number: account.events });
            }
        }
    }
}

/// The game's command line, when this process is asked for it: by the command's name, or by a supervisor of the game that starts a worker
/// or wants to know what an upgrade would bring.
pub(crate) fn if_asked() -> Option<ExitCode> {
    let command = env::args_os().nth(1);
    let is_asked = command.as_ref().is_some_and(|command| command == COMMAND);
    let is_ours = is_asked || command.is_some_and(|command| command == DESCRIBE) || env::var_os(CONFIG_VARIABLE).is_some();
    let (program, rest) = (env::args_os().take(1), env::args_os().skip(if is_asked { 2 } else { 1 }));
    is_ours.then(|| ringfort::main_with::<Tally>(program.chain(rest)))
}

#[cfg(test)]
mod tests;
