//! A match stepped in a unit test, without processes, sockets, a clock or shared memory.
//!
//! The zone is the one that a sim steps, and what players hear goes through the snapshots that a front-end builds: only the network and
//! the processes are missing. So a game that holds in here holds on the server.

mod client;
mod host;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ringfort_protocol::control::Code;
use ringfort_protocol::view::View;
use ringfort_protocol::{Entity, Input, Message, SessionId, TickNo};
use ringfort_shm_state::layout::{AskKind, RecordKind, RefusalRow, RootFlags, SessionRow, Verdict, ZoneEntry, ZoneLife};
use ringfort_shm_state::limits::PLAYER_NAME_BYTES;
use ringfort_shm_state::segment::unpadded;

use crate::config::OptionValue;
use crate::frontend::snapshot::SnapshotBuilder;
use crate::frontend::zone_view::ZoneView;
use crate::game::{Ask, AskId, Description, Game, ViewTime, Why, ZoneLimits};
use crate::sim::zone::Outcome;
use client::Client;
use host::{Host, SLOT, Setup, SetupError};

/// A match of a game under test.
///
/// It opens with [`TestWorld::new`]; options are set before the first tick. What players send is taken in by the next [`TestWorld::step`],
/// and [`TestWorld::state`] is the world as the last tick left it. A mistake of the test panics with a sentence.
///
/// ```
/// use ringfort::prelude::*;
/// use ringfort::test::TestWorld;
///
/// #[derive(Component, Clone, Copy, Default)]
/// struct Count { clicks: u32 }
/// #[derive(State)]
/// struct Clicker {
///     ents: Entities,
///     #[sync(all)] count: Global<Count>,
/// }
/// #[derive(Input, Clone, Copy, Default)]
/// struct Mouse { button: Press }
/// #[derive(Message, Clone, Copy, Debug, PartialEq)]
/// enum Say { #[reliable] Ten }
///
/// impl Game for Clicker {
///     const HZ: u32 = 10;
///     type Input = Mouse;
///     type Command = ();
///     type Event = Say;
///     type Timer = ();
///     fn open(&mut self, _t: &Tick<Self>) {}
///     fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
///     fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
///     fn step(&mut self, t: &Tick<Self>) {
///         for _click in t.players().filter(|p| p.input.button.pressed()) {
///             self.count.clicks += 1;
///             if self.count.clicks == 10 { t.send(To::All, Say::Ten) }
///         }
///     }
/// }
///
/// let mut world = TestWorld::<Clicker>::new().capacity(2).seed(7);
/// let (ada, bob) = (world.join("ada"), world.join("bob"));
/// for click in 0..20 {
///     world.input(ada, Mouse { button: Press::down(click % 2 == 0) });
///     world.step();
/// }
/// assert_eq!(world.state().count.clicks, 10);
/// assert_eq!(world.events(bob), [Say::Ten]);
/// world.restart(); // nothing is lost with the process
/// assert_eq!(world.state().count.clicks, 10);
/// ```
pub struct TestWorld<G: Game> {
    setup: Setup,
    host: Host<G>,
    view: ZoneView,
    builder: SnapshotBuilder,
    clients: BTreeMap<SessionId, Client<G>>,
    heard: BTreeMap<SessionId, Vec<G::Event>>,
    /// Joins so far, of which each has its own nonce.
    joins: u64,
    result: Option<String>,
}

/// A request of the game to the world outside that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub id: AskId,
    /// Its topic.
    pub topic: String,
    /// The session that it is about.
    pub about: Option<SessionId>,
    /// Its body.
    pub body: String,
}

/// A player was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} was not let in: {reason}")]
pub struct JoinRefused {
    /// Who.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl<G: Game> Default for TestWorld<G> {
    fn default() -> Self {
        Self::new()
    }
}

impl<G: Game> TestWorld<G> {
    /// Opens a match with the game's own capacity and tick rate, without options, with seed 1: tick 1, in which [`Game::open`] is called.
    ///
    /// # Panics
    /// When the game cannot have such a match, with the sentence that `ringfort up` would say.
    #[track_caller]
    pub fn new() -> Self {
        let setup = Setup {
            options: Default::default(),
            tick_hz: None,
            rewind_ms: 250,
            seed: 1,
            hook: true,
            spectators: 0,
            check_determinism: false,
        };
        match Self::open(setup) {
            Ok(world) => world,
            Err(error) => panic!("{error}"),
        }
    }

    fn open(setup: Setup) -> Result<Self, SetupError> {
        let host = Host::<G>::new(&setup)?;
        let limits = ZoneLimits::of_entry(&host.entry);
        let description = Description::of::<G>(limits).expect("the match is open");
        let mut world = Self {
            setup,
            view: ZoneView::new(SLOT, description, host.entry.tick_hz),
            host,
            builder: SnapshotBuilder::new(),
            clients: BTreeMap::new(),
            heard: BTreeMap::new(),
            joins: 0,
            result: None,
        };
        world.look();
        Ok(world)
    }

