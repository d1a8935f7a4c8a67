//! `ringfort dead-letters`: what sims have written of inputs and commands that were given up (`sim/letters.rs`), read from the file alone.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::jsonl::older;
use crate::look::{Paper, duration, printable, table};
use crate::sim::letters::Letter;

/// Bytes on one line of a dump.
const DUMP_BYTES: usize = 16;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The file is there and cannot be read.
    #[error("the dead letters in {} cannot be read ({source}); check its permissions", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No letter has that number.
    #[error("there is no dead letter {number}, there are {count}; `ringfort dead-letters list` shows their numbers")]
    NoSuch {
        /// Which was asked for.
        number: usize,
        /// How many there are.
        count: usize,
    },
}

/// What the file holds, each letter once.
#[derive(Debug, Serialize)]
pub struct DeadLetters {
    /// The file.
    pub file: PathBuf,
    /// Lines that are no letters: of another version, or damaged.
    pub unreadable: usize,
    /// The letters, oldest first.
    pub letters: Vec<Numbered>,
}

/// A letter and its number, from 1. Numbers change when the file is turned over.
#[derive(Debug, Clone, Serialize)]
pub struct Numbered {
    /// Its place in the list.
    pub number: usize,
    /// The letter.
    #[serde(flatten)]
    pub letter: Letter,
}

/// Reads an instance's dead letters; none when there is no file.
pub fn read(file: &Path) -> Result<DeadLetters, DeadLettersError> {
    let mut read = DeadLetters { file: file.to_owned(), unreadable: 0, letters: Vec::new() };
    let mut seen = BTreeSet::new();
    for part in [older(file), file.to_owned()] {
        let failed = |source| DeadLettersError::Read { file: part.clone(), source };
        let lines = match File::open(&part) {
            Ok(file) => BufReader::new(file).split(b'\n'),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for line in lines {
            let Ok(letter) = serde_json::from_slice::<Letter>(&line.map_err(failed)?) else {
                read.unreadable += 1;
                continue;
            };
            // A sim that died before its commit leaves them to be written again.
            if seen.insert((letter.match_id, letter.tick, letter.session, letter.kind, letter.sequence)) {
                read.letters.push(Numbered { number: seen.len(), letter });
            }
        }
    }
    Ok(read)
}

impl DeadLetters {
    /// Those of the matches of a name, with the numbers that they have among all.
    pub fn of(mut self, only: Option<&str>) -> DeadLetters {
        self.letters.retain(|entry| only.is_none_or(|name| entry.letter.name == name));
        self
    }

    /// The letter with a number.
    pub fn number(&self, number: usize) -> Result<&Numbered, DeadLettersError> {
        let count = self.letters.len();
        self.letters.iter().find(|entry| entry.number == number).ok_or(DeadLettersError::NoSuch { number, count })
    }

    /// As a table.
    pub fn to_text(&self) -> String {
        let file = self.file.display();
        let mut text = if self.letters.is_empty() {
            format!("no dead letters in {file}\n")
        } else {
            table(
                &Paper::default(),
                &["N", "AGE", "MATCH", "TICK", "PLAYER", "KIND", "SEQUENCE", "BYTES", "REASON"],
                self.letters.iter().map(row).collect(),
            )
        };
        if self.unreadable > 0 {
            text += &format!("{} lines of {file} are no letters\n", self.unreadable);
        }
        text
    }
}

fn row(entry: &Numbered) -> Vec<String> {
    let Numbered { number, letter } = entry;
    vec![
        number.to_string(),
        age(letter),
        printable(&letter.name),
        letter.tick.to_string(),
        printable(&letter.player),
        letter.kind.name().to_owned(),
        letter.sequence.to_string(),
        (letter.bytes.len() / 2).to_string(),
        printable(&letter.reason),
    ]
}

impl Numbered {
    /// Everything about it.
    pub fn to_text(&self) -> String {
        let Numbered { number, letter } = self;
        let bytes = unhex(&letter.bytes);
        let facts = [
            ("number", number.to_string()),
            ("given up", format!("{} ago, {} ms since 1970", age(letter), letter.at)),
            ("match", format!("{}, id {}, zone slot {}", printable(&letter.name), letter.match_id, letter.zone)),
            ("tick", letter.tick.to_string()),
            ("player", format!("{}, session {}", printable(&letter.player), letter.session)),
            (letter.kind.name(), letter.sequence.to_string()),
            ("reason", printable(&letter.reason)),
            ("view", letter.view.map_or_else(|| "none".to_owned(), |view| format!("{view:#010x}"))),
            ("length", format!("{} bytes", bytes.len())),
        ];
        facts.iter().map(|(what, value)| format!("{what:<10} {value}\n")).collect::<String>() + &dump(&bytes)
    }
}

/// How long ago it was given up.
fn age(letter: &Letter) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    duration(now.saturating_sub(letter.at / 1000))
}

