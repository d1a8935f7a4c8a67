//! `ringfort audit`: who has commanded what, by the file to which the supervisor appends a line before it carries a command out, and one with the
//! outcome before it answers.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use clap::Args;
use ringfort_shm_state::process::ProcessId;
use serde::{Deserialize, Serialize};

use crate::jsonl::older;
use crate::limits::{AUDIT_LINES_MAX, AUDIT_LINES_SHOWN};
use crate::look::{Paper, Shown, printable, table};

/// Flags of `audit`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  ringfort audit\n  ringfort audit --limit 5 --json")]
pub struct AuditArgs {
    /// Only the newest N
    #[arg(long, value_name = "N", default_value_t = AUDIT_LINES_SHOWN, value_parser = clap::value_parser!(u32).range(1..=i64::from(AUDIT_LINES_MAX)))]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {} cannot be read ({source}); check its permissions", file.display())]
pub struct AuditError {
    file: PathBuf,
    source: io::Error,
}

/// One command. In the file it has a line when it begins and one when it has come to its end: with the same time, of the same process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it came, in RFC 3339, UTC.
    pub time: String,
    /// The user's name, if the machine's list of users has one.
    pub user: Option<String>,
    /// The user's id.
    pub uid: u32,
    /// The process that asked.
    pub pid: i32,
    /// The command: "matches-create", "sessions-kick", ..
    pub command: String,
    /// What it was given.
    pub arguments: serde_json::Value,
    /// "ok" or "refused"; "asked" when the file tells of no outcome.
    pub outcome: Outcome,
    /// What was answered; without an outcome, whether there may be one yet.
    pub sentence: String,
    /// Milliseconds until then.
    pub duration_ms: u64,
    /// Who was asked, in the line of a command that begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<Supervisor>,
}

/// A supervisor's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    pid: u32,
    start_time: u64,
}

impl Supervisor {
    /// This process.
    pub fn current() -> Supervisor {
        let ProcessId { pid, start_time } = ProcessId::current();
        Supervisor { pid, start_time }
    }

    fn is_alive(self) -> bool {
        let Supervisor { pid, start_time } = self;
        ProcessId { pid, start_time }.is_alive()
    }
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// None yet, or none any more.
    Asked,
    /// It was carried out.
    Ok,
    /// It was refused, or failed.
    Refused,
}

/// What the file holds, the newest of it.
#[derive(Debug, Serialize)]
pub struct AuditLog {
    /// The file.
    pub file: PathBuf,
    /// Lines that are no entries: of another version, or damaged.
    pub unreadable: u64,
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
}

