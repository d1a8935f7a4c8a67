//! What a client shows to get its session back.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::SessionId;

/// Bytes of a resume token.
pub const TOKEN_BYTES: usize = 32;
/// Bytes of the secret in it.
pub const SECRET_BYTES: usize = 16;

/// Names a session, and proves that it is the client's own: `[match's id u64][session u64][secret 16 bytes]`, little-endian. Whoever has
/// it can play in the client's place, so it is not printed, and a server keeps its hash only.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeToken([u8; TOKEN_BYTES]);

impl ResumeToken {
    /// The token of a session of a match.
    pub fn new(match_id: u64, session: SessionId, secret: &[u8; SECRET_BYTES]) -> ResumeToken {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..8].copy_from_slice(&match_id.to_le_bytes());
        bytes[8..16].copy_from_slice(&session.0.to_le_bytes());
        bytes[16..].copy_from_slice(secret);
        ResumeToken(bytes)
    }

    /// A token that was kept.
    pub fn from_bytes(bytes: [u8; TOKEN_BYTES]) -> ResumeToken {
        ResumeToken(bytes)
    }

    /// The token, to be kept where nobody else reads it.
    pub fn to_bytes(self) -> [u8; TOKEN_BYTES] {
        self.0
    }

    /// The match's id.
    pub fn match_id(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|i| self.0[i]))
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        SessionId(u64::from_le_bytes(std::array::from_fn(|i| self.0[8 + i])))
    }

    /// What a server keeps of the token: the hash of its secret.
    pub fn hash(&self) -> [u8; 32] {
        hash_secret(&self.0[16..])
    }
}

/// SHA-256 of a secret, a token's or a join's nonce: neither can be guessed, so that nobody finds one from its hash.
pub fn hash_secret(secret: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret).as_ref());
    hash
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeToken({} of match {}, secret)", self.session(), self.match_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_session_and_hides_its_secret() {
        let session = SessionId::new(3, 7);
        let token = ResumeToken::new(99, session, &[0xab; SECRET_BYTES]);
        assert_eq!((token.match_id(), token.session()), (99, session));
        assert_eq!(ResumeToken::from_bytes(token.to_bytes()), token);
        assert_eq!(token.hash(), hash_secret(&[0xab; 16]));
        assert_ne!(token.hash(), ResumeToken::new(99, session, &[0xac; SECRET_BYTES]).hash());
        assert_eq!(format!("{token:?}"), "ResumeToken(s7v3 of match 99, secret)");
    }
}
