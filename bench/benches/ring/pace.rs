//! What producer and consumer tell each other beside the messages: that they are ready, what was consumed, and when it was.

use std::sync::atomic::{AtomicU64, Ordering};

use ringfort_bench::shared::{Atomics, now_ns};

use crate::PAUSE_NS;

/// A word in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Line(pub AtomicU64);

/// Shared by the two processes.
#[derive(Debug, Default)]
pub struct Pace {
    producer_ready: Line,
    consumer_ready: Line,
    /// Cursor of what was consumed: bytes for our ring, messages for iceoryx2. It stands for the cursor in the committed root.
    pub consumed: Line,
    started_ns: Line,
    ended_ns: Line,
}

// SAFETY: made of atomics alone.
unsafe impl Atomics for Pace {}

impl Pace {
    /// The producer has all it needs; returns when the consumer has too, and notes the time.
    pub fn start_producing(&self) {
        self.producer_ready.0.store(1, Ordering::Release);
        wait_for(&self.consumer_ready);
        self.started_ns.0.store(now_ns(), Ordering::Relaxed);
    }

    /// Returns when the producer has all it needs, and what the consumer needs from it is there.
    pub fn wait_for_producer(&self) {
        wait_for(&self.producer_ready);
    }

    /// The consumer has all it needs.
    pub fn start_consuming(&self) {
        self.consumer_ready.0.store(1, Ordering::Release);
    }

    /// The consumer has the last message.
    pub fn end(&self) {
        self.ended_ns.0.store(now_ns(), Ordering::Release);
    }

    /// Whether the consumer has the last message.
    pub fn has_ended(&self) -> bool {
        self.ended_ns.0.load(Ordering::Acquire) != 0
    }

    /// Nanoseconds from the first message's making to the last one's arrival.
    pub fn took_ns(&self) -> f64 {
        (self.ended_ns.0.load(Ordering::Acquire) - self.started_ns.0.load(Ordering::Relaxed)) as f64
    }
}

fn wait_for(line: &Line) {
    while line.0.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
}

/// What a consumer does that found nothing: it looks again after a while, since each look takes the line from the producer. A sim
/// looks once a tick.
pub fn pause() {
    let until = now_ns() + PAUSE_NS;
    while now_ns() < until {
        std::hint::spin_loop();
    }
}
