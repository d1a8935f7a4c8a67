//! One match as its client plays it: worlds, clocks, prediction and predicted events, from the join to the end.

use std::time::{Duration, Instant};

use ringfort_client::{Session, Snapshot};
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::snapshot::SnapshotHeader;
use ringfort_protocol::{AckBits, Entity, SessionId, TickNo, View as Seen};

use super::arrivals::Arrivals;
use super::drawn::{Delay, Drawn, Pair};
use super::forecasts::{Forecasts, Sure};
use super::input_clock::InputClock;
use super::predict::{Unacked, Verdict};
use super::rules::{Own, Predicting, Rules};
use super::turns::Turns;
use super::versions::Versions;
use crate::game::{Description, DescriptionError, Game, Played, ZoneLimits};
use crate::limits::STALLED_AFTER;

/// A stay in one match.
pub(crate) struct Stay<G: Game> {
    /// Which match of the session it is.
    pub(crate) number: u32,
    /// How often it had been resumed when its last snapshot came.
    pub(crate) resumes: u32,
    pub(crate) session: SessionId,
    pub(crate) versions: Versions<G>,
    pub(crate) predictions: Vec<Box<dyn Predicting<G>>>,
    pub(crate) forecasts: Forecasts<G::Event>,
    pub(crate) clock: InputClock,
    pub(crate) arrivals: Arrivals,
    pub(crate) unacked: Unacked<G::Input>,
    pub(crate) pair: Pair,
    pub(crate) corrections: u64,
    /// When changes of each column of the schema are sent.
    pub(crate) turns: Vec<Turns>,
    pub(crate) repeated: u32,
    hz: u32,
    drawn: Drawn,
    newest: Last,
    /// When the last snapshot came, or when we joined.
    heard: Instant,
    /// How often the program was told of the present silence.
    stalls: u32,
}

/// What is remembered of the snapshot before.
#[derive(Clone, Copy, Default)]
struct Last {
    tick: u32,
    highest: u32,
}

impl<G: Game> Stay<G> {
    /// The stay of a session that has just joined.
    pub(crate) fn begin(
        now: Instant,
        session: &Session<Played<G>>,
        rules: &Rules<G>,
        delay: Delay,
        any: &G,
    ) -> Result<Stay<G>, DescriptionError> {
        let hz = session.tick_hz();
        let max_entities = session.world().map_or(1, ClientWorld::max_entities);
        let limits = ZoneLimits { capacity: session.capacity(), max_entities, spectators: 0 };
        let is = Description::of::<G>(limits)?;
        let turns: Vec<_> = is.schema.columns.iter().map(|column| Turns::new(column.rate, hz)).collect();
        let blended = turns.iter().zip(&is.blended).filter(|(_, blended)| **blended);
        let interval = blended.map(|(turns, _)| turns.period()).max().unwrap_or(1);
        let versions = Versions::new(limits, session.id(), delay.versions(hz, interval))?;
        Ok(Stay {
            number: session.joins(),
            resumes: session.resumes(),
            session: session.id(),
            versions,
            predictions: rules.start(hz, any),
            forecasts: Forecasts::new(),
            clock: InputClock::new(hz),
            arrivals: Arrivals::new(hz),
            unacked: Unacked::new(),
            pair: Pair::default(),
            corrections: 0,
            repeated: 0,
            hz,
            drawn: Drawn::new(delay, interval),
            turns,
            newest: Last::default(),
            heard: now,
            stalls: 0,
        })
    }

