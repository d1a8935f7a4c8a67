//! Every bound of the wire, in one place.

use crate::bucket::Rate;
use std::time::Duration;

/// Version of the control protocol; both ends must have the same.
pub const PROTOCOL_VERSION: u16 = 5;

/// Columns of a state struct.
pub const MAX_COLUMNS: usize = 64;
/// Columns that are sent to clients, and likewise synced globals: a mask of them is one `u32`.
pub const MAX_SYNCED: usize = 32;
/// Fields of a component, an input or a message variant.
pub const MAX_FIELDS: usize = 64;
/// Variants of a message enum: the tag has 8 bits.
pub const MAX_VARIANTS: usize = 255;
/// `#[predicted]` variants of a game's event: each has a word of verdicts in every snapshot.
pub const MAX_PREDICTED: usize = 4;
/// Bits of one encoded row, and of the longest one of a text or of bytes.
pub const MAX_ROW_BITS: u32 = 2048;
/// Bytes of a game's, a column's or a field's name in a schema.
pub const MAX_NAME_BYTES: usize = 64;
/// Steps of a quantised range: more than an `f32` can tell apart would make values drift.
pub const MAX_RANGE_STEPS: u32 = 1 << 22;
/// Bits of a quantised angle.
pub const MAX_ANGLE_BITS: u8 = 20;

/// Bytes of one control frame's body, either way; the welcome with the schema is the largest.
pub const MAX_FRAME: usize = 60 * 1024;
/// Bytes of one control frame's body that a server accepts from a client.
pub const MAX_CLIENT_FRAME: usize = 4 * 1024;
/// Bytes of room that a connection keeps, each way, for its next control messages.
pub const MESSAGE_BYTES_KEPT: usize = 256;
/// Bytes of control frames waiting for a peer that doesn't read.
pub const MAX_CONTROL_BACKLOG: usize = 128 * 1024;
/// Bytes of a command's or event's encoding.
pub const MAX_MESSAGE_BYTES: usize = 256;
/// Bytes of a player's name in a credential.
pub const MAX_PLAYER_NAME_BYTES: usize = 32;
/// Bytes of a token in a credential; with the rest of a hello it fits a client's frame.
pub const MAX_TOKEN_BYTES: usize = 2048;
/// Microseconds of one unit of the times in a snapshot's header.
pub const TIME_UNIT_US: u64 = 10;
/// Bytes of the reason in an error message or a connection close.
pub const MAX_REASON_BYTES: usize = 200;

/// Inputs in one datagram.
pub const MAX_INPUTS: usize = 16;
/// Bytes of one encoded input, so that [`MAX_INPUTS`] of them always fit a datagram.
pub const MAX_INPUT_BYTES: usize = 64;
/// Bytes of the smallest datagram of a client; quinn answers nothing shorter than 22 with a reset.
pub const MIN_CLIENT_DATAGRAM: usize = 40;
/// Bytes of a snapshot; with QUIC's overhead it stays below 1,200 bytes of UDP payload.
pub const MAX_SNAPSHOT_BYTES: usize = 1150;
/// Entities that a zone may have.
pub const MAX_ENTITIES: u32 = 1 << 20;
/// Largest tick rate of a match.
pub const MAX_TICK_HZ: u32 = 240;
/// Most players of a match.
pub const MAX_CAPACITY: u32 = 10_000;

/// Places of entities that a client's table keeps room for, however few it has.
pub const PLACES_KEPT: usize = 16;
/// Snapshots whose content a front-end remembers per client until they are settled by an acknowledgement.
pub const SENT_WINDOW: usize = 64;
/// Records remembered over all of them; older snapshots are forgotten first and their acknowledgement has no effect.
pub const SENT_RECORDS: usize = 4096;
/// Records that a client's ring keeps room for when it has been longer and is no more.
pub const SENT_RECORDS_KEPT: usize = 384;

