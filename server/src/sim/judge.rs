//! Whose fault a death was, and what the next owner of the zone does about it.
//!
//! **Only a recorded fault counts**: one that the dying process wrote into shared memory, or that the supervisor found by a hang during which the process
//! used the processor. Whatever else ends a process is no reason to give up a player's input. The supervisor and the next owner read the
//! same words and come to the same judgement.

use ringfort_shm_state::layout::{AttemptEntry, FaultEntry, PauseReason, ZoneEntry, fault_key};
use zerocopy::FromZeros;

use crate::limits::{ATTEMPTS_MAX, DEATHS_PER_TICK_MAX};

/// What a zone's next owner runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The attempt to begin with. Its cursors say something only if it is [`Judgement::exact`].
    pub next: AttemptEntry,
    /// The last owner died of the game, by what it or the supervisor has recorded.
    pub faulted: bool,
    /// It is not to be stepped.
    pub pause: Option<PauseReason>,
}

impl Judgement {
    /// Whether the attempt takes the very records up to its cursors, and none that have come since.
    pub fn exact(&self) -> bool {
        self.next.attempt > 1
    }

    /// Whether the attempt goes without the tick's inputs and commands.
    pub fn rejects(&self) -> bool {
        self.next.attempt >= ATTEMPTS_MAX
    }
}

/// Judges what the last owner left. `committed` is the tick of the newest root.
pub fn judge(entry: &ZoneEntry, committed: u32, last: Option<AttemptEntry>, fault: Option<FaultEntry>) -> Judgement {
    let (incarnation, resumes, tick) = (entry.incarnation, entry.resumes, committed.wrapping_add(1));
    let fresh = AttemptEntry { incarnation, tick, attempt: 1, resumes, ..AttemptEntry::new_zeroed() };
    let under_way = |last: &AttemptEntry| (last.incarnation, last.tick, last.resumes) == (incarnation, tick, resumes);
    let Some(last) = last.filter(under_way) else { return Judgement { next: fresh, faulted: false, pause: None } };
    let key = fault_key(tick, last.attempt, resumes);
    let recorded = fault.is_some_and(|fault| fault.key == key && fault.incarnation == incarnation);
    if recorded || (entry.hang_tick, entry.hang_attempt) == (tick, last.attempt) {
        let pause = (last.attempt >= ATTEMPTS_MAX).then_some(PauseReason::Faults);
        return Judgement { next: AttemptEntry { attempt: (last.attempt + 1).min(ATTEMPTS_MAX), ..last }, faulted: true, pause };
    }
    let deaths = last.deaths.saturating_add(1);
    let pause = (deaths >= DEATHS_PER_TICK_MAX).then_some(PauseReason::Deaths);
    Judgement { next: AttemptEntry { deaths, ..last }, faulted: false, pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u32 = 100;

    fn entry() -> ZoneEntry {
        ZoneEntry { incarnation: 7, resumes: 2, ..ZoneEntry::new_zeroed() }
    }

    fn attempt(attempt: u32, deaths: u32) -> Option<AttemptEntry> {
        let (incarnation, net_cursor, mail_cursor) = (7, 4096, 3);
        Some(AttemptEntry { incarnation, tick: TICK, attempt, deaths, resumes: 2, net_cursor, sys_cursor: 0, mail_cursor })
    }

    fn fault(attempt: u32) -> Option<FaultEntry> {
        Some(FaultEntry { key: fault_key(TICK, attempt, 2), incarnation: 7, ..FaultEntry::new_zeroed() })
    }

    #[test]
    fn a_death_between_two_ticks_is_nobodys_fault() {
        for last in [None, attempt(1, 0).map(|last| AttemptEntry { tick: TICK - 1, ..last })] {
            let judged = judge(&entry(), TICK - 1, last, fault(1));
            assert_eq!((judged.faulted, judged.pause, judged.next.attempt, judged.next.deaths), (false, None, 1, 0));
        }
    }

    #[test]
    fn a_fault_is_tried_once_more_then_without_inputs_then_paused() {
        let second = judge(&entry(), TICK - 1, attempt(1, 0), fault(1));
        assert_eq!((second.faulted, second.pause, second.exact(), second.rejects()), (true, None, true, false));
        assert_eq!((second.next.attempt, second.next.net_cursor, second.next.mail_cursor), (2, 4096, 3));
        let third = judge(&entry(), TICK - 1, Some(second.next), fault(2));
        assert_eq!((third.next.attempt, third.exact(), third.rejects(), third.pause), (3, true, true, None));
        assert_eq!(judge(&entry(), TICK - 1, Some(third.next), fault(3)).pause, Some(PauseReason::Faults));
    }

    #[test]
    fn a_fault_of_another_attempt_tick_match_or_time_counts_for_nothing() {
        let others = [
            fault(2),
            fault(1).map(|fault| FaultEntry { key: fault_key(TICK - 1, 1, 2), ..fault }),
            fault(1).map(|fault| FaultEntry { key: fault_key(TICK, 1, 1), ..fault }),
            fault(1).map(|fault| FaultEntry { incarnation: 6, ..fault }),
        ];
        for other in others {
            assert!(!judge(&entry(), TICK - 1, attempt(1, 0), other).faulted);
        }
        let resumed = ZoneEntry { resumes: 3, ..entry() };
        assert_eq!(judge(&resumed, TICK - 1, attempt(3, 5), fault(3)).next.attempt, 1, "an operator has let it go on");
    }

    #[test]
    fn a_hang_counts_as_a_fault_of_the_attempt_that_hung() {
        let hung = ZoneEntry { hang_tick: TICK, hang_attempt: 1, ..entry() };
        assert!(judge(&hung, TICK - 1, attempt(1, 0), None).faulted);
        assert!(!judge(&hung, TICK - 1, attempt(2, 0), None).faulted);
    }

    #[test]
    fn unexplained_deaths_are_counted_apart_and_change_no_attempt() {
        for number in 1..=ATTEMPTS_MAX {
            let judged = judge(&entry(), TICK - 1, attempt(number, 3), None);
            assert_eq!((judged.next.attempt, judged.next.deaths, judged.pause), (number, 4, None));
            assert_eq!(judged.exact(), number > 1);
        }
        assert_eq!(judge(&entry(), TICK - 1, attempt(1, DEATHS_PER_TICK_MAX - 1), None).pause, Some(PauseReason::Deaths));
    }
}
