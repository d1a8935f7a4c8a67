//! What one client is sent of one commit: which entities it sees, what it lacks of them, and what fits.
//!
//! This runs for every client and tick, so it walks flat arrays, allocates nothing once warm, and copies bits that were encoded
//! once for all clients.

use ringfort_protocol::baseline::{Baselines, Need, Seen};
use ringfort_protocol::bits::Row;
use ringfort_protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort_protocol::snapshot::{Lapse, SnapshotHeader, SnapshotWriter};
use ringfort_protocol::{AckBits, TickNo, Vec2};
use ringfort_shm_state::layout::{Audience, EventRow, RootHead, SessionInput, SessionRow};
use zerocopy::FromZeros;

use super::counters::{self as count, Counters};
use super::session::Live;
use super::zone_view::{EntityView, ZoneView};

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
    candidates: Vec<Candidate>,
}

/// An entity of which the client lacks something.
#[derive(Clone, Copy)]
struct Candidate {
    weight: f32,
    index: u32,
    visible: u32,
    /// The most that it may take.
    bits: u32,
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
        Self { writer: SnapshotWriter::new(), candidates: Vec::new() }
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
        let bits = self.collect(view, live);
        if bits > self.writer.remaining_bits() {
            self.by_weight(&mut live.baselines);
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
    fn collect(&mut self, view: &ZoneView, live: &Live) -> usize {
        self.candidates.clear();
        let base = view.shape.record_bits();
        let mut total = 0;
        for (i, entity) in view.entities().iter().enumerate() {
            let index = i as u32;
            let (visible, distance_squared) = visible(view, entity, live);
            if visible == 0 {
                if live.baselines.need_gone(index) {
                    let (weight, bits) = (GONE_WEIGHT, base as u32);
                    self.candidates.push(Candidate { weight, index, visible: 0, bits, what: What::Gone });
                    total += base;
                }
                continue;
            }
            let seen = Seen { generation: entity.generation, visible, newest: entity.newest, changed: view.changed(i) };
            let (what, mask) = match live.baselines.need(index, &seen) {
                Need::Nothing => continue,
                Need::Update { mask } => (What::Update(mask), mask),
                Need::Fresh => (What::Fresh, visible),
            };
            let mut weight: f32 = 0.0;
            let mut rest = mask;
            let mut bits = base + view.shape.columns as usize + if what == What::Fresh { FRESH_BITS } else { 0 };
            while rest != 0 {
                let wire = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                weight = weight.max(view.priorities[wire]);
                bits += 1 + view.row(i, wire).bits as usize;
            }
            let own = match entity.owner == live.session {
                // Its client compares it with what it predicted for this very tick: it comes first.
                true if mask & view.predicted_mask != 0 => f32::INFINITY,
                true => OWN_WEIGHT,
                false => 1.0,
            };
            let far = if distance_squared.is_finite() { distance_squared.sqrt() / HALF_WEIGHT_DISTANCE } else { 1.0 };
            let weight = weight * own / (1.0 + far);
            self.candidates.push(Candidate { weight, index, visible, bits: bits as u32, what });
            total += bits;
        }
        total
    }

    /// Not all will fit: everything waiting gains weight, and the heaviest come first. Those of them that surely fit come in the order
    /// of their indices, in which a record takes the least.
    fn by_weight(&mut self, baselines: &mut Baselines) {
        for candidate in &mut self.candidates {
            candidate.weight = baselines.wait(candidate.index, candidate.weight);
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
            let Candidate { index, visible, what, .. } = *candidate;
            let entity = &view.entities()[index as usize];
            let fits = !full
                && match what {
                    What::Update(mask) => {
                        self.writer.update(index, mask, |wire| (visible >> wire & 1 == 1).then(|| view.row(index as usize, wire)))
                    }
                    What::Fresh => {
                        let mine = entity.owner == live.session;
                        self.writer.fresh(index, entity.generation, mine, visible, |wire| view.row(index as usize, wire))
                    }
                    What::Gone => self.writer.gone(index),
                };
            match (fits, what) {
                (false, what) => {
                    full = full || self.writer.remaining_bits() < view.shape.record_bits();
                    fresh_put_off |= what == What::Fresh;
                }
                (true, What::Gone) => live.baselines.sent_gone(index),
                (true, _) => live.baselines.sent(index, entity.generation, visible),
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
        for cue in view.cues().iter().filter(|cue| is_for(&cue.row, view, live)) {
            let fits = self.writer.cue(Row { words: &cue.words, bits: cue.bits });
            counts.one(if fits { count::CUES } else { count::CUES_DROPPED });
        }
    }
}

/// Columns of an entity that a client may see, and how far away it is, squared; infinite without a position.
#[inline]
fn visible(view: &ZoneView, entity: &EntityView, live: &Live) -> (u32, f32) {
    if entity.generation == 0 {
        return (0, f32::INFINITY);
    }
    let (dx, dy) = (entity.x - live.viewpoint.x, entity.y - live.viewpoint.y);
    let distance_squared = dx * dx + dy * dy;
    let mut mask = if entity.owner == live.session { view.owner_mask } else { view.all_mask };
    for class in &view.near {
        // Without a position the comparison is with not-a-number, and nothing is near.
        if distance_squared <= class.distance_squared {
            mask |= class.mask;
        }
    }
    (entity.present & mask, if distance_squared.is_nan() { f32::INFINITY } else { distance_squared })
}

/// Moves the viewpoint along with the session's entity, for as long as that has a position.
fn follow_entity(view: &ZoneView, live: &mut Live, row: &SessionRow) {
    let entity =
        view.entities().get(row.entity_index as usize).filter(|e| e.generation == row.entity_generation && e.generation != 0);
    if let Some(entity) = entity.filter(|e| e.x.is_finite() && e.y.is_finite()) {
        live.viewpoint = Vec2 { x: entity.x, y: entity.y };
    }
}

/// What the view's commit says of the client's inputs, and how they came to it. What was given up is noted, to be told apart.
fn header(view: &ZoneView, live: &mut Live, now_us: u64) -> SnapshotHeader {
    let row: Option<SessionInput> = view.mirror().get(&view.description().engine.inputs, live.session as u32);
    let row = row.unwrap_or_else(SessionInput::new_zeroed);
    let inputs = AckBits { highest: row.highest, bits: row.bits };
    let commands = AckBits { highest: row.rejected_command, bits: row.rejected_command_bits };
    live.rejected = [AckBits { highest: row.rejected, bits: row.rejected_bits }, commands];
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
        verdicts: row.verdicts,
    }
}

/// Whether an event is for a session.
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
            entity.is_some_and(|e| u64::from(e.generation) == event.session && visible(view, e, live).0 != 0)
        }
        None => false,
    }
}
