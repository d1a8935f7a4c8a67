//! Texts and bytes of entities: of any length up to a bound, replaced to change.

use std::marker::PhantomData;
use std::rc::Rc;

use ringfort_protocol::Entity;
use ringfort_protocol::bits::BitReader;
use ringfort_protocol::schema::{FieldKind, length_bits};
use ringfort_shm_state::blobs::{BlobError, BlobId};
use ringfort_shm_state::table::Table;

use super::state::{Binder, BoundOn, Declare, FieldOptions, Hook, Received, StateField, ZoneShared};

/// What a blob may be: `str` or `[u8]`.
pub trait Blob {
    /// Its name in the schema.
    const NAME: &'static str;

    /// What it is in the schema when it has at most `max` bytes.
    fn kind(max: u16) -> FieldKind;

    /// The bytes of a value.
    fn bytes(&self) -> &[u8];

    /// The value of bytes, if they are one.
    fn of(bytes: &[u8]) -> Option<&Self>;
}

impl Blob for str {
    const NAME: &'static str = "str";

    fn kind(max: u16) -> FieldKind {
        FieldKind::Text { max }
    }

    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn of(bytes: &[u8]) -> Option<&str> {
        std::str::from_utf8(bytes).ok()
    }
}

impl Blob for [u8] {
    const NAME: &'static str = "bytes";

    fn kind(max: u16) -> FieldKind {
        FieldKind::Bytes { max }
    }

    fn bytes(&self) -> &[u8] {
        self
    }

    fn of(bytes: &[u8]) -> Option<&[u8]> {
        Some(bytes)
    }
}

/// Why a blob was not stored; the entity keeps the one that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It is longer than the field's `#[max(n)]`.
    #[error("{bytes} bytes are more than the {max} of the field's #[max]: shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What the field allows.
        max: usize,
    },
    /// The entity is not alive.
    #[error("entity {0} is not alive: nothing was stored")]
    Dead(Entity),
}

/// A text or bytes of every entity that has one: `#[max(24)] name: Blobs<str>`. Iteration is in index order.
pub struct Blobs<T: Blob + ?Sized> {
    ids: Table<BlobId>,
    space: ringfort_shm_state::blobs::Blobs,
    shared: Rc<ZoneShared>,
    position: usize,
    column: u16,
    max: usize,
    kind: PhantomData<fn() -> Box<T>>,
}

impl<T: Blob + ?Sized + 'static> StateField for Blobs<T> {
    fn declare(to: &mut Declare, options: FieldOptions) {
        let max = u16::try_from(options.max).unwrap_or(u16::MAX);
        to.blob_column(options, T::NAME, T::kind(max));
    }

    fn bind(to: &mut Binder, options: FieldOptions) -> Self {
        let (place, position) = to.next();
        let (at, blobs) = (place.at.expect("declared with rows"), place.blobs.expect("declared with blobs"));
        let shared = Rc::clone(&to.shared);
        // SAFETY: as in `Column::bind`, of both.
        let (ids, space) =
            unsafe { (Table::bind(&shared.sheet, at), ringfort_shm_state::blobs::Blobs::bind(&shared.sheet, blobs)) };
        Self { ids, space, shared, position, column: to.next_column(), max: options.max, kind: PhantomData }
    }

    fn hook(&mut self, position: usize, hook: Hook) {
        match hook {
            Hook::Despawned(index) => self.clear(index),
            Hook::BeforeCommit => {
                assert_eq!(self.position, position, "two fields of the state were swapped: their rows would change names");
            }
            Hook::CollectTimers(_) => {}
        }
    }

    fn receive(&mut self, received: &Received<'_>) {
        match *received {
            Received::Gone(index) => self.clear(index),
            Received::Row { column, entity, row } if column == self.column => {
                self.clear(entity);
                if let Some(bytes) = row.and_then(|row| self.read(row)).filter(|bytes| T::of(bytes).is_some()) {
                    // The space has room for a blob of every entity, as the server's has.
                    let _ = self.store(entity, &bytes);
                }
            }
            Received::Row { .. } | Received::Global { .. } => {}
        }
    }
}

impl<T: Blob + ?Sized> Blobs<T> {
    /// Gives the entity a blob, or replaces the one that it has.
    ///
    /// # Errors
    /// When it is too long for the field, or the entity is not alive.
    pub fn set(&mut self, e: Entity, value: &T) -> Result<(), SetError> {
        let bytes = value.bytes();
        if bytes.len() > self.max {
            return Err(SetError::TooLong { bytes: bytes.len(), max: self.max });
        }
        if !self.shared.reader.alive(e.index, e.generation) {
            return Err(SetError::Dead(e));
        }
        if self.get(e).is_some_and(|old| old.bytes() == bytes) {
            return Ok(());
        }
        // A new id each time, so that the entity's row tells of the change.
        self.clear(e.index);
        self.store(e.index, bytes).unwrap_or_else(|error| panic!("there is room for a blob of every entity: {error}"));
        Ok(())
    }

    /// The entity's blob; `None` when it has none, or is not alive any more.
    pub fn get(&self, e: Entity) -> Option<&T> {
        if !self.shared.reader.alive(e.index, e.generation) {
            return None;
        }
        self.at(e.index)
    }

    /// Takes the entity's blob away; `false` when it had none.
    pub fn remove(&mut self, e: Entity) -> bool {
        let has = self.get(e).is_some();
        if has {
            self.clear(e.index);
        }
        has
    }

    /// All blobs of living entities.
    pub fn iter(&self) -> impl Iterator<Item = (Entity, &T)> {
        self.ids.iter().filter_map(|(index, _)| {
            let generation = self.shared.reader.generation(index)?;
            Some((Entity { index, generation }, self.at(index)?))
        })
    }

    fn read(&self, mut row: BitReader<'_>) -> Option<Vec<u8>> {
        let length = row.read(length_bits(self.max as u16)).ok()? as usize;
        let mut bytes = vec![0; length.min(self.max)];
        bytes.iter_mut().try_for_each(|byte| row.read(8).map(|value| *byte = value as u8)).ok()?;
        Some(bytes)
    }

    fn at(&self, index: u32) -> Option<&T> {
        T::of(self.space.get(*self.ids.get(index)?)?)
    }

    fn store(&mut self, index: u32, bytes: &[u8]) -> Result<(), BlobError> {
        let id = self.space.insert(bytes)?;
        self.ids.insert(index, id);
        Ok(())
    }

    fn clear(&mut self, index: u32) {
        debug_assert!(self.shared.on != BoundOn::Past);
        if let Some(id) = self.ids.remove(index) {
            self.space.remove(id);
        }
    }
}
