//! The certificate that clients see: the PEM files of `[tls]`, or one made for development at the first start.
//!
//! The supervisor calls [`Certificate::prepare`] so that a fault is told once and before any worker starts;
//! the front-ends call [`Certificate::load`].

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::Tls;
use crate::limits::PEM_FILE_BYTES_MAX;
use crate::run_dir::{RunDir, RunDirError, write_private};

/// Names and addresses that the development certificate is valid for.
const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate chain and its private key, both DER. The key belongs to the first certificate.
#[derive(Debug)]
pub struct Certificate {
    /// The server's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// Where a file's path comes from, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A key of the configuration.
    Configured(&'static str),
    /// Made by an earlier start.
    Development,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Configured(key) => write!(f, "correct `{key}` in the configuration"),
            Origin::Development => f.write_str("delete it, and the next `ringfort up` makes a new one"),
        }
    }
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("the PEM file {} cannot be read ({source}); {origin}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Where its path comes from.
        origin: Origin,
        /// What the system said.
        source: io::Error,
    },
    /// A file is far too long for what it should hold.
    #[error("{} is longer than {PEM_FILE_BYTES_MAX} bytes, too long for a PEM file; {origin}", file.display())]
    TooLong {
        /// Which file.
        file: PathBuf,
        /// Where its path comes from.
        origin: Origin,
    },
    /// A file is no PEM, or garbled.
    #[error("{} is not a readable PEM file ({source}); {origin}", file.display())]
    Garbled {
        /// Which file.
        file: PathBuf,
        /// Where its path comes from.
        origin: Origin,
        /// What the parser said.
        source: pem::Error,
    },
    /// A PEM file holds something else.
    #[error("{} holds no {wanted}; {origin}", file.display())]
    Absent {
        /// Which file.
        file: PathBuf,
        /// Where its path comes from.
        origin: Origin,
        /// What should be in it.
        wanted: &'static str,
    },
    /// The key is not the certificate's, or of a kind that cannot sign.
    #[error("the key in {} does not serve the certificate in {} ({source}); {origin}", key.display(), cert.display())]
    Unusable {
        /// The file with the chain.
        cert: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Where the key's path comes from.
        origin: Origin,
        /// What the TLS library said.
        source: Box<rustls::Error>,
    },
    /// The development certificate can't be made.
    #[error("a development certificate cannot be made ({0}); set `tls.cert` and `tls.key` in the configuration")]
    Make(#[from] rcgen::Error),
    /// The development certificate can't be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
}

/// The two files and where their paths come from.
struct Files {
    cert: PathBuf,
    cert_origin: Origin,
    key: PathBuf,
    key_origin: Origin,
}

impl Certificate {
    /// [`Certificate::load`], after making the development certificate if it is needed and not there.
    pub fn prepare(tls: &Tls, run_dir: &RunDir) -> Result<Certificate, CertificateError> {
        let files = files(tls, run_dir);
        let complete = files.cert.exists() && files.key.exists();
        if files.cert_origin == Origin::Development && !complete {
            make_development(&files)?;
        }
        load(&files)
    }

    /// Reads the certificate and checks that the key is its own.
    pub fn load(tls: &Tls, run_dir: &RunDir) -> Result<Certificate, CertificateError> {
        load(&files(tls, run_dir))
    }
}

fn files(tls: &Tls, run_dir: &RunDir) -> Files {
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Files {
            cert: cert.clone(),
            cert_origin: Origin::Configured("tls.cert"),
            key: key.clone(),
            key_origin: Origin::Configured("tls.key"),
        },
        // Config::validate has refused one without the other.
        _ => Files {
            cert: run_dir.dev_cert(),
            cert_origin: Origin::Development,
            key: run_dir.dev_key(),
            key_origin: Origin::Development,
        },
    }
}

/// The key is written first: a certificate without its key would look complete to a human.
fn make_development(files: &Files) -> Result<(), CertificateError> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let params = rcgen::CertificateParams::new(DEVELOPMENT_NAMES.map(str::to_owned))?;
    let cert = params.self_signed(&key)?;
    write_private(&files.key, key.serialize_pem().as_bytes())?;
    write_private(&files.cert, cert.pem().as_bytes())?;
    Ok(())
}

