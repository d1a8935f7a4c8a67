//! What another process has left is looked at before it is taken for values of the game's types.

use std::rc::Rc;

use ringfort_shm_state::layout::{AttemptEntry, RootHead};
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::table::{Table, TableAt};
use zerocopy::FromZeros;

use super::bench::{Bench, ZONE};
use super::zone::{OpenError, Zone};
use crate::game::{BadRow, Description, ZoneLimits};
use crate::prelude::*;

#[derive(Component, Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum Mood {
    Calm,
    Wild,
}

#[derive(State)]
struct Moody {
    ents: Entities,
    mood: Column<Mood>,
    weather: Global<Mood>,
}

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    held: Press,
}

impl Game for Moody {
    const HZ: u32 = 10;
    const CAPACITY: u32 = 4;
    type Input = Nothing;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {
        for mood in [Mood::Calm, Mood::Wild] {
            let e = self.ents.spawn();
            self.mood.insert(e, mood);
        }
        *self.weather = Mood::Wild;
    }
    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
    fn step(&mut self, t: &Tick<Self>) {
        for back in 1..6u32 {
            let then = t.now().0.checked_sub(back).map(TickNo).and_then(|then| t.at(then));
            LOOKED_BACK.with_borrow_mut(|ticks| ticks.push(then.map(|then| then.mood.iter().map(|(_, m)| *m as u8).collect())));
        }
    }
}

/// A byte of a row, whatever it means.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Byte(u8);

// SAFETY: a byte without padding.
unsafe impl ringfort_shm_state::Plain for Byte {}

/// A sim that means harm takes the match over and commits a byte into a table of one-byte rows.
fn commit_byte(bench: &mut Bench<Moody>, of: impl FnOnce(&Description) -> TableAt, row: u32, byte: u8) {
    let limits = ZoneLimits::of_entry(&bench.entry);
    let description = Description::of::<Moody>(limits).unwrap();
    bench.entry.epoch += 1;
    let (pages, head) = Pages::adopt(Rc::clone(&bench.world), ZONE, 77, bench.entry.epoch as u16, description.pages).unwrap();
    let pages = Rc::new(pages);
    // SAFETY: the only table of these pages, whose rows are bytes whatever they mean.
    let mut table: Table<Byte> = unsafe { Table::bind(&pages, of(&description)) };
    assert!(table.insert(row, Byte(byte)));
    let head = RootHead { tick: head.tick + 1, ..RootHead::new_zeroed() };
    // SAFETY: no reference into the pages is alive.
    unsafe { pages.commit(head) }.unwrap();
    bench.entry.epoch += 1;
}

fn taken_over(bench: &mut Bench<Moody>) -> Result<Zone<Moody>, OpenError> {
    Zone::start(&bench.world, bench.inbox.memory(), ZONE, bench.entry, bench.asks, bench.now)
}

#[test]
fn a_match_with_a_byte_that_means_nothing_is_not_taken_over() {
    let mut bench = Bench::<Moody>::new(4, 64);
    drop(bench.start());
    commit_byte(&mut bench, |is| is.columns[0], 1, 0);
    assert!(taken_over(&mut bench).is_ok(), "another mood is one too");
    commit_byte(&mut bench, |is| is.columns[0], 1, 2);
    let Err(OpenError::Row(BadRow { field, row, component })) = taken_over(&mut bench) else { panic!("a mood too many") };
    assert_eq!((field, row, component), ("mood", 1, "Mood"));
    commit_byte(&mut bench, |is| is.columns[0], 1, 1);
    commit_byte(&mut bench, |is| is.globals[0], 0, 255);
    let error = taken_over(&mut bench).err().expect("a global of nothing").to_string();
    assert!(error.starts_with("`weather` has bytes at row 0 that are no Mood"), "{error}");
}

#[test]
fn what_is_about_to_be_tried_is_known_before_the_match_is_looked_at() {
    let mut bench = Bench::<Moody>::new(4, 64);
    drop(bench.start());
    commit_byte(&mut bench, |is| is.columns[0], 1, 2);
    let committed = bench.world.newest(ZONE).unwrap().head.tick;
    assert!(bench.world.attempt(ZONE).is_none_or(|last| last.tick <= committed), "nothing is under way");
    assert!(taken_over(&mut bench).is_err(), "a mood too many");
    let tried = bench.world.attempt(ZONE).expect("it is published");
    assert_eq!((tried.tick, tried.attempt), (committed + 1, 1), "a death in the midst of the takeover counts for that tick");
}

thread_local! {
    /// What each look back of the game found: the moods as numbers, or that there is no such tick.
    static LOOKED_BACK: std::cell::RefCell<Vec<Option<Vec<u8>>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The tick that a match is taken over from is sound, and one before it is not.
#[test]
fn an_earlier_tick_with_a_byte_that_means_nothing_is_not_looked_back_to() {
    let mut bench = Bench::<Moody>::new(4, 64);
    drop(bench.start());
    commit_byte(&mut bench, |is| is.columns[0], 1, 9);
    commit_byte(&mut bench, |is| is.columns[0], 1, 1);
    let mut zone = taken_over(&mut bench).expect("the newest is sound");
    LOOKED_BACK.take();
    bench.step(&mut zone);
    let found = LOOKED_BACK.take();
    assert!(found.iter().flatten().flatten().all(|mood| *mood < 2), "{found:?}");
    assert!(found[0].is_some() && found[1].is_none() && found[2].is_some(), "{found:?}");
}

#[test]
fn a_match_that_is_handed_over_goes_on_with_all_that_it_had_and_its_last_owner_has_nothing() {
    let mut bench = Bench::<Moody>::new(4, 64);
    let mut zone = bench.start();
    bench.join(1);
    bench.flush();
    bench.step(&mut zone);
    let before = (bench.sessions().len(), bench.world.newest(ZONE).unwrap().head);
    let next = bench.entry.epoch + 1;
    assert!(zone.may_be_released());
    zone.release(next as u16).unwrap();
    assert_eq!(bench.world.published(ZONE).epoch, next as u16);
    bench.entry.epoch = next;
    let mut zone = taken_over(&mut bench).expect("it was released for this epoch");
    assert_eq!((bench.sessions().len(), bench.world.newest(ZONE).unwrap().head), before, "nothing was committed meanwhile");
    bench.step(&mut zone);
    assert_eq!(bench.world.newest(ZONE).unwrap().head.tick, before.1.tick + 1);
    bench.check();
}

#[test]
fn a_match_whose_last_owner_has_died_is_not_handed_over_before_that_tick_has_passed() {
    let mut bench = Bench::<Moody>::new(4, 64);
    let mut zone = bench.start();
    bench.step(&mut zone);
    let tick = bench.world.newest(ZONE).unwrap().head.tick;
    let died = AttemptEntry { incarnation: bench.entry.incarnation, tick: tick + 1, attempt: 1, ..AttemptEntry::new_zeroed() };
    bench.world.publish_attempt(ZONE, &died);
    let mut zone = bench.restart(zone);
    assert!(!zone.may_be_released());
    bench.step(&mut zone);
    assert!(zone.may_be_released(), "it has passed the tick");
}
