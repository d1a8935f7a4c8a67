//! A zone's pages as its owner sees them: committed pages that are only read, private copies made on the first write, and the
//! commit that turns the copies into the next root.
//!
//! Which pages are free is private to the owner's process and never in shared memory: it is rebuilt by marking from the roots
//! ([`Pages::adopt`]), so no two counters have to agree after a crash. A page that a commit replaced is used again only after
//! the last root that names it has left the window.

mod draft;

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::layout::{AttemptEntry, RootFlags, RootHead};
use crate::past::{self, PastPages};
use crate::sheet::{Behind, Rows, Sheet, zeros};
use crate::world::{PageHandle, Published, RootError, World};
use crate::writer::Writer;
pub use draft::{Differing, Draft};
use zerocopy::FromZeros;

/// The pages of one zone, for the one process that owns it.
pub struct Pages {
    world: Rc<World>,
    zone: usize,
    sheet: Rc<Sheet>,
    /// Earlier ticks that somebody may look at; each commit closes them.
    pasts: RefCell<Vec<Weak<Sheet>>>,
}

impl Rows for Rc<Pages> {
    fn sheet(&self) -> &Rc<Sheet> {
        &self.sheet
    }
}

/// A commit was not published; the world is still the one before the tick.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum CommitError {
    /// The tick needs more pages than the arena has.
    #[error("the arena is full ({extents} extents in use): the tick is put off; end matches or raise arena_mib in ringfort.toml")]
    ArenaFull {
        /// Extents in use.
        extents: usize,
    },
    /// Another process was granted the zone.
    #[error("zone slot {zone} belongs to epoch {epoch} now: this process is fenced off")]
    Fenced {
        /// The slot.
        zone: usize,
        /// The epoch in the published word.
        epoch: u16,
    },
}

/// A zone could not be taken over.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum AdoptError {
    /// It has no readable root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Somebody else was granted it.
    #[error("zone slot {zone} belongs to epoch {epoch}, this process was granted {granted}: not taken")]
    Fenced {
        /// The slot.
        zone: usize,
        /// The epoch in the published word.
        epoch: u16,
        /// Our epoch.
        granted: u16,
    },
    /// The published word has a sequence that no zone lives to reach. Going on from there would run into the epoch beside it.
    #[error(
        "zone slot {zone} has published sequence {sequence}, which no match reaches: its control block is damaged; restart the instance with --fresh"
    )]
    Sequence {
        /// The slot.
        zone: usize,
        /// The sequence in the published word.
        sequence: u64,
    },
    /// The root is another match's.
    #[error("zone slot {zone} holds match {found}, not {wanted}: nothing to take over")]
    OtherMatch {
        /// The slot.
        zone: usize,
        /// The match in the root.
        found: u64,
        /// The match that was granted.
        wanted: u64,
    },
    /// A table names pages that are not the zone's.
    #[error("root {sequence} of zone slot {zone} names page {page}, which is not the zone's: run `ringfort fsck`")]
    Dangling {
        /// The slot.
        zone: usize,
        /// The root's sequence.
        sequence: u64,
        /// The page's index.
        page: u32,
    },
    /// Two places of the root name the same page, or it names one that was born after it: writing one place would change another.
    #[error("root {sequence} of zone slot {zone} names page {page} twice, or before its birth: run `ringfort fsck`")]
    Unsound {
        /// The slot.
        zone: usize,
        /// The root's sequence.
        sequence: u64,
        /// The page's index.
        page: u32,
    },
    /// Its last owner died while it ended the match; that is done now, and the zone's memory is back in the arena.
    #[error("match {incarnation} of zone slot {zone} has ended: nothing to take over")]
    Ended {
        /// The slot.
        zone: usize,
        /// The match.
        incarnation: u64,
    },
    /// The zone's tables are not those of this binary's game.
    #[error("zone slot {zone} has {found} logical pages, this game lays out {expected}: it was made by another build")]
    OtherTables {
        /// The slot.
        zone: usize,
        /// In the root.
        found: u32,
        /// In this binary.
        expected: u32,
    },
}

