//! The zones that this front-end has to do with: their view, the records on their way to them, and who plays there.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use ringfort_protocol::driver::ConnId;
use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{FlightKind, RecordHeader, RecordKind, ZoneEntry};
use ringfort_shm_state::memory::Memory;
use ringfort_shm_state::world::World;
use tracing::error;

use super::counters::{self as count, Counters};
use super::round::Round;
use super::zone_view::ZoneView;
use crate::flight::{self, Note};
use crate::game::Why;
use crate::limits::{JOINS_QUEUED_MAX, JOINS_UNDER_WAY_MAX, ZONE_BACKLOG_BYTES};

/// Roots after which no tick is left that began before a tail was seen: one that was under way, and one that began after it.
const ROOTS_BEFORE_MENDING: u64 = 2;

/// A zone, from this front-end.
pub struct ZoneLink {
    /// Slot in the directory.
    pub slot: usize,
    /// Its entry.
    pub entry: ZoneEntry,
    /// What it looks like.
    pub view: ZoneView,
    /// Sessions attached here: connection by session slot.
    pub sessions: BTreeMap<u32, ConnId>,
    /// Who is yet to be told of the commit that the view shows.
    pub round: Round,
    /// Joins under way: the connection, and the inbox cursor behind its record once that is appended.
    pub joins: Vec<(ConnId, Option<u64>)>,
    /// Joins that wait for some of those to be answered, in the order in which they came.
    pub queued: VecDeque<ConnId>,
    /// Sessions without a connection whose match was told so, or need not know yet, with the attachment that was.
    pub parting: HashSet<(u64, u32)>,
    /// Token hashes of joins under way whose clients have gone for good, with their connections.
    pub quits: HashMap<[u8; 32], ConnId>,
    /// When the commit was published that they are told of.
    pub published_us: u64,
    inbox: Inbox,
    batch: Batch,
    /// A tail that no front-end leaves, and the root that was the newest when it was seen first.
    impossible: Option<(u64, u64)>,
}

impl ZoneLink {
    /// A zone that nobody here plays in yet. `None` when its directory entry names no inbox.
    pub fn new(memory: &Memory, slot: usize, entry: ZoneEntry, view: ZoneView) -> Option<Self> {
        let inbox = Inbox::new(memory, slot, entry.inbox_offset, entry.inbox_bytes)?;
        Some(Self {
            slot,
            entry,
            view,
            sessions: BTreeMap::new(),
            round: Round::default(),
            joins: Vec::new(),
            queued: VecDeque::new(),
            parting: HashSet::new(),
            quits: HashMap::new(),
            published_us: 0,
            inbox,
            batch: Batch::default(),
            impossible: None,
        })
    }

    /// Microseconds from one of its ticks to the next.
    pub fn period_us(&self) -> u32 {
        1_000_000 / self.entry.tick_hz.max(1)
    }

    /// Whether somebody here has to do with it.
    pub fn in_use(&self) -> bool {
        let idle = self.sessions.is_empty() && self.joins.is_empty() && self.queued.is_empty();
        !idle || !self.batch.is_empty() || !self.parting.is_empty()
    }

    /// Whether the records waiting are as many as one front-end keeps for a zone.
    pub fn is_backed_up(&self) -> bool {
        self.batch.bytes() > ZONE_BACKLOG_BYTES
    }

    /// Whether another join may be told to the match before it has answered some.
    pub fn takes_join(&self) -> bool {
        self.joins.len() < JOINS_UNDER_WAY_MAX && !self.is_backed_up()
    }

    /// Whether no further join may wait: who has gone meanwhile stays in the queue until the match answers again.
    pub fn has_full_queue(&self) -> bool {
        self.queued.len() >= JOINS_QUEUED_MAX
    }

