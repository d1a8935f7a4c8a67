//! A column: one component of every entity that has it, in copy-on-write pages of the world.

use std::ops::{Deref, DerefMut, Index, IndexMut};
use std::rc::Rc;

use ringfort_protocol::{Entity, Vec2};
use ringfort_shm_state::table::{RawTable, Table};

use super::Component;
use super::state::{Binder, Declare, FieldOptions, Hook, Received, StateField, ZoneShared};

/// One component of every entity that has it. Iteration is in index order, always.
pub struct Column<T: Component> {
    table: Table<T>,
    raw: RawTable<T>,
    shared: Rc<ZoneShared>,
    position: usize,
    index: u16,
    predict: bool,
    snap_over: Option<f32>,
    /// Where in the row the position stands, if it is the one that distances to entities are measured to.
    place: Option<usize>,
}

impl<T: Component> StateField for Column<T> {
    fn declare(to: &mut Declare, options: FieldOptions) {
        to.column::<T>(options);
    }

    fn bind(to: &mut Binder, options: FieldOptions) -> Self {
        let (at, position) = to.next_rows();
        let (shared, index) = (Rc::clone(&to.shared), to.next_column());
        // SAFETY: every place is handed out once (`Binder::next`), and its rows are written as `T` by this game alone: the
        // directory's hash of tables refuses another one.
        let table = unsafe { Table::bind(&shared.sheet, at) };
        let place = to.place_in(index).filter(|at| at + size_of::<Vec2>() <= size_of::<T>());
        Self { raw: table.raw(), table, shared, position, index, predict: options.predict, snap_over: options.interp, place }
    }

    fn hook(&mut self, position: usize, hook: Hook) {
        match hook {
            Hook::Despawned(index) => drop(self.table.remove(index)),
            Hook::BeforeCommit => {
                assert_eq!(self.position, position, "two columns of the state were swapped: their rows would change names");
                self.table.for_touched(T::quantise);
            }
            Hook::CollectTimers(_) => {}
        }
    }

    fn receive(&mut self, received: &Received<'_>) {
        match *received {
            Received::Gone(index) => drop(self.table.remove(index)),
            Received::Row { column, entity, row } if column == self.index => match row.map(|mut row| T::decode(&mut row)) {
                Some(Ok(row)) => drop(self.table.insert(entity, row)),
                None => drop(self.table.remove(entity)),
                Some(Err(_)) => {}
            },
            Received::Row { .. } | Received::Global { .. } => {}
        }
    }
}

impl<T: Component> Column<T> {
    fn alive(&self, e: Entity) -> bool {
        self.shared.reader.alive(e.index, e.generation)
    }

    /// The entity's row; `None` when it has none, or is not alive any more.
    #[inline]
    pub fn get(&self, e: Entity) -> Option<&T> {
        if self.alive(e) { self.table.get(e.index) } else { None }
    }

    /// The entity's row, for writing. The first write of a tick copies its page.
    #[inline]
    pub fn get_mut(&mut self, e: Entity) -> Option<&mut T> {
        if self.alive(e) { self.table.get_mut(e.index) } else { None }
    }

    /// The rows of two entities, for writing both; `None` when they are one, or either has no row.
    pub fn pair_mut(&mut self, a: Entity, b: Entity) -> Option<[&mut T; 2]> {
        if a.index == b.index || !self.alive(a) || !self.alive(b) {
            return None;
        }
        self.table.pair_mut(a.index, b.index)
    }

    /// Gives the entity a row, or replaces it. Returns `false`, and does nothing, when the entity is not alive.
    pub fn insert(&mut self, e: Entity, value: T) -> bool {
        self.alive(e) && self.table.insert(e.index, value)
    }

    /// Takes the entity's row away.
    pub fn remove(&mut self, e: Entity) -> Option<T> {
        if !self.alive(e) {
            return None;
        }
        if let Some(position) = self.place_of(e.index) {
            self.shared.entities.borrow_mut().note_left(e.index, position);
        }
        self.table.remove(e.index)
    }

    /// The position in a row, if that is where it stands.
    fn place_of(&self, index: u32) -> Option<[f32; 2]> {
        let (at, row) = (self.place?, self.raw.read(index)?);
        // SAFETY: `read` gives the place of a present row within a page; `bind` saw that two floats at this offset lie within it. They
        // are read as bytes, of which every pattern is a float, and no reference to the row is alive while `self` is borrowed here.
        let bytes = unsafe { row.cast::<u8>().add(at).cast::<[[u8; 4]; 2]>().read() };
        Some(bytes.map(f32::from_ne_bytes))
    }

