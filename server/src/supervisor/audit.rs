//! The audit log of what is asked over the control socket: a command is carried out only when a line on disk says that it was asked, and answered
//! only when another one there says what came of it.
//!
//! A thread does the writing, as a disk may take its time and the supervisor has none. A request is held until its line was appended, and so is the
//! answer.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use ringfort_protocol::Schema;
use ringfort_shm_state::layout::FlightKind;
use rustix::event::{EventfdFlags, eventfd};
use serde_json::json;
use tracing::error;

use super::control::{Request, Response};
use crate::audit::{Entry, Outcome, Supervisor};
use crate::clock::wall_us;
use crate::flight::{self, Note};
use crate::jsonl::append;
use crate::limits::{AUDIT_APART_US_MAX, AUDIT_BYTES_MAX, AUDIT_JOBS_MAX, PASSWD_BYTES_MAX};
use crate::look::flights::rfc3339;
use crate::set;

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
    /// When the last command came, in wall-clock microseconds.
    last_us: u64,
    /// What names the fields that are set.
    schema: &'static Schema,
}

/// A command between its request and the line that tells of its outcome.
#[derive(Debug)]
struct Asked {
    peer: Peer,
    came: Instant,
    entry: Entry,
    /// Until the line that it was asked is on disk.
    request: Option<Request>,
    /// Until the line of its outcome is on disk.
    response: Option<Response>,
}

#[derive(Debug)]
struct Job {
    token: u64,
    entry: Entry,
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
    /// Appends to a file what is asked of an instance of a game.
    pub(super) fn to(file: PathBuf, schema: &'static Schema) -> io::Result<Audit> {
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
        Ok(Audit { file, jobs, done, wake, commands: HashMap::new(), last_us: 0, schema })
    }

