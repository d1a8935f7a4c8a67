//! A hook that is a program: kept running, asked by lines of JSON on its standard input, answering by lines on its standard output.
//!
//! It is never waited for: what it does not read stays in a bounded buffer, and beyond that in the outboxes.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ringfort_shm_state::worker::WorkerPage;
use rustix::event::PollFlags;
use serde::Deserialize;
use tracing::{error, info, warn};

use super::counters as count;
use super::{Key, News, Question};
use crate::limits::{
    HOOK_BACKLOG_BYTES, HOOK_LINE_BYTES_MAX, HOOK_READ_BYTES_PER_TURN, QUICK_DEATH_MS, RESTART_DELAY_MAX_MS, RESTART_DELAY_MIN_MS,
};
use crate::supervisor::spawn::{CONFIG_VARIABLE, die_with_parent};

/// What a program writes.
#[derive(Debug, Deserialize)]
struct Line {
    match_id: u64,
    id: u64,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// The program, whether it runs or not.
pub(super) struct Program {
    command: Vec<String>,
    running: Option<Running>,
    start_at: Instant,
    quick_deaths: u32,
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<ChildStdout>,
    stderr: Lines<ChildStderr>,
    /// What it has not read yet.
    backlog: Vec<u8>,
    started: Instant,
}

impl Program {
    pub(super) fn new(command: &[String]) -> Self {
        Self { command: command.to_vec(), running: None, start_at: Instant::now(), quick_deaths: 0 }
    }

    /// Starts it if it does not run, hands on what it has said, and gives it what it has room for.
    pub(super) fn turn(&mut self, now: Instant, page: &WorkerPage<'_>, news: &mut Vec<News>) {
        if self.running.is_none() && self.start_at <= now {
            self.start(now, page);
        }
        let Some(running) = &mut self.running else { return };
        let alive = running.read(page, news) & running.write();
        let ended = running.child.try_wait().unwrap_or_default();
        if alive && ended.is_none() {
            return;
        }
        let lived = now.saturating_duration_since(running.started);
        let ending = running.end();
        self.running = None;
        news.push(News::Forgotten);
        self.quick_deaths = if lived >= Duration::from_millis(QUICK_DEATH_MS) { 0 } else { self.quick_deaths };
        let delay = self.delay(now);
        error!(
            "the hook {:?} has ended ({ending}); it is started again in {delay:?}, and asked again what it has not answered",
            self.command[0]
        );
    }

    /// Plans the next start; each quick death in a row doubles the delay.
    fn delay(&mut self, now: Instant) -> Duration {
        let delay = RESTART_DELAY_MIN_MS.checked_shl(self.quick_deaths.min(32)).unwrap_or(RESTART_DELAY_MAX_MS);
        let delay = Duration::from_millis(delay.min(RESTART_DELAY_MAX_MS));
        self.quick_deaths = self.quick_deaths.saturating_add(1);
        self.start_at = now + delay;
        delay
    }

    fn start(&mut self, now: Instant, page: &WorkerPage<'_>) {
        page.add(count::PROGRAM_STARTS, 1);
        match Running::start(&self.command, now) {
            Ok(running) => {
                info!("the hook {:?} runs as process {}", self.command[0], running.child.id());
                self.running = Some(running);
            }
            Err(problem) => {
                let delay = self.delay(now);
                error!(
                    "the hook {:?} cannot be started ({problem}); check `hooks.command`; it is tried again in {delay:?}",
                    self.command[0]
                );
            }
        }
    }

    /// Takes a question unless too much waits already.
    pub(super) fn ask(&mut self, question: &Question) -> bool {
        let Some(running) = self.running.as_mut().filter(|running| running.backlog.len() < HOOK_BACKLOG_BYTES) else {
            return false;
        };
        serde_json::to_writer(&mut running.backlog, question).expect("names and numbers");
        running.backlog.push(b'\n');
        running.write();
        true
    }

