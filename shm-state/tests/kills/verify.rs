//! What must hold whenever the processes rest: whatever they were killed at.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use ringfort_shm_state::blobs::{self, BlobId};
use ringfort_shm_state::fsck;
use ringfort_shm_state::inbox::{Appended, Batch};
use ringfort_shm_state::layout::{RootHead, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::{PAGE_WORDS, WINDOW};
use ringfort_shm_state::memory::Page;
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::Access;
use ringfort_shm_state::world::{Published, World};
use zerocopy::FromZeros;

use crate::game::{self, Sent};
use crate::instance::{Attached, Instance};
use crate::model::{Model, Root};
use crate::process::Violation;
use crate::shared::{Notes, ZONES};
use crate::sim;
use crate::walk::Arena;

/// A producer that was killed: what it had tried and what it was told, by zone.
struct Gone {
    id: u64,
    attempted: [u64; ZONES],
    told: [u64; ZONES],
}

/// What was seen of a zone.
struct Seen {
    model: Model,
    mirror: Mirror,
    /// Shows some earlier root of the window.
    past: Mirror,
    published: Published,
    tail: u64,
}

/// Checks an instance, time and again.
pub struct Verifier {
    attached: Attached,
    notes: &'static Notes,
    zones: Vec<Seen>,
    gone: Vec<Gone>,
    checks: u64,
    /// Records appended by producers that are gone.
    appended: u64,
}

macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

impl Verifier {
    /// For an instance in which nothing has happened yet.
    pub fn new(instance: &Instance, seed: u64) -> Self {
        let zone = |slot| Seen {
            model: Model::new(seed),
            mirror: Mirror::new(slot),
            past: Mirror::new(slot),
            published: Published { epoch: 0, sequence: 0 },
            tail: 0,
        };
        Self {
            attached: instance.attach(Access::ReadOnly, Access::ReadWrite),
            notes: instance.notes,
            zones: (0..ZONES).map(zone).collect(),
            gone: Vec::new(),
            checks: 0,
            appended: 0,
        }
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.attached.world
    }

    /// A zone's model.
    pub fn model(&self, zone: usize) -> &Model {
        &self.zones[zone].model
    }

    /// Whether everything that was committed to a zone's inbox is consumed.
    pub fn is_drained(&self, zone: usize) -> bool {
        self.zones[zone].model.cursor() == self.attached.inbox(zone).tail(self.attached.memory())
    }

    /// An epoch later than every one that a zone has, or is to be handed over with.
    pub fn next_grant(&self) -> u16 {
        let published = (0..ZONES).map(|zone| self.attached.world.published(zone).epoch);
        let announced = self.notes.zones.iter().map(|zone| zone.next_epoch.load(Ordering::Acquire));
        let announced = announced.filter(|announced| *announced != 0).map(|announced| announced as u16);
        let later = |a: u16, b: u16| if b.wrapping_sub(a) <= u16::MAX / 2 { b } else { a };
        published.chain(announced).reduce(later).expect("there are zones").wrapping_add(1)
    }

    /// Records that were appended so far.
    pub fn appended(&self) -> u64 {
        let told = |producer: &crate::shared::Producer| producer.told.iter().map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
        self.appended + self.notes.producers.iter().map(told).sum::<u64>()
    }

    /// Repairs of locks so far.
    pub fn repairs(&self) -> u64 {
        (0..ZONES).map(|zone| self.attached.inbox(zone).repairs(self.attached.memory())).sum()
    }

    /// A producer was killed. Another may be started in its place with another id.
    pub fn producer_died(&mut self, slot: usize) {
        let of = &self.notes.producers[slot];
        let words = |of: &[std::sync::atomic::AtomicU64; ZONES]| std::array::from_fn(|zone| of[zone].swap(0, Ordering::Relaxed));
        let gone = Gone { id: of.id.swap(0, Ordering::Relaxed), attempted: words(&of.attempted), told: words(&of.told) };
        self.appended += gone.told.iter().sum::<u64>();
        self.gone.push(gone);
    }

    /// Takes the lock of a zone's inbox as the next producer would, and gives it back. Tells whether its holder had died.
    pub fn probe_lock(&self, zone: usize) -> Result<bool, Violation> {
        let (inbox, memory) = (self.attached.inbox(zone), self.attached.memory());
        let before = inbox.repairs(memory);
        let appended = inbox.append(memory, &Batch::default(), inbox.tail(memory)).map_err(|e| e.to_string())?;
        ensure!(appended == Appended::All(inbox.tail(memory)), "the lock of inbox {zone} cannot be had: {appended:?}");
        Ok(inbox.repairs(memory) > before)
    }

    /// Whether a stopped process holds the lock of a zone's inbox. A holder that died is repaired.
    pub fn lock_is_held(&self, zone: usize) -> Result<bool, Violation> {
        let (inbox, memory) = (self.attached.inbox(zone), self.attached.memory());
        let appended = inbox.append(memory, &Batch::default(), inbox.tail(memory)).map_err(|e| e.to_string())?;
        Ok(appended == Appended::Busy)
    }

    /// Everything that must hold while no process writes.
    pub fn check(&mut self) -> Result<(), Violation> {
        self.checks += 1;
        let listed: Vec<(usize, ZoneEntry)> = (0..ZONES).map(|slot| (slot, self.listed(slot))).collect();
        let report = fsck::check(&self.attached.world, &listed);
        ensure!(report.problems.is_empty(), "fsck: {:?}", report.problems);
        for zone in 0..ZONES {
            self.check_zone(zone).map_err(|e| format!("zone {zone}: {e}"))?;
            self.check_records(zone).map_err(|e| format!("inbox {zone}: {e}"))?;
        }
        self.gone.retain(|gone| {
            let consumed = |zone: usize| self.zones[zone].model.consumed.get(&gone.id).copied().unwrap_or(0);
            let appended =
                |zone: usize| gone.told[zone] > consumed(zone) || self.zones[zone].model.cursor() < self.zones[zone].tail;
            (0..ZONES).any(appended)
        });
        Ok(())
    }

    fn listed(&self, slot: usize) -> ZoneEntry {
        let incarnation = self.notes.zones[slot].incarnation.load(Ordering::Acquire);
        ZoneEntry { incarnation, state: ZoneState::Open as u32, ..ZoneEntry::new_zeroed() }
    }

    fn check_zone(&mut self, zone: usize) -> Result<(), Violation> {
        let world = &self.attached.world;
        let seen = &mut self.zones[zone];
        let now = world.published(zone);
        let forward = now.epoch.wrapping_sub(seen.published.epoch) <= u16::MAX / 2;
        ensure!(forward && now.sequence >= seen.published.sequence, "went back from {:?} to {now:?}", seen.published);
        seen.published = now;
        seen.model.follow(&self.notes.zones[zone], now.sequence)?;
        self.notes.zones[zone].verified.store(now.sequence, Ordering::Release);
        if now.sequence == 0 {
            return Ok(());
        }
        check_window(world, &Arena::new(world), zone, &seen.model)?;
        seen.mirror.refresh(world).map_err(|e| e.to_string())?;
        check_mirror(&seen.mirror, seen.model.newest(), self.checks.is_multiple_of(16))?;
        check_blobs(&seen.mirror, &seen.model)?;
        let back = (self.checks % WINDOW) as usize;
        // The roots that end a match are of its last tick, too.
        let ended_at = seen.model.newest().filter(|root| root.ended).map(|root| root.tick);
        let then = seen.model.roots.iter().nth_back(back).filter(|root| !root.ended && Some(root.tick) != ended_at);
        if let Some(then) = then {
            seen.past.refresh_at(world, then.tick).map_err(|e| format!("tick {}: {e}", then.tick))?;
            check_mirror(&seen.past, Some(then), false)?;
        }
        check_attempt(world, zone, &seen.model)
    }

    /// What producers were told is consumed, or lies between cursor and tail; nothing else does.
    fn check_records(&mut self, zone: usize) -> Result<(), Violation> {
        let (inbox, memory) = (self.attached.inbox(zone), self.attached.memory());
        let seen = &mut self.zones[zone];
        let (mut cursor, tail) = (seen.model.cursor(), inbox.tail(memory));
        ensure!(tail >= seen.tail && tail.is_multiple_of(8), "the tail went from {} to {tail}", seen.tail);
        seen.tail = tail;
        let mut present: HashMap<u64, u64> = HashMap::new();
        let of = |id: u64| seen.model.consumed.get(&id).copied().unwrap_or(0);
        loop {
            let at = cursor;
            let Some(record) = inbox.next(memory, &mut cursor, tail).map_err(|e| e.to_string())? else { break };
            let sent = Sent { producer: record.header.session, sequence: record.header.sequence };
            let (header, payload) = game::record(zone, sent);
            ensure!(record.header == header && record.payload() == payload, "the record at {at} is not what {sent:?} appended");
            let next = present.entry(sent.producer).or_insert_with(|| of(sent.producer));
            ensure!(u64::from(sent.sequence) == *next, "the record at {at} is {sent:?}, the producer's next is {next}");
            *next += 1;
        }
        let get = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Acquire);
        let alive = self.notes.producers.iter().map(|p| (get(&p.id), get(&p.told[zone]), get(&p.attempted[zone])));
        let gone = self.gone.iter().map(|gone| (gone.id, gone.told[zone], gone.attempted[zone]));
        let known: Vec<(u64, u64, u64)> = alive.chain(gone).filter(|(id, ..)| *id != 0).collect();
        for (id, told, attempted) in &known {
            let there = present.remove(id).unwrap_or_else(|| of(*id));
            ensure!(
                (*told..=*attempted).contains(&there),
                "{there} records of producer {id} are committed; it was told {told} of {attempted}"
            );
        }
        ensure!(present.is_empty(), "records of producers that were never started: {present:?}");
        Ok(())
    }
}

