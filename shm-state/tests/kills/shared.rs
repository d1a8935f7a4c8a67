//! What the processes of a run share beside what is tested: a gate, notes of what producers were told, and a journal of ticks.
//!
//! It lies in anonymous memory of its own. Each part has one writer.

use std::fs::File;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use ringfort_shm_state::kill_point;
use rustix::fs::MemfdFlags;

use crate::game::Sent;

/// Zones of a run.
pub const ZONES: usize = 2;
/// Producers of a run.
pub const PRODUCERS: usize = 2;
/// Processes of a run: the sim, then the producers.
pub const ROLES: usize = 1 + PRODUCERS;
/// Records that a tick drains at most.
pub const TICK_RECORDS: usize = 64;
/// Ticks that a zone's journal holds.
pub const JOURNAL: usize = 1024;

/// Tells a hand-over with epoch 0 from none.
pub const HANDED: u64 = 1 << 16;

/// All of it.
#[repr(C)]
pub struct Notes {
    /// 0, or the number of the pause for which the processes are to park.
    pub gate: AtomicU32,
    reserved: AtomicU32,
    /// By role.
    pub children: [Child; ROLES],
    /// By producer.
    pub producers: [Producer; PRODUCERS],
    /// By zone.
    pub zones: [Zone; ZONES],
    /// How often each kill point was reached by a process that traces.
    pub reached: [AtomicU64; kill_point::ALL.len()],
}

/// Written by the process.
#[repr(C)]
pub struct Child {
    /// The pause in which it is parked.
    pub parked: AtomicU64,
    /// Rounds of its loop.
    pub loops: AtomicU64,
    /// How often it found the lock taken.
    pub busy: AtomicU64,
    /// How often it found that a zone was not released to it yet.
    pub waits: AtomicU64,
    /// Zones that it took over or opened.
    pub started: AtomicU64,
}

/// Written by the producer; by the parent before it starts one.
#[repr(C)]
pub struct Producer {
    /// Never used twice.
    pub id: AtomicU64,
    /// By zone: records that it tried to append, noted before.
    pub attempted: [AtomicU64; ZONES],
    /// By zone: records of which it was told that they are committed, noted after.
    pub told: [AtomicU64; ZONES],
}

/// Written by the sim.
#[repr(C)]
pub struct Zone {
    /// The match, moved on once the one before has ended.
    pub incarnation: AtomicU64,
    /// The epoch that the zone is being handed over with, above [`HANDED`]; 0 when it is not. As the directory would say it.
    pub next_epoch: AtomicU64,
    /// Newest root that the model has seen; written by the parent.
    pub verified: AtomicU64,
    journal: [Entry; JOURNAL],
}

/// A tick, written before its commit. It counts only if a root with its sequence was published.
#[repr(C)]
struct Entry {
    sequence: AtomicU64,
    incarnation: AtomicU64,
    tick: AtomicU64,
    lean: AtomicU64,
    cursor: [AtomicU64; 2],
    count: AtomicU64,
    records: [[AtomicU64; 2]; TICK_RECORDS],
}

/// A copy of a journal entry.
#[derive(Debug, PartialEq)]
pub struct Journalled {
    /// Sequence of the root that commits it.
    pub sequence: u64,
    /// The match.
    pub incarnation: u64,
    /// The tick.
    pub tick: u32,
    /// Whether it ran without a burst.
    pub lean: bool,
    /// Cursor of the inbox before and after.
    pub cursor: [u64; 2],
    /// What was drained.
    pub records: Vec<Sent>,
}

impl Zone {
    fn entry(&self, sequence: u64) -> &Entry {
        &self.journal[sequence as usize % JOURNAL]
    }

    /// Writes a tick down.
    pub fn note(&self, tick: &Journalled) {
        let entry = self.entry(tick.sequence);
        let put = |at: &AtomicU64, value: u64| at.store(value, Ordering::Relaxed);
        put(&entry.incarnation, tick.incarnation);
        put(&entry.tick, tick.tick.into());
        put(&entry.lean, tick.lean.into());
        put(&entry.cursor[0], tick.cursor[0]);
        put(&entry.cursor[1], tick.cursor[1]);
        put(&entry.count, tick.records.len() as u64);
        for (to, from) in entry.records.iter().zip(&tick.records) {
            put(&to[0], from.producer);
            put(&to[1], from.sequence.into());
        }
        entry.sequence.store(tick.sequence, Ordering::Release);
    }

    /// Whether the zone was released with this epoch to the process that it was announced to.
    pub fn is_handed_over(&self, epoch: u16) -> bool {
        self.next_epoch.load(Ordering::Acquire) == HANDED | u64::from(epoch)
    }

    /// Takes a note back: the root with this sequence will be no tick.
    pub fn forget(&self, sequence: u64) {
        self.entry(sequence).sequence.store(0, Ordering::Release);
    }

    /// The tick that a root commits; `None` when it is no tick.
    pub fn journalled(&self, sequence: u64) -> Option<Journalled> {
        let entry = self.entry(sequence);
        if entry.sequence.load(Ordering::Acquire) != sequence {
            return None;
        }
        let get = |at: &AtomicU64| at.load(Ordering::Relaxed);
        let count = (get(&entry.count) as usize).min(TICK_RECORDS);
        let sent = |words: &[AtomicU64; 2]| Sent { producer: get(&words[0]), sequence: get(&words[1]) as u32 };
        Some(Journalled {
            sequence,
            incarnation: get(&entry.incarnation),
            tick: get(&entry.tick) as u32,
            lean: get(&entry.lean) != 0,
            cursor: [get(&entry.cursor[0]), get(&entry.cursor[1])],
            records: entry.records[..count].iter().map(sent).collect(),
        })
    }
}

impl Notes {
    /// Zeroed notes.
    pub fn new() -> &'static Self {
        let at = zeroed(size_of::<Self>());
        // SAFETY: as long as `Self`, zeroed, beginning at a page boundary and never unmapped (see `zeroed`); every field is an atomic
        // integer, for which other processes' stores are as good as other threads'.
        unsafe { &*at.cast::<Self>() }
    }
}

/// Assertions of children that failed, counted before they say so: they may be killed while they do.
pub fn failures() -> &'static AtomicU64 {
    static FAILURES: OnceLock<&'static AtomicU64> = OnceLock::new();
    FAILURES.get_or_init(|| {
        let at = zeroed(size_of::<AtomicU64>());
        // SAFETY: as in `Notes::new`.
        unsafe { &*at.cast::<AtomicU64>() }
    })
}

/// Zeroed memory that the children of this process share with it, at the beginning of a page. It stays until the process ends.
fn zeroed(bytes: usize) -> *const u8 {
    let memory = rustix::fs::memfd_create("kills", MemfdFlags::CLOEXEC).map(File::from).expect("anonymous memory");
    memory.set_len(bytes as u64).expect("room for the notes");
    let map: &'static MmapRaw = Box::leak(Box::new(MmapOptions::new().map_raw(&memory).expect("a mapping")));
    map.as_ptr()
}
