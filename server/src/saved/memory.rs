//! Memory that is looked at: a read-only mapping, or a segment in a saved file whose chunks are expanded when they are first touched.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use ringfort_shm_state::memory::{Memory, Words};
use zerocopy::IntoBytes;

use super::{CHUNK_BYTES, ROW_WORDS, hash};
use crate::limits::SAVED_CHUNKS_HELD;

/// Words of a chunk.
const CHUNK_WORDS: usize = CHUNK_BYTES / 8;

/// What a world is looked at in.
#[derive(Debug)]
pub enum LookMemory {
    /// A segment, mapped read-only.
    Mapped(Memory),
    /// A segment of a saved file.
    Saved(SavedMemory),
}

/// A segment of a saved file. What lies beyond its end, and what is damaged, reads as zeros.
pub struct SavedMemory {
    file: Arc<File>,
    bytes: usize,
    rows: Vec<[u64; ROW_WORDS]>,
    held: Mutex<HashMap<usize, Box<[u64]>>>,
    damaged: Damaged,
}

/// Where in a file the chunks lie that were touched and are damaged.
pub(super) type Damaged = Arc<Mutex<BTreeSet<u64>>>;

impl SavedMemory {
    /// A segment whose chunks lie in a file as the rows say.
    pub(super) fn new(file: Arc<File>, bytes: usize, rows: Vec<[u64; ROW_WORDS]>, damaged: Damaged) -> Self {
        Self { file, bytes, rows, held: Mutex::default(), damaged }
    }

    /// All of it, in memory of its own. `None` when there is not so much.
    pub(super) fn expand(&self) -> Option<Memory> {
        let memory = Memory::try_heap(self.bytes).ok()?;
        for chunk in (0..self.rows.len()).filter(|chunk| self.rows[*chunk][0] != 0) {
            let words = self.read(chunk);
            let at = chunk * CHUNK_BYTES;
            let words = &words[..words.len().min((self.bytes - at) / 8)];
            memory.copy_in(at, words);
        }
        Some(memory)
    }

    /// A chunk; zeros where it is damaged.
    fn read(&self, chunk: usize) -> Box<[u64]> {
        let mut words = vec![0; CHUNK_WORDS].into_boxed_slice();
        if !self.fill(chunk, words.as_mut_bytes()) {
            words.fill(0);
            let at = self.rows.get(chunk).map_or(0, |row| row[0]);
            self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(at);
        }
        words
    }

    fn fill(&self, chunk: usize, to: &mut [u8]) -> bool {
        let Some([offset, bytes, expected]) = self.rows.get(chunk).copied() else { return true };
        if offset == 0 {
            return true;
        }
        let Some(bytes) = usize::try_from(bytes).ok().filter(|bytes| *bytes <= CHUNK_BYTES) else { return false };
        let mut packed = vec![0; bytes];
        if self.file.read_exact_at(&mut packed, offset).is_err() || hash(&packed) != expected {
            return false;
        }
        if bytes == CHUNK_BYTES {
            to.copy_from_slice(&packed);
            return true;
        }
        lz4_flex::block::decompress_into(&packed, to).is_ok_and(|found| found == CHUNK_BYTES)
    }

    /// Has a chunk's words looked at; `None` for zeros.
    fn with<T>(&self, chunk: usize, look: impl FnOnce(Option<&[u64]>) -> T) -> T {
        if self.rows.get(chunk).is_none_or(|row| row[0] == 0) {
            return look(None);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= SAVED_CHUNKS_HELD && !held.contains_key(&chunk) {
            held.clear();
        }
        look(Some(held.entry(chunk).or_insert_with(|| self.read(chunk))))
    }
}

impl Words for SavedMemory {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn load(&self, offset: usize, _order: Ordering) -> u64 {
        self.with(offset / CHUNK_BYTES, |words| words.map_or(0, |words| words[offset % CHUNK_BYTES / 8]))
    }

    fn store(&self, _offset: usize, _value: u64, _order: Ordering) {
        unreachable!("a saved file is only looked at")
    }

    fn compare_exchange(&self, _offset: usize, _from: u64, _to: u64) -> Result<u64, u64> {
        unreachable!("a saved file is only looked at")
    }

    fn fetch_add(&self, _offset: usize, _n: u64) {
        unreachable!("a saved file is only looked at")
    }

    fn copy_out(&self, offset: usize, to: &mut [u64]) {
        let mut at = offset / 8;
        let mut rest = to;
        while !rest.is_empty() {
            let (chunk, first) = (at / CHUNK_WORDS, at % CHUNK_WORDS);
            let n = rest.len().min(CHUNK_WORDS - first);
            let (now, later) = rest.split_at_mut(n);
            self.with(chunk, |words| match words {
                Some(words) => now.copy_from_slice(&words[first..first + n]),
                None => now.fill(0),
            });
            (rest, at) = (later, at + n);
        }
    }
}

impl std::fmt::Debug for SavedMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SavedMemory").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Words for LookMemory {
    fn bytes(&self) -> usize {
        match self {
            Self::Mapped(memory) => memory.bytes(),
            Self::Saved(memory) => memory.bytes(),
        }
    }

    #[inline]
    fn load(&self, offset: usize, order: Ordering) -> u64 {
        match self {
            Self::Mapped(memory) => memory.load(offset, order),
            Self::Saved(memory) => memory.load(offset, order),
        }
    }

    fn store(&self, _offset: usize, _value: u64, _order: Ordering) {
        unreachable!("what is looked at is not written")
    }

    fn compare_exchange(&self, _offset: usize, _from: u64, _to: u64) -> Result<u64, u64> {
        unreachable!("what is looked at is not written")
    }

    fn fetch_add(&self, _offset: usize, _n: u64) {
        unreachable!("what is looked at is not written")
    }

    #[inline]
    fn copy_out(&self, offset: usize, to: &mut [u64]) {
        match self {
            Self::Mapped(memory) => memory.copy_out(offset, to),
            Self::Saved(memory) => memory.copy_out(offset, to),
        }
    }
}
