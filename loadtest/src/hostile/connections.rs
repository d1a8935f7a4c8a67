//! Attacks by the number of connections.

use super::HostileError;
use super::peer::{Attacker, Outcome, Peer};
use crate::limits::{ATTACKER_CONNECTIONS, PEER_PATIENCE};

/// Opens connections and keeps them, until one is refused.
pub(super) fn many_connections(attacker: &mut Attacker) -> Result<Outcome, HostileError> {
    let mut kept = Vec::new();
    for _ in 0..ATTACKER_CONNECTIONS {
        let mut peer = Peer::begin(attacker, None)?;
        peer.pump(attacker, PEER_PATIENCE, |peer| peer.connected);
        if let Some(ended) = peer.ended.take() {
            return Ok(ended);
        }
        if !attacker.goes_on() {
            break;
        }
        kept.push(peer);
    }
    Ok(Outcome::Other(format!("{} connections were let in", kept.len())))
}
