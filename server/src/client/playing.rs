//! A client without its socket and its clock: a [`Session`] gives it what arrives, and it keeps everything that the program looks at.
//!
//! Whoever drives it, be it [`Client`](super::Client) or a simulation, calls [`Playing::snapshot`] for every snapshot that the session
//! applies (it is a [`Watch`]), then [`Playing::settle`] once. Equal calls with equal times give equal results: nothing here looks at a
//! clock or rolls dice.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringfort_client::{Ended, ResumeToken, Session, SessionKey, Snapshot, Watch};
use ringfort_protocol::{AckBits, Message, SessionId, TickNo, View as Seen};

use super::drawn::Delay;
use super::error::Error;
use super::forecasts::Sure;
use super::rules::{ColumnOf, Drive, OnCorrection, Rules};
use super::status::{Net, Status};
use super::stay::Stay;
use super::versions::Nothing;
use super::view::View;
use crate::game::{Component, Game, Played};
use crate::limits::{CLIENT_EVENTS_MAX, CLIENT_STATUSES_MAX};

/// Something that the game tells, or that we think it will.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event<E> {
    /// The tick that sent it; of a predicted one, the newest that we knew of when we predicted it.
    pub tick: TickNo,
    /// What.
    pub what: E,
    /// How sure it is.
    pub sure: Sure,
}

/// How a client plays: what it predicts, and how far behind it draws others.
pub struct Settings<G: Game> {
    rules: Rules<G>,
    delay: Delay,
}

impl<G: Game> Settings<G> {
    /// Nothing is predicted, and others are drawn as far behind as the jitter asks for.
    pub fn new() -> Settings<G> {
        Settings { rules: Rules::new(), delay: Delay::Auto }
    }

    /// Draws others so far behind the newest snapshot.
    pub fn interpolate(&mut self, delay: Delay) {
        self.delay = delay;
    }

    /// Predicts a column of our own entity with the function that the server calls for each input.
    pub fn predict<T: Component>(&mut self, column: ColumnOf<G, T>, drive: Drive<T, G::Input>) {
        self.rules.predict(column, drive);
    }

    /// Says how corrections of a predicted column are shown.
    pub fn on_correction<T: Component>(&mut self, column: ColumnOf<G, T>, rule: OnCorrection<T>) {
        self.rules.on_correction(column, rule);
    }
}

impl<G: Game> Default for Settings<G> {
    fn default() -> Settings<G> {
        Settings::new()
    }
}

/// What a program looks at, of one session.
pub struct Playing<G: Game> {
    settings: Settings<G>,
    /// The world before the first snapshot.
    nothing: Nothing<G>,
    stay: Option<Stay<G>>,
    /// Whether inputs are wanted.
    plays: bool,
    now: Instant,
    statuses: VecDeque<Status>,
    events: VecDeque<Event<G::Event>>,
    events_dropped: u64,
    /// Cues that the session dropped because we were not driven for too long.
    cues_dropped: u64,
    /// [`Status::Ended`] has been told, and nothing follows it.
    ended: bool,
    /// The session was resumed with this token, and [`Status::Resumed`] is to be told with its first snapshot.
    resumed: Option<ResumeToken>,
    /// Ticks between the newest snapshot before a resume and the first after it.
    lost: u32,
    broken: Option<String>,
}

impl<G: Game> Playing<G> {
    /// A client that has not joined yet. Fails when the game or what is to be predicted makes no sense.
    pub fn new(now: Instant, settings: Settings<G>) -> Result<Playing<G>, Error> {
        let nothing = Nothing::new()?;
        settings.rules.check(nothing.game(), |column| nothing.column(column))?;
        Ok(Playing {
            settings,
            nothing,
            stay: None,
            plays: false,
            now,
            statuses: VecDeque::new(),
            events: VecDeque::new(),
            events_dropped: 0,
            cues_dropped: 0,
            ended: false,
            resumed: None,
            lost: 0,
            broken: None,
        })
    }

