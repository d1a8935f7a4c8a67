//! The entities of a zone, as the game sees them.

use std::rc::Rc;

use ringfort_protocol::{Entity, SessionId};

use super::state::{Binder, Declare, FieldOptions, StateField, ZoneShared};

/// Spawns and despawns. Ids are part of the committed world, so a replay gives the same ones.
pub struct Entities {
    shared: Rc<ZoneShared>,
}

impl StateField for Entities {
    fn declare(to: &mut Declare, options: FieldOptions) {
        to.nothing(options);
    }

    fn bind(to: &mut Binder, _options: FieldOptions) -> Self {
        to.next();
        Self { shared: Rc::clone(&to.shared) }
    }
}

impl Entities {
    /// A new entity without an owner.
    ///
    /// # Panics
    /// When the match has as many as `Game::max_entities` allows: the game bounds what it spawns, or uses
    /// [`Entities::try_spawn`].
    pub fn spawn(&mut self) -> Entity {
        self.try_spawn(SessionId::NOBODY).expect("the match is full of entities: see Game::max_entities")
    }

    /// A new entity owned by a session, which sees its `#[sync(owner)]` columns. The first of a session is where `near`
    /// measures from for it.
    ///
    /// # Panics
    /// As [`Entities::spawn`].
    pub fn spawn_for(&mut self, owner: SessionId) -> Entity {
        self.try_spawn(owner).expect("the match is full of entities: see Game::max_entities")
    }

    /// A new entity, or `None` when the match has as many as it may.
    pub fn try_spawn(&mut self, owner: SessionId) -> Option<Entity> {
        let shared = &self.shared;
        let (index, generation) = shared.with_meta(|meta| shared.entities.borrow_mut().spawn(meta, owner.0))?;
        if owner != SessionId::NOBODY {
            shared.spawned_for.borrow_mut().push((owner.0, index, generation));
        }
        Some(Entity { index, generation })
    }

    /// Ends an entity with all its components. Its index is not used again in this tick. `false` when it was not alive.
    pub fn despawn(&mut self, e: Entity) -> bool {
        let shared = &self.shared;
        let killed = shared.with_meta(|meta| shared.entities.borrow_mut().kill(meta, e.index, e.generation));
        if killed {
            shared.despawned.borrow_mut().push(e.index);
        }
        killed
    }

    /// Whether this very entity lives.
    pub fn alive(&self, e: Entity) -> bool {
        self.shared.reader.alive(e.index, e.generation)
    }

    /// The session that owns an entity. On a client only its own session is known.
    pub fn owner(&self, e: Entity) -> Option<SessionId> {
        let owner = self.shared.entities.borrow().owner(e.index, e.generation)?;
        (owner != 0).then_some(SessionId(owner))
    }
}
