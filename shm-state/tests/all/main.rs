//! Tests of the public interface, one module a topic.

mod blobs;
mod by_hand;
mod cells;
mod directory;
mod document;
mod inbox;
mod processes;
mod segments;
mod tables;

use std::sync::atomic::{AtomicU32, Ordering};

use ringfort_shm_state::segment::leftovers;

/// A name that no other test and no other run uses; its segments are removed however the test ends.
struct Instance(String);

impl Instance {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("test-{}-{number}", std::process::id()))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        for path in leftovers(&self.0) {
            let _ = std::fs::remove_file(path);
        }
    }
}
