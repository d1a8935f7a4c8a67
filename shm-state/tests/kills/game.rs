//! What a zone holds and how a tick changes it: a pure function of seed, match, tick and drained records, run by the sim on
//! shared pages and by the model on its own.

use std::rc::Rc;

use ringfort_shm_state::Plain;
use ringfort_shm_state::blobs::{BlobId, Blobs, BlobsAt};
use ringfort_shm_state::layout::{RecordHeader, RecordKind, RootHead};
use ringfort_shm_state::limits::PAGE_BYTES;
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::table::{Table, TableAt, Tables};
use zerocopy::FromZeros;

use crate::random::{Random, mix};

/// Tables of a zone, beside its blobs.
pub const TABLES: usize = 5;
/// One row that sums up all that ever happened in the match.
const SUM: usize = 0;
/// Small rows, some hundred of them changed in turn.
const SMALL: usize = 1;
/// Pages far apart of which few exist, so that the next table lies across two table pages.
const SPARSE: usize = 2;
/// A page a row: what grows and shrinks.
const BIG: usize = 3;
/// Two rows a blob: its id, and the number that its bytes follow from.
const LINKS: usize = 4;

const SMALL_ROWS: u32 = 3_000;
const SPARSE_ROWS: u32 = 225_000;
const SPARSE_USED: u32 = 6;
const BIG_ROWS: u32 = 96;
/// Blobs that a zone links to, more than it has room for.
pub const LINKED: u32 = 60;
const MAX_BLOBS: u32 = 50;
const MAX_BLOB_SPACE: u32 = 12 * PAGE_BYTES as u32;
/// Rows of [`SMALL`] that one tick may touch.
const NEIGHBOURHOOD: u64 = 120;

/// A seed with this bit gives all matches and all producers the same schedule, so that every life of a script takes the same
/// steps.
pub const SCRIPTED: u64 = 1 << 63;

/// The choices of a match or a producer.
pub fn choices(seed: u64, of: u64, stream: u64) -> Random {
    Random::new(seed, if seed & SCRIPTED == 0 { of } else { 0 }, stream)
}

/// A row whose bytes all follow from one number.
#[derive(Clone, Copy)]
pub struct Row<const N: usize>([u8; N]);

// SAFETY: bytes, without padding and pointers, and every pattern is valid.
unsafe impl<const N: usize> Plain for Row<N> {}

/// Fills a row: the number first, then what follows from it.
pub fn expand(value: u64, to: &mut [u8]) {
    let word = |i: usize| value.wrapping_add((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes();
    let (words, rest) = to.as_chunks_mut::<8>();
    words.iter_mut().enumerate().for_each(|(i, to)| *to = word(i));
    rest.copy_from_slice(&word(words.len())[..rest.len()]);
}

impl<const N: usize> Row<N> {
    fn new(value: u64) -> Self {
        let mut row = Self([0; N]);
        expand(value, &mut row.0);
        row
    }

    fn value(&self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("rows have at least eight bytes"))
    }
}

/// Where everything of a zone lies.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Its tables.
    pub tables: [TableAt; TABLES],
    /// Its blobs.
    pub blobs: BlobsAt,
    /// Logical pages.
    pub pages: u32,
}

impl Places {
    /// As every process of the run declares them.
    pub fn new() -> Self {
        let mut all = Tables::default();
        let tables = [(1, 64), (SMALL_ROWS, 24), (SPARSE_ROWS, 8), (BIG_ROWS, 4080), (2 * LINKED, 8)]
            .map(|(rows, size)| all.add(rows, size));
        let blobs = BlobsAt::declare(&mut all, MAX_BLOBS, MAX_BLOB_SPACE);
        Self { tables, blobs, pages: all.pages() }
    }
}

/// Changes a blob: begins one, replaces its bytes, or ends it when there is no value. Returns its id as a number; 0 without one.
pub fn change_blob(blobs: &mut Blobs, id: u64, value: Option<u64>) -> u64 {
    let known = BlobId { index: id as u32, generation: (id >> 32) as u32 };
    match value {
        None => assert!(blobs.remove(known), "the blob lived"),
        // A blob space that is full is left as it was.
        Some(value) if id == 0 => {
            return blobs.insert(&blob(value)).map_or(0, |new| u64::from(new.generation) << 32 | u64::from(new.index));
        }
        Some(value) => match blobs.replace(known, &blob(value)) {
            Ok(()) => return id,
            Err(_) => assert!(blobs.remove(known), "the blob lived"),
        },
    }
    0
}

