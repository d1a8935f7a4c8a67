//! What a peer could send, made from arbitrary bytes: the targets of `fuzz/` and of the tests.
//!
//! An error is an answer. A panic, a hang, memory without a bound, or a message that decodes and does not encode to the same
//! bytes is a finding. A target of several messages cuts its input into parts: two bytes of length, then as many bytes.
//!
//! `cargo fuzz run snapshot` in `protocol/` looks for findings by coverage; `RINGFORT_FUZZ_CASES=1000000 cargo test -p
//! ringfort-protocol fuzzing` runs as many bent copies of the corpus without it.

mod control;
mod driver;
mod message;
mod schema;
mod snapshot;

pub use control::{client_frame, input_datagram, server_frame};
pub use driver::driver;
pub use message::message;
pub use schema::schema;
pub use snapshot::snapshot;

/// A target: whatever the bytes are, it returns.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus and of its file in `fuzz/fuzz_targets`.
pub const TARGETS: &[(&str, Target)] = &[
    ("client_frame", client_frame),
    ("driver", driver),
    ("input_datagram", input_datagram),
    ("message", message),
    ("schema", schema),
    ("server_frame", server_frame),
    ("snapshot", snapshot),
];

/// Parts of one input at most, so that a long one takes no longer than a short one.
const PARTS_MAX: usize = 64;

/// The parts of an input; the last is as long as there are bytes.
fn parts(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let next = move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let (part, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        data = rest;
        Some(part)
    };
    std::iter::from_fn(next).take(PARTS_MAX)
}

/// Puts parts together as [`parts`] takes them apart.
#[cfg(test)]
pub(crate) fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut data = Vec::new();
    for part in parts {
        data.extend_from_slice(&(part.len() as u16).to_le_bytes());
        data.extend_from_slice(part);
    }
    data
}

#[cfg(test)]
mod tests;
