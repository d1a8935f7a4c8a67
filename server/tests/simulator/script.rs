//! Plays the menagerie, and knows what must have come of every input and command.

use std::collections::BTreeMap;

use ringfort::game::Played;
use ringfort::prelude::*;
use ringfort::simulator::{Committed, Failed, Newly, Random, Script};
use ringfort_client::Session;

use crate::game::{Ask, Cmd, Menagerie, Tally};

/// What the tally of each session must be.
#[derive(Default)]
pub struct Keeper {
    expected: BTreeMap<u64, Tally>,
}

/// Inputs of a session that a tick may apply and forget: what waited before, and what was repeated with it.
const AT_ONCE_MAX: usize = 3;

/// The number in an input, which follows from whose and the how-manieth it is.
fn serial(session: u64, sequence: u32) -> u16 {
    (Random::new(session << 20 ^ u64::from(sequence)).next_u64() >> 40) as u16
}

/// Whether so many different ones of the numbers have this sum.
fn sums_to(numbers: &[u16], count: u32, sum: u32) -> bool {
    if count == 0 {
        return sum == 0;
    }
    let rest = |(at, number): (usize, &u16)| sums_to(&numbers[at + 1..], count - 1, sum.wrapping_sub(u32::from(*number)));
    numbers.iter().enumerate().any(rest)
}

fn tally(tick: &Committed, session: u64) -> Option<Tally> {
    tick.owned(session).find_map(|e| tick.get(e, Menagerie::TALLY))
}

impl Script<Menagerie> for Keeper {
    fn input(&mut self, _who: usize, session: &Session<Played<Menagerie>>, sequence: u32, random: &mut Random) -> Cmd {
        let wish = Vec2::new(random.unit() * 2.0 - 1.0, random.unit() * 2.0 - 1.0);
        Cmd { wish, serial: serial(session.id().0, sequence), hop: Press::down(random.chance(0.05)) }
    }

    fn command(&mut self, _who: usize, number: u32, random: &mut Random) -> Option<Ask> {
        random.chance(0.02).then_some(Ask::Poke { number })
    }

    fn committed(&mut self, tick: &Committed, newly: &Newly, sound: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
        for (session, sequence) in &newly.applied {
            let expected = self.expected.entry(*session).or_default();
            expected.inputs += 1;
            expected.sum = expected.sum.wrapping_add(u32::from(serial(*session, *sequence)));
        }
        for session in tick.sessions().filter(|session| sound(*session)) {
            let expected = self.expected.entry(session).or_default();
            let found = tally(tick, session).unwrap_or_default();
            let perhaps = newly.perhaps.iter().filter(|(of, _)| *of == session).map(|(_, sequence)| serial(session, *sequence));
            let perhaps: Vec<u16> = perhaps.collect();
            let (more, sum) = (found.inputs.wrapping_sub(expected.inputs), found.sum.wrapping_sub(expected.sum));
            if more as usize <= AT_ONCE_MAX && sums_to(&perhaps, more, sum) {
                (expected.inputs, expected.sum) = (found.inputs, found.sum);
            }
            if (found.inputs, found.sum, found.disorder) != (expected.inputs, expected.sum, false) {
                return Err(Failed(format!("tick {}: session {session:x} has {found:?}, not {expected:?}", tick.tick)));
            }
        }
        Ok(())
    }

    fn settled(&mut self, tick: &Committed, session: u64, commands: u32) -> Result<(), Failed> {
        let found = tally(tick, session).map_or(0, |tally| tally.commands);
        let given_up = tick.rejected(session).map_or(0, |[_, commands]| commands.iter().count() as u32);
        let all = found + given_up == commands;
        if all {
            Ok(())
        } else {
            Err(Failed(format!("{found} commands of {commands} reached the game, {given_up} were given up")))
        }
    }
}
