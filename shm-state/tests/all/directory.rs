//! The directory: cells for processes and zones, the schema, and mailboxes that never overwrite what was not consumed.

use ringfort_shm_state::directory::{Directory, DirectoryWriter, MailboxFull, MapTooLarge};
use ringfort_shm_state::layout::{AnswerPart, InstanceEntry, MailKind, Verdict, WorkerEntry, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::{
    ASK_BODY_BYTES, MAILBOX_PAYLOAD_BYTES, MAILBOX_RECORDS, MAILBOX_RESERVED, MAP_BYTES, MAX_WORKERS, MAX_ZONES,
};
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
        assert!(reader.instance().is_none() && reader.map_json().is_none());
        let schema = br#"{"game":"skirmish!"}"#;
        let entry = InstanceEntry { listen_port: 7777, ..InstanceEntry::new_zeroed() };
        writer.publish_instance(&entry, schema).expect("it fits");
        assert_eq!(reader.map_json().as_deref(), Some(&schema[..]));
        assert_eq!(reader.instance().map(|i| i.listen_port), Some(7777));
        let large = vec![b' '; MAP_BYTES + 1];
        assert_eq!(writer.publish_instance(&entry, &large), Err(MapTooLarge { bytes: large.len() }));
        writer.publish_instance(&entry, &large[1..]).expect("it just fits");
        assert_eq!(reader.map_json().map(|s| s.len()), Some(MAP_BYTES));

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

#[test]
fn an_answer_comes_in_parts_all_at_once_and_leaves_room_for_the_operator() {
    with_directory(|writer, reader| {
        let text: String = ('a'..='z').chain(['ä']).cycle().take(1800).collect();
        assert!(text.len() < ASK_BODY_BYTES && text.len() > 7 * MAILBOX_PAYLOAD_BYTES);
        writer.post_answer(3, 0, 41, Verdict::Answered, &text).expect("room");
        let parts = text.len().div_ceil(MAILBOX_PAYLOAD_BYTES) as u64;
        assert_eq!(reader.mail_tail(3), parts);
        let mut joined = Vec::new();
        for n in 0..parts {
            let record = reader.mail(3, n).expect("posted");
            let part = AnswerPart { verdict: Verdict::Answered, part: n as u16, parts: parts as u16 };
            assert_eq!((record.kind, record.a), (MailKind::Answer as u32, 41));
            assert_eq!(AnswerPart::from_word(record.b), Some(part));
            joined.extend_from_slice(&record.payload[..record.bytes as usize]);
        }
        assert_eq!(String::from_utf8(joined).as_deref(), Ok(text.as_str()));
        assert_eq!(writer.post_answer(3, 0, 42, Verdict::Failed, &"x".repeat(ASK_BODY_BYTES)), Ok(()));
        let posted = reader.mail_tail(3);
        assert!(posted + parts + MAILBOX_RESERVED > MAILBOX_RECORDS);
        assert_eq!(writer.post_answer(3, 0, 43, Verdict::Answered, &text), Err(MailboxFull));
        assert_eq!(reader.mail_tail(3), posted, "nothing of what was refused is there");
        writer.post(3, 0, MailKind::End, 0, 0, "").expect("the operator has room");
        writer.post_answer(3, posted, 43, Verdict::Taken, "").expect("both were consumed, and an empty text takes one record");
        assert_eq!(reader.mail_tail(3), posted + 2);
    });
}

#[test]
fn what_is_no_part_of_an_answer_is_told_apart() {
    for word in [0, 1 << 16, 4 << 32 | 1 << 16, 1 << 32, 1 << 32 | 2 << 16 | 2, 1 << 48 | 1 << 32 | 1 << 16] {
        assert_eq!(AnswerPart::from_word(word), None, "{word:#x}");
    }
}
