//! The supervisor's UNIX socket: commands that change something come in here, one JSON line each.
//!
//! The server's half never blocks: it is polled by the supervisor's loop through one descriptor. The socket is
//! 0600 in a directory of 0700, and the peer's uid is checked on top. A connection carries one request at a time
//! and is closed when it breaks a bound; the client's half is blocking, with time-outs.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfort_protocol::Schema;
use ringfort_shm_state::layout::FieldName;
use rustix::event::epoll;
use rustix::fs::Timespec;
use serde::{Deserialize, Serialize};

use super::audit::{Audit, Peer, Released};
use crate::config::{LogLevel, Options};
use crate::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_IDLE_MS, CONTROL_LINE_BYTES_MAX, CONTROL_REPLY_MS, OPERATION_REPLY_MS};
use crate::log_level::LogRole;

/// What a command asks of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Stop the instance.
    Down,
    /// Take no new players, and stop the instance when all have gone.
    DownDrain {
        /// After so many seconds, whoever is left.
        #[serde(default)]
        timeout_s: Option<u32>,
    },
    /// Create a match.
    MatchesCreate {
        /// Its name.
        name: String,
        /// The game's options, over those of the configuration.
        options: Options,
        /// Whether it is joined only with a code.
        #[serde(default)]
        private: bool,
        /// Spectators that it has room for; what the configuration says when absent.
        #[serde(default)]
        spectators: Option<u32>,
        /// Minutes without a session after which it ends itself; what the configuration says when absent.
        #[serde(default)]
        idle_minutes: Option<u32>,
    },
    /// End a session.
    SessionsKick {
        /// The match that it is in.
        name: String,
        /// Its id.
        session: u64,
    },
    /// Give a field of an entity or of a global a value.
    Set(SetField),
    /// End a match.
    MatchesEnd {
        /// Its name.
        name: String,
    },
    /// Let a paused match go on.
    MatchesResume {
        /// Its name.
        name: String,
    },
    /// Have a match handed over to another sim.
    ZonesMove {
        /// Its name.
        name: String,
        /// The sim's slot.
        to: u32,
    },
    /// Have so many sims at work.
    SimsScale {
        /// How many.
        sims: u32,
    },
    /// Move all matches away from a sim and replace its process.
    DrainSim {
        /// Its slot.
        sim: u32,
    },
    /// Have so many front-ends.
    FrontendsScale {
        /// How many.
        frontends: u32,
    },
    /// Send all clients of a front-end to the others and replace its process.
    DrainFrontend {
        /// Its slot.
        frontend: u32,
    },
    /// Replace the sims and front-ends by processes of another binary.
    Upgrade {
        /// Where it is.
        binary: PathBuf,
    },
    /// Change what running processes log.
    LogLevel {
        /// From which level on.
        level: LogLevel,
        /// Only those of this role.
        #[serde(default)]
        role: Option<LogRole>,
    },
    /// Put answers of the hook into the mailboxes of their matches.
    HookAnswers {
        /// The answers.
        answers: Vec<HookAnswer>,
    },
}

/// A value for a field, by its place in the schema, which the match's tables hash vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetField {
    /// The match's name.
    pub name: String,
    /// The match's id.
    pub match_id: u64,
    /// The entity: index, and generation in the upper half; 0 for a global.
    pub entity: u64,
    /// Whether the field is a global's.
    pub global: bool,
    /// Index of the column, or of the global.
    pub column: u16,
    /// Index of the field in it.
    pub field: u16,
    /// The field's bytes in memory.
    pub value: Vec<u8>,
}

impl SetField {
    /// The field's place in the schema.
    pub fn field(&self) -> FieldName {
        FieldName { global: self.global, column: self.column, field: self.field }
    }
}

impl Request {
    /// How long whoever asks waits for the answer.
    pub fn patience(&self) -> Duration {
        let ms = match self {
            Request::ZonesMove { .. }
            | Request::SimsScale { .. }
            | Request::DrainSim { .. }
            | Request::FrontendsScale { .. }
            | Request::DrainFrontend { .. }
            | Request::Upgrade { .. } => OPERATION_REPLY_MS,
            _ => CONTROL_REPLY_MS,
        };
        Duration::from_millis(ms)
    }
}

