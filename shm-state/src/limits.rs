//! Every bound of the shared memory, in one place. Changing one that shapes the layout changes the layout hash.

/// Bytes of a page, the unit that a tick copies on its first write.
pub const PAGE_BYTES: usize = 4096;
/// 64-bit words of a page, the unit in which other processes copy it.
pub const PAGE_WORDS: usize = PAGE_BYTES / 8;
/// Pages of an extent, the unit that a zone takes from the arena and gives back.
pub const EXTENT_PAGES: usize = 16;
/// Bytes of an extent.
pub const EXTENT_BYTES: usize = EXTENT_PAGES * PAGE_BYTES;
/// Zones of an instance, alive at the same time.
pub const MAX_ZONES: usize = 1024;
/// Roots that stay readable after the next was published: baselines, inspection, roll-back.
pub const WINDOW: u64 = 32;
/// Descriptors in a zone's ring of roots: the window and a margin, so that a reader has time to copy the oldest.
pub const ROOT_RING: u64 = 40;
/// Handles that a root holds: of table pages, each naming [`PAGE_WORDS`] pages, which are 64 MiB of state; of directory pages
/// beyond that.
pub const MAX_TABLES: usize = 32;
/// Logical pages of a zone: 1 GiB of state.
pub const MAX_LOGICAL_PAGES: usize = PAGE_WORDS * PAGE_WORDS;
/// Bits of a page index in a handle: 16 Mi pages, an arena of 64 GiB.
pub const PAGE_INDEX_BITS: u32 = 24;
/// A zone slot whose published sequence is at least this is damaged: handles have room for births of 40 bits, and at 240 ticks a
/// second it takes 72 years to get here.
pub const MAX_ADOPTED_SEQUENCE: u64 = 1 << (63 - PAGE_INDEX_BITS);
/// Bits of a root's sequence in the published word; the other 16 are the epoch.
pub const SEQUENCE_BITS: u32 = 48;
/// Free pages that a zone keeps before it gives extents back, so that the load's ripples do not move extents.
pub const KEEP_FREE_PAGES: usize = 4 * EXTENT_PAGES;
/// Worker processes that the directory has room for.
pub const MAX_WORKERS: usize = 64;
/// Bytes of an instance's name.
pub const INSTANCE_NAME_BYTES: usize = 32;
/// Bytes of a match's name.
pub const ZONE_NAME_BYTES: usize = 48;
/// Bytes of a match's options, as JSON.
pub const ZONE_OPTIONS_BYTES: usize = 512;
/// Bytes of the game's map in the directory.
pub const MAP_BYTES: usize = 64 * 1024;
/// Operator records that a zone's mailbox holds before its sim has read them.
pub const MAILBOX_RECORDS: u64 = 32;
/// Records of a mailbox that answers from outside leave to operator records and to news of dead front-ends.
pub const MAILBOX_RESERVED: u64 = 8;
/// Payload bytes of an operator record: with its head, four cache lines.
pub const MAILBOX_PAYLOAD_BYTES: usize = 232;
/// Bytes of a request's topic in the outbox.
pub const ASK_TOPIC_BYTES: usize = 32;
/// Bytes of a request to the outside, and of its answer: a mailbox that is empty holds an answer as long as this.
pub const ASK_BODY_BYTES: usize = 2048;
const _: () = assert!(ASK_BODY_BYTES.div_ceil(MAILBOX_PAYLOAD_BYTES) as u64 + MAILBOX_RESERVED <= MAILBOX_RECORDS);
/// Smallest and largest data area of a zone's inbox; a power of two between them.
pub const MIN_INBOX_BYTES: u64 = 16 * 1024;
/// See [`MIN_INBOX_BYTES`].
pub const MAX_INBOX_BYTES: u64 = 4 * 1024 * 1024;
/// Payload bytes of one inbox record.
pub const MAX_RECORD_PAYLOAD: usize = 512;
/// Bytes of an encoded input in a session's row.
pub const MAX_INPUT_BYTES: usize = 32;
/// Predicted events of a game, whose verdicts stand in a session's row.
pub const MAX_PREDICTED_EVENTS: usize = 4;
/// Bytes of an encoded event in the log.
pub const MAX_EVENT_BYTES: usize = 32;
/// Bytes of an encoded timer.
pub const MAX_TIMER_BYTES: usize = 24;
/// Bytes of a player's name in a session's row.
pub const PLAYER_NAME_BYTES: usize = 32;
/// Bytes of the label that a game gives its match.
pub const LABEL_BYTES: usize = 64;
/// Bytes of what a game says to a player that it does not admit.
pub const REFUSAL_BYTES: usize = 96;
/// Characters of the code with which a private match is joined.
pub const JOIN_CODE_BYTES: usize = 8;
/// Refusals of joins that a zone keeps for front-ends to read: four pages of them.
pub const MAX_REFUSALS: u32 = 124;
/// Kicked sessions whose clients a zone knows again by their join nonces.
pub const MAX_KICKED: u32 = 128;
/// Sessions of one zone.
pub const MAX_SESSIONS: u32 = 10_240;
/// Entities of one zone.
pub const MAX_ENTITIES: u32 = 1 << 20;
/// Bytes of a panic's message and place that shared memory keeps.
pub const FAULT_TEXT_BYTES: usize = 216;
/// Records of a process's flight recorder: the newest so many are kept.
pub const FLIGHT_RECORDS: u64 = 1024;
/// Bytes of text in a flight record.
pub const FLIGHT_TEXT_BYTES: usize = 64;
/// Counters of a worker.
pub const MAX_COUNTERS: usize = 128;
/// How often a reader starts over with the newest root before it reports that it cannot keep up.
pub const MAX_REFRESH_ATTEMPTS: u32 = 8;
/// How often a reader copies a published cell again when the writer was at it.
pub const MAX_CELL_ATTEMPTS: u32 = 1000;
/// Bytes of a blob: a whole page.
pub const MAX_BLOB_BYTES: usize = PAGE_BYTES;
/// Bytes of the smallest slot for a blob; each size class is twice the one before.
pub const MIN_BLOB_SLOT: usize = 16;
/// Size classes of blobs.
pub const BLOB_CLASSES: usize = 9;
/// Words of a page's bits of taken slots.
pub const BLOB_SLOT_WORDS: usize = PAGE_BYTES / MIN_BLOB_SLOT / 64;
/// Problems that `fsck` reports; a world of garbage has as many as it has words.
pub const MAX_PROBLEMS: usize = 1000;