/// The bytes of hexadecimal digits, up to the first that are none.
fn unhex(digits: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    digits.as_bytes().chunks(2).map_while(pair).collect()
}

/// Offset, bytes, and what of them is text.
fn dump(bytes: &[u8]) -> String {
    let text = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    let line = |(at, line): (usize, &[u8])| {
        let digits: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        format!("{:08x}  {digits:<48} {}\n", at * DUMP_BYTES, line.iter().map(text).collect::<String>())
    };
    bytes.chunks(DUMP_BYTES).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::letters::Kind;

    fn letter(name: &str, sequence: u32) -> Letter {
        Letter {
            at: 1_700_000_000_000,
            match_id: name.len() as u64,
            name: name.to_owned(),
            tick: 40,
            session: 1 << 33,
            player: "ad\u{1b}[a".to_owned(),
            kind: Kind::Input,
            sequence,
            bytes: "00ff4142".to_owned(),
            view: Some(7),
            reason: "on purpose at game.rs:3".to_owned(),
            zone: 2,
        }
    }

    fn line(letter: &Letter) -> String {
        serde_json::to_string(letter).unwrap() + "\n"
    }

    #[test]
    fn each_letter_is_told_once_in_order_over_both_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("dead-letters.jsonl");
        assert!(read(&file).unwrap().to_text().starts_with("no dead letters in "));
        std::fs::write(older(&file), line(&letter("arena", 1)) + &line(&letter("mountains", 1)) + "{\"at\": \n").unwrap();
        let again = Letter { at: 1_700_000_000_009, ..letter("arena", 2) };
        std::fs::write(&file, line(&letter("arena", 2)) + &line(&again)).unwrap();
        let letters = read(&file).unwrap();
        let told: Vec<_> = letters.letters.iter().map(|n| (n.number, n.letter.name.as_str(), n.letter.sequence)).collect();
        assert_eq!((told, letters.unreadable), (vec![(1, "arena", 1), (2, "mountains", 1), (3, "arena", 2)], 1));
        assert!(letters.to_text().contains("1 lines of"), "{}", letters.to_text());
        assert!(matches!(letters.number(4), Err(DeadLettersError::NoSuch { number: 4, count: 3 })));
        let only: Vec<_> = letters.of(Some("arena")).letters.iter().map(|numbered| numbered.number).collect();
        assert_eq!(only, [1, 3]);
    }

    #[test]
    fn a_letter_is_shown_with_its_bytes_and_moves_no_cursor() {
        let shown = Numbered { number: 1, letter: letter("arena", 5) };
        let text = shown.to_text();
        assert!(
            text.contains("00000000  00 ff 41 42") && text.contains("..AB\n") && text.contains("length     4 bytes"),
            "{text}"
        );
        assert!(text.contains("input      5") && text.contains("on purpose at game.rs:3") && !text.contains('\u{1b}'), "{text}");
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!((&json["number"], &json["match"], &json["kind"]), (&1.into(), &"arena".into(), &"input".into()));
    }
}
