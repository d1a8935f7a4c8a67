//! An index by place: who is near a point, whom a ray meets. The engine keeps it; a game declares it and asks.
//!
//! **It shows the last commit**, not what the tick under way has moved since: so its answers do not depend on the order in which a
//! game works through its entities. That of a tick is built from the tick's root when it is first asked for, and remembered for as long
//! as the tick can be looked back to. Nothing of it is in shared memory, so nothing of it has to be recovered.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ringfort_protocol::{Entity, Vec2};
use ringfort_shm_state::entities::EntityReader;
use ringfort_shm_state::limits::WINDOW;
use ringfort_shm_state::table::RawTable;

use super::Component;
use super::cells::{Cells, Spot};
use super::state::{Binder, BoundOn, Declare, FieldOptions, Hook, StateField, ZoneShared};

/// Lists of found entities that are kept to be used again.
const SPARE_LISTS: usize = 8;

/// A line with a beginning and a thickness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ray {
    /// Where it begins.
    pub from: Vec2,
    /// Its direction, of any length but zero.
    pub dir: Vec2,
    /// How far it goes.
    pub len: f32,
    /// It meets what is no further from it than this.
    pub radius: f32,
}

impl Ray {
    /// How far along the ray it meets a point, if it does.
    fn meets(&self, at: Vec2) -> Option<f32> {
        let length = self.dir.length();
        if !(length > 0.0 && length.is_finite()) {
            return None;
        }
        let (dir, to) = (self.dir * (1.0 / length), at - self.from);
        let along = to.dot(dir);
        let aside = to.dot(Vec2 { x: -dir.y, y: dir.x });
        (along > 0.0 && along <= self.len && aside.abs() <= self.radius).then_some(along)
    }

    /// The box that holds all that it meets, and `margin` around it.
    fn bounds(&self, margin: f32) -> (Vec2, Vec2) {
        let length = self.dir.length().max(f32::MIN_POSITIVE);
        let end = self.from + self.dir * (self.len / length);
        let around = Vec2::new(self.radius + margin, self.radius + margin);
        let (least, most) = (
            Vec2::new(self.from.x.min(end.x), self.from.y.min(end.y)),
            Vec2::new(self.from.x.max(end.x), self.from.y.max(end.y)),
        );
        (least - around, most + around)
    }
}

/// Entities of a column by their place: `#[index(body.pos, cell = 8.0)] grid: Grid`.
pub struct Grid {
    column: Box<dyn Indexed>,
    entities: EntityReader,
    shared: Rc<ZoneShared>,
    position: usize,
    cell: f32,
}

/// The column behind a grid.
trait Indexed {
    /// Calls `take` with the index and the place of every row.
    fn each(&self, take: &mut dyn FnMut(u32, Vec2));
    /// The place of a row as it is drawn between this tick and the other's.
    fn between(&self, later: &dyn Indexed, blends: bool, index: u32, alpha: f32) -> Option<Vec2>;
    /// For `between`.
    fn as_any(&self) -> &dyn Any;
}

struct OnColumn<T: Component> {
    rows: RawTable<T>,
    place: fn(&T) -> Vec2,
    snap_over: Option<f32>,
}

impl<T: Component> OnColumn<T> {
    fn row(&self, index: u32) -> Option<T> {
        let row = self.rows.read(index)?;
        // SAFETY: the row is present, so it was written as a `T` (the grid is bound on the column's own rows). It is copied where
        // nothing is written: a grid is bound on the pages of a commit, or on a client's copy, whose rows are only written
        // through `&mut` of the state that this grid is part of.
        Some(unsafe { *row })
    }
}

impl<T: Component> Indexed for OnColumn<T> {
    fn each(&self, take: &mut dyn FnMut(u32, Vec2)) {
        let mut from = 0;
        while let Some(index) = self.rows.next_present(from) {
            from = index + 1;
            if let Some(row) = self.row(index) {
                take(index, (self.place)(&row));
            }
        }
    }

