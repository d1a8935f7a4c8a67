//! What one client is sent of one commit: which entities it sees, what it lacks of them, and what fits.
//!
//! This runs for every client and tick, so it walks flat arrays, allocates nothing once warm, and copies bits that were encoded
//! once for all clients.

use ringfort_protocol::baseline::{Baselines, Need, Seen};
use ringfort_protocol::bits::Row;
use ringfort_protocol::limits::{MAX_PREDICTED, MAX_SNAPSHOT_BYTES};
use ringfort_protocol::snapshot::{Lapse, SnapshotHeader, SnapshotWriter};
use ringfort_protocol::{AckBits, TickNo, Vec2};
use ringfort_shm_state::layout::{Audience, EventRow, RootHead, SessionInput, SessionRejected, SessionRow, SessionVerdict};
use zerocopy::FromZeros;

use super::counters::{self as count, Counters};
use super::entity_view::EntityView;
use super::interest::Chooser;
use super::session::Live;
use super::zone_view::ZoneView;

/// Bits of generation and owner of an entity that a client does not have.
const FRESH_BITS: usize = 33;
/// Weight of an entity of the client's own.
const OWN_WEIGHT: f32 = 8.0;
/// Distance at which an entity's weight has halved.
const HALF_WEIGHT_DISTANCE: f32 = 32.0;
/// Weight of telling that an entity is gone.
const GONE_WEIGHT: f32 = 2.0;

/// Builds snapshots, one after the other, in the same memory.
pub struct SnapshotBuilder {
    writer: SnapshotWriter,
    chooser: Chooser,
    candidates: Vec<Candidate>,
}

/// An entity of which the client lacks something.
#[derive(Clone, Copy)]
struct Candidate {
    /// Its place among the client's baselines.
    place: u32,
    index: u32,
    visible: u32,
    /// The most that it may take.
    bits: u32,
    distance_squared: f32,
    /// Only of those that do not all fit.
    weight: f32,
    what: What,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Update(u32),
    Fresh,
    Gone,
}

impl SnapshotBuilder {
    /// A builder with its buffers.
    pub fn new() -> Self {
        Self { writer: SnapshotWriter::new(), chooser: Chooser::default(), candidates: Vec::new() }
    }

    /// The snapshot of the view's commit for one client, at most `budget` bytes.
    pub fn build(
        &mut self,
        view: &ZoneView,
        live: &mut Live,
        row: &SessionRow,
        budget: usize,
        now_us: u64,
        counts: &mut Counters,
    ) -> &[u8] {
        let header = header(view, live, now_us);
        self.writer.start(&header, view.shape, budget.min(MAX_SNAPSHOT_BYTES));
        live.baselines.begin(header.tick.0);
        self.globals(view, &mut live.baselines);
        follow_entity(view, live, row);
        let bits = self.collect(view, live, row);
        if bits > self.writer.remaining_bits() {
            self.by_weight(view, live);
        }
        self.write(view, live, counts);
        self.cues(view, live, counts);
        self.writer.finish()
    }

    fn globals(&mut self, view: &ZoneView, baselines: &mut Baselines) {
        let mask = baselines.need_globals(view.globals_changed());
        if mask != 0 && self.writer.globals(mask, |wire| view.global(wire)) {
            baselines.sent_globals();
        }
    }

    /// Finds what the client lacks, in the order of the indices; returns the bits that it would take at most.
    fn collect(&mut self, view: &ZoneView, live: &mut Live, row: &SessionRow) -> usize {
        let Self { chooser, candidates, .. } = self;
        candidates.clear();
        let wanted = chooser.choose(view, live, row);
        let baselines = &mut live.baselines;
        baselines.admit(wanted, |one| one.index);
        let (base, entities) = (view.shape.record_bits(), view.entities());
        let mut total = 0;
        let mut wanted = wanted.iter().peekable();
        for place in 0..baselines.len() {
            let index = baselines.index(place);
            let Some(one) = wanted.next_if(|one| one.index == index) else {
                baselines.see(place, 0, 0);
                total += gone(candidates, baselines, place, base);
                continue;
            };
            let (entity, distance_squared) = (&entities[index as usize], one.distance_squared);
            let visible = entity.visible(view, live.session, distance_squared, baselines.seen(place, entity.generation));
            baselines.see(place, entity.generation, visible);
            if visible == 0 {
                total += gone(candidates, baselines, place, base);
                continue;
            }
            let changed = view.changed(index as usize);
            let seen = Seen { generation: entity.generation, visible, changes: entity.changes, changed };
            let (what, mut rest, mut bits) = match baselines.need(place, &seen) {
                Need::Nothing => continue,
                Need::Update { mask } => (What::Update(mask), mask, base + view.shape.columns as usize),
                Need::Fresh => (What::Fresh, visible, base + view.shape.columns as usize + FRESH_BITS),
            };
            if let Some(body) = entity.body(rest) {
                (bits, rest) = (bits + rest.count_ones() as usize + body.bits as usize, 0);
            }
            while rest != 0 {
                bits += 1 + view.row(index as usize, rest.trailing_zeros() as usize).bits as usize;
                rest &= rest - 1;
            }
            let (place, bits) = (place as u32, bits as u32);
            candidates.push(Candidate { place, index, visible, bits, distance_squared, weight: 0.0, what });
            total += bits as usize;
        }
        total
    }

