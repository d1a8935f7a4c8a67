//! A producer: appends batches to both inboxes under the robust lock, as a front-end does.
//!
//! It never waits, so that it is as often inside the lock as outside when it is killed: a full or busy inbox is tried again.

use std::sync::atomic::{AtomicU64, Ordering};

use ringfort_shm_state::inbox::{Appended, Batch};
use ringfort_shm_state::segment::Access;

use crate::game::{self, Sent};
use crate::instance::Instance;
use crate::process::park;
use crate::shared::ZONES;

/// Records of a batch at most.
const BATCH: u64 = 12;

/// What a producer is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of the run.
    pub seed: u64,
    /// Which producer.
    pub slot: usize,
    /// Batches after which it exits; `None` for a producer that is killed some time.
    pub batches: Option<u32>,
}

impl Plan {
    /// The role of the process.
    pub fn role(&self) -> usize {
        1 + self.slot
    }
}

/// The producer's life.
pub fn run(instance: &Instance, plan: Plan) -> i32 {
    let attached = instance.attach(Access::ReadOnly, Access::ReadWrite);
    let (mine, notes) = (&instance.notes.producers[plan.slot], instance.notes);
    let me = &notes.children[plan.role()];
    let id = mine.id.load(Ordering::Relaxed);
    let mut random = game::choices(plan.seed, id, 2);
    let mut batches: [Batch; ZONES] = Default::default();
    let mut appended = 0;
    loop {
        if plan.batches == Some(appended) {
            return 0;
        }
        park(notes, plan.role());
        me.loops.fetch_add(1, Ordering::Release);
        let zone = if plan.batches.is_some() { appended as usize % ZONES } else { random.below(ZONES as u64) as usize };
        let incarnation = notes.zones[zone].incarnation.load(Ordering::Acquire);
        // While there is no match, there is nobody to send to.
        let Some(consumed) = attached.world.consumed(zone, incarnation) else { continue };
        let batch = &mut batches[zone];
        if batch.is_empty() {
            fill(batch, zone, id, &mine.attempted[zone], 1 + random.below(BATCH));
        }
        match attached.inbox(zone).append(attached.memory(), batch, consumed).unwrap_or_else(|e| panic!("{e}")) {
            Appended::All(_) => {
                mine.told[zone].fetch_add(batch.len() as u64, Ordering::Release);
                batch.consume(batch.len());
                appended += 1;
            }
            Appended::Part { records, .. } => {
                mine.told[zone].fetch_add(records as u64, Ordering::Release);
                batch.consume(records);
            }
            Appended::Busy => {
                me.busy.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Fills a batch with the producer's next records, and notes that they are going to be appended.
fn fill(batch: &mut Batch, zone: usize, id: u64, attempted: &AtomicU64, records: u64) {
    let first = attempted.load(Ordering::Relaxed);
    for sequence in first..first + records {
        let (header, payload) = game::record(zone, Sent { producer: id, sequence: sequence as u32 });
        batch.push(header, &payload);
    }
    attempted.store(first + records, Ordering::Release);
}
