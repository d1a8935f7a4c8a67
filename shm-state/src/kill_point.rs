//! Named places at which a test may kill the process, or stop it.
//!
//! Every place is listed in [`ALL`]; [`kill_point!`](crate::kill_point!) refuses to compile with a name that is not. Without the
//! feature `kill-points` it is no code at all. With it, a place kills the process when it was armed, by `arm` or by the
//! environment variable `RINGFORT_KILL_POINT`, and counts how often it was reached when somebody asked with `trace`.

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
    // Those of [`SERVER`].
    "takeover:claimed",
    "takeover:judged",
    "attempt:published",
    "takeover:rebuilt",
    "letters:written",
    // Those of [`SUPERVISOR`].
    "adopt:attached",
    "adopt:entered",
    "adopt:workers",
    "adopt:granted",
];

/// Those that lie in the server, in a sim that takes a match over or begins a tick: the epoch is its own; it knows what the last owner died of;
/// it has said which attempt it makes; its indices are rebuilt; what the tick gives up is in a file.
pub const SERVER: &[&str] = &["takeover:claimed", "takeover:judged", "attempt:published", "takeover:rebuilt", "letters:written"];

/// Those of a supervisor that goes on with another's workers: it has all segments; is entered; has entered its workers; has granted what the dead
/// have left.
pub const SUPERVISOR: &[&str] = &["adopt:attached", "adopt:entered", "adopt:workers", "adopt:granted"];

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
pub use armed::{Action, VARIABLE, arm, reached, trace};

#[cfg(feature = "kill-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::ALL;

    /// Names a place as `name` or `name:nth` for a process that is started by its command line.
    pub const VARIABLE: &str = "RINGFORT_KILL_POINT";

    /// What an armed place does to its process.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Action {
        /// SIGKILL.
        Kill = 0,
        /// SIGSTOP; the process goes on at SIGCONT.
        Stop = 1,
    }

    /// {action, position in [`ALL`] + 1, how often it is still to be reached}; 0 when nothing is armed.
    static ARMED: AtomicU64 = AtomicU64::new(UNREAD);
    /// The environment was not looked at yet.
    const UNREAD: u64 = u64::MAX;
    const TIMES_BITS: u32 = 32;
    const POINT_BITS: u32 = 16;

    static COUNTS: OnceLock<&'static [AtomicU64]> = OnceLock::new();

    /// Arms a place of this process: it acts when it is reached for the `nth` time from now, 1 being the first. It acts once.
    ///
    /// # Panics
    /// When the name is not in [`ALL`] or `nth` is 0.
    pub fn arm(name: &str, nth: u32, action: Action) {
        assert!(nth > 0, "the first time is 1");
        ARMED.store(packed(super::index(name), nth, action), Ordering::Relaxed);
    }

    /// Counts from now on how often each place is reached, at its position in [`ALL`]. The first call of a process decides.
    ///
    /// # Panics
    /// When there are fewer counts than places.
    pub fn trace(counts: &'static [AtomicU64]) {
        assert!(counts.len() >= ALL.len(), "a count for every kill point");
        COUNTS.get_or_init(|| counts);
    }

    /// What [`kill_point!`](crate::kill_point!) calls.
    pub fn reached(point: usize) {
        if let Some(counts) = COUNTS.get() {
            counts[point].fetch_add(1, Ordering::Relaxed);
        }
        let mut armed = ARMED.load(Ordering::Relaxed);
        if armed == UNREAD {
            armed = from_environment();
            ARMED.store(armed, Ordering::Relaxed);
        }
        let mask = (1 << POINT_BITS) - 1;
        if armed >> TIMES_BITS & mask != point as u64 + 1 {
            return;
        }
        let times = ARMED.fetch_sub(1, Ordering::Relaxed) & ((1 << TIMES_BITS) - 1);
        if times == 1 {
            ARMED.store(0, Ordering::Relaxed);
            act(armed >> (TIMES_BITS + POINT_BITS) == Action::Stop as u64);
        }
    }

    fn act(stop: bool) {
        let signal = if stop { Signal::STOP } else { Signal::KILL };
        kill_process(getpid(), signal).expect("a process may signal itself");
    }

    fn packed(point: usize, nth: u32, action: Action) -> u64 {
        (action as u64) << (TIMES_BITS + POINT_BITS) | (point as u64 + 1) << TIMES_BITS | u64::from(nth)
    }

    fn from_environment() -> u64 {
        std::env::var(VARIABLE).map_or(0, |text| parsed(&text))
    }

    /// Panics at a name that does not exist: whoever set the variable waits for a death that would never come.
    fn parsed(text: &str) -> u64 {
        let nth = text.rsplit_once(':').and_then(|(name, nth)| Some((name, nth.parse::<u32>().ok()?)));
        let (name, nth) = nth.unwrap_or((text, 1));
        let point = ALL.iter().position(|known| *known == name);
        let (Some(point), 1..) = (point, nth) else {
            panic!("{VARIABLE}={text} names no kill point: it is one of {ALL:?}, with `:N` behind it for the Nth time")
        };
        packed(point, nth, Action::Kill)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_variable_names_a_place_and_how_often_it_is_reached() {
            let first = super::super::index("cell:slot_written");
            assert_eq!(parsed("cell:slot_written"), packed(first, 1, Action::Kill));
            assert_eq!(parsed("cell:slot_written:12"), packed(first, 12, Action::Kill));
            assert_eq!(parsed("adopt:granted"), packed(ALL.len() - 1, 1, Action::Kill));
            assert!(super::super::SUPERVISOR.iter().all(|name| ALL.contains(name)));
            assert!(super::super::SERVER.iter().all(|name| ALL.contains(name)));
        }

        #[test]
        #[should_panic(expected = "names no kill point")]
        fn a_name_that_is_not_in_the_list_is_refused() {
            parsed("cell:slot:3");
        }

        #[test]
        #[should_panic(expected = "names no kill point")]
        fn the_zeroth_time_is_refused() {
            parsed("cell:published:0");
        }
    }
}
