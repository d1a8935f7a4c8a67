//! The hook process: carries the games' requests to the author's hook, a program or a web address, and its answers back.
//!
//! outboxes of the committed worlds (`outboxes`) -> which request is where (`desk`) -> the hook (`program`, `web`) -> the supervisor, which
//! posts the answers into the matches' mailboxes. It reads shared memory and writes none but its own counters.
//!
//! **Invariant**: what it knows beside the outboxes is worth nothing. A request is done when its row is gone; a process that is started
//! anew asks for everything again that waits, so that the hook hears each request at least once, and the game each answer once.

pub mod counters;
mod desk;
mod outboxes;
mod program;
mod web;

use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfort_shm_state::flight::FlightRing;
use ringfort_shm_state::layout::{Role, SegmentKind};
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use tracing::{info, warn};

use crate::clock::now_us;
use crate::config::Config;
use crate::flight;
use crate::game::{Description, Game, ZoneLimits};
use crate::limits::{HOOK_IN_FLIGHT_PER_MATCH, HOOK_POLL_MS, HOOK_POST_MS, HOOK_POSTS_PER_TURN, HOOK_WEB_PER_MATCH};
use crate::log_level;
use crate::run_dir::{RunDir, RunDirError};
use crate::supervisor::control::{ControlError, HookAnswer, Request, Response, request_within};
use counters as count;
use desk::Desk;
use outboxes::Outboxes;
use program::Program;
use web::{Web, WebError};

/// The hook process could not begin.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A segment is not there or not ours.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The web hook cannot be used.
    #[error(transparent)]
    Web(#[from] WebError),
}

/// A request's match and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    match_id: u64,
    id: u64,
}

/// A request as the hook gets it, in one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Question {
    instance: String,
    #[serde(rename = "match")]
    match_name: String,
    match_id: u64,
    id: u64,
    topic: String,
    session: Option<u64>,
    name: String,
    body: String,
}

impl Question {
    fn key(&self) -> Key {
        Key { match_id: self.match_id, id: self.id }
    }
}

/// What came from the hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// An answer, or why there is none.
    Answer(Key, Result<String, String>),
    /// This request was not answered and is to be asked again, later each time.
    Again(Key),
    /// Whoever had been asked is gone, and all of that with him.
    Forgotten,
}

/// Who is asked.
enum Hook {
    Program(Program),
    Web(Web),
}

/// The process's whole state.
struct HookProcess {
    instance: String,
    control: PathBuf,
    own: Segment,
    world: World,
    outboxes: Outboxes,
    desk: Desk,
    hook: Hook,
    /// Whether the supervisor could not be reached the last time: it is said once.
    unheard: bool,
}

/// Runs the hook process until it is ended.
pub fn run<G: Game>(instance: &str, slot: u32, config: &Config) -> Result<Infallible, HookError> {
    let own = Segment::open(instance, SegmentSpec::worker(SegmentKind::Hook, slot), Access::ReadWrite)?;
    // Before it says that it runs: one that cannot be prepared keeps the instance from starting.
    let hook = match &config.hooks.url {
        Some(url) => Hook::Web(Web::start(url, &config.hooks)?),
        None => Hook::Program(Program::new(&config.hooks.command)),
    };
    WorkerPage::new(&own).claim();
    flight::start(instance, SegmentSpec::worker(SegmentKind::Hook, slot), FlightRing::WORKER, 0)?;
    let directory = Segment::open(instance, SegmentSpec::DIRECTORY, Access::ReadOnly)?;
    let world = World::new(Segment::open(instance, SegmentSpec::world(0), Access::ReadOnly)?);
    let describe = |capacity, spectators| Description::of::<G>(ZoneLimits::of::<G>(capacity).with_spectators(spectators));
    let mut process = HookProcess {
        instance: instance.to_owned(),
        control: RunDir::open(instance)?.control_socket(),
        own,
        world,
        outboxes: Outboxes::new(instance, directory, describe),
        desk: Desk::new(match config.hooks.url {
            Some(_) => HOOK_WEB_PER_MATCH,
            None => HOOK_IN_FLIGHT_PER_MATCH,
        }),
        hook,
        unheard: false,
    };
    info!("the hook process is ready");
    loop {
        process.turn();
        process.sleep();
    }
}

impl HookProcess {
    fn turn(&mut self) {
        let now = Instant::now();
        let page = WorkerPage::new(&self.own);
        page.beat(now_us());
        log_level::follow_in(self.outboxes.instance().as_ref(), Role::Hook, &page);
        self.outboxes.look(&self.world, &mut self.desk, &page);
        let mut news = Vec::new();
        match &mut self.hook {
            Hook::Program(program) => program.turn(now, &page, &mut news),
            Hook::Web(web) => web.turn(&mut news),
        }
        news.into_iter().for_each(|news| self.desk.hear(news, now, &page));
        while let Some((question, again)) = self.desk.next_question(now) {
            let taken = match &mut self.hook {
                Hook::Program(program) => program.ask(question),
                Hook::Web(web) => web.ask(question),
            };
            if !taken {
                break;
            }
            page.add(if again { count::SENT_AGAIN } else { count::SENT }, 1);
            let key = question.key();
            self.desk.asked(key);
        }
        // Each turn sends so many, as the next has to look at the hook and the matches again.
        let _ = (0..HOOK_POSTS_PER_TURN).all(|_| self.post());
        let page = WorkerPage::new(&self.own);
        page.set_counter(count::PENDING, self.desk.pending() as u64);
    }

    /// Has the supervisor post a request's worth of answers. `false` when there is no use in going on.
    fn post(&mut self) -> bool {
        let now = Instant::now();
        let answers = self.desk.next_answers(now);
        if answers.is_empty() {
            return false;
        }
        let keys: Vec<Key> = answers.iter().map(|answer| Key { match_id: answer.match_id, id: answer.id }).collect();
        match self.send(answers) {
            Ok(posted) => {
                let put_off = posted.iter().filter(|posted| !**posted).count();
                WorkerPage::new(&self.own).add(count::POSTS_PUT_OFF, put_off as u64);
                for (key, posted) in keys.iter().zip(&posted) {
                    match posted {
                        true => self.desk.posted(*key),
                        false => self.desk.refused(key.match_id, now),
                    }
                }
                self.unheard = false;
                !posted.is_empty()
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unheard, true) {
                    warn!("answers wait, as the supervisor cannot be told of them: {error}");
                }
                WorkerPage::new(&self.own).add(count::POSTS_PUT_OFF, keys.len() as u64);
                false
            }
        }
    }

    fn send(&self, answers: Vec<HookAnswer>) -> Result<Vec<bool>, ControlError> {
        let request = Request::HookAnswers { answers };
        match request_within(&self.instance, &self.control, &request, Duration::from_millis(HOOK_POST_MS))? {
            Response::Posted { posted } => Ok(posted),
            // It has no time for us at the moment.
            Response::Ok { .. } | Response::Error { .. } => Ok(Vec::new()),
        }
    }

    /// Sleeps until the hook says something, or for the time of a poll.
    fn sleep(&self) {
        let fds: Vec<(BorrowedFd<'_>, PollFlags)> = match &self.hook {
            Hook::Program(program) => program.interest(),
            Hook::Web(web) => vec![(web.wake(), PollFlags::IN)],
        };
        let mut fds: Vec<PollFd<'_>> = fds.iter().map(|(fd, flags)| PollFd::new(fd, *flags)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: (HOOK_POLL_MS * 1_000_000) as i64 };
        // Interrupted or not: the loop looks at everything again.
        let _ = poll(&mut fds, Some(&timeout));
    }
}
