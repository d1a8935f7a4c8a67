//! A hook that is a web address: each request is POSTed as JSON, and the body of the response is the answer.
//!
//! A few threads do the waiting; the loop hands them one question each and never waits for them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringfort_shm_state::limits::ASK_BODY_BYTES;
use rustix::event::{EventfdFlags, eventfd};
use tracing::warn;

use super::{Key, News, Question};
use crate::config::Hooks;
use crate::limits::{HOOK_WEB_THREADS, KEY_FILE_BYTES_MAX};
use crate::secret_file::{self, OPEN_TO_OTHERS};

/// A web hook could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The token cannot be read.
    #[error("the token file {} cannot be read ({source}); check `hooks.token_file`", path.display())]
    Token {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read or change the token.
    #[error("other users may read or write the token file {} (mode {mode:03o}); run `chmod 600` on it", path.display())]
    OpenToOthers {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The token is none.
    #[error("the first line of {} is no token; put one word of visible characters there", .0.display())]
    NoToken(PathBuf),
    /// The system has no thread or descriptor for it.
    #[error("the web hook cannot be started ({0}); check the limits on processes and open files")]
    System(#[from] io::Error),
}

/// A question on its way: who asks, and the JSON.
type Job = (Key, String);

/// The threads and what connects them with the loop.
pub(super) struct Web {
    jobs: Sender<Job>,
    done: Receiver<News>,
    wake: Arc<OwnedFd>,
    busy: usize,
}

impl Web {
    pub(super) fn start(url: &str, hooks: &Hooks) -> Result<Self, WebError> {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .timeout_global(Some(Duration::from_secs(hooks.timeout_s.into())))
                .http_status_as_error(true)
                // Neither a redirect nor a proxy of the environment gets to see the token.
                .max_redirects(0)
                .max_redirects_will_error(true)
                .proxy(None)
                .max_idle_connections_per_host(HOOK_WEB_THREADS)
                .build(),
        );
        let authorization = hooks.token_file.as_deref().map(token).transpose()?.map(|token| format!("Bearer {token}"));
        let (jobs, todo) = channel::<Job>();
        let (tell, done) = channel();
        let todo = Arc::new(Mutex::new(todo));
        let failures = Arc::<AtomicU64>::default();
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(io::Error::from)?);
        for number in 0..HOOK_WEB_THREADS {
            let caller = Caller {
                agent: agent.clone(),
                url: url.to_owned(),
                authorization: authorization.clone(),
                failures: Arc::clone(&failures),
            };
            let (todo, tell, wake) = (Arc::clone(&todo), tell.clone(), Arc::clone(&wake));
            std::thread::Builder::new().name(format!("web-{number}")).spawn(move || caller.work(&todo, &tell, &wake))?;
        }
        Ok(Self { jobs, done, wake, busy: 0 })
    }

    /// Readable when a thread is done.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Hands on what the threads have heard.
    pub(super) fn turn(&mut self, news: &mut Vec<News>) {
        // First this: what is told from here on wakes the loop again.
        let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
        let before = news.len();
        news.extend(self.done.try_iter());
        self.busy -= news.len() - before;
    }

    /// Takes a question if a thread is free.
    pub(super) fn ask(&mut self, question: &Question) -> bool {
        let json = serde_json::to_string(question).expect("names and numbers");
        let taken = self.busy < HOOK_WEB_THREADS && self.jobs.send((question.key(), json)).is_ok();
        self.busy += usize::from(taken);
        taken
    }
}

fn token(path: &Path) -> Result<String, WebError> {
    let unreadable = |source| WebError::Token { path: path.to_owned(), source };
    let (bytes, mode) = secret_file::read(path, KEY_FILE_BYTES_MAX).map_err(unreadable)?;
    if mode & OPEN_TO_OTHERS != 0 {
        return Err(WebError::OpenToOthers { path: path.to_owned(), mode });
    }
    let text = String::from_utf8_lossy(&bytes);
    let token = text.lines().next().unwrap_or_default().trim();
    let usable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then(|| token.to_owned()).ok_or_else(|| WebError::NoToken(path.to_owned()))
}

/// One thread's means.
struct Caller {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
    /// Failures of all threads: not each of them is worth a line of the log.
    failures: Arc<AtomicU64>,
}

impl Caller {
    /// Works until the loop is gone.
    fn work(&self, todo: &Mutex<Receiver<Job>>, tell: &Sender<News>, wake: &OwnedFd) {
        loop {
            let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((key, json)) = job else { return };
            let news = match self.call(&json) {
                Ok(body) => News::Answer(key, Ok(body)),
                Err(ureq::Error::BodyExceedsLimit(_)) => {
                    News::Answer(key, Err(format!("the answer has more than {ASK_BODY_BYTES} bytes")))
                }
                Err(problem) => {
                    let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                    if failures.is_power_of_two() {
                        let Key { match_id, id } = key;
                        warn!(
                            "the web hook has not answered request {id} of match {match_id} ({problem}); it is asked again ({failures} failures so far)"
                        );
                    }
                    News::Again(key)
                }
            };
            if tell.send(news).is_err() {
                return;
            }
            // A full counter means that the loop has yet to look: it is awake soon enough.
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
    }

    fn call(&self, json: &str) -> Result<String, ureq::Error> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.send(json)?;
        // A redirect that is not followed is no error of the library's.
        if !response.status().is_success() {
            return Err(ureq::Error::StatusCode(response.status().as_u16()));
        }
        response.body_mut().with_config().limit(ASK_BODY_BYTES as u64 + 1).lossy_utf8(true).read_to_string()
    }
}