    fn between(&self, later: &dyn Indexed, blends: bool, index: u32, alpha: f32) -> Option<Vec2> {
        let from = self.row(index)?;
        let to = later.as_any().downcast_ref::<Self>().filter(|_| blends).and_then(|later| later.row(index));
        Some((self.place)(&super::rewind::blend(&from, to.as_ref(), self.snap_over, alpha)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl StateField for Grid {
    fn declare(to: &mut Declare, options: FieldOptions) {
        to.nothing(options);
    }

    fn bind(_to: &mut Binder, options: FieldOptions) -> Self {
        panic!("field `{}`: a Grid needs #[index(column.field, cell = size)]", options.name)
    }

    fn hook(&mut self, position: usize, hook: Hook) {
        if hook == Hook::BeforeCommit {
            assert_eq!(self.position, position, "two grids of the state were swapped");
        }
    }
}

impl Grid {
    /// Binds the grid on the column at `of` of the state struct. Made by `#[derive(State)]`, which knows the type.
    #[doc(hidden)]
    pub fn bind_on<T: Component>(to: &mut Binder, of: usize, column: FieldOptions, cell: f32, place: fn(&T) -> Vec2) -> Self {
        assert!(cell > 0.0 && cell.is_finite(), "a grid's cells have a size above zero");
        let (_, position) = to.next();
        let shared = Rc::clone(&to.shared);
        let rows = RawTable::on(&shared.committed, to.rows_of(of));
        let entities = EntityReader::on(&shared.committed, to.entities);
        Self { column: Box::new(OnColumn { rows, place, snap_over: column.interp }), entities, shared, position, cell }
    }

    /// Entities within a distance of a point, in index order.
    pub fn near(&self, point: Vec2, radius: f32) -> Near<'_> {
        let around = Vec2::new(radius, radius);
        self.find(|found| {
            self.cells().each_in(point - around, point + around, |spot| {
                if spot.at.distance_squared(point) <= radius * radius {
                    found.push(spot.entity);
                }
            });
        })
    }

    /// The first entity that a ray meets among those that `keep` lets pass, and how far along it is.
    pub fn ray(&self, ray: Ray, keep: impl Fn(Entity) -> bool) -> Option<(Entity, f32)> {
        let mut nearest = Nearest::default();
        let (least, most) = ray.bounds(0.0);
        self.cells().each_in(least, most, |spot| nearest.offer(spot.entity, ray.meets(spot.at), &keep));
        nearest.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cells().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, fill: impl FnOnce(&mut Vec<Entity>)) -> Near<'_> {
        let mut list = self.shared.grids.spare.borrow_mut().pop().unwrap_or_default();
        fill(&mut list);
        list.sort_unstable();
        Near { list, next: 0, grids: &self.shared.grids }
    }

    fn cells(&self) -> Rc<Cells> {
        let tick = self.shared.committed_tick.get();
        self.shared.grids.of(tick, self.position, || {
            let mut spots = Vec::new();
            self.column.each(&mut |index, at| {
                if let Some(generation) = self.entities.generation(index) {
                    spots.push(Spot { entity: Entity { index, generation }, at });
                }
            });
            Cells::new(spots, self.cell)
        })
    }

    /// Where an entity is drawn between this grid's tick and that of a later one.
    fn between(&self, later: &Grid, e: Entity, alpha: f32) -> Option<Vec2> {
        let same = later.entities.alive(e.index, e.generation);
        self.column.between(&*later.column, same, e.index, alpha)
    }
}

/// A grid as somebody saw it, who drew every entity somewhere between two ticks.
pub struct SeenGrid<'t> {
    from: &'t Grid,
    to: &'t Grid,
    alpha: f32,
}

impl<'t> SeenGrid<'t> {
    pub(super) fn new(from: &'t Grid, to: &'t Grid, alpha: f32) -> Self {
        Self { from, to, alpha }
    }

    /// Entities that were drawn within a distance of a point, in index order.
    pub fn near(&self, point: Vec2, radius: f32) -> Near<'t> {
        let around = Vec2::new(radius, radius) + self.margin();
        self.from.find(|found| {
            self.each_in(point - around, point + around, |e, at| {
                if at.distance_squared(point) <= radius * radius {
                    found.push(e);
                }
            });
        })
    }

    /// The first entity that a ray meets where it was drawn, among those that `keep` lets pass, and how far along it is.
    pub fn ray(&self, ray: Ray, keep: impl Fn(Entity) -> bool) -> Option<(Entity, f32)> {
        let mut nearest = Nearest::default();
        let (least, most) = ray.bounds(self.margin().x);
        self.each_in(least, most, |e, at| nearest.offer(e, ray.meets(at), &keep));
        nearest.0
    }

