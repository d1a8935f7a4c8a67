//! What each snapshot says about the inputs it acknowledges: the latencies of a run.

use std::time::{Duration, Instant};

use ringfort_client::{Session, SessionKey, Snapshot, Watch};
use ringfort_protocol::AckBits;

use super::bot::Game;
use super::freshness::Truths;
use super::partial::Partial;
use super::series::Clerk;
use crate::limits::INPUTS_IN_FLIGHT;

/// Sequences below the highest that an acknowledgement reaches.
const ACK_REACH: u32 = 32;

/// The figures of one process, and the inputs of all its clients that are under way.
pub(super) struct Figures {
    pub(super) partial: Partial,
    /// Whether snapshots count: from the first input that is due to the last.
    pub(super) measuring: bool,
    /// The seconds, also of the time that does not count.
    pub(super) clerk: Clerk,
    flights: Vec<Flight>,
    /// Clients that play; those of higher numbers only watch.
    players: usize,
    /// Which client has the session of each key.
    clients: Vec<usize>,
    pub(super) comparison: Comparison,
}

/// What of the clients' worlds is compared with the committed one.
#[derive(Default)]
pub(super) struct Comparison {
    /// The server's instance; nothing is compared without.
    pub(super) instance: Option<String>,
    /// The first so many clients are looked at for freshness.
    pub(super) fresh_clients: usize,
    /// Whether all are compared.
    pub(super) verify: bool,
    truths: Truths,
    near: Vec<(f32, u32)>,
}

/// Inputs of one client, in a ring indexed by sequence.
struct Flight {
    inputs: [Input; INPUTS_IN_FLIGHT],
    /// The lowest sequence that may still be acknowledged.
    oldest: u32,
    newest: u32,
    /// When the newest snapshot arrived, while its client plays.
    heard: Option<Instant>,
    /// How often its session has come back in this match.
    resumes: u32,
    /// The longest time between two snapshots so far.
    gap: Duration,
    /// Those that the server has given up.
    rejected: AckBits,
    /// The match that its client is in.
    match_name: String,
    /// Snapshots of this match, or since the session has come back to it.
    snapshots: u64,
}

#[derive(Clone, Copy)]
struct Input {
    sequence: u32,
    due: Instant,
    sent: Instant,
    /// Or given up, or abandoned: nothing more is expected of it.
    acknowledged: bool,
    /// Whether it was sent in the measured time.
    counts: bool,
}

impl Figures {
    /// For clients of which the first `players` play and the others watch.
    pub(super) fn new(players: usize, watchers: usize) -> Figures {
        let now = Instant::now();
        let nothing = Input { sequence: 0, due: now, sent: now, acknowledged: true, counts: false };
        let flight = || Flight {
            inputs: [nothing; INPUTS_IN_FLIGHT],
            oldest: 1,
            newest: 0,
            rejected: AckBits::NONE,
            heard: None,
            resumes: 0,
            gap: Duration::ZERO,
            match_name: String::new(),
            snapshots: 0,
        };
        Figures {
            partial: Partial::default(),
            measuring: false,
            clerk: Clerk::new(now),
            flights: std::iter::repeat_with(flight).take(players + watchers).collect(),
            players,
            clients: Vec::new(),
            comparison: Comparison::default(),
        }
    }

    /// Whether a client only watches.
    fn watches(&self, client: usize) -> bool {
        client >= self.players
    }

    /// A client has got a place after so long, its first or one more.
    pub(super) fn came(&mut self, client: usize, took: Duration, first: bool) {
        let watches = self.watches(client);
        let Partial { connected, connect, watchers, .. } = &mut self.partial;
        let (connected, connect) = if watches { (&mut watchers.connected, &mut watchers.connect) } else { (connected, connect) };
        *connected += usize::from(first);
        connect.record(took);
        self.clerk.second().joined += 1;
    }

    /// A client gets no place.
    pub(super) fn failed(&mut self, client: usize, reason: String) {
        let watches = self.watches(client);
        let Partial { failed, watchers, .. } = &mut self.partial;
        *(if watches { &mut watchers.failed } else { failed }) += 1;
        self.partial.count_reason(reason);
    }

    /// A client has lost its place for good.
    pub(super) fn lost(&mut self, client: usize, reason: String) {
        let watches = self.watches(client);
        let Partial { disconnected, watchers, .. } = &mut self.partial;
        *(if watches { &mut watchers.disconnected } else { disconnected }) += 1;
        self.partial.count_reason(reason);
    }

