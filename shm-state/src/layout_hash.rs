//! What two binaries must agree upon to share a segment: every struct, field, offset and number, as one hash.

use crate::layout::*;
use crate::limits::*;
use crate::table::ROW_ALIGN;

/// The offsets that are not struct fields.
pub(crate) const OFFSETS: &[(&str, &str, usize)] = &[
    ("directory", "generation word", directory::GENERATION),
    ("directory", "refused peers word", directory::PEERS_REFUSED),
    ("directory", "instance cell", directory::INSTANCE),
    ("directory", "map JSON", directory::MAP),
    ("directory", "process table", directory::WORKERS),
    ("directory", "process table stride", directory::WORKER_STRIDE),
    ("directory", "zone table", directory::ZONES),
    ("directory", "zone table stride", directory::ZONE_STRIDE),
    ("directory", "mailboxes", directory::MAILBOXES),
    ("directory", "mailbox stride", directory::MAILBOX_STRIDE),
    ("directory", "flight recorder", directory::FLIGHT),
    ("directory", "bytes", directory::BYTES),
    ("inbox.*", "control blocks", inbox::CONTROLS),
    ("inbox.*", "control block stride", InboxControl::BYTES),
    ("inbox.*", "in a control block: mutex", InboxControl::MUTEX_OFFSET),
    ("inbox.*", "in a control block: operation word", InboxControl::OPERATION_OFFSET),
    ("inbox.*", "in a control block: repairs word", InboxControl::REPAIRS_OFFSET),
    ("inbox.*", "in a control block: refused word", InboxControl::REFUSED_OFFSET),
    ("inbox.*", "in a control block: tail word", InboxControl::TAIL_OFFSET),
    ("inbox.*", "data areas", inbox::DATA),
    ("world", "control blocks", world::CONTROLS),
    ("world", "control block stride", world::CONTROL_STRIDE),
    ("world", "in a control block: published word", world::PUBLISHED),
    ("world", "in a control block: attempt cell", world::ATTEMPT),
    ("world", "in a control block: ring of roots", world::ROOTS),
    ("world", "root stride", world::ROOT_STRIDE),
    ("world", "owner table", world::OWNERS),
    ("frontend.N, sim.N", "self", worker::SELF),
    ("frontend.N, sim.N", "heartbeat word", worker::HEARTBEAT),
    ("frontend.N, sim.N", "seen generation word", worker::SEEN_GENERATION),
    ("frontend.N, sim.N", "counters", worker::COUNTERS),
    ("frontend.N, sim.N", "log level word", worker::LOG_LEVEL),
    ("frontend.N, sim.N", "flight recorder", worker::FLIGHT),
    ("any", "in a flight recorder: written word", flight::WRITTEN),
    ("any", "in a flight recorder: records", flight::RECORDS),
    ("sim.N", "histograms", worker::HISTOGRAMS),
    ("sim.N", "histogram stride", worker::HISTOGRAM_STRIDE),
    ("sim.N", "failed words", worker::FAILED),
];

/// The numbers that stand for something in shared memory.
const NUMBERS: &[(&str, u32)] = &[
    ("zone open", ZoneState::Open as u32),
    ("zone closed", ZoneState::Closed as u32),
    ("mail end", MailKind::End as u32),
    ("mail frontend died", MailKind::FrontendDied as u32),
    ("mail set", MailKind::Set as u32),
    ("record join", RecordKind::Join as u32),
    ("record input", RecordKind::Input as u32),
    ("record command", RecordKind::Command as u32),
    ("record event ack", RecordKind::EventAck as u32),
    ("record leave", RecordKind::Leave as u32),
    ("record detach", RecordKind::Detach as u32),
    ("record resume", RecordKind::Resume as u32),
    ("record pad", RecordKind::Pad as u32),
    ("root closing", RootFlags::CLOSING),
    ("root ended", RootFlags::ENDED),
    ("audience all", Audience::All as u32),
    ("audience one", Audience::One as u32),
    ("audience near", Audience::Near as u32),
    ("audience seeing", Audience::Seeing as u32),
];

/// What a segment's header carries: a hash of every struct, field, offset and number, of the hash function of pages, of libc's flavour and
/// of the mutex' size. The words that explain them are no part of it.
pub fn layout_hash() -> u64 {
    let flavour = if cfg!(target_env = "gnu") { "gnu" } else { "other" };
    let mutex = size_of::<libc::pthread_mutex_t>();
    let fields: Vec<_> =
        STRUCTS.iter().flat_map(|s| s.fields.iter().map(|f| (s.name, f.name, f.kind, f.offset, f.bytes))).collect();
    let limits = (PAGE_INDEX_BITS, SEQUENCE_BITS, WINDOW, ROOT_RING, MAX_TABLES, MAX_ZONES, EXTENT_PAGES, ROW_ALIGN);
    let bounds = (FLIGHT_RECORDS, MAX_RECORD_PAYLOAD, MAILBOX_RECORDS, MIN_BLOB_SLOT, MAX_BLOB_BYTES, HISTOGRAM_BUCKETS);
    // What a page of this content adds to the state hash: another hash function is another meaning of the roots.
    let page = crate::hash::page_hash(1, &[0x5249_4e47_464f_5254; PAGE_WORDS]);
    hash_bytes(format!("{fields:?}{OFFSETS:?}{NUMBERS:?}{limits:?}{bounds:?}{page}{flavour}{mutex}").as_bytes())
}
