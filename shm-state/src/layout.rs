//! The one source of what lies where in shared memory.
//!
//! Every struct here is made of fixed-width integers without padding. Each field says who writes it, who reads it, and what a
//! crash leaves. `docs/shm-layout.md` is generated from these declarations and a test compares the two; the layout hash of
//! every segment is a hash of the same names and numbers, so a binary with another layout refuses to attach.

pub use crate::layout_hash::layout_hash;
pub use recorder::*;
pub use rows::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cell::Cell;
use crate::limits::*;

/// One field of a shared struct, for the generated document.
#[derive(Clone, Copy, Debug)]
pub struct FieldDoc {
    /// Its name.
    pub name: &'static str,
    /// Its Rust type.
    pub kind: &'static str,
    /// Byte offset in the struct.
    pub offset: usize,
    /// Bytes.
    pub bytes: usize,
    /// Its documentation.
    pub doc: &'static str,
}

/// One shared struct, for the generated document.
#[derive(Clone, Copy, Debug)]
pub struct StructDoc {
    /// Its name.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Bytes.
    pub bytes: usize,
    /// Its fields in order.
    pub fields: &'static [FieldDoc],
}

macro_rules! shared {
    ($(#[doc = $doc:literal])+ pub struct $name:ident { $($(#[doc = $fdoc:literal])+ pub $field:ident: $kind:ty,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name { $($(#[doc = $fdoc])+ pub $field: $kind,)+ }
        impl $name {
            /// What the generated document says of it.
            pub const DOC: StructDoc = StructDoc {
                name: stringify!($name),
                doc: concat!($($doc),+),
                bytes: size_of::<$name>(),
                fields: &[$(FieldDoc {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    offset: std::mem::offset_of!($name, $field),
                    bytes: size_of::<$kind>(),
                    doc: concat!($($fdoc),+),
                }),+],
            };
        }
        const _: () = assert!(size_of::<$name>().is_multiple_of(8), "shared structs are whole words");
    };
}

mod recorder;
mod rows;

const _: () = assert!(cfg!(target_endian = "little"), "words are taken apart as little-endian");
const _: () = assert!(cfg!(target_pointer_width = "64"), "words of 64 bits do not tear");

/// Written first in every segment: "RINGFORT" in ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RINGFORT");
/// Grows with every change of meaning that the layout hash cannot see.
pub const VERSION: u32 = 6;
/// Bytes before a segment's own content.
pub const HEADER_BYTES: usize = PAGE_BYTES;

shared! {
    /// The first page of every segment. Written once by its creator; `ready` last, with Release.
    pub struct Header {
        /// [`MAGIC`]. A file without it is not a segment of ours.
        pub magic: u64,
        /// [`VERSION`].
        pub version: u32,
        /// Which segment it is ([`SegmentKind`]).
        pub kind: u32,
        /// Hash of the generated layout document, libc flavour and mutex size included.
        pub layout_hash: u64,
        /// Bytes of the whole segment.
        pub bytes: u64,
        /// The instance's name, zero-padded ASCII.
        pub instance: [u8; INSTANCE_NAME_BYTES],
        /// Start time of the creator, clock ticks since boot.
        pub creator_start: u64,
        /// Process id of the creator. A leftover is what no live {pid, start time} claims.
        pub creator_pid: u32,
        /// Worker slot for `frontend.N` and `sim.N`.
        pub slot: u32,
        /// First parameter of the layout: pages of the arena, or data bytes of the inboxes.
        pub parameter: u64,
        /// 1 when the segment may be used. A creator killed before leaves 0, and attaching is refused.
        pub ready: u64,
    }
}

/// The kinds of segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SegmentKind {
    /// Processes, zones, schema, mailboxes; the supervisor writes.
    Directory = 1,
    /// Players' records; front-ends write.
    InboxNet = 2,
    /// Zones' records to each other; sims write.
    InboxSys = 3,
    /// Control blocks and arena; sims write.
    World = 4,
    /// One front-end's counters; it writes.
    Frontend = 5,
    /// One sim's heartbeat, histograms, counters; it writes.
    Sim = 6,
    /// The hook process's heartbeat and counters; it writes.
    Hook = 7,
    /// The admin process's heartbeat and counters; it writes.
    Admin = 8,
}

