//! `[admin]`: where monitors ask how the instance is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::limits::{ADMIN_TOKEN_BYTES_MAX, ADMIN_TOKEN_BYTES_MIN, KEY_FILE_BYTES_MAX};
use crate::secret_file::{self, OPEN_TO_OTHERS};

/// `[admin]`: nobody is answered when no address is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port, or a port of this machine alone.
    pub listen: Option<String>,
    /// File with the bearer token that is asked for.
    pub token_file: Option<PathBuf>,
}

impl Admin {
    /// Where it listens, if it is to.
    pub fn address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let Some(text) = &self.listen else { return Ok(None) };
        let port = text.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let address = port.or_else(|_| text.parse());
        address.map(Some).map_err(|_| wrong("listen", "is no address; write a port, as \"9464\", or ADDRESS:PORT"))
    }

    pub(super) fn resolve(&mut self, directory: &Path) {
        if let Some(path) = &mut self.token_file {
            *path = directory.join(&path);
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let address = self.address()?;
        if address.is_some_and(|address| !address.ip().is_loopback()) && self.token_file.is_none() {
            return Err(wrong(
                "listen",
                "can be reached from other machines, and nobody would be asked for a token; set `admin.token_file`, or listen on 127.0.0.1",
            ));
        }
        Ok(())
    }

    /// The token that is asked for, if one is. It must be one line of 16 to 512 characters, as scrapers send it, in a file that nobody else can read.
    pub fn token(&self) -> Result<Option<String>, ConfigError> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let read = secret_file::read(file, KEY_FILE_BYTES_MAX);
        let (bytes, mode) = read.map_err(|source| ConfigError::AdminToken { file: file.clone(), source })?;
        if mode & OPEN_TO_OTHERS != 0 {
            return Err(ConfigError::AdminTokenOpen { file: file.clone(), mode });
        }
        let text = String::from_utf8_lossy(&bytes);
        let token = text.trim();
        let fits = (ADMIN_TOKEN_BYTES_MIN..=ADMIN_TOKEN_BYTES_MAX).contains(&token.len());
        if !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("token_file", "holds no token; put one line of 16 to 512 letters and digits there"));
        }
        Ok(Some(token.to_owned()))
    }
}

fn wrong(key: &'static str, problem: &'static str) -> ConfigError {
    ConfigError::Admin { key, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn listen(text: &str) -> Admin {
        Admin { listen: Some(text.to_owned()), token_file: None }
    }

    #[test]
    fn a_port_alone_is_this_machines_and_other_machines_need_a_token() {
        assert_eq!(listen("9464").address().unwrap(), Some("127.0.0.1:9464".parse().unwrap()));
        for fine in ["9464", "127.0.0.1:0", "[::1]:9464", "127.9.9.9:1"] {
            listen(fine).validate().expect(fine);
        }
        for open in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"] {
            let refusal = listen(open).validate().expect_err(open).to_string();
            assert!(refusal.contains("admin.token_file"), "{refusal}");
            Admin { token_file: Some("token".into()), ..listen(open) }.validate().expect("asked for a token");
        }
        let refusal = listen("example.org").validate().expect_err("no address").to_string();
        assert!(refusal.contains("`admin.listen` is no address"), "{refusal}");
    }

    #[test]
    fn a_token_is_one_line_that_a_header_can_carry() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let set_mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            set_mode(0o600);
            Admin { token_file: Some(file.clone()), ..Admin::default() }.token()
        };
        assert_eq!(read("0123456789abcdef\n").unwrap().as_deref(), Some("0123456789abcdef"));
        for bad in ["", "short\n", "0123456789 abcdef", "0123456789abcdef\nmore", &"x".repeat(513)] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Admin::default().token().unwrap(), None);
        read("0123456789abcdef").unwrap();
        for open in [0o640, 0o604, 0o620, 0o644] {
            set_mode(open);
            let refusal = Admin { token_file: Some(file.clone()), ..Admin::default() }.token().unwrap_err().to_string();
            assert!(refusal.contains(&format!("mode {open:03o}")) && refusal.contains("chmod 600"), "{refusal}");
        }
    }
}
