//! The outbox of a zone: requests to the world outside that wait for their answers. Engine tables like the others, so that a request is
//! made, answered and given up by a commit.
//!
//! **Invariant**: a row names a body that lives, and no two rows the same, so the outbox's blobs are its rows'.

use std::collections::BTreeSet;

use ringfort_protocol::{SessionId, TickNo};
use ringfort_shm_state::blobs::{BlobId, Blobs, BlobsAt};
use ringfort_shm_state::layout::{AskKind, AskRow, OutboxMeta};
use ringfort_shm_state::limits::{ASK_BODY_BYTES, ASK_TOPIC_BYTES, PAGE_BYTES};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::{padded, unpadded};
use ringfort_shm_state::sheet::Rows;
use ringfort_shm_state::table::{Table, TableAt, Tables};
use zerocopy::FromZeros;

use super::outside::{AskError, AskId, RESULT_TOPIC};
use crate::limits::{ASK_BYTES_PER_ROW, ASKS_MAX, ASKS_MIN, ASKS_PER_PLAYER, RESULTS_MAX};

/// Where a zone's outbox lies.
#[derive(Clone, Copy, Debug)]
pub struct OutboxAt {
    /// One [`OutboxMeta`].
    pub meta: TableAt,
    /// [`AskRow`]s, a request's at its number modulo the length or the next free one after that.
    pub rows: TableAt,
    /// The bodies.
    pub bodies: BlobsAt,
}

impl OutboxAt {
    /// Sets the outbox of a match of so many players aside.
    pub(crate) fn declare(tables: &mut Tables, capacity: u32) -> Self {
        let rows = (capacity * ASKS_PER_PLAYER).clamp(ASKS_MIN, ASKS_MAX) + RESULTS_MAX;
        Self {
            meta: tables.add(1, size_of::<OutboxMeta>()),
            rows: tables.add(rows, size_of::<AskRow>()),
            bodies: BlobsAt::declare(tables, rows, rows * ASK_BYTES_PER_ROW + RESULTS_MAX * PAGE_BYTES as u32),
        }
    }

    /// The logical pages that a reader of the outbox needs.
    pub fn pages(&self) -> Vec<std::ops::Range<u32>> {
        vec![self.meta.logical_pages(), self.rows.logical_pages(), self.bodies.logical_pages()]
    }

    /// The requests of a mirrored commit, the oldest first. One whose body cannot be read has none.
    pub fn read(&self, mirror: &Mirror) -> Vec<Ask> {
        let mut asks: Vec<Ask> = mirror.iter::<AskRow>(self.rows).filter_map(|(_, row)| self.ask(mirror, &row)).collect();
        asks.sort_by_key(|ask| ask.number);
        asks
    }

    /// What of a mirrored commit is wrong, for `fsck`: requests that it counts, requests with a body of their own, and bodies, unless all
    /// are the same.
    pub fn check(&self, mirror: &Mirror) -> Option<(u32, u32, u32)> {
        let meta = mirror.get(&self.meta, 0).unwrap_or(OutboxMeta::new_zeroed());
        let rows: Vec<AskRow> = mirror.iter(self.rows).map(|(_, row)| row).collect();
        let whole = |row: &&AskRow| {
            let known = AskKind::from_u32(row.kind).is_some() && (1..=meta.last).contains(&row.number);
            known && matches!(self.bodies.get(mirror, body_of(row)), Ok(Some(_)))
        };
        let bodies: BTreeSet<BlobId> = rows.iter().filter(whole).map(body_of).collect();
        let results = rows.iter().filter(|row| row.kind == AskKind::Result as u32).count();
        let all = self.bodies.iter(mirror).count();
        let right = [rows.len(), bodies.len(), all] == [meta.pending as usize; 3] && results == meta.results as usize;
        (!right).then_some((meta.pending, bodies.len() as u32, all as u32))
    }

    fn ask(&self, mirror: &Mirror, row: &AskRow) -> Option<Ask> {
        let body = self.bodies.get(mirror, body_of(row)).ok().flatten().unwrap_or_default();
        Some(Ask {
            number: row.number,
            kind: AskKind::from_u32(row.kind)?,
            session: row.session,
            topic: unpadded(&row.topic),
            name: unpadded(&row.name),
            body: String::from_utf8_lossy(body).into_owned(),
        })
    }
}

