//! A session's other end: what it is sent and what it hears, over the same snapshots and the same choice of events as a front-end's.

use ringfort_protocol::baseline::Baselines;
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort_protocol::{Entity, Message};
use ringfort_shm_state::layout::SessionRow;

use super::host::SLOT;
use crate::auth::Pass;
use crate::frontend::counters::Counters;
use crate::frontend::session::Live;
use crate::frontend::snapshot::{SnapshotBuilder, is_for};
use crate::frontend::zone_view::ZoneView;
use crate::game::Game;

/// A client that is always there, on a network that loses nothing.
pub(super) struct Client<G: Game> {
    /// The attachment that it is.
    pub(super) attachment: u32,
    live: Live,
    world: ClientWorld,
    /// The last input's number.
    pub(super) input: u32,
    /// The last input, of which the buttons that were held already are known.
    pub(super) last: G::Input,
    /// The last command's number.
    pub(super) command: u32,
    /// Reliable events up to this one were heard.
    pub(super) heard: u64,
}

impl<G: Game> Client<G> {
    pub(super) fn new(view: &ZoneView, row: &SessionRow) -> Self {
        let wire = &view.description().wire;
        let baselines = Baselines::new(wire.columns.len(), wire.globals.len());
        Self {
            attachment: row.attachment,
            live: Live::new(Pass::default(), SLOT, row.id, row.attachment, row.event_cursor, baselines),
            world: ClientWorld::new(wire.clone(), view.description().limits.max_entities),
            input: 0,
            last: G::Input::default(),
            command: 0,
            heard: row.event_cursor,
        }
    }

    /// The same client over a new connection: it has nothing of the world, and remembers what it has sent and heard.
    pub(super) fn again(&self, view: &ZoneView, row: &SessionRow) -> Self {
        let Self { input, last, command, heard, .. } = *self;
        Self { input, last, command, heard, ..Self::new(view, row) }
    }

    /// Whether it has an entity.
    pub(super) fn sees(&self, entity: Entity) -> bool {
        self.world.sees(entity)
    }

    /// Takes the view's commit in. `hear` gets its events: the unreliable ones first.
    pub(super) fn serve(
        &mut self,
        view: &ZoneView,
        row: &SessionRow,
        builder: &mut SnapshotBuilder,
        mut hear: impl FnMut(G::Event),
    ) {
        let snapshot = builder.build(view, &mut self.live, row, MAX_SNAPSHOT_BYTES, 0, &mut Counters::default());
        let applied = self.world.apply(snapshot, |mut bits| {
            hear(Message::decode(&mut bits).expect("an event is encoded as it is decoded"));
        });
        applied.expect("a snapshot of this build can be read by it");
        self.live.baselines.acked(self.world.acks());
        for number in self.heard + 1..=view.meta().map_or(0, |meta| meta.next_event) {
            self.heard = number;
            let Some(event) = view.event(number).filter(|event| is_for(event, view, &self.live)) else { continue };
            let payload = event.payload.get(..event.bytes as usize).unwrap_or_default();
            hear(Message::from_wire(payload).expect("an event is encoded as it is decoded"));
        }
    }
}
