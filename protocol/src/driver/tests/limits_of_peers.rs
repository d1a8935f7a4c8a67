//! What a driver does about peers that send too much, too often, or in too great a number.

use bytes::Bytes;

use super::*;
use crate::bucket::Rate;

/// Limits for one subject: the others are not reached.
const WIDE: Limits = Limits { exempt_loopback: false, connections_per_address: 1000, handshakes: TENS, ..Limits::NONE };
const TENS: Rate = Rate { per_second: 1000, burst: 1000 };

fn limited(limits: Limits) -> Pair {
    let mut pair = Pair::new(0);
    pair.server.limit(limits);
    pair
}

fn datagrams(pair: &mut Pair, client: ConnId, count: u32) {
    for _ in 0..count {
        // What does not fit the client's own buffer is dropped there.
        let _ = pair.client.connection(client).unwrap().send_datagram(Bytes::copy_from_slice(&[5; 1000]));
    }
    pair.step();
}

#[test]
fn a_flood_of_packets_is_dropped_counted_and_then_closed() {
    let limits = Limits { packets: Rate { per_second: 100, burst: 50 }, excess: Rate { per_second: 1, burst: 30 }, ..WIDE };
    let mut pair = limited(limits);
    let client = pair.connect();
    pair.run(50);
    for _ in 0..200 {
        if pair.client.get(client).is_some_and(|conn| conn.is_open()) {
            datagrams(&mut pair, client, 10);
        } else {
            pair.step();
        }
    }
    assert_eq!(pair.at_server.closed, [Closed::ByUs(Code::Flooding)]);
    assert!(pair.at_server.datagrams.len() < 100, "{} were let through", pair.at_server.datagrams.len());
    assert!(pair.server.stats().packets_limited > 30);
}

/// Sends junk by the client's connection id, so many packets in each millisecond, while the client sends a datagram in every tenth.
fn junk(limits: Limits, from: SocketAddr, each: usize) -> (Pair, usize) {
    let mut pair = limited(limits);
    let client = pair.connect();
    pair.run(50);
    let mut sent = 0;
    let mut junk = loop {
        datagrams(&mut pair, client, 1);
        sent += 1;
        let short = pair.up.iter().find(|(_, packet)| packet[0] & 0xc0 == 0x40);
        if let Some((_, packet)) = short {
            break packet[..1 + limits::CONNECTION_ID_BYTES].to_vec();
        }
        assert!(sent < 100, "a packet of the client's is on its way");
    };
    junk.extend([7; 30]);
    for n in 0..1000 {
        for _ in 0..each {
            let data = BytesMut::from(&junk[..]);
            pair.server.handle_datagram(pair.now, from, None, None, data, &mut |_, _| ());
        }
        if n % 10 == 0 {
            datagrams(&mut pair, client, 1);
            sent += 1;
        } else {
            pair.step();
        }
    }
    pair.run(20);
    assert!(pair.at_server.closed.is_empty(), "{:?}", pair.at_server.closed);
    (pair, sent)
}

#[test]
fn junk_by_a_connection_id_from_another_address_takes_nothing_from_its_peer() {
    let limits = Limits { packets: Rate { per_second: 400, burst: 200 }, excess: Rate { per_second: 1, burst: 30 }, ..WIDE };
    let (pair, sent) = junk(limits, SocketAddr::from(([127, 9, 9, 9], 4444)), 10);
    assert_eq!(pair.at_server.datagrams.len(), sent, "all of the peer's were taken");
    let stats = pair.server.stats();
    let looked_into = u64::from(limits::FOREIGN_PACKETS.burst + limits::FOREIGN_PACKETS.per_second) + 2;
    assert!(stats.packets_unusable <= looked_into, "{}", stats.packets_unusable);
    assert_eq!(stats.packets_limited + stats.packets_unusable, 10_000);
}

#[test]
fn junk_under_the_peers_own_address_closes_nothing() {
    let limits = Limits { packets: Rate { per_second: 400, burst: 200 }, excess: Rate { per_second: 1, burst: 30 }, ..WIDE };
    let (pair, _) = junk(limits, client_address(), 10);
    let stats = pair.server.stats();
    assert!(stats.packets_limited > 9_000, "{}", stats.packets_limited);
    // Those within the limits, and of those above them one of eight.
    assert!(stats.packets_unusable < 650 + 10_000 / u64::from(limits::WITNESS_SHARE), "{}", stats.packets_unusable);
}

