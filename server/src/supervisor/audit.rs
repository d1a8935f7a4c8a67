//! The audit log of what is asked over the control socket: a command is carried out only when its line can be written, and answered only when
//! the line is on disk.
//!
//! A thread does the writing, as a disk may take its time and the supervisor has none. A request is held until the file could be opened, and its
//! answer until the line was appended.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use ringfort_shm_state::layout::FlightKind;
use rustix::event::{EventfdFlags, eventfd};
use tracing::error;

use super::control::{Request, Response};
use crate::audit::{Entry, Outcome};
use crate::clock::wall_us;
use crate::flight::{self, Note};
use crate::jsonl::append;
use crate::limits::{AUDIT_BYTES_MAX, AUDIT_JOBS_MAX, PASSWD_BYTES_MAX};
use crate::look::flights::rfc3339;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) pid: i32,
}

/// What was held and now may go on.
pub(super) enum Released {
    /// A request that may be carried out.
    Request(Request),
    /// An answer that may be given.
    Response(Response),
}

/// The log and what waits for it.
#[derive(Debug)]
pub(super) struct Audit {
    file: PathBuf,
    jobs: SyncSender<Job>,
    done: Receiver<(u64, io::Result<()>)>,
    wake: Arc<OwnedFd>,
    commands: HashMap<u64, Asked>,
}

/// A command between its request and the line that tells of it.
#[derive(Debug)]
struct Asked {
    peer: Peer,
    came: Instant,
    entry: Entry,
    /// Until the file could be opened.
    request: Option<Request>,
    /// Until the line is on disk.
    response: Option<Response>,
}

#[derive(Debug)]
struct Job {
    token: u64,
    /// Nothing is appended to see whether it can be.
    entry: Option<Entry>,
}

/// Stands for nobody who waits.
const NOBODY: u64 = 0;

