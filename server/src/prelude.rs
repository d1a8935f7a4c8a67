//! All that a game needs: `use ringfort::prelude::*`.

pub use crate::game::{
    Answer, AnswerError, Arrival, AskError, AskId, Column, Entities, Game, Global, Hello, Join, Mut, OptionDoc, OptionKind,
    Player, Rng, Seats, Tick, TimerId, Timers, To, Why,
};
pub use ringfort_derive::{Component, Input, Message, State, Timer};
pub use ringfort_protocol::{Entity, Press, SessionId, TickNo, Vec2};