shared! {
    /// A slot of the directory's process table, a published cell. Written by the supervisor; read by everyone. A crash leaves the previous value.
    pub struct WorkerEntry {
        /// Process id, 0 when none runs.
        pub pid: u32,
        /// [`Role`] as a number, 0 when the slot was never used.
        pub role: u32,
        /// Start time of the process, clock ticks since boot.
        pub start_time: u64,
        /// Slot within the role.
        pub slot: u32,
        /// How often the slot's process was started again after a death.
        pub restarts: u32,
        /// 1 starting, 2 running, 3 stopping, 4 dead, 5 draining ([`WorkerState`]).
        pub state: u32,
        /// Grows with each process started in this slot.
        pub incarnation: u32,
    }
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// `ringfort up`.
    Supervisor = 1,
    /// Accepts clients.
    Frontend = 2,
    /// Steps zones.
    Sim = 3,
    /// Waits to take over.
    Standby = 4,
    /// Carries requests to the author's outside world, and answers back.
    Hook = 5,
    /// Tells monitors how the instance is.
    Admin = 6,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Supervisor, Self::Frontend, Self::Sim, Self::Standby, Self::Hook, Self::Admin];

    /// The role with a number from shared memory.
    pub fn from_u32(n: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u32 == n)
    }

    /// Its name on the command line and in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Frontend => "frontend",
            Self::Sim => "sim",
            Self::Standby => "standby",
            Self::Hook => "hook",
            Self::Admin => "admin",
        }
    }
}

/// What the supervisor knows of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WorkerState {
    /// Spawned.
    Starting = 1,
    /// Has written its own segment.
    Running = 2,
    /// Was told to end.
    Stopping = 3,
    /// Has ended.
    Dead = 4,
    /// A front-end that is to ask its clients to connect to another one.
    Draining = 5,
}

shared! {
    /// The instance as a whole, a published cell. Written by the supervisor; read by everyone.
    pub struct InstanceEntry {
        /// Start, in microseconds of CLOCK_BOOTTIME, so that any process can tell the uptime.
        pub started_us: u64,
        /// IPv6 address (IPv4 mapped) that clients connect to.
        pub listen_ip: [u8; 16],
        /// UDP port that clients connect to.
        pub listen_port: u32,
        /// 1 when it stops, 2 while it waits for the players to go: no new session may start then ([`Stopping`]).
        pub stopping: u32,
        /// Front-ends that are to be at work.
        pub frontends: u32,
        /// Sims that are to be at work.
        pub sims: u32,
        /// Bytes of the map's JSON behind this cell.
        pub map_bytes: u64,
        /// Hash of the schema as clients compute it.
        pub schema_hash: u64,
        /// The level from which on a role's processes are to log, by the role's number, 1 error to 5 trace; 0 as they were configured.
        pub log_levels: [u8; 8],
    }
}

/// Whether the instance goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stopping {
    /// It does.
    No = 0,
    /// It ends now.
    Now = 1,
    /// It ends when the players have gone: sessions go on and can be resumed, but no new one starts.
    Drains = 2,
}