    /// A client has a session from now on.
    pub(super) fn client_has(&mut self, client: usize, key: SessionKey) {
        if self.clients.len() <= key.index() {
            self.clients.resize(key.index() + 1, client);
        }
        self.clients[key.index()] = client;
    }

    /// A client is in a match from now on.
    pub(super) fn in_match(&mut self, client: usize, name: &str) {
        let flight = &mut self.flights[client];
        name.clone_into(&mut flight.match_name);
        flight.snapshots = 0;
    }

    /// An input has been sent. It counts if it was due in the measured time.
    pub(super) fn sent(&mut self, client: usize, sequence: u32, due: Instant, sent: Instant) {
        self.clerk.second().sent += 1;
        if self.measuring {
            self.partial.sent += 1;
            self.partial.late.record(sent.saturating_duration_since(due));
        }
        let counts = self.measuring;
        let flight = &mut self.flights[client];
        flight.inputs[sequence as usize % INPUTS_IN_FLIGHT] = Input { sequence, due, sent, acknowledged: false, counts };
        flight.newest = sequence;
    }

    /// A client's match is over and it asks for another.
    pub(super) fn match_over(&mut self, client: usize) {
        let watches = self.watches(client);
        let Partial { rejoined, watchers, .. } = &mut self.partial;
        *(if watches { &mut watchers.rejoined } else { rejoined }) += 1;
        self.out_of_match(client);
    }

    /// A client is in no match any more: its inputs under way will not be acknowledged, and the next match counts from 1.
    pub(super) fn out_of_match(&mut self, client: usize) {
        let flight = &mut self.flights[client];
        let under_way = flight.inputs.iter().filter(|input| !input.acknowledged && input.counts).count();
        self.partial.abandoned += under_way as u64;
        (flight.resumes, flight.snapshots) = (0, 0);
        flight.match_name.clear();
        flight.inputs.iter_mut().for_each(|input| input.acknowledged = true);
        (flight.oldest, flight.newest, flight.rejected, flight.heard) = (1, 0, AckBits::NONE, None);
    }

    /// The measured time begins: silences while clients were still coming do not count.
    pub(super) fn play_begins(&mut self) {
        self.measuring = true;
        self.flights.iter_mut().for_each(|flight| flight.gap = Duration::ZERO);
    }

    /// The measured time is over for a client that plays: tells its longest silence, the one that it is in included.
    pub(super) fn play_over(&mut self, client: usize, now: Instant) {
        let watches = self.watches(client);
        let flight = &mut self.flights[client];
        let Partial { gap, watchers, .. } = &mut self.partial;
        if let Some(heard) = flight.heard.take() {
            let gap = if watches { &mut watchers.gap } else { gap };
            gap.record(flight.gap.max(now.saturating_duration_since(heard)));
        }
    }

    /// Whether inputs are still under way.
    pub(super) fn outstanding(&self) -> bool {
        self.partial.acknowledged + self.partial.rejected + self.partial.abandoned < self.partial.sent
    }
}

impl Watch<Game> for Figures {
    fn snapshot(&mut self, key: SessionKey, session: &Session<Game>, snapshot: &Snapshot) {
        let client = self.clients[key.index()];
        self.compare(client, session, snapshot);
        self.rejected(client, session.inputs_rejected());
        self.resumed(client, session.resumes(), snapshot.arrived);
        self.received(client, snapshot);
    }
}

impl Figures {
    /// Compares what the client has now with what was committed.
    fn compare(&mut self, client: usize, session: &Session<Game>, snapshot: &Snapshot) {
        let Comparison { instance, fresh_clients, verify, truths, near } = &mut self.comparison;
        let fresh = self.measuring && client < *fresh_clients;
        let flight = &mut self.flights[client];
        if flight.resumes != session.resumes() {
            flight.snapshots = 0;
        }
        flight.snapshots += 1;
        let Some(instance) = instance.as_ref().filter(|_| fresh || *verify) else { return };
        // Its first snapshot may come together with the place, before anyone has looked at that.
        if flight.match_name.is_empty() {
            self.partial.verified.came_early(*verify, flight.snapshots);
            return;
        }
        let Some(truth) = truths.of(instance, &flight.match_name, snapshot.tick.0) else {
            self.partial.truth_unknown.clone_from(&truths.failed);
            return;
        };
        if fresh {
            self.partial.freshness.look(truth, session, near);
        }
        if *verify {
            self.partial.verified.look(truth, session, snapshot, flight.snapshots);
        }
    }

