//! What a game author writes.

mod state;

pub use state::{FieldOptions, State, StateField};
