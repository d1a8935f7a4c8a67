//! `chaos` and its sisters: an instance whose processes are killed while clients play, and whether anything got lost, looked at from outside.
//!
//! The instance runs the game [`tally`](crate::tally). Every client keeps books of its inputs, commands and events, and at the end they are
//! held against the game's accounts. [`args`] tells what the commands mean, [`gaps`] how silences are counted.

mod args;
mod crowd;
mod error;
mod faults;
mod gaps;
mod host;
mod host_process;
mod killer;
mod ledger;
mod report;
mod victims;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use args::{ChaosArgs, FailoverArgs, RebindArgs, RollingArgs, Scenario, SuperviseArgs};
pub(crate) use error::ChaosError;
pub(crate) use host_process::{HostArgs, run_host};
#[cfg(test)]
pub(crate) use ledger::{Audit, Ledger};

use ringfort::attach::Attached;
use ringfort::status::{Status, show};

use crate::limits;
use crowd::{Crowd, Shown, match_name};
use gaps::{Kind, Windows, micros};
use host::Host;
use killer::{Done, Plan};
use report::Report;

/// How often a line of progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Runs it all and tells; returns whether nothing was lost, missing, doubled or damaged.
pub(crate) fn run(scenario: &Scenario) -> Result<bool, ChaosError> {
    let common = &scenario.common;
    let instance = common.instance.clone().unwrap_or_else(|| format!("chaos-{}", std::process::id()));
    let flags = [
        ("--sims", common.sims.to_string()),
        ("--frontends", common.frontends.to_string()),
        ("--matches", common.matches.to_string()),
        ("--tick-hz", common.tick_hz.to_string()),
        ("--game-option", format!("capacity={}", scenario.clients.div_ceil(common.matches))),
    ];
    let flags: Vec<String> = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    let host = Host::start(&instance, &flags)?;
    let directory = host.directory().to_owned();
    let ok = measure(scenario, &host);
    let keep = !matches!(ok, Ok(true));
    host.stop(keep)?;
    if keep {
        eprintln!("ringfort-loadtest: the instance's logs stay in {}", directory.display());
    }
    ok
}

fn measure(scenario: &Scenario, host: &Host) -> Result<bool, ChaosError> {
    let common = &scenario.common;
    let mut crowd = Crowd::join(scenario, host.address())?;
    let attached = attachments(scenario, host);
    let start = Instant::now();
    let begin = start + common.calm;
    let end = begin + scenario.duration;
    let plan = Plan { scenario, host, start, begin, end };
    let (done, shown) = (Done::default(), Shown::default());
    let over = end + limits::GAP_WINDOW;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        if !scenario.kill.is_empty() {
            workers.push(scope.spawn(|| plan.kill(&done)));
        }
        if let Some(every) = scenario.move_every {
            let (plan, done) = (&plan, &done);
            workers.push(scope.spawn(move || plan.move_matches(every, done)));
        }
        if !scenario.scale.is_empty() {
            workers.push(scope.spawn(|| plan.roll(&done)));
        } else if let Some(binary) = &scenario.upgrade {
            let (plan, done) = (&plan, &done);
            workers.push(scope.spawn(move || plan.upgrade(binary, done)));
        }
        scope.spawn(|| show_progress(start, over, &done, &shown));
        let played = crowd.play(scenario, start, over, &shown);
        let ended: Result<(), ChaosError> =
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| ChaosError::KillerDied));
        played.and(ended)
    })?;
    let end_of_play = micros(over.saturating_duration_since(start));
    crowd.settle(|| host.is_supervised())?;
    let fsck = ringfort::fsck::check(&Attached::open(host.instance())?).problems;
    let mut counters = Status::of(host.instance())?.counters;
    counters.retain(|_, count| *count > 0);
    let (absences, mut failed_starts) = host.absences();
    if !host.is_supervised() {
        failed_starts.push("no supervisor came back".to_owned());
    }
    let attached_now = attachments(scenario, host);
    let since = |time: Instant| micros(time.saturating_duration_since(start));
    let absences = absences.into_iter().map(|(gone, back)| (since(gone), since(back))).collect();
    let windows = Windows { hits: done.hits(), absences };
    let report = Report {
        scenario,
        counts: Kind::ALL.map(|kind| done.count(kind)),
        spared: done.spared.load(Ordering::Relaxed),
        refused: [Kind::Move, Kind::Upgrade, Kind::Scale].map(|kind| done.refusals(kind)),
        failed_starts,
        lost: crowd.lost(),
        totals: crowd.totals(),
        moved: if scenario.connections_stay { scenario.clients.saturating_sub(stayed(&attached, &attached_now)) } else { 0 },
        left_over: attached_now.len().saturating_sub(scenario.clients),
        faults: faults::of(host.directory())?,
        undone: scenario.undone(&done, crowd.totals().rebound),
        audit: crowd.audit(),
        troubles: crowd.troubles(),
        gaps: Kind::ALL.map(|kind| windows.gaps(kind, crowd.tracks(), end_of_play)),
        windows,
        fsck,
        counters,
        late_ms_p99: crowd.late().ms_at(0.99),
    };
    tell(scenario, &report)?;
    let ok = report.ok();
    crowd.leave()?;
    Ok(ok)
}

