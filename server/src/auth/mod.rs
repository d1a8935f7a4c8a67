//! Who a client is: any name in development, or a signed token that says so.
//!
//! A front-end asks [`Auth::judge`] about the credential of every hello and gets a [`Pass`], which its joins keep to.
//! `keys` reads and makes key files, `token` writes and checks tokens, `provider` lends the token library ring's algorithms.

mod keys;
mod provider;
#[cfg(test)]
mod tests;
mod token;

pub use keys::{KeyError, Signing, Verifying, make_ed25519, make_hs256};
pub use token::{IssueError, TokenError, Wanted, issue};

use ringfort_protocol::control::Credential;
use ringfort_protocol::limits::MAX_PLAYER_NAME_BYTES;

use crate::config::{Auth as AuthConfig, AuthMode, Config};
use token::Verifier;

/// What a client may do, as its credential says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// The player's name.
    pub name: String,
    /// The only match that it may join; any when absent.
    pub only: Option<String>,
    /// The second of the Unix epoch from which it may join no more; never when absent.
    pub expires: Option<u64>,
}

impl Pass {
    /// Whether joins are refused by `now`, in seconds of the Unix epoch; it is asked only if that matters.
    pub fn has_expired(&self, now: impl FnOnce() -> u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now())
    }
}

/// Why a credential is not accepted. The sentence goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name breaks a rule.
    #[error("a name has {NAME_RULE}")]
    Name,
    /// A name where a token is wanted.
    #[error("this server wants a token, not a name: get one from whoever runs it")]
    TokenWanted,
    /// A token where nobody can check it.
    #[error("this server runs in development mode and takes no tokens: say hello with a name")]
    NameWanted,
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Judges credentials as the configuration says.
pub enum Auth {
    /// Any name is believed.
    Development,
    /// A token says who it is.
    Tokens(Box<Verifier>),
}

impl Auth {
    /// The judge of a configuration; reads the key that verifies.
    pub fn of(config: &Config) -> Result<Auth, KeyError> {
        let AuthConfig { mode, key, issuer } = &config.auth;
        match (mode, key) {
            (AuthMode::Development, _) => Ok(Auth::Development),
            (AuthMode::Token, Some(file)) => {
                let key = Verifying::read(file)?;
                Ok(Auth::Tokens(Box::new(Verifier::new(&key, &config.instance, issuer.as_deref()))))
            }
            (AuthMode::Token, None) => Err(KeyError::NotConfigured),
        }
    }

    /// What a credential allows; with `resumes`, to whom wants a session back. Whether a pass has expired is asked again at a join.
    pub fn judge(&self, credential: &Credential, resumes: bool) -> Result<Pass, Refused> {
        match (self, credential) {
            (Auth::Development, Credential::Name(name)) if is_name(name) => Ok(Pass { name: name.clone(), ..Pass::default() }),
            (Auth::Development, Credential::Name(_)) => Err(Refused::Name),
            (Auth::Development, Credential::Token(_)) => Err(Refused::NameWanted),
            (Auth::Tokens(_), Credential::Name(_)) => Err(Refused::TokenWanted),
            (Auth::Tokens(verifier), Credential::Token(token)) => Ok(verifier.verify(token, resumes)?),
        }
    }
}

/// What [`is_name`] wants, as a part of a sentence.
pub(crate) const NAME_RULE: &str = "1 to 32 bytes, no control or invisible characters, and no space at its ends";
const _: () = assert!(MAX_PLAYER_NAME_BYTES == 32, "`NAME_RULE` says another length");

/// Whether a text can be a player's name.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = (1..=MAX_PLAYER_NAME_BYTES).contains(&name.len()) && name.trim() == name;
    fits && !name.chars().any(|c| c.is_control() || is_invisible(c)) && !name.chars().all(is_joiner)
}

/// Characters that show nothing, or turn the text beside them around, so that a name looks like another one: the line separators and
/// the format characters (Zl, Zp and Cf of Unicode 16) but the two joiners, and letters and a pattern that are blank.
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x115f..=0x1160 | 0x180e | 0x200b | 0x200e..=0x200f
        | 0x2028..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164 | 0xfeff | 0xffa0 | 0xfff9..=0xfffb | 0x110bd | 0x110cd
        | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe007f)
}

/// The two characters that say whether their neighbours are written together, as Persian and emoji need it.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Seconds of the Unix epoch by now.
pub fn unix_s() -> u64 {
    jsonwebtoken::get_current_timestamp()
}
