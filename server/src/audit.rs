//! `ringfort audit`: who has commanded what, by the file that the supervisor appends to before it answers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use clap::Args;
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

/// One command, a line of the file.
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
    /// "ok" or "refused".
    pub outcome: Outcome,
    /// What was answered.
    pub sentence: String,
    /// Milliseconds until then.
    pub duration_ms: u64,
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
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
    let (mut unreadable, mut entries) = (0, VecDeque::new());
    for part in [older(file), file.to_owned()] {
        let failed = |source| AuditError { file: part.clone(), source };
        let lines = match File::open(&part) {
            Ok(file) => BufReader::new(file).split(b'\n'),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for line in lines {
            match serde_json::from_slice::<Entry>(&line.map_err(failed)?) {
                Ok(entry) => entries.push_back(entry),
                Err(_) => unreadable += 1,
            }
            if entries.len() > limit as usize {
                entries.pop_front();
            }
        }
    }
    Ok(AuditLog { file: file.to_owned(), unreadable, entries: entries.into() })
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
        if entry.outcome == Outcome::Ok { "ok" } else { "refused" }.to_owned(),
        entry.duration_ms.to_string(),
        printable(&entry.sentence),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_are_shown_and_what_is_none_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.jsonl");
        let entry = |n: u64| Entry {
            time: "2026-11-22T21:00:00.000000Z".to_owned(),
            user: Some("ada".to_owned()),
            uid: 1000,
            pid: 7,
            command: "matches-end".to_owned(),
            arguments: serde_json::json!({ "name": "arena\u{1b}[2J", "nothing": null }),
            outcome: Outcome::Ok,
            sentence: "match \"arena\" is ending".to_owned(),
            duration_ms: n,
        };
        let line = |n| serde_json::to_string(&entry(n)).unwrap();
        std::fs::write(older(&file), format!("{}\n{}\n", line(1), line(2))).unwrap();
        std::fs::write(&file, format!("{}\n{{}}\n{}\n", line(3), line(4))).unwrap();
        let log = read(&file, 3).unwrap();
        assert_eq!(log.unreadable, 1);
        assert_eq!(log.entries, [entry(2), entry(3), entry(4)]);
        let text = log.text(&Paper::default());
        assert!(text.contains("ada") && text.contains("name=arena?[2J") && !text.contains("nothing"), "{text}");
        assert!(read(&directory.path().join("none.jsonl"), 3).unwrap().entries.is_empty());
    }
}
