//! Timers: values that come back at a tick. Part of the committed world, so they survive a restart; absolute ticks, so they do
//! not drift.

use std::marker::PhantomData;
use std::rc::Rc;

use ringfort_protocol::bits::BitWriter;
use ringfort_protocol::{TickNo, TimerPayload};
use ringfort_shm_state::layout::TimerRow;
use ringfort_shm_state::limits::MAX_TIMER_BYTES;
use ringfort_shm_state::table::Table;

use super::state::{Binder, Declare, FieldOptions, Hook, StateField, ZoneShared};

/// Names a pending timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u64);

/// The pending timers of a zone.
pub struct Timers<T: TimerPayload> {
    table: Table<TimerRow>,
    shared: Rc<ZoneShared>,
    payload: PhantomData<T>,
}

impl<T: TimerPayload> StateField for Timers<T> {
    fn declare(to: &mut Declare, _options: FieldOptions) {
        assert!(T::max_bytes() <= MAX_TIMER_BYTES, "a timer takes {} bytes, at most {MAX_TIMER_BYTES} fit", T::max_bytes());
        let rows = to.limits.max_timers();
        to.place(rows, size_of::<TimerRow>());
    }

    fn bind(to: &mut Binder) -> Self {
        let (at, _) = to.next_rows();
        // SAFETY: as in `Column::bind`.
        let table = unsafe { Table::bind(&to.shared.pages, at) };
        Self { table, shared: Rc::clone(&to.shared), payload: PhantomData }
    }

    fn hook(&mut self, _position: usize, hook: Hook) {
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
    /// When as many are pending as the match has room for (four for each entity): the game bounds what it sets.
    pub fn at(&mut self, when: TickNo, what: T) -> TimerId {
        let number = self.shared.with_meta(|meta| {
            meta.next_timer += 1;
            meta.timers += 1;
            meta.next_timer
        });
        let mut bits = BitWriter::new(Vec::with_capacity(MAX_TIMER_BYTES));
        what.encode(&mut bits);
        let encoded = bits.finish();
        let mut payload = [0; MAX_TIMER_BYTES];
        payload[..encoded.len()].copy_from_slice(&encoded);
        // Where the search begins follows from the number alone, so a replay finds the same row.
        let rows = self.table.at().rows;
        let from = (number % u64::from(rows)) as u32;
        let row = self.table.first_absent(from).or_else(|| self.table.first_absent(0)).expect("the match is full of timers");
        self.table.insert(row, TimerRow { number, when: when.0, bytes: encoded.len() as u32, payload });
        TimerId(number)
    }

    /// Takes a timer back; `false` when it has fired already.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        let Some((row, _)) = self.table.iter().find(|(_, t)| t.number == id.0) else { return false };
        self.take(row).is_some()
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
