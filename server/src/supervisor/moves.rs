//! Planned work: a match is moved, sims are added, emptied, replaced and ended; so are front-ends, whose steps are `rolling`'s.
//!
//! Every step looks at how things are and does the next thing that is missing, so that a death in the middle changes nothing but what is left to
//! do. One command answers when all its steps are done, or says what was not.

mod error;

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tracing::{error, info};

pub use error::MoveError;

use super::binary::{Binary, Probe};
use super::control::ConnToken;
use super::rolling::{self, Done};
use super::segments::Segments;
use super::workers::{Replacement, Workers};
use super::zones::Zones;
use crate::cli::Role;
use crate::describe::Described;
use crate::limits::{FRONTENDS_MAX, MOVE_MS, OPERATION_MS, SIM_READY_MS, SIMS_MAX, STANDBY_SIMS};

/// What an operator has asked for and is not done yet.
#[derive(Default)]
pub(super) struct Operations {
    moves: Vec<Moving>,
    planned: Option<Planned>,
}

/// A `zones move`.
struct Moving {
    asker: ConnToken,
    name: String,
    slot: usize,
    id: u64,
    to: u32,
    until: Instant,
}

/// A change of the sims, of the front-ends, or of both.
struct Planned {
    asker: ConnToken,
    what: String,
    steps: VecDeque<Step>,
    /// When the step at the front is given up.
    step_until: Option<Instant>,
    until: Instant,
    /// Moved matches.
    moved: u32,
    /// Sims whose process was replaced.
    replaced: Vec<u32>,
    /// Slots of front-ends, and what was done to them.
    frontends: Vec<(u32, Done)>,
    /// It has to do with sims.
    sims: bool,
}

enum Step {
    /// The binary says what it is.
    Ask { probe: Box<Probe>, runs: Box<Described> },
    /// All matches of a sim leave it, to sims of a binary if there are any.
    Empty { sim: u32, binary: Option<Rc<Binary>> },
    /// The sims above the number that is wanted are empty, and so is one of the others.
    Shrink,
    /// A sim's process gives way to a new one.
    Replace { sim: u32, binary: Option<Rc<Binary>> },
    /// The process that was started last in a sim's place becomes ready.
    Await { sim: u32, incarnation: u32, revert: Option<Option<Rc<Binary>>> },
    /// A sim's process ends, and none comes after it.
    End { sim: u32 },
    /// The matches spread over the sims at work.
    Spread,
    /// One of the front-ends'.
    Frontend(Box<rolling::Step>),
}

/// What a step came to.
enum Outcome {
    /// It waits for something.
    Waits,
    /// It is done; these come next, before what was planned.
    Done(Vec<Step>),
}

/// What the steps work on.
pub(super) struct Works<'s> {
    pub(super) zones: &'s mut Zones,
    pub(super) workers: &'s mut Workers,
    pub(super) segments: &'s mut Segments,
}

impl Works<'_> {
    /// Removes a sim that was added and has no process yet.
    fn take_back(&mut self, sim: u32) {
        self.workers.end_sim(sim, self.segments);
        self.segments.remove_sim(sim);
    }
}

/// An answer to who has asked for something.
pub(super) type Answer = (ConnToken, Result<(String, Option<u64>), MoveError>);

impl Operations {
    /// Begins to move a match.
    pub(super) fn begin_move(
        &mut self,
        asker: ConnToken,
        name: &str,
        to: u32,
        works: &mut Works<'_>,
        now: Instant,
    ) -> Result<(), MoveError> {
        self.check_free()?;
        let (slot, id) = works.zones.check_move(name, to, &works.workers.sims(works.segments), works.segments)?;
        works.zones.begin_move(slot, to, works.segments);
        works.workers.wake_all();
        self.moves.push(Moving { asker, name: name.to_owned(), slot, id, to, until: now + Duration::from_millis(MOVE_MS) });
        Ok(())
    }

    /// Begins to empty a sim and to replace its process.
    pub(super) fn begin_drain(
        &mut self,
        asker: ConnToken,
        sim: u32,
        works: &mut Works<'_>,
        now: Instant,
    ) -> Result<(), MoveError> {
        self.check_free()?;
        works.workers.check_sim(sim)?;
        works.zones.set_leaving([sim]);
        let binary = works.workers.binary_of(sim);
        let steps = [Step::Empty { sim, binary: None }, Step::Replace { sim, binary }];
        self.plan(asker, format!("`drain sim {sim}`"), steps.into(), now);
        Ok(())
    }

