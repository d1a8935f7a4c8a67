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
/// Half a side of the square that a battle takes, over the square root of its players: 60 others are then within 80 m.
const BATTLE_HOME_M: f32 = 9.2;
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
            Scenario::Battle | Scenario::Churn | Scenario::Storm => {
                (BATTLE_HOME_M * (players as f32).sqrt()).min(BATTLE_HOME_MAX_M)
            }
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

/// How long after the measured time has begun the storm comes.
pub(super) const STORM_AFTER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_battle_has_sixty_others_within_sight_however_many_fight() {
        for players in [100, 2_000, 7_000] {
            let side = 2.0 * Scenario::Battle.home(players);
            let within_sight = players as f32 / (side * side) * 80.0 * 80.0 * std::f32::consts::PI;
            assert!((58.0..62.0).contains(&within_sight), "{within_sight} of {players}");
        }
    }
}
