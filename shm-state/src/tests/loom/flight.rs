//! A flight recorder's ring of which a reader copies a record while the writer overwrites it, once around.

use std::sync::Arc;

use super::memory::{Broken, Modelled};
use super::{fails, holds};
use crate::flight::{FlightRing, Flown, blank};
use crate::layout::{FlightRecord, flight as at};
use crate::limits::FLIGHT_RECORDS;
use crate::memory::{Fence, Words};

const TORN: &str = "the record is one that was written";
/// The words of the first record that differ: its sequence, and its two numbers.
const SEQUENCE: usize = at::RECORDS;
const A: usize = SEQUENCE + std::mem::offset_of!(FlightRecord, a);
const B: usize = SEQUENCE + std::mem::offset_of!(FlightRecord, b);

fn model(broken: Broken) -> impl Fn() + Send + Sync {
    move || {
        let memory = Arc::new(Modelled::new(at::BYTES, &[SEQUENCE, A, B], broken));
        let ring = FlightRing::at(0);
        ring.write(&*memory, &FlightRecord { a: 1, b: 1, ..blank() });
        // The ring is full: the next record takes the place of the first.
        memory.store(at::WRITTEN, FLIGHT_RECORDS, std::sync::atomic::Ordering::Relaxed);
        let writer = loom::thread::spawn({
            let memory = Arc::clone(&memory);
            move || ring.write(&*memory, &FlightRecord { a: 2, b: 2, ..blank() })
        });
        for number in [1, FLIGHT_RECORDS + 1] {
            if let Flown::Record(FlightRecord { a, b, .. }) = ring.read(&*memory, number) {
                assert!(a == b && (a == 1) == (number == 1), "{TORN}: {number} {a} {b}");
            }
        }
        writer.join().expect("the writer ends");
    }
}

#[test]
fn a_record_is_never_read_torn() {
    holds("flight", model(Broken::Nothing));
    fails("without the writer's fence", TORN, model(Broken::Fence(Fence::FlightReuse)));
    fails("without the reader's fence", TORN, model(Broken::Fence(Fence::FlightCheck)));
    fails("published by a relaxed store", TORN, model(Broken::Relaxed(SEQUENCE)));
}
