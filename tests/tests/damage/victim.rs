//! A file that is damaged and mended again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::Random;

/// One file out of this many is cut off; in the others words are overwritten.
const ONE_IN_CUT: u64 = 12;
/// Words that are overwritten at a time, at most.
const WORDS_MAX: u64 = 6;

/// A segment or a saved file, and what it holds while it is whole.
pub struct Victim {
    pub path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    /// Its words that are not zero: damage elsewhere is seldom seen.
    used: Vec<usize>,
}

/// What was done to one.
pub enum Damage {
    Cut(u64),
    Words(Vec<usize>),
}

impl Victim {
    pub fn new(path: PathBuf) -> Self {
        let bytes = std::fs::read(&path).expect("a file of ours");
        let file = OpenOptions::new().write(true).open(&path).expect("a file of ours");
        let used = bytes.chunks_exact(8).enumerate().filter(|(_, word)| *word != [0; 8]).map(|(at, _)| at * 8).collect();
        Self { path, file, bytes, used }
    }

    /// Damages it, and says how.
    pub fn damage(&self, random: &mut Random) -> (String, Damage) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if random.below(ONE_IN_CUT) == 0 {
            let length = random.below(self.bytes.len() as u64);
            self.file.set_len(length).expect("a file of ours");
            return (format!("{name} cut to {length} bytes"), Damage::Cut(length));
        }
        let mut places = Vec::new();
        for _ in 0..1 + random.below(WORDS_MAX) {
            let anywhere = random.below(8) == 0 || self.used.is_empty();
            let at = if anywhere {
                random.below(self.bytes.len() as u64 / 8) as usize * 8
            } else {
                self.used[random.below(self.used.len() as u64) as usize]
            };
            let Some(old) = self.bytes.get(at..at + 8) else { continue };
            let old = u64::from_le_bytes(old.try_into().expect("eight bytes"));
            let new = match random.below(7) {
                0 => 0,
                1 => u64::MAX,
                2 => random.next(),
                3 => old.wrapping_add(random.below(5)).wrapping_sub(2),
                4 => old ^ (random.next() & 0xffff_ffff) << (32 * random.below(2)),
                _ => old ^ 1 << random.below(64),
            };
            if new != old {
                self.file.write_all_at(&new.to_le_bytes(), at as u64).expect("a file of ours");
                places.push(at);
            }
        }
        (format!("{name} at {places:?}"), Damage::Words(places))
    }

    pub fn mend(&self, damage: &Damage) {
        match damage {
            Damage::Cut(length) => {
                self.file.set_len(self.bytes.len() as u64).expect("a file of ours");
                self.file.write_all_at(&self.bytes[*length as usize..], *length).expect("a file of ours");
            }
            Damage::Words(places) => {
                for at in places {
                    self.file.write_all_at(&self.bytes[*at..at + 8], *at as u64).expect("a file of ours");
                }
            }
        }
    }
}
