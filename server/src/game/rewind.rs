//! Earlier ticks, and what somebody saw who drew the world between two of them.
//!
//! **The rule between two ticks**, the same here and in the client: an entity is drawn if the older tick has it. A column with
//! `#[interp(lerp, snap_over = d)]` is blended if the newer tick has the entity's row too and the two are no further apart than `d`; else
//! the older tick's row is drawn until the newer one is reached. A column without `#[interp]` is not blended.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ringfort_protocol::{Entity, TickNo};
use ringfort_shm_state::layout::ZoneMeta;
use ringfort_shm_state::limits::WINDOW;
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::past::PastPages;
use ringfort_shm_state::sheet::Rows;
use ringfort_shm_state::table::Table;

use super::grid::{Grid, Grids, SeenGrid};
use super::state::{Binder, BoundOn, ZoneShared};
use super::{Column, Component, Description, Game};

/// What a player saw when it gave an input: the two ticks that it drew, and how far it was from the older to the newer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewTime {
    /// The older tick.
    pub tick: TickNo,
    /// The newer one; the same when nothing was blended.
    pub next: TickNo,
    /// 0.0 at the older, towards 1.0 at the newer.
    pub alpha: f32,
}

impl ViewTime {
    /// Exactly one tick.
    pub fn at(tick: TickNo) -> Self {
        Self { tick, next: tick, alpha: 0.0 }
    }

    /// The same moment, or the nearest that lies between two ticks.
    fn clamped(self, oldest: u32, newest: u32) -> Self {
        let tick = self.tick.0.min(newest);
        let next = self.next.0.clamp(tick, newest);
        let alpha = if next > tick { self.alpha.clamp(0.0, 1.0) } else { 0.0 };
        if tick >= oldest {
            return Self { tick: TickNo(tick), next: TickNo(next), alpha };
        }
        let ahead = f64::from(tick) + f64::from(next - tick) * f64::from(alpha) - f64::from(oldest);
        if next <= oldest || ahead <= 0.0 {
            return Self::at(TickNo(oldest));
        }
        Self { tick: TickNo(oldest), next: TickNo(next), alpha: (ahead / f64::from(next - oldest)) as f32 }
    }
}

/// A row between two ticks, as drawn.
pub(crate) fn blend<T: Component>(from: &T, to: Option<&T>, snap_over: Option<f32>, alpha: f32) -> T {
    match (to, snap_over) {
        (Some(to), Some(most)) if alpha > 0.0 && from.distance(to) <= most => from.lerp(to, alpha),
        _ => *from,
    }
}

/// The world between two ticks.
pub struct Rewind<'t, G> {
    from: &'t G,
    to: &'t G,
    alpha: f32,
}

impl<'t, G> Rewind<'t, G> {
    pub(crate) fn new(from: &'t G, to: &'t G, alpha: f32) -> Self {
        Self { from, to, alpha }
    }

    /// An entity's row as it was drawn; `None` when it was not.
    pub fn get<T: Component>(&self, e: Entity, column: impl Fn(&G) -> &Column<T>) -> Option<T> {
        column(self.from).between(column(self.to), e, self.alpha)
    }

    /// All rows of a column as they were drawn, in index order.
    pub fn each<T: Component, C: Fn(&G) -> &Column<T>>(&self, column: C) -> impl Iterator<Item = (Entity, T)> + use<'t, T, G, C> {
        let (from, to, alpha) = (column(self.from), column(self.to), self.alpha);
        from.iter().filter_map(move |(e, _)| Some((e, from.between(to, e, alpha)?)))
    }

    /// Who was drawn where.
    pub fn grid(&self, grid: impl Fn(&G) -> &Grid) -> SeenGrid<'t> {
        SeenGrid::new(grid(self.from), grid(self.to), self.alpha)
    }

    /// The older of the two ticks' worlds.
    pub fn older(&self) -> &'t G {
        self.from
    }
}

/// A state struct bound on an earlier tick.
struct PastWorld<G> {
    pages: PastPages,
    meta: Table<ZoneMeta>,
    shared: Rc<ZoneShared>,
    game: G,
}

/// The earlier ticks that the tick under way has looked back to.
pub(crate) struct Pasts<G> {
    pages: Rc<Pages>,
    is: Rc<Description>,
    grids: Rc<Grids>,
    /// By tick modulo the window.
    open: [OnceCell<Box<PastWorld<G>>>; WINDOW as usize],
    spare: RefCell<Vec<Box<PastWorld<G>>>>,
    /// The commit that this process began from: rows of those before it were written by another.
    adopted: u32,
    /// Ticks before that whose rows were looked at, and whether they are what they should be.
    looked_at: RefCell<BTreeMap<u32, bool>>,
    /// What there is before the first commit.
    nothing: OnceCell<Box<PastWorld<G>>>,
}

impl<G: Game> Pasts<G> {
    pub(crate) fn new(pages: Rc<Pages>, is: Rc<Description>, grids: Rc<Grids>, adopted: u32) -> Self {
        let (open, looked_at) = (std::array::from_fn(|_| OnceCell::new()), RefCell::default());
        Self { pages, is, grids, open, spare: RefCell::default(), adopted, looked_at, nothing: OnceCell::new() }
    }

