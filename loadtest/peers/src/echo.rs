//! What an echo peer is told, what it prints first, and what its datagrams say.
//!
//! A client's datagram has a number and the time when it was sent. The answer at the next tick has both of the newest that came, and how long
//! it waited for the tick, so that a client can tell what the network and both loops took; the rest is padding.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};
use std::{process, thread};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::PeerError;

/// Where echo peers and their load bind: a free port of this machine.
pub const LOOPBACK: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// Bytes of the smallest answer.
pub const ANSWER_BYTES_MIN: usize = 16;

/// What an echo server is told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct EchoArgs {
    /// Ticks a second, at each of which every client gets one datagram
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub hz: u32,
    /// Bytes of each datagram to a client
    #[arg(long, default_value_t = 300, value_parser = parse_bytes)]
    pub bytes: usize,
    /// End when the standard input does, so that whoever started it leaves nothing behind
    #[arg(long)]
    pub until_input_ends: bool,
}

/// Prints the one line that a load needs: the port and the certificate in hexadecimal digits; from then on the peer ends when it is to.
pub fn announce(args: EchoArgs, address: SocketAddr, certificate_hex: &str) -> Result<(), PeerError> {
    if args.until_input_ends {
        thread::spawn(|| {
            let mut rest = Vec::new();
            let _ = io::stdin().lock().read_to_end(&mut rest);
            process::exit(0);
        });
    }
    println!("{} {certificate_hex}", address.port());
    Ok(io::stdout().flush()?)
}

/// Bytes of an answer that an echo can send.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (ANSWER_BYTES_MIN..=1200).contains(bytes));
    bytes.ok_or_else(|| format!("a number of bytes from {ANSWER_BYTES_MIN} to 1200 is expected"))
}

/// What lies between two ticks.
pub fn period(hz: u32) -> Duration {
    Duration::from_secs(1) / hz.max(1)
}

/// A client's datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Counts from 1.
    pub number: u32,
    /// Microseconds of the client's own clock.
    pub sent_us: u64,
}

impl Question {
    /// Puts it into `bytes` bytes.
    pub fn encode(self, bytes: usize) -> Bytes {
        let mut datagram = BytesMut::with_capacity(bytes.max(12));
        datagram.put_u32(self.number);
        datagram.put_u64(self.sent_us);
        datagram.resize(bytes.max(12), 0);
        datagram.freeze()
    }

    /// Reads it; `None` when the datagram is too short.
    pub fn decode(mut datagram: &[u8]) -> Option<Question> {
        Some(Question { number: datagram.try_get_u32().ok()?, sent_us: datagram.try_get_u64().ok()? })
    }
}

/// The newest question of a client, which its next answers name.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuestionKept(Option<(Question, Instant)>);

impl QuestionKept {
    /// A datagram has arrived.
    pub fn take(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(question) = Question::decode(datagram)
            && self.0.is_none_or(|(kept, _)| question.number > kept.number)
        {
            self.0 = Some((question, now));
        }
    }

    /// The datagram that leaves now, of `bytes` bytes.
    pub fn answer(self, now: Instant, bytes: usize) -> Bytes {
        let (question, arrived) = self.0.unwrap_or((Question { number: 0, sent_us: 0 }, now));
        let waited = now.saturating_duration_since(arrived).as_micros();
        Answer { question, waited_us: u32::try_from(waited).unwrap_or(u32::MAX) }.encode(bytes)
    }
}

/// A server's datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The newest that had come; its number is 0 before the first.
    pub question: Question,
    /// How long the question lay at the server.
    pub waited_us: u32,
}

impl Answer {
    /// Puts it into `bytes` bytes.
    pub fn encode(self, bytes: usize) -> Bytes {
        let bytes = bytes.max(ANSWER_BYTES_MIN);
        let mut datagram = BytesMut::with_capacity(bytes);
        datagram.put_u32(self.question.number);
        datagram.put_u64(self.question.sent_us);
        datagram.put_u32(self.waited_us);
        datagram.resize(bytes, 0);
        datagram.freeze()
    }

    /// Reads it; `None` when the datagram is too short.
    pub fn decode(mut datagram: &[u8]) -> Option<Answer> {
        let question = Question { number: datagram.try_get_u32().ok()?, sent_us: datagram.try_get_u64().ok()? };
        Some(Answer { question, waited_us: datagram.try_get_u32().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_newest_question_and_its_wait() {
        let now = Instant::now();
        let mut kept = QuestionKept::default();
        assert_eq!(Answer::decode(&kept.answer(now, 300)).map(|answer| answer.question.number), Some(0));
        kept.take(now, &Question { number: 2, sent_us: 20 }.encode(40));
        kept.take(now + Duration::from_millis(1), &Question { number: 1, sent_us: 10 }.encode(40));
        let datagram = kept.answer(now + Duration::from_millis(5), 300);
        assert_eq!(datagram.len(), 300);
        let expected = Answer { question: Question { number: 2, sent_us: 20 }, waited_us: 5_000 };
        assert_eq!(Answer::decode(&datagram), Some(expected));
    }

    #[test]
    fn what_is_too_short_is_neither_question_nor_answer() {
        let question = Question { number: 1, sent_us: 1 };
        assert_eq!(Question::decode(&question.encode(40)[..11]), None);
        assert_eq!(Answer::decode(&Answer { question, waited_us: 1 }.encode(300)[..15]), None);
    }
}
