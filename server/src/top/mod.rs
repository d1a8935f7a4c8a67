//! `ringfort top`: the instance on a terminal, live or dead.
//!
//! A look (`watch.rs`, `one.rs`) copies what is shown out of shared memory into plain data (`seen.rs`); keys change the state (`app.rs`);
//! `draw/` makes a screen of both. Nobody is asked and nothing is written, so it works while every process of the instance hangs, when all of them are
//! dead, and on a saved file.

mod app;
mod draw;
mod entities;
mod list;
mod map_view;
mod one;
mod order;
mod seen;
mod terminal;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use crossterm::event::Event;

use crate::attach::{AttachError, Attached};
use crate::limits::{WATCH_S_MAX, WATCH_S_MIN};
use crate::look::Paper;
use app::{App, Asked};
use terminal::{Screen, TerminalError, Woken};
use watch::{Source, Watcher};

/// Flags of `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Look again every S seconds
    #[arg(long, value_name = "S", default_value = "1", value_parser = parse_delay)]
    pub delay: f64,
    /// Look at an instance in a file that `ringfort save` wrote, instead of at one on this machine
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// There is no such instance, or no such file.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// There is nothing to draw on.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

fn parse_delay(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (WATCH_S_MIN..=WATCH_S_MAX).contains(seconds));
    seconds.ok_or_else(|| format!("a number of seconds from {WATCH_S_MIN} to {WATCH_S_MAX}"))
}

/// Shows an instance until `q`.
pub fn run(instance: &str, args: &TopArgs) -> Result<(), TopError> {
    terminal::check()?;
    let (name, source) = source(instance, args)?;
    let mut watcher = Watcher::new(source);
    let mut app = App::new(&name, Paper::stdout().colours);
    let mut screen = Screen::take()?;
    let delay = Duration::from_secs_f64(args.delay);
    let mut next_look = Instant::now();
    loop {
        if Instant::now() >= next_look {
            app.saw(watcher.look(&app.wanted()));
            next_look = Instant::now() + delay;
        }
        screen.draw(|frame| draw::draw(frame, &app))?;
        let until = (!app.paused).then_some(next_look);
        for woken in screen.wait(until)? {
            let wanted = app.wanted();
            let asked = match woken {
                Woken::Event(Event::Key(key)) if key.is_press() => app.key(key),
                Woken::Event(_) | Woken::Resized => Asked::Nothing,
                Woken::Stop => Asked::Quit,
                Woken::Suspend => Asked::Suspend,
                Woken::Continued => {
                    screen.retake()?;
                    Asked::Nothing
                }
            };
            match asked {
                Asked::Quit => return Ok(()),
                Asked::Suspend => screen.suspend()?,
                Asked::Look => next_look = Instant::now(),
                // What was not shown before is looked at now, also while it stands still otherwise.
                Asked::Nothing if app.wanted() != wanted => app.saw(watcher.look(&app.wanted())),
                Asked::Nothing => {}
            }
        }
        if app.paused {
            next_look = next_look.max(Instant::now() + delay);
        }
    }
}

/// Where to look: at the segments by name, anew each time since the instance may be started anew; or at a file, which does not change.
fn source(instance: &str, args: &TopArgs) -> Result<(String, Source), AttachError> {
    let Some(path) = &args.from else {
        let name = instance.to_owned();
        // What cannot be looked at at all is said before the screen is taken.
        Attached::open(&name)?;
        return Ok((name.clone(), Box::new(move || Attached::open(&name).map(Rc::new))));
    };
    let saved = Rc::new(Attached::saved(path)?);
    Ok((format!("{} (saved)", saved.name), Box::new(move || Ok(Rc::clone(&saved)))))
}