/// Connections of one server endpoint.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Connections whose handshake has begun and is not yet done; newcomers wait for one of them to end. Few enough that a machine full of clients
/// answers each of them before it is repeated or given up.
pub const MAX_HANDSHAKES: usize = 256;
/// Newcomers that wait for their handshakes to be begun; the first packet of one more is forgotten, and comes again.
pub const MAX_NEWCOMERS: usize = 1_024;
/// How long one of them waits, at most: less than what a client gives its first attempt before it makes another.
pub const NEWCOMER_PATIENCE: Duration = Duration::from_secs(2);
/// For how long a newcomer that was asked to prove its address may come again with the proof: longer than any client keeps trying.
pub const PROOF_LIFETIME: Duration = Duration::from_secs(60);
/// The share of [`MAX_NEWCOMERS`] under way or waiting from which newcomers must prove their address, as a divisor.
pub const RETRY_SHARE: usize = 4;
/// Handshakes that one poll of a driver begins. Each costs a signature, and those who play are not to wait for many of them: a server polls
/// again for as long as it has the time.
pub const ACCEPTS_PER_POLL: usize = 2;
/// Source addresses of which something is known at one time; above [`MAX_CONNECTIONS`], so that open ones never fill the table.
pub const MAX_ADDRESSES: usize = 1 << 14;
/// Addresses that are looked at for one to be forgotten when the table is full.
pub const ADDRESS_LOOKS: usize = 64;
/// The share of an address's handshakes that is kept for those that have proven that they come from there, as a divisor.
pub const PROOF_SHARE: u32 = 2;
/// Packets of no connection, answered or looked into, for each handshake that an address may begin.
pub const STRANGERS_PER_HANDSHAKE: u32 = 8;
/// Packets for a connection from other addresses than its peer's: enough for a peer whose address changes, and no part of what is the peer's.
pub const FOREIGN_PACKETS: Rate = Rate { per_second: 20, burst: 40 };
/// The share of packets above a connection's limits that is decrypted to see whether they are its peer's, as a divisor.
pub const WITNESS_SHARE: u32 = 8;
/// Datagrams in one transmission with segmentation offload.
pub const MAX_GSO_SEGMENTS: usize = 10;
/// Slots of the timer wheel, one millisecond each.
pub const WHEEL_SLOTS: usize = 1 << 12;
/// How much longer than a tick a timer of a connection in a match may wait for a datagram to go with: what a tick or a client may be late.
pub const ROUNDING_MARGIN: Duration = Duration::from_millis(50);
/// Longest that such a timer waits, however slow the match: well below [`IDLE_SECONDS`].
pub const ROUNDING_MAX: Duration = Duration::from_millis(1_500);
/// Streams beyond its control stream that a peer may try before its connection is closed.
pub const MAX_STRAY_STREAMS: u32 = 4;
/// Bytes of datagrams that wait for the application, and for the network: a stale snapshot is worthless.
pub const DATAGRAM_BUFFER_BYTES: usize = 16 * 1024;
/// Seconds without a packet after which a connection is lost.
pub const IDLE_SECONDS: u64 = 10;
/// Seconds between a client's signs of life when it has nothing to say.
pub const KEEP_ALIVE_SECONDS: u64 = 2;
/// Bytes of a connection id.
pub const CONNECTION_ID_BYTES: usize = 10;
/// Slots of front-ends behind one port: the first byte of a connection id modulo this is the slot.
pub const FRONTEND_SLOTS: u8 = 16;
/// TLS tickets that a server gives with each handshake: one for the next handshake, and one for when that is lost.
pub const TICKETS_SENT: usize = 2;
/// Seconds for which a server makes tickets with one key; for as long again it accepts them.
pub const TICKET_PERIOD_SECONDS: u32 = 6 * 3600;
/// TLS tickets that a client keeps, of all servers; the oldest go first.
pub const TICKETS_KEPT: usize = 8_192;

const _: () = assert!(MAX_ADDRESSES > MAX_CONNECTIONS);
const _: () = assert!(MAX_CONTROL_BACKLOG >= MAX_FRAME + 2);
const _: () =
    assert!(crate::input::HEADER_BYTES + MAX_INPUTS * (MAX_INPUT_BYTES + crate::view::VIEW_BYTES) <= MAX_SNAPSHOT_BYTES);
