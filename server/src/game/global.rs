//! A global: one value of the zone, part of the committed world.

use std::ops::{Deref, DerefMut};

use ringfort_shm_state::table::Table;

use super::Component;
use super::state::{Binder, Declare, FieldOptions, Hook, StateField};

/// One value of the zone. It begins as the component's zero; `open` gives it its first value.
pub struct Global<T: Component> {
    table: Table<T>,
    position: usize,
}

impl<T: Component> StateField for Global<T> {
    fn declare(to: &mut Declare, options: FieldOptions) {
        to.global::<T>(options);
    }

    fn bind(to: &mut Binder) -> Self {
        let (at, position) = to.next_rows();
        // SAFETY: as in `Column::bind`.
        let mut table: Table<T> = unsafe { Table::bind(&to.shared.pages, at) };
        if table.get(0).is_none() {
            // SAFETY: zeroed bytes are a valid `T`: part of the contract of `Plain`.
            table.insert(0, unsafe { std::mem::zeroed() });
        }
        Self { table, position }
    }

    fn hook(&mut self, position: usize, hook: Hook) {
        if hook == Hook::BeforeCommit {
            assert_eq!(self.position, position, "two globals of the state were swapped: their values would change names");
            self.table.for_touched(T::quantise);
        }
    }
}

impl<T: Component> Deref for Global<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.table.get(0).expect("bind put it there")
    }
}

impl<T: Component> DerefMut for Global<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.table.get_mut(0).expect("bind put it there")
    }
}
