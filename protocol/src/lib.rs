//! Ringfort's wire: the schema, the control messages, inputs, snapshots and the QUIC state machine, without a socket,
//! a clock or a thread.
//!
//! In the order in which one message meets them: [`driver`] turns UDP payloads into frames and datagrams, [`codec`]
//! and [`control`] read the control stream, [`input`] reads what a player does, [`baseline`] decides what a client
//! lacks of the world, [`snapshot`] packs it and [`client_world`] applies it at the other end. [`schema`] and
//! [`component`] say how each value is packed.

#![forbid(unsafe_code)]

pub mod ack;
pub mod baseline;
pub mod bits;
pub mod bucket;
pub mod client_world;
pub mod codec;
pub mod component;
pub mod control;
pub mod driver;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod ids;
pub mod input;
pub mod layout;
pub mod limits;
pub mod math;
mod quantise;
pub mod quic;
pub mod schema;
pub mod snapshot;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), expect(dead_code, reason = "what the tests alone use"))]
mod test_game;
pub mod token;
pub mod view;

pub use ack::{AckBits, Inserted};
pub use component::{ColumnId, Component, DecodeError, Field, GlobalId, Input, Message, TimerPayload, Wire};
pub use ids::{Entity, Press, SessionId, TickNo};
pub use layout::WireLayout;
pub use math::Vec2;
pub use schema::Schema;
pub use token::ResumeToken;
pub use view::View;
