//! What all reading commands share: their flags, where they read from, and how what they found is printed, once or again and again.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::paper::harmless;
use super::{LookError, Paper, printable};
use crate::attach::Attached;
use crate::limits::{WATCH_S_MAX, WATCH_S_MIN};

/// Flags of every reading command.
#[derive(Debug, Clone, Default, Args)]
pub struct Reading {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Look again every S seconds (1 if none are given) until it is interrupted; with --json one line each
    #[arg(long, value_name = "S", num_args = 0..=1, default_missing_value = "1", value_parser = parse_watch)]
    pub watch: Option<f64>,
    /// Look at an instance in a file that `ringfort save` wrote, instead of at one on this machine
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    pub from: Option<PathBuf>,
}

/// What a reading command has found. Serialised it is the contract of `--json`: keys may be added, none is renamed or removed.
pub trait Shown: Serialize {
    /// For people.
    fn text(&self, paper: &Paper) -> String;

    /// Whether it is that something is wrong, which the command's exit code then says, too.
    fn is_alarming(&self) -> bool {
        false
    }
}

/// Carries a reading command out: looks, prints, and with `--watch` does so again. A look that fails while it watches is printed, too, and the next
/// may succeed: an instance may just be started anew. Returns whether what was shown last is alarming.
pub fn read<S: Shown>(
    instance: &str,
    flags: &Reading,
    mut look: impl FnMut(&Attached) -> Result<S, LookError>,
) -> Result<bool, LookError> {
    let mut look = || match &flags.from {
        Some(path) => look_into(&Attached::saved(path)?, &mut look),
        None => look(&Attached::open(instance)?),
    };
    let Some(seconds) = flags.watch else {
        let found = look()?;
        if flags.json {
            print_json(&found);
        } else {
            print(&found.text(&Paper::stdout()));
        }
        return Ok(found.is_alarming());
    };
    let mut first = Some(look()?);
    loop {
        let found = first.take().map_or_else(&mut look, Ok);
        // A screen of its own is not taken: what was printed last stays when it ends.
        let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        let alarming = found.as_ref().is_ok_and(Shown::is_alarming);
        let told = match found {
            Ok(found) if flags.json => print(&format!("{}\n", serde_json::to_string(&found).expect("names, numbers and lists"))),
            Ok(found) => print(&format!("{clear}{}", found.text(&Paper::stdout()))),
            Err(error) => {
                complain(&error);
                true
            }
        };
        if !told {
            return Ok(alarming);
        }
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }
}

/// Looks into a saved file, and says on stderr what of it is missing or damaged.
fn look_into<S>(attached: &Attached, look: &mut impl FnMut(&Attached) -> Result<S, LookError>) -> Result<S, LookError> {
    let found = look(attached);
    tell_damage(attached);
    found
}

/// Says on stderr what is missing in a saved file, and what of it that was looked at is damaged.
pub fn tell_damage(attached: &Attached) {
    let Some(file) = attached.file() else { return };
    for problem in &file.about().problems {
        eprintln!("ringfort: when the file was saved: {}", printable(problem));
    }
    let damaged = file.damaged_chunks();
    if damaged > 0 {
        eprintln!(
            "ringfort: the file is damaged: {damaged} chunks of 64 KiB that were looked at cannot be read, and count as zeros"
        );
    }
}

/// Prints something as JSON.
pub fn print_json(value: &impl Serialize) {
    let json = serde_json::to_string_pretty(value).expect("names, numbers and lists");
    print(&format!("{json}\n"));
}

/// Prints text; whether somebody still reads it. A reader that has gone, such as `head`, has seen what it wanted. All that commands print goes this way.
pub fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Says on stderr why a command has failed. A sentence may have words of anybody in it.
pub fn complain(error: &impl std::fmt::Display) {
    eprintln!("ringfort: {}", printable(&error.to_string()));
}

fn parse_watch(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (WATCH_S_MIN..=WATCH_S_MAX).contains(seconds));
    seconds.ok_or_else(|| format!("a number of seconds from {WATCH_S_MIN} to {WATCH_S_MAX}"))
}
