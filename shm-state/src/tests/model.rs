//! Two zones in one small arena against a model: random ticks, commits, roll-backs, deaths, take-overs and ends.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::limits::{EXTENT_PAGES, WINDOW};
use crate::mirror::Mirror;
use crate::pages::CommitError;

const LOGICAL_PAGES: u32 = 1030;
/// The pages that the schedule writes: the edges of all three table pages.
const WRITTEN: [u32; 10] = [0, 1, 2, 3, 511, 512, 513, 1023, 1024, 1029];
const EXTENTS: usize = 20;

#[derive(Clone, Debug)]
enum Step {
    /// Words of pages, by position in [`WRITTEN`].
    Write(Vec<(usize, usize, u64)>),
    Commit,
    RollBack,
    /// The owner dies without a word, in the middle of its tick if there is one; a successor takes over.
    Die,
    /// The match ends; another begins in the slot.
    End,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let word = (0..WRITTEN.len(), 0..PAGE_WORDS, 0..3u64);
    let step = prop_oneof![
        8 => prop::collection::vec(word, 1..12).prop_map(Step::Write),
        12 => Just(Step::Commit),
        1 => Just(Step::RollBack),
        1 => Just(Step::Die),
        1 => prop::bool::weighted(0.3).prop_map(|end| if end { Step::End } else { Step::Commit }),
    ];
    (0..2usize, step)
}

/// One zone: its owner, and what the model says of it.
struct Zone {
    slot: usize,
    incarnation: u64,
    epoch: u16,
    tick: u32,
    pages: Option<Pages>,
    now: State,
    committed: State,
    /// Committed states by sequence, of this match.
    history: BTreeMap<u64, State>,
    mirror: Mirror,
}

impl Zone {
    fn open(world: &Rc<World>, slot: usize) -> Self {
        let incarnation = slot as u64 + 1;
        let pages = Pages::open(Rc::clone(world), slot, incarnation, 1, LOGICAL_PAGES).expect("a free slot");
        Self {
            slot,
            incarnation,
            epoch: 1,
            tick: 0,
            pages: Some(pages),
            now: State::new(),
            committed: State::new(),
            history: BTreeMap::new(),
            mirror: Mirror::new(slot),
        }
    }

    fn pages(&self) -> &Pages {
        self.pages.as_ref().expect("an owner")
    }

    fn apply(&mut self, world: &Rc<World>, step: &Step) {
        match step {
            Step::Write(words) => words.iter().for_each(|(page, word, value)| self.write(WRITTEN[*page], *word, *value)),
            Step::Commit => self.commit(world),
            Step::RollBack => {
                // SAFETY: no reference into pages.
                unsafe { self.pages().roll_back() };
                self.now = self.committed.clone();
            }
            Step::Die => self.die(world),
            Step::End => self.end(world),
        }
        self.check_owner();
    }

    fn write(&mut self, logical: u32, word: usize, value: u64) {
        set(self.pages(), logical, word, value);
        if value == 0 {
            self.now.remove(&(logical, word));
        } else {
            self.now.insert((logical, word), value);
        }
    }

    fn commit(&mut self, world: &World) {
        self.tick += 1;
        let before = world.published(self.slot).sequence;
        // SAFETY: no reference into pages.
        match unsafe { self.pages().commit(head(self.tick)) } {
            Ok(head) => {
                assert_eq!(head.sequence, before + 1);
                self.committed = self.now.clone();
                self.history.insert(head.sequence, self.committed.clone());
                self.history.retain(|sequence, _| head.sequence - sequence < WINDOW);
                self.check_readers(world);
            }
            Err(CommitError::ArenaFull { .. }) => {
                assert_eq!(world.extents_used(), EXTENTS, "full means full");
                self.now = self.committed.clone();
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn die(&mut self, world: &Rc<World>) {
        self.pages = None;
        self.epoch += 1;
        self.now = self.committed.clone();
        let (world, newest) = (Rc::clone(world), world.published(self.slot).sequence);
        self.pages = Some(if self.history.is_empty() {
            self.incarnation += 2;
            Pages::open(world, self.slot, self.incarnation, self.epoch, LOGICAL_PAGES).expect("granted")
        } else {
            let adopted = Pages::adopt(world, self.slot, self.incarnation, self.epoch, LOGICAL_PAGES);
            let (pages, head) = adopted.expect("granted");
            assert_eq!((head.sequence, head.tick), (newest, head.tick));
            pages
        });
    }

    fn end(&mut self, world: &Rc<World>) {
        let others = world.extents_used() - self.pages().extents();
        end(self.pages());
        assert_eq!(world.extents_used(), others, "every extent came back");
        self.history.clear();
        (self.now, self.committed) = (State::new(), State::new());
        self.incarnation += 2;
        self.epoch += 1;
        let pages = Pages::open(Rc::clone(world), self.slot, self.incarnation, self.epoch, LOGICAL_PAGES);
        self.pages = Some(pages.expect("a free slot"));
    }

    fn check_owner(&self) {
        for logical in WRITTEN {
            assert_page(&get(self.pages(), logical), &self.now, logical);
        }
    }

    /// A mirror shows the commit, and the oldest, a middle and the newest root of the window read back as they were committed.
    fn check_readers(&mut self, world: &World) {
        self.mirror.refresh(world).expect("a readable root");
        for logical in WRITTEN {
            assert_page(self.mirror.page(logical), &self.committed, logical);
        }
        let middle = self.history.len() / 2;
        for (i, (sequence, state)) in self.history.iter().enumerate() {
            if [0, middle, self.history.len() - 1].contains(&i) {
                assert_eq!(&state_of(world, self.slot, *sequence), state, "root {sequence}");
            }
        }
    }

    /// After a window of quiet commits only what the newest root names is in use.
    fn check_leaks(&mut self, world: &World) {
        // SAFETY: no reference into pages.
        unsafe { self.pages().roll_back() };
        self.now = self.committed.clone();
        (0..=WINDOW).for_each(|_| self.commit(world));
        let newest = world.newest(self.slot).expect("a root");
        let mut named = 0;
        for table in newest.tables.iter().filter(|t| t.is_some()) {
            let mut words: Page = [0; PAGE_WORDS];
            assert!(world.copy_page(*table, &mut words));
            named += 1 + words.iter().filter(|w| **w != 0).count();
        }
        assert_eq!(newest.head.pages_used as usize, named);
        assert!(self.pages().extents() * EXTENT_PAGES >= named);
    }
}

fn assert_page(page: &Page, state: &State, logical: u32) {
    let mut expected: Page = [0; PAGE_WORDS];
    state.range((logical, 0)..(logical + 1, 0)).for_each(|((_, word), value)| expected[*word] = *value);
    assert!(page == &expected, "page {logical} differs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn zones_follow_the_model(steps in prop::collection::vec(step(), 40..160)) {
        let world = world(EXTENTS);
        let mut zones = [Zone::open(&world, 0), Zone::open(&world, 1)];
        for (zone, step) in &steps {
            zones[*zone].apply(&world, step);
            let listed: Vec<_> = zones.iter().map(|z| listed(z.slot, z.incarnation)).collect();
            let found = crate::fsck::check(&world, &listed);
            prop_assert_eq!(&found.problems, &Vec::new());
        }
        zones.iter_mut().for_each(|zone| zone.check_leaks(&world));
        for zone in &zones {
            end(zone.pages());
        }
        prop_assert_eq!(world.extents_used(), 0);
    }
}
