//! Whole client-server sessions in virtual time: the front-ends' code, the zone's and the client's run as they are, over a
//! network that loses, doubles, reorders, delays and damages packets, thousands of ticks in milliseconds.
//!
//! One seed decides everything, so a run that fails can be run again. After every snapshot that a client applies, an [`Oracle`]
//! holds the client's world against the committed one, row by row, by the rules of visibility worked out anew from the rows.
//! A [`Script`] plays: it gives the inputs and commands, and checks what only it knows of its game.
//!
//! Sims and front-ends die and are replaced on the way, if the [`Plan`] says so. In its last part a run heals: packets are lost
//! no more, and every client must come to the newest tick.

mod host;
mod machine;
mod network;
mod once;
mod oracle;
mod packed;
mod random;
mod run;
mod sight;
mod watchers;

pub use network::{Carrier, Packet, Traffic, Weather};
pub use oracle::{Committed, Oracle};
pub use random::Random;
pub use run::{Recorded, Simulation, Summary};
pub use watchers::{Looked, Watchers};

use crate::client::{Event, Playing, Settings};
use crate::config::Interest;
use crate::game::{Game, Options, Played};
use ringfort_client::Session;

/// What was found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// A simulation to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// Ticks before it heals.
    pub ticks: u32,
    /// Players.
    pub clients: usize,
    /// Front-end processes.
    pub frontends: u32,
    /// Ticks a second.
    pub tick_hz: u32,
    /// Places in the match.
    pub capacity: u32,
    /// Bytes of the largest snapshot.
    pub budget: usize,
    /// How far back the game may look for what a player saw.
    pub rewind_ms: u32,
    /// An operator's numbers for the game's interest.
    pub interest: Interest,
    /// Options of the match.
    pub options: Options,
    /// What is between client and server.
    pub carrier: Carrier,
    /// How it is on the way.
    pub weather: Weather,
    /// What else happens.
    pub chaos: Chaos,
}

impl Plan {
    /// Ticks that the players play on after the network has healed: enough for what was lost to be noticed and begun anew.
    pub fn healing_ticks(&self) -> u32 {
        let seconds = match self.carrier {
            Carrier::Plain => 2,
            // A handshake with a front-end that has died is given up after five.
            Carrier::Quic => 7,
        };
        seconds * self.tick_hz
    }
}

/// What happens beside play, as probabilities per tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chaos {
    /// The sim dies, and another takes over.
    pub sim_dies: f64,
    /// The game fails on what has come for the tick, once or, as often, twice: then its inputs and commands are given up.
    pub game_fails: f64,
    /// A front-end dies, and another takes its place.
    pub frontend_dies: f64,
    /// A front-end can't keep up as it did: it does without more than before, or less.
    pub overloads: f64,
    /// Of each player: leaves, and comes back later.
    pub leaves: f64,
    /// The call that tells front-ends of a commit is lost.
    pub call_lost: f64,
    /// The sim comes a tick's time late.
    pub stalls: f64,
    /// Share of players whose packets are damaged, and who are told nothing that could be relied on.
    pub damaged_players: f64,
}

/// Inputs that a tick was the first to be committed with, each as session and sequence.
#[derive(Clone, Debug, Default)]
pub struct Newly {
    /// Those that the sessions' acknowledgements show.
    pub applied: Vec<(u64, u32)>,
    /// Of a session that was silent for long and has skipped some: those that may have been applied before what makes the
    /// acknowledgement forget them, in the same tick.
    pub perhaps: Vec<(u64, u32)>,
}

/// What plays, and checks what only the game can tell.
pub trait Script<G: Game> {
    /// The next input of player `who`, the `sequence`-th of its stay `session`. The same must come for the same arguments.
    fn input(&mut self, who: usize, session: &Session<Played<G>>, sequence: u32, random: &mut Random) -> G::Input;

    /// Something that player `who` asks for in this tick; its commands of a stay are numbered from 1 on.
    fn command(&mut self, who: usize, number: u32, random: &mut Random) -> Option<G::Command> {
        let _ = (who, number, random);
        None
    }

    /// How players predict and draw, if they are to be whole clients ([`Playing`]) and not sessions alone. Then [`Script::act`] gives their
    /// inputs, when their input clocks say so, and [`Script::heard`] their events.
    fn settings(&self) -> Option<Settings<G>> {
        None
    }

    /// The next input of player `who`, at the sight of what it draws now, with the events that it predicts.
    fn act(
        &mut self,
        who: usize,
        playing: &Playing<G>,
        session: &Session<Played<G>>,
        random: &mut Random,
    ) -> (G::Input, Vec<G::Event>) {
        let _ = playing;
        (self.input(who, session, 0, random), Vec::new())
    }

    /// The input that [`Script::act`] has just given for player `who` was sent as the `sequence`-th of the stay `session`.
    fn sent(&mut self, who: usize, session: u64, sequence: u32) {
        let _ = (who, session, sequence);
    }

    /// Player `who` was told something.
    fn heard(&mut self, who: usize, event: &Event<G::Event>, oracle: &Oracle) -> Result<(), Failed> {
        let _ = (who, event, oracle);
        Ok(())
    }

    /// A tick was committed, in which these inputs were applied for the first time. `sound` tells the sessions whose network damages
    /// nothing.
    fn committed(&mut self, tick: &Committed, applied: &Newly, sound: &dyn Fn(u64) -> bool) -> Result<(), Failed>;

    /// The network has healed, and everything that was sent has had the time to arrive: `commands` of player `who` were sent.
    fn settled(&mut self, tick: &Committed, session: u64, commands: u32) -> Result<(), Failed>;
}
