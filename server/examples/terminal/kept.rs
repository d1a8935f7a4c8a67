//! The file with which a program that was started again has its session back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use ringfort::client::ResumeToken;

/// Where the newest token is kept; nowhere unless the player wants it.
pub struct Kept(Option<PathBuf>);

impl Kept {
    /// In this file, if there is one.
    pub fn new(file: Option<PathBuf>) -> Kept {
        Kept(file)
    }

    /// The token that an earlier run has kept.
    pub fn token(&self) -> Result<Option<ResumeToken>, String> {
        let Some(file) = &self.0 else { return Ok(None) };
        match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{} cannot be read ({error}): give another file for --resume", file.display())),
            Ok(bytes) => match bytes.try_into() {
                Ok(token) => Ok(Some(ResumeToken::from_bytes(token))),
                Err(_) => Err(format!("{} holds no token: remove it, or give another file for --resume", file.display())),
            },
        }
    }

    /// Keeps a token in place of the one before. Whoever is killed meanwhile has one of the two.
    pub fn keep(&self, token: ResumeToken) -> Result<(), String> {
        let Some(file) = &self.0 else { return Ok(()) };
        let next = file.with_extension("next");
        let write = || {
            // What an earlier run has left may be another's to read.
            let _ = fs::remove_file(&next);
            let mut to = File::options().write(true).create_new(true).mode(0o600).open(&next)?;
            to.write_all(&token.to_bytes())?;
            fs::rename(&next, file)
        };
        write()
            .map_err(|error: io::Error| format!("{} cannot be written ({error}): give another file for --resume", file.display()))
    }

    /// The session has ended: there is nothing to come back to.
    pub fn forget(&self) {
        if let Some(file) = &self.0 {
            // One that is gone already, or stays, is refused by the server at worst.
            let _ = fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ringfort::prelude::SessionId;

    use super::*;

    #[test]
    fn the_newest_token_is_kept_for_us_alone_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let kept = Kept::new(Some(file.clone()));
        assert_eq!(kept.token(), Ok(None));
        for secret in [1, 2] {
            let token = ResumeToken::new(3, SessionId::new(4, 5), &[secret; 16]);
            kept.keep(token).expect("room");
            assert_eq!(kept.token(), Ok(Some(token)));
            assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        }
        kept.forget();
        assert_eq!(kept.token(), Ok(None));
        fs::write(&file, "nonsense").expect("room");
        assert!(kept.token().is_err_and(|error| error.contains("no token")));
    }
}
