//! Blobs: the variable-size data of a zone, immutable allocations from size-classed pages, replaced to change.
//!
//! Everything that the allocator knows lies in rows of the zone's committed world: a row of counters and list heads, the id table,
//! and a row a page. So a commit, a roll-back and a take-over are the allocator's as well, and a replay gives the same ids and
//! the same places. The pages themselves hold nothing but bytes of blobs and zeros.
//!
//! **Invariant: a byte that belongs to no blob is zero**, so that equal worlds have equal pages.

mod check;
mod classes;
mod place;
mod reader;
mod slabs;

#[cfg(test)]
mod tests;

use classes::Class;
use place::Place;
use slabs::Slabs;
use zerocopy::FromZeros;

pub use check::{BlobList, BlobProblem, check};

use crate::layout::{BlobMeta, BlobPageRow, BlobRow};
use crate::limits::{MAX_BLOB_BYTES, PAGE_BYTES};
use crate::plain::Plain;
use crate::sheet::Rows;
use crate::table::{Table, TableAt, Tables};

/// Names a blob for as long as it lives. Freed indices are reused last-freed-first, with the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct BlobId {
    /// Row of the id table.
    pub index: u32,
    /// Which of the blobs that lived there; never 0.
    pub generation: u32,
}

// SAFETY: two integers without padding; any bit pattern is a value.
unsafe impl Plain for BlobId {}

impl BlobId {
    /// The id in a row of its bytes, in native byte order; `None` when the row is shorter.
    pub fn from_row(row: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(row.get(at..at + 4)?.try_into().ok()?));
        Some(Self { index: word(0)?, generation: word(4)? })
    }
}

impl std::fmt::Display for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A blob was not stored; the space is as it was before.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum BlobError {
    /// It does not fit a page.
    #[error("a blob of {bytes} bytes is too long, at most {MAX_BLOB_BYTES} fit: store it in pieces")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The space has as many blobs as it was declared for.
    #[error("the blob space has all of its {blobs} blobs: remove some or declare it for more")]
    TooMany {
        /// Blobs that live.
        blobs: u32,
    },
    /// No page has a slot of this size, and none is free.
    #[error("the blob space has no room for {bytes} bytes in its {pages} pages: remove blobs or declare it for more bytes")]
    Full {
        /// Length of the blob.
        bytes: usize,
        /// Pages of the space.
        pages: u32,
    },
    /// The blob that was to be replaced is no more.
    #[error("blob {id} lives no more: insert a new one")]
    Stale {
        /// The blob.
        id: BlobId,
    },
}

/// Where a blob space lies in its zone's logical pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobsAt {
    meta: TableAt,
    ids: TableAt,
    pages: TableAt,
    /// First logical page of the bytes.
    base: u32,
}

impl BlobsAt {
    /// Declares a space for so many blobs and so many bytes of pages, rounded up to whole pages. A blob takes a slot of the
    /// next power of two, at least 16 bytes, and a page has slots of one size.
    pub fn declare(tables: &mut Tables, max_blobs: u32, max_bytes: u32) -> Self {
        let pages = max_bytes.div_ceil(PAGE_BYTES as u32);
        Self {
            meta: tables.add(1, size_of::<BlobMeta>()),
            ids: tables.add(max_blobs, size_of::<BlobRow>()),
            pages: tables.add(pages, size_of::<BlobPageRow>()),
            base: tables.add_pages(pages),
        }
    }

    /// The logical pages that it takes.
    pub fn logical_pages(&self) -> std::ops::Range<u32> {
        self.meta.base..self.base + self.pages.rows
    }

    /// Bytes of pages that are enough for so many blobs of at most `longest` bytes, in whatever order they come and go.
    pub fn bytes_for(max_blobs: u32, longest: usize) -> Option<u32> {
        let pages = Class::up_to(longest)?.map(|class| max_blobs.div_ceil(class.slots()) + 1).sum::<u32>();
        pages.checked_mul(PAGE_BYTES as u32)
    }

    /// Blobs that fit.
    pub fn max_blobs(&self) -> u32 {
        self.ids.rows
    }

    /// Pages that its bytes may take.
    pub fn max_pages(&self) -> u32 {
        self.pages.rows
    }
}

/// The blobs of a space, for the one process that owns the zone.
///
/// # Panics
/// The calls on blobs panic when committed rows contradict each other: that ends the process before it commits anything.
pub struct Blobs {
    at: BlobsAt,
    meta: Table<BlobMeta>,
    ids: Table<BlobRow>,
    slabs: Slabs,
}

impl Blobs {
    /// The space at a place.
    ///
    /// # Safety
    /// No other `Blobs` for the same place of the same pages may exist, and the place was declared by [`BlobsAt::declare`]
    /// among the tables of these pages.
    pub unsafe fn bind(pages: &impl Rows, at: BlobsAt) -> Self {
        // SAFETY: the three tables are the space's own (their places are private to it), and it is the only one (our
        // contract), which wrote their rows as these types. Any bit pattern is a value of them.
        let (meta, ids, rows) =
            unsafe { (Table::bind(pages, at.meta), Table::bind(pages, at.ids), Table::bind(pages, at.pages)) };
        Self { at, meta, ids, slabs: Slabs::new(pages.sheet(), at.base, rows) }
    }

    /// Where it lies.
    pub fn at(&self) -> BlobsAt {
        self.at
    }