/// What the hook says of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookAnswer {
    /// The match.
    pub match_id: u64,
    /// The request's number in it.
    pub id: u64,
    /// What became of it.
    pub verdict: HookVerdict,
    /// The answer, or why there is none.
    pub text: String,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookVerdict {
    /// The hook has answered.
    Answered,
    /// The hook says that it cannot.
    Failed,
    /// The hook has the match's result.
    Taken,
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Response {
    /// Done.
    Ok {
        /// What was done, for a human.
        sentence: String,
        /// The match that it was done to, if to one.
        match_id: Option<u64>,
    },
    /// Which answers stand in their mailboxes, or wait for nobody any more, in order. The others have no room yet.
    Posted {
        /// One for each answer.
        posted: Vec<bool>,
    },
    /// Refused or failed.
    Error {
        /// Why, and what to do.
        sentence: String,
    },
}

/// Names a connection that waits for a reply; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnToken(u64);

/// The listener's place among the epoll's tokens; connections count from 1.
const LISTENER: u64 = 0;
/// The audit log's.
const AUDIT: u64 = u64::MAX;

/// Why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the control socket {} ({source}); check that its path is shorter than 108 bytes and writable", path.display())]
pub struct ControlBindError {
    path: PathBuf,
    source: io::Error,
}

/// What is wrong with a line that a peer sent; it is told, and its connection closed.
#[derive(Debug, thiserror::Error)]
enum LineError {
    /// Longer than a request may be.
    #[error("the request is longer than {CONTROL_LINE_BYTES_MAX} bytes; shorten it")]
    TooLong,
    /// Bytes follow the request before it was answered.
    #[error("another request follows before the first was answered; wait for the answer")]
    Impatient,
    /// Not a request.
    #[error("the request cannot be understood ({0}); use a `ringfort` of the same version as the server")]
    NotARequest(#[from] serde_json::Error),
}

/// The server's half. Its descriptor is readable when [`ControlServer::poll`] has something to do.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    next_token: u64,
    path: PathBuf,
    audit: Option<Audit>,
    /// Of other users, that were refused and not counted elsewhere yet.
    refused_peers: u64,
}

#[derive(Debug)]
struct Connection {
    token: u64,
    stream: UnixStream,
    peer: Peer,
    /// The bytes of a request that has not ended yet.
    line: Vec<u8>,
    /// When it is closed unless a request has come.
    deadline: Instant,
    /// Its request was handed out and is not answered yet.
    waiting: bool,
}

/// What reading from a connection came to.
enum Progress {
    /// More is needed.
    Partial,
    /// Here it is.
    Request(Request),
    /// The peer has left.
    Gone,
}

impl AsFd for ControlServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // A client would take a socket that nobody listens to for a dead instance, which is right too.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ControlServer {
    /// Listens at `path`, in place of a socket that a killed supervisor left there. Only for the holder of the
    /// instance's lock.
    pub fn bind(path: &Path) -> Result<ControlServer, ControlBindError> {
        Self::try_bind(path).map_err(|source| ControlBindError { path: path.to_owned(), source })
    }

    fn try_bind(path: &Path) -> io::Result<ControlServer> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let connections = Vec::with_capacity(CONTROL_CONNECTIONS_MAX);
        Ok(ControlServer {
            listener,
            epoll,
            connections,
            next_token: LISTENER + 1,
            path: path.to_owned(),
            audit: None,
            refused_peers: 0,
        })
    }

    /// Has every command noted in an audit log, before it is answered.
    pub(super) fn audited(mut self, file: PathBuf, schema: &'static Schema) -> Result<ControlServer, ControlBindError> {
        let failed = |source| ControlBindError { path: file.clone(), source };
        let audit = Audit::to(file.clone(), schema).map_err(failed)?;
        epoll::add(&self.epoll, &audit, epoll::EventData::new_u64(AUDIT), epoll::EventFlags::IN)
            .map_err(|error| failed(error.into()))?;
        self.audit = Some(audit);
        Ok(self)
    }

    /// Processes of other users that were refused since the last call.
    pub(super) fn take_refused_peers(&mut self) -> u64 {
        std::mem::take(&mut self.refused_peers)
    }

    /// Accepts, reads and times out what is due, without blocking. Each request wants one [`ControlServer::reply`].
    pub fn poll(&mut self, now: Instant) -> Vec<(ConnToken, Request)> {
        let mut requests = Vec::new();
        let mut events = Vec::with_capacity(CONTROL_CONNECTIONS_MAX + 1);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An interrupted wait leaves no events; what is ready is still ready at the next poll.
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once));
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept(now),
                // Asked below, at each poll.
                AUDIT => {}
                token => {
                    if let Some((request, peer)) = self.read(token) {
                        requests.extend(self.begin(token, peer, request, now));
                    }
                }
            }
        }
        let released = self.audit.as_mut().map(Audit::released).unwrap_or_default();
        requests.extend(released.into_iter().filter_map(|(token, released)| self.go_on(token, released, now)));
        self.connections.retain(|connection| connection.waiting || connection.deadline > now);
        requests
    }

    fn begin(&mut self, token: u64, peer: Peer, request: Request, now: Instant) -> Option<(ConnToken, Request)> {
        let released = match &mut self.audit {
            Some(audit) => audit.begin(token, peer, request, now)?,
            None => Released::Request(request),
        };
        self.go_on(token, released, now)
    }

    fn go_on(&mut self, token: u64, released: Released, now: Instant) -> Option<(ConnToken, Request)> {
        match released {
            Released::Request(request) => Some((ConnToken(token), request)),
            Released::Response(response) => {
                self.send(token, &response, now);
                None
            }
        }
    }

    /// Waits until what was answered is noted and sent, or the time is over. Requests that are yet to be handed out are answered at once.
    pub(super) fn finish(&mut self, within: Duration, answer: impl Fn(&Request) -> Response) {
        let until = Instant::now() + within;
        loop {
            let released = self.audit.as_mut().map(|audit| audit.wait(until)).unwrap_or_default();
            if released.is_empty() {
                return;
            }
            for (token, released) in released {
                if let Some((asker, request)) = self.go_on(token, released, Instant::now()) {
                    self.reply(asker, &answer(&request), Instant::now());
                }
            }
        }
    }

    /// When [`ControlServer::poll`] wants to be called though nothing has arrived.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.connections.iter().filter(|connection| !connection.waiting).map(|connection| connection.deadline).min()
    }

    /// Answers a request, once it is noted in the audit log. A peer that has left or doesn't read is forgotten: its request was carried out all
    /// the same.
    pub fn reply(&mut self, to: ConnToken, response: &Response, now: Instant) {
        let response = match &mut self.audit {
            Some(audit) => audit.answer(to.0, response, now),
            None => Some(response.clone()),
        };
        if let Some(response) = response {
            self.send(to.0, &response, now);
        }
    }

    fn send(&mut self, to: u64, response: &Response, now: Instant) {
        let Some(at) = self.connections.iter().position(|connection| connection.token == to) else { return };
        let connection = &mut self.connections[at];
        connection.waiting = false;
        connection.deadline = now + Duration::from_millis(CONTROL_IDLE_MS);
        if send_line(&mut connection.stream, response).is_err() {
            self.connections.swap_remove(at);
        }
    }

    fn accept(&mut self, now: Instant) {
        // Bounded: what is left over wakes the next poll.
        for _ in 0..CONTROL_CONNECTIONS_MAX {
            let Ok((mut stream, _)) = self.listener.accept() else { return };
            let peer = peer_of(&stream);
            let refusal = if !is_allowed(peer) {
                self.refused_peers += 1;
                Some("only the user that started the instance may command it; run this as that user")
            } else if self.connections.len() == CONTROL_CONNECTIONS_MAX {
                Some("too many commands are running at once; try again in a moment")
            } else {
                None
            };
            if let Some(sentence) = refusal {
                let _ = send_line(&mut stream, &Response::Error { sentence: sentence.to_owned() });
                if let Some(audit) = self.audit.as_mut().filter(|_| !is_allowed(peer)) {
                    audit.refused_peer(peer, sentence);
                }
                continue;
            }
            // What can't be watched is dropped, and so closed.
            let _ = self.add(stream, peer, now);
        }
    }

    fn add(&mut self, stream: UnixStream, peer: Peer, now: Instant) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let token = self.next_token;
        self.next_token += 1;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        let deadline = now + Duration::from_millis(CONTROL_IDLE_MS);
        self.connections.push(Connection { token, stream, peer, line: Vec::new(), deadline, waiting: false });
        Ok(())
    }

    fn read(&mut self, token: u64) -> Option<(Request, Peer)> {
        let at = self.connections.iter().position(|connection| connection.token == token)?;
        let connection = &mut self.connections[at];
        match connection.read() {
            Ok(Progress::Partial) => None,
            Ok(Progress::Request(request)) => Some((request, connection.peer)),
            Ok(Progress::Gone) => {
                self.connections.swap_remove(at);
                None
            }
            Err(error) => {
                let _ = send_line(&mut connection.stream, &Response::Error { sentence: error.to_string() });
                self.connections.swap_remove(at);
                None
            }
        }
    }
}

