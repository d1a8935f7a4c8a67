//! Whoever reads an instance's shared memory learns no secret from it: no key, no token, no nonce, neither while it runs nor from what
//! lies there after a kill of everything.

use std::collections::HashMap;
use std::path::Path;

use ringfort::skirmish::Ask;
use ringfort_client::{Code, Credential, JoinTarget};
use ringfort_protocol::control::{ClientMsg, EndReason, Resume, ServerMsg};
use ringfort_protocol::limits::PROTOCOL_VERSION;
use ringfort_protocol::quic;
use ringfort_protocol::token::{SECRET_BYTES, hash_secret};
use ringfort_protocol::{Message, ResumeToken, Wire};
use ringfort_tests::{Game, Instance, Stranger};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// Bytes that are searched for at once: so many of a secret are enough to be a part of it, and too many to come by chance.
const PART: usize = SECRET_BYTES;
/// The name of the players: long enough to be searched for.
const NAME: &str = "a player with a long name";

/// What is searched for, by each of its parts.
#[derive(Default)]
struct Search {
    parts: HashMap<[u8; PART], String>,
    /// Whether a part begins with these two bytes, as most bytes begin none.
    begins: Vec<bool>,
}

impl Search {
    /// Looks for every part of these bytes from now on.
    fn add(&mut self, what: &str, bytes: &[u8]) {
        assert!(bytes.len() >= PART, "{what} is too short to be searched for");
        self.begins.resize(1 << 16, false);
        for part in bytes.windows(PART) {
            self.begins[usize::from(u16::from_le_bytes([part[0], part[1]]))] = true;
            self.parts.insert(part.try_into().expect("a part is so long"), what.to_owned());
        }
    }

    /// Whose parts are in any segment of the instance, and how many bytes were looked at.
    fn found_in(&self, instance: &Instance) -> (Vec<&str>, usize) {
        let (mut found, mut looked_at) = (Vec::new(), 0);
        for segment in instance.segments() {
            let bytes = std::fs::read(Path::new("/dev/shm").join(&segment)).expect("a segment can be read");
            looked_at += bytes.len();
            let mut at = 0;
            while let Some(window) = bytes.get(at..at + PART) {
                let begins = self.begins[usize::from(u16::from_le_bytes([window[0], window[1]]))];
                let part: &[u8; PART] = window.try_into().expect("a window is so long");
                found.extend(self.parts.get(part).filter(|_| begins).map(String::as_str));
                // Most of a segment is zeros, of which no part consists.
                at += if bytes.get(at..at + 512) == Some(&[0; 512]) { 512 - PART } else { 1 };
            }
        }
        found.sort_unstable();
        found.dedup();
        (found, looked_at)
    }
}

/// Secrets, and what has to be found where they are not.
#[derive(Default)]
struct Searches {
    secrets: Search,
    controls: Search,
}

impl Searches {
    fn token(&mut self, what: &str, token: &ResumeToken) {
        self.secrets.add(what, &token.to_bytes()[TOKEN_SECRET_AT..]);
    }

    /// Checks that no secret is there, and that each of the controls is: the search would have found the rest.
    fn check(&self, instance: &Instance, when: &str) {
        let (found, looked_at) = self.secrets.found_in(instance);
        assert!(found.is_empty(), "{when}: {found:?} can be read in shared memory");
        let mut controls: Vec<&str> = self.controls.parts.values().map(String::as_str).collect();
        controls.sort_unstable();
        controls.dedup();
        assert_eq!(self.controls.found_in(instance).0, controls, "{when}: what lies there is not found");
        assert!(looked_at > 1 << 20, "{when}: {looked_at} bytes are no instance");
    }
}

/// Where a token's secret begins.
const TOKEN_SECRET_AT: usize = 16;

/// A nonce or a secret of a test's own, which nobody else has.
fn made_up(of: &str) -> [u8; 16] {
    std::array::from_fn(|i| hash_secret(of.as_bytes())[i])
}

fn greet(instance: &Instance, attempt: u64, resume: Option<&ResumeToken>) -> Stranger {
    let mut stranger = Stranger::connect(instance, quic::ALPN).expect("a stranger may connect");
    let resume = resume.map(|token| Resume { token: *token, events: 0 });
    let credential = Credential::Name(NAME.to_owned());
    stranger.say(&ClientMsg::Hello {
        version: PROTOCOL_VERSION,
        schema_hash: Game::schema().hash(),
        credential,
        attempt,
        resume,
        rounds: false,
    });
    assert!(matches!(stranger.hear(), ServerMsg::Welcome { .. }));
    stranger
}

