//! Opening a saved file: its head, what it says about itself, and where the chunks of each segment lie.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use ringfort_shm_state::layout::{VERSION, layout_hash};
use ringfort_shm_state::segment::{Segment, SegmentError, SegmentSpec, check_header};
use ringfort_shm_state::world::World;
use rustix::fs::OFlags;

use super::memory::{Damaged, LookMemory, SavedMemory};
use super::{About, CHUNK_BYTES, FORMAT, HEAD_WORDS, MAGIC, ROW_WORDS, hash};
use crate::config::check_instance;
use crate::limits::{SAVED_ABOUT_BYTES_MAX, SAVED_EXPANDED_BYTES_MAX, SAVED_TABLE_BYTES_MAX};
use crate::look::printable;

/// Why a saved file cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is no file that `ringfort save` wrote, or its beginning is damaged")]
    NotSaved {
        /// The file.
        path: PathBuf,
    },
    /// Another version wrote it.
    #[error("{path} has format {found}, this ringfort reads format {FORMAT}; look at it with the ringfort that saved it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A part without which nothing can be found is damaged.
    #[error("{path} is damaged or cut off: {what} cannot be read, so nothing in the file can be found; copy it anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
    },
    /// It is of another build.
    #[error(
        "{path} was saved by ringfort {ringfort} with layout {found_version} ({found:#x}), this one has layout {VERSION} ({expected:#x}); \
         look at it with the ringfort that saved it"
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// Version of the program that wrote it.
        ringfort: String,
        /// Its layout's version.
        found_version: u32,
        /// Its layout's hash.
        found: u64,
        /// The layout's hash of this program.
        expected: u64,
    },
    /// The segment was not there when the file was saved.
    #[error("{path} has no segment {segment}; it was missing when the file was saved, or could not be read")]
    NoSegment {
        /// The file.
        path: PathBuf,
        /// Which segment.
        segment: String,
    },
    /// A small segment claims to be huge.
    #[error("{path} is damaged: it says that the segment {segment} has {bytes} bytes, which this machine has no room for")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Which segment.
        segment: String,
        /// What it says.
        bytes: u64,
    },
    /// A segment in it is damaged.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// An open saved file.
#[derive(Debug)]
pub struct SavedFile {
    path: PathBuf,
    file: Arc<File>,
    about: About,
    /// Of each segment, where its chunks lie.
    rows: Vec<Vec<[u64; ROW_WORDS]>>,
    damaged: Damaged,
}