/// Of every session its id, front-end and attachment: what does not change as long as its connection stays.
fn attachments(scenario: &Scenario, host: &Host) -> Vec<(u64, u32, u32)> {
    let attached = Attached::open(host.instance()).ok();
    let numbers = attached.iter().flat_map(|attached| (0..scenario.common.matches).map(move |number| (attached, number)));
    let shown = numbers.filter_map(|(attached, number)| show(attached, &match_name(number), false).ok());
    let mut all: Vec<_> =
        shown.flat_map(|shown| shown.players).map(|player| (player.session, player.frontend, player.attachment)).collect();
    all.sort_unstable();
    all
}

/// How many sessions are as they were. One that could not be looked at is not.
fn stayed(before: &[(u64, u32, u32)], after: &[(u64, u32, u32)]) -> usize {
    before.iter().filter(|session| after.binary_search(session).is_ok()).count()
}

fn tell(scenario: &Scenario, report: &Report<'_>) -> Result<(), ChaosError> {
    let json = format!("{:#}\n", report.json());
    match scenario.common.json.as_deref() {
        Some(path) if path == Path::new("-") => print!("{json}"),
        path => {
            if let Some(path) = path {
                fs::write(path, json).map_err(|source| ChaosError::Write { path: path.into(), source })?;
            }
            print!("{report}");
        }
    }
    Ok(())
}

/// Once a second a line: written over itself on a terminal.
fn show_progress(start: Instant, end: Instant, done: &Done, shown: &Shown) {
    let overwrite = std::io::stderr().is_terminal();
    let (before, after) = if overwrite { ("\r\x1b[2K", "") } else { ("", "\n") };
    while Instant::now() + PROGRESS_EVERY < end {
        thread::sleep(PROGRESS_EVERY);
        let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let hits = Kind::ALL.map(|kind| (kind.name(), done.count(kind))).into_iter().filter(|(_, count)| *count > 0);
        let hits: Vec<String> = hits.map(|(name, count)| format!("{count} {name}")).collect();
        // A terminal that is gone shows nothing, and the run goes on.
        let _ = write!(
            std::io::stderr(),
            "{before}{:4.0} s  {}  {} lost, {} resumed  {} inputs, {} acknowledged  silent for {:.0} ms{after}",
            start.elapsed().as_secs_f64(),
            hits.join(", "),
            number(&shown.lost),
            number(&shown.resumed),
            number(&shown.sent),
            number(&shown.acknowledged),
            number(&shown.silence_us) as f64 / 1e3,
        );
    }
    if overwrite {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
    }
}
