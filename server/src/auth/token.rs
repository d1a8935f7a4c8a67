//! Tokens: JSON web tokens (RFC 7519) that name a player, and perhaps a match, until a time. `docs/tokens.md` has the claims.

use std::collections::HashSet;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ringfort_protocol::limits::MAX_TOKEN_BYTES;
use serde::{Deserialize, Deserializer};

use super::keys::{Signing, Verifying};
use super::{NAME_RULE, Pass, is_name, provider, unix_s};
use crate::config::{ConfigError, check_match_name};
use crate::limits::TOKEN_LEEWAY_S;

/// Why a token is refused. The sentence goes to whoever showed it, so it tells nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is too long to be looked at.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes: ask for one with fewer claims")]
    TooLong,
    /// It is no token, or its signature is not by the server's key.
    #[error("the token is not signed by this server's key: get a new one")]
    NotSigned,
    /// It was signed in another way than the server's key does.
    #[error("the token is signed by another algorithm than this server's: get a new one")]
    OtherAlgorithm,
    /// Its time is over, or has not come.
    #[error("the token has expired or is not valid yet: get a new one, and check the clocks")]
    Expired,
    /// It is for another instance, or from another issuer.
    #[error("the token is for another server or from another issuer: get one for this server")]
    OtherServer,
    /// A claim is missing or has the wrong form.
    #[error("the token lacks a claim or has a malformed one: it needs `exp` and `sub`, a name of {NAME_RULE}")]
    Claims,
    /// Its header has an extension that must be understood (RFC 7515, section 4.1.11).
    #[error("the header of the token has `crit`, an extension that this server does not know: get one without")]
    Critical,
}

impl From<jsonwebtoken::errors::Error> for TokenError {
    fn from(error: jsonwebtoken::errors::Error) -> TokenError {
        match error.kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::OtherAlgorithm,
            ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => TokenError::Expired,
            ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => TokenError::OtherServer,
            ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenError::OtherServer,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => TokenError::Claims,
            _ => TokenError::NotSigned,
        }
    }
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The name breaks a rule.
    #[error("the name \"{}\" is not allowed; use {NAME_RULE}", .0.escape_debug())]
    Name(String),
    /// No match can have the name.
    #[error(transparent)]
    Match(#[from] ConfigError),
    /// No server would look at it.
    #[error("the token would have {0} bytes, and servers take no more than {MAX_TOKEN_BYTES}; use a shorter `auth.issuer`")]
    TooLong(usize),
    /// The library refused.
    #[error("the token cannot be signed ({0}); make a key with `ringfort token key --out FILE`")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// The claims that mean something here; what nobody knows is left alone. The library compares `nbf` and `aud` with the clock and the
/// instance, but takes one that it cannot read for none: that it can be read is seen to here.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    /// RFC 7519 allows a fraction.
    exp: f64,
    #[serde(rename = "nbf", default, deserialize_with = "present")]
    _nbf: Option<f64>,
    #[serde(rename = "aud", default, deserialize_with = "present")]
    _aud: Option<Audience>,
    #[serde(rename = "match", default, deserialize_with = "present")]
    only: Option<String>,
}

/// For whom a token is: RFC 7519, section 4.1.3.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(#[expect(dead_code, reason = "compared by the library")] String),
    Many(#[expect(dead_code, reason = "compared by the library")] Vec<String>),
}

/// A claim that may be left out, but not be null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Checks tokens with one key for one instance.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    /// The same, but that a token may have expired.
    timeless: Validation,
}

impl Verifier {
    /// A checker for tokens of a key, for an instance, and from an issuer if one is configured.
    pub(super) fn new(key: &Verifying, instance: &str, issuer: Option<&str>) -> Verifier {
        provider::install();
        let (key, algorithm) = match key {
            Verifying::Ed25519(public) => (DecodingKey::from_ed_der(public), Algorithm::EdDSA),
            Verifying::Secret(secret) => (DecodingKey::from_secret(secret), Algorithm::HS256),
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = TOKEN_LEEWAY_S;
        validation.validate_nbf = true;
        validation.required_spec_claims = HashSet::from(["exp".to_owned(), "sub".to_owned()]);
        // A token without an audience is good for every instance of the key; one with an audience for the named ones only.
        validation.set_audience(&[instance]);
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let mut timeless = validation.clone();
        timeless.validate_exp = false;
        Verifier { key, validation, timeless }
    }

    /// What a token allows. Of who resumes a session it need only have been good once: the session was begun with it, or one like it.
    pub(super) fn verify(&self, token: &str, resumes: bool) -> Result<Pass, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let validation = if resumes { &self.timeless } else { &self.validation };
        let claims = match jsonwebtoken::decode::<serde_json::Value>(token, &self.key, validation) {
            Ok(data) if data.header.crit.is_some() => return Err(TokenError::Critical),
            Ok(data) => serde_json::from_value::<Claims>(data.claims).map_err(|_| TokenError::Claims)?,
            Err(error) => return Err(error.into()),
        };
        if !is_name(&claims.sub) {
            return Err(TokenError::Claims);
        }
        // A time beyond all numbers is the largest of them.
        let expires = claims.exp as u64;
        Ok(Pass { name: claims.sub, only: claims.only, expires: Some(expires.saturating_add(TOKEN_LEEWAY_S)) })
    }
}

/// What a new token is to say.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The player's name.
    pub name: &'a str,
    /// The only match that it may join, if any.
    pub only: Option<&'a str>,
    /// For how long from now on it may join.
    pub minutes: u32,
    /// The instance that it is for.
    pub instance: &'a str,
    /// Who issues it, if the instance asks for that.
    pub issuer: Option<&'a str>,
}

/// Makes a token.
pub fn issue(key: &Signing, wanted: Wanted<'_>) -> Result<String, IssueError> {
    provider::install();
    let Wanted { name, only, minutes, instance, issuer } = wanted;
    if !is_name(name) {
        return Err(IssueError::Name(name.to_owned()));
    }
    only.map(check_match_name).transpose()?;
    let (key, algorithm) = match key {
        Signing::Ed25519(key) => (EncodingKey::from_ed_der(key), Algorithm::EdDSA),
        Signing::Secret(secret) => (EncodingKey::from_secret(secret), Algorithm::HS256),
    };
    let mut claims = serde_json::json!({ "sub": name, "exp": unix_s() + u64::from(minutes) * 60, "aud": instance });
    for (claim, value) in [("match", only), ("iss", issuer)] {
        if let Some(value) = value {
            claims[claim] = value.into();
        }
    }
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key)?;
    if token.len() > MAX_TOKEN_BYTES { Err(IssueError::TooLong(token.len())) } else { Ok(token) }
}
