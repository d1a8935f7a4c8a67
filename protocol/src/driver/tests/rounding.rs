//! Connections in a match, on which each end has something to say ten times a second.

use bytes::Bytes;

use super::{Pair, command};
use crate::driver::ConnId;
use std::time::Duration;

const PERIOD_MS: u32 = 100;
/// When in its period the client sends.
const CLIENT_AT_MS: u32 = 37;

/// What was counted over a time in which each end sent a datagram every period.
struct Played {
    datagrams: u64,
    packets_up: u64,
    packets_down: u64,
    /// Signs of life that QUIC asked for because it heard nothing in time.
    probes: u64,
}

fn probes(pair: &Pair, server: ConnId, client: ConnId) -> u64 {
    let pings = |stats: quinn_proto::ConnectionStats| stats.frame_tx.ping;
    pings(pair.server.get(server).unwrap().stats()) + pings(pair.client.get(client).unwrap().stats())
}

impl Pair {
    fn round(&mut self, server: Option<ConnId>, client: Option<ConnId>) {
        let period = Duration::from_millis(PERIOD_MS.into());
        server.into_iter().for_each(|id| self.server.connection(id).unwrap().round_timers(period));
        client.into_iter().for_each(|id| self.client.connection(id).unwrap().round_timers(period));
    }

    /// Both ends play with timers that wait, and a command of the client's is lost. It is told soon that what it sent after that has arrived: a
    /// time after that, for which a timer is set, the command counts as lost.
    fn lose_a_command(&mut self, server: ConnId, client: ConnId, repair_soon: bool) {
        // The stream exists once something was written to it.
        self.client.connection(client).unwrap().send_control(&command(1)).unwrap();
        self.round(Some(server), Some(client));
        self.play(server, client, 20);
        let conn = self.client.connection(client).unwrap();
        conn.send_control(&command(2)).unwrap();
        conn.repair_soon(repair_soon);
        self.loss_percent = 100;
        self.step();
        self.loss_percent = 0;
        self.client.connection(client).unwrap().send_datagram(Bytes::from_static(&[2; 40])).unwrap();
        self.run(2);
        self.server.connection(server).unwrap().send_datagram(Bytes::from_static(&[1; 600])).unwrap();
        self.run(2);
    }

    /// Plays for so many periods.
    fn play(&mut self, server: ConnId, client: ConnId, periods: u32) -> Played {
        let before = (self.client.stats().udp_out, self.server.stats().udp_out, probes(self, server, client));
        for at in 0..periods * PERIOD_MS {
            self.step();
            let now = self.now;
            if at % PERIOD_MS == 0 {
                let _ = self.server.connection(server).unwrap().send_datagram(Bytes::from_static(&[1; 600]));
                let mut sent = Vec::new();
                self.server.poll(now, &mut self.at_server, &mut |t, b| super::segments(t, b, &mut sent));
                self.down.extend(sent.into_iter().map(|bytes| (now + Duration::from_millis(1), bytes)));
            }
            if at % PERIOD_MS == CLIENT_AT_MS {
                let _ = self.client.connection(client).unwrap().send_datagram(Bytes::from_static(&[2; 40]));
            }
        }
        Played {
            datagrams: periods.into(),
            packets_up: self.client.stats().udp_out - before.0,
            packets_down: self.server.stats().udp_out - before.1,
            probes: probes(self, server, client) - before.2,
        }
    }
}

#[test]
fn acknowledgements_ride_along_where_both_ends_let_their_timers_wait() {
    let (mut pair, client, server) = Pair::connected(0);
    let exact = pair.play(server, client, 50);
    assert!(
        exact.packets_up * 10 > exact.datagrams * 15 && exact.packets_down * 10 > exact.datagrams * 15,
        "on their own otherwise"
    );
    pair.round(Some(server), Some(client));
    pair.play(server, client, 20);
    let rounded = pair.play(server, client, 200);
    assert_eq!((rounded.packets_up, rounded.packets_down), (rounded.datagrams, rounded.datagrams));
    assert_eq!(rounded.probes, 0);
}