impl SavedFile {
    /// Opens a file and reads all that is needed to find the rest.
    pub fn open(path: &Path) -> Result<Self, SavedError> {
        let io = |source| SavedError::Io { path: path.to_owned(), source };
        let damaged = |what| SavedError::Damaged { path: path.to_owned(), what };
        // Of a pipe nobody may hold the other end.
        let mut options = File::options();
        let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(SavedError::NotSaved { path: path.to_owned() });
        }
        let mut head = [0; HEAD_WORDS * 8];
        file.read_exact_at(&mut head, 0).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => SavedError::NotSaved { path: path.to_owned() },
            _ => io(source),
        })?;
        let words: Vec<u64> = head.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let &[MAGIC, format, about_at, about_bytes, about_hash, table_at, table_bytes, table_hash, head_hash] = &words[..] else {
            return Err(SavedError::NotSaved { path: path.to_owned() });
        };
        if hash(&head[..(HEAD_WORDS - 1) * 8]) != head_hash {
            return Err(damaged("its head"));
        }
        if format != FORMAT {
            return Err(SavedError::Format { path: path.to_owned(), found: format });
        }
        let length = file.metadata().map_err(io)?.len();
        let part = |at: u64, bytes: u64, expected: u64, max: u64| {
            let fits = bytes <= max && at.checked_add(bytes).is_some_and(|end| end <= length);
            let mut part = fits.then(|| vec![0; bytes as usize])?;
            file.read_exact_at(&mut part, at).ok()?;
            (hash(&part) == expected).then_some(part)
        };
        let about = part(about_at, about_bytes, about_hash, SAVED_ABOUT_BYTES_MAX);
        let about = about.and_then(|json| serde_json::from_slice::<About>(&json).ok());
        // Its name is printed as it stands, and whoever made the file may have written anything.
        let about = about.filter(|about| check_instance(&about.instance).is_ok());
        let mut about = about.ok_or_else(|| damaged("what it says about itself"))?;
        about.ringfort = printable(&about.ringfort);
        let table = part(table_at, table_bytes, table_hash, SAVED_TABLE_BYTES_MAX);
        let rows = table.and_then(|table| rows_of(&about, &table)).ok_or_else(|| damaged("the table of its chunks"))?;
        if (about.layout_version, about.layout_hash) != (VERSION, layout_hash()) {
            let (found_version, found) = (about.layout_version, about.layout_hash);
            let (path, expected) = (path.to_owned(), layout_hash());
            return Err(SavedError::Layout { path, ringfort: printable(&about.ringfort), found_version, found, expected });
        }
        Ok(Self { path: path.to_owned(), file: Arc::new(file), about, rows, damaged: Arc::default() })
    }

    /// What it says about itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Chunks that were touched since it was opened, and are damaged.
    pub fn damaged_chunks(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The world.
    pub fn world(&self) -> Result<World<LookMemory>, SavedError> {
        let (memory, path) = self.find(SegmentSpec::world(0))?;
        let header = check_header(&memory, &path, &self.about.instance, SegmentSpec::world(0))?;
        Ok(World::over(LookMemory::Saved(memory), header.parameter as usize))
    }

    /// A small segment, expanded.
    pub fn segment(&self, spec: SegmentSpec) -> Result<Segment, SavedError> {
        let (memory, path) = self.find(spec)?;
        // Its header says what its length is: nothing is expanded that says otherwise.
        check_header(&memory, &path, &self.about.instance, spec)?;
        let bytes = ringfort_shm_state::memory::Words::bytes(&memory) as u64;
        let expanded = Some(&memory).filter(|_| bytes <= SAVED_EXPANDED_BYTES_MAX).and_then(SavedMemory::expand);
        let segment = spec.name();
        let expanded = expanded.ok_or_else(|| SavedError::TooLarge { path: self.path.clone(), segment, bytes })?;
        Ok(Segment::kept(expanded, &path, &self.about.instance, spec)?)
    }

    /// A segment, and what an error calls it.
    fn find(&self, spec: SegmentSpec) -> Result<(SavedMemory, PathBuf), SavedError> {
        let name = spec.name();
        let found = self.about.segments.iter().zip(&self.rows).find(|(segment, _)| segment.name == name);
        let Some((segment, rows)) = found else {
            return Err(SavedError::NoSegment { path: self.path.clone(), segment: name });
        };
        let memory = SavedMemory::new(self.file.clone(), segment.bytes as usize, rows.clone(), self.damaged.clone());
        Ok((memory, PathBuf::from(format!("the segment {name} in {}", self.path.display()))))
    }
}

/// The table taken apart by segment; `None` when it is not as long as the segments say.
fn rows_of(about: &About, table: &[u8]) -> Option<Vec<Vec<[u64; ROW_WORDS]>>> {
    let mut words = table.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let mut left = table.len() / 8 / ROW_WORDS;
    let mut rows = Vec::new();
    for segment in &about.segments {
        let chunks = usize::try_from(segment.bytes.div_ceil(CHUNK_BYTES as u64)).ok()?;
        left = left.checked_sub(chunks)?;
        let of_segment = (0..chunks).map_while(|_| Some([words.next()?, words.next()?, words.next()?])).collect();
        rows.push(of_segment);
    }
    (left == 0).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn what_is_no_file_is_refused_and_a_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let refusal = SavedFile::open(path).map(|_| ()).unwrap_err();
            assert!(matches!(refusal, SavedError::NotSaved { .. }), "{refusal}");
        }
    }
}
