//! A global: one value of the zone, part of the committed world.

use std::ops::{Deref, DerefMut};

use ringfort_shm_state::table::Table;

use super::Component;
use super::state::{Binder, BoundOn, Declare, FieldOptions, Hook, Received, StateField};

/// One value of the zone. It begins as the component's zero; `open` gives it its first value.
pub struct Global<T: Component> {
    table: Table<T>,
    /// What it is before it has a value.
    zero: T,
    position: usize,
    index: u16,
}

impl<T: Component> StateField for Global<T> {
    fn declare(to: &mut Declare, options: FieldOptions) {
        to.global::<T>(options);
    }

    fn bind(to: &mut Binder, _options: FieldOptions) -> Self {
        let (at, position) = to.next_rows();
        // SAFETY: as in `Column::bind`.
        let mut table: Table<T> = unsafe { Table::bind(&to.shared.sheet, at) };
        // SAFETY: zeroed bytes are a valid `T`: part of the contract of `Plain`.
        let zero: T = unsafe { std::mem::zeroed() };
        if to.shared.on == BoundOn::Zone && table.get(0).is_none() {
            table.insert(0, zero);
        }
        Self { table, zero, position, index: to.next_global() }
    }

    fn hook(&mut self, position: usize, hook: Hook) {
        if hook == Hook::BeforeCommit {
            assert_eq!(self.position, position, "two globals of the state were swapped: their values would change names");
            self.table.for_touched(T::quantise);
        }
    }

    fn receive(&mut self, received: &Received<'_>) {
        let Received::Global { global, mut row } = *received else { return };
        if let Some(value) = (global == self.index).then(|| T::decode(&mut row).ok()).flatten() {
            self.table.insert(0, value);
        }
    }
}

impl<T: Component> Deref for Global<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.table.get(0).unwrap_or(&self.zero)
    }
}

impl<T: Component> DerefMut for Global<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.table.get_mut(0).expect("bind put it there")
    }
}
