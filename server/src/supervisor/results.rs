//! Results of matches that no hook takes: written to a file of the run directory, so that a match's memory can be given back and nothing
//! is lost silently.
//!
//! **Invariant**: a result is on disk before its match is told that somebody has it. One may be there twice, with the same `match_id`
//! and `id`, when the supervisor is killed between the two.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::layout::{AskKind, RootHead, Verdict, ZoneEntry};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::unpadded;
use serde_json::json;
use tracing::{error, info};

use super::rules::Rules;
use super::segments::Segments;
use crate::config::Hooks;
use crate::fsck::Describe;
use crate::game::Ask;
use crate::limits::RESULT_LOOK_MS;
use crate::run_dir::RunDir;

/// Where results go that no hook takes, and when.
pub(super) struct Results {
    describe: Describe,
    path: PathBuf,
    /// How long the hook has for them: no time, without a hook.
    patience: Duration,
}

/// What the supervisor knows of a match's results.
#[derive(Default)]
pub(super) struct WaitingResults {
    looked: Option<Instant>,
    /// Since when there are some.
    since: Option<Instant>,
    /// Numbers of those that stand in the file.
    written: BTreeSet<u64>,
    /// Times in a row that they could not be written.
    failures: u64,
}

impl WaitingResults {
    /// Whether it is time for a look at the match's newest root.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= Duration::from_millis(RESULT_LOOK_MS))
    }
}

impl Results {
    pub(super) fn new(hooks: &Hooks, rules: &Rules, run_dir: &RunDir) -> Results {
        let seconds = if hooks.is_some() { hooks.patience_s } else { 0 };
        Results { describe: rules.describe, path: run_dir.results(), patience: Duration::from_secs(seconds.into()) }
    }

    /// Looks at a match's newest root: results that have waited long enough are written, and the match is told.
    pub(super) fn follow(
        &self,
        segments: &Segments,
        slot: usize,
        entry: &ZoneEntry,
        head: &RootHead,
        waiting: &mut WaitingResults,
    ) {
        let now = Instant::now();
        waiting.looked = Some(now);
        if head.results == 0 {
            (waiting.since, waiting.failures) = (None, 0);
            waiting.written.clear();
            return;
        }
        let since = *waiting.since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.patience || !self.write(segments, slot, entry, waiting) {
            return;
        }
        // What was posted before has been read by now, and the rest finds room.
        let tail = Directory::new(&segments.directory).mail_tail(slot);
        if head.mail_cursor < tail {
            return;
        }
        for number in &waiting.written {
            // What has no room is posted at the next look.
            let _ = DirectoryWriter::new(&segments.directory).post_answer(slot, tail, *number, Verdict::Taken, "");
        }
    }

    /// Writes what a match's newest root has of results and the file has not. `false` when that could not be done.
    pub(super) fn write(&self, segments: &Segments, slot: usize, entry: &ZoneEntry, waiting: &mut WaitingResults) -> bool {
        let Some(mut results) = self.read(segments, slot, entry) else { return false };
        results.retain(|result| !waiting.written.contains(&result.number));
        if results.is_empty() {
            return true;
        }
        let (name, path) = (unpadded(&entry.name), self.path.display());
        if let Err(problem) = self.append(&name, entry.incarnation, &results) {
            waiting.failures += 1;
            if waiting.failures.is_power_of_two() {
                let bodies: Vec<&str> = results.iter().map(|result| result.body.as_str()).collect();
                error!(
                    zone = slot,
                    "the results {bodies:?} of match {name} cannot be written to {path} ({problem}); make room there"
                );
            }
            return false;
        }
        info!(zone = slot, "{} results of match {name} are in {path}", results.len());
        waiting.written.extend(results.iter().map(|result| result.number));
        true
    }

    fn read(&self, segments: &Segments, slot: usize, entry: &ZoneEntry) -> Option<Vec<Ask>> {
        let outbox = (self.describe)(entry.capacity, entry.spectators).ok()?.engine.outbox;
        let mut mirror = Mirror::of_pages(slot, outbox.pages());
        mirror.refresh(&segments.world).ok()?;
        mirror.head().filter(|head| head.incarnation == entry.incarnation)?;
        Some(outbox.read(&mirror).into_iter().filter(|ask| ask.kind == AskKind::Result).collect())
    }

    fn append(&self, name: &str, match_id: u64, results: &[Ask]) -> io::Result<()> {
        let unix_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let line = |ask: &Ask| {
            let Ask { number, topic, body, .. } = ask;
            json!({ "match": name, "match_id": match_id, "id": number, "topic": topic, "body": body, "unix_s": unix_s })
                .to_string()
        };
        let lines: String = results.iter().map(|result| line(result) + "\n").collect();
        let mut file = File::options().append(true).create(true).mode(0o600).open(&self.path)?;
        let before = file.metadata()?.len();
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).inspect_err(|_| {
            // Half a line would spoil the next.
            let _ = file.set_len(before);
        })
    }
}
