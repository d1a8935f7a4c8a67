//! Players of the game that blows up: each sends an input every tick, and knows what became of every one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use ringfort::game::Played;
use ringfort_client::{Event, Hub, JoinTarget, Session, SessionKey, Snapshot, Status, Trust, Watch};
use ringfort_protocol::AckBits;
use ringfort_tests::crowd::named;
use ringfort_tests::{Instance, PATIENCE};

use crate::bomb::bombs::Bomb;
use crate::bomb::{Ask, Minefield, News, Order, Tally, When};

/// The game as its clients see it.
type Game = Played<Minefield>;

/// Longest sleep while nothing happens.
const TURN: Duration = Duration::from_millis(20);
/// Ticks that a player must see to be said to play on.
const PLAYS_ON_TICKS: u32 = 5;

/// Players behind one socket, named by the order in which they came.
pub struct Squad {
    hub: Hub<Game>,
    players: Vec<Player>,
    seen: Record,
}

/// One of them.
pub struct Player {
    key: SessionKey,
    next_input: Instant,
    /// What goes with the next input.
    carries: Option<(Bomb, When)>,
    /// It sends no more.
    still: bool,
    /// Every input that it has sent.
    pub sent: BTreeMap<u32, Order>,
    /// The inputs that it was told to be given up.
    pub rejected: BTreeSet<u32>,
    /// The commands that it was told to be given up.
    pub rejected_commands: BTreeSet<u32>,
    /// The steps of its session so far.
    pub statuses: Vec<Status>,
    /// The reliable events so far.
    pub events: Vec<Event<News>>,
}

/// What the snapshots told, player by player.
#[derive(Default)]
struct Record(Vec<Seen>);

#[derive(Default)]
struct Seen {
    tick: u32,
    acks: AckBits,
    acknowledged: BTreeSet<u32>,
}

impl Watch<Game> for Record {
    fn snapshot(&mut self, key: SessionKey, _session: &Session<Game>, snapshot: &Snapshot) {
        let seen = &mut self.0[key.index()];
        assert!(snapshot.tick.0 > seen.tick, "tick {} came after tick {}", snapshot.tick.0, seen.tick);
        seen.acknowledged.extend(snapshot.inputs.iter());
        (seen.tick, seen.acks) = (snapshot.tick.0, snapshot.inputs);
    }
}

impl Squad {
    /// Players in these matches of an instance, one for each name.
    pub fn enter(instance: &Instance, matches: &[&str]) -> Squad {
        let hub = Hub::bind((Ipv4Addr::LOCALHOST, 0).into(), Trust::Any).expect("a client's socket");
        let mut squad = Squad { hub, players: Vec::new(), seen: Record::default() };
        for (who, name) in matches.iter().enumerate() {
            squad.add(instance, &format!("player-{who}"), named(name));
        }
        let all: Vec<usize> = (0..matches.len()).collect();
        squad.until("all are in their matches", |squad| all.iter().all(|who| squad.tally(*who).is_some()));
        squad
    }

    /// One more, who asks for a place; returns its number.
    pub fn add(&mut self, instance: &Instance, name: &str, target: JoinTarget) -> usize {
        let now = Instant::now();
        let key = self.hub.connect(now, instance.address(), "localhost", name).expect("a connection can be started");
        self.hub.join(key, target);
        self.seen.0.push(Seen::default());
        self.players.push(Player {
            key,
            next_input: now,
            carries: None,
            still: false,
            sent: BTreeMap::new(),
            rejected: BTreeSet::new(),
            rejected_commands: BTreeSet::new(),
            statuses: Vec::new(),
            events: Vec::new(),
        });
        self.players.len() - 1
    }

    /// Sends an input with a bomb; returns its sequence.
    pub fn throw(&mut self, who: usize, bomb: Bomb, when: When) -> u32 {
        self.throw_together(&[who], bomb, when)[0]
    }

    /// Sends an input with a bomb from each of these, at about the same time; returns their sequences.
    pub fn throw_together(&mut self, who: &[usize], bomb: Bomb, when: When) -> Vec<u32> {
        let before: Vec<u32> = who.iter().map(|who| self.newest(*who)).collect();
        who.iter().for_each(|who| self.players[*who].carries = Some((bomb, when)));
        self.until("the bombs have left", |squad| who.iter().all(|who| squad.players[*who].carries.is_none()));
        let bombs = who.iter().zip(before).map(|(who, before)| {
            let mut since = self.players[*who].sent.range(before + 1..);
            since.find(|(_, order)| order.bomb != 0).map(|(sequence, _)| *sequence).expect("it was sent")
        });
        bombs.collect()
    }

    /// The newest input that a player has sent.
    fn newest(&self, who: usize) -> u32 {
        self.players[who].sent.keys().next_back().copied().unwrap_or(0)
    }

    /// Sends a command.
    pub fn ask(&mut self, who: usize, ask: Ask) {
        self.hub.session_mut(self.players[who].key).command(&ask).expect("the command is taken");
    }

    /// A player.
    pub fn player(&self, who: usize) -> &Player {
        &self.players[who]
    }

