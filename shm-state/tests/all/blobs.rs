//! Blobs against a model that predicts every id and every refusal: commits, roll-backs, owners that die, mirrors, and a replay.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use ringfort_shm_state::blobs::{BlobError, BlobId, Blobs, BlobsAt, check};
use ringfort_shm_state::layout::RootHead;
use ringfort_shm_state::limits::{MAX_BLOB_BYTES, MIN_BLOB_SLOT, PAGE_BYTES, WINDOW};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::table::Tables;
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

/// Few ids, so that schedules meet a full id table, or many, so that they meet full pages.
const MAX_BLOBS: [u32; 2] = [9, 60];
const SPACE_PAGES: usize = 7;
const EXTENTS: usize = 64;
/// Cases when `PROPTEST_CASES` does not say another number.
const CASES: u32 = 48;

/// A blob's bytes, which follow from its length and a number.
#[derive(Clone, Copy, Debug)]
struct Content {
    len: usize,
    number: u8,
}

impl Content {
    fn bytes(self) -> Vec<u8> {
        (0..self.len).map(|i| self.number.wrapping_add(i as u8) | 1).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Content),
    Replace(BlobId, Content),
    Remove(BlobId),
    Commit,
    RollBack,
    Die,
    Refresh,
}

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    None,
    Inserted(Result<BlobId, BlobError>),
    Replaced(Result<(), BlobError>),
    Removed(bool),
}

/// The pages as sets: which slots each has taken, and the order in which the allocator turns to them.
#[derive(Clone, Debug, Default)]
struct Shelves {
    /// Slot size and taken slots; `None` while free.
    pages: Vec<Option<(usize, BTreeSet<usize>)>>,
    /// By slot size: pages with room, the one turned to first last.
    room: BTreeMap<usize, Vec<usize>>,
    free: Vec<usize>,
}

impl Shelves {
    fn take(&mut self, len: usize) -> Option<(usize, usize)> {
        let size = len.max(MIN_BLOB_SLOT).next_power_of_two();
        let page = match self.room.get(&size).and_then(|pages| pages.last()) {
            Some(page) => *page,
            None => {
                let page = self.free.pop().unwrap_or(self.pages.len());
                if page >= SPACE_PAGES {
                    return None;
                }
                self.pages.resize(self.pages.len().max(page + 1), None);
                self.pages[page] = Some((size, BTreeSet::new()));
                self.room.entry(size).or_default().push(page);
                page
            }
        };
        let taken = &mut self.pages[page].as_mut().expect("has a size").1;
        let slot = (0..).find(|slot| !taken.contains(slot)).expect("endless");
        taken.insert(slot);
        if taken.len() == PAGE_BYTES / size {
            self.room.get_mut(&size).expect("listed").retain(|p| *p != page);
        }
        Some((page, slot))
    }

    fn give(&mut self, (page, slot): (usize, usize)) {
        let (size, taken) = self.pages[page].as_mut().expect("has a size");
        let room = self.room.entry(*size).or_default();
        if taken.len() == PAGE_BYTES / *size {
            room.push(page);
        }
        assert!(taken.remove(&slot));
        if taken.is_empty() {
            room.retain(|p| *p != page);
            self.pages[page] = None;
            self.free.push(page);
        }
    }
}

#[derive(Clone, Debug)]
struct Space {
    max_blobs: u32,
    live: BTreeMap<BlobId, (Vec<u8>, (usize, usize))>,
    generations: Vec<u32>,
    free_ids: Vec<u32>,
    shelves: Shelves,
}

impl Space {
    fn new(max_blobs: u32) -> Self {
        let (live, generations, free_ids) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { max_blobs, live, generations, free_ids, shelves: Shelves::default() }
    }

    fn insert(&mut self, content: Content) -> Result<BlobId, BlobError> {
        let bytes = content.bytes();
        if content.len > MAX_BLOB_BYTES {
            return Err(BlobError::TooLong { bytes: content.len });
        }
        if self.live.len() == self.max_blobs as usize {
            return Err(BlobError::TooMany { blobs: self.max_blobs });
        }
        let full = BlobError::Full { bytes: content.len, pages: SPACE_PAGES as u32 };
        let place = self.shelves.take(content.len).ok_or(full)?;
        let index = self.free_ids.pop().unwrap_or(self.generations.len() as u32);
        self.generations.resize(self.generations.len().max(index as usize + 1), 0);
        self.generations[index as usize] += 1;
        let id = BlobId { index, generation: self.generations[index as usize] };
        self.live.insert(id, (bytes, place));
        Ok(id)
    }

    fn replace(&mut self, id: BlobId, content: Content) -> Result<(), BlobError> {
        if content.len > MAX_BLOB_BYTES {
            return Err(BlobError::TooLong { bytes: content.len });
        }
        let old = self.live.get(&id).ok_or(BlobError::Stale { id })?;
        let size = |len: usize| len.max(MIN_BLOB_SLOT).next_power_of_two();
        let mut place = old.1;
        if size(old.0.len()) != size(content.len) {
            let mut shelves = self.shelves.clone();
            shelves.give(place);
            let full = BlobError::Full { bytes: content.len, pages: SPACE_PAGES as u32 };
            place = shelves.take(content.len).ok_or(full)?;
            self.shelves = shelves;
        }
        self.live.insert(id, (content.bytes(), place));
        Ok(())
    }