impl AsFd for Audit {
    /// Readable when something is released.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Audit {
    /// Appends to a file.
    pub(super) fn to(file: PathBuf) -> io::Result<Audit> {
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (jobs, todo) = sync_channel::<Job>(AUDIT_JOBS_MAX);
        let (tell, done) = sync_channel(AUDIT_JOBS_MAX);
        let (path, waker) = (file.clone(), Arc::clone(&wake));
        // It ends with the supervisor, which waits for what it wants to know.
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            for Job { token, entry } in todo {
                let told = tell.send((token, write(&path, entry)));
                // A full counter means that the supervisor has yet to look.
                let _ = rustix::io::write(&*waker, &1u64.to_ne_bytes());
                if told.is_err() {
                    return;
                }
            }
        })?;
        Ok(Audit { file, jobs, done, wake, commands: HashMap::new() })
    }

    /// A request has come. It comes back at once when it is no command of an operator; else it is released later, or refused.
    pub(super) fn begin(&mut self, token: u64, peer: Peer, request: Request, now: Instant) -> Option<Released> {
        let Some((command, arguments)) = described(&request) else { return Some(Released::Request(request)) };
        let time = rfc3339(wall_us());
        let (uid, pid) = (peer.uid, peer.pid);
        let (user, outcome, sentence, duration_ms) = (None, Outcome::Refused, String::new(), 0);
        let entry = Entry { time, user, uid, pid, command, arguments, outcome, sentence, duration_ms };
        if let Err(error) = self.ask(Job { token, entry: None }) {
            return Some(Released::Response(self.refusal(&error)));
        }
        self.commands.insert(token, Asked { peer, came: now, entry, request: Some(request), response: None });
        None
    }

    /// An answer is ready. It comes back when nobody is to read of it before; else it is released when the line is on disk.
    pub(super) fn answer(&mut self, token: u64, response: &Response, now: Instant) -> Option<Response> {
        let Some(asked) = self.commands.get_mut(&token) else { return Some(response.clone()) };
        let (outcome, sentence) = match response {
            Response::Ok { sentence, .. } => (Outcome::Ok, sentence.clone()),
            Response::Error { sentence } => (Outcome::Refused, sentence.clone()),
            Response::Posted { .. } => (Outcome::Ok, String::new()),
        };
        asked.entry.duration_ms = now.saturating_duration_since(asked.came).as_millis() as u64;
        (asked.entry.outcome, asked.entry.sentence) = (outcome, sentence);
        asked.response = Some(response.clone());
        let (entry, uid) = (asked.entry.clone(), asked.peer.uid);
        let text = format!("{} of user {uid}: {}", entry.command, entry.sentence);
        let ok = u64::from(outcome == Outcome::Ok);
        flight::note(FlightKind::Operator, Note { a: uid.into(), b: ok, text: &text, ..Note::default() });
        match self.ask(Job { token, entry: Some(entry) }) {
            Ok(()) => None,
            Err(error) => {
                self.commands.remove(&token);
                Some(self.unwritten(&error, response))
            }
        }
    }

    /// Somebody else wanted to command the instance. Nobody waits for that line.
    pub(super) fn refused_peer(&self, peer: Peer, sentence: &str) {
        let entry = Entry {
            time: rfc3339(wall_us()),
            user: None,
            uid: peer.uid,
            pid: peer.pid,
            command: "connect".to_owned(),
            arguments: serde_json::Value::Null,
            outcome: Outcome::Refused,
            sentence: sentence.to_owned(),
            duration_ms: 0,
        };
        if let Err(error) = self.ask(Job { token: NOBODY, entry: Some(entry) }) {
            error!("user {} was refused, and the audit log does not tell of it: {error}", peer.uid);
        }
    }

    /// What may go on by now.
    pub(super) fn released(&mut self) -> Vec<(u64, Released)> {
        let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
        let mut released = Vec::new();
        loop {
            match self.done.try_recv() {
                Ok((token, done)) => released.extend(self.release(token, done)),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return released,
            }
        }
    }

    /// Waits for lines that are on their way, until then.
    pub(super) fn wait(&mut self, until: Instant) -> Vec<(u64, Released)> {
        let mut released = Vec::new();
        while !self.commands.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let Ok((token, done)) = self.done.recv_timeout(left.max(Duration::from_millis(1))) else { break };
            released.extend(self.release(token, done));
        }
        released
    }

    fn release(&mut self, token: u64, done: io::Result<()>) -> Option<(u64, Released)> {
        let asked = self.commands.get_mut(&token)?;
        let released = match (asked.request.take(), asked.response.take(), done) {
            (Some(request), _, Ok(())) => Released::Request(request),
            (Some(_), _, Err(error)) => {
                self.commands.remove(&token);
                Released::Response(self.refusal(&error))
            }
            (None, response, done) => {
                self.commands.remove(&token);
                let response = response?;
                Released::Response(match done {
                    Ok(()) => response,
                    Err(error) => self.unwritten(&error, &response),
                })
            }
        };
        Some((token, released))
    }

    fn ask(&self, job: Job) -> io::Result<()> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => io::Error::other("its disk is too slow"),
            TrySendError::Disconnected(_) => io::Error::other("its thread has ended"),
        })
    }

    fn refusal(&self, error: &io::Error) -> Response {
        let file = self.file.display();
        let sentence = format!("nothing was done, as the audit log {file} cannot be written ({error}); mend that and ask again");
        error!("{sentence}");
        Response::Error { sentence }
    }

    fn unwritten(&self, error: &io::Error, response: &Response) -> Response {
        let said = match response {
            Response::Ok { sentence, .. } | Response::Error { sentence } => sentence.as_str(),
            Response::Posted { .. } => "",
        };
        let file = self.file.display();
        let sentence = format!("the audit log {file} could not be written ({error}) of what has been done: {said}");
        error!("{sentence}");
        Response::Error { sentence }
    }
}

/// A command's name and arguments; nothing of what a process of the instance asks.
fn described(request: &Request) -> Option<(String, serde_json::Value)> {
    if matches!(request, Request::HookAnswers { .. }) {
        return None;
    }
    let mut arguments = serde_json::to_value(request).unwrap_or_default();
    let name = arguments.as_object_mut().and_then(|fields| fields.remove("request"));
    Some((name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(), arguments))
}