    /// The server has given up these inputs of a client's match: they will not be acknowledged.
    fn rejected(&mut self, client: usize, rejected: AckBits) {
        let flight = &mut self.flights[client];
        for sequence in rejected.without(std::mem::replace(&mut flight.rejected, rejected)) {
            let input = &mut flight.inputs[sequence as usize % INPUTS_IN_FLIGHT];
            if input.sequence == sequence && !input.acknowledged {
                input.acknowledged = true;
                self.partial.rejected += u64::from(input.counts);
            }
        }
    }

    /// A snapshot has arrived, after so many times that the session came back in this match: the first one since the last time ends a silence.
    fn resumed(&mut self, client: usize, resumes: u32, arrived: Instant) {
        let watches = self.watches(client);
        let flight = &mut self.flights[client];
        let times = resumes.saturating_sub(std::mem::replace(&mut flight.resumes, resumes));
        let Partial { resumed, watchers, .. } = &mut self.partial;
        *(if watches { &mut watchers.resumed } else { resumed }) += u64::from(times);
        if let Some(heard) = flight.heard.filter(|_| times > 0 && !watches) {
            self.partial.resume_gap.record(arrived.saturating_duration_since(heard));
        }
    }

    /// A snapshot has arrived: counts it, and every input that it is the first to acknowledge.
    fn received(&mut self, client: usize, snapshot: &Snapshot) {
        let second = self.clerk.second();
        second.snapshots += 1;
        second.bytes += snapshot.bytes as u64;
        if self.measuring {
            let watches = client >= self.players;
            let Partial { snapshots, snapshot_bytes, snapshot_bytes_max, watchers, .. } = &mut self.partial;
            let (count, bytes, max) = if watches {
                (&mut watchers.snapshots, &mut watchers.snapshot_bytes, &mut watchers.snapshot_bytes_max)
            } else {
                (snapshots, snapshot_bytes, snapshot_bytes_max)
            };
            *count += 1;
            *bytes += snapshot.bytes as u64;
            *max = (*max).max(snapshot.bytes as u64);
        }
        let flight = &mut self.flights[client];
        let highest = snapshot.inputs.highest.min(flight.newest);
        if let Some(heard) = flight.heard.replace(snapshot.arrived) {
            flight.gap = flight.gap.max(snapshot.arrived.saturating_duration_since(heard));
        }
        // What was overwritten in the ring, or is below the acknowledgement's reach, will never be told about.
        let forgotten = flight.newest.saturating_sub(INPUTS_IN_FLIGHT as u32 - 1);
        flight.oldest = flight.oldest.max(forgotten).max(highest.saturating_sub(ACK_REACH));
        for sequence in flight.oldest..=highest {
            let input = &mut flight.inputs[sequence as usize % INPUTS_IN_FLIGHT];
            if input.sequence != sequence || input.acknowledged || !snapshot.inputs.contains(sequence) {
                continue;
            }
            input.acknowledged = true;
            let since_due = snapshot.arrived.saturating_duration_since(input.due);
            self.clerk.acknowledged(since_due);
            if input.counts {
                self.partial.acknowledged += 1;
                self.partial.input_to_snapshot.record(since_due);
            }
            if let Some(waited) = snapshot.waited.filter(|_| sequence == snapshot.inputs.highest) {
                let took = snapshot.arrived.saturating_duration_since(input.sent).saturating_sub(waited);
                self.clerk.network(took);
                if input.counts {
                    self.partial.network.record(took);
                }
            }
        }
        while flight.oldest <= highest && flight.inputs[flight.oldest as usize % INPUTS_IN_FLIGHT].acknowledged {
            flight.oldest += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_protocol::TickNo;

    #[test]
    fn every_input_counts_at_the_first_snapshot_that_acknowledges_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let snapshot = |ms, highest, bits| Snapshot {
            tick: TickNo(1),
            arrived: at(ms),
            bytes: 100,
            inputs: AckBits { highest, bits },
            waited: Some(Duration::from_millis(10)),
        };
        let mut figures = Figures::new(1, 0);
        figures.measuring = true;
        for sequence in 1..=3 {
            let due = at(u64::from(sequence) * 100);
            figures.sent(0, sequence, due, due + Duration::from_millis(5));
        }
        // The second is missing, and is acknowledged later than the third.
        figures.received(0, &snapshot(320, 3, 0b10));
        assert_eq!(figures.partial.acknowledged, 2);
        figures.received(0, &snapshot(330, 3, 0b11));
        figures.received(0, &snapshot(340, 3, 0b11));
        assert!(!figures.outstanding());
        assert_eq!(figures.partial.input_to_snapshot.count(), 3);
        assert_eq!(figures.partial.input_to_snapshot.ms_max().round(), 220.0);
        assert_eq!(figures.partial.network.count(), 1);
        assert_eq!(figures.partial.network.ms_max().round(), 5.0);
    }

    #[test]
    fn a_gap_is_the_longest_silence_within_one_match_up_to_the_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let gap = |arrivals: &[u64], over_after: Option<u64>, end: u64| {
            let mut figures = Figures::new(1, 0);
            for &ms in arrivals {
                let inputs = AckBits { highest: 0, bits: 0 };
                figures.received(0, &Snapshot { tick: TickNo(1), arrived: at(ms), bytes: 1, inputs, waited: None });
                if over_after == Some(ms) {
                    figures.match_over(0);
                }
            }
            figures.play_over(0, at(end));
            figures.partial.gap.ms_max().round()
        };
        assert_eq!(gap(&[50, 100, 170, 220], None, 250), 70.0);
        assert_eq!(gap(&[50, 100], None, 300), 200.0);
        assert_eq!(gap(&[50, 100, 900, 950], Some(100), 960), 50.0);
        assert_eq!(gap(&[], None, 300), 0.0);
        let mut figures = Figures::new(1, 0);
        for ms in [0, 900, 950, 1010] {
            let inputs = AckBits::NONE;
            figures.received(0, &Snapshot { tick: TickNo(1), arrived: at(ms), bytes: 1, inputs, waited: None });
            if ms == 900 {
                figures.play_begins();
            }
        }
        figures.play_over(0, at(1020));
        assert_eq!(figures.partial.gap.ms_max().round(), 60.0, "what was before the measured time does not count");
    }