shared! {
    /// A zone of the directory, a published cell. Written by the supervisor; read by everyone. A crash leaves the previous value.
    pub struct ZoneEntry {
        /// Never used twice; 0 when the slot is free. It is the match's id.
        pub incarnation: u64,
        /// What the supervisor wants ([`ZoneState`]).
        pub state: u32,
        /// The sim slot that may step it.
        pub owner_sim: u32,
        /// Epoch granted to the owner's process: one above the last that was claimed, given out when every earlier grantee is dead.
        pub epoch: u32,
        /// Ticks a second.
        pub tick_hz: u32,
        /// Sessions that fit.
        pub capacity: u32,
        /// Entities that fit.
        pub max_entities: u32,
        /// Milliseconds that a player's view may lie back when a hit is decided by it.
        pub rewind_ms: u32,
        /// How often an operator has let it go on after it was paused: what was counted of a tick before counts no more.
        pub resumes: u32,
        /// Byte offset of the zone's data area in `inbox.net`, from its data start.
        pub inbox_offset: u64,
        /// Bytes of that area, a power of two.
        pub inbox_bytes: u64,
        /// The match's random seed. It never reaches a client.
        pub seed: u64,
        /// Hash of the order, sizes and types of the zone's tables.
        pub tables_hash: u64,
        /// The directory generation at which this value was published.
        pub generation: u64,
        /// Extents of the arena that are set aside for it as long as it lives. It may own fewer at any moment.
        pub extents_reserved: u64,
        /// Spectators that fit, beside the sessions.
        pub spectators: u32,
        /// Minutes without a session after which the match ends itself, 0 for never.
        pub idle_minutes: u32,
        /// Why it is paused ([`PauseReason`]), 0 when it is not.
        pub pause: u32,
        /// 1 while it runs alone in its process, because the last one died of it.
        pub alone: u32,
        /// The sim slot + 1 to which its owner is to hand it over between two ticks, 0 for none.
        pub next_sim: u32,
        /// The epoch that it is handed over with: the owner puts it into the published word, and the next owner waits for that.
        pub next_epoch: u32,
        /// The attempt over which an owner was killed because it hung and used the processor meanwhile: its tick, 0 when there was none.
        pub hang_tick: u32,
        /// That attempt's number.
        pub hang_attempt: u32,
        /// Milliseconds of the match's time for which a session without a connection stays, 0 for not at all.
        pub grace_ms: u32,
        /// Zero.
        pub reserved: u32,
        /// The code with which a private match is joined, ASCII; zeros when anybody may join it.
        pub code: [u8; JOIN_CODE_BYTES],
        /// The match's name, zero-padded UTF-8.
        pub name: [u8; ZONE_NAME_BYTES],
        /// The match's options as JSON, zero-padded.
        pub options: [u8; ZONE_OPTIONS_BYTES],
    }
}

/// What the supervisor wants of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ZoneState {
    /// The slot may be used for a new zone.
    Free = 0,
    /// Step it.
    Open = 1,
    /// It has ended; the slot waits until every worker has seen that.
    Closed = 2,
    /// Nobody steps it until an operator says so.
    Paused = 3,
}

impl ZoneEntry {
    /// Whether the match goes on: it is stepped, or paused.
    pub fn lives(&self) -> bool {
        self.state == ZoneState::Open as u32 || self.state == ZoneState::Paused as u32
    }
}

/// Why a zone is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PauseReason {
    /// The game has failed three times on one tick, the last time without that tick's inputs.
    Faults = 1,
    /// Its owners have died too often on one tick, and nobody knows of what.
    Deaths = 2,
}

impl PauseReason {
    /// The reason with a number from shared memory.
    pub fn from_u32(n: u32) -> Option<Self> {
        [Self::Faults, Self::Deaths].into_iter().find(|reason| *reason as u32 == n)
    }
}

shared! {
    /// One operator record of a mailbox. Written by the supervisor before it moves `tail`; read by the owning sim.
    pub struct MailRecord {
        /// [`MailKind`] as a number.
        pub kind: u32,
        /// Bytes of payload in use.
        pub bytes: u32,
        /// First argument: a front-end's slot, a session's id, a request's number, an entity.
        pub a: u64,
        /// Second argument: an incarnation; of an answer its verdict and which part it is (`AnswerPart`); of a value its field (`FieldName`).
        pub b: u64,
        /// Text, for instance a reason, or a field's bytes in memory.
        pub payload: [u8; MAILBOX_PAYLOAD_BYTES],
    }
}

