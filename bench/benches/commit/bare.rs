//! Pages copied and nothing else, in shared memory that goes round as a zone's window does.

use std::sync::atomic::AtomicU64;

use ringfort_bench::shared::{Atomics, Shared, now_ns};
use ringfort_shm_state::limits::{PAGE_BYTES, PAGE_WORDS, WINDOW};

/// Pages of a large tick.
pub const MANY: u32 = 10_000;
/// Places that a page has in turn: the window's, and the tick's under way.
const TURNS: usize = WINDOW as usize + 1;
/// Bytes of a large tick's pages.
const TICK_BYTES: usize = MANY as usize * PAGE_BYTES;

/// The pages of a window.
struct Window([AtomicU64; TURNS * MANY as usize * PAGE_WORDS]);

// SAFETY: made of atomics alone.
unsafe impl Atomics for Window {}

/// Copies a large tick's pages from where they are to where they were longest ago.
pub struct Bare {
    window: Shared<Window>,
    at: usize,
}

impl Bare {
    /// Pages that were all written once.
    pub fn new() -> Self {
        let bare = Self { window: Shared::zeroed(), at: 0 };
        // SAFETY: the mapping is as long as that, belongs to this process alone, and no reference to its words is in use.
        unsafe { std::ptr::write_bytes(bare.place(0), 1, TURNS * TICK_BYTES) };
        bare
    }

    fn place(&self, turn: usize) -> *mut u8 {
        self.window.0.as_ptr().cast_mut().cast::<u8>().wrapping_add(turn * TICK_BYTES)
    }

    /// Nanoseconds of a page.
    pub fn turn(&mut self, ticks: u32) -> f64 {
        let began = now_ns();
        for _ in 0..ticks {
            let (from, to) = (self.place(self.at), self.place((self.at + 1) % TURNS));
            for page in 0..MANY as usize {
                let offset = page * PAGE_BYTES;
                // SAFETY: both ticks lie in the mapping and do not overlap; it belongs to this process alone, and no reference to its
                // words is in use.
                unsafe {
                    std::ptr::copy_nonoverlapping(from.wrapping_add(offset).cast_const(), to.wrapping_add(offset), PAGE_BYTES)
                };
            }
            self.at = (self.at + 1) % TURNS;
        }
        (now_ns() - began) as f64 / f64::from(ticks * MANY)
    }
}