    /// Takes a snapshot that `session` has just applied.
    pub fn snapshot(&mut self, session: &Session<Played<G>>, snapshot: &Snapshot) {
        self.keep_stay(snapshot.arrived, session);
        let (Some(stay), Some(world)) = (&mut self.stay, session.world()) else { return };
        let Some(header) = world.header() else { return };
        let (events, dropped) = (&mut self.events, &mut self.events_dropped);
        let told = |tick, what, sure| push_event(events, dropped, Event { tick, what, sure });
        let is_back = std::mem::replace(&mut stay.resumes, session.resumes()) != session.resumes();
        if is_back {
            self.lost = snapshot.tick.0.saturating_sub(stay.tick().0 + 1);
        }
        if stay.snapshot(snapshot, world, &header, told) && !is_back {
            self.tell(Status::Live);
        }
    }

    /// Takes what else has happened to `session`, and moves everything on to `now`.
    pub fn settle(&mut self, now: Instant, session: &mut Session<Played<G>>) {
        self.now = now;
        self.keep_stay(now, session);
        self.take_events(session);
        if !session.is_joined() {
            self.finish_stay();
        }
        let statuses: Vec<_> = session.statuses().collect();
        for status in statuses {
            self.take_status(status);
        }
        // Who watches gives no inputs, and one that waits for its session to be resumed no more than may wait.
        self.plays = session.takes_inputs() && !self.ended;
        self.cues_dropped = session.cues_dropped();
        let awaits = session.is_joined() && !session.is_resuming();
        if let Some(silence) = self.stay.as_mut().and_then(|stay| stay.advance(now)).filter(|_| awaits) {
            self.tell(Status::Stalled(silence));
        }
        if let Some(reason) = self.broken.take() {
            session.refuse(&reason);
        }
    }

    /// Ends it over a failure of our own.
    pub fn fail(&mut self, reason: String) {
        self.plays = false;
        self.tell(Status::Ended(Ended::Lost { reason }));
    }

    /// Takes one input slot if it is due: give one input for it.
    pub fn take_slot(&mut self, now: Instant) -> bool {
        self.plays && self.stay.as_mut().is_some_and(|stay| stay.clock.take(now))
    }

    /// When the next input slot is due.
    pub fn next_slot(&self) -> Option<Instant> {
        self.stay.as_ref().filter(|_| self.plays)?.clock.next()
    }

    /// When a program that looked at the slots of the last pump is to look again: a slot that was due then, and was not taken, wakes nobody.
    pub fn wake_at(&self) -> Option<Instant> {
        self.next_slot().filter(|next| *next > self.now)
    }

    /// What the player sees, to be sent with an input.
    pub fn seen(&self) -> Seen {
        self.stay.as_ref().map_or(Seen::default(), Stay::seen)
    }

    /// Whether an event can be predicted beside these others of the same input.
    pub fn can_predict(&self, what: &G::Event, beside: &[G::Event]) -> bool {
        self.stay.as_ref().is_some_and(|stay| stay.forecasts.accepts(what, beside))
    }

    /// Notes an input as the session sent it, with the events that are predicted of it.
    pub fn sent(&mut self, sequence: u32, input: G::Input, predicted: &[G::Event]) {
        let Some(stay) = &mut self.stay else { return };
        stay.sent(sequence, input, predicted);
        for what in predicted {
            let event = Event { tick: stay.tick(), what: *what, sure: Sure::Predicted };
            push_event(&mut self.events, &mut self.events_dropped, event);
        }
    }

    /// Takes the steps that have happened.
    pub fn statuses(&mut self) -> impl Iterator<Item = Status> + use<G> {
        std::mem::take(&mut self.statuses).into_iter()
    }

    /// Takes the events that have come, in their order.
    pub fn events(&mut self) -> impl Iterator<Item = Event<G::Event>> + use<G> {
        std::mem::take(&mut self.events).into_iter()
    }