/// The next answer to a join or a resume: its token, which is acknowledged at once, or the code of its refusal.
fn answer(stranger: &mut Stranger) -> Result<ResumeToken, Option<Code>> {
    loop {
        match stranger.hear() {
            ServerMsg::Joined { token, .. } => {
                stranger.say(&ClientMsg::EventAck { number: 0 });
                return Ok(token);
            }
            ServerMsg::Error { code, .. } => return Err(Code::from_u64(code.into())),
            _ => {}
        }
    }
}

fn join(stranger: &mut Stranger, nonce: [u8; 16]) -> ResumeToken {
    stranger.say(&ClientMsg::Join { target: JoinTarget::Any, nonce, spectate: false });
    answer(stranger).expect("the match has room")
}

/// Waits until the server says why the session has ended here.
fn end(stranger: &mut Stranger) -> EndReason {
    loop {
        if let ServerMsg::Left { reason } = stranger.hear() {
            return reason;
        }
    }
}

/// Waits until a record that came with the newest token is committed.
fn prove(stranger: &mut Stranger) {
    let mut payload = Vec::new();
    Ask::Suicide.to_wire(&mut payload);
    stranger.say(&ClientMsg::Command { number: 1, payload });
    while !matches!(stranger.hear(), ServerMsg::CommandAck { number: 1 }) {}
}

#[test]
fn no_key_token_or_nonce_is_in_any_segment() {
    let mut instance = Instance::start(&[]);
    let mut searches = Searches::default();
    let keys = instance.directory().join("ringfort").join(instance.name()).join("keys");
    let keys = std::fs::read(keys).expect("the keys");
    let (title, keys) = keys.split_at(16);
    assert_eq!((title, keys.len()), (b"ringfort keys 01".as_slice(), 3 * 64));
    for (name, key) in ["the reset key", "the token key", "the ticket key"].into_iter().zip(keys.chunks(64)) {
        searches.secrets.add(name, key);
    }
    let private = instance.certificate().with_file_name("dev-key.pem");
    let private = PrivateKeyDer::from_pem_file(private).expect("the certificate's key");
    // Past its head, which all keys of a kind share, it ends with what is secret or with what is signed by it.
    searches.secrets.add("the certificate's key", &private.secret_der()[36..68]);
    searches.controls.add("the players' name", &NAME.as_bytes()[..PART]);

    // One joins, resumes twice while its older connections are there, and shows old and invented tokens.
    let nonce = made_up("ada's nonce");
    searches.secrets.add("a nonce", &nonce);
    let mut ada = greet(&instance, 1, None);
    let first = join(&mut ada, nonce);
    searches.token("a joined token", &first);
    let mut again = greet(&instance, 2, Some(&first));
    let second = answer(&mut again).expect("the newest token opens the session");
    searches.token("a resumed token", &second);
    assert_eq!(end(&mut ada), EndReason::TakenOver);
    assert_ne!(first.hash(), second.hash(), "a token opens a session once");
    prove(&mut again);
    assert_eq!(answer(&mut greet(&instance, 3, Some(&first))), Err(Some(Code::ResumeRefused)), "the old token is dead");
    let guess = ResumeToken::new(first.match_id(), first.session(), &made_up("a guess"));
    searches.token("a guessed token", &guess);
    assert_eq!(answer(&mut greet(&instance, 4, Some(&guess))), Err(Some(Code::ResumeRefused)), "a guess opens nothing");
    let elsewhere = ResumeToken::new(first.match_id() + 1, first.session(), &made_up("elsewhere"));
    searches.token("a token of another match", &elsewhere);
    assert_eq!(answer(&mut greet(&instance, 5, Some(&elsewhere))), Err(Some(Code::ResumeRefused)));

    // Another one has not heard of its join, and joins again.
    let nonce = made_up("bob's nonce");
    searches.secrets.add("a repeated nonce", &nonce);
    let mut bob = greet(&instance, 1, None);
    let unheard = join(&mut bob, nonce);
    searches.token("a token of a repeated join", &unheard);
    let mut bob = greet(&instance, 2, None);
    let heard = join(&mut bob, nonce);
    searches.token("a token of the second join", &heard);
    assert_eq!(unheard.session(), heard.session(), "it is the same session");

    searches.controls.add("the newest token's hash", &second.hash()[..PART]);
    searches.controls.add("the other's newest token's hash", &heard.hash()[..PART]);
    searches.check(&instance, "while it runs");
    instance.kill();
    searches.check(&instance, "after a kill of everything");

    instance.start_again(&[]);
    let mut ada = greet(&instance, 6, Some(&second));
    let third = answer(&mut ada).expect("the session has outlived everything");
    assert_eq!(third.session(), first.session());
    searches.token("a token of the second run", &third);
    searches.controls = Search::default();
    searches.controls.add("the hash of the second run's token", &third.hash()[..PART]);
    searches.check(&instance, "in the next run");
}
