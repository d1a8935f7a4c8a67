//! Writing a saved file: chunks first, then what is said about them, and the head last.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use zerocopy::IntoBytes;

use super::{About, CHUNK_BYTES, FORMAT, HEAD_WORDS, MAGIC, ROW_WORDS, hash};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A saved file that is being written, under a name of its own until it is whole.
pub(super) struct Writer {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    at: u64,
    done: bool,
}

/// Where a chunk was put.
pub(super) type Row = [u64; ROW_WORDS];

impl Writer {
    /// Begins a file that is to be called so.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        let mut writer = Self {
            path: path.to_owned(),
            part,
            out: BufWriter::with_capacity(BUFFER_BYTES, file),
            at: (HEAD_WORDS * 8) as u64,
            done: false,
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
        self.done = true;
        Ok(self.at)
    }

    fn name(&self, replace: bool) -> io::Result<()> {
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

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