/// What an operator record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MailKind {
    /// End the match.
    End = 1,
    /// Front-end `a`, incarnation `b` and older, has died: its sessions are detached.
    FrontendDied = 2,
    /// The outside has answered request `a`; `b` is an [`AnswerPart`]. All parts of an answer are posted at once.
    Answer = 3,
    /// An operator ends session `a`.
    Kick = 4,
    /// An operator gives a field of entity `a` (index, and the generation in the upper half) or of a global a value: `b` is a [`FieldName`],
    /// the payload the field's bytes in memory.
    Set = 5,
}

/// Which field an operator's value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldName {
    /// Whether it is a global's; else a column's.
    pub global: bool,
    /// Index of the column, or of the global, in the schema.
    pub column: u16,
    /// Index of the field in it.
    pub field: u16,
}

impl FieldName {
    /// As it stands in [`MailRecord::b`].
    pub fn to_word(self) -> u64 {
        u64::from(self.column) | u64::from(self.field) << 16 | u64::from(self.global) << 32
    }

    /// From [`MailRecord::b`]; `None` when no supervisor writes that.
    pub fn from_word(word: u64) -> Option<Self> {
        let name = Self { global: word >> 32 & 1 == 1, column: word as u16, field: (word >> 16) as u16 };
        (name.to_word() == word).then_some(name)
    }
}

/// What became of a request to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// The hook has answered: the text is its answer.
    Answered = 1,
    /// The hook says that it cannot: the text says why.
    Failed = 2,
    /// Somebody has the match's result.
    Taken = 3,
}

/// Which part of an answer a mailbox record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerPart {
    /// What became of the request.
    pub verdict: Verdict,
    /// This part, from 0.
    pub part: u16,
    /// How many there are.
    pub parts: u16,
}

impl AnswerPart {
    /// As it stands in [`MailRecord::b`].
    pub fn to_word(self) -> u64 {
        u64::from(self.part) | u64::from(self.parts) << 16 | (self.verdict as u64) << 32
    }

    /// From [`MailRecord::b`]; `None` when no supervisor writes that.
    pub fn from_word(word: u64) -> Option<Self> {
        let known = [Verdict::Answered, Verdict::Failed, Verdict::Taken];
        let verdict = known.into_iter().find(|verdict| *verdict as u64 == word >> 32)?;
        let (part, parts) = (word as u16, (word >> 16) as u16);
        (part < parts).then_some(Self { verdict, part, parts })
    }
}

/// Byte offsets in the `directory` segment.
pub mod directory {
    use super::*;
    /// Word: grows with every change of a zone entry. Supervisor writes with Release, workers read with Acquire.
    pub const GENERATION: usize = HEADER_BYTES;
    /// Word: processes of other users that wanted to command the instance. The supervisor counts them.
    pub const PEERS_REFUSED: usize = HEADER_BYTES + 8;
    /// The instance's cell.
    pub const INSTANCE: usize = HEADER_BYTES + 64;
    /// The game's map, as JSON.
    pub const MAP: usize = (INSTANCE + Cell::<InstanceEntry>::BYTES).next_multiple_of(64);
    /// The process table.
    pub const WORKERS: usize = MAP + MAP_BYTES;
    /// Bytes of a slot of the process table.
    pub const WORKER_STRIDE: usize = Cell::<WorkerEntry>::BYTES.next_multiple_of(64);
    /// The zone table.
    pub const ZONES: usize = WORKERS + MAX_WORKERS * WORKER_STRIDE;
    /// Bytes of a slot of the zone table.
    pub const ZONE_STRIDE: usize = Cell::<ZoneEntry>::BYTES.next_multiple_of(64);
    /// The mailboxes: a tail word in a line of its own, then the records.
    pub const MAILBOXES: usize = ZONES + MAX_ZONES * ZONE_STRIDE;
    /// Bytes of a mailbox.
    pub const MAILBOX_STRIDE: usize = 64 + MAILBOX_RECORDS as usize * size_of::<MailRecord>();
    /// The supervisor's flight recorder.
    pub const FLIGHT: usize = (MAILBOXES + MAX_ZONES * MAILBOX_STRIDE).next_multiple_of(64);
    /// Bytes of the segment.
    pub const BYTES: usize = (FLIGHT + super::flight::BYTES).next_multiple_of(PAGE_BYTES);
}