    #[test]
    fn the_silence_of_a_session_that_came_back_ends_with_its_first_snapshot() {
        let start = Instant::now();
        let mut figures = Figures::new(1, 0);
        let received = |figures: &mut Figures, ms, resumes| {
            let arrived = start + Duration::from_millis(ms);
            figures.resumed(0, resumes, arrived);
            figures.received(0, &Snapshot { tick: TickNo(1), arrived, bytes: 1, inputs: AckBits::NONE, waited: None });
        };
        [(100, 0), (150, 0), (450, 1), (500, 1)].into_iter().for_each(|(ms, resumes)| received(&mut figures, ms, resumes));
        assert_eq!((figures.partial.resumed, figures.partial.resume_gap.ms_max().round()), (1, 300.0));
        received(&mut figures, 900, 3);
        assert_eq!((figures.partial.resumed, figures.partial.resume_gap.count()), (3, 2), "twice before a snapshot came");
        figures.match_over(0);
        received(&mut figures, 950, 0);
        assert_eq!(figures.partial.resumed, 3, "another match");
    }

    #[test]
    fn what_was_given_up_is_counted_once_and_is_neither_lost_nor_abandoned() {
        let now = Instant::now();
        let mut figures = Figures::new(1, 0);
        figures.measuring = true;
        (1..=3).for_each(|sequence| figures.sent(0, sequence, now, now));
        figures.rejected(0, AckBits { highest: 2, bits: 0 });
        figures.rejected(0, AckBits { highest: 3, bits: 1 });
        assert_eq!(figures.partial.rejected, 2);
        figures.match_over(0);
        assert_eq!(figures.partial.abandoned, 1);
        assert!(!figures.outstanding());
    }

    #[test]
    fn what_a_match_left_behind_is_not_lost() {
        let now = Instant::now();
        let mut figures = Figures::new(1, 0);
        figures.measuring = true;
        figures.sent(0, 1, now, now);
        figures.match_over(0);
        assert!(!figures.outstanding());
        assert_eq!(figures.partial.abandoned, 1);
    }
}