impl Pages {
    fn empty(world: Rc<World>, zone: usize, incarnation: u64, logical_pages: u32, published: Published) -> Self {
        let writer = Box::new(RefCell::new(Writer::new(zone, incarnation, logical_pages, published)));
        let behind = Behind::Zone { world: Rc::clone(&world), writer };
        let sheet = Rc::new(Sheet::new(logical_pages, zeros(), behind));
        Self { world, zone, sheet, pasts: RefCell::default() }
    }

    /// Opens a new match in a zone slot. What an earlier match or an earlier process left behind there is ended and given back
    /// first.
    pub fn open(world: Rc<World>, zone: usize, incarnation: u64, epoch: u16, logical_pages: u32) -> Result<Self, AdoptError> {
        let published = world.claim(zone, epoch)?;
        let published = world.clear_out(zone, published)?;
        Ok(Self::empty(world, zone, incarnation, logical_pages, published))
    }

    /// Takes a zone over from its last root: claims the epoch, marks what the window's roots name, and finds all else free.
    pub fn adopt(
        world: Rc<World>,
        zone: usize,
        incarnation: u64,
        epoch: u16,
        logical_pages: u32,
    ) -> Result<(Self, RootHead), AdoptError> {
        let published = world.claim(zone, epoch)?;
        let newest = world.root(zone, published.sequence)?;
        if newest.head.incarnation != incarnation {
            return Err(AdoptError::OtherMatch { zone, found: newest.head.incarnation, wanted: incarnation });
        }
        if newest.head.flags & RootFlags::ENDED != 0 {
            world.clear_out(zone, published)?;
            return Err(AdoptError::Ended { zone, incarnation });
        }
        if newest.head.logical_pages != logical_pages {
            return Err(AdoptError::OtherTables { zone, found: newest.head.logical_pages, expected: logical_pages });
        }
        let pages = Self::empty(world, zone, incarnation, logical_pages, published);
        let head = newest.head;
        {
            let mut writer = pages.writer().borrow_mut();
            writer.mark(&pages.world, zone, &newest)?;
            for (slot, handle) in pages.sheet.slots.iter().zip(writer.handles()) {
                slot.at.set(pages.place(*handle));
            }
        }
        crate::kill_point!("adopt:marked");
        Ok((pages, head))
    }

    #[cfg(test)]
    pub(crate) fn read(&self, logical: u32) -> *const u8 {
        self.sheet.read(logical)
    }

    #[cfg(test)]
    pub(crate) fn write(&self, logical: u32) -> *mut u8 {
        self.sheet.write(logical)
    }

    fn writer(&self) -> &RefCell<Writer> {
        match &self.sheet.behind {
            Behind::Zone { writer, .. } => writer,
            Behind::Past(_) | Behind::Heap(_) => unreachable!("made by `empty`"),
        }
    }

    /// Where a committed page lies.
    fn place(&self, handle: PageHandle) -> *mut u8 {
        if handle.is_some() { self.world.page_ptr(handle.index()) } else { zeros() }
    }

    /// Throws the tick away: every page is the committed one again.
    ///
    /// # Safety
    /// No reference into a table of this zone may be alive.
    pub unsafe fn roll_back(&self) {
        let mut writer = self.writer().borrow_mut();
        let writer = &mut *writer;
        for (logical, page) in writer.touched.drain(..) {
            self.sheet.settle(logical).at.set(self.place(writer.levels[0][logical as usize]));
            // Of a process that was fenced off no page is free: they are its successor's.
            if let Some(index) = page.filter(|_| !writer.fenced) {
                writer.free.put(index);
            }
        }
        writer.overflow.clear();
    }

