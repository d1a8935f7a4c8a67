//! QUIC as Ringfort speaks it: ALPN, TLS, transport parameters, and connection ids that say which front-end they belong to.
//!
//! All front-ends of an instance share certificate, reset key, token key and ticket key, so that any of them can answer for one that
//! has died: its clients get a stateless reset at once and connect again, with the tickets that it gave them.

use crate::limits::{
    CONNECTION_ID_BYTES, DATAGRAM_BUFFER_BYTES, FRONTEND_SLOTS, IDLE_SECONDS, KEEP_ALIVE_SECONDS, MAX_CONTROL_BACKLOG, MAX_FRAME,
    MAX_NEWCOMERS, PROOF_LIFETIME, TICKETS_SENT,
};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, InvalidCid, ServerConfig, TransportConfig,
    VarInt,
};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use std::sync::Arc;
use std::time::Duration;

mod ticket_store;
mod tickets;
mod trust;

use ticket_store::TicketStore;
use tickets::Tickets;
pub use trust::Trust;

/// The protocol's name in the TLS handshake.
pub const ALPN: &[u8] = b"ringfort/1";
/// Bytes of a reset key, of a token key and of a ticket key.
pub const KEY_BYTES: usize = 64;

/// UDP payload that every path carries; no larger one is tried, because nothing we send is larger.
const MTU: u16 = 1200;
/// Flow control of a client's control stream: a few of its largest messages.
const SERVER_RECEIVE_BYTES: u32 = 16 * 1024;
/// Bounds of the round trip that a client is told to expect: a busy server answers late, and the longer one is what is expected of an
/// unknown path.
const INITIAL_RTT_MIN: Duration = Duration::from_millis(25);
const INITIAL_RTT_MAX: Duration = Duration::from_millis(333);
/// Bytes of early packets kept for one handshake that is not yet looked at.
const INCOMING_BYTES: u64 = 16 * 1024;

/// Certificate, key or roots that TLS can't use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls says why.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The provider lacks the cipher suite of QUIC's first packets; only a changed build can cause it.
    #[error("the TLS provider has no cipher suite for QUIC's initial packets")]
    NoInitialCipher(#[from] quinn_proto::crypto::rustls::NoInitialCipherSuite),
}

/// The endpoint of the front-end in `slot`. `reset_key` is the same for all front-ends and all their incarnations.
pub fn server_endpoint(slot: u8, reset_key: &[u8; KEY_BYTES]) -> EndpointConfig {
    debug_assert!(slot < FRONTEND_SLOTS);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key)));
    config.cid_generator(move || Box::new(SlotIds { slot, random: SystemRandom::new() }));
    // When a front-end dies all its clients need a reset, and at once.
    config.min_reset_interval(Duration::ZERO);
    config
}

/// What a front-end accepts connections with. `token_key` and `ticket_key` are the same for all front-ends and all their incarnations, so
/// that a client of one that has died proves itself to the next with less work for both.
pub fn server_config(
    cert_chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    token_key: &[u8; KEY_BYTES],
    ticket_key: &[u8; KEY_BYTES],
) -> Result<ServerConfig, TlsError> {
    let tls = server_tls(cert_chain, key, ticket_key, Arc::new(DefaultTimeProvider))?;
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(token_key);
    let mut config = ServerConfig::new(Arc::new(QuicServerConfig::try_from(tls)?), Arc::new(token_key));
    config.transport_config(Arc::new(server_transport()));
    // One more than may wait, so that it is always the driver that decides what becomes of a newcomer.
    config.max_incoming(MAX_NEWCOMERS + 1);
    config.retry_token_lifetime(PROOF_LIFETIME);
    config.incoming_buffer_size(INCOMING_BYTES);
    config.incoming_buffer_size_total(INCOMING_BYTES * MAX_NEWCOMERS as u64);
    Ok(config)
}

fn server_tls(
    cert_chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ticket_key: &[u8; KEY_BYTES],
    time: Arc<dyn TimeProvider>,
) -> Result<rustls::ServerConfig, TlsError> {
    let mut tls = rustls::ServerConfig::builder_with_details(provider(), Arc::clone(&time))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(cert_chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.ticketer = Arc::new(Tickets::new(ticket_key, time));
    tls.send_tls13_tickets = TICKETS_SENT;
    Ok(tls)
}

/// The endpoint of a client, or of many behind one socket.
pub fn client_endpoint() -> EndpointConfig {
    EndpointConfig::default()
}

/// What a client connects with. Its copies share the tickets that servers give.
pub fn client_config(trust: Trust) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client_tls(trust)?)?));
    config.transport_config(Arc::new(client_transport()));
    Ok(config)
}

/// Has a client that connects to where it was before expect about this round trip, so that a lost first packet is repeated soon: unless
/// this is said it waits a whole second (RFC 9002, section 6.2.2).
pub fn expect_rtt(config: &mut ClientConfig, rtt: Duration) {
    let mut transport = client_transport();
    transport.initial_rtt(rtt.clamp(INITIAL_RTT_MIN, INITIAL_RTT_MAX));
    config.transport_config(Arc::new(transport));
}

fn client_tls(trust: Trust) -> Result<rustls::ClientConfig, TlsError> {
    let tls = rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut tls = trust.verify_with(tls)?.with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = rustls::client::Resumption::store(Arc::new(TicketStore::default()));
    Ok(tls)
}

/// ring, and X25519 as the only key exchange: the cheapest, and every client has it.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    Arc::new(provider)
}

fn server_transport() -> TransportConfig {
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(SERVER_RECEIVE_BYTES))
        .receive_window(VarInt::from_u32(SERVER_RECEIVE_BYTES));
    transport
}

fn client_transport() -> TransportConfig {
    let mut transport = transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(2 * MAX_FRAME as u32))
        .receive_window(VarInt::from_u32(2 * MAX_FRAME as u32))
        .keep_alive_interval(Some(Duration::from_secs(KEEP_ALIVE_SECONDS)));
    transport
}

/// What both ends have in common.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = VarInt::from_u32(IDLE_SECONDS as u32 * 1000);
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .send_window(MAX_CONTROL_BACKLOG as u64)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .initial_mtu(MTU)
        .mtu_discovery_config(None);
    transport
}

/// Makes connection ids whose first byte is `k * 16 + slot`, so that the kernel can steer a client's packets to its
/// front-end; the rest is random.
struct SlotIds {
    slot: u8,
    random: SystemRandom,
}

impl ConnectionIdGenerator for SlotIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        // Without randomness of the system there is no TLS either, so this is no new way to fail.
        self.random.fill(&mut bytes).expect("the system has no random bytes");
        bytes[0] = bytes[0] / FRONTEND_SLOTS * FRONTEND_SLOTS + self.slot;
        ConnectionId::new(&bytes)
    }

    /// A packet that was steered to us by mistake gets no reset: its connection lives elsewhere.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let ours = id.len() == CONNECTION_ID_BYTES && id[0] % FRONTEND_SLOTS == self.slot;
        if ours { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

const _: () = assert!(256 % FRONTEND_SLOTS as usize == 0);

#[cfg(test)]
mod tests;