    fn remove(&mut self, id: BlobId) -> bool {
        let Some((_, place)) = self.live.remove(&id) else { return false };
        self.shelves.give(place);
        self.free_ids.push(id.index);
        true
    }

    fn bytes(&self) -> u64 {
        self.live.values().map(|(bytes, _)| bytes.len() as u64).sum()
    }
}

#[derive(Clone, Debug)]
struct Model {
    now: Space,
    committed: Space,
    given: Vec<BlobId>,
    outcome: Outcome,
}

fn content() -> impl Strategy<Value = Content> {
    let edges: Vec<usize> = (4..=12).flat_map(|log| [(1 << log) - 1, 1 << log, (1 << log) + 1]).collect();
    let len = prop_oneof![4 => 0..=70usize, 4 => prop::sample::select(edges), 2 => 0..=MAX_BLOB_BYTES];
    (len, any::<u8>()).prop_map(|(len, number)| Content { len, number })
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let model = |max_blobs| {
            let space = Space::new(max_blobs);
            Self { now: space.clone(), committed: space, given: Vec::new(), outcome: Outcome::None }
        };
        prop::sample::select(&MAX_BLOBS[..]).prop_map(model).boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Step> {
        let anew = prop_oneof![
            8 => content().prop_map(Step::Insert),
            3 => Just(Step::Commit),
            1 => Just(Step::RollBack),
            1 => Just(Step::Die),
            1 => Just(Step::Refresh),
        ];
        if model.given.is_empty() {
            return anew.boxed();
        }
        let live: Vec<BlobId> = model.now.live.keys().copied().collect();
        let old = prop::sample::select(model.given.clone());
        let id = if live.is_empty() { old.boxed() } else { prop_oneof![8 => prop::sample::select(live), 1 => old].boxed() };
        prop_oneof![
            14 => anew,
            5 => (id.clone(), content()).prop_map(|(id, content)| Step::Replace(id, content)),
            5 => id.prop_map(Step::Remove),
        ]
        .boxed()
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        model.outcome = match step {
            Step::Insert(content) => {
                let inserted = model.now.insert(*content);
                model.given.extend(inserted);
                Outcome::Inserted(inserted)
            }
            Step::Replace(id, content) => Outcome::Replaced(model.now.replace(*id, *content)),
            Step::Remove(id) => Outcome::Removed(model.now.remove(*id)),
            Step::Commit => {
                model.committed = model.now.clone();
                Outcome::None
            }
            Step::RollBack | Step::Die => {
                model.now = model.committed.clone();
                Outcome::None
            }
            Step::Refresh => Outcome::None,
        };
        model
    }
}

/// A zone with a blob space, and its owner.
struct Zone {
    world: Rc<World>,
    pages: Rc<Pages>,
    blobs: Blobs,
    at: BlobsAt,
    logical_pages: u32,
    epoch: u16,
    tick: u32,
}

fn declare(max_blobs: u32) -> (Tables, BlobsAt) {
    let mut tables = Tables::default();
    tables.add(3, 8);
    let at = BlobsAt::declare(&mut tables, max_blobs, (SPACE_PAGES * PAGE_BYTES) as u32);
    tables.add(3, 8);
    (tables, at)
}

impl Zone {
    fn open(max_blobs: u32) -> Self {
        let (tables, at) = declare(max_blobs);
        let world = Rc::new(World::heap(EXTENTS));
        let pages = Rc::new(Pages::open(Rc::clone(&world), 0, 1, 1, tables.pages()).expect("a free slot"));
        // SAFETY: the only space at its place.
        let blobs = unsafe { Blobs::bind(&pages, at) };
        let mut zone = Self { world, pages, blobs, at, logical_pages: tables.pages(), epoch: 1, tick: 0 };
        zone.commit();
        zone
    }

    fn commit(&mut self) -> RootHead {
        self.tick += 1;
        // SAFETY: no reference into the space is alive.
        unsafe { self.pages.commit(RootHead { tick: self.tick, ..RootHead::new_zeroed() }) }.expect("room in the arena")
    }

    /// The owner dies with what it has not committed; another process declares the same tables and goes on.
    fn adopted(self) -> Self {
        let Self { world, pages, blobs, at, epoch, tick, .. } = self;
        drop((pages, blobs));
        let ((tables, at), epoch) = (declare(at.max_blobs()), epoch + 1);
        let adopted = Pages::adopt(Rc::clone(&world), 0, 1, epoch, tables.pages()).expect("granted");
        let pages = Rc::new(adopted.0);
        // SAFETY: the only space at its place, in pages of its own.
        let blobs = unsafe { Blobs::bind(&pages, at) };
        Self { world, pages, blobs, at, logical_pages: tables.pages(), epoch, tick }
    }