/// Every root that is still readable is what was committed, page by page.
fn check_window(world: &World, arena: &Arena, zone: usize, model: &Model) -> Result<(), Violation> {
    // Which expected page an arena page was found to hold.
    let mut held: HashMap<u32, &Rc<Page>> = HashMap::new();
    let (mut handles, mut page): (_, Page) = (Vec::new(), [0; PAGE_WORDS]);
    for expected in model.roots.iter().rev().take(WINDOW as usize) {
        let sequence = expected.sequence;
        let root = world.root(zone, sequence).map_err(|e| e.to_string())?;
        check_head(&root.head, model, expected)?;
        arena.handles(&root, &mut handles);
        let missing = (expected.pages.len()..handles.len()).find(|logical| handles[*logical].is_some());
        ensure!(missing.is_none(), "root {sequence} names a page at {missing:?}, beyond the zone's tables");
        for (logical, expected) in expected.pages.iter().enumerate() {
            let handle = handles.get(logical).copied().unwrap_or_default();
            let Some(expected) = expected else {
                ensure!(!handle.is_some(), "root {sequence} has page {logical}, which was never written");
                continue;
            };
            ensure!(handle.is_some() && handle.birth() <= sequence, "root {sequence} names {handle:?} as page {logical}");
            if held.get(&handle.index()).is_some_and(|held| Rc::ptr_eq(held, expected)) {
                continue;
            }
            arena.page(handle.index(), &mut page);
            ensure!(page == **expected, "page {logical} of root {sequence} is not what was committed");
            held.insert(handle.index(), expected);
        }
    }
    Ok(())
}

