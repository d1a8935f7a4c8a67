//! The place that this process was told to die at, by a call or by the environment.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::ALL;

/// Names places, and the processes that are to die there: see [`super`].
pub const VARIABLE: &str = "RINGFORT_KILL_POINT";

/// What a process may be called in the variable.
pub const ROLES: &[&str] = &["supervisor", "frontend", "sim", "standby"];

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

/// Says what this process is from now on: the first place that the variable names for such a process is armed.
pub fn identify(role: &str, slot: u32, incarnation: u32) {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    if let Some(armed) = armed_by(&text, Some(&Me { role, slot, incarnation })) {
        ARMED.store(armed, Ordering::Relaxed);
    }
}

/// What [`kill_point!`](crate::kill_point!) calls.
pub fn reached(point: usize) {
    if let Some(counts) = COUNTS.get() {
        counts[point].fetch_add(1, Ordering::Relaxed);
    }
    let mut armed = ARMED.load(Ordering::Relaxed);
    if armed == UNREAD {
        armed = armed_by(&std::env::var(VARIABLE).unwrap_or_default(), None).unwrap_or(0);
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
    if stop {
        // To this very thread: one that is for the process may find another thread, and this one runs on for a while.
        // SAFETY: raise only makes a system call.
        let raised = unsafe { libc::raise(libc::SIGSTOP) };
        assert_eq!(raised, 0, "a thread may signal itself");
        return;
    }
    kill_process(getpid(), Signal::KILL).expect("a process may signal itself");
}

fn packed(point: usize, nth: u32, action: Action) -> u64 {
    (action as u64) << (TIMES_BITS + POINT_BITS) | (point as u64 + 1) << TIMES_BITS | u64::from(nth)
}

/// What a process is.
struct Me<'a> {
    role: &'a str,
    slot: u32,
    incarnation: u32,
}

/// Who is to die: `ROLE`, `ROLE.SLOT`, `ROLE@INCARNATION` or `ROLE.SLOT@INCARNATION`.
#[derive(Debug, PartialEq)]
struct Victim<'a> {
    role: &'a str,
    slot: Option<u32>,
    incarnation: Option<u32>,
}

impl Victim<'_> {
    fn is(&self, me: &Me<'_>) -> bool {
        let fits = |wanted: Option<u32>, is: u32| wanted.is_none_or(|wanted| wanted == is);
        self.role == me.role && fits(self.slot, me.slot) && fits(self.incarnation, me.incarnation)
    }
}

/// What of the variable is for this process; before it has said what it is, only what is for everybody.
///
/// # Panics
/// At what does not exist: whoever set the variable waits for a death that would never come.
fn armed_by(text: &str, me: Option<&Me<'_>>) -> Option<u64> {
    let all: Vec<_> = text.split(',').filter(|one| !one.is_empty()).map(parsed).collect();
    let is_for = |victim: &Option<Victim<'_>>| match (victim, me) {
        (None, None) => true,
        (Some(victim), Some(me)) => victim.is(me),
        _ => false,
    };
    all.into_iter().find(|(victim, _)| is_for(victim)).map(|(_, armed)| armed)
}

/// `[VICTIM/]NAME[#NTH]`.
fn parsed(text: &str) -> (Option<Victim<'_>>, u64) {
    let (rest, nth) = text.split_once('#').map_or((text, Some(1)), |(rest, nth)| (rest, nth.parse::<u32>().ok()));
    let (victim, name) = rest.split_once('/').map_or((Some(None), rest), |(who, name)| (victim(who).map(Some), name));
    let point = ALL.iter().position(|known| *known == name);
    let (Some(victim), Some(point), Some(nth @ 1..)) = (victim, point, nth) else {
        panic!(
            "{VARIABLE}={text} names no kill point: it is one of {ALL:?}, with `ROLE.SLOT@INCARNATION/` before it for one of {ROLES:?}, and \
             with `#N` behind it for the Nth time"
        )
    };
    (victim, packed(point, nth, Action::Kill))
}

fn victim(text: &str) -> Option<Victim<'_>> {
    let (rest, incarnation) = text.split_once('@').map_or((text, None), |(rest, number)| (rest, Some(number)));
    let (role, slot) = rest.split_once('.').map_or((rest, None), |(role, slot)| (role, Some(slot)));
    let number = |text: Option<&str>| text.map_or(Some(None), |text| text.parse().ok().map(Some));
    ROLES.contains(&role).then_some(Victim { role, slot: number(slot)?, incarnation: number(incarnation)? })
}

#[cfg(test)]
mod tests {
    use super::super::{SERVER, index};
    use super::*;

    fn kill(name: &str, nth: u32) -> Option<u64> {
        Some(packed(index(name), nth, Action::Kill))
    }

    #[test]
    fn the_variable_names_a_place_and_how_often_it_is_reached() {
        assert_eq!(armed_by("cell:slot_written", None), kill("cell:slot_written", 1));
        assert_eq!(armed_by("cell:slot_written#12", None), kill("cell:slot_written", 12));
        assert_eq!(armed_by("hand:sent", None), Some(packed(ALL.len() - 1, 1, Action::Kill)));
        assert_eq!(armed_by("", None), None);
        assert!(SERVER.concat().iter().all(|name| ALL.contains(name)));
    }

    #[test]
    fn only_the_process_that_is_named_dies() {
        let list = "frontend.0@1/attach:queued#2,frontend.0@2/attach:told,sim/claim:published,lock:taken";
        let of = |role, slot, incarnation| armed_by(list, Some(&Me { role, slot, incarnation }));
        assert_eq!(of("frontend", 0, 1), kill("attach:queued", 2));
        assert_eq!(of("frontend", 0, 2), kill("attach:told", 1), "its successor dies elsewhere");
        assert_eq!((of("frontend", 0, 3), of("frontend", 1, 1), of("supervisor", 0, 1)), (None, None, None));
        assert_eq!(of("sim", 7, 9), kill("claim:published", 1));
        assert_eq!(armed_by(list, None), kill("lock:taken", 1), "who has not said what it is");
    }

    fn refuses(text: &str) -> bool {
        std::panic::catch_unwind(|| parsed(text).1).is_err_and(|why| {
            why.downcast_ref::<String>().is_some_and(|why| why.contains("names no kill point") && why.contains(text))
        })
    }

    #[test]
    fn what_would_kill_nobody_is_refused() {
        for text in ["cell:slot", "cell:slot_written#0", "cell:slot_written#x", "cell:slot_written#", "frontent/lock:taken"] {
            assert!(refuses(text), "{text}");
        }
        for text in ["frontend.x/lock:taken", "frontend.0@/lock:taken", "frontend./lock:taken", "/lock:taken", "sim/", "#1"] {
            assert!(refuses(text), "{text}");
        }
    }
}