#[test]
fn what_is_reliable_arrives_soon_although_packets_are_lost() {
    const LATEST_MS: u32 = 600;
    let (mut pair, client, server) = Pair::connected(0);
    pair.round(Some(server), Some(client));
    pair.play(server, client, 20);
    pair.loss_percent = 5;
    for number in 1..=100 {
        let conn = pair.client.connection(client).unwrap();
        conn.send_control(&command(number)).unwrap();
        conn.repair_soon(true);
        pair.play(server, client, LATEST_MS / PERIOD_MS);
        assert_eq!(pair.at_server.frames.len(), number as usize, "command {number} took longer than {LATEST_MS} ms");
    }
}

#[test]
fn a_timer_that_is_due_waits_for_the_next_datagram_and_no_longer() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.lose_a_command(server, client, false);
    let before = pair.client.stats().timeouts;
    pair.run(PERIOD_MS);
    assert_eq!((pair.client.stats().timeouts, pair.at_server.frames.len()), (before, 1), "it waits for a datagram to go with");
    pair.client.connection(client).unwrap().send_datagram(Bytes::from_static(&[2; 40])).unwrap();
    pair.run(3);
    assert_eq!((pair.client.stats().timeouts, pair.at_server.frames.len()), (before + 1, 2), "the command goes with it");
}

#[test]
fn what_is_to_be_repaired_soon_waits_for_no_datagram() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.lose_a_command(server, client, true);
    assert_eq!(pair.at_server.frames.len(), 1);
    pair.run(PERIOD_MS);
    assert_eq!(pair.at_server.frames.len(), 2);
}

#[test]
fn what_has_waited_leaves_when_it_is_due_once_timers_are_exact_again() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.round(Some(server), Some(client));
    pair.play(server, client, 20);
    let before = pair.server.stats().udp_out;
    pair.run(20);
    assert_eq!(pair.server.stats().udp_out, before, "the acknowledgement of the last datagram waits");
    pair.server.connection(server).unwrap().exact_timers();
    pair.run(5);
    assert_eq!(pair.server.stats().udp_out, before + 1);
}

/// After a gap QUIC wants to acknowledge at once, and sets no timer: it expects to be asked after each packet.
#[test]
fn what_has_no_timer_leaves_in_time_although_nobody_sends_a_datagram() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.round(Some(server), Some(client));
    pair.play(server, client, 20);
    pair.run(500);
    let before = pair.server.stats().udp_out;
    pair.client.connection(client).unwrap().ping();
    pair.step();
    assert_eq!(pair.up.drain(..).count(), 1, "the ping that is lost");
    pair.client.connection(client).unwrap().ping();
    let slack = PERIOD_MS + crate::limits::ROUNDING_MARGIN.as_millis() as u32;
    pair.run(slack / 2);
    assert_eq!(pair.server.stats().udp_out, before, "it waits for a datagram to go with");
    pair.run(slack / 2 + 5);
    assert_eq!(pair.server.stats().udp_out, before + 1);
}

#[test]
fn a_peer_that_falls_silent_is_asked_for_a_sign_of_life_and_timers_are_exact_again_after_the_match() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.round(Some(server), Some(client));
    pair.play(server, client, 20);
    // Keep-alives of the client go on although nobody plays.
    pair.run(15_000);
    assert_eq!((&pair.at_server.closed, &pair.at_client.closed), (&vec![], &vec![]));
    pair.server.connection(server).unwrap().exact_timers();
    pair.client.connection(client).unwrap().exact_timers();
    pair.play(server, client, 20);
    assert_eq!(pair.play(server, client, 50).probes, 0);
}

#[test]
fn what_is_no_hurry_rides_along_and_what_is_leaves_at_once() {
    let (mut pair, client, server) = Pair::connected(0);
    // The stream exists once something was written to it.
    pair.client.connection(client).unwrap().send_control(&command(1)).unwrap();
    pair.round(Some(server), Some(client));
    pair.play(server, client, 20);
    let frame = |number| {
        let mut frame = Vec::new();
        crate::codec::encode_frame(&command(number), &mut frame).unwrap();
        frame
    };
    pair.client.connection(client).unwrap().add_control(&frame(2)).unwrap();
    let with_it = pair.play(server, client, 20);
    assert_eq!((pair.at_server.frames.len(), with_it.packets_up), (2, with_it.datagrams));
    pair.client.connection(client).unwrap().write_control(&frame(3)).unwrap();
    pair.run(5);
    assert_eq!(pair.at_server.frames.len(), 3);
}
