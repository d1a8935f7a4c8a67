//! A game bound to its zone's pages: the state struct, the engine's tables beside it, and the commit of both together.

use std::cell::RefCell;
use std::rc::Rc;

use ringfort_shm_state::Plain;
use ringfort_shm_state::layout::{
    EventRow, KickedRow, RefusalRow, RootHead, SessionInput, SessionRejected, SessionRow, SessionVerdict, ZoneLife, ZoneMeta,
};
use ringfort_shm_state::pages::{AdoptError, CommitError, Differing, Draft, Pages};
use ringfort_shm_state::past::PastPages;
use ringfort_shm_state::sheet::Rows;
use ringfort_shm_state::table::{Table, TableAt};
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

use super::BadRow;
use super::input_bytes::InputBytes;
use super::rewind::Pasts;
use super::state::{Binder, BoundOn, ZoneShared};
use super::{Description, Game, Hook, Outbox};

/// A game and its zone's tables, in the one process that owns the zone.
pub(crate) struct Bound<G: Game> {
    pub(crate) game: G,
    pub(crate) shared: Rc<ZoneShared>,
    pub(crate) sessions: Table<SessionRow>,
    pub(crate) inputs: SessionInputs,
    pub(crate) events: Table<EventRow>,
    pub(crate) cues: Table<EventRow>,
    /// Shared with the tick, through which the game asks.
    pub(crate) outbox: Rc<RefCell<Outbox>>,
    pub(crate) refusals: Table<RefusalRow>,
    pub(crate) kicked: Table<KickedRow>,
    life: Table<ZoneLife>,
    meta: Table<ZoneMeta>,
    pages: Rc<Pages>,
    /// Where the game's indices read the last commit.
    last: PastPages,
}

/// What a zone knows of its players' inputs, by session slot.
pub(crate) struct SessionInputs {
    pub(crate) rows: Table<SessionInput>,
    pub(crate) verdicts: Table<SessionVerdict>,
    pub(crate) rejected: Table<SessionRejected>,
    pub(crate) bytes: InputBytes,
}

impl SessionInputs {
    /// A player comes.
    pub(crate) fn insert(&mut self, slot: u32, row: SessionInput) {
        self.rows.insert(slot, row);
        self.bytes.insert(slot);
    }

    /// A player goes, and all that was known of its inputs.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.rows.remove(slot);
        self.verdicts.remove(slot);
        self.rejected.remove(slot);
        self.bytes.remove(slot);
    }

    /// What was given up of a session.
    pub(crate) fn rejected(&self, slot: u32) -> SessionRejected {
        self.rejected.get(slot).copied().unwrap_or(SessionRejected::new_zeroed())
    }
}

impl<G: Game> Bound<G> {
    /// A new match.
    pub(crate) fn open(world: &Rc<World>, slot: usize, id: u64, epoch: u16, is: &Description) -> Result<Self, AdoptError> {
        let pages = Pages::open(Rc::clone(world), slot, id, epoch, is.pages)?;
        Ok(Self::bind(Rc::new(pages), is))
    }

    /// A match that another process stepped before.
    pub(crate) fn adopt<E: From<AdoptError> + From<BadRow>>(
        world: &Rc<World>,
        slot: usize,
        id: u64,
        epoch: u16,
        is: &Description,
    ) -> Result<(Self, Option<RootHead>), E> {
        let (pages, head) = Pages::adopt(Rc::clone(world), slot, id, epoch, is.pages)?;
        let pages = Rc::new(pages);
        is.checks.iter().try_for_each(|check| check.run(&pages))?;
        Ok((Self::bind(pages, is), Some(head)))
    }

    fn bind(pages: Rc<Pages>, is: &Description) -> Self {
        let mut meta = engine_table::<ZoneMeta>(&pages, is.engine.meta);
        if meta.get(0).is_none() {
            meta.insert(0, ZoneMeta::new_zeroed());
        }
        let last = pages.past();
        let shared = ZoneShared::new(BoundOn::Zone, pages.sheet(), last.sheet(), is, Rc::default());
        shared.meta.set(*meta.get(0).expect("just put there"));
        let game = G::bind(&mut Binder::new(Rc::clone(&shared), is));
        Self {
            game,
            shared,
            last,
            sessions: engine_table(&pages, is.engine.sessions),
            inputs: SessionInputs {
                rows: engine_table(&pages, is.engine.inputs),
                verdicts: engine_table(&pages, is.engine.verdicts),
                rejected: engine_table(&pages, is.engine.rejected),
                // SAFETY: as in `engine_table`.
                bytes: unsafe { InputBytes::bind(&pages, is.input_bytes) },
            },
            events: engine_table(&pages, is.engine.events),
            cues: engine_table(&pages, is.engine.cues),
            // SAFETY: as in `engine_table`: bound here once for its zone, and written by the outbox alone.
            outbox: Rc::new(RefCell::new(unsafe { Outbox::bind(&pages, &is.engine.outbox) })),
            refusals: engine_table(&pages, is.engine.refusals),
            kicked: engine_table(&pages, is.engine.kicked),
            life: engine_table(&pages, is.engine.life),
            meta,
            pages,
        }
    }

