//! Results of matches that no hook takes: written to a file, so that a match's memory can be given back and nothing is lost silently.
//!
//! A thread does the writing, as a disk may take its time and the supervisor has none.
//!
//! **Invariant**: a result is on disk before its match is told that somebody has it. One may be there twice, with the same `match_id`
//! and `id`, when the supervisor is killed between the two.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::layout::{AskKind, RootHead, Verdict, ZoneEntry};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::unpadded;
use serde_json::json;
use tracing::{error, info, warn};

use super::rules::Rules;
use super::segments::Segments;
use crate::config::Config;
use crate::fsck::Describe;
use crate::game::Ask;
use crate::limits::{RESULT_JOBS_MAX, RESULT_LOOK_MS, RESULT_STOP_MS, RESULTS_BYTES_MAX};

/// Where results go that no hook takes, and when.
pub(super) struct Results {
    describe: Describe,
    path: PathBuf,
    jobs: SyncSender<Job>,
    /// How long the hook has for them: no time, without a hook.
    patience: Duration,
}

/// Lines for the file, and who is told how it went.
type Job = (String, SyncSender<io::Result<()>>);

/// Results that are on their way to the file.
struct OnTheWay {
    numbers: Vec<u64>,
    bodies: Vec<String>,
    done: Receiver<io::Result<()>>,
}

/// What the supervisor knows of a match's results.
#[derive(Default)]
pub(super) struct WaitingResults {
    looked: Option<Instant>,
    /// Since when there are some.
    since: Option<Instant>,
    /// Numbers of those that stand in the file.
    written: BTreeSet<u64>,
    on_the_way: Option<OnTheWay>,
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
    pub(super) fn new(config: &Config, rules: &Rules) -> io::Result<Results> {
        let seconds = if config.hooks.is_some() { config.hooks.patience_s } else { 0 };
        let path = config.hooks.results_file(&config.instance);
        let (jobs, todo) = sync_channel::<Job>(RESULT_JOBS_MAX);
        let file = path.clone();
        // It ends with the supervisor, which waits for what it wants to know.
        std::thread::Builder::new().name("results".to_owned()).spawn(move || {
            for (lines, done) in todo {
                let _ = done.send(append(&file, &lines, RESULTS_BYTES_MAX));
            }
        })?;
        Ok(Results { describe: rules.describe, path, jobs, patience: Duration::from_secs(seconds.into()) })
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

    /// Has what a match's newest root has of results, and the file has not, written. `true` when all of it is on disk.
    pub(super) fn write(&self, segments: &Segments, slot: usize, entry: &ZoneEntry, waiting: &mut WaitingResults) -> bool {
        if let Some(OnTheWay { numbers, bodies, done }) = waiting.on_the_way.take() {
            match done.try_recv() {
                Err(TryRecvError::Empty) => {
                    waiting.on_the_way = Some(OnTheWay { numbers, bodies, done });
                    return false;
                }
                Err(TryRecvError::Disconnected) => return false,
                Ok(ended) => self.hear(slot, entry, waiting, &numbers, &bodies, ended),
            }
        }
        let Some(mut results) = self.read(segments, slot, entry) else { return false };
        results.retain(|result| !waiting.written.contains(&result.number));
        if results.is_empty() {
            return true;
        }
        let (tell, done) = sync_channel(1);
        // When too much waits already it is tried again at the next look.
        if self.jobs.try_send((lines(&unpadded(&entry.name), entry.incarnation, &results), tell)).is_ok() {
            let numbers = results.iter().map(|result| result.number).collect();
            let bodies = results.into_iter().map(|result| result.body).collect();
            waiting.on_the_way = Some(OnTheWay { numbers, bodies, done });
        }
        false
    }

    /// As [`Results::write`], and waits until it is done, for a while.
    pub(super) fn write_now(&self, segments: &Segments, slot: usize, entry: &ZoneEntry, waiting: &mut WaitingResults) {
        let until = Instant::now() + Duration::from_millis(RESULT_STOP_MS);
        while !self.write(segments, slot, entry, waiting) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The thread has said how it went.
    fn hear(
        &self,
        slot: usize,
        entry: &ZoneEntry,
        waiting: &mut WaitingResults,
        numbers: &[u64],
        bodies: &[String],
        ended: io::Result<()>,
    ) {
        let (name, path) = (unpadded(&entry.name), self.path.display());
        let Err(problem) = ended else {
            info!(zone = slot, "{} results of match {name} are in {path}", numbers.len());
            waiting.written.extend(numbers);
            return;
        };
        waiting.failures += 1;
        if waiting.failures.is_power_of_two() {
            error!(
                zone = slot,
                "the results {bodies:?} of match {name} cannot be written to {path} ({problem}); make room there"
            );
        }
    }

    fn read(&self, segments: &Segments, slot: usize, entry: &ZoneEntry) -> Option<Vec<Ask>> {
        let outbox = (self.describe)(entry.capacity, entry.spectators).ok()?.engine.outbox;
        let mut mirror = Mirror::of_pages(slot, outbox.pages());
        mirror.refresh(&segments.world).ok()?;
        mirror.head().filter(|head| head.incarnation == entry.incarnation)?;
        Some(outbox.read(&mirror).into_iter().filter(|ask| ask.kind == AskKind::Result).collect())
    }
}

fn lines(name: &str, match_id: u64, results: &[Ask]) -> String {
    let unix_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let line = |ask: &Ask| {
        let Ask { number, topic, body, .. } = ask;
        json!({ "match": name, "match_id": match_id, "id": number, "topic": topic, "body": body, "unix_s": unix_s }).to_string()
    };
    results.iter().map(|result| line(result) + "\n").collect()
}

/// Appends lines to the file, all or none, and sees them on disk. One that would grow beyond the bound becomes the old one first.
fn append(path: &Path, lines: &str, bytes_max: u64) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut open = File::options();
    open.append(true).create(true).mode(0o600);
    let mut file = open.open(path)?;
    let mut before = file.metadata()?.len();
    if before > 0 && before + lines.len() as u64 > bytes_max {
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        let old = PathBuf::from(old);
        if old.exists() {
            warn!("{} is full and takes the place of the older results in {}", path.display(), old.display());
        }
        std::fs::rename(path, old)?;
        file = open.open(path)?;
        before = 0;
    }
    file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).inspect_err(|_| {
        // Half a line would spoil the next.
        let _ = file.set_len(before);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_made_with_its_directory_and_its_size_is_bounded() {
        let directory = std::env::temp_dir().join(format!("ringfort-results-{}", std::process::id()));
        let path = directory.join("arena").join("results.jsonl");
        let text = |name: &str| std::fs::read_to_string(directory.join("arena").join(name)).unwrap_or_default();
        for n in 0..3 {
            append(&path, &format!("{n}234567\n"), 20).unwrap();
        }
        assert_eq!((text("results.jsonl.1"), text("results.jsonl")), ("0234567\n1234567\n".into(), "2234567\n".into()));
        append(&path, "longer than the bound is\n", 20).unwrap();
        assert_eq!((text("results.jsonl.1").as_str(), text("results.jsonl").len()), ("2234567\n", 25));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
