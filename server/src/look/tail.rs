//! `ringfort tail`: one log of all processes of an instance, read from their flight recorders while they run and after they have died.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use ringfort_shm_state::layout::FlightKind;

use super::flights::{COMMIT, Flights, LOST, Line};
use super::{LookError, Paper, print, tell_damage};
use crate::attach::{AttachError, Attached};
use crate::limits::{TAIL_LINES, TAIL_POLL_MS};

/// Flags of `tail`.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "Examples:\n  ringfort tail\n  ringfort tail --match arena --kind join,leave --since 60\n  ringfort tail --no-follow --json"
)]
pub struct TailArgs {
    /// Only what is about the match of this name or id
    #[arg(long = "match", value_name = "MATCH")]
    pub of: Option<String>,
    /// Only these kinds
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = kinds())]
    pub kinds: Vec<String>,
    /// Begin with what has happened in the last S seconds [default: the last 20 lines, with --no-follow all that is kept]
    #[arg(long, value_name = "S")]
    pub since: Option<u32>,
    /// Show the commits of the matches, too
    #[arg(long)]
    pub commits: bool,
    /// Print what is there, and end
    #[arg(long)]
    pub no_follow: bool,
    /// Print what an instance in a file that `ringfort save` wrote had noted, instead of following one on this machine
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(FlightKind::ALL.map(FlightKind::name).into_iter().chain([COMMIT, LOST]))
}

impl TailArgs {
    /// Whether a line was asked for. What was lost is always told, unless kinds are named.
    fn wants(&self, line: &Line) -> bool {
        let of_match = self.of.as_ref().is_none_or(|of| {
            let named = line.of.as_ref() == Some(of) || line.match_id.is_some_and(|id| id.to_string() == *of);
            named || (line.kind == LOST && line.match_id.is_none())
        });
        of_match && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == line.kind))
    }

    /// Whether what is there is all.
    fn ends(&self) -> bool {
        self.no_follow || self.from.is_some()
    }

    fn commits(&self) -> bool {
        self.commits || self.kinds.iter().any(|kind| kind == COMMIT)
    }

    /// What of the first look is shown: that of the last seconds, the last lines, or all.
    fn first(&self, mut lines: Vec<Line>, now_us: u64) -> Vec<Line> {
        match self.since {
            Some(seconds) => {
                let newest = lines.last().map_or(now_us, |line| line.time_us.max(now_us));
                let from = newest.saturating_sub(u64::from(seconds) * 1_000_000);
                lines.retain(|line| line.time_us >= from);
            }
            None if self.ends() => {}
            None => drop(lines.drain(..lines.len().saturating_sub(TAIL_LINES))),
        }
        lines
    }
}

/// Prints what is there and, unless told otherwise, what comes, until the instance is gone or the output is.
pub fn tail(instance: &str, args: &TailArgs) -> Result<(), LookError> {
    let mut attached = match &args.from {
        Some(path) => Attached::saved(path)?,
        None => Attached::open(instance)?,
    };
    let mut flights = Flights::default();
    let mut first = true;
    loop {
        let mut lines = flights.look(&attached, args.commits());
        lines.retain(|line| args.wants(line));
        if std::mem::take(&mut first) {
            lines = args.first(lines, attached.moment.now_us());
        }
        if !show(args, &lines) || args.ends() {
            tell_damage(&attached);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(TAIL_POLL_MS));
        match Attached::open(instance) {
            Ok(again) => {
                if again.instance.started_us != attached.instance.started_us {
                    flights = Flights::default();
                }
                attached = again;
            }
            // It begins anew.
            Err(AttachError::Starting { .. }) => {}
            Err(_) => {
                // Stopped in order: what it said last is read from what is mapped still.
                let mut lines = flights.look(&attached, args.commits());
                lines.retain(|line| args.wants(line));
                show(args, &lines);
                eprintln!("ringfort: instance \"{}\" has stopped", attached.name);
                return Ok(());
            }
        }
    }
}

/// Prints lines; whether somebody still reads them.
fn show(args: &TailArgs, lines: &[Line]) -> bool {
    let paper = Paper::stdout();
    lines.iter().all(|line| {
        let text = if args.json { serde_json::to_string(line).expect("names and numbers") } else { line.text(&paper) };
        print(&format!("{text}\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{now_us, wall_us};

    fn line(kind: &'static str, of: Option<&str>, time_us: u64) -> Line {
        Line {
            time: super::super::flights::rfc3339(wall_us()),
            time_us,
            process: "sim.0".to_owned(),
            kind,
            of: of.map(str::to_owned),
            match_id: of.map(|_| 7),
            session: None,
            a: 0,
            b: 0,
            text: String::new(),
        }
    }

    #[test]
    fn lines_are_chosen_by_match_by_kind_and_by_time() {
        let args = TailArgs { of: Some("arena".to_owned()), kinds: vec!["join".to_owned()], ..TailArgs::default() };
        assert!(args.wants(&line("join", Some("arena"), 1)));
        assert!(!args.wants(&line("leave", Some("arena"), 1)) && !args.wants(&line("join", Some("other"), 1)));
        let by_id = TailArgs { of: Some("7".to_owned()), ..TailArgs::default() };
        assert!(by_id.wants(&line("join", Some("arena"), 1)) && !by_id.wants(&line("start", None, 1)));
        assert!(by_id.wants(&line(LOST, None, 1)), "what was lost may have been about it");
        let now = now_us();
        let lines = || vec![line("join", None, now - 5_000_000), line("join", None, now)];
        let since = |since, no_follow| TailArgs { since, no_follow, ..TailArgs::default() }.first(lines(), now).len();
        assert_eq!((since(Some(2), true), since(None, true), since(None, false)), (1, 2, 2));
        let many: Vec<Line> = (0..100).map(|n| line("join", None, n)).collect();
        assert_eq!(TailArgs::default().first(many, now).first().map(|line| line.time_us), Some(100 - TAIL_LINES as u64));
    }
}
