//! Attacks on the handshake: begun and not finished, begun by the hundred.

use std::time::Duration;

use super::HostileError;
use super::peer::{Attacker, Outcome, Peer};
use crate::limits::{HELLO_PATIENCE, REMAIN};

type Done = Result<Outcome, HostileError>;

/// Handshakes of a flood: more than an address may begin.
const FLOOD: usize = 1500;
/// Handshakes of one who proves its address.
const PROVEN: usize = 300;
/// Handshakes that are begun and left.
const LEFT: usize = 20;

/// First packets, each of a new connection with ids of its own, and nothing after them.
pub(super) fn handshake_flood(attacker: &mut Attacker) -> Done {
    for _ in 0..FLOOD {
        if !attacker.goes_on() {
            break;
        }
        Peer::begin(attacker, None)?.flush(attacker);
    }
    Ok(Outcome::None)
}

/// The same by one who proves its address when it is asked to, which the server does for so many.
pub(super) fn handshakes_proven(attacker: &mut Attacker) -> Done {
    for _ in 0..PROVEN {
        if !attacker.goes_on() {
            break;
        }
        // Long enough for the server's wish for a proof.
        Peer::begin(attacker, None)?.pump(attacker, Duration::from_millis(2), |_| false);
    }
    Ok(Outcome::None)
}

/// First packets whose handshake the server waits for in vain.
pub(super) fn handshakes_left(attacker: &mut Attacker) -> Done {
    let mut left = Vec::new();
    for _ in 0..LEFT {
        let mut peer = Peer::begin(attacker, None)?;
        peer.flush(attacker);
        left.push(peer);
    }
    // The sockets stay open, so that the server's answers meet nobody's refusal.
    std::thread::sleep(attacker.until.map_or(HELLO_PATIENCE, |_| REMAIN));
    Ok(Outcome::None)
}

/// First packets of which the half is missing, or that are bent.
pub(super) fn bent_handshakes(attacker: &mut Attacker) -> Done {
    for n in 0..200 {
        if !attacker.goes_on() {
            break;
        }
        let mut peer = Peer::begin(attacker, None)?;
        let Some(mut packet) = peer.first_packet() else { continue };
        if n % 2 == 0 {
            packet.truncate(1 + attacker.random() as usize % (packet.len() - 1));
        } else {
            let at = attacker.random() as usize % packet.len();
            packet[at] ^= 1 << (attacker.random() % 8);
        }
        attacker.send(&peer.socket, &packet);
        if n % 10 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(Outcome::None)
}
