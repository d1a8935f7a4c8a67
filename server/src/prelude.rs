//! All that a game needs: `use ringfort::prelude::*`.

pub use crate::game::{
    Answer, AnswerError, Arrival, AskError, AskId, Blobs, Column, Entities, Game, Global, Grid, Groups, Hello, Interest, Join,
    Mut, OptionDoc, OptionKind, Player, Ray, Refusal, Rewind, Rng, Seats, Tick, TimerId, Timers, To, ViewTime, Why,
};
pub use ringfort_derive::{Component, Input, Message, State, Timer};
pub use ringfort_protocol::{Entity, Press, SessionId, TickNo, Vec2};