    /// The same match, opened otherwise.
    #[track_caller]
    fn reopened(self, change: impl FnOnce(&mut Setup)) -> Self {
        assert!(self.tick() == TickNo(1), "options of a match are set before its first step");
        let mut setup = self.setup;
        change(&mut setup);
        match Self::open(setup) {
            Ok(world) => world,
            Err(error) => panic!("{error}"),
        }
    }

    /// The match with room for so many players.
    #[must_use]
    #[track_caller]
    pub fn capacity(self, players: u32) -> Self {
        self.reopened(|setup| drop(setup.options.insert("capacity".to_owned(), OptionValue::Number(players.into()))))
    }

    /// The match with so many ticks a second.
    #[must_use]
    #[track_caller]
    pub fn hz(self, hz: u32) -> Self {
        self.reopened(|setup| setup.tick_hz = Some(hz))
    }

    /// The match with this seed of its random streams.
    #[must_use]
    #[track_caller]
    pub fn seed(self, seed: u64) -> Self {
        self.reopened(|setup| setup.seed = seed)
    }

    /// The match with this option, as by `--game-option NAME=VALUE`.
    #[must_use]
    #[track_caller]
    pub fn option(self, name: &str, value: impl ToString) -> Self {
        self.reopened(|setup| drop(setup.options.insert(name.to_owned(), OptionValue::Text(value.to_string()))))
    }

    /// The match with `rewind_ms` of the configuration, which bounds [`Tick::rewind`](crate::game::Tick::rewind); 250 otherwise.
    #[must_use]
    #[track_caller]
    pub fn rewind_ms(self, ms: u32) -> Self {
        self.reopened(|setup| setup.rewind_ms = ms)
    }

    /// The match of an instance without a hook: requests to the world outside come back as
    /// [`AnswerError::NoHook`](crate::game::AnswerError::NoHook).
    #[must_use]
    #[track_caller]
    pub fn without_hook(self) -> Self {
        self.reopened(|setup| setup.hook = false)
    }

    /// The match with room for so many spectators; there is none otherwise.
    #[must_use]
    #[track_caller]
    pub fn spectators(self, spectators: u32) -> Self {
        self.reopened(|setup| setup.spectators = spectators)
    }

    /// Runs every tick twice from one state with the same inputs, and panics where it comes out otherwise: that a game looks at nothing but
    /// its state, its players' inputs and the tick is what replays and takeovers rest on.
    #[must_use]
    #[track_caller]
    pub fn check_determinism(self, on: bool) -> Self {
        self.reopened(|setup| setup.check_determinism = on)
    }

    /// Lets a player join, and runs the tick in which it comes in.
    ///
    /// # Panics
    /// When it is not let in.
    #[track_caller]
    pub fn join(&mut self, name: &str) -> SessionId {
        match self.try_join(name) {
            Ok(who) => who,
            Err(refused) => panic!("{refused}"),
        }
    }

    /// Lets a player ask to join, and runs the tick that decides it.
    #[track_caller]
    pub fn try_join(&mut self, name: &str) -> Result<SessionId, JoinRefused> {
        self.enter(name, false)
    }

    /// As [`TestWorld::join`], but to watch only.
    #[track_caller]
    pub fn spectate(&mut self, name: &str) -> SessionId {
        match self.enter(name, true) {
            Ok(who) => who,
            Err(refused) => panic!("{refused}"),
        }
    }

