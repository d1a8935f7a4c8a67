//! Rows of a zone's tables: what a commit consists of.

use super::{FieldDoc, StructDoc};
use crate::limits::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

shared! {
    /// A row of the entity table. Part of the committed world.
    pub struct EntityRow {
        /// Owning session, 0 for none.
        pub owner: u64,
        /// Generation of the entity that lives here or lived here last.
        pub generation: u32,
        /// 1 while alive, 2 from its death until its index is on the free list.
        pub alive: u32,
        /// While dead: the next free index + 1, 0 at the end of the list.
        pub next_free: u32,
        /// Groups of sessions that are not told of it, a bit each.
        pub hidden_from: u32,
        /// The position that it lost last, as the bits of two `f32`, inverted; zeros when it never lost one. Who has a position is there
        /// and not here.
        pub left: [u32; 2],
    }
}

shared! {
    /// The engine's own counters of a zone, one row. Part of the committed world, so that a replay gives the same ids.
    pub struct ZoneMeta {
        /// First free entity index + 1, 0 when the list is empty.
        pub entity_free: u32,
        /// Entity indices ever used.
        pub entity_used: u32,
        /// Entities alive.
        pub entities_alive: u32,
        /// Sessions in the table.
        pub sessions: u32,
        /// Generation of the next session.
        pub next_session: u32,
        /// Timers pending.
        pub timers: u32,
        /// Number of the next timer.
        pub next_timer: u64,
        /// Number of the next reliable event.
        pub next_event: u64,
        /// Cues (unreliable events) of this tick: the first `cues` rows of the cue table.
        pub cues: u32,
        /// Tick at which the game closed the match, 0 while it runs.
        pub closed_at: u32,
    }
}

shared! {
    /// A session of the committed world.
    pub struct SessionRow {
        /// The session: generation and slot.
        pub id: u64,
        /// First half of the hash of the client's join nonce.
        pub nonce: [u8; 16],
        /// The front-end's number for the connection.
        pub connection: u64,
        /// The client's own number for the connection, which grows: an attachment by an older one comes late.
        pub attempt: u64,
        /// Slot of the front-end that it is attached to, [`DETACHED`] for none.
        pub frontend: u32,
        /// Incarnation of that front-end's process.
        pub incarnation: u32,
        /// Attachment number; records of older attachments are ignored.
        pub attachment: u32,
        /// Highest command applied.
        pub command: u32,
        /// Reliable events that the client has acknowledged.
        pub event_cursor: u64,
        /// First entity spawned for it: index.
        pub entity_index: u32,
        /// First entity spawned for it: generation, 0 for none.
        pub entity_generation: u32,
        /// Tick of its join.
        pub joined: u32,
        /// [`SessionFlags`] as bits.
        pub flags: u32,
        /// Tick since which it has no connection, 0 while it has one.
        pub detached: u32,
        /// Groups whose entities it is not told of, a bit each.
        pub blind_to: u32,
        /// How far it is told of entities, as the bits of an `f32`; 0 for as far as the match's interest reaches.
        pub reach: u32,
        /// Zero.
        pub reserved: u32,
        /// Hash of the token with which it can be resumed.
        pub resume_hash: [u8; 32],
        /// Hash of the token that was used last, which counts until the first record under the new attachment; zeros when it does not.
        pub used_hash: [u8; 32],
        /// The player's name, zero-padded UTF-8.
        pub name: [u8; PLAYER_NAME_BYTES],
    }
}

/// In place of a front-end's slot in the row of a session without a connection.
pub const DETACHED: u32 = u32::MAX;

/// Bits of [`SessionRow::flags`].
#[derive(Debug)]
pub struct SessionFlags;

impl SessionFlags {
    /// It watches only: no inputs, no commands.
    pub const SPECTATOR: u32 = 1;
}

shared! {
    /// What the game and the operator have said of a zone's life, one row. Part of the committed world.
    pub struct ZoneLife {
        /// 1 while the game takes no new players.
        pub locked: u32,
        /// Tick since which the match has no session, 0 while it has one.
        pub empty_since: u32,
        /// Joins refused; the newest is row `refusals - 1` modulo the table's length of the `RefusalRow`s.
        pub refusals: u64,
        /// Sessions kicked; the newest is row `kicked - 1` modulo the table's length of the `KickedRow`s.
        pub kicked: u64,
        /// What the match is about, in the game's words, zero-padded UTF-8.
        pub label: [u8; LABEL_BYTES],
    }
}

