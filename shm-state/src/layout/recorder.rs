//! The flight recorder of a process: what has happened to it lately, in records of a fixed size.

use super::{FieldDoc, HEADER_BYTES, StructDoc};
use crate::limits::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

shared! {
    /// One record of a flight recorder. Written by the process whose segment it is in; read by everyone. Its sequence is cleared first and written last, with Release: a crash leaves a record that is no one's.
    pub struct FlightRecord {
        /// Number of the record in its ring, counted from 1; 0 while it is written.
        pub sequence: u64,
        /// When it happened, microseconds of CLOCK_MONOTONIC, which all processes of the machine share.
        pub time_us: u64,
        /// The same moment in microseconds since 1970, for whoever reads it elsewhere.
        pub wall_us: u64,
        /// [`FlightKind`] as a number.
        pub kind: u32,
        /// The zone slot + 1 that it is about, 0 for none.
        pub zone: u32,
        /// The match in that slot, 0 for none.
        pub incarnation: u64,
        /// The session that it is about, 0 for none.
        pub session: u64,
        /// A number; each kind says which.
        pub a: u64,
        /// Another one.
        pub b: u64,
        /// Words for people: a name, a reason. Zero-padded UTF-8.
        pub text: [u8; FLIGHT_TEXT_BYTES],
    }
}

const _: () = assert!(size_of::<FlightRecord>() == 128, "two cache lines");

/// Byte offsets in a flight recorder's ring, from where the ring begins.
pub mod flight {
    use super::*;
    /// Word: records written so far. Moved after the record, with Release.
    pub const WRITTEN: usize = 0;
    /// The records; record N is number (N - 1) mod the ring's length.
    pub const RECORDS: usize = 64;
    /// Bytes of a ring.
    pub const BYTES: usize = RECORDS + FLIGHT_RECORDS as usize * size_of::<FlightRecord>();
    const _: () = assert!(HEADER_BYTES.is_multiple_of(64), "rings begin at a cache line");
}

/// What a flight record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FlightKind {
    /// The process has begun; `a` is its id, `b` its incarnation.
    Start = 1,
    /// A session is in its match; the text is the player's name.
    Join = 2,
    /// A session has ended; `a` is why.
    Leave = 3,
    /// A session's connection is lost.
    Detach = 4,
    /// A session is back.
    Resume = 5,
    /// A client was refused; `a` is the code, the text the reason, `b` counts those before it that had no room here.
    Refusal = 6,
    /// An operator has ended a session.
    Kick = 7,
    /// A lock whose holder had died was repaired; `a` counts the repairs.
    Repair = 8,
    /// A sim has taken a match over; `a` is the epoch, as it is of an open and of an end.
    Takeover = 9,
    /// A tick is run again; `a` is the tick, `b` the attempt, the text says why.
    Retry = 10,
    /// The game has failed, or its process was killed over it; `a` is the tick.
    Fault = 11,
    /// A match is paused; `a` is the reason.
    Pause = 12,
    /// A match was moved; `a` is the sim that has it now.
    Move = 13,
    /// A process has died; `a` is its id, `b` its slot, the text says who and how.
    Death = 14,
    /// A front-end does without more or with less; `a` is the level, `b` the one before.
    Shed = 15,
    /// A command of an operator; `a` is the user's id, `b` 1 when it was carried out.
    Operator = 16,
    /// A match is open.
    Open = 17,
    /// A match has ended.
    End = 18,
    /// A process hangs and is killed; `a` is its id, `b` for how many milliseconds it was silent.
    Hang = 19,
}

impl FlightKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Start,
        Self::Join,
        Self::Leave,
        Self::Detach,
        Self::Resume,
        Self::Refusal,
        Self::Kick,
        Self::Repair,
        Self::Takeover,
        Self::Retry,
        Self::Fault,
        Self::Pause,
        Self::Move,
        Self::Death,
        Self::Shed,
        Self::Operator,
        Self::Open,
        Self::End,
        Self::Hang,
    ];

    /// The kind with a number from shared memory.
    pub fn from_u32(n: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == n)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Detach => "detach",
            Self::Resume => "resume",
            Self::Refusal => "refusal",
            Self::Kick => "kick",
            Self::Repair => "repair",
            Self::Takeover => "takeover",
            Self::Retry => "retry",
            Self::Fault => "fault",
            Self::Pause => "pause",
            Self::Move => "move",
            Self::Death => "death",
            Self::Shed => "shed",
            Self::Operator => "operator",
            Self::Open => "open",
            Self::End => "end",
            Self::Hang => "hang",
        }
    }
}