    /// What a tick looks back with.
    pub(crate) fn pasts(&self, is: &Rc<Description>, adopted: u32) -> Pasts<G> {
        Pasts::new(Rc::clone(&self.pages), Rc::clone(is), Rc::clone(&self.shared.grids), adopted)
    }

    /// A tick begins: indices show the last commit.
    pub(crate) fn begin(&mut self, committed: u32) {
        // SAFETY: only grids read these pages, and they lend no references into them.
        let shown = unsafe { self.pages.look_back(&self.last, committed) };
        self.shared.shows(if shown { committed } else { 0 });
    }

    /// The engine's counters as they are in this tick.
    pub(crate) fn meta(&self) -> ZoneMeta {
        self.shared.meta.get()
    }

    /// What the game and the operator have said of the match's life, as it is in this tick's pages.
    pub(crate) fn life(&self) -> ZoneLife {
        self.life.get(0).copied().unwrap_or(ZoneLife::new_zeroed())
    }

    /// Puts that into its row.
    pub(crate) fn store_life(&mut self, now: ZoneLife) {
        if self.life() != now {
            self.life.insert(0, now);
        }
    }

    /// Whether the match was closed by a tick that is committed.
    pub(crate) fn committed_closed(&self) -> bool {
        self.meta.get(0).is_some_and(|meta| meta.closed_at != 0)
    }

    /// Clears what despawned entities left in the columns and frees their indices, last despawned first.
    pub(crate) fn reap(&mut self) {
        let despawned = self.shared.despawned.take();
        for index in &despawned {
            self.game.hook(Hook::Despawned(*index));
            let shared = &self.shared;
            shared.with_meta(|meta| shared.entities.borrow_mut().free(meta, *index));
        }
        let mut empty = despawned;
        empty.clear();
        self.shared.despawned.replace(empty);
    }

    /// Puts the engine's counters into their row.
    pub(crate) fn store_meta(&mut self) {
        let now = self.meta();
        if self.meta.get(0).is_some_and(|row| *row != now) {
            self.meta.insert(0, now);
        }
    }

    /// After a tick that was rolled back: the committed counters again, and nothing left of the tick.
    pub(crate) fn reload(&mut self) {
        // Whatever the game wrote is gone with its pages. In a match that has never committed the row is gone too.
        if self.meta.get(0).is_none() {
            self.meta.insert(0, ZoneMeta::new_zeroed());
        }
        self.shared.meta.set(*self.meta.get(0).expect("just put there"));
        self.shared.despawned.borrow_mut().clear();
        self.shared.due.borrow_mut().clear();
        self.shared.spawned_for.borrow_mut().clear();
        self.outbox.borrow_mut().reload();
    }

    /// What the tick has written, after [`Hook::BeforeCommit`].
    pub(crate) fn draft(&mut self) -> Draft {
        // SAFETY: as in `commit`; the hook has brought the rows into their committed form.
        unsafe { self.pages.draft() }
    }

    /// Where the tick differs from a draft of it.
    pub(crate) fn differing(&mut self, draft: &Draft) -> Vec<Differing> {
        // SAFETY: as in `draft`.
        unsafe { self.pages.differing(draft) }
    }

    /// Throws the tick away.
    pub(crate) fn roll_back(&mut self) {
        // SAFETY: as in `commit`.
        unsafe { self.pages.roll_back() }
    }

    /// Publishes the tick, or rolls it back.
    pub(crate) fn commit(&mut self, head: RootHead) -> Result<RootHead, CommitError> {
        // SAFETY: references into the tables come from methods of the game's fields and of the tables here, all of them
        // behind this `&mut self`; the game's functions have returned, and what they may keep cannot borrow.
        unsafe { self.pages.commit(head) }
    }

    /// Hands the zone over to who was granted the next epoch.
    pub(crate) fn release(self, next_epoch: u16) -> Result<(), CommitError> {
        // SAFETY: as in `end`; this is the last that is done with the tables.
        unsafe { self.pages.release(next_epoch) }
    }

    /// Publishes the end and gives the memory back.
    pub(crate) fn end(&mut self, head: RootHead) -> Result<RootHead, CommitError> {
        // SAFETY: as in `commit`; the zone is dropped by its sim after this, and nothing steps it any more.
        unsafe { self.pages.end(head) }
    }
}

fn engine_table<T: Plain>(pages: &Rc<Pages>, at: TableAt) -> Table<T> {
    // SAFETY: each of the engine's tables is bound here once for its zone, and written as this type by this function's
    // caller alone; the directory's hash of tables refuses another layout.
    unsafe { Table::bind(pages, at) }
}