#[test]
fn a_peer_whose_address_changes_goes_on() {
    let mut pair = limited(WIDE);
    let client = pair.connect();
    pair.run(50);
    let moved = SocketAddr::from(([127, 9, 9, 9], 4444));
    for _ in 0..200 {
        let _ = pair.client.connection(client).unwrap().send_datagram(Bytes::copy_from_slice(&[5; 100]));
        pair.step();
        for (_, packet) in pair.up.drain(..).collect::<Vec<_>>() {
            pair.server.handle_datagram(pair.now, moved, None, None, BytesMut::from(&packet[..]), &mut |_, _| ());
        }
    }
    pair.run(5);
    assert_eq!(pair.at_server.datagrams.len(), 200);
    assert_eq!(pair.server.get(pair.at_server.connected[0]).map(Conn::remote), Some(moved));
}

#[test]
fn what_brings_nothing_is_counted_and_nothing_else_is() {
    let (mut pair, client, _) = Pair::connected(0);
    (0..20).for_each(|_| datagrams(&mut pair, client, 1));
    pair.client.connection(client).unwrap().send_control(&command(1)).unwrap();
    pair.run(2000);
    assert_eq!(pair.server.stats().packets_unusable, 0);
    let _ = pair.client.connection(client).unwrap().send_datagram(Bytes::copy_from_slice(&[5; 100]));
    pair.step();
    let packet = pair.up[0].1.clone();
    pair.run(5);
    // Replayed, and bent.
    for bent in [0, 0x10] {
        let mut data = BytesMut::from(&packet[..]);
        data[30] ^= bent;
        pair.server.handle_datagram(pair.now, client_address(), None, None, data, &mut |_, _| ());
    }
    assert_eq!(pair.server.stats().packets_unusable, 2);
}

#[test]
fn a_control_stream_that_ends_within_a_frame_is_counted() {
    let (mut pair, client, _) = Pair::connected(0);
    pair.client.connection(client).unwrap().write_control(&[60, 0, 1, 2, 3]).unwrap();
    pair.run(20);
    assert_eq!(pair.server.stats().cut_frames, 0);
    let conn = pair.client.connection(client).unwrap();
    let control = quinn_proto::StreamId::new(quinn_proto::Side::Client, quinn_proto::Dir::Bi, 0);
    conn.link.quic().unwrap().send_stream(control).finish().unwrap();
    pair.run(50);
    assert_eq!(pair.server.stats().cut_frames, 1);
    assert_eq!(pair.at_server.closed, [Closed::ByUs(Code::Left)]);
}

#[test]
fn bytes_are_limited_as_packets_are() {
    let limits = Limits { bytes: Rate { per_second: 1000, burst: 10_000 }, ..WIDE };
    let mut pair = limited(limits);
    let client = pair.connect();
    pair.run(50);
    (0..20).for_each(|_| datagrams(&mut pair, client, 1));
    assert!(pair.at_server.datagrams.len() < 10, "{} were let through", pair.at_server.datagrams.len());
    assert!(pair.server.stats().packets_limited > 10 && pair.at_server.closed.is_empty());
}

#[test]
fn who_keeps_to_the_limits_loses_nothing() {
    let limits = Limits { packets: Rate { per_second: 250, burst: 50 }, ..WIDE };
    let mut pair = limited(limits);
    let client = pair.connect();
    pair.run(50);
    for _ in 0..500 {
        datagrams(&mut pair, client, 1);
        pair.run(9);
    }
    pair.run(10);
    assert_eq!((pair.at_server.datagrams.len(), pair.server.stats().packets_limited), (500, 0));
}

#[test]
fn a_poll_begins_few_handshakes_and_the_rest_is_due_at_once() {
    let mut pair = limited(WIDE);
    for _ in 0..20 {
        pair.connect();
    }
    for turn in 1..=10 {
        // Sent in the first step, received in the second and in all that follow.
        pair.run(if turn == 1 { 2 } else { 1 });
        assert_eq!(pair.server.stats().accepted, turn * ACCEPTS_PER_POLL as u64);
        assert_eq!(pair.server.next_timeout().is_some_and(|at| at <= pair.now), turn < 10);
    }
    pair.run(100);
    assert_eq!(pair.at_server.connected.len(), 20);
}

