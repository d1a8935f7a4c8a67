//! The pages that tables lie on, by logical number: a zone's as its owner steps it, a zone's as they were at an earlier tick, or pages
//! of this process alone. A table does not know which, so what is written once reads all three.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::heap_pages::Heap;
use crate::limits::{MAX_LOGICAL_PAGES, PAGE_WORDS};
use crate::memory::Page;
use crate::past::Moment;
use crate::world::World;
use crate::writer::Writer;

/// What a missing page reads as.
static ZEROS: Page = [0; PAGE_WORDS];

/// The page that missing pages read as. It is never written.
pub(crate) fn zeros() -> *mut u8 {
    ZEROS.as_ptr().cast::<u8>().cast_mut()
}

/// Where a logical page lies now.
pub(crate) struct Slot {
    /// The page, or the private copy; [`ZEROS`] when there is none, null while nobody has looked. Only a private one is ever written.
    pub(crate) at: Cell<*mut u8>,
    private: Cell<bool>,
}

/// What is behind the pages.
pub(crate) enum Behind {
    /// A zone that this process owns.
    Zone { world: Rc<World>, writer: Box<RefCell<Writer>> },
    /// A zone at an earlier tick.
    Past(Box<Moment>),
    /// Memory of this process.
    Heap(Heap),
}

/// Pages by logical number.
pub struct Sheet {
    pub(crate) slots: Box<[Slot]>,
    /// Which slots are private, a bit each, so that they are found without looking at all.
    private: Box<[Cell<u64>]>,
    pub(crate) behind: Behind,
}

/// What tables may be bound on.
pub trait Rows {
    /// Its pages.
    fn sheet(&self) -> &Rc<Sheet>;
}

impl Rows for Rc<Sheet> {
    fn sheet(&self) -> &Rc<Sheet> {
        self
    }
}

impl Sheet {
    /// So many pages, each of which lies at `at` for now.
    pub(crate) fn new(logical_pages: u32, at: *mut u8, behind: Behind) -> Self {
        assert!(logical_pages as usize <= MAX_LOGICAL_PAGES, "the tables fit a zone");
        let slots = (0..logical_pages).map(|_| Slot { at: Cell::new(at), private: Cell::new(false) }).collect();
        let private = (0..logical_pages.div_ceil(u64::BITS)).map(|_| Cell::new(0)).collect();
        Self { slots, private, behind }
    }

    /// How many there are.
    pub(crate) fn logical_pages(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Where a logical page may be read.
    #[inline]
    pub(crate) fn read(&self, logical: u32) -> *const u8 {
        let at = self.slots[logical as usize].at.get();
        if at.is_null() { self.look_up(logical) } else { at }
    }

    /// Where a logical page may be written: the first call of a tick copies it.
    #[inline]
    pub(crate) fn write(&self, logical: u32) -> *mut u8 {
        let slot = &self.slots[logical as usize];
        if !slot.private.get() {
            self.copy(logical, slot);
        }
        slot.at.get()
    }

    #[cold]
    fn look_up(&self, logical: u32) -> *const u8 {
        let Behind::Past(moment) = &self.behind else { return zeros() };
        let Some(at) = moment.page(logical) else { return zeros() };
        self.slots[logical as usize].at.set(at);
        at
    }

    #[cold]
    fn copy(&self, logical: u32, slot: &Slot) {
        let to = match &self.behind {
            Behind::Zone { world, writer } => writer.borrow_mut().copy(world, logical, slot),
            Behind::Heap(heap) => heap.copy(logical, slot),
            Behind::Past(_) => panic!("an earlier tick cannot be written"),
        };
        slot.at.set(to);
        slot.private.set(true);
        let word = &self.private[logical as usize / 64];
        word.set(word.get() | 1 << (logical % 64));
        crate::kill_point!("page:copied");
    }

    pub(crate) fn is_private(&self, logical: u32) -> bool {
        self.slots[logical as usize].private.get()
    }

    /// The first page at or after `from` and before `end` that was copied since it was settled.
    pub(crate) fn next_private(&self, from: u32, end: u32) -> Option<u32> {
        let mut at = from;
        while at < end {
            let word = self.private[at as usize / 64].get() >> (at % 64);
            if word != 0 {
                return Some(at + word.trailing_zeros()).filter(|page| *page < end);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// Makes a page one that is only read, and copied before it is written.
    pub(crate) fn settle(&self, logical: u32) -> &Slot {
        let slot = &self.slots[logical as usize];
        slot.private.set(false);
        let word = &self.private[logical as usize / 64];
        word.set(word.get() & !(1 << (logical % 64)));
        slot
    }
}
