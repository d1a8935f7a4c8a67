//! `ringfort rings`: the inboxes of the matches, how full they are, and what waits in them.

use std::collections::BTreeMap;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::inbox::{Inbox, Record};
use ringfort_shm_state::layout::{RecordKind, ZoneEntry};
use ringfort_shm_state::segment::unpadded;
use serde::Serialize;

use super::{Paper, Shown, printable, table};
use crate::attach::Attached;

/// The inboxes of an instance.
#[derive(Debug, Serialize)]
pub struct Rings {
    /// Name of the instance.
    pub instance: String,
    /// Its matches' inboxes, the fullest first.
    pub rings: Vec<RingShown>,
}

/// A match's inbox.
#[derive(Debug, Serialize)]
pub struct RingShown {
    /// The match.
    #[serde(rename = "match")]
    pub of: String,
    /// Its slot.
    pub slot: usize,
    /// Bytes appended and not yet part of the world.
    pub used_bytes: u64,
    /// Bytes that fit.
    pub capacity_bytes: u64,
    /// Where the newest commit has read to, in bytes since the slot's first use.
    pub cursor: u64,
    /// Where the committed records end.
    pub tail: u64,
    /// Records that were refused because it was full; counted over all matches of the slot.
    pub refused: u64,
    /// Times that its lock was taken from a front-end that died with it, or its end was mended; counted likewise.
    pub repairs: u64,
    /// Records that wait, by kind.
    pub waiting: BTreeMap<&'static str, u64>,
    /// The record that has waited longest, as "kind of session N".
    pub oldest: Option<String>,
    /// What is wrong with it; `None` when nothing is.
    pub damage: Option<String>,
}

/// Looks at the inboxes.
pub fn rings(attached: &Attached) -> Rings {
    let zones = Directory::new(&attached.directory).zones().filter(|(_, entry)| entry.lives());
    let mut rings: Vec<RingShown> = zones.map(|(slot, entry)| ring(attached, slot, &entry)).collect();
    let fill = |ring: &RingShown| ring.used_bytes.saturating_mul(1 << 16) / ring.capacity_bytes.max(1);
    rings.sort_by(|a, b| fill(b).cmp(&fill(a)).then_with(|| a.of.cmp(&b.of)));
    Rings { instance: attached.name.clone(), rings }
}

fn ring(attached: &Attached, slot: usize, entry: &ZoneEntry) -> RingShown {
    let memory = attached.inbox.memory();
    let mut shown = RingShown {
        of: unpadded(&entry.name),
        slot,
        used_bytes: 0,
        capacity_bytes: 0,
        cursor: 0,
        tail: 0,
        refused: 0,
        repairs: 0,
        waiting: BTreeMap::new(),
        oldest: None,
        damage: None,
    };
    let Some(ring) = Inbox::new(memory, slot, entry.inbox_offset, entry.inbox_bytes) else {
        shown.damage = Some("the directory says that it lies where no inbox can".to_owned());
        return shown;
    };
    // The cursor is read before the tail, so that it cannot seem to be ahead of it.
    let cursor = attached.world.consumed(slot, entry.incarnation);
    shown.tail = ring.tail(memory);
    shown.cursor = cursor.unwrap_or(shown.tail);
    shown.used_bytes = shown.tail.saturating_sub(shown.cursor);
    shown.capacity_bytes = ring.capacity();
    shown.refused = ring.refused(memory);
    shown.repairs = ring.repairs(memory);
    let (mut at, mut record) = (shown.cursor, Record::empty());
    loop {
        match ring.next_into(memory, &mut at, shown.tail, &mut record) {
            Ok(true) => {
                let kind = record.kind.map_or("garbage", name_of);
                *shown.waiting.entry(kind).or_default() += 1;
                shown.oldest.get_or_insert_with(|| format!("{kind} of session {}", record.header.session));
            }
            Ok(false) => break,
            Err(error) => {
                // It is read while it goes on: what the match has read meanwhile may be overwritten already.
                let moved = attached.world.consumed(slot, entry.incarnation) != cursor;
                shown.damage = (!moved).then(|| error.to_string());
                break;
            }
        }
    }
    shown
}

fn name_of(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Join => "join",
        RecordKind::Input => "input",
        RecordKind::Command => "command",
        RecordKind::EventAck => "event_ack",
        RecordKind::Leave => "leave",
        RecordKind::Pad => "pad",
        RecordKind::Detach => "detach",
        RecordKind::Resume => "resume",
    }
}

impl Shown for Rings {
    fn text(&self, paper: &Paper) -> String {
        if self.rings.is_empty() {
            return "no matches, so no inboxes\n".to_owned();
        }
        let row = |ring: &RingShown| {
            let waiting: Vec<String> = ring.waiting.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            vec![
                printable(&ring.of),
                format!("{} %", ring.used_bytes.saturating_mul(100) / ring.capacity_bytes.max(1)),
                ring.used_bytes.to_string(),
                ring.capacity_bytes.to_string(),
                ring.tail.to_string(),
                ring.refused.to_string(),
                ring.repairs.to_string(),
                if waiting.is_empty() { "-".to_owned() } else { waiting.join(", ") },
                ring.oldest.clone().unwrap_or("-".to_owned()),
            ]
        };
        let head = ["MATCH", "FILL", "BYTES", "OF", "TAIL", "REFUSED", "REPAIRS", "WAITING", "OLDEST"];
        let mut text = table(paper, &head, self.rings.iter().map(row).collect());
        for (of, damage) in self.rings.iter().filter_map(|ring| Some((&ring.of, ring.damage.as_ref()?))) {
            text += &format!("match {}: {damage}\n", printable(of));
        }
        text
    }
}