/// The bytes of a blob.
pub fn blob(value: u64) -> Vec<u8> {
    let mut bytes = vec![0; (value % 5 * (value >> 8) % 1_500) as usize];
    expand(value, &mut bytes);
    bytes
}

/// Ids and values of the blobs that a zone links to.
pub fn links(rows: &impl Rows) -> impl Iterator<Item = (u64, u64)> {
    (0..LINKED).filter_map(|link| Some((rows.get(LINKS, 2 * link)?, rows.get(LINKS, 2 * link + 1)?)))
}

/// A zone's rows, in whatever memory.
pub trait Rows {
    /// The number of a present row.
    fn get(&self, table: usize, row: u32) -> Option<u64>;
    /// Puts a row in place.
    fn set(&mut self, table: usize, row: u32, value: u64);
    /// Takes a row out.
    fn remove(&mut self, table: usize, row: u32);
    /// See [`change_blob`].
    fn blob(&mut self, id: u64, value: Option<u64>) -> u64;
}

/// The rows of a zone in its pages.
pub struct SharedRows {
    sum: Table<Row<64>>,
    small: Table<Row<24>>,
    sparse: Table<Row<8>>,
    big: Table<Row<4080>>,
    links: Table<Row<8>>,
    blobs: Blobs,
}

impl SharedRows {
    /// The tables of pages that nobody else has bound.
    pub fn bind(pages: &Rc<Pages>) -> Self {
        let places = Places::new();
        let at = places.tables;
        // SAFETY: every place once, with the one row type that this program has for it; the caller has just opened or
        // adopted the pages.
        unsafe {
            Self {
                sum: Table::bind(pages, at[SUM]),
                small: Table::bind(pages, at[SMALL]),
                sparse: Table::bind(pages, at[SPARSE]),
                big: Table::bind(pages, at[BIG]),
                links: Table::bind(pages, at[LINKS]),
                blobs: Blobs::bind(pages, places.blobs),
            }
        }
    }
}

impl Rows for SharedRows {
    fn get(&self, table: usize, row: u32) -> Option<u64> {
        match table {
            SUM => self.sum.get(row).map(Row::value),
            SMALL => self.small.get(row).map(Row::value),
            SPARSE => self.sparse.get(row).map(Row::value),
            LINKS => self.links.get(row).map(Row::value),
            _ => self.big.get(row).map(Row::value),
        }
    }

    fn set(&mut self, table: usize, row: u32, value: u64) {
        assert!(match table {
            SUM => self.sum.insert(row, Row::new(value)),
            SMALL => self.small.insert(row, Row::new(value)),
            SPARSE => self.sparse.insert(row, Row::new(value)),
            LINKS => self.links.insert(row, Row::new(value)),
            _ => match self.big.get_mut(row) {
                Some(row) => {
                    expand(value, &mut row.0);
                    true
                }
                None => self.big.insert(row, Row::new(value)),
            },
        });
    }

    fn remove(&mut self, table: usize, row: u32) {
        match table {
            SUM => drop(self.sum.remove(row)),
            SMALL => drop(self.small.remove(row)),
            SPARSE => drop(self.sparse.remove(row)),
            LINKS => drop(self.links.remove(row)),
            _ => drop(self.big.remove(row)),
        }
    }

    fn blob(&mut self, id: u64, value: Option<u64>) -> u64 {
        change_blob(&mut self.blobs, id, value)
    }
}

/// A record as it was drained: who sent it, and which of the sender's it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The producer's process.
    pub producer: u64,
    /// Its number in the zone, from 0.
    pub sequence: u32,
}

/// What a tick follows from.
pub struct Tick<'r> {
    /// Of the run.
    pub seed: u64,
    /// The match.
    pub incarnation: u64,
    /// From 1.
    pub tick: u32,
    /// The arena has no room for a burst.
    pub lean: bool,
    /// What was drained for it.
    pub records: &'r [Sent],
}