    fn each_in(&self, least: Vec2, most: Vec2, mut each: impl FnMut(Entity, Vec2)) {
        self.from.cells().each_in(least, most, |spot| {
            if let Some(at) = self.from.between(self.to, spot.entity, self.alpha) {
                each(spot.entity, at);
            }
        });
    }

    /// The farthest that an entity is drawn from where it was at the earlier tick.
    fn margin(&self) -> Vec2 {
        let shared = &self.from.shared;
        let ticks = (shared.committed_tick.get(), self.to.shared.committed_tick.get());
        let farthest = shared.grids.step_between(ticks, self.from.position, || {
            let mut farthest: f32 = 0.0;
            self.from.cells().each(|spot| {
                let drawn = self.from.between(self.to, spot.entity, 1.0).unwrap_or(spot.at);
                farthest = farthest.max(drawn.distance_squared(spot.at));
            });
            farthest.sqrt()
        });
        Vec2::new(farthest, farthest)
    }
}

/// The nearest entity along a ray; of two at one place that of the lower index.
#[derive(Default)]
struct Nearest(Option<(Entity, f32)>);

impl Nearest {
    fn offer(&mut self, e: Entity, along: Option<f32>, keep: &impl Fn(Entity) -> bool) {
        let Some(along) = along else { return };
        let nearer = self.0.is_none_or(|(other, at)| along < at || (along == at && e < other));
        if nearer && keep(e) {
            self.0 = Some((e, along));
        }
    }
}

/// Entities that were found, in index order.
pub struct Near<'g> {
    list: Vec<Entity>,
    next: usize,
    grids: &'g Grids,
}

impl Iterator for Near<'_> {
    type Item = Entity;

    fn next(&mut self) -> Option<Entity> {
        let found = self.list.get(self.next).copied();
        self.next += usize::from(found.is_some());
        found
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Near<'_> {}

impl Drop for Near<'_> {
    fn drop(&mut self) {
        let mut spare = self.grids.spare.borrow_mut();
        if spare.len() < SPARE_LISTS {
            self.list.clear();
            spare.push(std::mem::take(&mut self.list));
        }
    }
}

/// The grids of the ticks that can be looked back to, of all states of one zone.
#[derive(Default)]
pub(crate) struct Grids {
    built: RefCell<VecDeque<Built>>,
    steps: RefCell<VecDeque<Step>>,
    spare: RefCell<Vec<Vec<Entity>>>,
}

struct Built {
    tick: u32,
    position: usize,
    cells: Rc<Cells>,
}

struct Step {
    ticks: (u32, u32),
    position: usize,
    farthest: f32,
}

impl Grids {
    fn of(&self, tick: u32, position: usize, build: impl FnOnce() -> Cells) -> Rc<Cells> {
        let mut built = self.built.borrow_mut();
        if let Some(found) = built.iter().rev().find(|b| b.tick == tick && b.position == position) {
            return Rc::clone(&found.cells);
        }
        let cells = Rc::new(build());
        built.push_back(Built { tick, position, cells: Rc::clone(&cells) });
        cells
    }

    fn step_between(&self, ticks: (u32, u32), position: usize, work_out: impl FnOnce() -> f32) -> f32 {
        let known = |step: &&Step| step.ticks == ticks && step.position == position;
        if let Some(step) = self.steps.borrow().iter().rev().find(known) {
            return step.farthest;
        }
        let farthest = work_out();
        self.steps.borrow_mut().push_back(Step { ticks, position, farthest });
        farthest
    }

    /// Forgets ticks that nobody can look back to any more.
    pub(crate) fn forget_before(&self, now: u32) {
        let oldest = now.saturating_sub(WINDOW as u32);
        self.built.borrow_mut().retain(|b| (oldest..=now).contains(&b.tick));
        self.steps.borrow_mut().retain(|s| (oldest..=now).contains(&s.ticks.0));
    }
}

impl ZoneShared {
    /// Notes which commit is the last, for indices and for whoever looks back.
    pub(crate) fn shows(&self, tick: u32) {
        self.committed_tick.set(tick);
        if self.on != BoundOn::Past {
            self.grids.forget_before(tick);
        }
    }
}
