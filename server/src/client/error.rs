//! Why a client does not come about.

use crate::game::DescriptionError;
use crate::limits::PREDICTED_COLUMNS_MAX;

/// Why a client could not be made, or connected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection: the address, the trust, the server's refusal, another version of the game.
    #[error(transparent)]
    Connection(#[from] ringfort_client::Error),
    /// The game cannot be laid out in memory.
    #[error(transparent)]
    Game(#[from] DescriptionError),
    /// The column's owner may not work it out ahead.
    #[error("column `{column}` is to be predicted, but is not `#[predict(owner)]` in the game's state: say so there")]
    NotPredictable {
        /// The column.
        column: String,
    },
    /// Two functions for one column.
    #[error("column `{column}` is to be predicted twice: one function drives a column")]
    PredictedTwice {
        /// The column.
        column: String,
    },
    /// There is nothing to correct.
    #[error("`on_correction` is given for column `{column}`, which is not predicted: give `predict` for it too")]
    NothingToCorrect {
        /// The column.
        column: String,
    },
    /// More predictions than a client has.
    #[error("at most {PREDICTED_COLUMNS_MAX} columns can be predicted")]
    TooManyPredictions,
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Connection(error.into())
    }
}
