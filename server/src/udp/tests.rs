//! Over loopback, both families.

use super::*;
use std::net::UdpSocket;
use std::os::fd::AsFd;

fn transmit(destination: SocketAddr, size: usize, segment_size: Option<usize>) -> Transmit {
    Transmit { destination, ecn: None, size, segment_size, src_ip: None }
}

/// A pair of batches on sockets of their own, and the second's address.
fn pair(ip: &str) -> (UdpBatch, SocketAddr, UdpBatch, SocketAddr) {
    let sockets = [(); 2].map(|()| UdpSocket::bind((ip, 0)).unwrap());
    let [a, b] = sockets.map(|socket| (UdpBatch::new(socket.as_fd()).unwrap(), socket.local_addr().unwrap()));
    (a.0, a.1, b.0, b.1)
}

/// Receives until `count` datagrams are here; loopback delivers before `sendmmsg` returns.
fn receive(batch: &mut UdpBatch, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < count {
        assert!(batch.receiver.receive().unwrap() > 0, "{} of {count} arrived", all.len());
        all.extend(batch.receiver.datagrams().map(|(from, bytes)| (from, bytes.to_vec())));
    }
    all
}

fn check_both_ways(ip: &str) {
    let (mut a, a_address, mut b, b_address) = pair(ip);
    a.sender.push(&transmit(b_address, 5, None), b"hello");
    a.sender.flush();
    assert_eq!(receive(&mut b, 1), [(a_address, b"hello".to_vec())]);
    b.sender.push(&transmit(a_address, 3, None), b"you, not all of it");
    b.sender.flush();
    assert_eq!(receive(&mut a, 1), [(b_address, b"you".to_vec())]);
    assert_eq!(a.receiver.receive().unwrap(), 0);
    assert_eq!(a.receiver.datagrams().count(), 0);
}

#[test]
fn both_ways_over_ipv4() {
    check_both_ways("127.0.0.1");
}

#[test]
fn both_ways_over_ipv6() {
    check_both_ways("::1");
}

#[test]
fn segments_are_taken_apart() {
    let (mut a, _, mut b, b_address) = pair("127.0.0.1");
    a.sender.push(&transmit(b_address, 10, Some(4)), b"aaaabbbbcc");
    a.sender.flush();
    let bytes: Vec<Vec<u8>> = receive(&mut b, 3).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(bytes, [b"aaaa".to_vec(), b"bbbb".to_vec(), b"cc".to_vec()]);
}

#[test]
fn more_than_a_batch_arrives_in_order() {
    let (mut a, _, mut b, b_address) = pair("127.0.0.1");
    let count = UDP_BATCH * 2 + 3;
    for i in 0..count {
        a.sender.push(&transmit(b_address, 2, None), &(i as u16).to_be_bytes());
    }
    a.sender.flush();
    let numbers: Vec<u16> = receive(&mut b, count).iter().map(|(_, b)| u16::from_be_bytes([b[0], b[1]])).collect();
    assert_eq!(numbers, (0..count as u16).collect::<Vec<_>>());
    assert_eq!((a.counters().sent, b.counters().received), (count as u64, count as u64));
}

#[test]
fn a_refused_packet_costs_no_other() {
    let (mut a, _, mut b, b_address) = pair("127.0.0.1");
    a.sender.push(&transmit(b_address, 1, None), b"1");
    a.sender.push(&transmit("127.0.0.1:0".parse().unwrap(), 1, None), b"x");
    a.sender.push(&transmit(b_address, 1, None), b"2");
    a.sender.push(&transmit(b_address, 3000, None), &[0; 3000]);
    a.sender.flush();
    assert_eq!(receive(&mut b, 2).len(), 2);
    let counters = a.counters();
    assert_eq!((counters.sent, counters.refused, counters.oversized), (2, 1, 1));
}

#[test]
fn a_datagram_too_long_is_counted_and_skipped() {
    let (_, _, mut b, b_address) = pair("127.0.0.1");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&[1; UDP_DATAGRAM_BYTES_MAX + 1], b_address).unwrap();
    stranger.send_to(&[2; UDP_DATAGRAM_BYTES_MAX], b_address).unwrap();
    stranger.send_to(&[], b_address).unwrap();
    assert_eq!(b.receiver.receive().unwrap(), 3);
    let lens: Vec<usize> = b.receiver.datagrams().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lens, [UDP_DATAGRAM_BYTES_MAX]);
    assert_eq!(b.counters().truncated, 1);
}

#[test]
fn addresses_survive_the_kernels_form() {
    for text in ["127.0.0.1:1", "255.1.2.3:65535", "[::1]:2", "[fe80::1%7]:3", "[::ffff:1.2.3.4]:4"] {
        let address: SocketAddr = text.parse().unwrap();
        assert_eq!(Address::encode(address).0.decode(), Some(address));
    }
    assert_eq!(Address::NONE.decode(), None);
}

#[test]
fn what_the_kernel_drops_for_want_of_room_is_told() {
    let (mut a, _, mut b, b_address) = pair("127.0.0.1");
    assert_eq!(b.overrun(), 0);
    // Far more than any socket's buffer holds, and none of it is received meanwhile.
    let sent = 64 << 10;
    for _ in 0..sent {
        a.sender.push(&transmit(b_address, UDP_DATAGRAM_BYTES_MAX, None), &[7; UDP_DATAGRAM_BYTES_MAX]);
    }
    a.sender.flush();
    let mut received = 0;
    while let got @ 1.. = b.receiver.receive().unwrap() {
        received += got as u64;
    }
    assert!(b.overrun() > 0);
    assert_eq!(received + b.overrun(), a.counters().sent);
}
