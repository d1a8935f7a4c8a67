//! What a program sees: the world as of the newest snapshot, typed by the game's own struct.

use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::component::{ColumnId, Component, GlobalId};
use ringfort_protocol::{Entity, TickNo};

/// The newest snapshot's world; empty before the first one. Rows are decoded when they are asked for.
#[derive(Clone, Copy)]
pub struct View<'a> {
    world: Option<&'a ClientWorld>,
    mine: Entity,
}

impl<'a> View<'a> {
    pub(crate) fn new(world: Option<&'a ClientWorld>, mine: Entity) -> View<'a> {
        View { world, mine }
    }

    /// The tick that is shown; 0 before the first snapshot.
    pub fn tick(&self) -> TickNo {
        self.world.map_or(TickNo(0), ClientWorld::tick)
    }

    /// The row of `entity`, if it is visible and has one.
    pub fn get<T: Component>(&self, entity: Entity, column: ColumnId<T>) -> Option<T> {
        self.world?.get(entity, column)
    }

    /// All visible rows of a column, in the order of the entities' indices.
    pub fn each<T: Component>(&self, column: ColumnId<T>) -> impl Iterator<Item = (Entity, T)> + use<'a, T> {
        self.world.into_iter().flat_map(move |world| world.iter(column))
    }

    /// A global, once the server has sent it.
    pub fn global<T: Component>(&self, global: GlobalId<T>) -> Option<T> {
        self.world?.global(global)
    }

    /// Our own entity: the first that belongs to our session.
    pub fn mine(&self) -> Option<Entity> {
        Some(self.mine).filter(|entity| *entity != Entity::NONE)
    }

    /// All visible entities, in the order of their indices.
    pub fn entities(&self) -> impl Iterator<Item = Entity> + use<'a> {
        self.world.into_iter().flat_map(ClientWorld::entities)
    }

    /// Whether we see this very entity.
    pub fn sees(&self, entity: Entity) -> bool {
        self.world.is_some_and(|world| world.sees(entity))
    }
}
