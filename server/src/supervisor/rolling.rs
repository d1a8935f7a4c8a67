//! Planned work on front-ends, step by step: one is added, or its clients are asked to go to the others and its process is ended, for the one that
//! stands by or for none.
//!
//! A death in the middle leaves less to do: whoever takes the slot then is what was to come, or is replaced in its turn.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tracing::info;

use super::binary::Binary;
use super::moves::{MoveError, Works};
use super::workers::{Replacement, Workers};
use crate::cli::Role;
use crate::limits::{FRONTEND_DRAIN_MS, FRONTEND_LINGER_MS, FRONTEND_STANDBY, FRONTEND_STOP_MS, SIM_READY_MS};

/// What is to come after a process.
#[derive(Clone)]
pub(super) enum Next {
    /// Nobody: the slot is given up.
    Nobody,
    /// A process of a binary, this one if none is named.
    Process(Option<Rc<Binary>>),
}

/// A step.
pub(super) enum Step {
    /// Who stands by gives way to one of a binary.
    Renew { binary: Option<Rc<Binary>> },
    /// Somebody stands by: of an incarnation if it was renewed, and what it was before.
    Standby { renewed: Option<(u32, Option<Rc<Binary>>)>, since: Option<Instant> },
    /// The clients of a slot go elsewhere.
    Drain { slot: u32, next: Next, begun: Option<(Instant, u32)> },
    /// A slot's process, the one that was drained, ends.
    End { slot: u32, next: Next, incarnation: u32, told: Option<Instant> },
    /// The process of a slot with an incarnation serves it.
    Await { slot: u32, incarnation: u32, done: Done, since: Option<Instant> },
}

/// What was done to a front-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// There is one more.
    Added,
    /// Its process is another one.
    Replaced,
    /// There is one less.
    Ended,
}

/// What a step came to.
pub(super) enum Outcome {
    /// It waits for something.
    Waits,
    /// It is done; these come next, before what was planned.
    Next(Vec<Step>),
    /// It is done, and so is a slot.
    Slot(u32, Done),
}

/// The steps with which a slot's process is replaced by one of a binary.
pub(super) fn replace(slot: u32, binary: Option<Rc<Binary>>) -> [Step; 2] {
    [Step::Standby { renewed: None, since: None }, Step::Drain { slot, next: Next::Process(binary), begun: None }]
}

/// The steps with which all front-ends become processes of a binary: who stands by first, as it takes the place of each.
pub(super) fn upgrade(binary: &Rc<Binary>, workers: &Workers) -> Vec<Step> {
    let slots = workers.frontend_slots().flat_map(|slot| replace(slot, Some(Rc::clone(binary))));
    std::iter::once(Step::Renew { binary: Some(Rc::clone(binary)) }).chain(slots).collect()
}

/// Begins to have another number of front-ends; the steps that are left.
pub(super) fn scale(frontends: u32, works: &mut Works<'_>, now: Instant) -> Result<VecDeque<Step>, MoveError> {
    let slots = works.workers.frontend_slots().count() as u32;
    let mut steps = VecDeque::new();
    for slot in slots..frontends {
        if let Err(error) = works.segments.add_frontend(slot) {
            for added in (slots..slot).rev() {
                works.workers.forget_frontend(added, works.segments);
                works.segments.remove_frontend(added);
            }
            return Err(error.into());
        }
        let incarnation = works.workers.add_frontend(slot, works.segments, now);
        steps.push_back(Step::Await { slot, incarnation, done: Done::Added, since: None });
    }
    steps.extend((frontends..slots).rev().map(|slot| Step::Drain { slot, next: Next::Nobody, begun: None }));
    Ok(steps)
}

impl Step {
    /// Where it is done.
    pub(super) fn place(&self) -> String {
        match self {
            Step::Renew { .. } | Step::Standby { .. } => "the standby front-end".to_owned(),
            Step::Drain { slot, .. } | Step::End { slot, .. } | Step::Await { slot, .. } => format!("front-end {slot}"),
        }
    }

    /// Goes on with it as far as it goes.
    pub(super) fn advance(&mut self, works: &mut Works<'_>, now: Instant) -> Result<Outcome, MoveError> {
        match self {
            Step::Renew { binary } => {
                let before = works.workers.frontend_binary(FRONTEND_STANDBY);
                let incarnation = works.workers.replace_standby(binary.clone());
                Ok(Outcome::Next(vec![Step::Standby { renewed: Some((incarnation, before)), since: None }]))
            }
            Step::Standby { renewed, since } => standby(renewed.as_ref(), since, works, now),
            Step::Drain { slot, next, begun } => Ok(drain(*slot, next, begun, works, now)),
            Step::End { slot, next, incarnation, told } => Ok(end(*slot, next, *incarnation, told, works, now)),
            Step::Await { slot, incarnation, done, since } => {
                let until = *since.get_or_insert(now) + Duration::from_millis(SIM_READY_MS);
                match works.workers.replacement(Role::Frontend, *slot, *incarnation, works.segments) {
                    Replacement::Ready => Ok(Outcome::Slot(*slot, *done)),
                    Replacement::Waiting if now < until => Ok(Outcome::Waits),
                    Replacement::Waiting | Replacement::Failed => Err(MoveError::FrontendNotUp { slot: *slot }),
                }
            }
        }
    }
}