    /// Not all will fit: everything waiting gains weight, and the heaviest come first. Those of them that surely fit come in the order
    /// of their indices, in which a record takes the least.
    ///
    /// Nothing starves. Let `r` be how many times the largest weight is the least, and `k` of `n` the records that a snapshot holds at
    /// least. What has waited for `r n / k` snapshots outweighs all that have been sent in the last `n / k`, so that each of the others
    /// comes before it once more at most: it is sent within `(r + 1) n / k` snapshots.
    fn by_weight(&mut self, view: &ZoneView, live: &mut Live) {
        for candidate in &mut self.candidates {
            let weight = candidate.weight(view, live.session);
            candidate.weight = live.baselines.wait(candidate.place as usize, weight);
        }
        self.candidates.sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight));
        let room = self.writer.remaining_bits();
        let ends = self.candidates.iter().scan(0, |end, candidate| {
            *end += candidate.bits as usize;
            Some(*end)
        });
        let sure = ends.take_while(|end| *end <= room).count();
        self.candidates[..sure].sort_unstable_by_key(|candidate| candidate.index);
    }

    fn write(&mut self, view: &ZoneView, live: &mut Live, counts: &mut Counters) {
        let (mut written, mut fresh_put_off) = (0, false);
        let mut full = false;
        for candidate in &self.candidates {
            let Candidate { place, index, visible, what, .. } = *candidate;
            let entity = &view.entities()[index as usize];
            let row = |wire: usize| view.row(index as usize, wire);
            let fits = !full
                && match what {
                    What::Update(mask) if mask & !visible == 0 && self.writer.is_usual(mask) => match entity.body(mask) {
                        Some(body) => self.writer.usual(index, body),
                        None => self.writer.update(index, mask, |wire| Some(row(wire))),
                    },
                    What::Update(mask) => self.writer.update(index, mask, |wire| (visible >> wire & 1 == 1).then(|| row(wire))),
                    What::Fresh => self.writer.fresh(index, entity.generation, entity.owner == live.session, visible, row),
                    What::Gone => self.writer.gone(index),
                };
            match (fits, what) {
                (false, what) => {
                    full = full || self.writer.remaining_bits() < view.shape.record_bits();
                    fresh_put_off |= what == What::Fresh;
                }
                (true, What::Gone) => live.baselines.sent_gone(place as usize),
                (true, _) => live.baselines.sent(place as usize, entity.generation, visible),
            }
            written += u64::from(fits);
        }
        counts.add(count::SNAPSHOT_RECORDS, written);
        let put_off = self.candidates.len() as u64 - written;
        counts.add(count::RECORDS_PUT_OFF, put_off);
        // In a match where more changes in a tick than a snapshot carries there is always something put off.
        live.filling &= fresh_put_off;
    }

    fn cues(&mut self, view: &ZoneView, live: &Live, counts: &mut Counters) {
        view.cues().around(live.viewpoint, |cue| {
            if is_for(&cue.row, view, live) {
                let fits = self.writer.cue(Row { words: &cue.words, bits: cue.bits });
                counts.one(if fits { count::CUES } else { count::CUES_DROPPED });
            }
        });
    }
}

