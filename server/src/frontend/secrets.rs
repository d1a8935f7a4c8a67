//! Where the secrets of resume tokens come from.

use ring::rand::{SecureRandom, SystemRandom};
use ringfort_protocol::token::SECRET_BYTES;

/// Makes secrets, each another one.
pub(super) enum Secrets {
    /// Of the system's random bytes.
    System(SystemRandom),
    /// Of a count: a simulation is to come out the same again. Nobody is kept out by these.
    #[cfg(feature = "simulator")]
    Counted(u128),
}

impl Secrets {
    /// One that nobody else knows.
    pub(super) fn make(&mut self) -> [u8; SECRET_BYTES] {
        match self {
            Secrets::System(random) => {
                let mut secret = [0; SECRET_BYTES];
                // Without randomness of the system there is no TLS either, so this is no new way to fail.
                random.fill(&mut secret).expect("the system has no random bytes");
                secret
            }
            #[cfg(feature = "simulator")]
            Secrets::Counted(count) => {
                *count += 1;
                count.to_le_bytes()
            }
        }
    }
}
