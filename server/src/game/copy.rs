//! A client's copy of a match, in versions: one for each snapshot that may still be drawn. They share what they have in common, and
//! each is the author's own state struct.

use std::collections::VecDeque;
use std::rc::Rc;

use ringfort_protocol::bits::BitReader;
use ringfort_protocol::{Entity, SessionId, TickNo};
use ringfort_shm_state::heap_pages::HeapPages;
use ringfort_shm_state::sheet::Rows;

use super::grid::Grids;
use super::state::{Binder, BoundOn, ZoneShared};
use super::{Description, DescriptionError, Game, Received, ZoneLimits};

/// The newest versions of a match, by tick.
pub(crate) struct Copies<G: Game> {
    is: Description,
    me: SessionId,
    grids: Rc<Grids>,
    versions: VecDeque<Version<G>>,
    most: usize,
}

/// What one snapshot showed.
pub(crate) struct Version<G> {
    pages: HeapPages,
    shared: Rc<ZoneShared>,
    me: SessionId,
    game: G,
}

impl<G: Game> Copies<G> {
    /// Of a match of this size, at most so many versions; entities of our own belong to `me`.
    pub(crate) fn new(limits: ZoneLimits, me: SessionId, most: usize) -> Result<Self, DescriptionError> {
        let is = Description::of::<G>(limits)?;
        Ok(Self { is, me, grids: Rc::default(), versions: VecDeque::with_capacity(most), most: most.max(1) })
    }

    /// Begins the version of a newer tick, which is the newest so far until it is changed. The oldest goes when there are too many.
    pub(crate) fn begin(&mut self, tick: TickNo) -> &mut Version<G> {
        let oldest = if self.versions.len() < self.most { None } else { self.versions.pop_front() };
        let version = oldest.unwrap_or_else(|| self.bind());
        if let Some(newest) = self.versions.back() {
            // SAFETY: whoever holds a reference into a version's state holds this `Copies` borrowed, and it is `&mut` here.
            unsafe { version.pages.become_copy_of(&newest.pages) };
        }
        version.shared.shows(tick.0);
        self.versions.push_back(version);
        self.versions.back_mut().expect("just pushed")
    }

    fn bind(&self) -> Version<G> {
        let pages = HeapPages::new(self.is.pages);
        let shared = ZoneShared::new(BoundOn::Client, pages.sheet(), pages.sheet(), &self.is, Rc::clone(&self.grids));
        let game = G::bind(&mut Binder::new(Rc::clone(&shared), &self.is));
        Version { pages, shared, me: self.me, game }
    }

    /// The newest version, once there is one.
    pub(crate) fn newest(&self) -> Option<&Version<G>> {
        self.versions.back()
    }

    /// All versions, the oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Version<G>> + ExactSizeIterator {
        self.versions.iter()
    }

    /// The match's wire and memory.
    pub(crate) fn description(&self) -> &Description {
        &self.is
    }
}

impl<G: Game> Version<G> {
    /// The tick that it shows.
    pub(crate) fn tick(&self) -> TickNo {
        TickNo(self.shared.committed_tick.get())
    }

    /// The state.
    pub(crate) fn game(&self) -> &G {
        &self.game
    }

    /// An entity is seen that was not; what was at its index is gone.
    pub(crate) fn fresh(&mut self, e: Entity, mine: bool) {
        self.gone(e.index);
        let owner = if mine { self.me } else { SessionId::NOBODY };
        self.shared.entities.borrow_mut().note(e.index, e.generation, owner.0);
    }

    /// The entity at an index is not seen any more.
    pub(crate) fn gone(&mut self, index: u32) {
        self.game.receive(&Received::Gone(index));
        self.shared.entities.borrow_mut().forget(index);
    }

    /// A row of a column of the schema came, or went.
    pub(crate) fn row(&mut self, column: u16, entity: u32, row: Option<BitReader<'_>>) {
        self.game.receive(&Received::Row { column, entity, row });
    }

    /// A global of the schema came.
    pub(crate) fn global(&mut self, global: u16, row: BitReader<'_>) {
        self.game.receive(&Received::Global { global, row });
    }
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::bits::BitWriter;
    use ringfort_protocol::{Component, Vec2};

    use super::*;
    use crate::skirmish::{Body, Skirmish};

    fn bits(row: &impl Component) -> Vec<u8> {
        let mut to = BitWriter::default();
        row.encode(&mut to);
        to.finish()
    }

    #[test]
    fn versions_show_their_own_tick() {
        let me = SessionId::new(1, 0);
        let mut copies = Copies::<Skirmish>::new(ZoneLimits::of::<Skirmish>(8), me, 3).expect("a match of eight");
        let e = Entity { index: 4, generation: 2 };
        for tick in 1..=10 {
            let version = copies.begin(TickNo(tick));
            if tick == 1 {
                version.fresh(e, true);
            }
            let row = bits(&Body { pos: Vec2::new(tick as f32, 0.0), vel: Vec2::ZERO, aim: 0.0 });
            version.row(Skirmish::BODY.index, e.index, Some(BitReader::new(&row)));
        }
        let at: Vec<f32> = copies.iter().map(|version| version.game().body[e].pos.x).collect();
        assert!(at.iter().zip([8.0, 9.0, 10.0]).all(|(a, b)| (a - b).abs() < 0.01), "{at:?}");
        assert_eq!(copies.newest().map(Version::tick), Some(TickNo(10)));
        let newest = copies.newest().expect("one").game();
        assert_eq!((newest.ents.owner(e), newest.ents.alive(Entity { index: 4, generation: 1 })), (Some(me), false));
        copies.begin(TickNo(11)).gone(4);
        assert!(!copies.newest().expect("one").game().ents.alive(e));
        assert!(copies.iter().next().expect("one").game().ents.alive(e), "an older one still has it");
    }
}