impl Candidate {
    /// How much it matters to the client: by the columns' own weights, by distance, and its own the most.
    fn weight(&self, view: &ZoneView, session: u64) -> f32 {
        let mask = match self.what {
            What::Gone => return GONE_WEIGHT,
            What::Update(mask) => mask,
            What::Fresh => self.visible,
        };
        let weights = view.priorities.iter().enumerate().filter(|(wire, _)| mask >> wire & 1 == 1);
        let weight = weights.map(|(_, weight)| *weight).fold(0.0, f32::max);
        let own = match view.entities()[self.index as usize].owner == session {
            // Its client compares it with what it predicted for this very tick: it comes first.
            true if mask & view.predicted_mask != 0 => f32::INFINITY,
            true => OWN_WEIGHT,
            false => 1.0,
        };
        let far = if self.distance_squared.is_finite() { self.distance_squared.sqrt() / HALF_WEIGHT_DISTANCE } else { 1.0 };
        weight * own / (1.0 + far)
    }
}

/// Adds the entity of a place to what the client is to be told, if it may have something of it that it is no longer to see; returns the
/// bits that this takes.
fn gone(candidates: &mut Vec<Candidate>, baselines: &Baselines, place: usize, bits: usize) -> usize {
    if !baselines.need_gone(place) {
        return 0;
    }
    candidates.push(Candidate {
        place: place as u32,
        index: baselines.index(place),
        visible: 0,
        bits: bits as u32,
        distance_squared: f32::NAN,
        weight: 0.0,
        what: What::Gone,
    });
    bits
}

/// Moves the viewpoint along with the session's entity, to where it was when it lost its position: who is dead and comes back over another
/// front-end looks from the same place. Without such an entity it stays.
fn follow_entity(view: &ZoneView, live: &mut Live, row: &SessionRow) {
    let entity =
        view.entities().get(row.entity_index as usize).filter(|e| e.generation == row.entity_generation && e.generation != 0);
    if let Some((x, y)) = entity.and_then(EntityView::whereabouts) {
        live.viewpoint = Vec2 { x, y };
    }
}

/// What the view's commit says of the client's inputs, and how they came to it. What was given up is noted, to be told apart.
fn header(view: &ZoneView, live: &mut Live, now_us: u64) -> SnapshotHeader {
    let (engine, slot) = (&view.description().engine, live.session as u32);
    let row: Option<SessionInput> = view.mirror().get(&engine.inputs, slot);
    let row = row.unwrap_or_else(SessionInput::new_zeroed);
    let rejected: Option<SessionRejected> = view.mirror().get(&engine.rejected, slot);
    let verdict: Option<SessionVerdict> = view.mirror().get(&engine.verdicts, slot);
    let inputs = AckBits { highest: row.highest, bits: row.bits };
    live.rejected = rejected.map_or([AckBits::NONE; 2], |rejected| {
        let commands = AckBits { highest: rejected.command, bits: rejected.command_bits };
        [AckBits { highest: rejected.input, bits: rejected.input_bits }, commands]
    });
    let received = live.receipt(inputs.highest);
    let since = |then_us: u64| received.map_or(Lapse::UNKNOWN, |at| Lapse::from_us(then_us.saturating_sub(at)));
    let began_us = |head: &RootHead| head.published_us.saturating_sub(u64::from(head.took_us));
    SnapshotHeader {
        stay: live.stay,
        tick: TickNo(view.head().map_or(0, |head| head.tick)),
        inputs,
        waited: since(now_us),
        early: view.head().map_or(Lapse::UNKNOWN, |head| since(began_us(head))),
        repeated: u8::try_from(row.repeated).unwrap_or(u8::MAX),
        verdicts: verdict.map_or([0; MAX_PREDICTED], |verdict| verdict.seen_from(inputs.highest)),
    }
}

/// Whether an event is for a session, after the snapshot of the view's commit was built for it.
pub fn is_for(event: &EventRow, view: &ZoneView, live: &Live) -> bool {
    match Audience::from_u32(event.audience) {
        Some(Audience::All) => true,
        Some(Audience::One) => event.session == live.session,
        Some(Audience::Near) => {
            let (x, y) = (f32::from_bits(event.centre[0]), f32::from_bits(event.centre[1]));
            let (dx, dy, radius) = (x - live.viewpoint.x, y - live.viewpoint.y, f32::from_bits(event.radius));
            dx * dx + dy * dy <= radius * radius
        }
        Some(Audience::Seeing) => {
            let entity = view.entities().get(event.radius as usize);
            let lives = entity.is_some_and(|e| u64::from(e.generation) == event.session && e.generation != 0);
            let place = live.baselines.find(event.radius).filter(|_| lives);
            place.is_some_and(|place| live.baselines.seen(place, event.session as u32) != 0)
        }
        None => false,
    }
}