    /// Takes a snapshot that `world` has just applied; `told` gets predicted events that the server did not send, and what came before
    /// its verdict. Returns whether the program was told of a silence that ends here, after snapshots had come.
    pub(crate) fn snapshot(
        &mut self,
        snapshot: &Snapshot,
        world: &ClientWorld,
        header: &SnapshotHeader,
        told: impl FnMut(TickNo, G::Event, Sure),
    ) -> bool {
        let now = snapshot.arrived;
        let SnapshotHeader { tick, inputs, repeated, .. } = *header;
        self.arrivals.arrived(now, tick.0);
        let lived = self.versions.latest().is_some();
        self.versions.push(world);
        let fresh = inputs.highest > self.newest.highest;
        let early = header.early.duration().map(|early| early.as_secs_f64() * f64::from(self.hz)).filter(|_| fresh);
        // Until the first input has come, nothing is late.
        self.clock.feedback(early, repeated > 0 && inputs.highest > 0);
        self.repeated += u32::from(repeated).min(tick.0 - self.newest.tick);
        self.newest = Last { tick: tick.0, highest: inputs.highest };
        self.forecasts.settle(tick, inputs, &header.verdicts, told);
        self.unacked.settle(inputs.highest);
        let verdict = Verdict { tick, highest: inputs.highest, repeated };
        if let Some(latest) = self.versions.latest() {
            for prediction in &mut self.predictions {
                let own = Own { world: latest, mine: self.versions.mine(), turns: &self.turns };
                self.corrections += u64::from(prediction.settle(now, own, verdict, &self.unacked));
            }
        }
        self.heard = now;
        std::mem::take(&mut self.stalls) > 0 && lived
    }

    /// Notes an input as it was sent, with the events that it is to bring about.
    pub(crate) fn sent(&mut self, sequence: u32, input: G::Input, predicted: &[G::Event]) {
        for prediction in &mut self.predictions {
            prediction.step(sequence, &input);
        }
        self.unacked.push(sequence, input);
        for what in predicted {
            self.forecasts.push(sequence, TickNo(self.newest.tick), *what);
        }
    }

    /// The server has given up these inputs: they are neither predicted nor expected any more; `told` gets the events of them.
    pub(crate) fn reject(&mut self, now: Instant, inputs: AckBits, told: impl FnMut(TickNo, G::Event, Sure)) {
        self.forecasts.reject(inputs, told);
        self.unacked.reject(inputs);
        for prediction in &mut self.predictions {
            let replayed = prediction.reject(now, TickNo(self.newest.tick), inputs, &self.unacked);
            self.corrections += u64::from(replayed);
        }
    }

    /// Moves the drawn moment on; returns for how long nothing was heard, when that is to be said.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Duration> {
        self.drawn.advance(now, &self.arrivals, self.newest.tick);
        if let Some(pair) = self.drawn.pair(self.versions.ticks()) {
            self.pair = pair;
        }
        let silence = now.saturating_duration_since(self.heard);
        if silence < STALLED_AFTER * (self.stalls + 1) {
            return None;
        }
        self.stalls = (silence.as_nanos() / STALLED_AFTER.as_nanos()) as u32;
        Some(silence)
    }

    /// What the player sees, as an input says it.
    pub(crate) fn seen(&self) -> Seen {
        let Pair { older, newer, alpha } = self.pair;
        match u8::try_from(newer - older) {
            Ok(span) => Seen { tick: TickNo(older), span, alpha },
            // Too far apart to be said: the picture stands still meanwhile, see `View`.
            Err(_) => Seen { tick: TickNo(older), span: 0, alpha: 0 },
        }
    }

    /// When changes of a column of the schema are sent.
    pub(crate) fn turns_of(&self, column: u16) -> Turns {
        self.turns.get(usize::from(column)).copied().unwrap_or(Turns::EVERY_TICK)
    }

    /// How far the drawn moment lies behind the newest snapshot.
    pub(crate) fn delay(&self) -> Duration {
        let behind = f64::from(self.newest.tick) - self.drawn.tick().unwrap_or(f64::from(self.newest.tick));
        Duration::from_secs_f64((behind * self.arrivals.period()).max(0.0))
    }

    /// The tick of the newest snapshot; 0 before the first.
    pub(crate) fn tick(&self) -> TickNo {
        TickNo(self.newest.tick)
    }

    /// Whether an entity is ours.
    pub(crate) fn is_mine(&self, entity: Entity) -> bool {
        self.versions.mine().contains(&entity)
    }
}