fn load(files: &Files) -> Result<Certificate, CertificateError> {
    let chain = read_pem::<CertificateDer<'static>>(&files.cert, files.cert_origin)?;
    if chain.is_empty() {
        let (file, origin) = (files.cert.clone(), files.cert_origin);
        return Err(CertificateError::Absent { file, origin, wanted: "certificate" });
    }
    let Some(key) = read_pem::<PrivateKeyDer<'static>>(&files.key, files.key_origin)?.into_iter().next() else {
        let (file, origin) = (files.key.clone(), files.key_origin);
        return Err(CertificateError::Absent { file, origin, wanted: "private key" });
    };
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(|source| CertificateError::Unusable {
        cert: files.cert.clone(),
        key: files.key.clone(),
        origin: files.key_origin,
        source: Box::new(source),
    })?;
    Ok(Certificate { chain, key })
}

/// All items of one kind in a PEM file.
fn read_pem<T: PemObject>(file: &Path, origin: Origin) -> Result<Vec<T>, CertificateError> {
    let mut bytes = Vec::new();
    let limit = PEM_FILE_BYTES_MAX as u64 + 1;
    let read = std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_end(&mut bytes));
    read.map_err(|source| CertificateError::Read { file: file.to_owned(), origin, source })?;
    if bytes.len() > PEM_FILE_BYTES_MAX {
        return Err(CertificateError::TooLong { file: file.to_owned(), origin });
    }
    let items: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&bytes).collect();
    items.map_err(|source| CertificateError::Garbled { file: file.to_owned(), origin, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn run_dir(parent: &tempfile::TempDir) -> RunDir {
        RunDir::open_under(&parent.path().join("base"), "a").unwrap()
    }

    /// Checks that `tls` is refused with a sentence that has every one of `words`.
    fn check_refused(tls: &Tls, run_dir: &RunDir, words: &[&str]) {
        let sentence = Certificate::prepare(tls, run_dir).unwrap_err().to_string();
        for word in words {
            assert!(sentence.contains(word), "{word:?} is missing from {sentence:?}");
        }
    }

    #[test]
    fn development_certificate_is_made_once() {
        let parent = tempfile::tempdir().unwrap();
        let run_dir = run_dir(&parent);
        let made = Certificate::prepare(&Tls::default(), &run_dir).unwrap();
        let again = Certificate::prepare(&Tls::default(), &run_dir).unwrap();
        let loaded = Certificate::load(&Tls::default(), &run_dir).unwrap();
        assert!(made.chain == again.chain && made.chain == loaded.chain && made.key == loaded.key);
        let mode = std::fs::metadata(run_dir.dev_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn configured_files_are_used() {
        let parent = tempfile::tempdir().unwrap();
        let run_dir = run_dir(&parent);
        let made = Certificate::prepare(&Tls::default(), &run_dir).unwrap();
        let tls = Tls { cert: Some(parent.path().join("c.pem")), key: Some(parent.path().join("k.pem")) };
        std::fs::rename(run_dir.dev_cert(), parent.path().join("c.pem")).unwrap();
        std::fs::rename(run_dir.dev_key(), parent.path().join("k.pem")).unwrap();
        assert_eq!(Certificate::prepare(&tls, &run_dir).unwrap().chain, made.chain);
        assert!(!run_dir.dev_cert().exists());
    }

    #[test]
    fn faults_name_file_and_key() {
        let parent = tempfile::tempdir().unwrap();
        let run_dir = run_dir(&parent);
        Certificate::prepare(&Tls::default(), &run_dir).unwrap();
        let with = |cert: &Path, key: &Path| Tls { cert: Some(cert.to_owned()), key: Some(key.to_owned()) };
        let (cert, key) = (run_dir.dev_cert(), run_dir.dev_key());
        check_refused(&with(Path::new("/nonexistent/c"), &key), &run_dir, &["/nonexistent/c", "`tls.cert`"]);
        check_refused(&with(&cert, &cert), &run_dir, &["dev-cert.pem holds no private key", "`tls.key`"]);
        check_refused(&with(&key, &key), &run_dir, &["dev-key.pem holds no certificate", "`tls.cert`"]);
        let garbled = parent.path().join("garbled.pem");
        std::fs::write(&garbled, "-----BEGIN CERTIFICATE-----\n!!!\n").unwrap();
        check_refused(&with(&garbled, &key), &run_dir, &["garbled.pem", "`tls.cert`"]);
        let other = RunDir::open_under(&parent.path().join("base"), "b").unwrap();
        Certificate::prepare(&Tls::default(), &other).unwrap();
        check_refused(&with(&cert, &other.dev_key()), &run_dir, &["does not serve", "`tls.key`"]);
        std::fs::write(&cert, "-----BEGIN CERTIFICATE-----\n!!!\n").unwrap();
        check_refused(&Tls::default(), &run_dir, &["dev-cert.pem", "delete it"]);
    }
}
