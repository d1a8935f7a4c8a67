//! `[interest]`: an operator's numbers in place of the game's.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check_range};
use crate::limits::INTEREST_MAX;

/// Of which entities a client is told; what is absent is as the game says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interest {
    /// How far away they may be, in the unit of the game's positions.
    pub radius: Option<u32>,
    /// How many they are at most.
    pub entities: Option<u32>,
}

impl Interest {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        check_range("interest.radius", self.radius.unwrap_or(1), 1, INTEREST_MAX)?;
        check_range("interest.entities", self.entities.unwrap_or(1), 1, INTEREST_MAX)
    }
}
