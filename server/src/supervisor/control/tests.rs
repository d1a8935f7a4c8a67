//! A server polled by hand against clients in threads, and against peers that misbehave.

use super::*;
use crate::config::OptionValue;
use std::io::{BufRead, BufReader};
use std::thread;

struct Fixture {
    server: ControlServer,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    Fixture { server: ControlServer::bind(&path).unwrap(), path, _directory: directory }
}

impl Fixture {
    /// Waits for the server's descriptor and polls until there are requests.
    fn requests(&mut self) -> Vec<(ConnToken, Request)> {
        loop {
            self.wait_readable();
            let requests = self.server.poll(Instant::now());
            if !requests.is_empty() {
                return requests;
            }
        }
    }

    fn wait_readable(&self) {
        let mut fds = [rustix::event::PollFd::new(&self.server, rustix::event::PollFlags::IN)];
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&patience)).unwrap(), 1, "nothing arrived");
    }

    /// What a peer that sends `bytes` is told.
    fn answer_to(&mut self, bytes: &[u8]) -> Response {
        let mut peer = UnixStream::connect(&self.path).unwrap();
        peer.write_all(bytes).unwrap();
        // One poll accepts, the next reads.
        for _ in 0..2 {
            assert_eq!(self.server.poll(Instant::now()), []);
        }
        let mut line = String::new();
        BufReader::new(peer).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn done() -> Response {
    Response::Ok { sentence: "done".into(), match_id: Some(7) }
}

#[test]
fn a_request_is_answered() {
    let mut fixture = fixture();
    let mode = std::fs::metadata(&fixture.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let options = Options::from([("capacity".into(), OptionValue::Number(8))]);
    let wanted = Request::MatchesCreate { name: "arena".into(), options, private: true, spectators: Some(2), idle_minutes: None };
    let client = {
        let (path, wanted) = (fixture.path.clone(), wanted.clone());
        thread::spawn(move || request("a", &path, &wanted))
    };
    let [(token, got)] = &fixture.requests()[..] else { panic!("not one request") };
    assert_eq!(*got, wanted);
    // A request that is being carried out is not timed out.
    let later = Instant::now() + Duration::from_millis(2 * CONTROL_IDLE_MS);
    assert_eq!((fixture.server.poll(later), fixture.server.next_timeout()), (vec![], None));
    fixture.server.reply(*token, &done(), Instant::now());
    assert_eq!(client.join().unwrap().unwrap(), done());
    // The token of a connection that is gone harms nobody.
    fixture.wait_readable();
    fixture.server.poll(Instant::now());
    assert!(fixture.server.connections.is_empty());
    fixture.server.reply(*token, &done(), Instant::now());
}

#[test]
fn one_connection_may_ask_again() {
    let mut fixture = fixture();
    let mut peer = UnixStream::connect(&fixture.path).unwrap();
    for _ in 0..2 {
        peer.write_all(b"{\"request\":\"do").unwrap();
        peer.write_all(b"wn\"}\n").unwrap();
        let requests = fixture.requests();
        assert_eq!(requests[0].1, Request::Down);
        fixture.server.reply(requests[0].0, &done(), Instant::now());
        let mut line = String::new();
        BufReader::new(&peer).read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), done());
    }
}

#[test]
fn misbehaving_peers_are_told_and_closed() {
    let mut fixture = fixture();
    let mut check = |bytes: &[u8], word: &str| match fixture.answer_to(bytes) {
        Response::Error { sentence } => assert!(sentence.contains(word), "{sentence}"),
        Response::Ok { .. } | Response::Posted { .. } => panic!("accepted"),
    };
    check(b"nonsense\n", "cannot be understood");
    check(b"{\"request\":\"reboot\"}\n", "cannot be understood");
    check(b"{\"request\":\"down\"}\n{\"request\":\"down\"}\n", "wait for the answer");
    check(&[b' '; CONTROL_LINE_BYTES_MAX], "shorten it");
    assert!(fixture.server.connections.is_empty());
}

#[test]
fn silent_connections_are_closed_and_counted() {
    let mut fixture = fixture();
    let peers: Vec<UnixStream> = (0..CONTROL_CONNECTIONS_MAX).map(|_| UnixStream::connect(&fixture.path).unwrap()).collect();
    let now = Instant::now();
    fixture.server.poll(now);
    assert_eq!(fixture.server.connections.len(), CONTROL_CONNECTIONS_MAX);
    let client = {
        let path = fixture.path.clone();
        thread::spawn(move || request("a", &path, &Request::Down))
    };
    fixture.wait_readable();
    fixture.server.poll(now);
    match client.join().unwrap() {
        Ok(Response::Error { sentence }) => assert!(sentence.contains("too many"), "{sentence}"),
        other => panic!("{other:?}"),
    }
    let deadline = fixture.server.next_timeout().unwrap();
    assert_eq!(deadline, now + Duration::from_millis(CONTROL_IDLE_MS));
    fixture.server.poll(deadline);
    assert!(fixture.server.connections.is_empty());
    drop(peers);
}

#[test]
fn clients_say_what_is_wrong() {
    let fixture = fixture();
    let path = fixture.path.clone();
    let quickly = |path: &Path| request_within("a", path, &Request::Down, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(quickly(&path), ControlError::NoAnswer { .. }));
    let copy = path.with_file_name("left");
    std::fs::hard_link(&path, &copy).unwrap();
    drop(fixture.server);
    assert!(!path.exists());
    let sentence = quickly(&copy).to_string();
    assert!(sentence.contains("not running") && sentence.contains("ringfort up --instance a"), "{sentence}");
    assert!(matches!(quickly(&path), ControlError::NotRunning { .. }));
    // A socket that a killed supervisor left is replaced.
    ControlServer::bind(&copy).unwrap();
}
