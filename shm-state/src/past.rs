//! A zone as it was at an earlier tick of the window, for its owner: nothing is copied.

use std::cell::RefCell;
use std::rc::Rc;

use crate::layout::RootHead;
use crate::limits::PAGE_WORDS;
use crate::sheet::{Behind, Rows, Sheet, zeros};
use crate::tree::Tree;
use crate::world::{PageHandle, Root, World};

/// An earlier commit, or none.
pub(crate) struct Moment {
    world: Rc<World>,
    tree: Tree,
    root: RefCell<Option<Root>>,
    /// Pages that were looked up since it was opened.
    seen: RefCell<Vec<u32>>,
}

impl Moment {
    /// Where a logical page lies, if a commit is shown. The root was read from shared memory: a page that no arena has reads as zeros.
    pub(crate) fn page(&self, logical: u32) -> Option<*mut u8> {
        let root = self.root.borrow();
        let root = root.as_ref()?;
        self.seen.borrow_mut().push(logical);
        let group = logical as usize / PAGE_WORDS;
        let table =
            if self.tree.top == 1 { root.tables[group] } else { self.entry(root.tables[group / PAGE_WORDS], group % PAGE_WORDS) };
        let page = self.entry(table, logical as usize % PAGE_WORDS);
        let lies = page.is_some() && (page.index() as usize) < self.world.pages();
        Some(if lies { self.world.page_ptr(page.index()) } else { zeros() })
    }

    fn entry(&self, table: PageHandle, place: usize) -> PageHandle {
        let mut word = [0];
        if table.is_some() {
            self.world.copy_words(table, place, &mut word);
        }
        PageHandle(word[0])
    }
}

/// Pages that show a zone at an earlier commit once [`Pages::look_back`](crate::pages::Pages::look_back) has opened them, until the next
/// commit closes them; closed, they read as zeros.
pub struct PastPages {
    sheet: Rc<Sheet>,
}

impl Rows for PastPages {
    fn sheet(&self) -> &Rc<Sheet> {
        &self.sheet
    }
}

impl PastPages {
    pub(crate) fn new(world: Rc<World>, logical_pages: u32) -> Self {
        let tree = Tree::new(logical_pages as usize);
        let moment = Moment { world, tree, root: RefCell::new(None), seen: RefCell::default() };
        Self { sheet: Rc::new(Sheet::new(logical_pages, std::ptr::null_mut(), Behind::Past(Box::new(moment)))) }
    }

    /// The commit that is shown.
    pub fn head(&self) -> Option<RootHead> {
        moment(&self.sheet).and_then(|m| m.root.borrow().as_ref().map(|root| root.head))
    }

    /// Shows another commit; `false` when its root is not one of this zone.
    pub(crate) fn show(&self, root: Root) -> bool {
        close(&self.sheet);
        let fits = root.head.logical_pages == self.sheet.logical_pages();
        if let Some(moment) = moment(&self.sheet).filter(|_| fits) {
            moment.root.replace(Some(root));
        }
        fits
    }
}

/// Forgets what a sheet of the past shows.
pub(crate) fn close(sheet: &Sheet) {
    let Some(moment) = moment(sheet) else { return };
    moment.root.take();
    for logical in moment.seen.borrow_mut().drain(..) {
        sheet.slots[logical as usize].at.set(std::ptr::null_mut());
    }
}

fn moment(sheet: &Sheet) -> Option<&Moment> {
    match &sheet.behind {
        Behind::Past(moment) => Some(moment),
        Behind::Zone { .. } | Behind::Heap(_) => None,
    }
}