impl Connection {
    fn read(&mut self) -> Result<Progress, LineError> {
        let mut chunk = [0; 4096];
        loop {
            let count = match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Progress::Gone),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Partial),
                Err(_) => return Ok(Progress::Gone),
            };
            if self.waiting {
                return Err(LineError::Impatient);
            }
            let arrived = &chunk[..count];
            let end = arrived.iter().position(|byte| *byte == b'\n');
            let kept = end.unwrap_or(count);
            if self.line.len() + kept >= CONTROL_LINE_BYTES_MAX {
                return Err(LineError::TooLong);
            }
            self.line.extend_from_slice(&arrived[..kept]);
            match end {
                None => {}
                Some(end) if end + 1 < count => return Err(LineError::Impatient),
                Some(_) => return self.take_request(),
            }
        }
    }

    fn take_request(&mut self) -> Result<Progress, LineError> {
        let request = serde_json::from_slice(&self.line)?;
        self.line.clear();
        self.waiting = true;
        Ok(Progress::Request(request))
    }
}

/// Who has connected; of one that the kernel does not tell of, nobody that may command.
fn peer_of(stream: &UnixStream) -> Peer {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    peer.map_or(Peer { uid: u32::MAX, pid: 0 }, |peer| Peer { uid: peer.uid.as_raw(), pid: peer.pid.as_raw_pid() })
}

