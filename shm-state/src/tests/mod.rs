//! Tests that need the crate's inside: raw pages, locks, and damage planted where no public call can put it.

mod allocator;
mod damage;
mod fsck;
mod heap_pages;
mod hostile;
mod lock;
mod loom;
mod machines;
mod order;
mod padding;
mod raw_sync;
mod reader;
mod window;
mod zones;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use zerocopy::FromZeros;

use crate::layout::{RootHead, ZoneEntry, ZoneState};
use crate::limits::{PAGE_BYTES, PAGE_WORDS};
use crate::memory::Page;
use crate::pages::Pages;
use crate::tree::{Named, walk};
use crate::world::World;

/// What a world is in words that are not zero, by logical page and word.
type State = BTreeMap<(u32, usize), u64>;

fn head(tick: u32) -> RootHead {
    RootHead { tick, ..RootHead::new_zeroed() }
}

/// An entry of the directory for `fsck`.
fn listed(zone: usize, incarnation: u64) -> (usize, ZoneEntry) {
    (zone, ZoneEntry { incarnation, state: ZoneState::Open as u32, ..ZoneEntry::new_zeroed() })
}

fn set(pages: &Pages, logical: u32, word: usize, value: u64) {
    assert!(word < PAGE_WORDS);
    // SAFETY: `write` gives a private page of PAGE_BYTES, and the word was checked to be inside it; no reference exists.
    unsafe { pages.write(logical).cast::<u64>().add(word).write(value) };
}

fn get(pages: &Pages, logical: u32) -> Page {
    let mut page = [0; PAGE_WORDS];
    // SAFETY: `read` gives a page of PAGE_BYTES that only this thread writes.
    unsafe { std::ptr::copy_nonoverlapping(pages.read(logical), page.as_mut_ptr().cast::<u8>(), PAGE_BYTES) };
    page
}

fn commit(pages: &Pages, tick: u32) -> RootHead {
    // SAFETY: the tests hold no reference into pages.
    unsafe { pages.commit(head(tick)) }.expect("room in the arena")
}

fn end(pages: &Pages) -> RootHead {
    // SAFETY: as above.
    unsafe { pages.end(head(0)) }.expect("not fenced")
}

/// What a root says, read as a process would that knows nothing but the root.
fn state_of(world: &World, zone: usize, sequence: u64) -> State {
    let root = world.root(zone, sequence).expect("a root of the window");
    let mut state = State::new();
    let _ = walk(world, &root, &mut |Named { handle, level, position }| -> Result<bool, Infallible> {
        let mut page: Page = [0; PAGE_WORDS];
        assert!(world.copy_page(handle, &mut page));
        if level == 0 {
            let words = page.iter().enumerate().filter(|(_, value)| **value != 0);
            state.extend(words.map(|(word, value)| ((position as u32, word), *value)));
        }
        Ok(true)
    });
    assert!(world.in_window(zone, sequence), "the root stayed in the window while it was read");
    state
}

fn world(extents: usize) -> Rc<World> {
    Rc::new(World::heap(extents))
}
