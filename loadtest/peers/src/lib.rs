//! What the echo peers are made of: a QUIC endpoint in one loop, what its datagrams say, and its certificates.
//!
//! The peers know no game. Each is a small program of its own: `peer-tokio-quinn` and `peer-one-loop`; see this package's README.

#![forbid(unsafe_code)]

mod certificate;
mod echo;
mod error;
pub mod limits;
mod one_loop;
mod timers;

pub use certificate::{client, server};
pub use echo::{ANSWER_BYTES_MIN, Answer, EchoArgs, LOOPBACK, Question, QuestionKept, announce, parse_bytes, period};
pub use error::PeerError;
pub use one_loop::{App, OneLoop, Packets};
pub use timers::Timers;