    /// Stores a blob under a new id.
    pub fn insert(&mut self, bytes: &[u8]) -> Result<BlobId, BlobError> {
        let class = class_of(bytes)?;
        let meta = meta_mut(&mut self.meta);
        if meta.id_free == 0 && meta.ids_used >= self.at.ids.rows {
            return Err(BlobError::TooMany { blobs: meta.blobs });
        }
        let full = BlobError::Full { bytes: bytes.len(), pages: self.at.pages.rows };
        let place = self.slabs.take(meta, class, bytes.len()).ok_or(full)?;
        self.slabs.write(&place, bytes);
        meta.blobs += 1;
        meta.bytes += bytes.len() as u64;
        let id = take_id(meta, &self.ids);
        self.ids.insert(id.index, live_row(id.generation, &place));
        Ok(id)
    }

    /// A blob's bytes; `None` when it lives no more.
    pub fn get(&self, id: BlobId) -> Option<&[u8]> {
        Some(self.slabs.bytes(&self.place(id)?))
    }

    /// Stores other bytes under the same id. What a commit has published stays what it is: this tick works on copies of its pages.
    ///
    /// Bytes of the same size class take the slot of the old ones, so such a replacement never lacks room.
    pub fn replace(&mut self, id: BlobId, bytes: &[u8]) -> Result<(), BlobError> {
        let class = class_of(bytes)?;
        let old = self.place(id).ok_or(BlobError::Stale { id })?;
        let meta = meta_mut(&mut self.meta);
        let place = if class == old.class {
            Place { bytes: bytes.len(), ..old }
        } else {
            if !self.slabs.has_room(meta, class) && !self.slabs.is_last(&old) {
                return Err(BlobError::Full { bytes: bytes.len(), pages: self.at.pages.rows });
            }
            self.slabs.give(meta, &old);
            self.slabs.take(meta, class, bytes.len()).expect("there is a slot, or the page just freed")
        };
        self.slabs.write(&place, bytes);
        meta.bytes = meta.bytes - old.bytes as u64 + bytes.len() as u64;
        self.ids.insert(id.index, live_row(id.generation, &place));
        Ok(())
    }

    /// Ends a blob and frees its bytes; `false` when it lives no more.
    pub fn remove(&mut self, id: BlobId) -> bool {
        let Some(place) = self.place(id) else { return false };
        let meta = meta_mut(&mut self.meta);
        self.slabs.give(meta, &place);
        meta.blobs -= 1;
        meta.bytes -= place.bytes as u64;
        let next_free = std::mem::replace(&mut meta.id_free, id.index + 1);
        self.ids.insert(id.index, BlobRow { generation: id.generation, next_free, ..BlobRow::new_zeroed() });
        true
    }

    /// Blobs that live.
    pub fn len(&self) -> u32 {
        self.meta.get(0).map_or(0, |meta| meta.blobs)
    }

    /// Whether no blob lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all blobs, without what their slots round up to.
    pub fn bytes_used(&self) -> u64 {
        self.meta.get(0).map_or(0, |meta| meta.bytes)
    }

    /// Pages that hold blobs.
    pub fn pages_used(&self) -> u32 {
        self.meta.get(0).map_or(0, |meta| meta.pages_held)
    }

    /// All blobs in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = (BlobId, &[u8])> {
        self.ids.iter().filter_map(|(index, row)| {
            let id = BlobId { index, generation: row.generation };
            Some((id, self.get(id)?))
        })
    }

    fn place(&self, id: BlobId) -> Option<Place> {
        let row = self.ids.get(id.index).filter(|row| is_live(row, id))?;
        Some(intact(Place::of(id, row, |page| self.slabs.row(page))))
    }
}

/// Whether a row is this very blob's and not a dead one's or a successor's.
fn is_live(row: &BlobRow, id: BlobId) -> bool {
    row.generation == id.generation && row.page != 0
}

fn intact(place: Result<Place, BlobProblem>) -> Place {
    place.unwrap_or_else(|damage| panic!("{damage}: run `ringfort fsck`"))
}

fn class_of(bytes: &[u8]) -> Result<Class, BlobError> {
    Class::of(bytes.len()).ok_or(BlobError::TooLong { bytes: bytes.len() })
}

/// The row of counters, made at the first write of the space's life.
fn meta_mut(meta: &mut Table<BlobMeta>) -> &mut BlobMeta {
    if meta.get(0).is_none() {
        meta.insert(0, BlobMeta::new_zeroed());
    }
    meta.get_mut(0).expect("just put there")
}

fn live_row(generation: u32, place: &Place) -> BlobRow {
    BlobRow { generation, next_free: 0, page: place.page + 1, slot: place.slot as u16, bytes: place.bytes as u16 }
}

/// The id freed last with its next generation, or one that was never used; the caller has seen that there is one.
fn take_id(meta: &mut BlobMeta, ids: &Table<BlobRow>) -> BlobId {
    let Some(index) = meta.id_free.checked_sub(1) else {
        meta.ids_used += 1;
        return BlobId { index: meta.ids_used - 1, generation: 1 };
    };
    let row = ids.get(index).filter(|row| row.page == 0).expect("the free ids are intact, else run `ringfort fsck`");
    meta.id_free = row.next_free;
    BlobId { index, generation: row.generation.wrapping_add(1).max(1) }
}
