//! The terminal: taken for as long as `top` runs, given back when it ends, is stopped, is told to end, or panics.

use std::io::{self, IsTerminal, Stdout};
use std::time::Instant;

use crossterm::cursor::Show;
use crossterm::event::{self, Event};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};

use crate::supervisor::signals::Signals;

/// Why there is nothing to draw on.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// It goes to a file or into a pipe.
    #[error(
        "`ringfort top` draws on a terminal, and this is none; `ringfort status --watch` prints, and `--json` is for programs"
    )]
    None,
    /// The cursor cannot be moved.
    #[error("`ringfort top` needs a terminal that can move its cursor, and TERM={term} cannot; use `ringfort status --watch`")]
    Dumb {
        /// What it calls itself.
        term: String,
    },
    /// The terminal has gone, or refuses.
    #[error("the terminal cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// Says why there is nothing to draw on.
pub fn check() -> Result<(), TerminalError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TerminalError::None);
    }
    let term = std::env::var("TERM").unwrap_or_default();
    if term.is_empty() || term == "dumb" { Err(TerminalError::Dumb { term }) } else { Ok(()) }
}

/// What ended a wait.
#[derive(Debug)]
pub enum Woken {
    /// A key, or something else that the terminal tells.
    Event(Event),
    /// The window has another size.
    Resized,
    /// It is to end.
    Stop,
    /// It is to stop until it is continued.
    Suspend,
    /// It was continued: what the terminal shows may be anything.
    Continued,
}

/// The terminal while it is ours.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    signals: Signals,
}

/// What is heard while the screen is ours.
const HEARD: [libc::c_int; 6] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH];

impl Screen {
    /// Takes the terminal.
    pub fn take() -> Result<Self, TerminalError> {
        let signals = Signals::block(&HEARD)?;
        let before = std::panic::take_hook();
        // So that what went wrong is printed where it can be read.
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        match enter().and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout()))) {
            Ok(terminal) => Ok(Self { terminal, signals }),
            Err(error) => {
                give_back();
                Err(error.into())
            }
        }
    }

    /// Draws; what has not changed is not sent.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), TerminalError> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Waits for keys and signals, at most until a moment. Returns all that have come.
    pub fn wait(&mut self, until: Option<Instant>) -> Result<Vec<Woken>, TerminalError> {
        let mut woken = Vec::new();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let has_hung_up = fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        while let Some(signal) = self.signals.take() {
            woken.push(match signal {
                libc::SIGTSTP => Woken::Suspend,
                libc::SIGCONT => Woken::Continued,
                libc::SIGWINCH => Woken::Resized,
                _ => Woken::Stop,
            });
        }
        if has_hung_up {
            woken.push(Woken::Stop);
            return Ok(woken);
        }
        while event::poll(std::time::Duration::ZERO)? {
            woken.push(Woken::Event(event::read()?));
        }
        Ok(woken)
    }

    /// Gives the terminal back, stops this process as the terminal's Ctrl-Z would, and takes the terminal again when it is continued.
    pub fn suspend(&mut self) -> Result<(), TerminalError> {
        give_back();
        kill_process(getpid(), Signal::STOP).map_err(io::Error::from)?;
        self.retake()
    }

    /// Takes the terminal again, and draws all of it at the next draw.
    pub fn retake(&mut self) -> Result<(), TerminalError> {
        enter()?;
        // Resizing clears without asking the terminal where its cursor is, which `clear` does and not every terminal answers.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)
}

/// Whoever panics, or has lost the terminal, can do no more about it.
fn give_back() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
