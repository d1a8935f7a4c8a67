//! Published cells under a writer that never rests, and after one that died half-way.

use std::sync::atomic::{AtomicBool, Ordering};

use ringfort_shm_state::cell::Cell;
use ringfort_shm_state::layout::AttemptEntry;
use ringfort_shm_state::memory::{Memory, Words};

const CELL: Cell<AttemptEntry> = Cell::at(64);

fn entry(n: u64) -> AttemptEntry {
    let half = n as u32;
    AttemptEntry {
        incarnation: n,
        tick: half,
        attempt: half,
        deaths: half,
        resumes: half,
        net_cursor: n,
        sys_cursor: n,
        mail_cursor: n,
    }
}

#[test]
fn readers_see_whole_values_in_order() {
    let memory = Memory::heap(64 + Cell::<AttemptEntry>::BYTES);
    assert_eq!(CELL.read(&memory), None);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let Some(value) = CELL.read(&memory) else { continue };
                        assert_eq!(value, entry(value.net_cursor), "torn");
                        assert!(value.net_cursor >= last, "went back");
                        last = value.net_cursor;
                    }
                    last
                })
            })
            .collect();
        (1..=200_000).for_each(|n| CELL.publish(&memory, &entry(n)));
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|r| assert!(r.join().expect("no torn value") <= 200_000));
    });
    assert_eq!((CELL.read(&memory), CELL.version(&memory)), (Some(entry(200_000)), 200_000));
}

#[test]
fn a_writer_that_died_half_way_leaves_the_previous_value() {
    let memory = Memory::heap(64 + Cell::<AttemptEntry>::BYTES);
    for n in 1..=4u64 {
        CELL.publish(&memory, &entry(n));
        // What the next publication would have stored first, cut off after two words.
        let other = 64 + 64 + ((n + 1) & 1) as usize * size_of::<AttemptEntry>();
        memory.copy_in(other, &[u64::MAX, u64::MAX]);
        assert_eq!(CELL.read(&memory), Some(entry(n)));
    }
}