/// Reads the newest entries; none when there is no file.
pub fn read(file: &Path, limit: u32) -> Result<AuditLog, AuditError> {
    let mut unreadable = 0;
    let mut newest = Newest { limit: limit as usize, ..Newest::default() };
    for part in [older(file), file.to_owned()] {
        let failed = |source| AuditError { file: part.clone(), source };
        let lines = match File::open(&part) {
            Ok(file) => BufReader::new(file).split(b'\n'),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for line in lines {
            match serde_json::from_slice::<Entry>(&line.map_err(failed)?) {
                Ok(entry) => newest.take(entry),
                Err(_) => unreadable += 1,
            }
        }
    }
    let mut entries = Vec::from(newest.entries);
    entries.iter_mut().for_each(Entry::say_what_is_missing);
    Ok(AuditLog { file: file.to_owned(), unreadable, entries })
}

/// The newest commands, put together from their lines.
#[derive(Default)]
struct Newest {
    limit: usize,
    entries: VecDeque<Entry>,
    /// Commands before those.
    gone: usize,
    /// Numbers of the commands whose outcome was not read yet, by what their two lines have in common.
    open: HashMap<(String, i32), usize>,
}

impl Newest {
    fn take(&mut self, entry: Entry) {
        let command = (entry.time.clone(), entry.pid);
        if entry.outcome == Outcome::Asked {
            self.open.insert(command, self.gone + self.entries.len());
        } else if let Some(number) = self.open.remove(&command) {
            // Of one that so many others have followed nothing is shown, whenever it has come to its end.
            if let Some(asked) = number.checked_sub(self.gone).and_then(|at| self.entries.get_mut(at)) {
                *asked = entry;
            }
            return;
        }
        self.entries.push_back(entry);
        if self.entries.len() > self.limit {
            self.entries.pop_front();
            self.gone += 1;
        }
    }
}

impl Entry {
    /// Says of a command without an outcome why it has none.
    fn say_what_is_missing(&mut self) {
        if let Some(supervisor) = self.supervisor.take().filter(|_| self.outcome == Outcome::Asked) {
            let why = if supervisor.is_alive() { "no outcome yet" } else { "no outcome: the supervisor ended" };
            self.sentence = why.to_owned();
        }
    }
}

impl Shown for AuditLog {
    fn text(&self, paper: &Paper) -> String {
        let file = self.file.display();
        let mut text = if self.entries.is_empty() {
            format!("no commands in {file}\n")
        } else {
            table(
                paper,
                &["TIME", "USER", "COMMAND", "ARGUMENTS", "OUTCOME", "MS", "ANSWER"],
                self.entries.iter().map(row).collect(),
            )
        };
        if self.unreadable > 0 {
            text += &format!("{} lines of {file} are no commands\n", self.unreadable);
        }
        text
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let arguments = entry.arguments.as_object().into_iter().flatten();
    let arguments = arguments.filter(|(_, value)| !value.is_null()).map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}={text}"),
        None => format!("{key}={value}"),
    });
    vec![
        printable(entry.time.get(..19).unwrap_or(&entry.time)).replace('T', " "),
        entry.user.as_deref().map_or_else(|| entry.uid.to_string(), printable),
        printable(&entry.command),
        printable(&arguments.collect::<Vec<_>>().join(" ")),
        match entry.outcome {
            Outcome::Asked => "-",
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
        }
        .to_owned(),
        if entry.outcome == Outcome::Asked { "-".to_owned() } else { entry.duration_ms.to_string() },
        printable(&entry.sentence),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> Entry {
        Entry {
            time: format!("2026-11-22T21:00:00.{n:06}Z"),
            user: Some("ada".to_owned()),
            uid: 1000,
            pid: 7,
            command: "matches-end".to_owned(),
            arguments: serde_json::json!({ "name": "arena\u{1b}[2J", "nothing": null }),
            outcome: Outcome::Ok,
            sentence: "match \"arena\" is ending".to_owned(),
            duration_ms: n,
            supervisor: None,
        }
    }

    fn asked(n: u64, of: Supervisor) -> Entry {
        Entry { outcome: Outcome::Asked, sentence: String::new(), duration_ms: 0, supervisor: Some(of), ..entry(n) }
    }

    fn lines(entries: &[Entry]) -> String {
        entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect()
    }

    #[test]
    fn the_newest_entries_are_shown_and_what_is_none_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.jsonl");
        std::fs::write(older(&file), lines(&[entry(1), entry(2)])).unwrap();
        std::fs::write(&file, [lines(&[entry(3)]), "{}\n".to_owned(), lines(&[entry(4)])].concat()).unwrap();
        let log = read(&file, 3).unwrap();
        assert_eq!(log.unreadable, 1);
        assert_eq!(log.entries, [entry(2), entry(3), entry(4)]);
        let text = log.text(&Paper::default());
        assert!(text.contains("ada") && text.contains("name=arena?[2J") && !text.contains("nothing"), "{text}");
        assert!(read(&directory.path().join("none.jsonl"), 3).unwrap().entries.is_empty());
    }

    #[test]
    fn a_command_is_shown_once_where_it_began_with_its_outcome_or_without() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.jsonl");
        let (ours, dead) = (Supervisor::current(), Supervisor { pid: 1, start_time: u64::MAX });
        // The first begins before the file is turned over, and ends last; of the third nobody knows more.
        std::fs::write(older(&file), lines(&[asked(1, ours), asked(2, ours)])).unwrap();
        std::fs::write(&file, lines(&[entry(2), asked(3, dead), asked(4, ours), entry(1)])).unwrap();
        let log = read(&file, 10).unwrap();
        assert_eq!(log.entries[..2], [entry(1), entry(2)]);
        let said: Vec<_> = log.entries[2..].iter().map(|entry| (entry.outcome, entry.sentence.as_str())).collect();
        assert_eq!(said, [(Outcome::Asked, "no outcome: the supervisor ended"), (Outcome::Asked, "no outcome yet")]);
        assert!(log.text(&Paper::default()).contains(" -  no outcome: the supervisor ended"), "{}", log.text(&Paper::default()));
        let times: Vec<_> = read(&file, 2).unwrap().entries.into_iter().map(|entry| entry.time).collect();
        assert_eq!(times, [entry(3).time, entry(4).time], "what came before them is not shown, though it ended after them");
    }
}
