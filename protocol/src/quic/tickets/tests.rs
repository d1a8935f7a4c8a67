//! Handshakes with the configurations that endpoints use, without a network: which of them are done with a ticket.

use super::*;
use crate::quic::{KEY_BYTES, Trust, client_tls, server_tls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The beginning of a period.
const START: u64 = 80_000 * TICKET_PERIOD_SECONDS as u64;

/// A clock that stands until it is set.
#[derive(Debug)]
struct Clock(AtomicU64);

impl Clock {
    fn new() -> Arc<Clock> {
        Arc::new(Clock(AtomicU64::new(START)))
    }

    fn pass(&self, periods: u64) {
        self.0.fetch_add(periods * u64::from(TICKET_PERIOD_SECONDS), Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// An endpoint of an instance, whose certificate all endpoints share.
fn endpoint(ticket_key: u8, clock: &Arc<Clock>) -> Arc<ServerConfig> {
    static CERTIFICATE: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    let (certificate, key) = CERTIFICATE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.der().clone(), made.signing_key.serialize_der())
    });
    let key = PrivateKeyDer::Pkcs8(key.clone().into());
    let clock: Arc<dyn TimeProvider> = Arc::<Clock>::clone(clock);
    Arc::new(server_tls(vec![certificate.clone()], key, &[ticket_key; KEY_BYTES], clock).unwrap())
}

fn client() -> Arc<ClientConfig> {
    Arc::new(client_tls(Trust::Any).unwrap())
}

/// A connection that has chosen its ticket.
fn begin(client: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost").unwrap()).unwrap()
}

fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
    finish(begin(client), server)
}

/// The handshake and the tickets after it; how it was done.
fn finish(mut client: ClientConnection, server: &Arc<ServerConfig>) -> HandshakeKind {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        client.write_tls(&mut up).unwrap();
        server.read_tls(&mut &up[..]).unwrap();
        server.process_new_packets().unwrap();
        while server.wants_write() {
            server.write_tls(&mut down).unwrap();
        }
        let mut rest = &down[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && client.handshake_kind() == server.handshake_kind());
    client.handshake_kind().unwrap()
}

#[test]
fn a_ticket_of_one_endpoint_is_good_at_another_with_the_same_key() {
    let (clock, client) = (Clock::new(), client());
    assert_eq!(handshake(&client, &endpoint(1, &clock)), HandshakeKind::Full);
    for _ in 0..3 {
        assert_eq!(handshake(&client, &endpoint(1, &clock)), HandshakeKind::Resumed);
    }
}

#[test]
fn a_ticket_is_no_good_at_an_endpoint_with_another_key() {
    let (clock, client) = (Clock::new(), client());
    handshake(&client, &endpoint(1, &clock));
    assert_eq!(handshake(&client, &endpoint(2, &clock)), HandshakeKind::Full);
}

#[test]
fn a_ticket_is_good_in_its_period_and_the_next_only() {
    for (periods, kind) in [(0, HandshakeKind::Resumed), (1, HandshakeKind::Resumed), (2, HandshakeKind::Full)] {
        // The client's own clock is the true one: it holds no ticket for too old.
        let (clock, client) = (Clock::new(), client());
        handshake(&client, &endpoint(1, &clock));
        clock.pass(periods);
        assert_eq!(handshake(&client, &endpoint(1, &clock)), kind, "after {periods} periods");
    }
}

#[test]
fn connections_that_are_all_made_anew_at_once_have_a_ticket_each() {
    let (clock, client) = (Clock::new(), client());
    for _ in 0..40 {
        handshake(&client, &endpoint(1, &clock));
    }
    let begun: Vec<ClientConnection> = (0..40).map(|_| begin(&client)).collect();
    let server = endpoint(1, &clock);
    assert!(begun.into_iter().all(|connection| finish(connection, &server) == HandshakeKind::Resumed));
}

#[test]
fn a_ticket_that_was_changed_anywhere_is_none() {
    let tickets = Tickets::new(&[1; KEY_BYTES], Clock::new());
    let ticket = tickets.encrypt(b"state").unwrap();
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(tickets.decrypt(&changed), None, "byte {at}");
        assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at} bytes");
    }
    assert_ne!(tickets.encrypt(b"state").unwrap(), ticket, "each has a nonce of its own");
}