/// A request as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its number in the match.
    pub number: u64,
    /// What it waits for.
    pub kind: AskKind,
    /// The session that it is about, 0 for none.
    pub session: u64,
    /// Its topic.
    pub topic: String,
    /// The name of the session's player.
    pub name: String,
    /// Its body.
    pub body: String,
}

/// What the configuration says of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskRules {
    /// Ticks after which a request is given up; `None` when nobody would hear it.
    pub timeout_ticks: Option<u32>,
}

/// The outbox in the one process that owns the zone.
pub(crate) struct Outbox {
    rules: AskRules,
    meta: Table<OutboxMeta>,
    rows: Table<AskRow>,
    bodies: Blobs,
    /// Rows of this tick whose players' names are to be noted.
    nameless: Vec<u32>,
    /// Requests refused since the last look.
    pub(crate) refused: u64,
}

impl Outbox {
    /// The outbox at a place. Until it is told otherwise nobody hears its requests.
    ///
    /// # Safety
    /// No other may exist for the same place of the same pages, and the place was declared by [`OutboxAt::declare`] among the tables
    /// of these pages.
    pub(crate) unsafe fn bind(pages: &impl Rows, at: &OutboxAt) -> Self {
        // SAFETY: the tables and the space are the outbox's own and it is the only one, which wrote their rows as these types: our
        // contract. Any bit pattern is a value of them.
        let (meta, rows, bodies) =
            unsafe { (Table::bind(pages, at.meta), Table::bind(pages, at.rows), Blobs::bind(pages, at.bodies)) };
        Self { rules: AskRules { timeout_ticks: None }, meta, rows, bodies, nameless: Vec::new(), refused: 0 }
    }

    /// What holds for requests from now on.
    pub(crate) fn set_rules(&mut self, rules: AskRules) {
        self.rules = rules;
    }

    /// The counters of this tick.
    pub(crate) fn meta(&self) -> OutboxMeta {
        self.meta.get(0).copied().unwrap_or(OutboxMeta::new_zeroed())
    }

    pub(crate) fn ask(&mut self, now: TickNo, topic: &str, about: Option<SessionId>, body: &str) -> Result<AskId, AskError> {
        let asked = self.try_ask(now, topic, about, body);
        self.refused += u64::from(asked.is_err());
        asked
    }

    fn try_ask(&mut self, now: TickNo, topic: &str, about: Option<SessionId>, body: &str) -> Result<AskId, AskError> {
        if topic.is_empty() || topic.len() > ASK_TOPIC_BYTES || topic == RESULT_TOPIC {
            return Err(AskError::Topic);
        }
        let OutboxMeta { pending, results, .. } = self.meta();
        if pending - results >= self.rows.at().rows - RESULTS_MAX {
            return Err(AskError::Full { pending });
        }
        let (kind, ticks) = match self.rules.timeout_ticks {
            Some(ticks) => (AskKind::Question, ticks),
            None => (AskKind::Unheard, 1),
        };
        let session = about.map_or(0, |session| session.0);
        let row = AskRow { session, deadline: (now + ticks.max(1)).0, topic: padded(topic), ..blank(kind, now) };
        self.put(row, body)
    }

    pub(crate) fn result(&mut self, now: TickNo, body: &str) -> Result<AskId, AskError> {
        let OutboxMeta { pending, results, .. } = self.meta();
        let row = AskRow { topic: padded(RESULT_TOPIC), ..blank(AskKind::Result, now) };
        let put = if results < RESULTS_MAX { self.put(row, body) } else { Err(AskError::Full { pending }) };
        self.refused += u64::from(put.is_err());
        put
    }

