//! A bad network between clients and socket: packets are lost, delayed and overtaken, in both directions, the same for the same seed.
//!
//! It knows neither sockets nor clocks: packets are pushed in with the time, and taken out when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::limits::PACKETS_DELAYED;
use crate::random::Random;

/// What the network does to a packet, each way.
#[derive(Clone, Copy, PartialEq, Debug, Default, clap::Args)]
pub(crate) struct Conditions {
    /// Percent of the packets that are lost, each way
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value_t = 0.0)]
    pub(crate) loss: f64,
    /// Milliseconds that a packet takes longer, each way
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value_t = 0.0)]
    pub(crate) delay: f64,
    /// Milliseconds by which the delay varies, up and down
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value_t = 0.0)]
    pub(crate) jitter: f64,
    /// Let packets overtake each other when their delays differ
    #[arg(long)]
    pub(crate) reorder: bool,
}

/// A number of a network's that makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConditionError {
    /// Not a share.
    #[error("a number from 0 to 100 is expected")]
    Percent,
    /// Not a short time.
    #[error("milliseconds from 0 to {MS_MAX} are expected")]
    Milliseconds,
}

/// The longest delay, in milliseconds.
const MS_MAX: f64 = 10_000.0;

impl Conditions {
    /// Whether the network does anything at all.
    pub(crate) fn are_bad(&self) -> bool {
        *self != Conditions { reorder: self.reorder, ..Conditions::default() }
    }

    /// The flags that say the same.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = [("--loss", self.loss), ("--delay", self.delay), ("--jitter", self.jitter)]
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
            .collect();
        flags.extend(self.reorder.then(|| "--reorder".to_owned()));
        flags
    }
}

/// One direction.
pub(crate) struct Lane<P> {
    conditions: Conditions,
    random: Random,
    packets: BinaryHeap<Reverse<Delayed<P>>>,
    pushed: u64,
    newest_due: Option<Instant>,
    lost: u64,
}

struct Delayed<P> {
    due: Instant,
    number: u64,
    packet: P,
}

impl<P> Lane<P> {
    /// An empty direction.
    pub(crate) fn new(conditions: Conditions, seed: u64, stream: u64) -> Lane<P> {
        Lane { conditions, random: Random::new(seed, stream), packets: BinaryHeap::new(), pushed: 0, newest_due: None, lost: 0 }
    }

    /// A packet enters.
    pub(crate) fn push(&mut self, now: Instant, packet: P) {
        let Conditions { loss, delay, jitter, reorder } = self.conditions;
        // Both are drawn whatever becomes of the packet, so that one more loss shifts nobody else's luck.
        let (fate, spread) = (self.random.share(), self.random.share() * 2.0 - 1.0);
        self.pushed += 1;
        if fate * 100.0 < loss || self.packets.len() >= PACKETS_DELAYED {
            self.lost += 1;
            return;
        }
        let mut due = now + Duration::from_secs_f64((delay + spread * jitter).max(0.0) / 1e3);
        if !reorder {
            due = self.newest_due.map_or(due, |newest| newest.max(due));
            self.newest_due = Some(due);
        }
        self.packets.push(Reverse(Delayed { due, number: self.pushed, packet }));
    }

    /// The next packet that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<P> {
        self.next_due().filter(|due| *due <= now)?;
        self.packets.pop().map(|Reverse(delayed)| delayed.packet)
    }

    /// When the next packet is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.packets.peek().map(|Reverse(delayed)| delayed.due)
    }

    /// Packets that have entered, and those of them that were lost.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.pushed, self.lost)
    }
}

impl<P> PartialEq for Delayed<P> {
    fn eq(&self, other: &Delayed<P>) -> bool {
        self.number == other.number
    }
}

impl<P> Eq for Delayed<P> {}

impl<P> PartialOrd for Delayed<P> {
    fn partial_cmp(&self, other: &Delayed<P>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Delayed<P> {
    fn cmp(&self, other: &Delayed<P>) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

fn parse_percent(text: &str) -> Result<f64, ConditionError> {
    text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).ok_or(ConditionError::Percent)
}

fn parse_ms(text: &str) -> Result<f64, ConditionError> {
    text.parse().ok().filter(|ms| (0.0..=MS_MAX).contains(ms)).ok_or(ConditionError::Milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Conditions = Conditions { loss: 5.0, delay: 50.0, jitter: 20.0, reorder: true };

    /// What comes out of 10,000 packets, one a millisecond, with how many milliseconds each took.
    fn through(conditions: Conditions, seed: u64) -> Vec<(u64, f64)> {
        let start = Instant::now();
        let mut lane = Lane::new(conditions, seed, 0);
        let mut out = Vec::new();
        for ms in 0..11_000 {
            let now = start + Duration::from_millis(ms);
            if ms < 10_000 {
                lane.push(now, ms);
            }
            while let Some(due) = lane.next_due() {
                let Some(packet) = lane.take_due(now) else { break };
                out.push((packet, (due - start).as_secs_f64() * 1e3 - packet as f64));
            }
        }
        assert_eq!(lane.counts(), (10_000, 10_000 - out.len() as u64));
        out
    }

    #[test]
    fn the_same_seed_makes_the_same_network() {
        let order = |seed| through(BAD, seed).into_iter().map(|(packet, _)| packet).collect::<Vec<_>>();
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn packets_are_lost_delayed_and_overtaken_as_asked() {
        let out = through(BAD, 1);
        assert!((9_400..9_600).contains(&out.len()), "{} of 10000 arrived", out.len());
        assert!(out.iter().all(|(_, took)| (29.9..70.1).contains(took)));
        let mean = out.iter().map(|(_, took)| took).sum::<f64>() / out.len() as f64;
        assert!((49.0..51.0).contains(&mean), "{mean} ms on average");
        assert!(out.windows(2).any(|two| two[0].0 > two[1].0), "none was overtaken");
    }

    #[test]
    fn without_reordering_packets_keep_their_order() {
        let out = through(Conditions { reorder: false, ..BAD }, 1);
        assert!(out.windows(2).all(|two| two[0].0 < two[1].0));
        assert!(out.iter().all(|(_, took)| *took < 70.1));
    }

    #[test]
    fn a_good_network_does_nothing() {
        assert!(!Conditions { reorder: true, ..Conditions::default() }.are_bad() && BAD.are_bad());
        assert_eq!(through(Conditions::default(), 1).len(), 10_000);
        assert_eq!(BAD.flags(), ["--loss", "5", "--delay", "50", "--jitter", "20", "--reorder"]);
        assert!(parse_percent("101").is_err() && parse_ms("-1").is_err() && parse_ms("NaN").is_err());
    }
}
