//! Results of matches that no hook takes: written to a file, so that a match's memory can be given back and nothing is lost silently.
//!
//! A thread does the writing, as a disk may take its time and the supervisor has none.
//!
//! **Invariant**: a result is on disk before its match is told that somebody has it. One may be there twice, with the same `match_id`
//! and `id`, when the supervisor is killed between the two.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::layout::{AskKind, RootHead, Verdict, ZoneEntry};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::unpadded;
use serde_json::json;
use tracing::{error, info};

use super::rules::Rules;
use super::segments::Segments;
use crate::config::Config;
use crate::fsck::Describe;
use crate::game::Ask;
use crate::jsonl::append;
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
