//! What a game asks of the world outside: profiles in, results out, without I/O in `step`.
//!
//! A request is part of the committed world, so it leaves when its tick is committed and not before; its answer is applied by one tick,
//! once. Between the two a hook may be asked more than once: it should know a request by match and id.

use ringfort_protocol::SessionId;
use ringfort_shm_state::limits::{ASK_BODY_BYTES, ASK_TOPIC_BYTES};

use super::{Game, Tick};

/// The topic of a match's result, see [`Tick::close_with`].
pub const RESULT_TOPIC: &str = "result";

/// Names a request within its match. It may be a field of a component or a seat; no other request of the match gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct AskId(pub(crate) u64);

impl AskId {
    /// No request; the default.
    pub const NONE: Self = Self(0);

    /// The number that the hook sees as `id`.
    pub fn number(self) -> u64 {
        self.0
    }
}

super::name::is_a_field!(AskId);

/// Why a request was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The match has as many requests as may wait, or no room for this one's body.
    #[error("{pending} requests wait for answers already: ask again when some have come")]
    Full {
        /// Requests that wait.
        pending: u32,
    },
    /// The body is too long.
    #[error("the body has {bytes} bytes, at most {ASK_BODY_BYTES} fit: ask for less, or in pieces")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The topic is empty, too long or reserved.
    #[error("a topic has 1 to {ASK_TOPIC_BYTES} bytes and is not \"{RESULT_TOPIC}\", which is for `close_with`")]
    Topic,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError<'a> {
    /// No hook is configured, see `[hooks]` in ringfort.toml.
    NoHook,
    /// None came within `hooks.timeout_s`.
    TimedOut,
    /// The hook says that it cannot, and why.
    Failed(&'a str),
}

impl std::fmt::Display for AnswerError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoHook => write!(f, "no hook is configured"),
            Self::TimedOut => write!(f, "no answer came in time"),
            Self::Failed(why) => write!(f, "{why}"),
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Which.
    pub id: AskId,
    /// Its topic.
    pub topic: &'a str,
    /// The session that it is about, which may have ended since.
    pub about: Option<SessionId>,
    /// The hook's answer, at most 2 KiB; or why there is none.
    pub body: Result<&'a str, AnswerError<'a>>,
}

impl<G: Game> Tick<G> {
    /// Asks the world outside, by way of the hook of the configuration. The request leaves with this tick's commit; what becomes of it
    /// comes to [`Game::answer`] in a later tick, exactly once. A match has room for twice as many requests as players, at least 32 and at
    /// most 512.
    pub fn ask(&self, topic: &str, about: Option<SessionId>, body: &str) -> Result<AskId, AskError> {
        self.outbox.borrow_mut().ask(self.now(), topic, about, body)
    }

    /// Ends the match after this tick, as [`Tick::close`], with a result of at most 2 KiB for the hook under the topic `result`. The match's
    /// memory is kept until the hook has taken it, or it stands in the file of results (`[hooks] results`). When it is refused the match
    /// goes on; two results of a match are always taken.
    pub fn close_with(&self, result: &str) -> Result<AskId, AskError> {
        let id = self.outbox.borrow_mut().result(self.now(), result)?;
        self.close();
        Ok(id)
    }
}