    /// Requests leave as many free pages of bodies as there may be results, each of which takes one at most.
    fn put(&mut self, row: AskRow, body: &str) -> Result<AskId, AskError> {
        if body.len() > ASK_BODY_BYTES {
            return Err(AskError::TooLong { bytes: body.len() });
        }
        let mut meta = self.meta();
        let full = AskError::Full { pending: meta.pending };
        let is_result = row.kind == AskKind::Result as u32;
        let blob = self.bodies.insert(body.as_bytes()).map_err(|_| full)?;
        if !is_result && self.bodies.pages_used() + RESULTS_MAX > self.bodies.at().max_pages() {
            self.bodies.remove(blob);
            return Err(full);
        }
        meta.last += 1;
        meta.pending += 1;
        meta.results += u32::from(is_result);
        let at = self.place(meta.last).filter(|at| self.rows.get(*at).is_none());
        let at = at.expect("fewer requests are counted than there are rows");
        let (blob_index, blob_generation) = (blob.index, blob.generation);
        self.rows.insert(at, AskRow { number: meta.last, blob_index, blob_generation, ..row });
        self.meta.insert(0, meta);
        self.nameless.push(at);
        Ok(AskId(meta.last))
    }

    /// Where a request is or, if it is nowhere, the first free row from its own on; `None` when it is nowhere and no row is free.
    fn place(&self, number: u64) -> Option<u32> {
        let rows = self.rows.at().rows;
        let first = (number % u64::from(rows)) as u32;
        let mut free = None;
        for at in (first..rows).chain(0..first) {
            match self.rows.get(at) {
                Some(row) if row.number == number => return Some(at),
                None if free.is_none() => free = Some(at),
                _ => {}
            }
        }
        free
    }

    /// The end of a request that waits.
    pub(crate) fn take(&mut self, number: u64) -> Option<AskRow> {
        self.take_if(number, |_| true)
    }

    /// The end of a request that waits and is as wanted.
    pub(crate) fn take_if(&mut self, number: u64, wanted: impl Fn(&AskRow) -> bool) -> Option<AskRow> {
        let at = self.place(number)?;
        let row = self.rows.get(at).copied().filter(|row| wanted(row))?;
        self.rows.remove(at);
        self.bodies.remove(body_of(&row));
        let mut meta = self.meta();
        meta.pending = meta.pending.saturating_sub(1);
        meta.results = meta.results.saturating_sub(u32::from(row.kind == AskKind::Result as u32));
        self.meta.insert(0, meta);
        Some(row)
    }

    /// Numbers of the requests that are given up at a tick, the oldest first.
    pub(crate) fn due(&self, now: TickNo) -> Vec<u64> {
        self.numbers(|row| row.deadline != 0 && row.deadline <= now.0)
    }

    /// Drops every request but the results. Returns how many there were.
    pub(crate) fn drop_questions(&mut self) -> u64 {
        let numbers = self.numbers(|row| row.kind != AskKind::Result as u32);
        numbers.iter().filter(|number| self.take(**number).is_some()).count() as u64
    }

    fn numbers(&self, wanted: impl Fn(&AskRow) -> bool) -> Vec<u64> {
        if self.meta().pending == 0 {
            return Vec::new();
        }
        let mut numbers: Vec<u64> = self.rows.iter().filter(|(_, row)| wanted(row)).map(|(_, row)| row.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Notes the names of the players that this tick's requests are about: they may have left when the hook reads them.
    pub(crate) fn note_names(&mut self, name_of: impl Fn(u64) -> Option<[u8; ringfort_shm_state::limits::PLAYER_NAME_BYTES]>) {
        for at in self.nameless.drain(..) {
            if let Some(row) = self.rows.get_mut(at) {
                row.name = name_of(row.session).unwrap_or(row.name);
            }
        }
    }

    /// A body without a request, for tests of `fsck`.
    #[cfg(test)]
    pub(crate) fn leak(&mut self) {
        self.bodies.insert(b"nobody's").expect("room");
    }

    /// After a tick that was rolled back.
    pub(crate) fn reload(&mut self) {
        self.nameless.clear();
    }
}

fn blank(kind: AskKind, now: TickNo) -> AskRow {
    AskRow { kind: kind as u32, tick: now.0, ..AskRow::new_zeroed() }
}

/// The blob of a request's body.
pub(crate) fn body_of(row: &AskRow) -> BlobId {
    BlobId { index: row.blob_index, generation: row.blob_generation }
}