    /// Begins to have another number of sims at work.
    pub(super) fn begin_scale(
        &mut self,
        asker: ConnToken,
        sims: u32,
        works: &mut Works<'_>,
        now: Instant,
    ) -> Result<(), MoveError> {
        self.check_free()?;
        if !(1..=SIMS_MAX).contains(&sims) {
            return Err(MoveError::Count(sims));
        }
        let (slots, wanted) = (works.workers.sim_slots().count() as u32, sims + STANDBY_SIMS);
        let mut steps = VecDeque::new();
        for sim in slots..wanted {
            if let Err(error) = works.segments.add_sim(sim) {
                (slots..sim).rev().for_each(|added| works.take_back(added));
                return Err(error.into());
            }
            let incarnation = works.workers.add_sim(sim, works.segments, now);
            steps.push_back(Step::Await { sim, incarnation, revert: None });
        }
        works.zones.set_sims(sims, slots.max(wanted));
        works.zones.set_leaving(wanted..slots);
        steps.extend((wanted..slots).map(|sim| Step::Empty { sim, binary: None }));
        steps.push_back(Step::Shrink);
        steps.extend((wanted..slots).rev().map(|sim| Step::End { sim }));
        steps.push_back(Step::Spread);
        self.plan(asker, format!("`sims scale {sims}`"), steps, now);
        Ok(())
    }

    /// Begins to have another number of front-ends.
    pub(super) fn begin_scale_frontends(
        &mut self,
        asker: ConnToken,
        frontends: u32,
        works: &mut Works<'_>,
        now: Instant,
    ) -> Result<(), MoveError> {
        self.check_free()?;
        if !(1..=FRONTENDS_MAX).contains(&frontends) {
            return Err(MoveError::FrontendCount(frontends));
        }
        let steps = rolling::scale(frontends, works, now)?.into_iter().map(Step::frontend).collect();
        self.plan(asker, format!("`frontends scale {frontends}`"), steps, now);
        Ok(())
    }

    /// Begins to send a front-end's clients elsewhere and to replace its process.
    pub(super) fn begin_drain_frontend(
        &mut self,
        asker: ConnToken,
        slot: u32,
        works: &Works<'_>,
        now: Instant,
    ) -> Result<(), MoveError> {
        self.check_free()?;
        works.workers.check_frontend(slot)?;
        let steps = rolling::replace(slot, works.workers.frontend_binary(slot)).map(Step::frontend);
        self.plan(asker, format!("`drain frontend {slot}`"), steps.into(), now);
        Ok(())
    }

    /// Begins to replace all sims and front-ends by processes of another binary. `runs` is what this one says of itself.
    pub(super) fn begin_upgrade(
        &mut self,
        asker: ConnToken,
        path: &Path,
        runs: Described,
        now: Instant,
    ) -> Result<(), MoveError> {
        self.check_free()?;
        let sizes: Vec<_> = runs.matches.iter().map(|of| of.size).collect();
        let probe = Probe::start(Binary::open(path)?, &sizes, now)?;
        let steps = [Step::Ask { probe: Box::new(probe), runs: Box::new(runs) }];
        self.plan(asker, format!("`upgrade --binary {}`", path.display()), steps.into(), now);
        Ok(())
    }

    fn check_free(&self) -> Result<(), MoveError> {
        self.planned.as_ref().map_or(Ok(()), |planned| Err(MoveError::Busy(planned.what.clone())))
    }

    fn plan(&mut self, asker: ConnToken, what: String, steps: VecDeque<Step>, now: Instant) {
        info!("{what} begins");
        let until = now + Duration::from_millis(OPERATION_MS);
        let sims = !matches!(steps.front(), Some(Step::Frontend(_)) | None);
        let (step_until, moved, replaced, frontends) = (None, 0, Vec::new(), Vec::new());
        self.planned = Some(Planned { asker, what, steps, step_until, until, moved, replaced, frontends, sims });
    }

    /// Who waits for an answer; nothing is done for them any more.
    pub(super) fn askers(self) -> impl Iterator<Item = ConnToken> {
        self.moves.into_iter().map(|moving| moving.asker).chain(self.planned.map(|planned| planned.asker))
    }

    /// Goes on with everything that was begun. Returns whom to answer what.
    pub(super) fn turn(&mut self, mut works: Works<'_>, now: Instant) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.moves.retain(|moving| match follow(moving, works.zones, now) {
            Some(answer) => {
                answers.push((moving.asker, answer));
                false
            }
            None => true,
        });
        if let Some(planned) = &mut self.planned
            && let Some(answer) = planned.turn(&mut works, now)
        {
            match &answer {
                Ok((sentence, _)) => info!("{sentence}"),
                Err(error) => error!("{} failed: {error}", planned.what),
            }
            works.zones.set_leaving([]);
            works.workers.stop_draining(works.segments, now);
            answers.push((planned.asker, answer));
            self.planned = None;
        }
        answers
    }
}

