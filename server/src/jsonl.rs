//! Files of JSON lines that outlive an instance: appended all or nothing, seen on disk, and bounded by one turn-over.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use crate::limits::JSONL_LOCK_TRIES;

/// What a full file is called after it was turned over.
pub(crate) fn older(path: &Path) -> PathBuf {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    PathBuf::from(older)
}

/// Appends lines to a file, all or none, and sees them on disk. One that would grow beyond the bound becomes the older one first.
/// Several processes may do so at a time.
pub(crate) fn append(path: &Path, lines: &str, bytes_max: u64) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = open_locked(path)?;
    let mut before = file.metadata()?.len();
    if before > 0 && before + lines.len() as u64 > bytes_max {
        let older = older(path);
        if older.exists() {
            warn!("{} is full and takes the place of the older lines in {}", path.display(), older.display());
        }
        std::fs::rename(path, older)?;
        file = open_locked(path)?;
        before = file.metadata()?.len();
    }
    let end = if ends_in_a_line(&file, before)? { "" } else { "\n" };
    let text = [end, lines].concat();
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).inspect_err(|_| {
        // Half a line would spoil the next.
        let _ = file.set_len(before);
    })
}

/// Whether what stands in the file ends where a line does: whoever was killed while it wrote has left the half of one.
fn ends_in_a_line(file: &File, bytes: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = bytes.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last == [b'\n'])
}

/// The file under its name, with its lock, which goes with the descriptor. A holder that stands still is not waited for.
fn open_locked(path: &Path) -> io::Result<File> {
    for _ in 0..JSONL_LOCK_TRIES {
        let file = File::options().read(true).append(true).create(true).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Turned over meanwhile: the name is another file's now.
            Ok(()) if std::fs::metadata(path).is_ok_and(|named| named.ino() == file.metadata().map_or(0, |own| own.ino())) => {
                return Ok(file);
            }
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds its lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_made_with_its_directory_and_its_size_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("arena").join("results.jsonl");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        for n in 0..3 {
            append(&path, &format!("{n}234567\n"), 20).unwrap();
        }
        assert_eq!((text(&older(&path)), text(&path)), ("0234567\n1234567\n".into(), "2234567\n".into()));
        append(&path, "longer than the bound is\n", 20).unwrap();
        assert_eq!((text(&older(&path)).as_str(), text(&path).len()), ("2234567\n", 25));
    }

    #[test]
    fn half_a_line_of_one_that_was_killed_spoils_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        std::fs::write(&path, "whole\nha").unwrap();
        append(&path, "next\n", 100).unwrap();
        append(&path, "last\n", 100).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nha\nnext\nlast\n");
    }

    #[test]
    fn a_file_that_another_holds_for_good_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        let holder = open_locked(&path).unwrap();
        assert_eq!(append(&path, "1\n", 20).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(holder);
        append(&path, "1\n", 20).unwrap();
    }
}
