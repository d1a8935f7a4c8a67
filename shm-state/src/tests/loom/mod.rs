//! The protocols under loom, which runs every schedule of their threads and every value that a load may see.
//!
//! Each model runs the core's own code, whole, and then with one fence, order or check taken out: that must be noticed, or the
//! model proves nothing.

mod cell;
mod epoch;
mod extent;
mod flight;
mod inbox;
mod memory;
mod pages;
mod root;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Schedules that a model may have before it is too large to be run to its end.
const MAX_SCHEDULES: usize = 3_000_000;

/// Runs every schedule of a model in a thread of its own; the panic of the first one that fails is the error.
fn explore(model: impl Fn() + Send + Sync + 'static) -> std::thread::Result<usize> {
    std::thread::spawn(move || {
        let schedules = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&schedules);
        loom::model::Builder::new().check(move || {
            assert!(counted.fetch_add(1, Ordering::Relaxed) < MAX_SCHEDULES, "the model is too large");
            model();
        });
        schedules.load(Ordering::Relaxed)
    })
    .join()
}

/// The protocol holds in every schedule; prints how many there were.
fn holds(name: &str, model: impl Fn() + Send + Sync + 'static) {
    match explore(model) {
        Ok(schedules) => println!("{name}: {schedules} schedules"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Some schedule breaks the protocol's promise; what is said then must be the promise and not another mistake.
fn fails(name: &str, promise: &str, model: impl Fn() + Send + Sync + 'static) {
    let panic = explore(model).expect_err(name);
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    assert!(said.is_some_and(|said| said.contains(promise)), "{name} failed for another reason: {said:?}");
}
