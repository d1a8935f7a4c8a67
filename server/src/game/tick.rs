//! What a game is given: the tick, the players' inputs, random streams, and a place for what it tells its players. Everything is
//! `&self`, nothing borrows the state.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ringfort_protocol::{Entity, Message, SessionId, TickNo, Vec2};
use ringfort_shm_state::layout::Audience;

use super::life::Life;
use super::rewind::{Pasts, Rewind, ViewTime};
use super::{Game, Outbox, Rng, Sights};

/// How a player's input came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is new.
    OnTime,
    /// None arrived; it is the last one again, for the so-many-th tick, with every button's edge taken away.
    Repeated(u32),
    /// None has ever arrived, or the player has no connection just now; it is the input's default.
    Missing,
}

/// A player's input of this tick. A player whose inputs arrived in a bunch comes more than once, oldest first, so that every
/// acknowledged input is applied exactly once.
#[derive(Debug)]
pub struct Player<'t, G: Game> {
    /// Who.
    pub session: SessionId,
    /// What.
    pub input: &'t G::Input,
    /// Whether it is new.
    pub arrival: Arrival,
    /// What the player saw when it gave the input; [`Tick::rewind`] goes back there.
    pub view: ViewTime,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    /// Every session of the zone.
    All,
    /// One session.
    One(SessionId),
    /// Sessions whose own entity is within this distance of a point.
    Near(Vec2, f32),
    /// Sessions that see an entity after this tick: one that is despawned in it is seen by nobody, so tell of its end by [`To::Near`].
    Seeing(Entity),
}

/// An event on its way to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<E> {
    pub(crate) audience: Audience,
    pub(crate) session: u64,
    pub(crate) centre: Vec2,
    pub(crate) radius: u32,
    pub(crate) event: E,
}

/// The options of a match, as they were given.
pub type Options = BTreeMap<String, String>;

/// One tick, as the game sees it.
pub struct Tick<G: Game> {
    pub(crate) now: TickNo,
    pub(crate) hz: u32,
    pub(crate) seed: u64,
    pub(crate) options: Options,
    pub(crate) players: Vec<Applied<G::Input>>,
    pub(crate) outgoing: RefCell<VecDeque<Outgoing<G::Event>>>,
    pub(crate) closed: Cell<bool>,
    pub(crate) outbox: Rc<RefCell<Outbox>>,
    pub(crate) life: Life,
    pub(crate) sights: Sights,
    pub(crate) pasts: Pasts<G>,
    /// Ticks that [`Tick::rewind`] goes back at most.
    pub(crate) rewind_ticks: u32,
}

/// An input that a tick applies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<I> {
    pub(crate) session: SessionId,
    pub(crate) input: I,
    pub(crate) arrival: Arrival,
    pub(crate) view: ViewTime,
}

impl<G: Game> Tick<G> {
    pub(crate) fn new(
        hz: u32,
        seed: u64,
        options: Options,
        outbox: Rc<RefCell<Outbox>>,
        pasts: Pasts<G>,
        rewind_ms: u32,
    ) -> Self {
        Self {
            now: TickNo(0),
            hz,
            seed,
            options,
            players: Vec::new(),
            outgoing: RefCell::new(VecDeque::new()),
            closed: Cell::new(false),
            outbox,
            pasts,
            rewind_ticks: (u64::from(rewind_ms) * u64::from(hz)).div_ceil(1000) as u32,
            life: Life::new(),
            sights: Sights::default(),
        }
    }

    /// The tick that is being stepped. The opening is tick 1.
    pub fn now(&self) -> TickNo {
        self.now
    }

    /// Seconds that a tick stands for.
    pub fn dt(&self) -> f32 {
        1.0 / self.hz as f32
    }

    /// Ticks a second.
    pub fn hz(&self) -> u32 {
        self.hz
    }

    /// Ticks in so many seconds, rounded up, at least one.
    pub fn secs(&self, seconds: f32) -> u32 {
        ((seconds * self.hz as f32).ceil() as u32).max(1)
    }

    /// An option of the match, as it was given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// An option of the match as a number; the default when it was not given or is none. One that is out of the range of its
    /// [`OptionKind`](super::OptionKind) does not come here: the match is refused.
    pub fn option_or<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.option(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// The players' inputs, in the order of their sessions, for timers and `step`; before those, as in `command`, there are none.
    pub fn players(&self) -> impl Iterator<Item = Player<'_, G>> {
        self.players.iter().map(|p| Player { session: p.session, input: &p.input, arrival: p.arrival, view: p.view })
    }

    /// The world as the last commit left it; empty in the tick of `open`.
    pub fn prev(&self) -> &G {
        self.now.0.checked_sub(1).and_then(|tick| self.pasts.at(tick)).unwrap_or_else(|| self.pasts.nothing())
    }

    /// The world as an earlier tick left it; `None` when that is not one of the last [`WINDOW`](ringfort_shm_state::limits::WINDOW) ticks.
    pub fn at(&self, tick: TickNo) -> Option<&G> {
        if tick < self.now { self.pasts.at(tick.0) } else { None }
    }

    /// The world as a player saw it. A moment that is longer ago than the operator's `rewind_ms` becomes the oldest allowed.
    pub fn rewind(&self, view: ViewTime) -> Rewind<'_, G> {
        let ViewTime { tick, next, alpha } = super::rewind::clamp(view, self.now.0, self.rewind_ticks);
        match (self.at(tick), self.at(next)) {
            (Some(from), Some(to)) => Rewind::new(from, to, alpha),
            _ => Rewind::new(self.prev(), self.prev(), 0.0),
        }
    }

    /// The random stream of (match seed, tick, entity): the same numbers whatever else was asked before.
    pub fn rng(&self, stream: Entity) -> Rng {
        Rng::new(self.seed, self.now.0, stream.index, stream.generation)
    }

    /// Tells players something. A `#[reliable]` event is kept until each of them has acknowledged it; any other goes with
    /// this tick's snapshot if there is room.
    pub fn send(&self, to: To, event: G::Event) {
        let none = Vec2::ZERO;
        let (audience, session, centre, radius) = match to {
            To::All => (Audience::All, 0, none, 0),
            To::One(session) => (Audience::One, session.0, none, 0),
            To::Near(centre, radius) => (Audience::Near, 0, centre, radius.to_bits()),
            To::Seeing(entity) => (Audience::Seeing, u64::from(entity.generation), none, entity.index),
        };
        self.outgoing.borrow_mut().push_back(Outgoing { audience, session, centre, radius, event });
    }

    /// Ends the match after this tick: its sessions are told, and its memory goes back to the arena.
    pub fn close(&self) {
        self.closed.set(true);
    }

    /// Whether an event of this kind is kept until it is acknowledged.
    pub(crate) fn is_reliable(event: &G::Event) -> bool {
        event.reliable()
    }
}
