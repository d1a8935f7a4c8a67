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
    #[error("a name has 1 to {MAX_PLAYER_NAME_BYTES} bytes and no control characters")]
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

    /// What a credential allows.
    pub fn judge(&self, credential: &Credential) -> Result<Pass, Refused> {
        match (self, credential) {
            (Auth::Development, Credential::Name(name)) if is_name(name) => Ok(Pass { name: name.clone(), ..Pass::default() }),
            (Auth::Development, Credential::Name(_)) => Err(Refused::Name),
            (Auth::Development, Credential::Token(_)) => Err(Refused::NameWanted),
            (Auth::Tokens(_), Credential::Name(_)) => Err(Refused::TokenWanted),
            (Auth::Tokens(verifier), Credential::Token(token)) => Ok(verifier.verify(token)?),
        }
    }
}

/// Whether a text can be a player's name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_PLAYER_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Seconds of the Unix epoch by now.
pub fn unix_s() -> u64 {
    jsonwebtoken::get_current_timestamp()
}
