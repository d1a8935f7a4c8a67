//! A published cell: the writer publishes twice, so that it writes a slot again while a reader may be copying it.

use std::sync::Arc;

use super::memory::{Broken, Modelled};
use super::{fails, holds};
use crate::cell::Cell;
use crate::memory::Fence;

const BYTES: usize = Cell::<[u64; 2]>::BYTES;
const TORN: &str = "the value is one that was published";

fn model(broken: Broken) -> impl Fn() + Send + Sync {
    move || {
        // The version, and the slot of odd versions; the other slot is written but once while the threads run.
        let memory = Arc::new(Modelled::new(BYTES, &[0, 80, 88], broken));
        let cell = Cell::<[u64; 2]>::at(0);
        cell.publish(&*memory, &[1, 1]);
        let writer = loom::thread::spawn({
            let memory = Arc::clone(&memory);
            move || (2..=3).for_each(|value| cell.publish(&*memory, &[value, value]))
        });
        if let Some([a, b]) = cell.read(&*memory) {
            assert!(a == b && (1..=3).contains(&a), "{TORN}: {a} {b}");
        }
        writer.join().expect("the writer ends");
    }
}

#[test]
fn a_cell_is_never_read_torn() {
    holds("cell", model(Broken::Nothing));
    fails("without the writer's fence", TORN, model(Broken::Fence(Fence::CellReuse)));
    fails("without the reader's fence", TORN, model(Broken::Fence(Fence::CellCheck)));
    fails("published by a relaxed store", TORN, model(Broken::Relaxed(0)));
}
