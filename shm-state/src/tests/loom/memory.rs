//! Memory for the models: chosen words are loom's, the rest are plain, and one thing may be broken on purpose.
//!
//! The code under test is the core itself. A word that no other thread looks at, or that never changes while threads run, need not
//! be loom's, and each that is costs a factor of schedules; so a model names the words that its protocol is about.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;

use crate::memory::{Fence, Words};

/// What is taken out of the protocol. Each must be noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Broken {
    #[default]
    Nothing,
    /// A fence is not there.
    Fence(Fence),
    /// Stores to a word are relaxed.
    Relaxed(usize),
    /// The compare-and-swap is a load, a comparison and a store.
    Swap,
}

pub(super) struct Modelled {
    bytes: usize,
    words: HashMap<usize, AtomicU64>,
    rest: Mutex<HashMap<usize, u64>>,
    broken: Broken,
}

impl Modelled {
    /// Memory of zeros in which the words at these offsets are loom's.
    pub(super) fn new(bytes: usize, words: &[usize], broken: Broken) -> Self {
        let words = words.iter().map(|offset| (*offset, AtomicU64::new(0))).collect();
        Self { bytes, words, rest: Mutex::default(), broken }
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, HashMap<usize, u64>> {
        self.rest.lock().expect("no thread panics while it holds this")
    }
}

impl Words for Modelled {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn load(&self, offset: usize, order: Ordering) -> u64 {
        assert!(offset.is_multiple_of(8) && offset < self.bytes, "inside the memory");
        match self.words.get(&offset) {
            Some(word) => word.load(order),
            None => self.rest().get(&offset).copied().unwrap_or(0),
        }
    }

    fn store(&self, offset: usize, value: u64, order: Ordering) {
        assert!(offset.is_multiple_of(8) && offset < self.bytes, "inside the memory");
        let order = if self.broken == Broken::Relaxed(offset) { Ordering::Relaxed } else { order };
        match self.words.get(&offset) {
            Some(word) => word.store(value, order),
            None => drop(self.rest().insert(offset, value)),
        }
    }

    fn compare_exchange(&self, offset: usize, from: u64, to: u64) -> Result<u64, u64> {
        if let (Some(word), true) = (self.words.get(&offset), self.broken != Broken::Swap) {
            return word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        }
        let now = self.load(offset, Ordering::Acquire);
        if now != from {
            return Err(now);
        }
        self.store(offset, to, Ordering::Release);
        Ok(now)
    }

    fn fetch_add(&self, offset: usize, n: u64) {
        match self.words.get(&offset) {
            Some(word) => drop(word.fetch_add(n, Ordering::Relaxed)),
            None => *self.rest().entry(offset).or_default() += n,
        }
    }

    fn fence(&self, at: Fence) {
        if self.broken != Broken::Fence(at) {
            loom::sync::atomic::fence(at.order());
        }
    }
}