fn check_head(head: &RootHead, model: &Model, expected: &Root) -> Result<(), Violation> {
    let same = |head: &RootHead| RootHead { checksum: 0, state_hash: 0, pages_used: 0, ..*head };
    let want = model.head(expected);
    ensure!(same(head) == same(&want), "root {} is {head:?}, not {want:?}", expected.sequence);
    if let Some(used) = model.pages_used(expected) {
        let found = head.pages_used;
        ensure!(found as usize == used, "root {} counts {found} pages as used, it should be {used}", expected.sequence);
    }
    Ok(())
}

/// A mirror that was just refreshed shows a root.
fn check_mirror(mirror: &Mirror, root: Option<&Root>, whole: bool) -> Result<(), Violation> {
    let root = root.ok_or("a published root that the model does not know")?;
    let sequence = root.sequence;
    let head = mirror.head().filter(|head| head.sequence == sequence).ok_or(format!("the mirror is not at root {sequence}"))?;
    let zeros = [0; PAGE_WORDS];
    let same = |logical: u32| {
        let expected = root.pages.get(logical as usize).and_then(|p| p.as_deref()).unwrap_or(&zeros);
        mirror.page(logical) == expected
    };
    let all = if whole { root.pages.len() as u32 } else { 0 };
    let wrong = (0..all).chain(mirror.changes().iter().map(|c| c.logical)).find(|logical| !same(*logical));
    ensure!(wrong.is_none(), "the mirror's page {wrong:?} is not that of root {sequence}");
    ensure!(!whole || mirror.state_hash() == head.state_hash, "the state hash of root {sequence} is not that of its content");
    Ok(())
}

/// The blobs that the newest root links to, and no others, have the bytes that they were given.
fn check_blobs(mirror: &Mirror, model: &Model) -> Result<(), Violation> {
    let Some(newest) = model.newest().filter(|root| !root.ended) else { return Ok(()) };
    let at = model.blobs_at();
    let problems = blobs::check(&at, mirror);
    ensure!(problems.is_empty(), "blobs: {problems:?}");
    let links = model.links(newest);
    for (id, value) in &links {
        let id = BlobId { index: *id as u32, generation: (*id >> 32) as u32 };
        let bytes = at.get(mirror, id).map_err(|e| e.to_string())?;
        ensure!(bytes == Some(&game::blob(*value)), "blob {id} is not what it was given");
    }
    let living = at.iter(mirror).count();
    ensure!(living == links.len(), "{living} blobs live, {} are linked to", links.len());
    Ok(())
}

/// The attempt is whole, and is that of the newest tick or the next; the first tick of a match follows any.
fn check_attempt(world: &World, zone: usize, model: &Model) -> Result<(), Violation> {
    let (Some(attempt), Some(newest)) = (world.attempt(zone), model.newest()) else { return Ok(()) };
    if sim::is_withdrawn(&attempt) {
        return Ok(());
    }
    let whole = attempt == sim::attempt(attempt.tick, attempt.net_cursor);
    ensure!(whole, "the attempt is torn: {attempt:?}");
    let fits = attempt.tick == newest.tick || attempt.tick == newest.tick + 1 || (newest.ended && attempt.tick == 1);
    ensure!(fits && attempt.net_cursor >= newest.cursor, "the attempt {attempt:?} does not belong to tick {}", newest.tick);
    Ok(())
}