    fn run(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Insert(content) => Outcome::Inserted(self.blobs.insert(&content.bytes())),
            Step::Replace(id, content) => Outcome::Replaced(self.blobs.replace(*id, &content.bytes())),
            Step::Remove(id) => Outcome::Removed(self.blobs.remove(*id)),
            _ => Outcome::None,
        }
    }

    fn mirror(&self) -> Mirror {
        let mut mirror = Mirror::new(0);
        mirror.refresh(&self.world).expect("a root");
        mirror
    }
}

struct Machine {
    zone: Zone,
    /// Steps since the last commit.
    tick: Vec<Step>,
    /// Repeats each committed tick, and nothing of those thrown away.
    replay: Zone,
    /// Refreshed now and then.
    late: Mirror,
    /// What each tick committed.
    history: BTreeMap<u32, BTreeMap<BlobId, Vec<u8>>>,
}

fn check_mirror(at: &BlobsAt, mirror: &Mirror, model: &Model) {
    assert_eq!(check(at, mirror), []);
    assert_eq!(at.bytes_used(mirror), model.committed.bytes());
    let listed: Vec<_> = at.iter(mirror).map(|blob| blob.expect("whole")).collect();
    let expected: Vec<_> = model.committed.live.iter().map(|(id, (bytes, _))| (*id, &bytes[..])).collect();
    assert_eq!(listed, expected);
    for id in &model.given {
        let expected = model.committed.live.get(id).map(|(bytes, _)| &bytes[..]);
        assert_eq!(at.get(mirror, *id).expect("whole"), expected);
    }
}

impl Machine {
    /// The oldest and the newest tick of the window read back as they were committed, whatever this tick has changed.
    fn check_past(&self, given: &[BlobId]) {
        for (tick, blobs) in self.history.first_key_value().into_iter().chain(self.history.last_key_value()) {
            let past = self.zone.pages.at(*tick).expect("in the window");
            // SAFETY: the only blobs on the past pages, and as declared.
            let back_then = unsafe { Blobs::bind(&past, self.zone.blobs.at()) };
            for id in given {
                assert_eq!(back_then.get(*id), blobs.get(id).map(|bytes| &bytes[..]), "tick {tick}");
            }
        }
    }
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let open = || Zone::open(model.now.max_blobs);
        Self { zone: open(), tick: Vec::new(), replay: open(), late: Mirror::new(0), history: BTreeMap::new() }
    }

    fn apply(mut machine: Self, model: &Model, step: Step) -> Self {
        assert_eq!(machine.zone.run(&step), model.outcome);
        match step {
            Step::Commit => {
                let head = machine.zone.commit();
                for step in machine.tick.drain(..) {
                    machine.replay.run(&step);
                }
                assert_eq!(machine.replay.commit().state_hash, head.state_hash);
                let blobs = model.committed.live.iter().map(|(id, (bytes, _))| (*id, bytes.clone()));
                machine.history.insert(head.tick, blobs.collect());
                machine.history.retain(|tick, _| head.tick - tick < WINDOW as u32);
                let (mirror, replayed) = (machine.zone.mirror(), machine.replay.mirror());
                check_mirror(&machine.zone.at, &mirror, model);
                let differs = (0..machine.zone.logical_pages).find(|page| mirror.page(*page) != replayed.page(*page));
                assert_eq!(differs, None, "a replay gives the same pages");
            }
            Step::RollBack => {
                // SAFETY: no reference into the space is alive.
                unsafe { machine.zone.pages.roll_back() };
                machine.tick.clear();
            }
            Step::Die => {
                machine.zone = machine.zone.adopted();
                machine.tick.clear();
            }
            Step::Refresh => {
                machine.late.refresh(&machine.zone.world).expect("a root");
                check_mirror(&machine.zone.at, &machine.late, model);
            }
            step => machine.tick.push(step),
        }
        machine
    }

    fn check_invariants(machine: &Self, model: &Model) {
        let (blobs, now) = (&machine.zone.blobs, &model.now);
        assert_eq!((blobs.len() as usize, blobs.bytes_used()), (now.live.len(), now.bytes()));
        assert_eq!(blobs.pages_used() as usize, now.shelves.pages.iter().flatten().count());
        assert!(blobs.iter().eq(now.live.iter().map(|(id, (bytes, _))| (*id, &bytes[..]))));
        machine.check_past(&model.given);
        for id in &model.given {
            assert_eq!(blobs.get(*id), now.live.get(id).map(|(bytes, _)| &bytes[..]));
        }
    }

    fn teardown(mut machine: Self, model: Model) {
        let live: Vec<BlobId> = model.now.live.into_keys().collect();
        assert!(live.iter().all(|id| machine.zone.blobs.remove(*id)));
        machine.zone.commit();
        let mirror = machine.zone.mirror();
        assert_eq!(check(&machine.zone.at, &mirror), []);
        assert_eq!((machine.zone.blobs.len(), machine.zone.blobs.pages_used()), (0, 0), "nothing leaks");
    }
}

fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { CASES };
    ProptestConfig { cases, ..default }
}

prop_state_machine! {
    #![proptest_config(config())]
    #[test]
    fn blobs_follow_the_model_through_commits_roll_backs_and_take_overs(sequential 1..250 => Machine);
}
