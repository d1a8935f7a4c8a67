//! A zone beside its model: its owner, an older one that was taken for dead, and what each root of the window must say.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use crate::hash::page_hash;
use crate::layout::RootFlags;
use crate::limits::{MAX_TABLES, WINDOW};
use crate::pages::{AdoptError, CommitError};
use crate::sheet::Rows as _;
use crate::tree::Tree;
use crate::world::{PageHandle, Published, Root, RootError};

/// How many pages a zone has, and which of them deeds write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) logical_pages: u32,
    pub(super) written: [u32; 10],
}

/// A zone whose root names its table pages: the edges of all three.
pub(super) const SMALL: Shape = Shape { logical_pages: 1030, written: [0, 1, 2, 3, 511, 512, 513, 1023, 1024, 1029] };
const BEYOND: u32 = (MAX_TABLES * PAGE_WORDS) as u32;
/// A zone whose root names a directory page: the edges of table pages below it.
pub(super) const LARGE: Shape = Shape {
    logical_pages: BEYOND + 5_000,
    written: [0, 1, 2, 511, 512, BEYOND - 1, BEYOND, BEYOND + 1, BEYOND + 4_998, BEYOND + 4_999],
};
/// Pages that deeds write.
pub(super) const WRITTEN: usize = SMALL.written.len();
/// The oldest epoch that a published word refuses lies so far back.
const EPOCHS_BACK: u16 = 1 << 15;

/// What may happen to a zone.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Values into words of pages, by position in [`Shape::written`].
    Write(Vec<(usize, usize, u64)>),
    Commit,
    /// So many ticks at once, each of which changes one or two pages.
    Run(u64),
    RollBack,
    /// The owner dies and a successor takes over, possibly with the next descriptor written but not published. With `lives_on`
    /// it was only taken for dead.
    Die {
        descriptor: bool,
        lives_on: bool,
    },
    /// Who was taken for dead wants to publish.
    Zombie,
    /// Somebody comes with a grant older than the owner's.
    StaleGrant,
    End,
    /// The owner ends the match and dies after so many roots of that.
    DieEnding {
        roots: u64,
        next: Next,
    },
    /// The match cannot be stepped and is ended by a process that is granted the zone for that.
    Abandon,
}

/// Who finishes an ending.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Opens,
    Adopts,
    Finishes,
}

pub(super) fn deed() -> impl Strategy<Value = Deed> {
    // Mostly the same few words, so that pages become again what they were.
    let word = (0..WRITTEN, prop_oneof![3 => 0..2usize, 1 => 0..PAGE_WORDS], 0..3u64);
    let next = prop_oneof![Just(Next::Opens), Just(Next::Adopts), Just(Next::Finishes)];
    prop_oneof![
        60 => prop::collection::vec(word, 1..12).prop_map(Deed::Write),
        50 => Just(Deed::Commit),
        10 => (1..2 * WINDOW).prop_map(Deed::Run),
        8 => Just(Deed::RollBack),
        6 => any::<(bool, bool)>().prop_map(|(descriptor, lives_on)| Deed::Die { descriptor, lives_on }),
        6 => Just(Deed::Zombie),
        3 => Just(Deed::StaleGrant),
        2 => Just(Deed::End),
        2 => (1..=WINDOW, next).prop_map(|(roots, next)| Deed::DieEnding { roots, next }),
        1 => Just(Deed::Abandon),
    ]
}

/// What one root must say.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    pub(super) incarnation: u64,
    pub(super) ended: bool,
    pub(super) first_sequence: u64,
    pub(super) tick: u32,
    pub(super) state: Rc<State>,
    /// The root in which each page changed last; pages of zeros are not in it.
    pub(super) births: Rc<BTreeMap<u32, u64>>,
}

pub(super) struct Zone {
    pub(super) slot: usize,
    pub(super) incarnation: u64,
    pub(super) shape: Shape,
    world: Rc<World>,
    pub(super) pages: Option<Pages>,
    zombie: Option<Pages>,
    epoch: u16,
    tick: u32,
    first_sequence: u64,
    now: State,
    /// Whether the arena was full at any write of this tick.
    was_full: bool,
    /// Every root that was ever published in the slot: the last of them is the newest.
    pub(super) roots: BTreeMap<u64, Committed>,
}

impl Zone {
    /// A slot whose last grant had this epoch.
    pub(super) fn new(world: &Rc<World>, slot: usize, epoch: u16, shape: Shape) -> Self {
        let untouched = world.published(slot);
        world.publish(slot, untouched, Published { epoch, ..untouched }).expect("one writer");
        Self {
            slot,
            incarnation: slot as u64,
            shape,
            world: Rc::clone(world),
            pages: None,
            zombie: None,
            epoch,
            tick: 0,
            first_sequence: 1,
            now: State::new(),
            was_full: false,
            roots: BTreeMap::new(),
        }
    }

