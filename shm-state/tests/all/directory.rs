//! The directory: cells for processes and zones, the schema, and mailboxes that never overwrite what was not consumed.

use ringfort_shm_state::directory::{Directory, DirectoryWriter, MailboxFull, SchemaTooLarge};
use ringfort_shm_state::layout::{InstanceEntry, MailKind, WorkerEntry, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::{MAILBOX_PAYLOAD_BYTES, MAILBOX_RECORDS, MAX_WORKERS, MAX_ZONES, SCHEMA_BYTES};
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, padded, unpadded};
use zerocopy::FromZeros;

use super::Instance;

fn with_directory(check: impl FnOnce(DirectoryWriter, Directory)) {
    let instance = Instance::new();
    let written = Segment::create(&instance.0, SegmentSpec::DIRECTORY).expect("a directory");
    let read = Segment::open(&instance.0, SegmentSpec::DIRECTORY, Access::ReadOnly).expect("the same directory");
    check(DirectoryWriter::new(&written), Directory::new(&read));
}

#[test]
fn what_is_published_is_read() {
    with_directory(|writer, reader| {
        assert!(reader.instance().is_none() && reader.schema_json().is_none());
        let schema = br#"{"game":"skirmish!"}"#;
        let entry = InstanceEntry { listen_port: 7777, ..InstanceEntry::new_zeroed() };
        writer.publish_instance(&entry, schema).expect("it fits");
        assert_eq!(reader.schema_json().as_deref(), Some(&schema[..]));
        assert_eq!(reader.instance().map(|i| i.listen_port), Some(7777));
        let large = vec![b' '; SCHEMA_BYTES + 1];
        assert_eq!(writer.publish_instance(&entry, &large), Err(SchemaTooLarge { bytes: large.len() }));
        writer.publish_instance(&entry, &large[1..]).expect("it just fits");
        assert_eq!(reader.schema_json().map(|s| s.len()), Some(SCHEMA_BYTES));

        assert_eq!(reader.workers().count(), 0);
        let last = MAX_WORKERS - 1;
        writer.publish_worker(last, &WorkerEntry { pid: 1, role: 2, ..WorkerEntry::new_zeroed() });
        assert_eq!(reader.workers().map(|w| w.pid).collect::<Vec<_>>(), [1]);
        assert_eq!(reader.worker(MAX_WORKERS), None, "beyond the table is nobody, not the next table");
    });
}

#[test]
fn zones_come_and_go_with_the_generation() {
    with_directory(|writer, reader| {
        let zone =
            ZoneEntry { incarnation: 5, state: ZoneState::Open as u32, name: padded("arena ä"), ..ZoneEntry::new_zeroed() };
        let slots = [0, 7, MAX_ZONES - 1];
        for (i, slot) in slots.into_iter().enumerate() {
            assert_eq!(writer.publish_zone(slot, &zone), i as u64 + 1);
            assert_eq!(reader.zone(slot).map(|z| z.generation), Some(i as u64 + 1));
        }
        assert_eq!(reader.zones().map(|(slot, _)| slot).collect::<Vec<_>>(), slots);
        assert_eq!(reader.zone(7).map(|z| unpadded(&z.name)).as_deref(), Some("arena ä"));
        assert_eq!(writer.publish_zone(7, &ZoneEntry { state: ZoneState::Free as u32, ..zone }), 4);
        assert_eq!((reader.zone(7), reader.zone(MAX_ZONES)), (None, None));
        assert_eq!(reader.generation(), 4);
    });
}

#[test]
fn a_mailbox_keeps_what_was_not_consumed() {
    with_directory(|writer, reader| {
        assert_eq!((reader.mail_tail(9), reader.mail(9, 0)), (0, None));
        for n in 0..MAILBOX_RECORDS {
            writer.post(9, 0, MailKind::FrontendDied, n, 100 + n, "").expect("room");
        }
        assert_eq!(writer.post(9, 0, MailKind::End, 0, 0, ""), Err(MailboxFull));
        for n in 0..MAILBOX_RECORDS {
            let record = reader.mail(9, n).expect("posted and not overwritten");
            assert_eq!((record.kind, record.a, record.b), (MailKind::FrontendDied as u32, n, 100 + n));
        }
        assert_eq!(reader.mail(9, MAILBOX_RECORDS), None, "not posted yet");
        writer.post(9, 1, MailKind::End, 0, 0, "by hand").expect("one was consumed");
        assert_eq!(reader.mail(9, 0), None, "overwritten");
        let end = reader.mail(9, MAILBOX_RECORDS).expect("posted");
        assert_eq!((end.bytes, unpadded(&end.payload).as_str()), (7, "by hand"));
        assert_eq!(reader.mail_tail(8), 0, "the neighbour's is untouched");
    });
}

#[test]
fn a_text_is_cut_between_characters() {
    with_directory(|writer, reader| {
        let text = "x".repeat(MAILBOX_PAYLOAD_BYTES - 1) + "ä";
        writer.post(0, 0, MailKind::End, 0, 0, &text).expect("room");
        let record = reader.mail(0, 0).expect("posted");
        assert_eq!(record.bytes as usize, MAILBOX_PAYLOAD_BYTES - 1);
        assert_eq!(unpadded(&record.payload), "x".repeat(MAILBOX_PAYLOAD_BYTES - 1));
    });
}