/// The control block of an inbox. The mutex is pthread's; the words after it are written under it.
#[derive(Debug)]
pub struct InboxControl;

impl InboxControl {
    /// Bytes of the block: four cache lines.
    pub const BYTES: usize = 256;
    /// The robust mutex.
    pub const MUTEX_OFFSET: usize = 0;
    /// Bytes set aside for it.
    pub const MUTEX_BYTES: usize = 64;
    /// Word: operations so far; with the holder in the mutex it tells a hung holder from a busy lock.
    pub const OPERATION_OFFSET: usize = 64;
    /// Word: repairs after a holder died, and of a tail that no honest holder leaves.
    pub const REPAIRS_OFFSET: usize = 72;
    /// Word: records refused because the ring was full.
    pub const REFUSED_OFFSET: usize = 80;
    /// Word: end of the committed records, in bytes since the slot's first use. The only commit word: the holder copies
    /// records first and moves it last with Release; the drain loads it with Acquire and takes no lock.
    pub const TAIL_OFFSET: usize = 128;
}
const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= InboxControl::MUTEX_BYTES);
const _: () = assert!(align_of::<libc::pthread_mutex_t>() <= 64);

/// Byte offsets in the `inbox.net` and `inbox.sys` segments.
pub mod inbox {
    use super::*;
    /// The control blocks, one a zone slot.
    pub const CONTROLS: usize = HEADER_BYTES;
    /// The data areas; the directory says which zone has which.
    pub const DATA: usize = CONTROLS + MAX_ZONES * InboxControl::BYTES;
}

shared! {
    /// Begins every inbox record; the payload follows, padded to whole words. Written by a front-end under the lock, before `tail`.
    pub struct RecordHeader {
        /// Bytes of payload.
        pub bytes: u16,
        /// [`RecordKind`] as a number; readers treat others as garbage.
        pub kind: u16,
        /// Attachment number of the session that it comes from.
        pub attachment: u32,
        /// The session, 0 for a join.
        pub session: u64,
        /// Sequence of the newest input in it, or number of the command or event.
        pub sequence: u32,
        /// Low 32 bits of the zone's incarnation: a record of another match is ignored.
        pub incarnation: u32,
    }
}

/// What an inbox record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordKind {
    /// A client wants in: payload [`JoinRecord`].
    Join = 1,
    /// Inputs: one encoded input.
    Input = 2,
    /// A command: its encoding.
    Command = 3,
    /// The client has every reliable event up to this number: payload one u64.
    EventAck = 4,
    /// The client leaves: payload one u64, the reason.
    Leave = 5,
    /// Fills the rest of the ring before it wraps.
    Pad = 6,
    /// The session's connection was lost; no payload.
    Detach = 7,
    /// A client wants its session back: payload [`ResumeRecord`].
    Resume = 8,
}

impl RecordKind {
    /// The kind with a number from shared memory.
    pub fn from_u16(n: u16) -> Option<Self> {
        let all = [Self::Join, Self::Input, Self::Command, Self::EventAck, Self::Leave, Self::Pad, Self::Detach, Self::Resume];
        all.into_iter().find(|k| *k as u16 == n)
    }
}

shared! {
    /// Payload of a join record.
    pub struct JoinRecord {
        /// First half of the hash of what the client chose; a repeated join with the same nonce finds its row.
        pub nonce: [u8; 16],
        /// Hash of the token with which the session can be resumed.
        pub token_hash: [u8; 32],
        /// Grows from one connection of the client to the next.
        pub attempt: u64,
        /// The front-end's own number for the connection, returned in the session's row.
        pub connection: u64,
        /// Slot of the front-end.
        pub frontend: u32,
        /// Incarnation of the front-end's process.
        pub incarnation: u32,
        /// 1 to watch only.
        pub spectate: u32,
        /// Zero.
        pub reserved: u32,
        /// The player's name, zero-padded UTF-8.
        pub name: [u8; PLAYER_NAME_BYTES],
    }
}