    /// The world of an earlier tick, if it can still be looked back to.
    pub(crate) fn at(&self, tick: u32) -> Option<&G> {
        let place = &self.open[tick as usize % WINDOW as usize];
        if place.get().is_none() {
            let past = self.look_back(tick)?;
            let _ = place.set(past);
        }
        place.get().filter(|past| past.shared.committed_tick.get() == tick).map(|past| &past.game)
    }

    /// An empty world.
    pub(crate) fn nothing(&self) -> &G {
        &self.nothing.get_or_init(|| self.bind()).game
    }

    /// Whether the rows of a tick are values of the game's types. Those that this process committed are, and so are those that it took
    /// over; what another committed before is looked at once, when it is first asked for.
    fn is_sound(&self, tick: u32) -> bool {
        if tick >= self.adopted {
            return true;
        }
        if let Some(sound) = self.looked_at.borrow().get(&tick) {
            return *sound;
        }
        // Only the ticks of a window are noted, however far back a game asks.
        let Some(pages) = self.pages.at(tick) else { return false };
        let sound = self.is.checks.iter().all(|check| check.run(&pages).is_ok());
        self.looked_at.borrow_mut().insert(tick, sound);
        sound
    }

    fn look_back(&self, tick: u32) -> Option<Box<PastWorld<G>>> {
        if !self.is_sound(tick) {
            return None;
        }
        let spare = self.spare.borrow_mut().pop();
        let past = spare.unwrap_or_else(|| self.bind());
        // SAFETY: a world that is not in `open` is lent to nobody: `close` took it out by `&mut`.
        if !unsafe { self.pages.look_back(&past.pages, tick) } {
            self.spare.borrow_mut().push(past);
            return None;
        }
        past.shared.committed_tick.set(tick);
        past.shared.meta.set(past.meta.get(0).copied().unwrap_or_else(zerocopy::FromZeros::new_zeroed));
        Some(past)
    }

    fn bind(&self) -> Box<PastWorld<G>> {
        let pages = self.pages.past();
        // SAFETY: the engine's own table, bound once on these pages.
        let meta = unsafe { Table::bind(&pages, self.is.engine.meta) };
        let shared = ZoneShared::new(BoundOn::Past, pages.sheet(), pages.sheet(), &self.is, Rc::clone(&self.grids));
        let game = G::bind(&mut Binder::new(Rc::clone(&shared), &self.is));
        Box::new(PastWorld { pages, meta, shared, game })
    }

    /// The tick is over: what it looked back to may be used for another.
    pub(crate) fn close(&mut self) {
        let spare = self.spare.get_mut();
        spare.extend(self.open.iter_mut().filter_map(OnceCell::take));
    }
}

/// Moments that a player may have seen: those that exist, and not longer ago than the operator allows.
pub(crate) fn clamp(view: ViewTime, now: u32, most: u32) -> ViewTime {
    let newest = now.saturating_sub(1);
    view.clamped(newest.saturating_sub(most.min(WINDOW as u32 - 1)).max(u32::from(newest > 0)), newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skirmish::Body;

    fn view(tick: u32, next: u32, alpha: f32) -> ViewTime {
        ViewTime { tick: TickNo(tick), next: TickNo(next), alpha }
    }

    #[test]
    fn a_moment_that_may_be_seen_is_left_as_it_is() {
        assert_eq!(clamp(view(95, 97, 0.25), 100, 10), view(95, 97, 0.25));
        assert_eq!(clamp(view(99, 99, 0.0), 100, 10), view(99, 99, 0.0));
    }

    #[test]
    fn too_old_becomes_the_oldest_and_the_future_the_newest() {
        assert_eq!(clamp(view(3, 5, 0.5), 100, 10), view(89, 89, 0.0));
        assert_eq!(clamp(view(0, 0, 0.0), 100, 10), view(89, 89, 0.0));
        assert_eq!(clamp(view(200, 201, 0.5), 100, 10), view(99, 99, 0.0));
        assert_eq!(clamp(view(u32::MAX, u32::MAX, 1.0), 100, 10), view(99, 99, 0.0));
        assert_eq!(clamp(view(9, 4, 0.5), 11, 10), view(9, 9, 0.0), "the newer is not older");
    }

    #[test]
    fn a_moment_across_the_edge_stays_where_it_was() {
        // 85 + 0.75 * 8 = 91, which is half of the way from 89 to 93.
        assert_eq!(clamp(view(85, 93, 0.75), 100, 10), view(89, 93, 0.5));
        assert_eq!(clamp(view(95, 105, 0.5), 100, 10).tick, TickNo(95));
    }

    #[test]
    fn what_is_no_number_is_no_blend() {
        let row = Body { pos: ringfort_protocol::Vec2::ZERO, vel: ringfort_protocol::Vec2::ZERO, aim: 0.5 };
        let later = Body { aim: 1.5, ..row };
        assert_eq!(blend(&row, Some(&later), Some(9.0), clamp(view(95, 97, f32::NAN), 100, 10).alpha), row);
        assert_eq!(blend(&row, Some(&later), Some(9.0), 0.5).aim, 1.0);
        assert_eq!(blend(&row, Some(&later), None, 0.5), row);
    }

    #[test]
    fn before_the_second_tick_there_is_one_moment() {
        assert_eq!(clamp(view(7, 9, 0.5), 1, 10).tick, TickNo(0));
        assert_eq!(clamp(view(0, 0, 0.5), 2, 10), view(1, 1, 0.0));
    }
}