/// The directory's mode keeps others out already; root may do everything anyway.
fn is_allowed(peer: Peer) -> bool {
    peer.uid == rustix::process::geteuid().as_raw() || peer.uid == 0
}

/// One write: a response is far smaller than a socket's buffer, so what doesn't fit at once is a peer that doesn't read.
fn send_line(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Why a command got no answer from the supervisor.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error(
        "instance \"{instance}\" is not running; start it with `ringfort up --instance {instance}`, or name another with --instance"
    )]
    NotRunning {
        /// Which instance.
        instance: String,
    },
    /// The supervisor doesn't answer.
    #[error("instance \"{instance}\" did not answer in time; see `ringfort status --instance {instance}` and its supervisor.log")]
    NoAnswer {
        /// Which instance.
        instance: String,
    },
    /// The supervisor closed the connection without an answer.
    #[error("instance \"{instance}\" went away before it answered; see `ringfort status --instance {instance}`")]
    WentAway {
        /// Which instance.
        instance: String,
    },
    /// The answer is none.
    #[error("the answer of instance \"{instance}\" cannot be understood ({source}); use a `ringfort` of the server's version")]
    NotAResponse {
        /// Which instance.
        instance: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The request is too long to be sent.
    #[error("the request is longer than {CONTROL_LINE_BYTES_MAX} bytes; give fewer or shorter options")]
    TooLong,
    /// The socket can't be used.
    #[error("cannot talk to instance \"{instance}\" through {} ({source}); run this as the user that started it", path.display())]
    Other {
        /// Which instance.
        instance: String,
        /// Its control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Sends one request to the supervisor at `path` and waits for its answer, as long as that may take.
pub fn request(instance: &str, path: &Path, request: &Request) -> Result<Response, ControlError> {
    request_within(instance, path, request, request.patience())
}

/// [`request`] with a time-out of the caller's choice, for connecting, sending and each read.
pub fn request_within(instance: &str, path: &Path, request: &Request, timeout: Duration) -> Result<Response, ControlError> {
    let failed = |source: io::Error| client_error(instance, path, source);
    let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    if line.len() > CONTROL_LINE_BYTES_MAX {
        return Err(ControlError::TooLong);
    }
    let mut stream = connect(path, timeout).map_err(failed)?;
    match stream.write_all(&line) {
        // A supervisor that refuses the connection says why and closes it, maybe before the request is sent.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        sent => sent.map_err(failed)?,
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") && answer.len() < CONTROL_LINE_BYTES_MAX {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).map_err(failed)? {
            0 => return Err(ControlError::WentAway { instance: instance.to_owned() }),
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    serde_json::from_slice(&answer).map_err(|source| ControlError::NotAResponse { instance: instance.to_owned(), source })
}

/// Connecting waits while the supervisor's backlog is full; on a UNIX socket the send time-out bounds that too.
fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_write_timeout(Some(timeout))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

fn client_error(instance: &str, path: &Path, source: io::Error) -> ControlError {
    let instance = instance.to_owned();
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => ControlError::NotRunning { instance },
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ControlError::NoAnswer { instance },
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => ControlError::WentAway { instance },
        _ => ControlError::Other { instance, path: path.to_owned(), source },
    }
}

#[cfg(test)]
#[path = "control/tests.rs"]
mod tests;