    /// A request has come. It comes back at once when it is no command of an operator; else it is released later, or refused.
    pub(super) fn begin(&mut self, token: u64, peer: Peer, request: Request, now: Instant) -> Option<Released> {
        let Some((command, arguments)) = described(&request, self.schema) else { return Some(Released::Request(request)) };
        let time = self.moment();
        let entry = Entry { supervisor: Some(Supervisor::current()), ..line(time, peer, command, arguments, Outcome::Asked) };
        if let Err(error) = self.ask(Job { token, entry: entry.clone() }) {
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
        (asked.entry.outcome, asked.entry.sentence, asked.entry.supervisor) = (outcome, sentence, None);
        asked.response = Some(response.clone());
        let (entry, uid) = (asked.entry.clone(), asked.peer.uid);
        let text = format!("{} of user {uid}: {}", entry.command, entry.sentence);
        let ok = u64::from(outcome == Outcome::Ok);
        flight::note(FlightKind::Operator, Note { a: uid.into(), b: ok, text: &text, ..Note::default() });
        match self.ask(Job { token, entry }) {
            Ok(()) => None,
            Err(error) => {
                self.commands.remove(&token);
                Some(self.unwritten(&error, response))
            }
        }
    }

    /// Somebody else wanted to command the instance. Nobody waits for that line.
    pub(super) fn refused_peer(&mut self, peer: Peer, sentence: &str) {
        let connect = line(self.moment(), peer, "connect".to_owned(), serde_json::Value::Null, Outcome::Refused);
        let entry = Entry { sentence: sentence.to_owned(), ..connect };
        if let Err(error) = self.ask(Job { token: NOBODY, entry }) {
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
        // One whose request was released has no line on its way until it is answered.
        while self.commands.values().any(|asked| asked.request.is_some() || asked.response.is_some()) {
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

    /// The time of a line. No two commands have the same, as their lines belong together by it; nor does it follow a clock that is put forward
    /// and back.
    fn moment(&mut self) -> String {
        let now_us = wall_us();
        let ahead = self.last_us.checked_sub(now_us).is_some_and(|us| us < AUDIT_APART_US_MAX);
        self.last_us = if ahead { self.last_us + 1 } else { now_us };
        rfc3339(self.last_us)
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

/// A command's name and arguments, as they were understood; nothing of what a process of the instance asks.
fn described(request: &Request, schema: &Schema) -> Option<(String, serde_json::Value)> {
    if matches!(request, Request::HookAnswers { .. }) {
        return None;
    }
    let mut arguments = serde_json::to_value(request).unwrap_or_default();
    let name = arguments.as_object_mut().and_then(|fields| fields.remove("request"));
    if let Request::Set(wanted) = request {
        arguments = json!({ "name": wanted.name, "match_id": wanted.match_id, "what": set::in_words(schema, wanted) });
    }
    Some((name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(), arguments))
}

/// A line about a command.
fn line(time: String, peer: Peer, command: String, arguments: serde_json::Value, outcome: Outcome) -> Entry {
    let (Peer { uid, pid }, sentence) = (peer, String::new());
    Entry { time, user: None, uid, pid, command, arguments, outcome, sentence, duration_ms: 0, supervisor: None }
}

fn write(file: &Path, entry: Entry) -> io::Result<()> {
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
    use crate::game::Description;
    use crate::skirmish::Skirmish;
    use crate::supervisor::control::SetField;

    fn schema() -> &'static Schema {
        Description::schema_of::<Skirmish>()
    }

    fn end() -> Request {
        Request::MatchesEnd { name: "arena".to_owned() }
    }

    fn wait_for(audit: &mut Audit) -> (u64, Released) {
        audit.wait(Instant::now() + Duration::from_secs(10)).pop().expect("one is released")
    }

    fn released_request(audit: &mut Audit) -> Request {
        match wait_for(audit) {
            (5, Released::Request(request)) => request,
            _ => panic!("not the request"),
        }
    }

    const PEER: Peer = Peer { uid: 0, pid: 77 };

    #[test]
    fn a_command_is_carried_out_and_answered_around_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state").join("audit.jsonl");
        let mut audit = Audit::to(file.clone(), schema()).unwrap();
        let now = Instant::now();
        assert!(audit.begin(5, PEER, end(), now).is_none());
        assert_eq!(released_request(&mut audit), end());
        let lines = || -> Vec<Entry> {
            let text = std::fs::read_to_string(&file).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let asked = lines();
        assert_eq!((asked.len(), asked[0].outcome, asked[0].supervisor), (1, Outcome::Asked, Some(Supervisor::current())));
        let done = Response::Ok { sentence: "it ends".to_owned(), match_id: Some(3) };
        assert_eq!(audit.answer(5, &done, now + Duration::from_millis(12)), None);
        match wait_for(&mut audit) {
            (5, Released::Response(response)) => assert_eq!(response, done),
            _ => panic!("not the answer"),
        }
        let line = lines().pop().unwrap();
        assert_eq!((lines().len(), &line.time, line.supervisor), (2, &asked[0].time, None));
        assert_eq!((line.user.as_deref(), line.uid, line.pid, line.command.as_str()), (Some("root"), 0, 77, "matches-end"));
        assert_eq!((line.arguments, line.outcome, line.duration_ms), (serde_json::json!({ "name": "arena" }), Outcome::Ok, 12));
        assert_eq!(line.sentence, "it ends");
    }

    #[test]
    fn without_a_place_for_the_log_nothing_is_done() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("state"), "a file where the directory should be").unwrap();
        let mut audit = Audit::to(directory.path().join("state").join("audit.jsonl"), schema()).unwrap();
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
        let mut audit = Audit::to(state.join("audit.jsonl"), schema()).unwrap();
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
    fn what_is_set_is_told_by_the_game_s_own_names_and_whatever_is_asked_for_is_told() {
        let (name, value) = ("arena".to_owned(), 40u8.to_ne_bytes().to_vec());
        let entity = 7 | 2 << 32;
        let hp = SetField { name, match_id: 3, entity, global: false, column: 1, field: 0, value };
        let what = |set: &SetField| {
            let (command, arguments) = described(&Request::Set(set.clone()), schema()).unwrap();
            assert_eq!((command.as_str(), &arguments["name"], &arguments["match_id"]), ("set", &"arena".into(), &3.into()));
            arguments["what"].as_str().unwrap().to_owned()
        };
        assert_eq!(what(&hp), "7.2 hp.hp to 40");
        assert_eq!(what(&SetField { value: vec![0; 300], ..hp.clone() }), "7.2 hp.hp to 300 bytes, which are no value of it");
        assert_eq!(what(&SetField { column: 99, ..hp.clone() }), "field 0 of column 99 of 7.2, which the game has not");
        assert_eq!(what(&SetField { global: true, field: 99, ..hp }), "field 99 of global 1, which the game has not");
    }

    #[test]
    fn what_a_process_of_the_instance_asks_is_no_command() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = Audit::to(directory.path().join("audit.jsonl"), schema()).unwrap();
        let answers = Request::HookAnswers { answers: Vec::new() };
        assert!(matches!(audit.begin(5, PEER, answers, Instant::now()), Some(Released::Request(_))));
        let posted = Response::Posted { posted: Vec::new() };
        assert_eq!(audit.answer(5, &posted, Instant::now()), Some(posted));
    }
}
