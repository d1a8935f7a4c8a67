//! Ringfort's sessions, for programs that hold many: one loop and no thread of its own. A game's client is `ringfort::client`, which
//! is built on this.
//!
//! A program holds a [`Hub`] with its sessions behind one socket, or [`Sessions`] over a network of its own, and calls `pump(now)` as often as it
//! likes: everything that happens, happens inside it. In the order in which an input meets them: [`hub`] and [`sessions`] take it,
//! [`session`] numbers and repeats it until a snapshot acknowledges it, [`udp`] sends it.

#![forbid(unsafe_code)]

pub mod error;
pub mod hub;
mod inputs;
pub mod limits;
pub mod session;
pub mod sessions;
pub mod udp;
pub mod view;

pub use error::{CommandError, Ended, Error};
pub use hub::Hub;
pub use session::{Event, Session, Snapshot, Status};
pub use sessions::{Net, SessionKey, Sessions, Start, Watch};
pub use view::View;

pub use ringfort_protocol::ResumeToken;
pub use ringfort_protocol::component::Wire;
pub use ringfort_protocol::control::{Code, Credential, EndReason, JoinTarget};
pub use ringfort_protocol::quic::Trust;
