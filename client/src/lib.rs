//! Ringfort's client: one loop and no thread of its own.
//!
//! A program holds a [`Client`], or a [`Hub`] with many sessions behind one socket, and calls `pump(now)` as often as it
//! likes: everything that happens, happens inside it. In the order in which an input meets them: [`client`] and
//! [`hub`] take it, [`session`] numbers and repeats it until a snapshot acknowledges it, [`udp`] sends it.

#![forbid(unsafe_code)]

pub mod client;
pub mod error;
pub mod hub;
mod inputs;
pub mod limits;
pub mod session;
pub mod sessions;
pub mod udp;
pub mod view;

pub use client::{Builder, Client, Join};
pub use error::{CommandError, Ended, Error};
pub use hub::Hub;
pub use session::{Event, Session, Snapshot, Status};
pub use sessions::{Net, SessionKey, Sessions, Watch};
pub use view::View;

pub use ringfort_protocol::component::Wire;
pub use ringfort_protocol::control::{Code, Credential, EndReason, JoinTarget};
pub use ringfort_protocol::quic::Trust;
