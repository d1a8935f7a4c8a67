//! Keys and tokens: what is good passes, and everything else is refused in its own sentence.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::Config;
use ring::signature::Ed25519KeyPair;
use ringfort_protocol::limits::MAX_TOKEN_BYTES;
use serde_json::json;

/// The second 2100-01-01 00:00.
const FAR: u64 = 4_102_444_800;
/// The seed and the public half of RFC 8037, appendix A.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
/// Signed by hand below, without our own code for it.
const SECRET: &str = "a secret that is long enough to be one, made for this test";

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// RFC 4648, section 5, without padding: what a matchmaker in another language would have from its library.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain(&[0, 0]).take(3).fold(0u32, |group, byte| group << 8 | u32::from(*byte));
        (0..=chunk.len()).for_each(|at| text.push(DIGITS[(group >> (18 - 6 * at) & 63) as usize] as char));
    }
    text
}

/// A token by hand: what `docs/tokens.md` tells the author of a matchmaker to do.
fn by_hand(header: &str, claims: &serde_json::Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.to_string().as_bytes()));
    let signature = base64url(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hs256(claims: &serde_json::Value) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    by_hand(r#"{"alg":"HS256","typ":"JWT"}"#, claims, |message| ring::hmac::sign(&key, message).as_ref().to_vec())
}

fn verifier(issuer: Option<&str>) -> Verifier {
    Verifier::new(&Verifying::Secret(SECRET.into()), "default", issuer)
}

fn refusal(token: &str) -> TokenError {
    verifier(None).verify(token, false).unwrap_err()
}

#[test]
fn a_token_made_by_hand_with_a_secret_is_good() {
    let pass = verifier(None).verify(&hs256(&json!({ "sub": "ada", "exp": FAR })), false).unwrap();
    assert_eq!((pass.name.as_str(), pass.only), ("ada", None));
    let bound = json!({ "sub": "ada", "exp": FAR, "match": "arena", "aud": "default", "nbf": 0, "mood": ["new", {}] });
    let pass = verifier(None).verify(&hs256(&bound), false).unwrap();
    assert_eq!(pass.only.as_deref(), Some("arena"));
    assert!(!pass.has_expired(|| FAR) && pass.has_expired(|| FAR + 60));
}

#[test]
fn a_token_made_by_hand_with_an_ed25519_key_is_good() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&hex(SEED)).unwrap();
    let public = ring::signature::KeyPair::public_key(&pair).as_ref().to_vec();
    assert_eq!(base64url(&public), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "the public half of RFC 8037");
    let claims = json!({ "sub": "ada", "exp": FAR });
    let token = by_hand(r#"{"alg":"EdDSA"}"#, &claims, |message| pair.sign(message).as_ref().to_vec());
    assert_eq!(Verifier::new(&Verifying::Ed25519(public), "default", None).verify(&token, false).unwrap().name, "ada");
}

#[test]
fn what_is_not_signed_by_the_key_is_refused() {
    let good = hs256(&json!({ "sub": "ada", "exp": FAR }));
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(verifier(None).verify(&String::from_utf8(bytes).unwrap(), false).is_err(), "byte {at}");
    }
    assert!((0..good.len()).all(|length| verifier(None).verify(&good[..length], false).is_err()));
    let other = Verifier::new(&Verifying::Secret(vec![1; 32]), "default", None);
    assert_eq!(other.verify(&good, false), Err(TokenError::NotSigned));
    for garbage in ["", ".", "..", "...", "a.b.c", "ada", "\u{0}.\u{fffd}.x"] {
        assert_eq!(refusal(garbage), TokenError::NotSigned, "{garbage:?}");
    }
}