    /// Whether records wait.
    pub fn has_backlog(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Takes over what was queued in another link to the same zone.
    pub fn absorb(&mut self, other: &mut Self) {
        self.batch.absorb(&mut other.batch);
        self.joins.append(&mut other.joins);
        self.queued.append(&mut other.queued);
        self.quits.extend(other.quits.drain());
    }

    /// Forgets the joins that have come to nothing, of those whose clients have gone.
    pub fn forget_quits(&mut self) {
        if !self.quits.is_empty() {
            let joins = &self.joins;
            self.quits.retain(|_, id| joins.iter().any(|(joining, _)| joining == id));
        }
    }

    /// Tells the match of every session without a connection.
    pub fn detach_parting(&mut self) {
        let parting: Vec<(u64, u32)> = self.parting.iter().copied().collect();
        for (session, attachment) in parting {
            self.push_detach(session, attachment);
        }
    }

    /// Queues a record of a session.
    pub fn push(&mut self, kind: RecordKind, session: u64, attachment: u32, sequence: u32, payload: &[u8]) {
        let incarnation = self.entry.incarnation as u32;
        self.batch.push(RecordHeader { bytes: 0, kind: kind as u16, attachment, session, sequence, incarnation }, payload);
    }

    /// Queues that a session ends. This is never put off for want of room: it is one small record a session.
    pub fn push_leave(&mut self, session: u64, attachment: u32, why: Why) {
        self.push(RecordKind::Leave, session, attachment, 0, &why.to_u64().to_ne_bytes());
    }

    /// Queues that a session's connection was lost. As small, and as rare.
    pub fn push_detach(&mut self, session: u64, attachment: u32) {
        self.push(RecordKind::Detach, session, attachment, 0, &[]);
    }

    /// Appends what is queued, as far as the ring has room and nobody else holds its lock; the rest stays queued.
    pub fn flush(&mut self, memory: &Memory, world: &World, counts: &mut Counters) {
        if self.batch.is_empty() {
            return;
        }
        let Some(consumed) = world.consumed(self.slot, self.entry.incarnation) else {
            // The match is over, or has not begun. In the first case nobody reads these any more.
            if world.newest(self.slot).is_ok_and(|r| r.head.incarnation > self.entry.incarnation) {
                self.batch.consume(self.batch.len());
            }
            return;
        };
        let repairs = self.inbox.repairs(memory);
        let appended = self.inbox.append(memory, &self.batch, consumed);
        self.note_repair(memory, repairs);
        match appended {
            Ok(Appended::All(tail)) => {
                self.batch.consume(self.batch.len());
                if self.joins.iter().any(|(_, at)| at.is_none()) {
                    kill_point!("attach:appended");
                }
                self.joins.iter_mut().for_each(|(_, at)| *at = at.or(Some(tail)));
            }
            Ok(Appended::Part { records, tail }) => {
                self.batch.consume(records);
                counts.one(count::INBOX_FULL);
                if tail.saturating_sub(consumed) > self.inbox.capacity() {
                    self.mend(memory, world, tail);
                }
            }
            Ok(Appended::Busy) => counts.one(count::INBOX_BUSY),
            Err(error) => {
                if counts.0[count::INBOX_BROKEN] == 0 {
                    error!(zone = self.slot, "{error}");
                }
                counts.one(count::INBOX_BROKEN);
            }
        }
    }

    /// An append that found the lock of a dead holder has repaired it.
    fn note_repair(&self, memory: &Memory, before: u64) {
        let repairs = self.inbox.repairs(memory);
        if repairs != before {
            let zone = Some((self.slot, self.entry.incarnation));
            let text = "the lock of the match's inbox, whose holder had died";
            flight::note(FlightKind::Repair, Note { zone, a: repairs, text, ..Note::default() });
        }
    }

    /// A tail so far ahead is no honest one's, unless the zone has committed since it was asked: that is looked at under the lock, and
    /// only when no tick can be left that began before the tail was bent.
    fn mend(&mut self, memory: &Memory, world: &World, tail: u64) {
        let now = world.published(self.slot).sequence;
        match self.impossible {
            Some((seen, since)) if seen == tail && now >= since + ROOTS_BEFORE_MENDING => self.impossible = None,
            Some((seen, _)) if seen == tail => return,
            _ => {
                self.impossible = Some((tail, now));
                return;
            }
        }
        if let Ok(true) = self.inbox.mend(memory, || world.consumed(self.slot, self.entry.incarnation)) {
            error!(zone = self.slot, "the inbox had a tail that no front-end leaves: another one wrote garbage; it is mended");
        }
    }
}