    /// A player's session.
    pub fn session(&self, who: usize) -> &Session<Game> {
        self.hub.session(self.players[who].key)
    }

    /// What the game has counted of a player's, as it sees it itself.
    pub fn tally(&self, who: usize) -> Option<Tally> {
        let view = self.session(who).view();
        view.get(view.mine()?, Minefield::TALLY)
    }

    /// What was counted by ticks that blew up, or were about to.
    pub fn touched(&self, who: usize) -> u32 {
        self.session(who).view().global(Minefield::TOUCHED).map_or(0, |touched| touched.inputs)
    }

    /// Whether an input of a player's was acknowledged.
    pub fn acknowledged(&self, who: usize, sequence: u32) -> bool {
        self.seen.0[who].acknowledged.contains(&sequence)
    }

    /// The newest tick that a player has seen.
    pub fn tick(&self, who: usize) -> u32 {
        self.seen.0[who].tick
    }

    /// Plays until something is so.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Squad) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.turn();
            if is_so(self) {
                return;
            }
            assert!(Instant::now() < until, "waited in vain until {what}: {}", self.describe());
        }
    }

    /// Plays while something else is done, which may block.
    pub fn during<R: Send>(&mut self, something: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            let other = scope.spawn(something);
            while !other.is_finished() {
                self.turn();
            }
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Checks that these play on: their sessions live, their inputs of from now on are acknowledged, and time goes on for them.
    pub fn check_plays_on(&mut self, who: &[usize]) {
        let before: Vec<(usize, u32, u32)> = who.iter().map(|who| (*who, self.newest(*who), self.tick(*who))).collect();
        self.until("everybody plays on", |squad| {
            before.iter().all(|(who, sent, tick)| {
                assert!(squad.session(*who).is_live(), "player {who} does not play any more: {:?}", squad.session(*who).ended());
                squad.seen.0[*who].acks.highest > *sent && squad.tick(*who) > tick + PLAYS_ON_TICKS
            })
        });
    }

    /// Has everybody stop, and checks that the game has counted exactly what it has acknowledged, and nothing that it has given up.
    pub fn check_tallies(&mut self) {
        self.players.iter_mut().for_each(|player| player.still = true);
        for who in 0..self.players.len() {
            let last = self.newest(who);
            let settled = |squad: &Squad| squad.seen.0[who].acks.contains(last) || squad.players[who].rejected.contains(&last);
            self.until("the last input is acknowledged", |squad| settled(squad));
            let acknowledged = &self.seen.0[who].acknowledged;
            let both: Vec<&u32> = self.players[who].rejected.intersection(acknowledged).collect();
            assert!(both.is_empty(), "player {who}: {both:?} were acknowledged and given up");
            let tally = self.tally(who).expect("it plays");
            let count = (acknowledged.len() as u32, acknowledged.iter().sum::<u32>());
            assert_eq!((tally.inputs, tally.sum), count, "player {who}, as the game counts and as it was told");
        }
        self.players.iter_mut().for_each(|player| player.still = false);
    }

    /// Inputs that are due, then whatever arrives within a moment.
    fn turn(&mut self) {
        let now = Instant::now();
        let mut next = now + TURN;
        for player in &mut self.players {
            let session = self.hub.session(player.key);
            if !session.is_joined() || player.still {
                player.next_input = now;
                continue;
            }
            let period = Duration::from_secs(1) / session.tick_hz().max(1);
            if player.next_input <= now {
                player.send(&mut self.hub, now);
                player.next_input = (player.next_input + period).max(now);
            }
            next = next.min(player.next_input);
        }
        self.hub.flush(now);
        self.hub.wait(Some(next)).expect("the socket can be waited for");
        self.hub.pump(Instant::now(), &mut self.seen).expect("the socket can be read");
        for player in &mut self.players {
            let session = self.hub.session_mut(player.key);
            player.statuses.extend(session.statuses());
            player.events.extend(session.events());
            let told = player.statuses.iter().filter_map(|status| match status {
                Status::Rejected { inputs, commands } => Some((*inputs, *commands)),
                _ => None,
            });
            player.rejected = told.clone().flat_map(|(inputs, _)| inputs.iter()).collect();
            player.rejected_commands = told.flat_map(|(_, commands)| commands.iter()).collect();
        }
    }

    fn describe(&self) -> String {
        let one = |(who, player): (usize, &Player)| {
            let Seen { tick, acks, .. } = self.seen.0[who];
            let last = player.sent.last_key_value();
            format!("\nplayer {who}: tick {tick}, sent {last:?}, acknowledged {}, {:?}", acks.highest, player.statuses)
        };
        self.players.iter().enumerate().map(one).collect()
    }
}

impl Player {
    fn send(&mut self, hub: &mut Hub<Game>, now: Instant) {
        let number = self.sent.keys().next_back().copied().unwrap_or(0) + 1;
        let carried = self.carries.take();
        let (bomb, when) = carried.map_or((0, 0), |(bomb, when)| (bomb as u8, when as u8));
        let order = Order { number, bomb, when };
        if let Some(sequence) = hub.send(now, self.key, order) {
            assert_eq!(sequence, number);
            self.sent.insert(sequence, order);
        }
    }
}