    /// Sequence of the newest root, 0 when there is none.
    pub(super) fn newest(&self) -> u64 {
        self.roots.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }

    /// The newest root, of whatever match.
    fn last(&self) -> Committed {
        self.roots.last_key_value().map(|(_, committed)| committed.clone()).unwrap_or_default()
    }

    /// What the running match has committed.
    fn committed(&self) -> Committed {
        Some(self.last()).filter(|last| last.incarnation == self.incarnation).unwrap_or_default()
    }

    fn owner(&self) -> &Pages {
        self.pages.as_ref().expect("an owner")
    }

    fn granted(&mut self) -> u16 {
        self.epoch = self.epoch.wrapping_add(1);
        self.epoch
    }

    pub(super) fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Zombie => return self.zombie_publishes(),
            Deed::StaleGrant => return self.stale_grant(),
            _ if self.pages.is_none() => self.open(),
            _ => {}
        }
        match deed {
            Deed::Write(words) => {
                words.iter().for_each(|(page, word, value)| self.write(self.shape.written[*page], *word, *value))
            }
            Deed::Commit => self.commit(),
            Deed::Run(ticks) => (0..*ticks).for_each(|tick| self.tick(tick)),
            Deed::RollBack => self.roll_back(),
            Deed::Die { descriptor, lives_on } => self.die(*descriptor, *lives_on),
            Deed::End => self.end(),
            Deed::DieEnding { roots, next } => self.die_ending(*roots, *next),
            Deed::Abandon => self.abandon(),
            Deed::Zombie | Deed::StaleGrant => unreachable!("done above"),
        }
    }

    /// Opens the slot's next match.
    fn open(&mut self) {
        self.incarnation += 2;
        let epoch = self.granted();
        let pages = Pages::open(Rc::clone(&self.world), self.slot, self.incarnation, epoch, self.shape.logical_pages);
        self.pages = Some(pages.expect("a free slot"));
        self.first_sequence = self.newest() + 1;
        self.now = State::new();
    }

    fn write(&mut self, logical: u32, word: usize, value: u64) {
        set(self.owner(), logical, word, value);
        self.was_full |= self.world.extents_used() == self.world.extents();
        if value == 0 {
            self.now.remove(&(logical, word));
        } else {
            self.now.insert((logical, word), value);
        }
    }

    fn tick(&mut self, tick: u64) {
        for page in [tick as usize % 3, tick as usize % WRITTEN] {
            self.write(self.shape.written[page], page, u64::from(self.tick));
        }
        self.commit();
    }

    pub(super) fn commit(&mut self) {
        self.tick += 1;
        let sequence = self.newest() + 1;
        // SAFETY: no reference into pages.
        match unsafe { self.owner().commit(head(self.tick)) } {
            Ok(head) => {
                assert_eq!((head.sequence, head.incarnation), (sequence, self.incarnation));
                assert_eq!(head.first_sequence, self.first_sequence);
                let before = self.committed();
                let mut births = (*before.births).clone();
                for logical in self.shape.written.into_iter().filter(|p| !of_page(&before.state, *p).eq(of_page(&self.now, *p))) {
                    births.insert(logical, sequence);
                    if of_page(&self.now, logical).next().is_none() {
                        // A page of zeros is no page.
                        births.remove(&logical);
                    }
                }
                let hashes = self.shape.written.map(|logical| page_hash(logical, &page_of(&self.now, logical)));
                assert_eq!(head.state_hash, hashes.into_iter().fold(0, u64::wrapping_add), "the hash is of the content alone");
                self.publish(Committed {
                    incarnation: self.incarnation,
                    ended: false,
                    first_sequence: self.first_sequence,
                    tick: self.tick,
                    state: Rc::new(self.now.clone()),
                    births: Rc::new(births),
                });
            }
            Err(CommitError::ArenaFull { extents }) => {
                assert!(self.was_full || extents == self.world.extents(), "full means full, now or when the tick wrote");
                self.now = (*self.committed().state).clone();
            }
            Err(error) => panic!("{error}"),
        }
        self.was_full = false;
    }

    fn publish(&mut self, committed: Committed) {
        self.roots.insert(self.newest() + 1, committed);
    }

    /// The roots without pages that push all others out of the window.
    fn vacated(&mut self, last: Committed, roots: u64) {
        let ended = Committed { ended: true, state: Rc::default(), births: Rc::default(), ..last };
        (0..roots).for_each(|_| self.publish(ended.clone()));
    }

    /// What an ending says of the match.
    fn ending(&self) -> Committed {
        Committed { incarnation: self.incarnation, first_sequence: self.first_sequence, ..Committed::default() }
    }

    /// What clearing up after a dead owner publishes.
    fn cleared_out(&mut self, extents: usize) {
        if extents > 0 && self.newest() > 0 {
            self.vacated(self.last(), WINDOW);
        }
    }

    pub(super) fn roll_back(&mut self) {
        // SAFETY: no reference into pages.
        unsafe { self.owner().roll_back() };
        self.now = (*self.committed().state).clone();
        self.was_full = false;
    }

    fn die(&mut self, descriptor: bool, lives_on: bool) {
        let (slot, newest) = (self.slot, self.newest());
        if let Some(mut root) = Some(descriptor).filter(|d| *d).and_then(|_| self.world.newest(slot).ok()) {
            root.head = RootHead { sequence: newest + 1, tick: u32::MAX, ..root.head };
            self.world.write_root(slot, &mut root);
        }
        let dead = self.pages.take().expect("an owner");
        let extents = dead.extents();
        self.was_full = false;
        self.zombie = lives_on.then_some(dead).or(self.zombie.take());
        let epoch = self.granted();
        let adopted = Pages::adopt(Rc::clone(&self.world), slot, self.incarnation, epoch, self.shape.logical_pages);
        let committed = self.last();
        if committed.incarnation == self.incarnation {
            let (pages, found) = adopted.expect("granted");
            assert_eq!((found.sequence, found.tick, found.first_sequence), (newest, committed.tick, self.first_sequence));
            self.now = (*committed.state).clone();
            self.pages = Some(pages);
            return;
        }
        let expected = if newest == 0 {
            AdoptError::Root(RootError::Nothing { zone: slot })
        } else {
            AdoptError::OtherMatch { zone: slot, found: committed.incarnation, wanted: self.incarnation }
        };
        assert_eq!(adopted.map(drop), Err(expected), "a match without a commit is lost with its owner");
        self.cleared_out(extents);
        self.open();
    }

    fn zombie_publishes(&mut self) {
        let Some(zombie) = &self.zombie else { return };
        let fenced = Err(CommitError::Fenced { zone: self.slot, epoch: self.epoch });
        let used = self.world.extents_used();
        // SAFETY: no reference into pages.
        unsafe {
            assert_eq!(zombie.commit(head(u32::MAX)), fenced);
            assert_eq!(zombie.end(head(u32::MAX)), fenced);
        }
        assert_eq!(self.world.extents_used(), used);
    }

    fn stale_grant(&mut self) {
        let before = self.world.published(self.slot);
        for granted in [self.epoch.wrapping_sub(1), self.epoch.wrapping_sub(EPOCHS_BACK)] {
            let fenced = AdoptError::Fenced { zone: self.slot, epoch: self.epoch, granted };
            let world = || Rc::clone(&self.world);
            assert_eq!(
                Pages::adopt(world(), self.slot, self.incarnation, granted, self.shape.logical_pages).map(drop),
                Err(fenced)
            );
            assert_eq!(
                Pages::open(world(), self.slot, self.incarnation + 2, granted, self.shape.logical_pages).map(drop),
                Err(fenced)
            );
            assert_eq!(self.world.abandon(self.slot, granted), Err(fenced));
        }
        assert_eq!(self.world.published(self.slot), before);
    }

    /// The match is over: nothing of it is left in the arena, or in the window.
    fn closed(&mut self) {
        self.pages = None;
        self.now = State::new();
        assert_eq!(self.world.extents_of(self.slot).count(), 0, "every extent came back");
    }

    pub(super) fn end(&mut self) {
        end(self.owner());
        self.vacated(self.ending(), WINDOW);
        self.closed();
    }

    fn die_ending(&mut self, roots: u64, next: Next) {
        let extents = self.pages.take().expect("an owner").extents();
        for _ in 0..roots {
            self.publish_end();
            self.vacated(self.ending(), 1);
            self.check_window();
        }
        assert_eq!(self.world.extents_of(self.slot).count(), extents, "nothing goes back before the last root");
        match next {
            Next::Opens => {
                self.cleared_out(extents);
                self.open();
                assert_eq!(self.world.extents_of(self.slot).count(), 0, "the next match begins with nothing");
                return;
            }
            Next::Adopts => {
                let epoch = self.granted();
                let adopted = Pages::adopt(Rc::clone(&self.world), self.slot, self.incarnation, epoch, self.shape.logical_pages);
                assert_eq!(adopted.map(drop), Err(AdoptError::Ended { zone: self.slot, incarnation: self.incarnation }));
            }
            Next::Finishes => {
                assert!(!self.world.finish_ended(self.slot, self.incarnation + 2));
                assert!(self.world.finish_ended(self.slot, self.incarnation));
            }
        }
        self.cleared_out(extents);
        self.closed();
        assert!(self.world.finish_ended(self.slot, self.incarnation), "there is nothing left to do");
    }

    /// Publishes one root of an ending, as the owner does.
    fn publish_end(&self) {
        let from = self.world.published(self.slot);
        let (sequence, incarnation) = (from.sequence + 1, self.incarnation);
        let logical_pages = self.shape.logical_pages;
        let ended = RootHead {
            flags: RootFlags::ENDED,
            sequence,
            incarnation,
            first_sequence: self.first_sequence,
            logical_pages,
            tables: Tree::new(logical_pages as usize).roots() as u32,
            ..head(0)
        };
        self.world.write_root(self.slot, &mut Root { head: ended, tables: [PageHandle::NONE; MAX_TABLES] });
        self.world.publish(self.slot, from, Published { sequence, ..from }).expect("one writer");
    }

    fn abandon(&mut self) {
        let extents = self.pages.take().expect("an owner").extents();
        let epoch = self.granted();
        assert_eq!(self.world.abandon(self.slot, epoch), Ok(()));
        self.cleared_out(extents);
        self.closed();
    }

    /// The owner reads what it wrote.
    pub(super) fn check_owner(&self) {
        let Some(pages) = &self.pages else { return };
        for logical in self.shape.written {
            assert!(get(pages, logical) == page_of(&self.now, logical), "page {logical} is not what its owner wrote");
        }
    }

    /// A root is readable for exactly [`WINDOW`] publications; the oldest, the newest and one between say what was committed.
    pub(super) fn check_window(&self) {
        let (world, slot, newest) = (&self.world, self.slot, self.newest());
        assert_eq!(world.published(slot), Published { epoch: self.epoch, sequence: newest });
        let oldest = newest.saturating_sub(WINDOW - 1).max(1);
        let left = self.roots.get(&(oldest - 1)).filter(|c| c.incarnation == self.incarnation && !c.ended);
        let readable = |left: &Committed| self.pages.as_ref().is_some_and(|pages| pages.at(left.tick).is_some());
        assert!(!left.is_some_and(readable), "the owner does not read what has left either");
        assert!(oldest == 1 || !world.in_window(slot, oldest - 1), "root {} has left the window", oldest - 1);
        let between = oldest + newest * 7 % (newest + 1 - oldest.min(newest));
        for sequence in [oldest, between, newest] {
            let Some(committed) = self.roots.get(&sequence) else { continue };
            let found = world.root(slot, sequence).expect("a root of the window").head;
            assert_eq!((found.incarnation, found.flags == RootFlags::ENDED), (committed.incarnation, committed.ended));
            assert_eq!(&state_of(world, slot, sequence), &*committed.state, "root {sequence}, the newest is {newest}");
            self.check_past(committed);
        }
    }

    /// The owner reads the ticks of its match that are in the window in place.
    fn check_past(&self, committed: &Committed) {
        let Some(pages) = self.pages.as_ref().filter(|_| committed.incarnation == self.incarnation && !committed.ended) else {
            return;
        };
        let past = pages.at(committed.tick).expect("a tick of the window");
        assert_eq!(past.head().map(|head| head.tick), Some(committed.tick));
        for logical in self.shape.written {
            let mut page: Page = [0; PAGE_WORDS];
            // SAFETY: `read` gives a page of PAGE_BYTES that nobody writes while its root is in the window.
            unsafe { std::ptr::copy_nonoverlapping(past.sheet().read(logical), page.as_mut_ptr().cast::<u8>(), PAGE_BYTES) };
            assert!(page == page_of(&committed.state, logical), "page {logical} at tick {}", committed.tick);
        }
    }

    /// The sequence that [`World::root_at`] finds, and what that root says.
    pub(super) fn root_at(&self, tick: u32) -> Option<(u64, Committed)> {
        let oldest = self.newest().saturating_sub(WINDOW - 1).max(self.last().first_sequence);
        let (sequence, found) =
            self.roots.range(oldest..).rev().find(|(_, committed)| !committed.ended && committed.tick <= tick)?;
        (found.tick == tick).then(|| (*sequence, found.clone()))
    }
}

fn of_page(state: &State, logical: u32) -> impl Iterator<Item = (&(u32, usize), &u64)> {
    state.range((logical, 0)..=(logical, usize::MAX))
}

/// The words of a page.
pub(super) fn page_of(state: &State, logical: u32) -> Page {
    let mut page = [0; PAGE_WORDS];
    of_page(state, logical).for_each(|((_, word), value)| page[*word] = *value);
    page
}