/// Runs a tick.
pub fn step(rows: &mut impl Rows, is: &Tick) {
    let mut random = choices(is.seed, is.incarnation, is.tick.into());
    let corner = choices(is.seed, is.incarnation, u64::from(is.tick / 8) << 40).next() % (u64::from(SMALL_ROWS) - NEIGHBOURHOOD);
    let near = |n: u64| (corner + n % NEIGHBOURHOOD) as u32;
    let mut sum = mix(rows.get(SUM, 0).unwrap_or(is.incarnation), is.tick.into());
    for record in is.records {
        sum = mix(sum, mix(record.producer, record.sequence.into()));
        let value = rows.get(SMALL, near(sum)).unwrap_or(0);
        rows.set(SMALL, near(sum), mix(value, sum));
    }
    rows.set(SUM, 0, sum);
    for _ in 0..random.below(6) {
        match random.below(3) {
            0 => rows.remove(SMALL, near(random.next())),
            _ => rows.set(SMALL, near(random.next()), mix(sum, random.next())),
        }
    }
    if random.one_in(3) {
        let page = random.below(SPARSE_USED.into()) as u32;
        rows.set(SPARSE, page * (SPARSE_ROWS / SPARSE_USED) + random.below(16) as u32, random.next());
    }
    let row = random.below(BIG_ROWS.into()) as u32;
    match random.below(6) {
        0 => rows.remove(BIG, row),
        1 | 2 => rows.set(BIG, row, mix(sum, 1)),
        // Touched, and left as it was.
        3 => {
            if let Some(value) = rows.get(BIG, row) {
                rows.set(BIG, row, value);
            }
        }
        _ => {}
    }
    for _ in 0..random.below(3) {
        let link = 2 * random.below(LINKED.into()) as u32;
        let value = (!random.one_in(4)).then(|| random.next());
        change_link(rows, link, value);
    }
    if bursts(is) {
        (0..BIG_ROWS).for_each(|row| rows.set(BIG, row, mix(sum, row.into())));
    }
}

/// Changes the blob of a link, and the link.
fn change_link(rows: &mut impl Rows, link: u32, value: Option<u64>) {
    let id = rows.get(LINKS, link).unwrap_or(0);
    if id == 0 && value.is_none() {
        return;
    }
    match (rows.blob(id, value), value) {
        (0, _) | (_, None) => {
            rows.remove(LINKS, link);
            rows.remove(LINKS, link + 1);
        }
        (id, Some(value)) => {
            rows.set(LINKS, link, id);
            rows.set(LINKS, link + 1, value);
        }
    }
}

/// Now and then two ticks in a row touch many pages, so that the zone takes extents and later gives some back.
fn bursts(is: &Tick) -> bool {
    !is.lean && (is.tick / 2 == 4 || choices(is.seed, is.incarnation, u64::from(is.tick / 2) << 32).one_in(30))
}

/// The tick after which a match ends.
pub fn last_tick(seed: u64, incarnation: u64) -> u32 {
    60 + choices(seed, incarnation, u64::MAX).below(400) as u32
}

/// The head that is committed with a tick.
pub fn head(tick: u32, net_cursor: u64) -> RootHead {
    RootHead {
        tick,
        net_cursor,
        sys_cursor: mix(tick.into(), 1),
        mail_cursor: mix(tick.into(), 2),
        sessions: tick ^ 3,
        entities: tick ^ 4,
        due_us: mix(tick.into(), 5),
        ..RootHead::new_zeroed()
    }
}

/// The header and payload of a producer's record.
pub fn record(zone: usize, sent: Sent) -> (RecordHeader, Vec<u8>) {
    let number = mix(mix(sent.producer, zone as u64), sent.sequence.into());
    let mut payload = vec![0; (number % 140) as usize];
    expand(number, &mut payload);
    let header = RecordHeader {
        bytes: payload.len() as u16,
        kind: RecordKind::Input as u16,
        attachment: (number >> 32) as u32,
        session: sent.producer,
        sequence: sent.sequence,
        incarnation: number as u32,
    };
    (header, payload)
}