shared! {
    /// A join that the zone has refused. Part of the committed world; front-ends find theirs by the nonce.
    pub struct RefusalRow {
        /// Which refusal of the zone it is, from 1.
        pub number: u64,
        /// The join's nonce.
        pub nonce: [u8; 16],
        /// The wire's code for it.
        pub code: u32,
        /// Zero.
        pub reserved: u32,
        /// The game's words, zero-padded UTF-8; zeros when it said none.
        pub text: [u8; REFUSAL_BYTES],
    }
}

shared! {
    /// The client of a session that an operator has ended: it may not join again by the same nonce. Part of the committed world.
    pub struct KickedRow {
        /// The join's nonce.
        pub nonce: [u8; 16],
    }
}

shared! {
    /// The part of a session that changes with every tick. The bytes of its inputs are rows of their own, as long as the game's inputs.
    pub struct SessionInput {
        /// Highest input applied.
        pub highest: u32,
        /// Inputs applied below it: bit i is `highest - 1 - i`.
        pub bits: u32,
        /// Sequence of the input that waits for the next tick, 0 when none does.
        pub queued: u32,
        /// Ticks for which the last input was repeated, 0 when the last tick had a new one.
        pub repeated: u32,
        /// What the player saw at the last input applied, as its four bytes came.
        pub last_view: u32,
        /// What the player saw at the input that waits.
        pub waiting_view: u32,
        /// What is left of the inputs that it may have applied, in the engine's fractions of one.
        pub credit: u32,
        /// Zero.
        pub reserved: u32,
    }
}

shared! {
    /// What became of a session's predictions. Present once it has sent a predicted event; absent reads as zeros. Written when it sends one.
    pub struct SessionVerdict {
        /// Highest input applied when it was written last.
        pub highest: u32,
        /// Zero.
        pub reserved: u32,
        /// For each predicted event in the order of their tags: bit 0 is `highest`, bit 1 + i is `highest - 1 - i`; set when the tick
        /// that applied that input sent such an event of the session's own.
        pub verdicts: [u32; MAX_PREDICTED_EVENTS],
    }
}

impl SessionVerdict {
    /// The verdicts as seen from an input: bit 0 is that one. Of those that are too far below it nothing is left, and of those above it nothing
    /// is said.
    pub fn seen_from(&self, highest: u32) -> [u32; MAX_PREDICTED_EVENTS] {
        let passed = highest.checked_sub(self.highest).unwrap_or(u32::BITS);
        self.verdicts.map(|verdicts| verdicts.checked_shl(passed).unwrap_or(0))
    }
}

shared! {
    /// What was given up of a session because the game failed on it. Present once something was; absent reads as zeros.
    pub struct SessionRejected {
        /// Highest input given up, 0 for none. It and those below are never acknowledged.
        pub input: u32,
        /// Inputs given up below it: bit i is `input - 1 - i`.
        pub input_bits: u32,
        /// Highest command given up, 0 for none.
        pub command: u32,
        /// Commands given up below it, likewise.
        pub command_bits: u32,
    }
}

shared! {
    /// A pending timer.
    pub struct TimerRow {
        /// Its number: the order of timers due at the same tick, and what `cancel` names.
        pub number: u64,
        /// The tick at which it fires.
        pub when: u32,
        /// Bytes of payload in use.
        pub bytes: u32,
        /// The game's value, encoded.
        pub payload: [u8; MAX_TIMER_BYTES],
    }
}

shared! {
    /// An event in the log (reliable) or of this tick (a cue).
    pub struct EventRow {
        /// Its number in the log, growing by one; 0 for a cue.
        pub number: u64,
        /// The session that it is for, with `Audience::One`.
        pub session: u64,
        /// Tick of its commit.
        pub tick: u32,
        /// [`Audience`] as a number.
        pub audience: u32,
        /// Centre, for `Audience::Near`: x, y as f32 bits.
        pub centre: [u32; 2],
        /// Radius as f32 bits for `Near`; entity index for `Seeing`.
        pub radius: u32,
        /// Bytes of payload in use.
        pub bytes: u32,
        /// The event, encoded.
        pub payload: [u8; MAX_EVENT_BYTES],
    }
}