shared! {
    /// Payload of a resume record; the session is the header's, whatever its attachment.
    pub struct ResumeRecord {
        /// Hash of the token that the client has shown.
        pub shown_hash: [u8; 32],
        /// Hash of the token that takes its place.
        pub token_hash: [u8; 32],
        /// Grows from one connection of the client to the next.
        pub attempt: u64,
        /// The front-end's own number for the connection, returned in the session's row.
        pub connection: u64,
        /// Slot of the front-end.
        pub frontend: u32,
        /// Incarnation of the front-end's process.
        pub incarnation: u32,
        /// The player's name by its credential, zero-padded UTF-8: a token of another player's session is refused.
        pub name: [u8; PLAYER_NAME_BYTES],
    }
}

shared! {
    /// The fixed part of a root: what one commit publishes. Written by the owning sim before the published word moves.
    pub struct RootHead {
        /// Sequence of this root in its control block; it never goes back.
        pub sequence: u64,
        /// The match that it belongs to.
        pub incarnation: u64,
        /// First sequence of this match; older descriptors of the ring are another match's.
        pub first_sequence: u64,
        /// The tick that was committed; 0 is the opening.
        pub tick: u32,
        /// [`RootFlags`] as bits.
        pub flags: u32,
        /// Cursor of `inbox.net` in bytes: everything before it is part of this world. Producers overwrite nothing after it.
        pub net_cursor: u64,
        /// Cursor of `inbox.sys`.
        pub sys_cursor: u64,
        /// Operator records consumed.
        pub mail_cursor: u64,
        /// Pages of the arena that the window's roots name.
        pub pages_used: u32,
        /// Logical pages of the zone.
        pub logical_pages: u32,
        /// Sessions in the world.
        pub sessions: u32,
        /// Entities alive.
        pub entities: u32,
        /// Requests to the outside that wait for their answers, results among them.
        pub asks: u32,
        /// Results of the match that nobody outside has taken yet.
        pub results: u32,
        /// Those of the sessions that watch only.
        pub spectators: u32,
        /// Zero.
        pub reserved: u32,
        /// When the tick was due, microseconds of CLOCK_MONOTONIC.
        pub due_us: u64,
        /// When it was published.
        pub published_us: u64,
        /// Time from start of the tick to its publication, in microseconds.
        pub took_us: u32,
        /// Handles behind this head in use: of table pages or, in a zone with more than 32 of those, of directory pages.
        pub tables: u32,
        /// Sum of the hashes of all logical pages, whatever pages of the arena they are.
        pub state_hash: u64,
        /// Checksum of this head (with this field 0) and the table handles in use.
        pub checksum: u64,
    }
}

/// Bits of [`RootHead::flags`].
#[derive(Debug)]
pub struct RootFlags;

impl RootFlags {
    /// The game has closed the match; sessions are told, and it ends soon.
    pub const CLOSING: u32 = 1;
    /// The match is over and its memory is back in the arena.
    pub const ENDED: u32 = 2;
    /// The game takes no new players.
    pub const LOCKED: u32 = 4;
}

