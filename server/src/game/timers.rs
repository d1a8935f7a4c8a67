//! Timers: values that come back at a tick. Part of the committed world, so they survive a restart; absolute ticks, so they do
//! not drift.

use std::any::TypeId;
use std::marker::PhantomData;
use std::rc::Rc;

use ringfort_protocol::bits::BitWriter;
use ringfort_protocol::{TickNo, TimerPayload};
use ringfort_shm_state::layout::TimerRow;
use ringfort_shm_state::limits::{MAX_ENTITIES, MAX_TIMER_BYTES};
use ringfort_shm_state::table::Table;

use super::map::PlaceKind;
use super::state::{Binder, Declare, FieldOptions, Hook, StateField, ZoneShared};
use crate::limits::TIMERS_PER_ENTITY;

/// Names a timer. It may be a field of a component or a seat, for as long as the game may want to take the timer back; a timer
/// that has fired leaves a name that no other timer gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct TimerId(u64);

/// Lowest bits of a [`TimerId`], which say where the timer lies; the others are its number.
const ROW_BITS: u32 = 21;
const _: () = assert!(MAX_ENTITIES * TIMERS_PER_ENTITY <= 1 << ROW_BITS, "every row has a name");

impl TimerId {
    /// No timer; the default.
    pub const NONE: Self = Self(0);

    /// The 2^43 numbers last a match for centuries of a thousand timers a second.
    fn new(number: u64, row: u32) -> Self {
        Self(number << ROW_BITS | u64::from(row))
    }

    fn number(self) -> u64 {
        self.0 >> ROW_BITS
    }

    fn row(self) -> u32 {
        self.0 as u32 & ((1 << ROW_BITS) - 1)
    }
}

super::name::is_a_field!(TimerId);

/// The pending timers of a zone.
pub struct Timers<T: TimerPayload> {
    table: Table<TimerRow>,
    shared: Rc<ZoneShared>,
    /// Where payloads are encoded, kept so that setting a timer does not allocate.
    bits: BitWriter,
    position: usize,
    payload: PhantomData<T>,
}

impl<T: TimerPayload> StateField for Timers<T> {
    fn declare(to: &mut Declare, options: FieldOptions) {
        assert!(T::max_bytes() <= MAX_TIMER_BYTES, "a timer takes {} bytes, at most {MAX_TIMER_BYTES} fit", T::max_bytes());
        to.timers.push((options.name, TypeId::of::<T>()));
        to.unlisted(options, PlaceKind::Timers, size_of::<TimerRow>(), ("timers", Vec::new()));
    }

    fn bind(to: &mut Binder, _options: FieldOptions) -> Self {
        let (at, position) = to.next_rows();
        // SAFETY: as in `Column::bind`.
        let table = unsafe { Table::bind(&to.shared.sheet, at) };
        let bits = BitWriter::new(Vec::with_capacity(MAX_TIMER_BYTES));
        Self { table, shared: Rc::clone(&to.shared), bits, position, payload: PhantomData }
    }

    fn hook(&mut self, position: usize, hook: Hook) {
        assert_eq!(self.position, position, "two timers of the state were swapped");
        let Hook::CollectTimers(now) = hook else { return };
        if self.is_empty() {
            return;
        }
        let shared = Rc::clone(&self.shared);
        let mut due = shared.due.borrow_mut();
        let mut from = 0;
        while let Some(row) = self.table.next_present(from) {
            from = row + 1;
            if self.table.get(row).is_some_and(|timer| timer.when <= now.0) {
                due.extend(self.take(row));
            }
        }
        due.sort_unstable_by_key(|timer| (timer.when, timer.number));
    }
}

impl<T: TimerPayload> Timers<T> {
    /// Lets `Game::timer` be called with this value in tick `when`, or in the next one if that has passed. Timers of one tick
    /// come in the order in which they were set.
    ///
    /// # Panics
    /// When as many are pending as the match has room for, which is two for each entity that it may have
    /// ([`Game::max_entities`](super::Game::max_entities)). The game bounds what it sets, so that no player can come to that:
    /// it keeps the [`TimerId`] of what an entity waits for and cancels it when the entity ends, or uses [`Timers::try_at`].
    pub fn at(&mut self, when: TickNo, what: T) -> TimerId {
        self.try_at(when, what).expect("the match is full of timers: see Timers::at")
    }

    /// As [`Timers::at`], but `None`, and nothing is set, when the match has no room for another timer.
    pub fn try_at(&mut self, when: TickNo, what: T) -> Option<TimerId> {
        let rows = self.table.at().rows;
        if self.len() >= rows as usize {
            return None;
        }
        let number = self.shared.meta.get().next_timer + 1;
        // Where the search begins follows from the number alone, so a replay finds the same row.
        let from = (number % u64::from(rows)) as u32;
        let row = self.table.first_absent(from).or_else(|| self.table.first_absent(0))?;
        self.bits.clear();
        what.encode(&mut self.bits);
        let encoded = self.bits.flush();
        let mut payload = [0; MAX_TIMER_BYTES];
        payload[..encoded.len()].copy_from_slice(encoded);
        self.table.insert(row, TimerRow { number, when: when.0, bytes: encoded.len() as u32, payload });
        self.shared.with_meta(|meta| {
            meta.next_timer = number;
            meta.timers += 1;
        });
        Some(TimerId::new(number, row))
    }

    /// Takes a timer back; `false` when it has fired already, or is among those that this tick fires.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        let row = id.row();
        self.table.get(row).is_some_and(|timer| timer.number == id.number()) && self.take(row).is_some()
    }

    /// Timers pending.
    pub fn len(&self) -> usize {
        self.shared.meta.get().timers as usize
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&mut self, row: u32) -> Option<TimerRow> {
        let taken = self.table.remove(row)?;
        self.shared.with_meta(|meta| meta.timers = meta.timers.saturating_sub(1));
        Some(taken)
    }
}
