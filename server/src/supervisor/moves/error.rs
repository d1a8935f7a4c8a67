//! Why planned work on sims and front-ends was refused or not done, as the operator reads it.

use ringfort_shm_state::segment::SegmentError;

use super::super::binary::BinaryError;
use crate::limits::{FRONTENDS_MAX, MOVE_MS, OPERATION_MS, SIM_READY_MS, SIMS_MAX};

/// Why planned work was refused, or not done.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no match of that name.
    #[error("there is no match \"{0}\"; `ringfort matches list` shows those that there are")]
    NoSuchMatch(String),
    /// There is no such slot.
    #[error("there is no sim {slot}; the sims are 0 to {last}, see `ringfort status`")]
    NoSuchSlot {
        /// What was asked for.
        slot: u32,
        /// The last that there is.
        last: u32,
    },
    /// Its process is not ready.
    #[error("sim {0} is not ready for a match; see `ringfort status`, and its log")]
    NotReady(u32),
    /// It is there.
    #[error("match \"{name}\" is at sim {slot} already")]
    IsThere {
        /// Which match.
        name: String,
        /// Where it is.
        slot: u32,
    },
    /// It is on its way.
    #[error("match \"{name}\" is being moved to sim {slot} just now; try again in a moment")]
    Moving {
        /// Which match.
        name: String,
        /// Where it goes.
        slot: u32,
    },
    /// Nobody steps it.
    #[error("match \"{0}\" is paused, so that no sim has it; let it go on with `ringfort matches resume {0}`")]
    Paused(String),
    /// It is not open.
    #[error("match \"{0}\" is just opening or ending; try again in a moment")]
    NotOpen(String),
    /// Its sim does not step it.
    #[error("sim {slot} has not taken match \"{name}\" over yet, or could not; see `ringfort status`, or try again in a moment")]
    NotTaken {
        /// Which match.
        name: String,
        /// Whose it is.
        slot: u32,
    },
    /// A sim has died of it.
    #[error("match \"{0}\" runs alone in its process until it has passed the tick that a sim died of; try again in a moment")]
    Alone(String),
    /// The sim's one match is such a one.
    #[error("sim {0} has a match that runs alone, because a sim died of it; choose another, or try again in a moment")]
    SuspectThere(u32),
    /// Nobody would stand by.
    #[error(
        "sim {slot} stands by for the {sims} at work, and its place would be nobody's; use `ringfort sims scale {more}` to have more at work"
    )]
    Standby {
        /// Which sim.
        slot: u32,
        /// Sims that are to be at work.
        sims: u32,
        /// One more.
        more: u32,
    },
    /// Planned work is under way.
    #[error("{0} is under way; try again when it is done")]
    Busy(String),
    /// A number of sims that there cannot be.
    #[error("{0} sims cannot be at work; it must be a number from 1 to {SIMS_MAX}")]
    Count(u32),
    /// It ended on its way.
    #[error("match \"{0}\" has ended before it was moved")]
    Ended(String),
    /// A sim died.
    #[error("match \"{name}\" was not moved: a sim died, and sim {slot} has it now; try again")]
    Died {
        /// Which match.
        name: String,
        /// Who has it.
        slot: u32,
    },
    /// Its sim does not come to it.
    #[error("match \"{0}\" was not handed over within {MOVE_MS} ms; it still may be, see `ringfort zones list`")]
    Late(String),
    /// It took too long altogether.
    #[error("{what} was given up after {OPERATION_MS} ms at {at}; done is {done}")]
    GivenUp {
        /// What was asked for.
        what: String,
        /// Where it stood.
        at: String,
        /// What was done by then.
        done: String,
    },
    /// A process does not come up.
    #[error(
        "sim {slot} did not become ready as a process of {program}: see its log; the sims that run stay as they are, done is {done}"
    )]
    NotUp {
        /// Which sim.
        slot: u32,
        /// The binary.
        program: String,
        /// What was done by then.
        done: String,
    },
    /// There is no such front-end.
    #[error("there is no front-end {slot}; the front-ends are 0 to {last}, see `ringfort status`")]
    NoSuchFrontend {
        /// What was asked for.
        slot: u32,
        /// The last that there is.
        last: u32,
    },
    /// A number of front-ends that there cannot be.
    #[error("{0} front-ends cannot be at work; it must be a number from 1 to {FRONTENDS_MAX}")]
    FrontendCount(u32),
    /// A front-end's process does not come up.
    #[error("front-end {slot} did not become ready within {SIM_READY_MS} ms: see its log; it is started again and again")]
    FrontendNotUp {
        /// Which.
        slot: u32,
    },
    /// Who stands by does not come up.
    #[error("no front-end could stand by as a process of {program}: see its log; those that run stay as they are")]
    StandbyNotUp {
        /// The binary.
        program: String,
    },
    /// The binary is refused.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A new sim's segment can't be made.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}