    /// All rows of living entities.
    pub fn iter(&self) -> impl Iterator<Item = (Entity, &T)> {
        self.table.iter().filter_map(|(index, value)| Some((self.entity(index)?, value)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Index of the column in the schema.
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    /// Whether the owner's client may work it out ahead.
    pub(crate) fn is_predicted(&self) -> bool {
        self.predict
    }

    /// Whether it is blended between two snapshots, and beyond which distance not.
    pub(crate) fn snap_over(&self) -> Option<f32> {
        self.snap_over
    }

    /// The entity's row as it is drawn between this state's tick and that of a later one.
    pub(crate) fn between(&self, later: &Self, e: Entity, alpha: f32) -> Option<T> {
        Some(super::rewind::blend(self.get(e)?, later.get(e), self.snap_over, alpha))
    }

    fn entity(&self, index: u32) -> Option<Entity> {
        Some(Entity { index, generation: self.shared.reader.generation(index)? })
    }
}

impl<T: Component> Index<Entity> for Column<T> {
    type Output = T;

    fn index(&self, e: Entity) -> &T {
        self.get(e).unwrap_or_else(|| panic!("entity {e} has no {}", T::NAME))
    }
}

impl<T: Component> IndexMut<Entity> for Column<T> {
    fn index_mut(&mut self, e: Entity) -> &mut T {
        self.get_mut(e).unwrap_or_else(|| panic!("entity {e} has no {}", T::NAME))
    }
}

/// A row that a join hands out for writing: reads see the committed page, the first write copies it.
pub struct Mut<'a, T: Component> {
    raw: &'a RawTable<T>,
    row: u32,
}

impl<T: Component> Deref for Mut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let place = self.raw.read(self.row).expect("a join yields present rows, and their column is borrowed");
        // SAFETY: the row is present, so it holds a `T`. The join borrows its column mutably and yields each row once, so
        // this guard is the only way to the row; a later copy of its page leaves the bytes at the old place unchanged.
        unsafe { &*place }
    }
}

impl<T: Component> DerefMut for Mut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let place = self.raw.write(self.row).expect("a join yields present rows, and their column is borrowed");
        // SAFETY: as in `deref`; the page is private to this tick, and `&mut self` makes this the only reference to the row.
        unsafe { &mut *place }
    }
}

/// A column in a join: `&column` to read, `&mut column` to write lazily.
pub trait Cols {
    /// What a row is given out as.
    type Item;

    /// The first row at or after an index.
    fn next_row(&self, from: u32) -> Option<u32>;

    /// The row of an index, given out at most once.
    fn row(&self, index: u32) -> Option<Self::Item>;

    /// The entity that lives at an index.
    fn entity(&self, index: u32) -> Option<Entity>;
}

impl<'a, T: Component> Cols for &'a Column<T> {
    type Item = &'a T;

    fn next_row(&self, from: u32) -> Option<u32> {
        self.table.next_present(from)
    }

    fn row(&self, index: u32) -> Option<&'a T> {
        self.table.get(index)
    }

    fn entity(&self, index: u32) -> Option<Entity> {
        Column::entity(self, index)
    }
}

/// A mutably borrowed column in a join.
pub struct Writing<'a, T: Component> {
    column: &'a Column<T>,
}

impl<'a, T: Component> Cols for Writing<'a, T> {
    type Item = Mut<'a, T>;

    fn next_row(&self, from: u32) -> Option<u32> {
        self.column.table.next_present(from)
    }

    fn row(&self, index: u32) -> Option<Mut<'a, T>> {
        self.column.raw.read(index)?;
        Some(Mut { raw: &self.column.raw, row: index })
    }

    fn entity(&self, index: u32) -> Option<Entity> {
        self.column.entity(index)
    }
}

/// What can be turned into a side of a join.
pub trait IntoCols {
    /// The side.
    type Cols: Cols;

    /// Borrows it for the join.
    fn into_cols(self) -> Self::Cols;
}

impl<'a, T: Component> IntoCols for &'a Column<T> {
    type Cols = &'a Column<T>;

    fn into_cols(self) -> Self::Cols {
        self
    }
}

impl<'a, T: Component> IntoCols for &'a mut Column<T> {
    type Cols = Writing<'a, T>;

    fn into_cols(self) -> Self::Cols {
        Writing { column: self }
    }
}

/// `(&mut a, &b).join()`, of two to four columns: entities that have all, in index order.
pub trait Join {
    /// The iterator.
    type Joined: Iterator;

    /// Walks the columns together.
    fn join(self) -> Self::Joined;
}

/// A join under way: the first column leads, and what the others lack is left out.
pub struct Joined<C> {
    columns: C,
    from: u32,
}

macro_rules! joins {
    ($($name:ident $part:tt),+) => {
        impl<First: IntoCols, $($name: IntoCols),+> Join for (First, $($name),+) {
            type Joined = Joined<(First::Cols, $($name::Cols),+)>;

            fn join(self) -> Self::Joined {
                Joined { columns: (self.0.into_cols(), $(self.$part.into_cols()),+), from: 0 }
            }
        }

        impl<First: Cols, $($name: Cols),+> Iterator for Joined<(First, $($name),+)> {
            type Item = (Entity, First::Item, $($name::Item),+);

            fn next(&mut self) -> Option<Self::Item> {
                loop {
                    let index = self.columns.0.next_row(self.from)?;
                    self.from = index + 1;
                    let Some(e) = self.columns.0.entity(index) else { continue };
                    $(
                        #[expect(non_snake_case, reason = "named by the type")]
                        let Some($name) = self.columns.$part.row(index) else { continue };
                    )+
                    if let Some(first) = self.columns.0.row(index) {
                        return Some((e, first, $($name),+));
                    }
                }
            }
        }
    };
}
joins!(B 1);
joins!(B 1, C 2);
joins!(B 1, C 2, D 3);
