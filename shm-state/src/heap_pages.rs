//! Pages of this process alone, in versions that share what they have in common: a client's world, tick by tick.

use std::cell::{RefCell, UnsafeCell};
use std::rc::Rc;

use crate::limits::{PAGE_BYTES, PAGE_WORDS};
use crate::memory::Page;
use crate::sheet::{Behind, Rows, Sheet, Slot, zeros};

/// A page that versions share. Only one that a single version holds is written.
#[repr(align(4096))]
struct SharedPage(UnsafeCell<Page>);

/// The memory behind a version's pages.
pub(crate) struct Heap {
    /// Missing pages are zeros and take nothing.
    pages: RefCell<Box<[Option<Rc<SharedPage>>]>>,
}

impl Heap {
    /// Puts a copy of the page that `slot` shows in its place, which no other version shares.
    pub(crate) fn copy(&self, logical: u32, slot: &Slot) -> *mut u8 {
        let page = Rc::new(SharedPage(UnsafeCell::new([0; PAGE_WORDS])));
        let to = page.0.get().cast::<u8>();
        // SAFETY: the source is the page of zeros or a page of this version, PAGE_BYTES long, which nobody writes meanwhile (one
        // thread); the target was made just above.
        unsafe { std::ptr::copy_nonoverlapping(slot.at.get().cast_const(), to, PAGE_BYTES) };
        self.pages.borrow_mut()[logical as usize] = Some(page);
        to
    }
}

/// One version.
pub struct HeapPages {
    sheet: Rc<Sheet>,
}

impl Rows for HeapPages {
    fn sheet(&self) -> &Rc<Sheet> {
        &self.sheet
    }
}

impl HeapPages {
    /// So many pages of zeros, which take no memory until they are written.
    pub fn new(logical_pages: u32) -> Self {
        let heap = Heap { pages: RefCell::new(vec![None; logical_pages as usize].into_boxed_slice()) };
        Self { sheet: Rc::new(Sheet::new(logical_pages, zeros(), Behind::Heap(heap))) }
    }

    /// Makes this version the same as another. What either writes from then on is copied first.
    ///
    /// # Panics
    /// When the other has another number of pages.
    ///
    /// # Safety
    /// No reference into a table on either of the two may be alive.
    pub unsafe fn become_copy_of(&self, other: &Self) {
        assert_eq!(self.sheet.logical_pages(), other.sheet.logical_pages(), "versions of one world");
        if Rc::ptr_eq(&self.sheet, &other.sheet) {
            return;
        }
        let (to, from) = (self.heap().pages.borrow_mut(), other.heap().pages.borrow());
        let mut to = to;
        for (logical, page) in from.iter().enumerate() {
            let of_other = other.sheet.settle(logical as u32);
            self.sheet.settle(logical as u32).at.set(of_other.at.get());
            to[logical].clone_from(page);
        }
    }

    fn heap(&self) -> &Heap {
        match &self.sheet.behind {
            Behind::Heap(heap) => heap,
            Behind::Zone { .. } | Behind::Past(_) => unreachable!("made by `new`"),
        }
    }
}
