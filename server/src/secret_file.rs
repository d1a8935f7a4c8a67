//! Files with secrets, read together with who else can.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Permission bits of a file that others can read or write.
pub(crate) const OPEN_TO_OTHERS: u32 = 0o077;

/// A file's bytes, one more than `bytes_max` at most, and its permission bits: those of the file that is read, whatever its name stands for by now.
pub(crate) fn read(file: &Path, bytes_max: usize) -> io::Result<(Vec<u8>, u32)> {
    let opened = File::open(file)?;
    let mode = opened.metadata()?.mode() & 0o777;
    let mut bytes = Vec::new();
    opened.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}
