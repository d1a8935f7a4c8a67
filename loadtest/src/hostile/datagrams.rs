//! Attacks by datagram: inputs and acknowledgements that are none, are another's, or are too many.

use std::time::{Duration, Instant};

use ringfort_protocol::AckBits;
use ringfort_protocol::View;
use ringfort_protocol::control::{ClientMsg, Code};
use ringfort_protocol::input::{finish_inputs, push_input, start_inputs};
use ringfort_protocol::limits::MAX_INPUTS;

use super::HostileError;
use super::peer::{Attacker, Outcome, Peer, input_bytes};
use crate::limits::{CLOSE_PATIENCE, REMAIN};

type Done = Result<Outcome, HostileError>;

/// Time between two datagrams of one who keeps to the limits of packets: a client of 200 Hz.
const QUICK: Duration = Duration::from_millis(5);

/// A datagram with `count` inputs that do nothing, newest first from `sequence`.
fn datagram(stay: u8, sequence: u32, count: usize, acked: AckBits) -> Vec<u8> {
    let mut bytes = Vec::new();
    start_inputs(&mut bytes, stay, sequence, acked);
    (0..count).for_each(|_| push_input(&mut bytes, &vec![0; input_bytes()], View::default()));
    finish_inputs(&mut bytes);
    bytes
}

/// Sends datagrams at a quick client's rate until they are all sent or the connection is over.
fn send_all(peer: &mut Peer, attacker: &mut Attacker, datagrams: impl Iterator<Item = Vec<u8>>) {
    for bytes in datagrams {
        peer.datagram(&bytes);
        if peer.pump(attacker, QUICK, |_| false) {
            return;
        }
    }
}

/// Plays for three seconds, acknowledges what it got, and leaves.
pub(super) fn well_behaved(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let stay = peer.stay.unwrap_or(0);
    for sequence in 1..=60 {
        let acked = AckBits { highest: peer.newest_tick, bits: 0 };
        peer.datagram(&datagram(stay, sequence, 1, acked));
        if peer.pump(attacker, Duration::from_millis(50), |_| false) {
            break;
        }
    }
    peer.say(&ClientMsg::Leave);
    peer.expect(attacker, "the leave", |peer| peer.stay.is_none())?;
    peer.quic.close(Instant::now(), Code::Left.into(), bytes::Bytes::new());
    peer.flush(attacker);
    Ok(Outcome::None)
}

pub(super) fn forged_acks(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let stay = peer.stay.unwrap_or(0);
    let ahead = 1_000_000 + attacker.random() as u32 % 1_000_000;
    peer.datagram(&datagram(stay, 1, 1, AckBits { highest: peer.newest_tick + ahead, bits: u32::MAX }));
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

/// Acknowledges only what is long past, and bits of snapshots that may never have been.
pub(super) fn stale_acks(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let stay = peer.stay.unwrap_or(0);
    let acks = (0..100).map(|n| AckBits { highest: 1 + n / 50, bits: u32::MAX });
    send_all(&mut peer, attacker, acks.map(|acks| datagram(stay, 1, 1, acks)));
    Ok(peer.outcome(attacker, REMAIN))
}

pub(super) fn another_stay(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let stay = peer.stay.unwrap_or(0).wrapping_add(1 + attacker.random() as u8 % 200);
    send_all(&mut peer, attacker, (1..100).map(|n| datagram(stay, n, 1, AckBits::NONE)));
    Ok(peer.outcome(attacker, REMAIN))
}

/// To the end of all sequences and back: what it forfeits is its own.
pub(super) fn sequence_jumps(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let stay = peer.stay.unwrap_or(0);
    let jumps = [1, 40, 1 << 31, u32::MAX - 1, u32::MAX, 1, 2, 3, u32::MAX, 16];
    send_all(&mut peer, attacker, jumps.map(|n| datagram(stay, n, 1, AckBits::NONE)).into_iter());
    Ok(peer.outcome(attacker, REMAIN))
}

pub(super) fn sequence_zero(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    peer.datagram(&datagram(peer.stay.unwrap_or(0), 0, 1, AckBits::NONE));
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

/// Sixteen new inputs in every datagram, within the limit of packets: it plays no faster for it.
pub(super) fn too_many_inputs(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let stay = peer.stay.unwrap_or(0);
    let all = (1..400).map(|n| datagram(stay, n * MAX_INPUTS as u32, MAX_INPUTS, AckBits::NONE));
    send_all(&mut peer, attacker, all);
    Ok(peer.outcome(attacker, REMAIN))
}

/// As many datagrams as the machine makes.
pub(super) fn datagram_flood(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let stay = peer.stay.unwrap_or(0);
    for round in 0..2_000u32 {
        (1..500).for_each(|n| peer.datagram(&datagram(stay, round * 500 + n, 1, AckBits::NONE)));
        if peer.pump(attacker, Duration::from_millis(1), |_| false) {
            break;
        }
    }
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

/// A datagram of each impossible length, each over a connection of its own.
pub(super) fn impossible_lengths(attacker: &mut Attacker) -> Done {
    let mut outcome = Outcome::None;
    for length in [0, 1, 39, 57, 1100] {
        let mut peer = attacker.welcomed()?;
        let mut bytes = vec![0; length];
        bytes.iter_mut().take(1).for_each(|tag| *tag = ringfort_protocol::input::INPUT_TAG);
        peer.datagram(&bytes);
        outcome = peer.outcome(attacker, CLOSE_PATIENCE);
        if outcome != Outcome::Closed(ringfort_protocol::control::Code::BadMessage) {
            return Ok(Outcome::Other(format!("{length} bytes: {outcome:?}")));
        }
    }
    Ok(outcome)
}

pub(super) fn random_datagram(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    let length = 1 + attacker.random() as usize % 1000;
    let mut bytes = attacker.random_bytes(length);
    bytes[0] |= 0x80;
    peer.datagram(&bytes);
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}
