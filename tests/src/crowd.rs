//! Players of the bundled game in one loop: each sends an input every tick and keeps what it is told.
//!
//! Every snapshot is checked as it comes: ticks go forwards, and what was acknowledged once stays acknowledged.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use ringfort::game::Played;
use ringfort::skirmish::{Ask, Body, Cmd, Ev, Score, Skirmish};
use ringfort_client::{
    Code, Credential, Ended, Event, Hub, JoinTarget, ResumeToken, Session, SessionKey, Snapshot, Status, Trust, View, Watch,
};
use ringfort_protocol::{AckBits, Entity};

use crate::PATIENCE;

/// The bundled game as its clients see it.
pub type Game = Played<Skirmish>;

/// Sequences below the highest that an acknowledgement can tell of.
const ACK_REACH: u32 = 32;
/// Longest sleep while nothing happens, so that a condition beyond the socket is looked at in time.
const TURN: Duration = Duration::from_millis(20);
/// Ticks that a player must see to be said to play on.
const PLAYS_ON_TICKS: u32 = 5;

/// Players behind one socket. They are named by the order in which they came.
pub struct Crowd {
    hub: Hub<Game>,
    server: SocketAddr,
    players: Vec<Player>,
    seen: Record,
}

/// One of them.
pub struct Player {
    key: SessionKey,
    next_input: Instant,
    /// What it does, every tick that it is in a match.
    pub does: Cmd,
    /// The steps of its session so far.
    pub statuses: Vec<Status>,
    /// The events so far.
    pub events: Vec<Event<Ev>>,
    /// The newest input's sequence, in the match that it is in.
    pub sent: u32,
}

/// What the snapshots of its match told, player by player.
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
        let acks = snapshot.inputs;
        assert!(snapshot.tick.0 > seen.tick, "tick {} came after tick {}", snapshot.tick.0, seen.tick);
        assert!(acks.highest >= seen.acks.highest, "{acks:?} came after {:?}", seen.acks);
        let told = acks.highest.saturating_sub(ACK_REACH)..=acks.highest;
        let taken_back = seen.acknowledged.range(told).find(|sequence| !acks.contains(**sequence));
        assert_eq!(taken_back, None, "{acks:?} takes back what was acknowledged");
        seen.acknowledged.extend(acks.iter());
        (seen.tick, seen.acks) = (snapshot.tick.0, acks);
    }
}

impl Crowd {
    /// Nobody yet, for the server at an address.
    pub fn new(server: SocketAddr) -> Crowd {
        let hub = Hub::bind((Ipv4Addr::LOCALHOST, 0).into(), Trust::Any).expect("a client's socket");
        Crowd { hub, server, players: Vec::new(), seen: Record::default() }
    }

    /// One more, who connects.
    pub fn connect(&mut self, name: &str) -> usize {
        self.connect_with(Credential::Name(name.to_owned()))
    }

    /// One more, who connects with a credential.
    pub fn connect_with(&mut self, credential: Credential) -> usize {
        let now = Instant::now();
        let key = self.hub.connect_with(now, self.server, "localhost", credential).expect("a connection can be started");
        self.seat(now, key)
    }

    fn seat(&mut self, now: Instant, key: SessionKey) -> usize {
        self.players.push(Player {
            key,
            next_input: now,
            does: Cmd::default(),
            statuses: Vec::new(),
            events: Vec::new(),
            sent: 0,
        });
        self.seen.0.push(Seen::default());
        self.players.len() - 1
    }

    /// One more, who goes on with a session that an earlier program was given a token for.
    pub fn resume(&mut self, name: &str, token: ResumeToken) -> usize {
        let now = Instant::now();
        let credential = Credential::Name(name.to_owned());
        let key = self.hub.resume(now, self.server, "localhost", credential, token).expect("a connection can be started");
        self.seat(now, key)
    }

    /// All of them go without a word to their matches, which keep their places.
    pub fn detach(self) {
        self.hub.detach();
    }

    /// One more, who connects and plays in a match.
    pub fn enter(&mut self, name: &str, target: JoinTarget) -> usize {
        let who = self.connect(name);
        self.join(who, target);
        self.until_live(who);
        who
    }

    /// Asks for a place in a match; a new one has ticks and sequences of its own.
    pub fn join(&mut self, who: usize, target: JoinTarget) {
        self.players[who].statuses.clear();
        self.seen.0[who] = Seen::default();
        self.hub.join(self.players[who].key, target);
    }

    /// Asks for a place to watch a match from.
    pub fn watch(&mut self, who: usize, target: JoinTarget) {
        self.players[who].statuses.clear();
        self.seen.0[who] = Seen::default();
        self.hub.spectate(self.players[who].key, target);
    }

    /// Waits until a player is in its match and sees it and itself.
    pub fn until_live(&mut self, who: usize) {
        self.until("the player is in the match", |crowd| crowd.session(who).is_live() && crowd.body(who).is_some());
    }

    /// Gives a player's place up.
    pub fn leave(&mut self, who: usize) {
        self.hub.session_mut(self.players[who].key).leave();
    }

    /// Sends a command.
    pub fn ask(&mut self, who: usize, command: Ask) {
        self.hub.session_mut(self.players[who].key).command(&command).expect("the command is taken");
    }

    /// A player.
    pub fn player(&self, who: usize) -> &Player {
        &self.players[who]
    }

