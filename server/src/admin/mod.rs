//! The admin process: answers monitors over HTTP, from shared memory that it maps read-only, and so also while sims and supervisor hang.
//!
//! It keeps nothing between two requests, and is handed the listening socket and nothing else. Whoever asks without the token, too much, too slowly
//! or for something else is told so or closed, and counted.

pub mod counters;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::digest::{Digest, SHA256, digest};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::flight::FlightRing;
use ringfort_shm_state::layout::{Role, SegmentKind};
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec};
use ringfort_shm_state::worker::WorkerPage;
use tokio::net::TcpStream;
use tracing::{info, warn};

use crate::attach::Attached;
use crate::clock::now_us;
use crate::config::{Admin, Config, ConfigError};
use crate::flight;
use crate::limits::{
    ADMIN_BEAT_MS, ADMIN_CONNECTION_MS, ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX, ADMIN_REQUEST_MS,
    PORT_FREE_MS, PORT_LOOK_MS,
};
use crate::log_level;
use crate::look::{ills, printable};
use crate::metrics::{self, CONTENT_TYPE as OPENMETRICS};
use crate::status::Status;
use crate::supervisor::spawn::{FD_ADMIN, MissingDescriptor};
use counters as count;

/// Monitors cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The port is taken, or not ours.
    #[error("monitors cannot be answered at {address} ({source}); choose another port with `up --admin` or `admin.listen`")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// What is configured cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A segment is not there or not ours.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The supervisor did not pass the socket.
    #[error(transparent)]
    Descriptor(#[from] MissingDescriptor),
    /// The system refused.
    #[error("the admin process cannot wait for connections ({0}); look at the limits of the process that starts it")]
    Io(#[from] io::Error),
}

/// In the supervisor: the socket on which monitors are to be answered, if they are to be. An earlier run's process may hold the port for a moment.
pub(crate) fn listen(admin: &Admin) -> Result<Option<TcpListener>, AdminError> {
    let Some(address) = admin.address()? else { return Ok(None) };
    admin.token()?;
    let tries = PORT_FREE_MS / PORT_LOOK_MS;
    let mut refused = None;
    for _ in 0..tries.max(1) {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() != 0 => refused = Some(error),
            Err(source) => return Err(AdminError::Listen { address, source }),
        }
        std::thread::sleep(Duration::from_millis(PORT_LOOK_MS));
    }
    let source = refused.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
    Err(AdminError::Listen { address, source })
}

/// What all requests share.
struct Desk {
    instance: String,
    hang_ms: u64,
    /// The hash of the token that is asked for, so that comparing takes the same time whatever is shown.
    token: Option<Digest>,
    own: Segment,
    directory: Segment,
    connections: AtomicUsize,
}

/// Answers monitors until the process is ended.
pub fn run(instance: &str, slot: u32, config: &Config) -> Result<Infallible, AdminError> {
    let spec = SegmentSpec::worker(SegmentKind::Admin, slot);
    let own = Segment::open(instance, spec, Access::ReadWrite)?;
    WorkerPage::new(&own).claim();
    flight::start(instance, spec, FlightRing::WORKER, 0)?;
    let listener = TcpListener::from(FD_ADMIN.take()?);
    listener.set_nonblocking(true)?;
    let desk = Desk {
        instance: instance.to_owned(),
        hang_ms: config.hang_ms.into(),
        token: config.admin.token()?.map(|token| digest(&SHA256, token.as_bytes())),
        own,
        directory: Segment::open(instance, SegmentSpec::DIRECTORY, Access::ReadOnly)?,
        connections: AtomicUsize::new(0),
    };
    // One thread: a scrape is a few milliseconds, and the segment has one writer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    info!("the admin process is ready");
    runtime.block_on(serve(listener, Arc::new(desk)))
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) -> Result<Infallible, AdminError> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let beating = Arc::clone(&desk);
    tokio::spawn(async move {
        loop {
            beating.beat();
            tokio::time::sleep(Duration::from_millis(ADMIN_BEAT_MS)).await;
        }
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) if desk.connections.load(Ordering::Relaxed) < ADMIN_CONNECTIONS_MAX => {
                desk.connections.fetch_add(1, Ordering::Relaxed);
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    desk.answer_all(stream).await;
                    desk.connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Ok(_) => desk.count(count::CONNECTIONS_REFUSED),
            Err(error) => {
                warn!("a monitor's connection is not taken: {error}");
                // As when this process may open no more files.
                tokio::time::sleep(Duration::from_millis(ADMIN_BEAT_MS)).await;
            }
        }
    }
}

impl Desk {
    fn beat(&self) {
        let page = WorkerPage::new(&self.own);
        page.beat(now_us());
        let directory = Directory::new(&self.directory);
        log_level::follow_in(directory.instance().as_ref(), Role::Admin, &page);
        page.saw_generation(directory.generation());
    }

    fn count(&self, counter: usize) {
        WorkerPage::new(&self.own).add(counter, 1);
    }

    /// Answers what comes over a connection until it is closed or its time is over.
    async fn answer_all(self: &Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(self.answer(&request))));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(ADMIN_REQUEST_MS))
            .max_buf_size(ADMIN_HEAD_BYTES_MAX)
            .max_headers(ADMIN_HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(Duration::from_millis(ADMIN_CONNECTION_MS), connection).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => self.count(count::CONNECTIONS_BROKEN),
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        self.count(count::REQUESTS);
        if !self.is_allowed(request.headers().get(AUTHORIZATION)) {
            self.count(count::TOKENS_REFUSED);
            let mut response = said(StatusCode::UNAUTHORIZED, "show the token of `admin.token_file` as a bearer token");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            self.count(count::REQUESTS_UNKNOWN);
            let mut response = said(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here; ask with GET");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            self.count(count::REQUESTS_UNKNOWN);
            return said(StatusCode::NOT_FOUND, "there is /metrics, /healthz and /readyz");
        }
        let attached = match Attached::open(&self.instance) {
            Ok(attached) => attached,
            Err(error) => return said(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        };
        match path {
            "/metrics" => {
                let mut response = Response::new(metrics::text(&attached));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
                response
            }
            "/healthz" => {
                let findings = ills::look(&attached, self.hang_ms);
                let ills = findings.iter().filter(|finding| finding.is_ill());
                health_of(&ills.map(|finding| finding.what.as_str()).collect::<Vec<_>>())
            }
            _ => health_of(&ills::doubts(&Status::look(&attached))),
        }
    }

    fn is_allowed(&self, shown: Option<&HeaderValue>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = shown.and_then(|value| value.as_bytes().split_at_checked(7));
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case(b"bearer ") && digest(&SHA256, shown).as_ref() == token.as_ref()
        })
    }
}

fn health_of(ills: &[&str]) -> Response<String> {
    match ills {
        [] => said(StatusCode::OK, "ok"),
        ills => {
            let lines: Vec<String> = ills.iter().map(|ill| printable(ill)).collect();
            said(StatusCode::SERVICE_UNAVAILABLE, &lines.join("\n"))
        }
    }
}

fn said(status: StatusCode, sentence: &str) -> Response<String> {
    let mut response = Response::new(format!("{sentence}\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