    #[track_caller]
    fn enter(&mut self, name: &str, spectate: bool) -> Result<SessionId, JoinRefused> {
        assert!(name.len() <= PLAYER_NAME_BYTES, "a player's name has at most {PLAYER_NAME_BYTES} bytes, {name:?} is longer");
        self.joins += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.joins.to_le_bytes());
        self.host.push_join(nonce, name, spectate);
        self.step();
        let row = self.rows().find(|row| row.nonce == nonce);
        row.map(|row| SessionId(row.id)).ok_or_else(|| JoinRefused { name: name.to_owned(), reason: self.reason(&nonce) })
    }

    /// Why a join came to nothing: the game's own words, if it said some.
    fn reason(&self, nonce: &[u8; 16]) -> String {
        let refusals = self.view.description().engine.refusals;
        let row = self.view.mirror().iter::<RefusalRow>(refusals).map(|(_, row)| row).find(|row| row.nonce == *nonce);
        let words = row.map(|row| unpadded(&row.text)).filter(|words| !words.is_empty());
        let code = row.and_then(|row| Code::from_u64(row.code.into()));
        let ZoneEntry { capacity, spectators, .. } = self.host.entry;
        words.unwrap_or_else(|| match code {
            Some(Code::MatchFull) => format!("the match is full, it has room for {capacity} players and {spectators} spectators"),
            Some(Code::MatchStarted) => "the match is locked".to_owned(),
            Some(Code::Kicked) => "it was kicked".to_owned(),
            _ => "the match is closed".to_owned(),
        })
    }

    /// Lets a player leave in the next tick, as one that quits.
    pub fn leave(&mut self, who: SessionId) {
        self.leave_because(who, Why::Quit);
    }

    /// Lets a player leave in the next tick, for a reason.
    pub fn leave_because(&mut self, who: SessionId, why: Why) {
        self.push(RecordKind::Leave, who, 0, &why.to_u64().to_ne_bytes());
    }

    /// Breaks a player's connection in the next tick. Its session waits for it: [`TestWorld::resume`].
    pub fn disconnect(&mut self, who: SessionId) {
        self.push(RecordKind::Detach, who, 0, &[]);
    }

    /// Lets a player come back over a new connection in the next tick.
    ///
    /// # Panics
    /// When it has left, or its time to come back is over.
    #[track_caller]
    pub fn resume(&mut self, who: SessionId) {
        let row = self.row(who);
        self.host.push_resume(&row);
    }

    #[track_caller]
    fn row(&self, who: SessionId) -> SessionRow {
        match self.rows().find(|row| row.id == who.0) {
            Some(row) => row,
            None => panic!("session {who} is not in the match: it has left, or never joined"),
        }
    }

    fn push(&mut self, kind: RecordKind, who: SessionId, sequence: u32, payload: &[u8]) {
        // One that has left has no attachment: its records count for nothing.
        let attachment = self.rows().find(|row| row.id == who.0).map_or(0, |row| row.attachment);
        self.host.push(kind, who, attachment, sequence, payload);
    }

    /// Sends a player's input, which the next tick applies. One that sends none has its last one repeated. Of two for one tick the newer
    /// waits for the tick after, as on the server. The player has seen the world as it is now.
    #[track_caller]
    pub fn input(&mut self, who: SessionId, input: G::Input) {
        self.input_seeing(who, input, ViewTime::at(self.tick()));
    }

    /// Sends a player's input with what it saw when it gave it: [`Tick::rewind`](crate::game::Tick::rewind) goes back there.
    #[track_caller]
    pub fn input_seeing(&mut self, who: SessionId, mut input: G::Input, view: ViewTime) {
        let client = client(&mut self.clients, who);
        input.after(&client.last);
        (client.last, client.input) = (input, client.input + 1);
        let mut bytes = Vec::new();
        input.to_wire(&mut bytes);
        let span = view.next.0.saturating_sub(view.tick.0).min(u8::MAX.into()) as u8;
        let view = View { tick: view.tick, span, alpha: (view.alpha * 256.0) as u8 };
        bytes.extend_from_slice(&view.to_bytes());
        let number = client.input;
        self.push(RecordKind::Input, who, number, &bytes);
    }

    /// Sends a player's command, which the next tick carries out.
    #[track_caller]
    pub fn command(&mut self, who: SessionId, command: G::Command) {
        let client = client(&mut self.clients, who);
        client.command += 1;
        let mut bytes = Vec::new();
        command.to_wire(&mut bytes);
        let number = client.command;
        self.push(RecordKind::Command, who, number, &bytes);
    }

    /// Runs a tick and commits it. A match that has closed is not stepped any more: its state stays that of its last tick.
    #[track_caller]
    pub fn step(&mut self) {
        if self.closed() {
            return;
        }
        let outcome = self.host.step();
        assert!(
            matches!(outcome, Outcome::Committed { .. }),
            "tick {} was not committed for want of memory: the game writes more in a tick than a match of its size has room for",
            self.tick().0 + 1
        );
        if let Some(difference) = self.host.take_difference() {
            panic!("{difference}; a game must look at nothing but its state, its players' inputs and the tick");
        }
        self.look();
    }

    /// Runs so many ticks.
    #[track_caller]
    pub fn steps(&mut self, ticks: u32) {
        (0..ticks).for_each(|_| self.step());
    }

    /// Runs ticks until the state is as wanted; returns how many it took, which is none when it is so already.
    ///
    /// # Panics
    /// When it is not so after `most` ticks.
    #[track_caller]
    pub fn steps_until(&mut self, most: u32, wanted: impl Fn(&G) -> bool) -> u32 {
        for ticks in 0..=most {
            if wanted(self.state()) {
                return ticks;
            }
            if ticks < most {
                self.step();
            }
        }
        panic!("what was waited for had not come after {most} ticks, at tick {}", self.tick())
    }

    /// The tick that was committed last; the opening is 1.
    pub fn tick(&self) -> TickNo {
        TickNo(self.view.head().map_or(0, |head| head.tick))
    }

    /// The world as the last tick left it: quantised, as it is committed and sent.
    pub fn state(&self) -> &G {
        self.host.zone().committed()
    }

    /// The sessions in the match, in the order of their slots.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.rows().map(|row| SessionId(row.id)).collect()
    }

    /// What a session was told since this was asked last, oldest first; of one tick the unreliable events before the reliable ones. A
    /// session hears what its audience is, and of a crowd of unreliable events as many as its snapshot has room for.
    pub fn events(&mut self, who: SessionId) -> Vec<G::Event> {
        self.heard.get_mut(&who).map(std::mem::take).unwrap_or_default()
    }

    /// Whether a session's client has been told of an entity by the last tick: by [`Game::INTEREST`], by groups and by the columns' own
    /// rules.
    pub fn sees(&self, who: SessionId, entity: Entity) -> bool {
        self.clients.get(&who).is_some_and(|client| client.sees(entity))
    }

    /// Requests of the game to the world outside that wait for answers, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        let questions = self.outbox().into_iter().filter(|ask| ask.kind != AskKind::Result);
        let about = |session: u64| Some(SessionId(session)).filter(|who| *who != SessionId::NOBODY);
        questions
            .map(|ask| Asked { id: AskId(ask.number), topic: ask.topic, about: about(ask.session), body: ask.body })
            .collect()
    }

    /// Answers a request as a hook would, or says why it cannot: the next tick tells the game.
    pub fn answer(&mut self, id: AskId, body: Result<&str, &str>) {
        let (verdict, text) = match body {
            Ok(text) => (Verdict::Answered, text),
            Err(why) => (Verdict::Failed, why),
        };
        self.host.answer(id.number(), verdict, text);
    }

    /// What the game says the match is about, by [`Tick::set_label`](crate::game::Tick::set_label).
    pub fn label(&self) -> String {
        let life = self.view.mirror().get::<ZoneLife>(&self.view.description().engine.life, 0);
        life.map(|life| unpadded(&life.label)).unwrap_or_default()
    }

    /// Whether the game lets no new players in, by [`Tick::lock`](crate::game::Tick::lock).
    pub fn locked(&self) -> bool {
        self.view.head().is_some_and(|head| head.flags & RootFlags::LOCKED != 0)
    }

    /// Whether the game has closed the match.
    pub fn closed(&self) -> bool {
        self.view.meta().is_some_and(|meta| meta.closed_at != 0)
    }

    /// What the game closed the match with, by [`Tick::close_with`](crate::game::Tick::close_with).
    pub fn result(&self) -> Option<&str> {
        self.result.as_deref()
    }

    /// Kills the process that steps the match and lets another take over from the last commit, as a sim does. What the game kept outside of
    /// its state is seen to be lost only if the test's process does not share it, as a `static` is.
    ///
    /// # Panics
    /// When the match cannot be taken over.
    #[track_caller]
    pub fn restart(&mut self) {
        if let Err(error) = self.host.restart() {
            panic!("the match could not be taken over: {error}");
        }
    }

    fn rows(&self) -> impl Iterator<Item = SessionRow> {
        let sessions = self.view.description().engine.sessions;
        self.view.mirror().iter::<SessionRow>(sessions).map(|(_, row)| row)
    }

    fn outbox(&self) -> Vec<Ask> {
        self.view.description().engine.outbox.read(self.view.mirror())
    }

    /// Lets every session see the new commit.
    fn look(&mut self) {
        self.view.refresh(&self.host.world).unwrap_or_else(|error| panic!("the commit cannot be read: {error}"));
        let rows: Vec<SessionRow> = self.rows().collect();
        self.clients.retain(|who, _| rows.iter().any(|row| row.id == who.0));
        for row in rows {
            let who = SessionId(row.id);
            if row.detached != 0 {
                continue;
            }
            let client = self.clients.entry(who).or_insert_with(|| Client::new(&self.view, &row));
            if client.attachment != row.attachment {
                *client = client.again(&self.view, &row);
            }
            let heard = self.heard.entry(who).or_default();
            client.serve(&self.view, &row, &mut self.builder, |event| heard.push(event));
            if row.event_cursor < client.heard {
                self.host.push(RecordKind::EventAck, who, row.attachment, 0, &client.heard.to_ne_bytes());
            }
        }
        let result = self.outbox().into_iter().find(|ask| ask.kind == AskKind::Result);
        self.result = result.map(|ask| ask.body);
    }
}

#[track_caller]
fn client<G: Game>(clients: &mut BTreeMap<SessionId, Client<G>>, who: SessionId) -> &mut Client<G> {
    match clients.get_mut(&who) {
        Some(client) => client,
        None => panic!("session {who} is not in the match: it has left, or never joined"),
    }
}
