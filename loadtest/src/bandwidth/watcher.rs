//! One client, as a front-end serves it: interest, baselines, a budget, and acknowledgements that come late or not at all.

use std::collections::VecDeque;

use ringfort_protocol::AckBits;
use ringfort_protocol::baseline::{Baselines, Changes, Need, Seen};
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::limits::{MAX_PREDICTED, MAX_SNAPSHOT_BYTES};
use ringfort_protocol::snapshot::{Lapse, SnapshotHeader, SnapshotShape, SnapshotWriter};

use super::crowd::{COMPONENTS, Crowd, Random, Thing};
use super::{Scene, Sums, hand, plain};

/// Ticks from a snapshot to its acknowledgement: a hundred milliseconds at twenty ticks a second.
const ACK_TICKS: usize = 2;
/// Metres that a client sees.
const SIGHT: f32 = 80.0;
/// The entity whose player watches.
const OWN: usize = 0;

pub(super) struct Watcher {
    writer: SnapshotWriter,
    shape: SnapshotShape,
    baselines: Baselines,
    world: ClientWorld,
    acks: VecDeque<AckBits>,
    random: Random,
    loss: u64,
    /// Where it begins when not everything fits: after the entity that was the last to fit.
    first: usize,
}

impl Watcher {
    pub(super) fn new(seed: u64, loss: u64, crowd: &Crowd) -> Watcher {
        let max_entities = crowd.things.len() as u32;
        Watcher {
            writer: SnapshotWriter::new(),
            shape: SnapshotShape::new(&crowd.layout, max_entities),
            baselines: Baselines::new(crowd.layout.columns.len(), crowd.layout.globals.len()),
            world: ClientWorld::new(crowd.layout.clone(), max_entities),
            acks: VecDeque::new(),
            random: Random(seed),
            loss,
            first: 0,
        }
    }

    /// Sends the snapshot of the crowd's tick and adds up what it took.
    pub(super) fn watch(&mut self, crowd: &Crowd, sums: &mut Sums) {
        if self.acks.len() >= ACK_TICKS
            && let Some(acks) = self.acks.pop_front()
        {
            self.baselines.acked(acks);
        }
        let header = SnapshotHeader {
            stay: 1,
            tick: crowd.tick,
            inputs: AckBits { highest: crowd.tick.0, bits: u32::MAX },
            waited: Lapse::ZERO,
            early: Lapse::ZERO,
            repeated: 0,
            verdicts: [0; MAX_PREDICTED],
        };
        self.writer.start(&header, self.shape, MAX_SNAPSHOT_BYTES);
        self.baselines.begin(crowd.tick.0);
        let mut plain = plain::Snapshot { tick: crowd.tick.0, acked: (crowd.tick.0, u32::MAX), updates: Vec::new() };
        let before = self.writer.remaining_bits();
        let (wrapped, ahead) = crowd.things.split_at(self.first);
        let (mut last, mut all_fit) = (self.first, true);
        for (index, thing) in (self.first..).zip(ahead).chain((0..).zip(wrapped)) {
            match self.write(crowd, index, thing) {
                Written::Nothing => {}
                Written::Update(mask) => {
                    last = index + 1;
                    plain.updates.push(plain::Update::of(index as u32, thing, mask));
                    sums.updates += 1;
                    sums.hand_bits += hand::bits(mask);
                }
                Written::NoRoom => all_fit = false,
            }
        }
        self.first = if all_fit { 0 } else { last % crowd.things.len() };
        sums.record_bits += (before - self.writer.remaining_bits()) as u64;
        let bytes = self.writer.finish();
        sums.snapshots += 1;
        sums.ours += bytes.len() as u64;
        sums.bincode += plain.bytes();
        if !self.random.chance(self.loss) {
            self.world.apply(bytes, |_| {}).expect("what the writer wrote can be read");
        }
        self.acks.push_back(self.world.acks());
    }

    fn write(&mut self, crowd: &Crowd, index: usize, thing: &Thing) -> Written {
        let own = &crowd.things[OWN];
        let near = crowd.scene != Scene::Wide || own.body.pos.distance_squared(thing.body.pos) <= SIGHT * SIGHT;
        // Body and health of who is near, the own gun, and everybody's score.
        let mask = if near { 0b0011 } else { 0 } | if index == OWN { 0b0100 } else { 0 } | 0b1000;
        let visible = (0..COMPONENTS).fold(0, |bits, c| bits | (mask >> c & 1) << crowd.wire[c]);
        let mut changed = [0; ringfort_protocol::limits::MAX_SYNCED];
        (0..COMPONENTS).for_each(|c| changed[crowd.wire[c]] = thing.changed[c]);
        let columns = crowd.layout.columns.len();
        let changed = &changed[..columns];
        let seen = Seen { generation: 1, visible, changes: Changes::of(changed), changed };
        let place = self.baselines.place(index as u32);
        let component = |column: usize| crowd.wire.iter().position(|wire| *wire == column).unwrap_or_default();
        let row = |column: usize| thing.row(component(column));
        let (fits, sent) = match self.baselines.need(place, &seen) {
            Need::Nothing => return Written::Nothing,
            Need::Update { mask } => {
                let present = |column: usize| (visible >> column & 1 == 1).then(|| row(column));
                (self.writer.update(index as u32, mask, present), mask & visible)
            }
            Need::Fresh => (self.writer.fresh(index as u32, 1, index == OWN, visible, row), visible),
        };
        if !fits {
            return Written::NoRoom;
        }
        self.baselines.sent(place, 1, visible);
        Written::Update((0..COMPONENTS).fold(0, |bits, c| bits | (sent >> crowd.wire[c] & 1) << c))
    }
}

/// What became of an entity in a snapshot.
enum Written {
    /// The client has all.
    Nothing,
    /// These components were written.
    Update(u32),
    /// It is put off.
    NoRoom,
}