#[test]
fn handshakes_under_way_are_few_and_the_others_wait_for_one_to_end() {
    const OTHERS: usize = 20;
    let mut pair = limited(WIDE);
    for _ in 0..limits::MAX_HANDSHAKES + OTHERS {
        pair.connect();
    }
    // Nothing comes back but what asks for a proof of the address, so no handshake ends.
    for _ in 0..400 {
        pair.step();
        pair.down.retain(|(_, packet)| packet[0] & 0xf0 == 0xf0);
    }
    assert_eq!((pair.server.stats().accepted, pair.server.newcomers()), (limits::MAX_HANDSHAKES as u64, OTHERS));
    assert!(!pair.server.has_newcomers() && pair.server.next_timeout().is_some_and(|at| at > pair.now), "nothing is due");
    pair.run(1_500);
    assert_eq!((pair.server.newcomers(), pair.server.stats().handshakes_put_off), (0, 0));
    assert!(pair.server.stats().accepted > limits::MAX_HANDSHAKES as u64);
}

#[test]
fn more_newcomers_than_may_wait_come_again_and_all_get_in() {
    let mut pair = Pair::new(0);
    let all = limits::MAX_NEWCOMERS + 200;
    for _ in 0..all {
        pair.connect();
    }
    pair.run(5);
    assert!(pair.server.newcomers() > limits::MAX_NEWCOMERS / 2);
    for _ in 0..4_000 {
        pair.step();
        if pair.at_server.connected.len() == all {
            break;
        }
    }
    let stats = pair.server.stats();
    assert_eq!((pair.at_server.connected.len(), pair.at_client.closed.len(), stats.refused_full), (all, 0, 0));
    assert!(stats.handshakes_put_off > 0 && stats.retried > 0, "{stats:?}");
    assert_eq!((pair.server.newcomers(), pair.server.has_newcomers()), (0, false));
}

#[test]
fn a_newcomer_that_has_waited_too_long_is_begun_with_when_it_comes_again() {
    let mut pair = limited(Limits { connections_per_address: 1, ..WIDE });
    pair.connect();
    let mut first = Vec::new();
    pair.client.poll(pair.now, &mut pair.at_client, &mut |transmit, bytes| segments(transmit, bytes, &mut first));
    let data = BytesMut::from(&first[0][..]);
    pair.server.handle_datagram(pair.now, client_address(), None, None, data, &mut |_, _| {});
    assert_eq!(pair.server.newcomers(), 1);
    pair.server.poll(pair.now + limits::NEWCOMER_PATIENCE, &mut pair.at_server, &mut |_, _| {});
    let stats = pair.server.stats();
    assert_eq!((pair.server.newcomers(), stats.accepted, stats.handshakes_put_off), (0, 0, 1));
    pair.run(1_500);
    assert_eq!((pair.at_server.connected.len(), pair.server.stats().addresses_full), (1, 0), "its packet was repeated");
}

#[test]
fn an_address_that_connects_too_fast_proves_itself_and_then_waits() {
    let limits = Limits { handshakes: Rate { per_second: 10, burst: 8 }, ..WIDE };
    let mut pair = limited(limits);
    for _ in 0..16 {
        pair.connect();
    }
    pair.run(20);
    let stats = pair.server.stats();
    assert_eq!((stats.accepted, stats.retried), (8, 12), "four unproven, and four of those that were asked to prove themselves");
    assert_eq!(stats.handshakes_limited, 8);
    pair.run(8000);
    assert_eq!(pair.at_server.connected.len(), 16, "those who were not answered came again");
}

#[test]
fn an_address_has_so_many_connections_and_again_as_many_when_they_are_over() {
    let limits = Limits { connections_per_address: 2, ..WIDE };
    let mut pair = limited(limits);
    let first = pair.connect();
    pair.connect();
    pair.run(50);
    pair.connect();
    pair.run(50);
    assert_eq!(pair.at_client.closed, [Closed::Refused]);
    assert_eq!(pair.server.stats().addresses_full, 1);
    pair.client.connection(first).unwrap().close(Code::Left, "");
    pair.run(5000);
    pair.connect();
    pair.run(50);
    assert_eq!(pair.at_server.connected.len(), 3);
}

#[test]
fn packets_of_no_connection_are_answered_only_so_often() {
    let limits = Limits { handshakes: Rate { per_second: 1, burst: 2 }, ..WIDE };
    let mut pair = limited(limits);
    let mut answers = 0;
    for n in 0..100u8 {
        // A short header of a connection that never was, with a connection id of this server.
        let mut data = BytesMut::from(&[n; 60][..]);
        (data[0], data[1]) = (0x40, 3);
        pair.server.handle_datagram(pair.now, client_address(), None, None, data, &mut |_, _| answers += 1);
    }
    let allowed = 2 * limits::STRANGERS_PER_HANDSHAKE as usize;
    assert_eq!((answers, pair.server.stats().strangers_limited), (allowed, 100 - allowed as u64));
}