    /// Publishes the tick: touched pages that differ from their predecessors become part of the next root. `head` brings tick,
    /// cursors, counts and times; the rest is filled in here. On [`CommitError::ArenaFull`] the tick is rolled back and may be
    /// tried again. After [`CommitError::Fenced`] nothing of the world is this process's any more: what is written from then on
    /// goes to memory of its own, and no commit succeeds.
    ///
    /// # Safety
    /// No reference into a table of this zone, as it is or as it was, may be alive.
    pub unsafe fn commit(&self, head: RootHead) -> Result<RootHead, CommitError> {
        // SAFETY: passed on to our caller.
        unsafe { self.commit_after(head, || ()) }
    }

    /// As [`Pages::commit`], with something that happens when all is built and nothing is published: a test's.
    ///
    /// # Safety
    /// As [`Pages::commit`].
    pub(crate) unsafe fn commit_after(&self, head: RootHead, meanwhile: impl FnOnce()) -> Result<RootHead, CommitError> {
        // SAFETY: passed on to our caller.
        unsafe { self.check_fence()? };
        let built = self.writer().borrow_mut().build(&self.world, &self.sheet.slots);
        let Some(retired) = built else {
            let extents = self.world.extents_used();
            // SAFETY: passed on to our caller.
            unsafe { self.roll_back() };
            // What this tick took in vain may be what another zone needs.
            self.writer().borrow_mut().free.shrink(&self.world);
            return Err(CommitError::ArenaFull { extents });
        };
        meanwhile();
        let mut writer = self.writer().borrow_mut();
        let head = RootHead { logical_pages: self.sheet.slots.len() as u32, ..head };
        let head = match writer.publish(&self.world, self.zone, head) {
            Ok(head) => head,
            Err(fenced) => {
                drop(writer);
                // SAFETY: passed on to our caller.
                unsafe { self.fence_off() };
                return Err(fenced);
            }
        };
        for (logical, _) in writer.touched.drain(..) {
            self.sheet.settle(logical);
        }
        self.close_pasts();
        writer.retired.push_back((head.sequence, retired));
        writer.reclaim(&self.world, head.sequence);
        crate::kill_point!("commit:reclaimed");
        Ok(head)
    }

    /// Ends the match: a last root without pages, out of every reader's window, and all extents back in the arena.
    ///
    /// # Safety
    /// No reference into a table of this zone, as it is or as it was, may be alive; the tables must not be used again.
    pub unsafe fn end(&self, head: RootHead) -> Result<RootHead, CommitError> {
        // SAFETY: passed on to our caller.
        unsafe {
            self.roll_back();
            self.check_fence()?;
        }
        let mut writer = self.writer().borrow_mut();
        let logical_pages = self.sheet.slots.len() as u32;
        let head = RootHead { incarnation: writer.incarnation, first_sequence: writer.first_sequence, logical_pages, ..head };
        let (published, head) = match self.world.leave(self.zone, writer.published, head) {
            Ok(left) => left,
            Err(now) => {
                drop(writer);
                // SAFETY: passed on to our caller.
                unsafe { self.fence_off() };
                return Err(CommitError::Fenced { zone: self.zone, epoch: now.epoch });
            }
        };
        for slot in &self.sheet.slots {
            slot.at.set(zeros());
        }
        self.close_pasts();
        writer.forget(published);
        Ok(head)
    }