#[test]
fn another_algorithm_is_refused_whatever_its_signature() {
    let claims = json!({ "sub": "ada", "exp": FAR });
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    for header in [r#"{"alg":"HS384"}"#, r#"{"alg":"EdDSA"}"#, r#"{"alg":"RS256"}"#] {
        let token = by_hand(header, &claims, |message| ring::hmac::sign(&key, message).as_ref().to_vec());
        assert_eq!(refusal(&token), TokenError::OtherAlgorithm, "{header}");
    }
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, "{}"] {
        assert_eq!(refusal(&by_hand(header, &claims, |_| Vec::new())), TokenError::NotSigned, "{header}");
    }
    // Who knows the public half must not be able to use it as a secret.
    let public =
        ring::signature::KeyPair::public_key(&Ed25519KeyPair::from_seed_unchecked(&hex(SEED)).unwrap()).as_ref().to_vec();
    let as_secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
    let forged = by_hand(r#"{"alg":"HS256"}"#, &claims, |message| ring::hmac::sign(&as_secret, message).as_ref().to_vec());
    assert_eq!(
        Verifier::new(&Verifying::Ed25519(public), "default", None).verify(&forged, false),
        Err(TokenError::OtherAlgorithm)
    );
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    let check = |claims: serde_json::Value, error| assert_eq!(refusal(&hs256(&claims)), error, "{claims}");
    check(json!({ "sub": "ada", "exp": 1 }), TokenError::Expired);
    check(json!({ "sub": "ada", "exp": FAR, "nbf": FAR }), TokenError::Expired);
    check(json!({ "sub": "ada", "exp": FAR, "aud": "other" }), TokenError::OtherServer);
    check(json!({ "sub": "ada", "exp": FAR, "aud": [] }), TokenError::OtherServer);
    for claims in [
        json!({ "sub": "ada" }),
        json!({ "exp": FAR }),
        json!({ "sub": "ada", "exp": "soon" }),
        json!({ "sub": "ada", "exp": null }),
        json!({ "sub": "", "exp": FAR }),
        json!({ "sub": "a\nb", "exp": FAR }),
        json!({ "sub": "a".repeat(33), "exp": FAR }),
        json!({ "sub": 7, "exp": FAR }),
        json!({ "sub": "ada", "exp": FAR, "match": 7 }),
        json!({ "sub": "ada", "exp": FAR, "match": null }),
        json!({ "sub": "ada", "exp": FAR, "aud": 5 }),
        json!({ "sub": "ada", "exp": FAR, "aud": null }),
        json!({ "sub": "ada", "exp": FAR, "aud": { "x": 1 } }),
        json!({ "sub": "ada", "exp": FAR, "aud": ["default", 5] }),
        json!({ "sub": "ada", "exp": FAR, "nbf": "soon" }),
        json!({ "sub": "ada", "exp": FAR, "nbf": null }),
    ] {
        check(claims, TokenError::Claims);
    }
    let issued = |claims: serde_json::Value| verifier(Some("lobby")).verify(&hs256(&claims), false);
    assert_eq!(issued(json!({ "sub": "ada", "exp": FAR })), Err(TokenError::OtherServer));
    assert_eq!(issued(json!({ "sub": "ada", "exp": FAR, "iss": "foyer" })), Err(TokenError::OtherServer));
    assert_eq!(issued(json!({ "sub": "ada", "exp": FAR, "iss": "lobby" })).unwrap().name, "ada");
}

