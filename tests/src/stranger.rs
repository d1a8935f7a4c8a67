//! A client that says what it likes: another QUIC stack (quinn proper, with tokio), and no idea of sessions.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, ConnectionStats, Endpoint, RecvStream, SendStream};
use ringfort_protocol::codec::{self, FRAME_HEADER_BYTES};
use ringfort_protocol::control::{ClientMsg, Code, Credential, ServerMsg};
use ringfort_protocol::input::INPUT_TAG;
use ringfort_protocol::limits::{MIN_CLIENT_DATAGRAM, PROTOCOL_VERSION};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::{Builder, Runtime};

use crate::{Instance, LOOK_AGAIN, PATIENCE};

/// How long after a snapshot it gives its input: in the midst of a tick.
const INPUT_AFTER: Duration = Duration::from_millis(15);

/// A connection and its control stream.
pub struct Stranger {
    send: SendStream,
    receive: RecvStream,
    connection: Connection,
    _endpoint: Endpoint,
    runtime: Runtime,
}

impl Stranger {
    /// Connects and opens the control stream, of which the server hears with the first byte.
    pub fn connect(instance: &Instance, alpn: &[u8]) -> Result<Stranger, ConnectionError> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
        let config = config(instance, alpn);
        let (endpoint, connection, (send, receive)) = within(&runtime, async {
            let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a client's socket");
            let connecting = endpoint.connect_with(config, instance.address(), "localhost").expect("the address is one");
            let connection = connecting.await?;
            let stream = connection.open_bi().await?;
            Ok::<_, ConnectionError>((endpoint, connection, stream))
        })?;
        Ok(Stranger { send, receive, connection, _endpoint: endpoint, runtime })
    }

    /// Writes bytes to the control stream.
    pub fn write(&mut self, bytes: &[u8]) {
        within(&self.runtime, self.send.write_all(bytes)).expect("the control stream takes bytes");
    }

    /// Writes a message to the control stream.
    pub fn say(&mut self, message: &ClientMsg) {
        let mut frame = Vec::new();
        codec::encode_frame(message, &mut frame).expect("the message can be encoded");
        self.write(&frame);
    }

    /// Introduces itself as one who plays a game of this schema.
    pub fn hello(&mut self, schema_hash: u64) {
        self.hello_as("stranger", schema_hash, false);
    }

    /// The same under a name, and as one who lets its timers wait or does not.
    pub fn hello_as(&mut self, name: &str, schema_hash: u64, rounds: bool) {
        let credential = Credential::Name(name.to_owned());
        self.say(&ClientMsg::Hello { version: PROTOCOL_VERSION, schema_hash, credential, attempt: 0, resume: None, rounds });
    }

    /// The next message of the server.
    pub fn hear(&mut self) -> ServerMsg {
        let Stranger { receive, runtime, .. } = self;
        let body = within(runtime, async {
            let mut header = [0; FRAME_HEADER_BYTES];
            receive.read_exact(&mut header).await.expect("a frame's length");
            let mut body = vec![0; usize::from(u16::from_le_bytes(header))];
            receive.read_exact(&mut body).await.expect("a frame's body");
            body
        });
        codec::decode(&body).expect("a message of the server")
    }

    /// Sends a datagram.
    pub fn datagram(&self, bytes: &[u8]) {
        let _inside = self.runtime.enter();
        self.connection.send_datagram(bytes.to_vec().into()).expect("the connection takes datagrams");
    }

    /// Is in a match for so many snapshots, and acknowledges each as soon as it has it; what QUIC counted meanwhile.
    pub fn watch(&mut self, stay: u8, snapshots: usize) -> ConnectionStats {
        let Stranger { connection, runtime, .. } = self;
        let before = connection.stats();
        within(runtime, async {
            for _ in 0..snapshots {
                let snapshot = connection.read_datagram().await.expect("a snapshot");
                // It is at another moment than the server's that a player gives inputs.
                tokio::time::sleep(INPUT_AFTER).await;
                let mut datagram = vec![0; MIN_CLIENT_DATAGRAM];
                (datagram[0], datagram[1]) = (INPUT_TAG, stay);
                datagram[6..10].copy_from_slice(&snapshot[2..6]);
                connection.send_datagram(datagram.into()).expect("the connection takes datagrams");
            }
        });
        let mut after = connection.stats();
        after.frame_tx.ping -= before.frame_tx.ping;
        after.frame_tx.datagram -= before.frame_tx.datagram;
        after.frame_rx.datagram -= before.frame_rx.datagram;
        after.udp_rx.datagrams -= before.udp_rx.datagrams;
        after
    }

    /// Ends the control stream in order, as nobody does who plays.
    pub fn finish(&mut self) {
        self.send.finish().expect("the stream is open");
    }

    /// Takes the control stream back in the midst of it.
    pub fn reset(&mut self) {
        self.send.reset(Code::Left.into()).expect("the stream is open");
    }

    /// Whether the server lets it open one more stream, of either kind, while `waiting`.
    pub fn opens_another(&self, mut waiting: impl FnMut() -> bool) -> bool {
        let patience = async {
            while waiting() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        within(&self.runtime, async {
            tokio::select! {
                _ = self.connection.open_bi() => true,
                _ = self.connection.open_uni() => true,
                () = patience => false,
            }
        })
    }

    /// Waits until the server closes the connection; the code and the reason that it gives.
    pub fn closed(self) -> (Option<Code>, String) {
        match within(&self.runtime, self.connection.closed()) {
            ConnectionError::ApplicationClosed(close) => {
                (Code::from_u64(close.error_code.into_inner()), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("the connection was not closed with a code: {other}"),
        }
    }
}

fn within<R>(runtime: &Runtime, what: impl Future<Output = R>) -> R {
    let done = runtime.block_on(async { tokio::time::timeout(PATIENCE, what).await });
    done.expect("the server answers a stranger in time")
}

/// Believes the certificate that the instance made for itself, and nobody else.
fn config(instance: &Instance, alpn: &[u8]) -> ClientConfig {
    let certificate = CertificateDer::from_pem_file(instance.certificate()).expect("the instance's certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("the certificate can be trusted");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut tls = tls.expect("TLS 1.3").with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a cipher suite for QUIC")))
}
