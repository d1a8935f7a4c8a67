//! Key files: an Ed25519 key as PEM, in two halves, or a secret that signs and verifies, as a line of text.
//!
//! **Invariant**: whatever can sign is read only from a file that nobody but its owner can read.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::limits::{KEY_FILE_BYTES_MAX, TOKEN_SECRET_BYTES_MIN};
use crate::secret_file::{self, OPEN_TO_OTHERS};

/// What stands before the 32 bytes of an Ed25519 public key in its DER encoding (RFC 8410, section 4).
const PUBLIC_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes of an Ed25519 private key in its DER encoding without the public half (RFC 8410, section 7).
const PRIVATE_PREFIX: &[u8] = &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Bytes of either half of an Ed25519 key, and of the secrets that we make.
const KEY_BYTES: usize = 32;
/// Permission bits of a file that others can write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A key with which tokens are checked.
pub enum Verifying {
    /// The 32 bytes of an Ed25519 public key.
    Ed25519(Vec<u8>),
    /// A secret, for HMAC with SHA-256.
    Secret(Vec<u8>),
}

/// A key with which tokens are made.
pub enum Signing {
    /// An Ed25519 private key in PKCS #8.
    Ed25519(Vec<u8>),
    /// A secret, for HMAC with SHA-256.
    Secret(Vec<u8>),
}

/// What a file holds.
enum Key {
    Ed25519Public(Vec<u8>),
    Ed25519Private(Vec<u8>),
    Secret(Vec<u8>),
}

/// Why a key is not usable.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The configuration names none.
    #[error(
        "`auth.mode` is \"token\" but `auth.key` is not set; make a key with `ringfort token key --out FILE` and name FILE.pub"
    )]
    NotConfigured,
    /// The system refused.
    #[error("cannot {doing} the key file {} ({source}); check the path and its permissions", file.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is far too long for a key.
    #[error("the key file {} is longer than {KEY_FILE_BYTES_MAX} bytes; name a file that holds one key", .0.display())]
    TooLong(PathBuf),
    /// Others can read a key that signs.
    #[error("the key in {} can sign tokens, but other users may read or write the file (mode {mode:03o}); run `chmod 600` on it", file.display())]
    OpenToOthers {
        /// Which file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others can put their own key in its place.
    #[error("other users may write {} (mode {mode:03o}), and so make tokens of their own good; run `chmod go-w` on it", file.display())]
    WritableByOthers {
        /// Which file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no key that we know.
    #[error(
        "{} holds no key for tokens; it must be an Ed25519 key as PEM or a secret of at least {TOKEN_SECRET_BYTES_MIN} bytes \
         (`ringfort token key --out FILE` makes one)",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The half that signs stands where the other is enough.
    #[error("{} holds the half of a key that signs; servers need only the other: set `auth.key` to the .pub file beside it", .0.display())]
    PrivateHalf(PathBuf),
    /// The half that verifies stands where the other is needed.
    #[error("{} holds the half of a key that verifies; name the half that signs with --key", .0.display())]
    PublicHalf(PathBuf),
    /// The system has no random numbers.
    #[error("the system gave no random numbers to make a key from; check /dev/urandom")]
    NoRandomness,
}

impl Verifying {
    /// Reads it from a file.
    pub fn read(file: &Path) -> Result<Verifying, KeyError> {
        match Key::read(file)? {
            Key::Ed25519Public(key) => Ok(Verifying::Ed25519(key)),
            Key::Secret(secret) => Ok(Verifying::Secret(secret)),
            Key::Ed25519Private(_) => Err(KeyError::PrivateHalf(file.to_owned())),
        }
    }
}

impl Signing {
    /// Reads it from a file.
    pub fn read(file: &Path) -> Result<Signing, KeyError> {
        match Key::read(file)? {
            Key::Ed25519Private(key) => Ok(Signing::Ed25519(key)),
            Key::Secret(secret) => Ok(Signing::Secret(secret)),
            Key::Ed25519Public(_) => Err(KeyError::PublicHalf(file.to_owned())),
        }
    }
}

impl Key {
    fn read(file: &Path) -> Result<Key, KeyError> {
        let failed = |source| KeyError::Io { doing: "read", file: file.to_owned(), source };
        let (bytes, mode) = secret_file::read(file, KEY_FILE_BYTES_MAX).map_err(failed)?;
        if bytes.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyError::TooLong(file.to_owned()));
        }
        let key = Key::parse(&bytes).ok_or_else(|| KeyError::NoKey(file.to_owned()))?;
        if !matches!(key, Key::Ed25519Public(_)) && mode & OPEN_TO_OTHERS != 0 {
            return Err(KeyError::OpenToOthers { file: file.to_owned(), mode });
        }
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(KeyError::WritableByOthers { file: file.to_owned(), mode });
        }
        Ok(key)
    }

    fn parse(bytes: &[u8]) -> Option<Key> {
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN ") {
            let block = pem::parse(bytes).ok()?;
            return match block.tag() {
                "PUBLIC KEY" => {
                    let public = block.contents().strip_prefix(PUBLIC_PREFIX).filter(|public| public.len() == KEY_BYTES)?;
                    Some(Key::Ed25519Public(public.to_vec()))
                }
                "PRIVATE KEY" => {
                    Ed25519KeyPair::from_pkcs8_maybe_unchecked(block.contents()).ok()?;
                    Some(Key::Ed25519Private(block.contents().to_vec()))
                }
                _ => None,
            };
        }
        let secret = bytes.trim_ascii_end();
        (secret.len() >= TOKEN_SECRET_BYTES_MIN).then(|| Key::Secret(secret.to_vec()))
    }
}

/// Makes an Ed25519 key: the half that signs in `file`, and the half that verifies in `file`.pub, of which neither may be there yet.
/// Returns the latter's path. When it fails it leaves neither behind.
pub fn make_ed25519(file: &Path) -> Result<PathBuf, KeyError> {
    let seed = random()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::NoRandomness)?;
    let text = |tag: &str, prefix: &[u8], key: &[u8]| pem::encode(&pem::Pem::new(tag, [prefix, key].concat()));
    write_new(file, 0o600, text("PRIVATE KEY", PRIVATE_PREFIX, &seed).as_bytes())?;
    let mut public = file.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let written = write_new(&public, 0o644, text("PUBLIC KEY", PUBLIC_PREFIX, pair.public_key().as_ref()).as_bytes());
    if let Err(error) = written {
        // Half a key is of no use, and would be in the way of the next attempt.
        let _ = std::fs::remove_file(file);
        return Err(error);
    }
    Ok(public)
}

/// Makes a secret that signs and verifies, as 64 hexadecimal digits in `file`, which must not be there yet.
pub fn make_hs256(file: &Path) -> Result<(), KeyError> {
    let digits: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
    write_new(file, 0o600, format!("{digits}\n").as_bytes())
}

fn random() -> Result<[u8; KEY_BYTES], KeyError> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

/// A key that is overwritten is lost, with all tokens that it signed: so a file that is there stays.
fn write_new(file: &Path, mode: u32, bytes: &[u8]) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io { doing: "create", file: file.to_owned(), source };
    let mut created = File::options().write(true).create_new(true).mode(mode).open(file).map_err(failed)?;
    created.write_all(bytes).and_then(|()| created.sync_all()).map_err(|error| {
        let _ = std::fs::remove_file(file);
        failed(error)
    })
}
