//! The TLS tickets of a server: every front-end, of whatever slot and incarnation, accepts those of every other, as their keys come from
//! one secret and the time.
//!
//! A ticket is `[period u32][nonce 12 bytes][encrypted state and tag]`. Its key is used in one period only and accepted in the next, so a
//! ticket is good for at least one period and for less than two.

use crate::limits::TICKET_PERIOD_SECONDS;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use std::fmt;
use std::sync::Arc;

const PERIOD_BYTES: usize = 4;
/// Says what the keys are for, so that no other use of the secret has the same ones.
const PURPOSE: &[u8] = b"ringfort ticket";

/// Makes tickets and reads them.
pub(super) struct Tickets {
    secret: hkdf::Prk,
    time: Arc<dyn TimeProvider>,
    random: SystemRandom,
}

impl Tickets {
    /// With keys from this secret, by this clock.
    pub(super) fn new(secret: &[u8], time: Arc<dyn TimeProvider>) -> Tickets {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
        Tickets { secret, time, random: SystemRandom::new() }
    }

    /// Which period it is, counted from 1970 on; nothing without a clock.
    fn period(&self) -> Option<u32> {
        u32::try_from(self.time.current_time()?.as_secs() / u64::from(TICKET_PERIOD_SECONDS)).ok()
    }

    fn key(&self, period: [u8; PERIOD_BYTES]) -> Option<LessSafeKey> {
        let info = [PURPOSE, &period];
        let key = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_PERIOD_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let period = self.period()?.to_le_bytes();
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(PERIOD_BYTES + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&period);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let sealed = &mut ticket[PERIOD_BYTES + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key(period)?.seal_in_place_separate_tag(nonce, Aad::from(period), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (period, rest) = ticket.split_first_chunk::<PERIOD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (made, now) = (u32::from_le_bytes(*period), self.period()?);
        if made != now && made.checked_add(1) != Some(now) {
            return None;
        }
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key(*period)?.open_in_place(nonce, Aad::from(*period), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(secret)")
    }
}

#[cfg(test)]
mod tests;