/// Byte offsets in the `world` segment.
pub mod world {
    use super::*;
    /// Bytes of a root's descriptor: head and table handles.
    pub const ROOT_STRIDE: usize = (size_of::<RootHead>() + MAX_TABLES * 8).next_multiple_of(64);
    /// Within a control block, word: {epoch 16, sequence 48} of the newest root. The only word that publishes: a CAS from the
    /// exact previous value with Release; readers load it with Acquire before and after copying.
    pub const PUBLISHED: usize = 0;
    /// Within a control block: the attempt record, a published cell of [`AttemptEntry`].
    pub const ATTEMPT: usize = 64;
    /// Within a control block: what the owner has died of, a [`FaultEntry`]. Its key is written last, with Release.
    pub const FAULT: usize = (ATTEMPT + Cell::<AttemptEntry>::BYTES).next_multiple_of(64);
    /// Within a control block: the ring of roots.
    pub const ROOTS: usize = (FAULT + size_of::<FaultEntry>()).next_multiple_of(64);
    /// Bytes of a control block.
    pub const CONTROL_STRIDE: usize = ROOTS + ROOT_RING as usize * ROOT_STRIDE;
    /// The control blocks, one a zone slot.
    pub const CONTROLS: usize = HEADER_BYTES;
    /// The owner table: a word an extent, {incarnation 48, zone slot + 1 16}, 0 when free. Taken by CAS, given back by a store.
    pub const OWNERS: usize = (CONTROLS + MAX_ZONES * CONTROL_STRIDE).next_multiple_of(PAGE_BYTES);

    /// Where the arena's pages begin, for an arena of so many extents.
    pub const fn arena(extents: usize) -> usize {
        (OWNERS + extents * 8).next_multiple_of(EXTENT_BYTES)
    }

    /// Bytes of a segment with so many extents.
    pub const fn bytes(extents: usize) -> usize {
        arena(extents) + extents * EXTENT_BYTES
    }
}

shared! {
    /// What the owner is about to do, published before `step` runs, so that a death can be told from a fault of the game. Written by the
    /// owning sim, first of all when it takes the zone over; read by its successor and the supervisor. A crash leaves the previous value.
    pub struct AttemptEntry {
        /// The match that it is about: what an earlier match of the slot left counts for nothing.
        pub incarnation: u64,
        /// The tick that is being run.
        pub tick: u32,
        /// 1 for the first attempt; 2 runs the very same records again; 3 runs the tick without its inputs and commands.
        pub attempt: u32,
        /// Owners that have died on this tick so far without a fault of the game being known.
        pub deaths: u32,
        /// [`ZoneEntry::resumes`] of the grant that it was made under.
        pub resumes: u32,
        /// End of the records that the attempt applies; the same for the second and the third as for the first.
        pub net_cursor: u64,
        /// The same for `inbox.sys`.
        pub sys_cursor: u64,
        /// The same for the mailbox.
        pub mail_cursor: u64,
    }
}

shared! {
    /// What the owner's process has died of while it ran an attempt. Written by the panic hook or the handler of the signal, in the process
    /// that dies of it, the key last; read by its successor and the supervisor. It counts only if its key is that of the attempt.
    pub struct FaultEntry {
        /// [`fault_key`] of the attempt; 0 when there was no fault.
        pub key: u64,
        /// The match that it is about.
        pub incarnation: u64,
        /// [`FaultKind`] as a number.
        pub kind: u32,
        /// The signal's number, 0 of a panic.
        pub signal: u32,
        /// The address that the signal tells of.
        pub address: u64,
        /// Bytes of text in use.
        pub bytes: u64,
        /// The panic's message and place.
        pub text: [u8; FAULT_TEXT_BYTES],
    }
}

/// What names an attempt, of a match that is known: never 0.
pub fn fault_key(tick: u32, attempt: u32, resumes: u32) -> u64 {
    u64::from(tick) << 32 | u64::from(resumes & 0xff_ffff) << 8 | u64::from(attempt & 0xff)
}

/// How a game can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FaultKind {
    /// It panicked.
    Panic = 1,
    /// A signal: bad memory, a bad instruction, bad arithmetic, or an abort, as of a failed allocation.
    Signal = 2,
}

/// Buckets of a shared histogram: eight to a power of two, up to 2^26 microseconds.
pub const HISTOGRAM_BUCKETS: usize = 8 * 24;

shared! {
    /// What a worker writes about itself before anything else, and at every loop.
    pub struct WorkerSelf {
        /// Its process id.
        pub pid: u64,
        /// Its start time.
        pub start_time: u64,
    }
}

