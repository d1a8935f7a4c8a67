//! The directory, as a worker reads it, and as the next supervisor goes on with it.

use zerocopy::FromZeros;

use super::{Source, digest};
use crate::cell::Cell;
use crate::directory::{Directory, DirectoryWriter};
use crate::layout::{InstanceEntry, MailKind, Role, WorkerEntry, ZoneEntry, ZoneState, directory as at};
use crate::limits::{MAILBOX_RECORDS, MAP_BYTES, MAX_WORKERS, MAX_ZONES};
use crate::memory::Memory;
use crate::segment::unpadded;

const SCHEMA: &[u8] = b"{\"components\":[]}";

/// Reads a directory whose words were bent, and writes on where they were left.
pub fn directory(data: &[u8]) {
    let mut source = Source(data);
    let memory = Memory::heap(at::BYTES);
    let (slot, zone) = ([0, MAX_WORKERS - 1][source.below(2)], [0, 1, MAX_ZONES - 1][source.below(3)]);
    build(&memory, slot, zone);
    let regions = [
        (at::GENERATION, 1),
        (at::INSTANCE, Cell::<InstanceEntry>::BYTES / 8),
        (at::WORKERS + slot * at::WORKER_STRIDE, at::WORKER_STRIDE / 8),
        (at::ZONES + zone * at::ZONE_STRIDE, at::ZONE_STRIDE / 8),
        (at::MAILBOXES + zone * at::MAILBOX_STRIDE, at::MAILBOX_STRIDE / 8),
        (at::MAILBOXES + zone * at::MAILBOX_STRIDE, 1),
    ];
    match source.byte() % 4 {
        0 => {
            let region = regions[source.below(regions.len())];
            source.flood(&memory, region);
        }
        _ => (0..source.byte() % 32).for_each(|_| source.bend(&memory, &regions)),
    }
    let read = Directory::over(&memory);
    read_all(read, slot, zone, &mut source);
    if source.byte() == 1 {
        assert!(read.zones().count() <= MAX_ZONES);
    }
    write_on(&memory, slot, zone, &mut source);
    read_all(read, slot, zone, &mut source);
}

fn build(memory: &Memory, slot: usize, zone: usize) {
    let writer = DirectoryWriter::over(memory);
    let instance = InstanceEntry { listen_port: 4433, ..InstanceEntry::new_zeroed() };
    writer.publish_instance(&instance, SCHEMA).expect("a small schema");
    let worker = WorkerEntry { pid: 1, role: Role::Sim as u32, ..WorkerEntry::new_zeroed() };
    writer.publish_worker(slot, &worker);
    let entry = ZoneEntry { incarnation: 7, state: ZoneState::Open as u32, ..ZoneEntry::new_zeroed() };
    writer.publish_zone(zone, &entry);
    for number in 0..3 {
        writer.post(zone, 0, MailKind::FrontendDied, number, 1, "gone").expect("an empty mailbox");
    }
}

fn read_all(read: Directory<'_>, slot: usize, zone: usize, source: &mut Source<'_>) {
    let _ = (read.generation(), read.instance(), read.worker(slot), read.worker(source.below(1 << 17)));
    assert!(read.map_json().is_none_or(|json| json.len() <= MAP_BYTES));
    assert!(read.workers().count() <= MAX_WORKERS);
    for slot in [zone, zone ^ 1, source.below(1 << 17)] {
        if let Some(entry) = read.zone(slot) {
            assert!(slot < MAX_ZONES && unpadded(&entry.name).len() <= 3 * entry.name.len());
        }
    }
    let tail = read.mail_tail(zone);
    let unread = (tail.saturating_sub(MAILBOX_RECORDS)..tail).filter(|number| read.mail(zone, *number).is_some()).count();
    assert_eq!(unread as u64, tail.min(MAILBOX_RECORDS), "exactly what the mailbox holds");
    for _ in 0..4 {
        let number = source.number(tail);
        let there = number < tail && tail - number <= MAILBOX_RECORDS;
        assert_eq!(read.mail(zone, number).is_some(), there, "{number} of {tail}");
    }
}

fn write_on(memory: &Memory, slot: usize, zone: usize, source: &mut Source<'_>) {
    let others = (at::ZONES + 2 * at::ZONE_STRIDE, 8 * at::ZONE_STRIDE / 8);
    let before = digest(memory, others);
    let writer = DirectoryWriter::over(memory);
    let entry = ZoneEntry { incarnation: 8, state: ZoneState::Open as u32, ..ZoneEntry::new_zeroed() };
    writer.publish_worker(slot, &WorkerEntry::new_zeroed());
    let generation = writer.publish_zone(zone, &entry);
    assert_eq!(writer.reader().generation(), generation);
    for _ in 0..4 {
        let consumed = source.number(writer.reader().mail_tail(zone));
        let _ = writer.post(zone, consumed, MailKind::End, 0, 0, "end");
    }
    assert_eq!(digest(memory, others), before, "other zones' entries are as they were");
}
