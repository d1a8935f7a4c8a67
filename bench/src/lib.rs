//! What Ringfort's benchmarks share: processes on chosen cores, memory between them, and the way figures are told.
//!
//! A benchmark prints ratios between contenders that took turns in one run, since machines differ from hour to hour by more than
//! the contenders do. It says whether a target is met and never fails because a machine is slow; it does fail when a result is
//! wrong, for a fast wrong answer is no figure.

pub mod child;
pub mod leftovers;
pub mod progress;
pub mod report;
pub mod rows;
pub mod shared;
pub mod stats;
