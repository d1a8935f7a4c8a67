//! Clients of one front-end without connections, for measuring what their snapshots cost.

use ringfort_protocol::AckBits;
use ringfort_protocol::baseline::Baselines;
use ringfort_protocol::bits::BitReader;
use ringfort_protocol::client_world::ClientWorld;
use ringfort_shm_state::layout::SessionRow;
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

use crate::auth::Pass;
use crate::frontend::counters::Counters;
use crate::frontend::session::Live;
use crate::frontend::snapshot::SnapshotBuilder;
use crate::frontend::zone_view::ZoneView;
use crate::game::Description;

/// Sessions that each look from one entity, and their front-end's view of the match.
pub struct Watchers {
    view: ZoneView,
    builder: SnapshotBuilder,
    counts: Counters,
    watchers: Vec<Watcher>,
}

struct Watcher {
    live: Box<Live>,
    row: SessionRow,
    acks: AckBits,
}

/// What one look at a client's world found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Entities that the client has.
    pub entities: usize,
    /// Records in the newest snapshot.
    pub records: usize,
}

impl Watchers {
    /// So many sessions of the match in a slot; the n-th looks from the n-th entity, of generation 1.
    pub fn new(slot: usize, description: Description, hz: u32, count: u32) -> Self {
        let (columns, globals) = (description.wire.columns.len(), description.wire.globals.len());
        let watcher = |n: u32| {
            let id = 1 << 32 | u64::from(n);
            let row = SessionRow { id, entity_index: n, entity_generation: 1, ..SessionRow::new_zeroed() };
            let live = Live::new(Pass::default(), slot, id, 1, 0, Baselines::new(columns, globals));
            Watcher { live: Box::new(live), row, acks: AckBits::NONE }
        };
        Self {
            view: ZoneView::new(slot, description, hz),
            builder: SnapshotBuilder::new(),
            counts: Counters::default(),
            watchers: (0..count).map(watcher).collect(),
        }
    }

    /// Puts the sessions into the order in which `key` sorts their entities' positions.
    pub fn order_by<K: Ord>(&mut self, key: impl Fn(f32, f32) -> K) {
        let entities = self.view.entities();
        self.watchers.sort_by_key(|watcher| {
            let entity = &entities[watcher.row.entity_index as usize];
            key(entity.x, entity.y)
        });
    }

    /// Takes in the newest commit; returns its tick.
    pub fn refresh(&mut self, world: &World) -> u32 {
        self.view.refresh(world).expect("the commit is readable");
        self.view.head().map_or(0, |head| head.tick)
    }

    /// Builds the snapshot of the commit for every session; returns the bytes of all of them.
    pub fn build(&mut self, budget: usize) -> usize {
        let Self { view, builder, counts, watchers } = self;
        let built = watchers.iter_mut().map(|w| builder.build(view, &mut w.live, &w.row, budget, 0, counts).len());
        built.sum()
    }

    /// Has every session acknowledge a tick, as one that has applied them all.
    pub fn acknowledge(&mut self, tick: u32) {
        for watcher in &mut self.watchers {
            watcher.acks.insert(tick);
            watcher.live.baselines.acked(watcher.acks);
        }
    }

    /// Records in the snapshots so far.
    pub fn records(&self) -> u64 {
        self.counts.0[crate::frontend::counters::SNAPSHOT_RECORDS]
    }

    /// Builds the next snapshot of one session, gives it to a client's world, and says what that has.
    pub fn look(&mut self, session: usize, world: &mut ClientWorld, budget: usize) -> Looked {
        let Self { view, builder, counts, watchers } = self;
        let watcher = &mut watchers[session];
        let bytes = builder.build(view, &mut watcher.live, &watcher.row, budget, 0, counts);
        world.apply(bytes, |_: BitReader<'_>| {}).expect("a snapshot of this build can be read by it");
        Looked { entities: world.entities().count(), records: world.touched().len() }
    }

    /// Bytes that a session takes beside its connection, on average.
    pub fn bytes_each(&self) -> usize {
        let bytes = self.watchers.iter().map(|w| size_of::<Live>() + w.live.baselines.bytes()).sum::<usize>();
        bytes / self.watchers.len().max(1)
    }
}
