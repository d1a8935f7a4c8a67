//! A file that says it is a segment.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use zerocopy::IntoBytes;

use super::Source;
use crate::directory::Directory;
use crate::fsck;
use crate::layout::{Header, MAGIC, SegmentKind, VERSION, directory, inbox, layout_hash, worker, world};
use crate::limits::{EXTENT_BYTES, INSTANCE_NAME_BYTES, MIN_INBOX_BYTES};
use crate::memory::Words;
use crate::process::ProcessId;
use crate::segment::{Access, Segment, SegmentSpec, padded};
use crate::worker::WorkerPage;
use crate::world::World;

const INSTANCE: &str = "hostile";
/// Words at the start of the file that an input may bend: the header.
const HEADER_WORDS: usize = size_of::<Header>() / 8;
/// The longest file: longer ones cannot be mapped, which the system says.
const MAX_FILE_BYTES: u64 = 1 << 46;

/// Attaches a file of any length whose header is bent or made of arbitrary bytes, and reads it if it is let in.
pub fn segment(data: &[u8]) {
    let mut source = Source(data);
    let specs = [
        SegmentSpec::DIRECTORY,
        SegmentSpec::world(2),
        SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES),
        SegmentSpec::inbox(SegmentKind::InboxSys, MIN_INBOX_BYTES),
        SegmentSpec::worker(SegmentKind::Frontend, 3),
        SegmentSpec::worker(SegmentKind::Sim, 3),
        SegmentSpec::worker(SegmentKind::Hook, 3),
    ];
    let spec = specs[source.below(specs.len())];
    let whole = match spec.kind {
        SegmentKind::Directory => directory::BYTES,
        SegmentKind::InboxNet | SegmentKind::InboxSys => inbox::DATA + MIN_INBOX_BYTES as usize,
        SegmentKind::World => world::bytes(2),
        SegmentKind::Frontend | SegmentKind::Hook | SegmentKind::Admin => worker::FRONTEND_BYTES,
        SegmentKind::Sim => worker::SIM_BYTES,
    } as u64;
    let file = file(&mut source, spec, whole);
    let access = if source.byte().is_multiple_of(2) { Access::ReadOnly } else { Access::ReadWrite };
    let Ok(segment) = Segment::from_fd(INSTANCE, spec, file, access) else { return };
    read(segment, spec, &mut source);
}

/// A file with a header as the input wants it. Beyond the header it is a hole, which reads as zeros.
fn file(source: &mut Source<'_>, spec: SegmentSpec, whole: u64) -> OwnedFd {
    let creator = ProcessId { pid: 1, start_time: 1 };
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        kind: spec.kind as u32,
        layout_hash: layout_hash(),
        bytes: whole,
        instance: padded::<INSTANCE_NAME_BYTES>(INSTANCE),
        creator_start: creator.start_time,
        creator_pid: creator.pid,
        slot: spec.slot,
        parameter: spec.parameter,
        ready: 1,
    };
    let mut bytes = header.as_bytes().to_vec();
    let mut length = whole;
    match source.byte() % 4 {
        0 => bytes = std::mem::take(&mut source.0).to_vec(),
        1 => {
            for _ in 0..source.byte() % 8 {
                let word = source.below(HEADER_WORDS) * 8;
                let old = u64::from_ne_bytes(std::array::from_fn(|i| bytes[word + i]));
                bytes[word..word + 8].copy_from_slice(&source.number(old).to_ne_bytes());
            }
        }
        // A parameter and a length that may belong together, however large.
        2 => {
            let parameter = source.number(spec.parameter);
            bytes[std::mem::offset_of!(Header, parameter)..][..8].copy_from_slice(&parameter.to_ne_bytes());
            length = match spec.kind {
                SegmentKind::World if parameter < MAX_FILE_BYTES / EXTENT_BYTES as u64 => world::bytes(parameter as usize) as u64,
                SegmentKind::InboxNet | SegmentKind::InboxSys => parameter.saturating_add(inbox::DATA as u64),
                _ => whole,
            };
        }
        _ => length = source.number(whole),
    }
    let file = memfd_create("ringfort-hostile", MemfdFlags::CLOEXEC).expect("a file in memory");
    rustix::io::pwrite(&file, &bytes, 0).expect("room for a page");
    ftruncate(&file, length.min(MAX_FILE_BYTES)).expect("a length that a file can have");
    file
}

fn read(segment: Segment, spec: SegmentSpec, source: &mut Source<'_>) {
    let memory = segment.memory();
    let words = memory.bytes() / 8;
    assert_eq!(memory.load((words - 1) * 8, Ordering::Relaxed), 0, "the hole behind the header");
    match spec.kind {
        SegmentKind::Directory => {
            let directory = Directory::new(&segment);
            assert_eq!((directory.instance(), directory.workers().count(), directory.zones().count()), (None, 0, 0));
        }
        SegmentKind::InboxNet | SegmentKind::InboxSys => {
            let (offset, bytes) = (source.number(0), source.number(MIN_INBOX_BYTES));
            if let Some(ring) = crate::inbox::Inbox::new(memory, source.below(2048), offset, bytes) {
                assert_eq!(ring.next(memory, &mut 0, ring.tail(memory)).map(|r| r.is_none()), Ok(true));
            }
        }
        SegmentKind::World => {
            let world = World::new(segment);
            // A check of an arena that was let in at its greatest size would only take long.
            if world.extents() < 1 << 16 {
                assert_eq!(fsck::check(&world, &[]), fsck::Report::default());
            }
        }
        SegmentKind::Frontend | SegmentKind::Sim | SegmentKind::Hook | SegmentKind::Admin => {
            assert_eq!(WorkerPage::new(&segment).claimed_by(), ProcessId { pid: 0, start_time: 0 });
        }
    }
}
