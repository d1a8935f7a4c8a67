//! Two loops on the loopback, turned in one thread.

use super::*;
use crate::{LOOPBACK, client, server};

/// Far longer than a test, so that nothing leaves but with a datagram.
const TICK: Duration = Duration::from_secs(60);
/// A turn's sleep when nothing arrives.
const TURN: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Count {
    connected: usize,
    datagrams: usize,
}

impl App for Count {
    type Peer = usize;

    fn connected(&mut self, _peer: &mut usize) {
        self.connected += 1;
    }

    fn datagram(&mut self, _now: Instant, peer: &mut usize, _bytes: &[u8]) {
        *peer += 1;
        self.datagrams += 1;
    }
}

struct End {
    endpoint: OneLoop<Count>,
    count: Count,
}

impl End {
    fn turn(&mut self) {
        self.endpoint.turn(&mut self.count, Instant::now() + TURN).expect("a turn");
    }
}

/// A server and a client whose handshake is done and confirmed.
fn pair(timers: Timers) -> [End; 2] {
    let (config, certificate) = server().expect("a certificate");
    let end = |config| End { endpoint: OneLoop::bind(LOOPBACK, config, timers).expect("a socket"), count: Count::default() };
    let mut ends = [end(Some(config)), end(None)];
    let address = ends[0].endpoint.local_addr().expect("an address");
    ends[1].endpoint.connect(client(&certificate).expect("a certificate"), address).expect("a connection");
    let mut quiet = 0;
    // Until both know and nothing has been sent for a while.
    while quiet < 50 || ends.iter().any(|end| end.count.connected == 0) {
        let before = ends.each_ref().map(|end| end.endpoint.packets());
        ends.iter_mut().for_each(End::turn);
        quiet = if before == ends.each_ref().map(|end| end.endpoint.packets()) { quiet + 1 } else { 0 };
    }
    ends
}

/// Exchanges `rounds` datagrams each way in turns; returns how many packets each end sent for them.
fn exchange(ends: &mut [End; 2], rounds: usize) -> [u64; 2] {
    let before = ends.each_ref().map(|end| end.endpoint.packets().sent);
    for _ in 0..rounds {
        for (from, to) in [(1, 0), (0, 1)] {
            let wanted = ends[to].count.datagrams + 1;
            assert!(ends[from].endpoint.send(0, Bytes::from_static(&[7; 40])), "a datagram is taken");
            while ends[to].count.datagrams < wanted {
                ends[from].turn();
                ends[to].turn();
            }
        }
    }
    [0, 1].map(|at| ends[at].endpoint.packets().sent - before[at])
}

#[test]
fn with_rounded_timers_on_both_ends_every_packet_carries_a_datagram() {
    let mut ends = pair(Timers::Rounded { tick: TICK });
    exchange(&mut ends, 1);
    assert_eq!(exchange(&mut ends, 20), [20, 20]);
    assert_eq!(ends[0].endpoint.peer(0).copied(), Some(21));
}

#[test]
fn with_exact_timers_a_packet_leaves_without_waiting_for_a_datagram() {
    let mut ends = pair(Timers::Exact);
    let before = ends[0].endpoint.packets().sent;
    assert!(ends[1].endpoint.send(0, Bytes::from_static(&[7; 40])));
    // The acknowledgement, which has nothing to ride along with.
    while ends[0].endpoint.packets().sent == before {
        ends.iter_mut().for_each(End::turn);
    }
    assert_eq!(ends[0].count.datagrams, 1);
}