/// Byte offsets in a `frontend.N`, `sim.N`, `hook.N` or `admin.N` segment. All words; the worker writes, relaxed unless said.
pub mod worker {
    use super::*;
    /// [`WorkerSelf`].
    pub const SELF: usize = HEADER_BYTES;
    /// Word: microseconds of CLOCK_MONOTONIC at the last loop.
    pub const HEARTBEAT: usize = HEADER_BYTES + 64;
    /// Word: the directory generation that the worker has acted upon. Release: a zone slot is used again only after every
    /// worker has seen that it was closed.
    pub const SEEN_GENERATION: usize = HEADER_BYTES + 72;
    /// In `sim.N`, word: the slot + 1 of the zone whose tick or takeover is under way, 0 between two. Tells whose a death is.
    pub const STEPPING: usize = HEADER_BYTES + 80;
    /// In `sim.N`, word: 1 when the process has mapped and touched all that it takes a zone over with. Release.
    pub const READY: usize = HEADER_BYTES + 88;
    /// Word: the level from which on the worker logs, 1 error to 5 trace; 0 before it says so.
    pub const LOG_LEVEL: usize = HEADER_BYTES + 96;
    /// Words: counters, by their position in the role's list.
    pub const COUNTERS: usize = HEADER_BYTES + 128;
    /// The worker's flight recorder, which goes on with its predecessor's.
    pub const FLIGHT: usize = (COUNTERS + MAX_COUNTERS * 8).next_multiple_of(64);
    /// In `sim.N`: two histograms a zone slot, tick duration and tick lateness, in words of [`HISTOGRAM_BUCKETS`] and a
    /// maximum; the incarnation that they belong to stands before them.
    pub const HISTOGRAMS: usize = FLIGHT + super::flight::BYTES;
    /// Bytes of one histogram: buckets, then the maximum.
    pub const HISTOGRAM_BYTES: usize = (HISTOGRAM_BUCKETS + 1) * 8;
    /// Bytes of a zone's pair.
    pub const HISTOGRAM_STRIDE: usize = 8 + 2 * HISTOGRAM_BYTES;
    /// Bytes of `frontend.N`, `hook.N` and `admin.N`.
    pub const FRONTEND_BYTES: usize = HISTOGRAMS.next_multiple_of(PAGE_BYTES);
    /// In `sim.N`: a word a zone slot, the incarnation of the match that the sim could not open or take over, 0 for none. Release:
    /// who sees it also sees what was given back of the match. All 0 when a process claims the segment.
    pub const FAILED: usize = HISTOGRAMS + MAX_ZONES * HISTOGRAM_STRIDE;
    /// Bytes of `sim.N`.
    pub const SIM_BYTES: usize = (FAILED + MAX_ZONES * 8).next_multiple_of(PAGE_BYTES);
}

/// Every shared struct, in the order of the document.
pub const STRUCTS: &[StructDoc] = &[
    Header::DOC,
    InstanceEntry::DOC,
    WorkerEntry::DOC,
    ZoneEntry::DOC,
    MailRecord::DOC,
    RecordHeader::DOC,
    JoinRecord::DOC,
    ResumeRecord::DOC,
    RootHead::DOC,
    AttemptEntry::DOC,
    FaultEntry::DOC,
    WorkerSelf::DOC,
    FlightRecord::DOC,
    ZoneMeta::DOC,
    ZoneLife::DOC,
    RefusalRow::DOC,
    KickedRow::DOC,
    EntityRow::DOC,
    SessionRow::DOC,
    SessionInput::DOC,
    SessionVerdict::DOC,
    SessionRejected::DOC,
    TimerRow::DOC,
    EventRow::DOC,
    BlobMeta::DOC,
    BlobRow::DOC,
    BlobPageRow::DOC,
    OutboxMeta::DOC,
    AskRow::DOC,
];

/// FNV-1a, 64 bits: for identities, not against attackers.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