    /// What is waited for.
    pub(super) fn interest(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let Some(running) = &self.running else { return Vec::new() };
        let mut fds = vec![(running.stdout.from.as_fd(), PollFlags::IN), (running.stderr.from.as_fd(), PollFlags::IN)];
        if running.stderr.ended {
            fds.pop();
        }
        if !running.backlog.is_empty() {
            fds.push((running.stdin.as_fd(), PollFlags::OUT));
        }
        fds
    }
}

impl Running {
    fn start(command: &[String], now: Instant) -> std::io::Result<Self> {
        let mut program = Command::new(&command[0]);
        program.args(&command[1..]).env_remove(CONFIG_VARIABLE);
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_parent(&mut program);
        let mut child = program.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else { unreachable!("all are piped") };
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Self { child, stdin, stdout: Lines::new(stdout), stderr: Lines::new(stderr), backlog: Vec::new(), started: now })
    }

    /// `false` when it has closed its output or written what is no line.
    fn read(&mut self, page: &WorkerPage<'_>, news: &mut Vec<News>) -> bool {
        self.stderr.read(|line| info!("hook: {}", String::from_utf8_lossy(line)));
        self.stdout.read(|line| match serde_json::from_slice::<Line>(line) {
            Ok(Line { match_id, id, body, error }) => {
                let answer = error.map_or_else(|| Ok(body.unwrap_or_default()), Err);
                news.push(News::Answer(Key { match_id, id }, answer));
            }
            Err(problem) => {
                page.add(count::BAD_LINES, 1);
                if page.counter(count::BAD_LINES).is_power_of_two() {
                    warn!("the hook has written a line that is no answer ({problem}): {}", String::from_utf8_lossy(line));
                }
            }
        });
        !self.stdout.ended
    }

    /// `false` when it has closed its input.
    fn write(&mut self) -> bool {
        while !self.backlog.is_empty() {
            match self.stdin.write(&self.backlog) {
                Ok(written) => drop(self.backlog.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// Kills it, dead or not, and tells how it ended.
    fn end(&mut self) -> String {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        ended.map_or_else(|| "it closed its input or output, and was killed".to_owned(), |status| status.to_string())
    }
}

/// Lines from a pipe that is never waited for.
struct Lines<R> {
    from: R,
    begun: Vec<u8>,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn new(from: R) -> Self {
        Self { from, begun: Vec::new(), ended: false }
    }

    /// Hands on the lines that are there, of what one turn reads. A line beyond the bound, an error and the end of the pipe end it.
    fn read(&mut self, mut take: impl FnMut(&[u8])) {
        let mut chunk = [0; 4096];
        let mut room = HOOK_READ_BYTES_PER_TURN;
        while !self.ended && room > 0 {
            match self.from.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    room = room.saturating_sub(count);
                    self.begun.extend_from_slice(&chunk[..count]);
                    let mut lines: Vec<&[u8]> = self.begun.split(|byte| *byte == b'\n').collect();
                    let rest = lines.pop().map_or(0, <[u8]>::len);
                    lines.into_iter().filter(|line| !line.is_empty()).for_each(&mut take);
                    self.begun.drain(..self.begun.len() - rest);
                    self.ended = self.begun.len() > HOOK_LINE_BYTES_MAX;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_never_stops_writing_is_read_a_bounded_piece_a_turn() {
        let mut lines = Lines::new(std::io::repeat(b'\n').chain(std::io::empty()));
        let mut read = Lines::new(std::io::Cursor::new(b"ab\n".repeat(HOOK_READ_BYTES_PER_TURN)));
        lines.read(|_| unreachable!("empty lines are none"));
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < HOOK_READ_BYTES_PER_TURN {
            let mut count = 0;
            read.read(|line| {
                assert_eq!(line, b"ab");
                count += 1;
            });
            turns.push(count);
        }
        assert!(turns.len() >= 3 && turns.iter().all(|count| *count <= HOOK_READ_BYTES_PER_TURN / 3 + 4096), "{turns:?}");
        assert!(!lines.ended && !read.ended);
    }
}