    /// Hands the zone over between two ticks to who was granted `next_epoch`. The compare-and-swap of the published word is the moment:
    /// before it the zone is this process's, after it the next owner's, who adopts it from the same newest root. A tick that is under
    /// way is thrown away; that it was tried counts for nothing. After it, as after [`CommitError::Fenced`], nothing of the world is this
    /// process's any more.
    ///
    /// # Safety
    /// As [`Pages::end`].
    pub unsafe fn release(&self, next_epoch: u16) -> Result<(), CommitError> {
        // SAFETY: passed on to our caller.
        unsafe {
            self.roll_back();
            self.check_fence()?;
        }
        crate::kill_point!("release:begun");
        self.withdraw_attempt();
        let from = self.writer().borrow().published;
        let released = self.world.release(self.zone, from, next_epoch);
        // SAFETY: passed on to our caller; of a tick nothing is left, so no page is touched.
        unsafe { self.fence_off() };
        released.map_err(|now| CommitError::Fenced { zone: self.zone, epoch: now.epoch })?;
        crate::kill_point!("release:published");
        for slot in &self.sheet.slots {
            slot.at.set(zeros());
        }
        self.close_pasts();
        // The word that it knows stays the one from before: no commit of this process finds it again.
        self.writer().borrow_mut().forget(from);
        Ok(())
    }

    /// An attempt at a tick that was put off is no death's: the next owner begins that tick anew.
    fn withdraw_attempt(&self) {
        let writer = self.writer().borrow();
        let committed = writer.newest_tick();
        if self.world.attempt(self.zone).is_some_and(|last| last.tick != committed) {
            let none = AttemptEntry { incarnation: writer.incarnation, ..AttemptEntry::new_zeroed() };
            self.world.publish_attempt(self.zone, &none);
        }
    }

    /// The compare-and-swap of the commit is what decides. This looks before anything is written, so that a process that was
    /// taken for dead does not write into pages and descriptors that are its successor's.
    ///
    /// # Safety
    /// As [`Pages::roll_back`].
    unsafe fn check_fence(&self) -> Result<(), CommitError> {
        let now = self.world.published(self.zone);
        if now == self.writer().borrow().published {
            return Ok(());
        }
        // SAFETY: passed on to our caller.
        unsafe { self.fence_off() };
        Err(CommitError::Fenced { zone: self.zone, epoch: now.epoch })
    }

    /// Another process has the zone: the tick is thrown away, and no page of the arena is written by this one again. What is written
    /// from here on is copied to the heap first.
    ///
    /// # Safety
    /// As [`Pages::roll_back`].
    unsafe fn fence_off(&self) {
        self.writer().borrow_mut().fenced = true;
        // SAFETY: passed on to our caller.
        unsafe { self.roll_back() };
    }

    /// Pages that can show the zone at an earlier tick: tables are bound on them once, and [`Pages::look_back`] opens them.
    pub fn past(&self) -> PastPages {
        let past = PastPages::new(Rc::clone(&self.world), self.sheet.logical_pages());
        self.pasts.borrow_mut().push(Rc::downgrade(past.sheet()));
        past
    }

    /// Lets `past`, which is this zone's, show the commit of an earlier tick until the next commit; `false` when that tick is not one of
    /// the window's.
    ///
    /// # Safety
    /// No reference into a table on `past` may be alive.
    pub unsafe fn look_back(&self, past: &PastPages, tick: u32) -> bool {
        let ours = self.pasts.borrow().iter().any(|sheet| std::ptr::eq(sheet.as_ptr(), Rc::as_ptr(past.sheet())));
        assert!(ours, "the past is one of this zone");
        let Some(sequence) = self.writer().borrow().sequence_of(tick) else { return false };
        self.world.root(self.zone, sequence).is_ok_and(|root| past.show(root))
    }

    /// Pages that show the commit of an earlier tick until the next commit; `None` when that tick is not one of the window's.
    pub fn at(&self, tick: u32) -> Option<PastPages> {
        let past = self.past();
        // SAFETY: nothing is bound on them yet.
        unsafe { self.look_back(&past, tick) }.then_some(past)
    }

    /// A page of the window is used again after a commit only, so before that nobody sees another's.
    fn close_pasts(&self) {
        self.pasts.borrow_mut().retain(|sheet| {
            sheet.upgrade().is_some_and(|sheet| {
                past::close(&sheet);
                true
            })
        });
    }

    /// Extents that the zone owns.
    pub fn extents(&self) -> usize {
        self.writer().borrow().free.extents.len()
    }
}