    /// A player, to tell it what to do.
    pub fn player_mut(&mut self, who: usize) -> &mut Player {
        &mut self.players[who]
    }

    /// A player's session.
    pub fn session(&self, who: usize) -> &Session<Game> {
        self.hub.session(self.players[who].key)
    }

    /// What a player sees.
    pub fn view(&self, who: usize) -> View<'_> {
        self.session(who).view()
    }

    /// A player's avatar.
    pub fn avatar(&self, who: usize) -> Option<Entity> {
        self.view(who).mine()
    }

    /// A player's body, as it sees it itself; nothing while it is dead.
    pub fn body(&self, who: usize) -> Option<Body> {
        self.view(who).get(self.avatar(who)?, Skirmish::BODY)
    }

    /// A player's score, as it sees it itself.
    pub fn score(&self, who: usize) -> Option<Score> {
        self.view(who).get(self.avatar(who)?, Skirmish::SCORE)
    }

    /// The newest tick that a player has seen.
    pub fn tick(&self, who: usize) -> u32 {
        self.seen.0[who].tick
    }

    /// The newest acknowledgement that a player has got.
    pub fn acks(&self, who: usize) -> AckBits {
        self.seen.0[who].acks
    }

    /// The first input of these that no snapshot has acknowledged.
    pub fn unacknowledged(&self, who: usize, mut sequences: RangeInclusive<u32>) -> Option<u32> {
        sequences.find(|sequence| !self.seen.0[who].acknowledged.contains(sequence))
    }

    /// The match that a player was told it is in.
    pub fn match_of(&self, who: usize) -> Option<&str> {
        self.players[who].statuses.iter().rev().find_map(|status| match status {
            Status::Joined { match_name, .. } => Some(match_name.as_str()),
            _ => None,
        })
    }

    /// The code with which a player's last join was refused.
    pub fn refusal_of(&self, who: usize) -> Option<Code> {
        self.players[who].statuses.iter().rev().find_map(|status| match status {
            Status::Refused { code, .. } => Some(*code),
            _ => None,
        })
    }

    /// Whether a player was told that its match is over.
    pub fn match_is_over(&self, who: usize) -> bool {
        self.players[who].statuses.contains(&Status::MatchOver)
    }

    /// How a player's session ended, if it has.
    pub fn ended(&self, who: usize) -> Option<&Ended> {
        self.session(who).ended()
    }

    /// How many events of a player are as described.
    pub fn count_events(&self, who: usize, is: impl Fn(&Event<Ev>) -> bool) -> usize {
        self.players[who].events.iter().filter(|event| is(event)).count()
    }

    /// Plays until something is so. The condition is asked after each turn, and may change what the players do.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Crowd) -> bool) {
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

    /// Checks that these play on as if nothing had happened: their inputs of from now on are acknowledged, time goes on for
    /// them, and they were told of no change.
    pub fn check_plays_on(&mut self, who: &[usize]) {
        let before: Vec<(usize, u32, u32)> = who.iter().map(|who| (*who, self.players[*who].sent, self.tick(*who))).collect();
        self.until("everybody plays on", |crowd| {
            before.iter().all(|(who, sent, tick)| {
                let on = crowd.acks(*who).highest > *sent && crowd.tick(*who) > tick + PLAYS_ON_TICKS;
                assert!(crowd.session(*who).is_live(), "player {who} does not play any more: {:?}", crowd.ended(*who));
                on
            })
        });
    }

    /// Checks that these play on, whether or not they had to get their connections back for it: the same sessions, and inputs of from now
    /// on are acknowledged.
    pub fn check_comes_back(&mut self, who: &[usize]) {
        let before: Vec<(usize, u32, u32)> = who.iter().map(|who| (*who, self.players[*who].sent, self.tick(*who))).collect();
        self.until("everybody is back", |crowd| {
            before.iter().all(|(who, sent, tick)| {
                assert!(crowd.session(*who).is_joined(), "player {who} has lost its session: {:?}", crowd.ended(*who));
                crowd.session(*who).is_live() && crowd.acks(*who).highest > *sent && crowd.tick(*who) > tick + PLAYS_ON_TICKS
            })
        });
    }

    /// Inputs that are due, then whatever arrives within a moment.
    fn turn(&mut self) {
        let now = Instant::now();
        let mut next = now + TURN;
        for player in &mut self.players {
            let session = self.hub.session(player.key);
            if !session.is_joined() {
                (player.next_input, player.sent) = (now, 0);
                continue;
            }
            let period = Duration::from_secs(1) / session.tick_hz().max(1);
            if player.next_input <= now {
                player.sent = self.hub.send(now, player.key, player.does).unwrap_or(player.sent);
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
        }
    }

    fn describe(&self) -> String {
        let one = |(who, player): (usize, &Player)| {
            let (tick, sent, acks) = (self.tick(who), player.sent, self.acks(who).highest);
            let (statuses, events) = (&player.statuses, &player.events[player.events.len().saturating_sub(8)..]);
            let body = self.body(who).map(|body| body.pos);
            format!("\nplayer {who} at {body:?}: tick {tick}, sent {sent}, acknowledged {acks}, {statuses:?}, .. {events:?}")
        };
        self.players.iter().enumerate().map(one).collect()
    }
}

/// The match of a name, to join.
pub fn named(name: &str) -> JoinTarget {
    JoinTarget::Named(name.to_owned())
}
