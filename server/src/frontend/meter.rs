//! What a client may still ask for: its control messages, commands and joins. Its packets the driver has counted already.

use ringfort_protocol::bucket::{Bucket, Rate};

use crate::config::Limits;

/// What is left of a connection's limits.
pub struct Meter {
    control: Bucket,
    commands: Bucket,
    joins: Bucket,
    excess: Bucket,
}

/// What becomes of something that is limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metered {
    /// It is handled.
    Yes,
    /// It is refused; the client may come again.
    Later,
    /// So much was refused that the client is no honest one.
    Flood,
}

impl Meter {
    /// Everything is left.
    pub fn new(limits: &Limits, now_us: u64) -> Self {
        let full = |rate| Bucket::full(rate, now_us);
        Self {
            control: full(limits.control),
            commands: full(limits.commands),
            joins: full(limits.joins),
            excess: full(limits.excess),
        }
    }

    /// A control message. None can be left out, as each counts on the one before it.
    pub fn control(&mut self, limits: &Limits, now_us: u64) -> Metered {
        if self.control.take(limits.control, now_us, 1) { Metered::Yes } else { Metered::Flood }
    }

    /// A command that would be the next one.
    pub fn command(&mut self, limits: &Limits, now_us: u64) -> Metered {
        let takes = self.commands.take(limits.commands, now_us, 1);
        self.pass(takes, limits.excess, now_us)
    }

    /// A join.
    pub fn join(&mut self, limits: &Limits, now_us: u64) -> Metered {
        let takes = self.joins.take(limits.joins, now_us, 1);
        self.pass(takes, limits.excess, now_us)
    }

    fn pass(&mut self, takes: bool, excess: Rate, now_us: u64) -> Metered {
        match takes {
            true => Metered::Yes,
            false if self.excess.take(excess, now_us, 1) => Metered::Later,
            false => Metered::Flood,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    const LIMITS: Limits = Limits {
        control: Rate { per_second: 1, burst: 3 },
        commands: Rate { per_second: 10, burst: 2 },
        joins: Rate { per_second: 1, burst: 1 },
        excess: Rate { per_second: 1, burst: 2 },
        ..crate::config::LIMITS_DEFAULT
    };

    #[test]
    fn a_control_message_too_many_is_a_flood_at_once() {
        let mut meter = Meter::new(&LIMITS, 5);
        let all = [0; 4].map(|_| meter.control(&LIMITS, 5));
        assert_eq!(all, [Metered::Yes, Metered::Yes, Metered::Yes, Metered::Flood]);
        assert_eq!(meter.control(&LIMITS, 1_000_005), Metered::Yes);
    }

    #[test]
    fn commands_and_joins_too_many_are_put_off_and_together_become_a_flood() {
        let mut meter = Meter::new(&LIMITS, 0);
        let commands = [0; 3].map(|_| meter.command(&LIMITS, 0));
        assert_eq!(commands, [Metered::Yes, Metered::Yes, Metered::Later]);
        assert_eq!([0; 3].map(|_| meter.join(&LIMITS, 0)), [Metered::Yes, Metered::Later, Metered::Flood]);
        assert_eq!(meter.command(&LIMITS, 100_000), Metered::Yes);
    }
}
