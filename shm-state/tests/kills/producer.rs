//! A producer: appends batches to both inboxes under the robust lock, as a front-end does.
//!
//! It hardly waits, so that it is often inside the lock when it is killed: a full or busy inbox is tried again.

use std::sync::atomic::{AtomicU64, Ordering};

use ringfort_shm_state::inbox::{Appended, Batch};
use ringfort_shm_state::segment::Access;

use crate::game::{self, Sent};
use crate::instance::Instance;
use crate::process::park;
use crate::random::Random;
use crate::shared::ZONES;

/// Records of a batch at most.
const BATCH: u64 = 12;
/// Rounds of the loop, on average, between two looks at what a zone has consumed: appending takes longer than all else together.
const REFRESH: u64 = 6;
/// Full or busy inboxes, on average, between two times that it lets others run.
const YIELD: u64 = 200;

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
    // By zone: the match, and the cursor up to which it has consumed.
    let mut known = [(0, 0); ZONES];
    let mut appended = 0;
    loop {
        if plan.batches == Some(appended) {
            return 0;
        }
        park(notes, plan.role());
        me.loops.fetch_add(1, Ordering::Release);
        let zone = if plan.batches.is_some() { appended as usize % ZONES } else { random.below(ZONES as u64) as usize };
        let incarnation = notes.zones[zone].incarnation.load(Ordering::Acquire);
        // While there is no match, there is nobody to send to. What it has consumed only grows, so an older number will do.
        if plan.batches.is_some() || known[zone].0 != incarnation || random.one_in(REFRESH) {
            let Some(consumed) = attached.world.consumed(zone, incarnation) else { continue };
            known[zone] = (incarnation, consumed);
        }
        let consumed = known[zone].1;
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
                refused(&mut random);
            }
            Appended::Busy => {
                me.busy.fetch_add(1, Ordering::Relaxed);
                refused(&mut random);
            }
        }
    }
}

/// Tries again at once, but for now and then.
fn refused(random: &mut Random) {
    if random.one_in(YIELD) {
        std::thread::yield_now();
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
