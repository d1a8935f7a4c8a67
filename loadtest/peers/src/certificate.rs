//! Certificates and transport settings of the echo peers: stock quinn, but for the size of the datagram buffers.
//!
//! The server makes a certificate for itself and prints it; whoever started it hands it to the clients, so the handshake is a real one.

use std::sync::Arc;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn_proto::{ClientConfig, ServerConfig, TransportConfig};
use ringfort_protocol::limits::DATAGRAM_BUFFER_BYTES;

use crate::error::PeerError;

/// A server's settings, and its certificate in hexadecimal digits.
pub fn server() -> Result<(ServerConfig, String), PeerError> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let hex = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![certificate], key.into())?;
    config.transport_config(transport());
    Ok((config, hex))
}

/// Settings of clients that trust the server with this certificate.
pub fn client(certificate_hex: &str) -> Result<ClientConfig, PeerError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(bytes_of(certificate_hex).ok_or(PeerError::CertificateHex)?))?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots)).map_err(|_| PeerError::CertificateHex)?;
    config.transport_config(transport());
    Ok(config)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    transport.datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES));
    Arc::new(transport)
}
