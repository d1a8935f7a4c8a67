//! The table of addresses alone: what it lets in, what it forgets, and that it does not grow.

use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const LIMITS: Limits =
    Limits { handshakes: Rate { per_second: 10, burst: 8 }, connections_per_address: 6, exempt_loopback: true, ..Limits::NONE };

fn v4(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
}

/// How many of a hundred handshakes are admitted before the answer is another.
fn admitted(table: &mut Addresses, ip: IpAddr, proven: bool, now_us: u64) -> (usize, Verdict) {
    for n in 0..100 {
        match table.admit(&LIMITS, ip, proven, now_us) {
            Verdict::Admit(origin) => table.release(origin),
            other => return (n, other),
        }
    }
    panic!("there is no limit");
}

#[test]
fn unproven_handshakes_leave_a_share_for_those_that_prove_their_address() {
    let mut table = Addresses::default();
    assert_eq!(admitted(&mut table, v4(1), false, 0), (4, Verdict::Prove));
    assert_eq!(admitted(&mut table, v4(1), true, 0), (4, Verdict::TooFast));
    assert_eq!(admitted(&mut table, v4(2), true, 0), (8, Verdict::TooFast), "another address is not touched");
    assert_eq!(admitted(&mut table, v4(1), true, 500_000), (5, Verdict::TooFast));
}

#[test]
fn open_connections_count_until_they_are_released() {
    let mut table = Addresses::default();
    let mut origins = Vec::new();
    for _ in 0..LIMITS.connections_per_address {
        let Verdict::Admit(origin) = table.admit(&LIMITS, v4(1), true, 0) else { panic!("refused") };
        origins.push(origin);
    }
    assert_eq!(table.admit(&LIMITS, v4(1), true, 10_000_000), Verdict::TooMany);
    table.release(origins.pop().unwrap());
    assert!(matches!(table.admit(&LIMITS, v4(1), true, 10_000_000), Verdict::Admit(Some(_))));
}

#[test]
fn an_ipv6_network_is_one_address_and_a_mapped_ipv4_address_is_that_address() {
    let mut table = Addresses::default();
    let of = |low: u64| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low)));
    assert_eq!(admitted(&mut table, of(1), true, 0).0, 8);
    assert_eq!(admitted(&mut table, of(u64::MAX), true, 0).0, 0);
    let Origin(mapped) = origin(&LIMITS, IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped())).unwrap();
    assert_eq!(Some(Origin(mapped)), origin(&LIMITS, v4(1)));
}

#[test]
fn loopback_is_exempt_only_when_that_is_set() {
    let mut table = Addresses::default();
    for ip in [IpAddr::V4(Ipv4Addr::new(127, 3, 2, 1)), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        assert_eq!(table.admit(&LIMITS, ip, false, 0), Verdict::Admit(None));
        let limits = Limits { exempt_loopback: false, ..LIMITS };
        assert!(matches!(table.admit(&limits, ip, false, 0), Verdict::Admit(Some(_))));
    }
}

#[test]
fn a_flood_from_ever_new_addresses_neither_grows_the_table_nor_forgets_who_is_connected() {
    let mut table = Addresses::default();
    let Verdict::Admit(connected) = table.admit(&LIMITS, v4(0), true, 0) else { panic!("refused") };
    for n in 1..3 * MAX_ADDRESSES as u32 {
        // One every 10 us: an address is as good as new after 13 ms at the latest.
        assert!(table.hears_stranger(&LIMITS, v4(n), 10 * u64::from(n)));
    }
    assert_eq!((table.entries.len(), table.order.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
    assert_eq!(table.entries[&connected.unwrap()].open, 1);
}

#[test]
fn a_table_full_of_addresses_that_count_takes_no_more() {
    let mut table = Addresses::default();
    for n in 0..MAX_ADDRESSES as u32 {
        assert!(table.hears_stranger(&LIMITS, v4(n), 0));
    }
    assert!(!table.hears_stranger(&LIMITS, v4(MAX_ADDRESSES as u32), 0));
    assert_eq!(table.admit(&LIMITS, v4(MAX_ADDRESSES as u32), true, 0), Verdict::TooFast);
    assert!(table.hears_stranger(&LIMITS, v4(0), 0), "those that are known are still heard");
    assert!(table.hears_stranger(&LIMITS, v4(MAX_ADDRESSES as u32), 1_000_000));
}