/// Without anybody who stands by a slot is filled all the same, only later: that is worth waiting for, and not for ever.
fn standby(
    renewed: Option<&(u32, Option<Rc<Binary>>)>,
    since: &mut Option<Instant>,
    works: &mut Works<'_>,
    now: Instant,
) -> Result<Outcome, MoveError> {
    let late = now >= *since.get_or_insert(now) + Duration::from_millis(SIM_READY_MS);
    let Some((incarnation, before)) = renewed else {
        let done = late || works.workers.standby_is_ready(works.segments);
        return Ok(if done { Outcome::Next(Vec::new()) } else { Outcome::Waits });
    };
    match works.workers.replacement(Role::Frontend, FRONTEND_STANDBY, *incarnation, works.segments) {
        Replacement::Ready => Ok(Outcome::Next(Vec::new())),
        Replacement::Waiting if !late => Ok(Outcome::Waits),
        Replacement::Waiting | Replacement::Failed => {
            let binary = works.workers.frontend_binary(FRONTEND_STANDBY);
            let program = binary.map_or("this server".into(), |binary| binary.path().display().to_string());
            works.workers.replace_standby(before.clone());
            Err(MoveError::StandbyNotUp { program })
        }
    }
}

fn drain(slot: u32, next: &Next, begun: &mut Option<(Instant, u32)>, works: &mut Works<'_>, now: Instant) -> Outcome {
    let leaves = matches!(next, Next::Nobody);
    let Some(incarnation) = works.workers.frontend_incarnation(slot) else {
        // It is dead: either nobody comes after it, or who does is what it is to be.
        if !leaves {
            return Outcome::Waits;
        }
        let next = next.clone();
        return Outcome::Next(vec![Step::End { slot, next, incarnation: 0, told: None }]);
    };
    let (since, of) = match *begun {
        Some((since, of)) if of == incarnation => (since, of),
        // It has died, and who came after it may be what is to come.
        Some(_) if works.workers.is_due_to_run(slot, next) => {
            let step = Step::Await { slot, incarnation, done: Done::Replaced, since: None };
            return Outcome::Next(vec![step]);
        }
        _ => {
            let alone = !works.workers.live_frontends().iter().any(|other| *other != slot as usize);
            let is_only = works.workers.frontend_slots().count() == 1;
            if alone && !is_only {
                // The others have just died: its clients would find nobody.
                return Outcome::Waits;
            }
            works.workers.drain_frontend(slot, leaves, works.segments);
            *begun = Some((now, incarnation));
            if !is_only {
                return Outcome::Waits;
            }
            // Its clients wait for its successor.
            (now.checked_sub(Duration::from_millis(FRONTEND_DRAIN_MS)).unwrap_or(now), incarnation)
        }
    };
    let lasted = now.saturating_duration_since(since);
    let lingers = leaves && lasted < Duration::from_millis(FRONTEND_LINGER_MS);
    let gone = works.workers.connections(slot, works.segments) == 0;
    let is_only = works.workers.frontend_slots().count() == 1;
    if is_only || lasted >= Duration::from_millis(FRONTEND_DRAIN_MS) || (gone && !lingers) {
        return Outcome::Next(vec![Step::End { slot, next: next.clone(), incarnation: of, told: None }]);
    }
    Outcome::Waits
}

fn end(slot: u32, next: &Next, incarnation: u32, told: &mut Option<Instant>, works: &mut Works<'_>, now: Instant) -> Outcome {
    let lives = works.workers.frontend_incarnation(slot) == Some(incarnation);
    if lives {
        let since = *told.get_or_insert(now);
        let late = now >= since + Duration::from_millis(FRONTEND_STOP_MS);
        if since == now || late {
            let binary = match next {
                Next::Nobody => None,
                Next::Process(binary) => binary.clone(),
            };
            works.workers.end_frontend(slot, binary, late);
        }
        return Outcome::Waits;
    }
    match next {
        Next::Process(_) => {
            let incarnation = incarnation + 1;
            Outcome::Next(vec![Step::Await { slot, incarnation, done: Done::Replaced, since: None }])
        }
        Next::Nobody => {
            works.workers.forget_frontend(slot, works.segments);
            works.segments.remove_frontend(slot);
            info!("front-end {slot} has ended");
            Outcome::Slot(slot, Done::Ended)
        }
    }
}
