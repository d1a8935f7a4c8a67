//! When changes of a column are sent: at every tick, or, with `#[sync(.., rate = n)]`, when it is the entity's turn.

/// The turns of one column's entities. They are shifted from entity to entity, so that not all changes come in one tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turns {
    period: u32,
}

impl Turns {
    pub(crate) const EVERY_TICK: Turns = Turns { period: 1 };

    /// Of a column that is sent at most `rate` times a second (0 for every tick), in a match of `hz` ticks a second.
    pub(crate) fn new(rate: u32, hz: u32) -> Turns {
        Turns { period: if rate == 0 { 1 } else { hz.div_ceil(rate).max(1) } }
    }

    /// Ticks from one turn to the next.
    pub(crate) fn period(self) -> u32 {
        self.period
    }

    /// Whether a row that is sent in this tick is that of this tick.
    pub(crate) fn is_turn(self, entity: u32, tick: u32) -> bool {
        (u64::from(tick) + u64::from(entity)).is_multiple_of(self.period.into())
    }

    /// The last turn at or before a tick.
    pub(crate) fn last(self, entity: u32, tick: u32) -> u32 {
        tick.saturating_sub(((u64::from(tick) + u64::from(entity)) % u64::from(self.period)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_has_its_turn_once_a_period() {
        for (rate, hz, period) in [(0, 20, 1), (30, 60, 2), (7, 20, 3), (60, 20, 1), (1, 20, 20)] {
            let turns = Turns::new(rate, hz);
            assert_eq!(turns.period(), period);
            for entity in [0, 1, 5, u32::MAX] {
                let of = (100..100 + period).filter(|tick| turns.is_turn(entity, *tick)).collect::<Vec<_>>();
                assert_eq!(of.len(), 1);
                assert_eq!(turns.last(entity, of[0] + period - 1), of[0]);
                assert_eq!(turns.last(entity, of[0]), of[0]);
            }
        }
    }
}
