//! What is said on the command line.

use std::path::PathBuf;

use clap::Parser;
use ringfort::client::{Join, Trust};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Plays the bundled game in a terminal of 80 by 24 characters.
#[derive(Parser)]
pub struct Arguments {
    /// The server.
    #[arg(default_value = "quic://127.0.0.1:7777")]
    pub url: String,
    /// The player's name, for a server that believes any.
    #[arg(long, default_value = "ada")]
    pub name: String,
    /// The token that says who the player is, for a server that demands one. Who reads it can play as you, so say whom to believe too:
    /// `--ca`, or `--trust-any` for a server of your own.
    #[arg(long, requires = "believed")]
    pub token: Option<String>,
    /// Believes only servers with a certificate that one of this PEM file vouches for; any server unless this is said.
    #[arg(long, value_name = "FILE", group = "believed")]
    pub ca: Option<PathBuf>,
    /// Believes any server even with a token.
    #[arg(long, group = "believed")]
    pub trust_any: bool,
    /// The match; any unless this is said.
    #[arg(long, value_name = "NAME", conflicts_with = "code")]
    pub r#match: Option<String>,
    /// The code of a private match.
    #[arg(long)]
    pub code: Option<String>,
    /// Keeps what it takes to have the session back in this file, which nobody else can read, and goes on with the session that is in it: after
    /// the program was killed, or was ended by Ctrl-Z and `kill`. The file is removed when the session ends.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Watches and does not play.
    #[arg(long)]
    pub watch: bool,
    /// Plays by itself.
    #[arg(long)]
    pub bot: bool,
    /// Ends after so many frames.
    #[arg(long)]
    pub frames: Option<u64>,
}

impl Arguments {
    /// Whom to believe.
    pub fn trust(&self) -> Result<Trust, String> {
        let Some(file) = &self.ca else { return Ok(Trust::Any) };
        let roots = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match roots {
            Ok(roots) if !roots.is_empty() => Ok(Trust::Roots(roots)),
            Ok(_) => Err(format!("{} holds no certificate: give a PEM file for --ca", file.display())),
            Err(error) => Err(format!("{} cannot be read as PEM ({error}): give another file for --ca", file.display())),
        }
    }

    /// Which match to join.
    pub fn target(&self) -> Join<'_> {
        match (&self.code, &self.r#match) {
            (Some(code), _) => Join::Code(code),
            (None, Some(name)) => Join::Named(name),
            (None, None) => Join::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Option<Arguments> {
        Arguments::try_parse_from(["terminal"].iter().chain(words)).ok()
    }

    #[test]
    fn a_token_is_given_to_nobody_in_particular_only_when_that_is_said() {
        assert!(parsed(&["--token", "t"]).is_none());
        assert!(parsed(&["--token", "t", "--trust-any"]).is_some());
        assert!(parsed(&["--ca", "ca.pem", "--trust-any"]).is_none());
        let missing = parsed(&["--token", "t", "--ca", "/no/such/file.pem"]).expect("sound").trust();
        assert!(missing.is_err_and(|error| error.contains("/no/such/file.pem")));
        assert!(matches!(parsed(&[]).expect("sound").trust(), Ok(Trust::Any)));
    }

    #[test]
    fn matches_are_joined_by_name_or_by_code() {
        assert_eq!(parsed(&["--match", "duel"]).expect("sound").target(), Join::Named("duel"));
        assert_eq!(parsed(&["--code", "K7"]).expect("sound").target(), Join::Code("K7"));
        assert_eq!(parsed(&[]).expect("sound").target(), Join::Any);
        assert!(parsed(&["--match", "duel", "--code", "K7"]).is_none());
    }
}
