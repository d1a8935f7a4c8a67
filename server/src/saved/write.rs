//! Writing a saved file: chunks first, then what is said about them, and the head last.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, renameat_with};
use zerocopy::IntoBytes;

use super::{About, CHUNK_BYTES, FORMAT, HEAD_WORDS, MAGIC, ROW_WORDS, hash};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A saved file that is being written. It has no name until it is whole, so that whoever is interrupted leaves nothing behind; where the file system has
/// no such files, it has one of its own.
pub(super) struct Writer {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    at: u64,
    /// Whether the name of its own is there.
    named: bool,
}

/// Where a chunk was put.
pub(super) type Row = [u64; ROW_WORDS];

impl Writer {
    /// Begins a file that is to be called so.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        Self::begin_in(path, nameless(path))
    }

    fn begin_in(path: &Path, nameless: Option<File>) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let (file, named) = match nameless {
            Some(file) => (file, false),
            None => (OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?, true),
        };
        let mut writer = Self {
            path: path.to_owned(),
            part,
            out: BufWriter::with_capacity(BUFFER_BYTES, file),
            at: (HEAD_WORDS * 8) as u64,
            named,
        };
        writer.out.write_all(&[0; HEAD_WORDS * 8])?;
        Ok(writer)
    }

    /// Writes the words of a chunk; zeros are left out, and missing ones at the end count as zeros.
    pub(super) fn chunk(&mut self, words: &[u64]) -> io::Result<Row> {
        if words.iter().all(|word| *word == 0) {
            return Ok([0; ROW_WORDS]);
        }
        let mut whole = words.as_bytes();
        let padded;
        if whole.len() < CHUNK_BYTES {
            let mut bytes = whole.to_vec();
            bytes.resize(CHUNK_BYTES, 0);
            padded = bytes;
            whole = &padded;
        }
        let packed = lz4_flex::block::compress(whole);
        let bytes = if packed.len() < CHUNK_BYTES { &packed[..] } else { whole };
        let row = [self.at, bytes.len() as u64, hash(bytes)];
        self.put(bytes)?;
        Ok(row)
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.at
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is said about the chunks, and gives the file its name. One that is there already is replaced only if that is wanted.
    /// Returns the bytes of the file.
    pub(super) fn finish(mut self, about: &About, rows: &[Vec<Row>], replace: bool) -> io::Result<u64> {
        let json = serde_json::to_vec(about).expect("names, numbers and lists");
        let table: Vec<u8> = rows.iter().flatten().flatten().flat_map(|word| word.to_le_bytes()).collect();
        let about_at = self.at;
        self.put(&json)?;
        let table_at = self.at;
        self.put(&table)?;
        let mut words = vec![MAGIC, FORMAT];
        words.extend([about_at, json.len() as u64, hash(&json), table_at, table.len() as u64, hash(&table)]);
        let mut head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        head.extend(hash(&head).to_le_bytes());
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&head)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        self.name(replace)?;
        self.named = false;
        Ok(self.at)
    }

    fn name(&mut self, replace: bool) -> io::Result<()> {
        if !self.named {
            // A link replaces nothing.
            let to = if replace { &self.part } else { &self.path };
            let file = format!("/proc/self/fd/{}", self.out.get_ref().as_raw_fd());
            linkat(CWD, file, CWD, to, AtFlags::SYMLINK_FOLLOW)?;
            if !replace {
                return Ok(());
            }
            self.named = true;
        }
        if replace {
            return std::fs::rename(&self.part, &self.path);
        }
        match renameat_with(CWD, &self.part, CWD, &self.path, RenameFlags::NOREPLACE) {
            // Not every file system can.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !self.path.exists() => {
                std::fs::rename(&self.part, &self.path)
            }
            renamed => Ok(renamed?),
        }
    }
}

/// A file without a name, where one of this path is to be; nothing where there are none.
fn nameless(path: &Path) -> Option<File> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.named {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saved::SavedMoment;
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    fn about() -> About {
        About {
            ringfort: String::new(),
            layout_version: 0,
            layout_hash: 0,
            instance: "arena".to_owned(),
            moment: SavedMoment::now(BTreeSet::new()),
            segments: Vec::new(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_before_that_nothing_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("night.rf");
        let names =
            || -> Vec<_> { std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
        // With a file that has no name, where there are such files, and with one that has.
        for kind in [nameless as fn(&Path) -> Option<File>, |_| None] {
            let begin = || Writer::begin_in(&path, kind(&path)).unwrap();
            let mut given_up = begin();
            assert_eq!(given_up.named, !names().is_empty(), "{:?}", names());
            given_up.chunk(&[7; 100]).unwrap();
            drop(given_up);
            assert!(names().is_empty(), "{:?}", names());
            let bytes = begin().finish(&about(), &[], false).unwrap();
            assert_eq!((names(), std::fs::metadata(&path).unwrap().len()), (vec![OsString::from("night.rf")], bytes));
            let refused = begin().finish(&about(), &[], false).unwrap_err();
            assert_eq!((refused.kind(), names().len()), (io::ErrorKind::AlreadyExists, 1));
            let mut other = begin();
            other.chunk(&[7; 100]).unwrap();
            let longer = other.finish(&about(), &[], true).unwrap();
            assert!(longer > bytes && std::fs::metadata(&path).unwrap().len() == longer && names().len() == 1);
            std::fs::remove_file(&path).unwrap();
        }
    }
}