#[test]
fn an_extension_that_must_be_understood_is_refused() {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let claims = json!({ "sub": "ada", "exp": FAR });
    let with = |header: &str| by_hand(header, &claims, |message| ring::hmac::sign(&key, message).as_ref().to_vec());
    verifier(None).verify(&with(r#"{"alg":"HS256","kid":"7"}"#), false).unwrap();
    assert_eq!(refusal(&with(r#"{"alg":"HS256","crit":["exp"]}"#)), TokenError::Critical);
    assert_eq!(refusal(&with(r#"{"alg":"HS256","crit":["once"],"once":true}"#)), TokenError::Critical);
}

#[test]
fn no_token_is_issued_that_no_server_would_take() {
    let key = Signing::Secret(SECRET.into());
    let wanted = Wanted { name: "ada", only: None, minutes: 5, instance: "default", issuer: None };
    issue(&key, wanted).unwrap();
    for only in ["", "two words", &"x".repeat(3000)] {
        assert!(matches!(issue(&key, Wanted { only: Some(only), ..wanted }), Err(IssueError::Match(_))), "{only}");
    }
    assert!(
        matches!(issue(&key, Wanted { issuer: Some(&"x".repeat(2000)), ..wanted }), Err(IssueError::TooLong(bytes)) if bytes > 2048)
    );
    assert!(matches!(issue(&key, Wanted { name: "  ", ..wanted }), Err(IssueError::Name(_))));
}

#[test]
fn names_that_show_nothing_or_turn_others_around_are_refused() {
    for name in
        ["ada", "Ada Lovelace", "\u{62c}\u{200c}\u{627}", "\u{1f469}\u{200d}\u{1f52c}", "\u{627}\u{628}", "\u{e9}", "e\u{301}"]
    {
        assert!(is_name(name), "{name:?}");
    }
    for name in [
        " ",
        "  ",
        " ada",
        "ada ",
        "ada\u{a0}",
        "\u{202e}ada",
        "ad\u{200b}a",
        "ada\u{feff}",
        "\u{200d}",
        "a\u{2028}b",
        "\u{3164}",
        "a\u{e0041}",
    ] {
        assert!(!is_name(name), "{name:?}");
    }
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let long = hs256(&json!({ "sub": "ada", "exp": FAR, "padding": "x".repeat(MAX_TOKEN_BYTES) }));
    assert_eq!(refusal(&long), TokenError::TooLong);
}

fn file(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    file
}

#[test]
fn keys_that_we_make_sign_and_verify() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, secret) = (directory.path().join("pair"), directory.path().join("secret"));
    let public = make_ed25519(&pair).unwrap();
    make_hs256(&secret).unwrap();
    for (signs, verifies) in [(&pair, &public), (&secret, &secret)] {
        let wanted = Wanted { name: "ada", only: Some("arena"), minutes: 5, instance: "default", issuer: Some("lobby") };
        let token = issue(&Signing::read(signs).unwrap(), wanted).unwrap();
        let auth = crate::config::Auth { mode: AuthMode::Token, key: Some(verifies.clone()), issuer: Some("lobby".into()) };
        let judge = Auth::of(&Config { auth, ..Config::default() }).unwrap();
        let pass = judge.judge(&Credential::Token(token), false).unwrap();
        assert_eq!((pass.name.as_str(), pass.only.as_deref()), ("ada", Some("arena")));
        assert!(!pass.has_expired(unix_s));
        assert_eq!(judge.judge(&Credential::Name("ada".into()), false), Err(Refused::TokenWanted));
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&pair), mode(&secret)), (0o600, 0o600));
    assert!(matches!(make_ed25519(&pair), Err(KeyError::Io { doing: "create", .. })), "a key that is there stays");
    assert!(matches!(Verifying::read(&pair), Err(KeyError::PrivateHalf(_))));
    assert!(matches!(Signing::read(&public), Err(KeyError::PublicHalf(_))));
}

#[test]
fn key_files_that_are_none_or_that_others_can_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let secret = "0123456789abcdef0123456789abcdef\n";
    assert!(matches!(Verifying::read(&file(at, "good", secret, 0o600)), Ok(Verifying::Secret(bytes)) if bytes.len() == 32));
    for mode in [0o640, 0o604, 0o622] {
        let open = Verifying::read(&file(at, "open", secret, mode));
        assert!(matches!(open, Err(KeyError::OpenToOthers { mode: found, .. }) if found == mode), "{mode:o}");
    }
    let public = std::fs::read_to_string(make_ed25519(&at.join("pair")).unwrap()).unwrap();
    assert!(Verifying::read(&file(at, "public", &public, 0o644)).is_ok());
    for mode in [0o664, 0o646, 0o622] {
        let open = Verifying::read(&file(at, "public", &public, mode));
        assert!(matches!(open, Err(KeyError::WritableByOthers { mode: found, .. }) if found == mode), "{mode:o}");
    }
    for text in ["", "short", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PUBLIC KEY-----\n"] {
        assert!(matches!(Verifying::read(&file(at, "none", text, 0o600)), Err(KeyError::NoKey(_))), "{text:?}");
    }
    assert!(matches!(Verifying::read(&file(at, "long", &"x".repeat(5000), 0o600)), Err(KeyError::TooLong(_))));
    assert!(matches!(Verifying::read(&at.join("absent")), Err(KeyError::Io { .. })));
    let auth = crate::config::Auth { mode: AuthMode::Token, ..Default::default() };
    assert!(matches!(Auth::of(&Config { auth, ..Config::default() }), Err(KeyError::NotConfigured)));
}

#[test]
fn a_key_of_which_one_half_is_there_already_is_not_made_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    file(at, "pair.pub", "of another key", 0o644);
    assert!(
        matches!(make_ed25519(&at.join("pair")), Err(KeyError::Io { doing: "create", file, .. }) if file.ends_with("pair.pub"))
    );
    assert!(!at.join("pair").exists() && std::fs::read_to_string(at.join("pair.pub")).unwrap() == "of another key");
}

#[test]
fn in_development_names_are_believed_and_tokens_are_not() {
    let judge = Auth::of(&Config::default()).unwrap();
    assert_eq!(judge.judge(&Credential::Name("ada".into()), false).unwrap(), Pass { name: "ada".into(), ..Pass::default() });
    for name in ["", "a\tb", "123456789012345678901234567890123"] {
        assert_eq!(judge.judge(&Credential::Name(name.into()), false), Err(Refused::Name));
    }
    assert_eq!(judge.judge(&Credential::Token("a.b.c".into()), false), Err(Refused::NameWanted));
}

#[test]
fn an_expired_token_resumes_and_does_not_join() {
    let token = hs256(&json!({ "sub": "ada", "exp": unix_s() - 3_600 }));
    let verifier = verifier(None);
    assert_eq!(verifier.verify(&token, false), Err(TokenError::Expired));
    let pass = verifier.verify(&token, true).unwrap();
    assert!(pass.name == "ada" && pass.has_expired(unix_s));
    assert!(verifier.verify(&format!("{token}x"), true).is_err(), "it must have been good once");
}