shared! {
    /// The counters of a zone's outbox, one row. Part of the committed world. Absent reads as zeros.
    pub struct OutboxMeta {
        /// Requests ever made, and so the number of the newest.
        pub last: u64,
        /// Requests that wait.
        pub pending: u32,
        /// Results among them.
        pub results: u32,
    }
}

shared! {
    /// A request to the outside that waits for its answer. Part of the committed world, as is its body, a blob.
    pub struct AskRow {
        /// Its number in the match, from 1; never used twice.
        pub number: u64,
        /// The session that it is about, 0 for none.
        pub session: u64,
        /// Tick of the request.
        pub tick: u32,
        /// Tick at which it is given up; 0 for a result, which is not.
        pub deadline: u32,
        /// Index of its body's blob.
        pub blob_index: u32,
        /// Generation of its body's blob.
        pub blob_generation: u32,
        /// [`AskKind`] as a number.
        pub kind: u32,
        /// Zero.
        pub reserved: u32,
        /// What it is about, zero-padded UTF-8.
        pub topic: [u8; ASK_TOPIC_BYTES],
        /// The session's player's name, zero-padded UTF-8.
        pub name: [u8; PLAYER_NAME_BYTES],
    }
}

/// What a request to the outside waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AskKind {
    /// An answer.
    Question = 1,
    /// Its failure: no hook is configured.
    Unheard = 2,
    /// Somebody who takes it: it is the match's result.
    Result = 3,
}

impl AskKind {
    /// The kind with a number from shared memory.
    pub fn from_u32(n: u32) -> Option<Self> {
        [Self::Question, Self::Unheard, Self::Result].into_iter().find(|k| *k as u32 == n)
    }
}

/// Who an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Audience {
    /// Every session of the zone.
    All = 1,
    /// One session.
    One = 2,
    /// Sessions whose own entity is near a point.
    Near = 3,
    /// Sessions that see an entity.
    Seeing = 4,
}

impl Audience {
    /// The audience with a number from shared memory.
    pub fn from_u32(n: u32) -> Option<Self> {
        [Self::All, Self::One, Self::Near, Self::Seeing].into_iter().find(|a| *a as u32 == n)
    }
}

shared! {
    /// The allocator of a zone's blob space, one row. Part of the committed world, so that a replay gives the same ids and places; a crash leaves the last commit's. Absent reads as zeros: an empty space. A space takes logical pages in this order: this row, the `BlobRow`s, the `BlobPageRow`s, and its pages of bytes, which have no rows.
    pub struct BlobMeta {
        /// First free id index + 1, 0 when the list is empty.
        pub id_free: u32,
        /// Id indices ever used.
        pub ids_used: u32,
        /// Blobs that live.
        pub blobs: u32,
        /// First free page + 1 among those used before, 0 when the list is empty.
        pub page_free: u32,
        /// Pages ever used.
        pub pages_used: u32,
        /// Pages that have a size class now.
        pub pages_held: u32,
        /// Bytes of all blobs that live.
        pub bytes: u64,
        /// Per size class: first page with room + 1, 0 when none has.
        pub room: [u32; BLOB_CLASSES],
        /// Zero.
        pub reserved: u32,
    }
}

shared! {
    /// A row of a blob space's id table. Part of the committed world.
    pub struct BlobRow {
        /// Generation of the blob that lives here or lived here last.
        pub generation: u32,
        /// While dead: the next free index + 1, 0 at the end of the list.
        pub next_free: u32,
        /// While alive: the page of the space that it lies in + 1; 0 while dead.
        pub page: u32,
        /// Slot in that page.
        pub slot: u16,
        /// Bytes in use.
        pub bytes: u16,
    }
}

shared! {
    /// A page of a blob space: what it is divided into. Part of the committed world. Present once the page was used. Slot s of class c begins at byte s * (8 << c) of the page; a byte of no blob is 0.
    pub struct BlobPageRow {
        /// Size class from 1 (16 bytes a slot) to 9 (a whole page), 0 while free.
        pub class: u32,
        /// Slots taken.
        pub used: u32,
        /// The next page + 1 of the list that it is in: pages of its class with room, or free pages.
        pub next: u32,
        /// The page + 1 before it among the pages of its class with room.
        pub prev: u32,
        /// A bit a slot: taken.
        pub taken: [u64; BLOB_SLOT_WORDS],
    }
}