fn write(file: &Path, entry: Option<Entry>) -> io::Result<()> {
    let Some(entry) = entry else { return append(file, "", AUDIT_BYTES_MAX) };
    let entry = Entry { user: name_of(entry.uid), ..entry };
    let line = serde_json::to_string(&entry)?;
    append(file, &(line + "\n"), AUDIT_BYTES_MAX)
}

/// A user's name by the machine's own list. Directories of other machines are not asked: that may take any time.
fn name_of(uid: u32) -> Option<String> {
    use std::io::Read;
    let mut users = String::new();
    std::fs::File::open("/etc/passwd").ok()?.take(PASSWD_BYTES_MAX).read_to_string(&mut users).ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> Request {
        Request::MatchesEnd { name: "arena".to_owned() }
    }

    fn wait_for(audit: &mut Audit) -> (u64, Released) {
        audit.wait(Instant::now() + Duration::from_secs(10)).pop().expect("one is released")
    }

    /// What `wait` gives is all there is: a request that is released stays among the commands until it is answered.
    fn released_request(audit: &mut Audit) -> Request {
        let (token, done) = audit.done.recv().unwrap();
        match audit.release(token, done) {
            Some((5, Released::Request(request))) => request,
            _ => panic!("not the request"),
        }
    }

    const PEER: Peer = Peer { uid: 0, pid: 77 };

    #[test]
    fn a_command_is_carried_out_and_answered_around_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state").join("audit.jsonl");
        let mut audit = Audit::to(file.clone()).unwrap();
        let now = Instant::now();
        assert!(audit.begin(5, PEER, end(), now).is_none());
        assert_eq!(released_request(&mut audit), end());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "", "the file is there, and empty");
        let done = Response::Ok { sentence: "it ends".to_owned(), match_id: Some(3) };
        assert_eq!(audit.answer(5, &done, now + Duration::from_millis(12)), None);
        match wait_for(&mut audit) {
            (5, Released::Response(response)) => assert_eq!(response, done),
            _ => panic!("not the answer"),
        }
        let line: Entry = serde_json::from_str(std::fs::read_to_string(&file).unwrap().trim()).unwrap();
        assert_eq!((line.user.as_deref(), line.uid, line.pid, line.command.as_str()), (Some("root"), 0, 77, "matches-end"));
        assert_eq!((line.arguments, line.outcome, line.duration_ms), (serde_json::json!({ "name": "arena" }), Outcome::Ok, 12));
        assert_eq!(line.sentence, "it ends");
    }

    #[test]
    fn without_a_place_for_the_log_nothing_is_done() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("state"), "a file where the directory should be").unwrap();
        let mut audit = Audit::to(directory.path().join("state").join("audit.jsonl")).unwrap();
        assert!(audit.begin(5, PEER, end(), Instant::now()).is_none());
        match wait_for(&mut audit) {
            (5, Released::Response(Response::Error { sentence })) => assert!(sentence.contains("nothing was done"), "{sentence}"),
            _ => panic!("not refused"),
        }
    }

    #[test]
    fn a_log_that_is_lost_meanwhile_is_told_with_what_was_done() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut audit = Audit::to(state.join("audit.jsonl")).unwrap();
        assert!(audit.begin(5, PEER, end(), Instant::now()).is_none());
        assert_eq!(released_request(&mut audit), end());
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::write(&state, "").unwrap();
        let done = Response::Ok { sentence: "it ends".to_owned(), match_id: None };
        assert_eq!(audit.answer(5, &done, Instant::now()), None);
        match wait_for(&mut audit) {
            (5, Released::Response(Response::Error { sentence })) => {
                assert!(sentence.contains("could not be written") && sentence.ends_with("it ends"), "{sentence}");
            }
            _ => panic!("answered as if it were written"),
        }
    }

    #[test]
    fn what_a_process_of_the_instance_asks_is_no_command() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = Audit::to(directory.path().join("audit.jsonl")).unwrap();
        let answers = Request::HookAnswers { answers: Vec::new() };
        assert!(matches!(audit.begin(5, PEER, answers, Instant::now()), Some(Released::Request(_))));
        let posted = Response::Posted { posted: Vec::new() };
        assert_eq!(audit.answer(5, &posted, Instant::now()), Some(posted));
    }
}