    /// The world as it is to be drawn now.
    pub fn view(&self) -> View<'_, G> {
        View::new(self.nothing.game(), self.stay.as_ref(), self.now)
    }

    /// Our session; nobody before we joined.
    pub fn me(&self) -> SessionId {
        self.stay.as_ref().map_or(SessionId::NOBODY, |stay| stay.session)
    }

    /// Figures of the connection, of which `net` is what the session knows.
    pub fn net(&self, net: &ringfort_client::Net) -> Net {
        let stay = self.stay.as_ref();
        let target = stay.map_or(0.0, |stay| stay.clock.target());
        Net {
            rtt: net.rtt,
            loss: net.loss,
            input_margin: stay.and_then(|stay| stay.clock.margin()).unwrap_or(target) as f32,
            input_margin_target: target as f32,
            repeated: stay.map_or(0, |stay| stay.repeated),
            snapshot_age: net.snapshot_age,
            jitter: stay.map_or(Duration::ZERO, |stay| stay.arrivals.jitter()),
            delay: stay.map_or(Duration::ZERO, Stay::delay),
            unacknowledged: stay.map_or(0, |stay| stay.unacked.len() as u32),
            corrections: stay.map_or(0, |stay| stay.corrections),
            rejected: net.rejected,
            slots_dropped: stay.map_or(0, |stay| stay.clock.dropped()),
            events_dropped: self.events_dropped + self.cues_dropped,
        }
    }

    /// A new join is a new stay: nothing of the match before counts in it.
    fn keep_stay(&mut self, now: Instant, session: &Session<Played<G>>) {
        let same = |stay: &Stay<G>| stay.number == session.joins();
        if !session.is_joined() || self.broken.is_some() || self.stay.as_ref().is_some_and(same) {
            return;
        }
        match Stay::begin(now, session, &self.settings.rules, self.settings.delay, self.nothing.game()) {
            Ok(stay) => {
                self.finish_stay();
                self.stay = Some(stay);
            }
            Err(error) => self.broken = Some(error.to_string()),
        }
    }

    /// Settles what was predicted: no verdict on it will come any more.
    fn finish_stay(&mut self) {
        let Some(stay) = &mut self.stay else { return };
        let (events, dropped) = (&mut self.events, &mut self.events_dropped);
        stay.forecasts.finish(|tick, what, sure| push_event(events, dropped, Event { tick, what, sure }));
    }

    fn take_events(&mut self, session: &mut Session<Played<G>>) {
        for ringfort_client::Event { tick, what, .. } in session.events() {
            let Some(stay) = &mut self.stay else { return };
            let mine = what.predicted().is_some_and(|(_, entity)| stay.is_mine(entity));
            if stay.forecasts.is_news(tick, &what, mine) {
                push_event(&mut self.events, &mut self.events_dropped, Event { tick, what, sure: Sure::Confirmed });
            }
        }
    }

    fn take_status(&mut self, status: ringfort_client::Status) {
        use ringfort_client::Status as Step;
        if let Step::Rejected { inputs, .. } = &status {
            self.reject(*inputs);
        }
        let told = match status {
            Step::Connecting => Status::Connecting,
            Step::Joined { session, match_name, tick_hz, token } => {
                // Of the match before, if that ended before the first snapshot after it.
                self.resumed = None;
                Status::Joined { session, match_name, hz: tick_hz, resume: token }
            }
            Step::Live => match self.resumed.take() {
                Some(resume) => Status::Resumed { lost: self.lost, resume },
                None => Status::Live,
            },
            Step::Resuming { attempt } => Status::Resuming { attempt },
            Step::Resumed { token, .. } => {
                self.resumed = Some(token);
                return;
            }
            Step::Refused { code, reason } => Status::Refused { code, reason },
            Step::Rejected { inputs, commands } => Status::Rejected { inputs, commands },
            Step::MatchOver => Status::MatchOver,
            Step::Ended(ended) => Status::Ended(ended),
        };
        self.tell(told);
    }

    /// The server has given up these inputs: nothing that was thought to follow from them does.
    fn reject(&mut self, inputs: AckBits) {
        let Some(stay) = &mut self.stay else { return };
        let (events, dropped) = (&mut self.events, &mut self.events_dropped);
        stay.reject(self.now, inputs, |tick, what, sure| push_event(events, dropped, Event { tick, what, sure }));
    }

    fn tell(&mut self, status: Status) {
        if self.ended {
            return;
        }
        self.ended = matches!(status, Status::Ended(_));
        if self.statuses.len() >= CLIENT_STATUSES_MAX {
            self.statuses.pop_front();
        }
        self.statuses.push_back(status);
    }
}

impl<G: Game> Watch<Played<G>> for Playing<G> {
    fn snapshot(&mut self, _key: SessionKey, session: &Session<Played<G>>, snapshot: &Snapshot) {
        Playing::snapshot(self, session, snapshot);
    }
}

/// A program that does not take its events loses the oldest of them.
fn push_event<E>(events: &mut VecDeque<Event<E>>, dropped: &mut u64, event: Event<E>) {
    if events.len() >= CLIENT_EVENTS_MAX {
        events.pop_front();
        *dropped += 1;
    }
    events.push_back(event);
}
