//! Attacks below QUIC: bytes in UDP packets, made up, sent again or bent.

use std::time::Duration;

use ringfort_protocol::limits::CONNECTION_ID_BYTES;

use super::HostileError;
use super::peer::{Attacker, Outcome, Peer};
use crate::limits::REMAIN;

type Done = Result<Outcome, HostileError>;

/// How long a connection may take to send what every connection sends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Packets of one attack.
const PACKETS: usize = 500;
/// Packets of no connection that are more than an address is answered.
const STRANGERS: usize = 6000;
/// The longest UDP payload that IPv4 carries.
const UDP_BYTES_MAX: usize = 65_507;

pub(super) fn random_packets(attacker: &mut Attacker) -> Done {
    let socket = attacker.socket()?;
    for _ in 0..PACKETS {
        if !attacker.goes_on() {
            break;
        }
        let length = attacker.random() as usize % 1400;
        let bytes = attacker.random_bytes(length);
        attacker.send(&socket, &bytes);
    }
    Ok(Outcome::None)
}

/// Short headers with connection ids that the server could have given.
pub(super) fn packets_of_no_connection(attacker: &mut Attacker) -> Done {
    let socket = attacker.socket()?;
    for _ in 0..PACKETS {
        if !attacker.goes_on() {
            break;
        }
        let length = CONNECTION_ID_BYTES + 30 + attacker.random() as usize % 1000;
        let mut bytes = attacker.random_bytes(length);
        bytes[0] = 0x40 | bytes[0] & 0x3f;
        attacker.send(&socket, &bytes);
    }
    Ok(Outcome::None)
}

/// As many of them as the machine makes: most get no answer.
pub(super) fn packets_without_end(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    // All of them for one front-end, which is told by the first byte of a connection's id.
    let Some(slot) = short_packet(&mut peer, attacker).map(|packet| packet[1]) else {
        return Ok(Outcome::Other("nothing was sent".to_owned()));
    };
    let socket = attacker.socket()?;
    for n in 0..STRANGERS {
        if !attacker.goes_on() {
            break;
        }
        let mut bytes = attacker.random_bytes(CONNECTION_ID_BYTES + 30);
        bytes[0] = 0x40 | bytes[0] & 0x3f;
        bytes[1] = slot;
        attacker.send(&socket, &bytes);
        if n % 50 == 0 {
            // What overflows the server's socket is not counted by it.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(Outcome::None)
}

/// The last packet of a connection that has the short header, once there is one: a join that is quick rides along with the handshake.
fn short_packet(peer: &mut Peer, attacker: &mut Attacker) -> Option<Vec<u8>> {
    let find = |peer: &Peer| peer.kept.iter().rev().find(|packet| packet[0] & 0xc0 == 0x40).cloned();
    peer.pump(attacker, PATIENCE, |peer| find(peer).is_some());
    find(peer)
}

/// Junk by the id of a connection that is another's, from another address: its player is not to notice.
pub(super) fn packets_by_the_id_of_another(attacker: &mut Attacker) -> Done {
    let mut victim = attacker.joined()?;
    let Some(seen) = short_packet(&mut victim, attacker) else {
        return Ok(Outcome::Other("the victim has sent nothing".to_owned()));
    };
    let socket = attacker.socket()?;
    for n in 0..8 * PACKETS {
        if n % 50 == 0 && victim.pump(attacker, Duration::from_millis(5), |_| false) {
            break;
        }
        let mut junk = attacker.random_bytes(CONNECTION_ID_BYTES + 31);
        junk[..=CONNECTION_ID_BYTES].copy_from_slice(&seen[..=CONNECTION_ID_BYTES]);
        attacker.send(&socket, &junk);
    }
    Ok(victim.outcome(attacker, REMAIN))
}

/// Long headers of versions that nobody has, of every size.
pub(super) fn unknown_versions(attacker: &mut Attacker) -> Done {
    let socket = attacker.socket()?;
    for n in 0..PACKETS {
        if !attacker.goes_on() {
            break;
        }
        let length = if n % 2 == 0 { 1200 } else { 7 + attacker.random() as usize % 200 };
        let mut bytes = attacker.random_bytes(length);
        bytes[0] |= 0xc0;
        let version = [0, 0x0a0a_0a0a, 0xdead_beef, 2][n % 4];
        bytes[1..5].copy_from_slice(&u32::to_be_bytes(version));
        // The length of the destination's id, up to more than the packet has.
        bytes[5] = [8, 20, 255, 0][n / 4 % 4];
        attacker.send(&socket, &bytes);
    }
    Ok(Outcome::None)
}

pub(super) fn oversized_packets(attacker: &mut Attacker) -> Done {
    let socket = attacker.socket()?;
    for length in [2049, 9000, UDP_BYTES_MAX] {
        for _ in 0..10 {
            let bytes = attacker.random_bytes(length);
            attacker.send(&socket, &bytes);
        }
    }
    Ok(Outcome::None)
}

/// Its own packets again, as they are: whoever sees them on the network can do that.
pub(super) fn replayed_packets(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    peer.pump(attacker, Duration::from_millis(300), |_| false);
    for packet in peer.kept.clone().iter().cycle().take(PACKETS) {
        if !attacker.goes_on() {
            break;
        }
        attacker.send(&peer.socket, packet);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(peer.outcome(attacker, REMAIN))
}

/// Its own packets with bits turned: none of them is believed.
pub(super) fn bent_packets(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    peer.pump(attacker, Duration::from_millis(300), |_| false);
    for packet in peer.kept.clone().iter().cycle().take(PACKETS) {
        if !attacker.goes_on() {
            break;
        }
        let mut bent = packet.clone();
        for _ in 0..1 + attacker.random() % 4 {
            let bit = attacker.random() as usize % (bent.len() * 8);
            bent[bit / 8] ^= 1 << (bit % 8);
        }
        attacker.send(&peer.socket, &bent);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(peer.outcome(attacker, REMAIN))
}
