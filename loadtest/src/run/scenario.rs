//! What the clients of a run do: the scenarios, and what follows from each.

use std::time::Duration;

/// What the clients of a run do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Play in whatever matches have room
    #[default]
    Matches,
    /// All in one match, spread so that 60 others are within sight on average
    Battle,
    /// All in one match, and some leave and come again every second
    Churn,
    /// All come at once, beside some who play already
    Storm,
    /// In a match, with one input a second
    Idle,
}

/// Beyond this, on either axis, a player of small matches turns back; in metres.
const HOME_M: f32 = 200.0;
/// Others that a player of a battle has within sight on average.
const IN_SIGHT: f32 = 60.0;
/// How far it sees, in metres.
const SIGHT_M: f32 = 80.0;
/// The smallest side of a battle's square, in metres: sight then reaches from one side to the other.
const BATTLE_SIDE_MIN_M: f32 = SIGHT_M;
/// Steps by which that square's side is narrowed down: each halves what is left of two kilometres.
const NARROWING_STEPS: u32 = 24;
/// Metres from the middle to the edge of the game's map, and a few to turn round in.
const BATTLE_HOME_MAX_M: f32 = 980.0;
/// Inputs of a bot of which one may press the trigger.
const TRIGGER_EVERY: u32 = 3;
/// The same in a battle, where so many are within reach that half of all would be dead otherwise, and out of sight.
const BATTLE_TRIGGER_EVERY: u32 = 60;
/// Inputs a second of who only stands there.
const IDLE_HZ: f64 = 1.0;

impl Scenario {
    /// Its name as a flag has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Scenario::Matches => "matches",
            Scenario::Battle => "battle",
            Scenario::Churn => "churn",
            Scenario::Storm => "storm",
            Scenario::Idle => "idle",
        }
    }

    /// Half a side of the square that the players stay in.
    pub(crate) fn home(self, players: usize) -> f32 {
        match self {
            Scenario::Matches | Scenario::Idle => HOME_M,
            Scenario::Battle | Scenario::Churn | Scenario::Storm => battle_home(players),
        }
    }

    /// Inputs of which one may press the trigger.
    pub(super) fn trigger_every(self) -> u32 {
        if self.is_one_match() { BATTLE_TRIGGER_EVERY } else { TRIGGER_EVERY }
    }

    /// Whether all are to be in the same match.
    pub(super) fn is_one_match(self) -> bool {
        matches!(self, Scenario::Battle | Scenario::Churn | Scenario::Storm)
    }

    /// Inputs a second, when so many were asked for.
    pub(super) fn rate(self, asked: f64) -> f64 {
        if self == Scenario::Idle { IDLE_HZ } else { asked }
    }
}

/// Half a side of the square in which so many players have [`IN_SIGHT`] others within sight on average, those at its edges included.
fn battle_home(players: usize) -> f32 {
    let (mut small, mut large) = (BATTLE_SIDE_MIN_M, 2.0 * BATTLE_HOME_MAX_M);
    for _ in 0..NARROWING_STEPS {
        let side = (small + large) / 2.0;
        if players as f32 * share_in_sight(side) > IN_SIGHT { small = side } else { large = side }
    }
    large / 2.0
}

/// The chance that two who are anywhere in a square of this side, at least [`SIGHT_M`], see each other: a disc's share of the square, less
/// what of it lies beyond sides and corners.
fn share_in_sight(side: f32) -> f32 {
    let r = SIGHT_M / side;
    r * r * (std::f32::consts::PI - 8.0 / 3.0 * r + r * r / 2.0)
}

/// How long after the measured time has begun the storm comes.
pub(super) const STORM_AFTER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_battle_has_sixty_others_within_sight_however_many_fight() {
        let mut random = Random::new(1, 0);
        for players in [200, 2_000, 7_000] {
            let side = f64::from(2.0 * Scenario::Battle.home(players));
            let mut place = || [random.share() * side, random.share() * side];
            let near = (0..200_000).filter(|_| {
                let (one, other) = (place(), place());
                (one[0] - other[0]).hypot(one[1] - other[1]) < f64::from(SIGHT_M)
            });
            let in_sight = near.count() as f64 / 200_000.0 * players as f64;
            // Of 200,000 pairs the mean is off by less than 3 % of itself in 99 of 100 draws; the seed makes it one draw.
            assert!((58.0..62.0).contains(&in_sight), "{in_sight} of {players}");
        }
    }

    #[test]
    fn few_share_the_smallest_square_and_many_the_whole_map() {
        assert!((Scenario::Battle.home(10) - BATTLE_SIDE_MIN_M / 2.0).abs() < 0.1);
        assert_eq!(Scenario::Battle.home(100_000), BATTLE_HOME_MAX_M);
    }
}
