//! Named places at which a test may kill the process, or stop it.
//!
//! Every place is listed in [`ALL`]; [`kill_point!`](crate::kill_point!) refuses to compile with a name that is not. Without the
//! feature `kill-points` it is no code at all. With it, a place kills the process when it was armed, by `arm` or by the
//! environment variable `RINGFORT_KILL_POINT`, and counts how often it was reached when somebody asked with `trace`.
//!
//! The variable goes to all processes of an instance, and names those that are to die: `frontend.0@1/attach:queued#2,sim.1/claim:published`
//! kills the first process that is front-end 0 when it queues its second attach, and every sim 1 at its first claim.

/// The name of every kill point, by what the process is doing there.
pub const ALL: &[&str] = &[
    // A cell has its new value beside the old one; the version has moved.
    "cell:slot_written",
    "cell:published",
    // A segment's file exists; has its space; is described; may be attached.
    "segment:created",
    "segment:allocated",
    "segment:header_written",
    "segment:ready",
    // The lock is held; its last holder died and it is not yet consistent; it is again.
    "lock:taken",
    "lock:owner_died",
    "lock:repaired",
    // One record lies beyond the tail; all do; they are committed; the lock is free.
    "inbox:record_copied",
    "inbox:copied",
    "inbox:tail_moved",
    "inbox:unlocked",
    // An extent has changed hands.
    "extent:taken",
    "extent:given",
    // A page has its private copy.
    "page:copied",
    // A table page is written; all are; the root is; it is published; what it replaced is free.
    "commit:table_written",
    "commit:built",
    "commit:root_written",
    "commit:published",
    "commit:reclaimed",
    // A zone's epoch is ours; what its roots name is known.
    "claim:published",
    "adopt:marked",
    // The zone is about to be handed over; it is the next owner's.
    "release:begun",
    "release:published",
    // One of the empty roots that end a match is written; it is published.
    "end:root_written",
    "end:published",
    // Those of [`SIM`].
    "takeover:claimed",
    "takeover:judged",
    "attempt:published",
    "takeover:rebuilt",
    "letters:written",
    // Those of [`FRONTEND`].
    "attach:queued",
    "attach:appended",
    "attach:committed",
    "attach:told",
    "attach:proved",
    "detach:queued",
    // Those of [`PROMOTION`].
    "promote:begun",
    "promote:published",
    "promote:emptied",
    // Those of [`ADOPTION`].
    "adopt:locked",
    "adopt:handed",
    "adopt:attached",
    "adopt:entered",
    "adopt:workers",
    "adopt:granted",
    // Those of [`HAND`].
    "hand:accepted",
    "hand:sent",
];

/// Those that lie in a sim that takes a match over or begins a tick: the epoch is its own; it knows what the last owner died of; it has said which
/// attempt it makes; its indices are rebuilt; what the tick gives up is in a file.
pub const SIM: &[&str] = &["takeover:claimed", "takeover:judged", "attempt:published", "takeover:rebuilt", "letters:written"];

/// Those that lie in a front-end: the record of a join or a resume is queued; it is in the inbox; its commit was seen; its client is being told; the
/// client's first word under it is queued; the loss of a connection is queued.
pub const FRONTEND: &[&str] =
    &["attach:queued", "attach:appended", "attach:committed", "attach:told", "attach:proved", "detach:queued"];

/// Those of a supervisor that fills a dead front-end's slot: who stands by is about to be given it; is entered there; stands by no more.
pub const PROMOTION: &[&str] = &["promote:begun", "promote:published", "promote:emptied"];

/// Those of a supervisor that goes on with another's workers: it has the instance's lock; has their descriptors; has all segments; is entered; has
/// entered its workers; has granted what the dead have left.
pub const ADOPTION: &[&str] =
    &["adopt:locked", "adopt:handed", "adopt:attached", "adopt:entered", "adopt:workers", "adopt:granted"];

/// Those that lie in every worker: somebody asks for its descriptors; they are sent.
pub const HAND: &[&str] = &["hand:accepted", "hand:sent"];

/// All that lie in the server, and none in this crate.
pub const SERVER: &[&[&str]] = &[SIM, FRONTEND, PROMOTION, ADOPTION, HAND];

/// A place at which this process dies when the feature `kill-points` is on and the place was armed.
#[cfg(feature = "kill-points")]
#[macro_export]
macro_rules! kill_point {
    ($name:literal) => {{
        const POINT: usize = $crate::kill_point::index($name);
        $crate::kill_point::reached(POINT);
    }};
}

/// A place at which this process dies when the feature `kill-points` is on and the place was armed.
#[cfg(not(feature = "kill-points"))]
#[macro_export]
macro_rules! kill_point {
    ($name:literal) => {{
        const _: usize = $crate::kill_point::index($name);
    }};
}

/// The position of a name in [`ALL`].
///
/// # Panics
/// When it is not in the list; in the macro that is an error of the compiler.
pub const fn index(name: &str) -> usize {
    let mut at = 0;
    while at < ALL.len() {
        if same(ALL[at].as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("this name is not in kill_point::ALL: add it there, so that the kill tests know of the place")
}

/// Equality of bytes, which the standard library does not offer to the compiler.
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

#[cfg(feature = "kill-points")]
pub use armed::{Action, ROLES, VARIABLE, arm, identify, reached, trace};

/// Says what this process is, by which the variable `RINGFORT_KILL_POINT` may name it. Without the feature `kill-points` nobody listens.
#[cfg(not(feature = "kill-points"))]
pub const fn identify(_role: &str, _slot: u32, _incarnation: u32) {}

#[cfg(feature = "kill-points")]
mod armed;
