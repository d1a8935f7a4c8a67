//! Columns whose changes are not sent at once: `#[sync(.., rate = n)]` and `#[sync(.., once)]`.
//!
//! What holds a change back is the view, not the client, so the rules of delta compression need not know. Until a change of a column with a
//! rate passes, every client of the front-end is sent the row as it was. A column that is sent once is always encoded as it is, for
//! who comes to see the entity, and a change is just not noted as one. A row that is there in one commit and not in the other is never
//! held back; one that was removed and inserted again within a tick was there in both.

use ringfort_protocol::schema::ColumnSchema;

/// When changes of one column pass.
#[derive(Debug)]
pub struct Pace {
    /// Never, once an entity has its row.
    once: bool,
    /// Ticks from one passing to the next; 1 for every tick.
    period: u32,
    /// Entities with a change that is held back, each at most once.
    late: Vec<u32>,
}

impl Pace {
    /// That of a column or global in a match of so many ticks a second.
    pub fn new(schema: &ColumnSchema, hz: u32) -> Self {
        let period = if schema.rate == 0 { 1 } else { hz.div_ceil(schema.rate).max(1) };
        Self { once: schema.once, period, late: Vec::new() }
    }

    /// Whether every change passes at once.
    pub fn is_free(&self) -> bool {
        !self.once && self.period == 1
    }

    /// Whether a client is sent a row but once.
    pub fn is_once(&self) -> bool {
        self.once
    }

    /// Whether a change of a row that clients have passes now, after the view has shown tick `since` before `tick`. Entities take turns,
    /// so that not all changes of a second come in one tick.
    pub fn passes(&self, entity: u32, since: u32, tick: u32) -> bool {
        let turns = |tick: u32| (u64::from(tick) + u64::from(entity)) / u64::from(self.period);
        !self.once && turns(tick) > turns(since)
    }

    /// Notes a change that is held back.
    pub fn hold(&mut self, entity: u32) {
        self.late.push(entity);
    }

    /// Takes the entities whose turn it is out of those that are held back.
    pub fn release(&mut self, since: u32, tick: u32, mut each: impl FnMut(u32)) {
        let mut late = std::mem::take(&mut self.late);
        late.retain(|entity| {
            let passes = self.passes(*entity, since, tick);
            if passes {
                each(*entity);
            }
            !passes
        });
        self.late = late;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.late.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(once: bool, rate: u32) -> Pace {
        let (name, component, sync) = (String::new(), String::new(), ringfort_protocol::schema::Sync::All);
        Pace::new(&ColumnSchema { name, component, sync, once, rate, row_bytes: 0, fields: Vec::new() }, 20)
    }

    #[test]
    fn a_rate_lets_an_entity_pass_as_often_as_it_says() {
        for (rate, a_second) in [(0, 20), (1, 1), (2, 2), (7, 6), (20, 20), (60, 20)] {
            let pace = pace(false, rate);
            for entity in [0, 1, 2, 999] {
                let passed = (100..120).filter(|tick| pace.passes(entity, tick - 1, *tick)).count();
                assert!(passed.abs_diff(a_second) <= 1 && passed > 0, "{rate} Hz: {passed} of {entity}");
            }
            assert!(pace.passes(5, 100, 120), "a view that skipped ticks lets pass what they would have");
        }
    }

    #[test]
    fn what_is_held_back_is_released_once() {
        let mut pace = pace(false, 2);
        [3, 4, 5].into_iter().for_each(|entity| pace.hold(entity));
        let mut released = Vec::new();
        for tick in 101..=110 {
            pace.release(tick - 1, tick, |entity| released.push(entity));
        }
        released.sort_unstable();
        assert_eq!(released, [3, 4, 5]);
    }

    #[test]
    fn once_is_never() {
        let pace = pace(true, 0);
        assert!(pace.is_once() && !pace.is_free() && !pace.passes(3, 0, 1000));
    }
}