/// What became of a match that was to be moved, once that is known.
fn follow(moving: &Moving, zones: &Zones, now: Instant) -> Option<Result<(String, Option<u64>), MoveError>> {
    let name = || moving.name.clone();
    let Some((owner, next)) = zones.whereabouts(moving.slot, moving.id) else { return Some(Err(MoveError::Ended(name()))) };
    match next {
        None if owner == moving.to => Some(Ok((format!("match \"{}\" is at sim {owner} now", moving.name), Some(moving.id)))),
        None => Some(Err(MoveError::Died { name: name(), slot: owner })),
        Some(_) if now >= moving.until => Some(Err(MoveError::Late(name()))),
        Some(_) => None,
    }
}

impl Planned {
    fn turn(&mut self, works: &mut Works<'_>, now: Instant) -> Option<Result<(String, Option<u64>), MoveError>> {
        loop {
            let Some(mut step) = self.steps.pop_front() else {
                return Some(Ok((format!("{} is done: {}", self.what, self.done()), None)));
            };
            if now >= self.until {
                let at = step.place();
                return Some(Err(MoveError::GivenUp { what: self.what.clone(), at, done: self.done() }));
            }
            match self.advance(&mut step, works, now) {
                Ok(Outcome::Waits) => {
                    self.steps.push_front(step);
                    return None;
                }
                Ok(Outcome::Done(next)) => {
                    self.step_until = None;
                    next.into_iter().rev().for_each(|step| self.steps.push_front(step));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn done(&self) -> String {
        let replaced = named("sim", &self.replaced).map_or("no sim was replaced".to_owned(), |sims| format!("{sims} replaced"));
        let sims = self.sims.then(|| format!("{} matches were moved, {replaced}", self.moved));
        let frontends = [(Done::Added, "added"), (Done::Replaced, "replaced"), (Done::Ended, "ended")];
        let frontends = frontends.into_iter().filter_map(|(done, verb)| {
            let slots: Vec<u32> = self.frontends.iter().filter(|(_, of)| *of == done).map(|(slot, _)| *slot).collect();
            named("front-end", &slots).map(|slots| format!("{slots} {verb}"))
        });
        let all: Vec<String> = sims.into_iter().chain(frontends).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }

    fn advance(&mut self, step: &mut Step, works: &mut Works<'_>, now: Instant) -> Result<Outcome, MoveError> {
        match step {
            Step::Ask { probe, runs } => {
                let Some(offered) = probe.poll(now) else { return Ok(Outcome::Waits) };
                let binary = probe.accept(runs, &offered?)?;
                info!("{} fits the matches that run", binary.path().display());
                Ok(Outcome::Done(upgrade(&binary, works)))
            }
            Step::Empty { sim, binary } => self.empty(*sim, binary.as_ref(), works, now),
            Step::Shrink => {
                Ok(Outcome::Done(works.zones.surplus().map(|sim| Step::Empty { sim, binary: None }).into_iter().collect()))
            }
            Step::Replace { sim, binary } => {
                let before = works.workers.binary_of(*sim);
                let incarnation = works.workers.replace_sim(*sim, binary.clone());
                Ok(Outcome::Done(vec![Step::Await { sim: *sim, incarnation, revert: Some(before) }]))
            }
            Step::Await { sim, incarnation, revert } => self.wait_for(*sim, *incarnation, revert.as_ref(), works, now),
            Step::End { sim } if works.zones.owned(*sim, works.segments) > 0 => {
                // Another sim has died since it was emptied, and only this one was ready.
                Ok(Outcome::Done(vec![Step::Empty { sim: *sim, binary: None }, Step::End { sim: *sim }]))
            }
            Step::End { sim } => {
                // In this order: nobody is granted what is its before it is dead.
                works.workers.end_sim(*sim, works.segments);
                works.zones.sim_died(works.segments, *sim, &works.workers.sims(works.segments));
                works.zones.forget_slot(*sim, works.segments);
                works.workers.wake_all();
                works.segments.remove_sim(*sim);
                info!("sim {sim} has ended");
                Ok(Outcome::Done(Vec::new()))
            }
            Step::Spread => self.spread(works, now),
            Step::Frontend(step) => Ok(match step.advance(works, now)? {
                rolling::Outcome::Waits => Outcome::Waits,
                rolling::Outcome::Next(steps) => Outcome::Done(steps.into_iter().map(Step::frontend).collect()),
                rolling::Outcome::Slot(slot, done) => {
                    self.frontends.push((slot, done));
                    Outcome::Done(Vec::new())
                }
            }),
        }
    }

    /// Moves the next match away from a sim.
    fn empty(
        &mut self,
        sim: u32,
        binary: Option<&Rc<Binary>>,
        works: &mut Works<'_>,
        now: Instant,
    ) -> Result<Outcome, MoveError> {
        works.zones.set_leaving(works.zones.leaving().into_iter().chain([sim]).collect::<Vec<_>>());
        if works.zones.owned(sim, works.segments) == 0 {
            return Ok(Outcome::Done(Vec::new()));
        }
        let ready = works.workers.sims(works.segments).ready;
        let of_it = |to: &u32| binary.is_some_and(|binary| works.workers.runs(*to, binary));
        let preferred: Vec<u32> = ready.iter().copied().filter(of_it).collect();
        let to = works.zones.refuge(sim, &preferred).or_else(|| works.zones.refuge(sim, &ready));
        self.move_next(sim, to, works, now)
    }

    /// Moves a match from the sim with most to the one with fewest.
    fn spread(&mut self, works: &mut Works<'_>, now: Instant) -> Result<Outcome, MoveError> {
        let ready = works.workers.sims(works.segments).ready;
        match works.zones.uneven(&ready, works.segments) {
            Some((from, to)) => self.move_next(from, Some(to), works, now),
            None if works.zones.moving().is_none() => Ok(Outcome::Done(Vec::new())),
            None => self.wait_for_move(works, now),
        }
    }

    fn move_next(&mut self, from: u32, to: Option<u32>, works: &mut Works<'_>, now: Instant) -> Result<Outcome, MoveError> {
        if works.zones.moving().is_some() {
            return self.wait_for_move(works, now);
        }
        self.step_until = None;
        // Without a place, or with a match that may not move yet: until it may, or all of it takes too long.
        if let (Some(to), Some(slot)) = (to, works.zones.movable(from, works.segments)) {
            works.zones.begin_move(slot, to, works.segments);
            works.workers.wake_all();
            self.moved += 1;
        }
        Ok(Outcome::Waits)
    }

    fn wait_for_move(&mut self, works: &Works<'_>, now: Instant) -> Result<Outcome, MoveError> {
        let until = *self.step_until.get_or_insert(now + Duration::from_millis(MOVE_MS));
        match works.zones.moving().filter(|_| now >= until) {
            Some(name) => Err(MoveError::Late(name)),
            None => Ok(Outcome::Waits),
        }
    }

    fn wait_for(
        &mut self,
        sim: u32,
        incarnation: u32,
        revert: Option<&Option<Rc<Binary>>>,
        works: &mut Works<'_>,
        now: Instant,
    ) -> Result<Outcome, MoveError> {
        let until = *self.step_until.get_or_insert(now + Duration::from_millis(SIM_READY_MS));
        let state = works.workers.replacement(Role::Sim, sim, incarnation, works.segments);
        match state {
            Replacement::Waiting if now < until => Ok(Outcome::Waits),
            Replacement::Ready => {
                works.zones.set_leaving(works.zones.leaving().into_iter().filter(|other| *other != sim).collect::<Vec<_>>());
                if revert.is_some() {
                    self.replaced.push(sim);
                }
                Ok(Outcome::Done(Vec::new()))
            }
            Replacement::Waiting | Replacement::Failed => {
                let program =
                    works.workers.binary_of(sim).map_or("this server".into(), |binary| binary.path().display().to_string());
                if let Some(before) = revert {
                    works.workers.replace_sim(sim, before.clone());
                }
                Err(MoveError::NotUp { slot: sim, program, done: self.done() })
            }
        }
    }
}

/// The steps of an upgrade: those that have no match first, since the others' matches go to them.
fn upgrade(binary: &Rc<Binary>, works: &mut Works<'_>) -> Vec<Step> {
    let mut slots: Vec<u32> = works.workers.sim_slots().collect();
    slots.sort_by_key(|sim| works.zones.owned(*sim, works.segments));
    let of = |sim| [Step::Empty { sim, binary: Some(Rc::clone(binary)) }, Step::Replace { sim, binary: Some(Rc::clone(binary)) }];
    slots.into_iter().flat_map(of).chain(rolling::upgrade(binary, works.workers).into_iter().map(Step::frontend)).collect()
}

/// Slots of a kind with a verb for them; nothing of none.
fn named(kind: &str, slots: &[u32]) -> Option<String> {
    match slots {
        [] => None,
        [one] => Some(format!("{kind} {one} was")),
        all => Some(format!("{kind}s {} were", all.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))),
    }
}

impl Step {
    fn frontend(step: rolling::Step) -> Step {
        Step::Frontend(Box::new(step))
    }

    /// Where it is done.
    fn place(&self) -> String {
        match self {
            Step::Empty { sim, .. } | Step::Replace { sim, .. } | Step::Await { sim, .. } | Step::End { sim } => {
                format!("sim {sim}")
            }
            Step::Ask { .. } => "its binary".to_owned(),
            Step::Shrink | Step::Spread => "the sims".to_owned(),
            Step::Frontend(step) => step.place(),
        }
    }
}
