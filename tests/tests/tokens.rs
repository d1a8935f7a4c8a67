//! Credentials: what a token lets in, and what is refused without one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ringfort_client::{Code, Credential, Ended, JoinTarget};
use ringfort_tests::crowd::named;
use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Instance, programs};

/// An instance that wants tokens, and two matches.
fn guarded() -> Instance {
    let prepare = |directory: &Path| {
        let mut make = Command::new(programs::server());
        let made = make.args(["token", "key", "--out", "tokens.key"]).current_dir(directory).output().expect("a command");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    Instance::configured("[auth]\nmode = \"token\"\nkey = \"tokens.key.pub\"\n", prepare, &["--matches", "2"])
}

fn token(instance: &Instance, arguments: &[&str]) -> Credential {
    let arguments = [&["token", "issue", "--key", "tokens.key"], arguments].concat();
    Credential::Token(instance.done(&arguments).trim().to_owned())
}

/// Connects and waits for the end; the server's words.
fn refused(crowd: &mut Crowd, credential: Credential) -> String {
    let who = crowd.connect_with(credential);
    crowd.until("the credential is refused", |crowd| crowd.ended(who).is_some());
    match crowd.ended(who) {
        Some(Ended::Closed { code: Code::Refused, reason }) => reason.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_token_says_who_the_player_is_and_where_it_may_play() {
    let instance = guarded();
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.connect_with(token(&instance, &["--name", "ada"]));
    crowd.join(ada, named("match-1"));
    crowd.until_live(ada);
    let bob = crowd.connect_with(token(&instance, &["--name", "bob", "--match", "match-2"]));
    crowd.join(bob, named("match-1"));
    crowd.until("bob is refused", |crowd| crowd.refusal_of(bob).is_some());
    assert_eq!(crowd.refusal_of(bob), Some(Code::Refused));
    // The connection stays, and any match means the one of the token.
    crowd.join(bob, JoinTarget::Any);
    crowd.until_live(bob);
    assert_eq!(crowd.match_of(bob), Some("match-2"));
    crowd.check_plays_on(&[ada, bob]);
    instance.wait_for("the refusal is counted", |status| counter(status, "fe_tokens_wrong_match") == 1);
}

#[test]
fn a_token_for_a_private_match_opens_it_without_its_code() {
    let instance = guarded();
    instance.json(&["matches", "create", "den", "--private"]);
    let mut crowd = Crowd::new(instance.address());
    for (name, target) in [("ada", JoinTarget::Any), ("bob", named("den"))] {
        let who = crowd.connect_with(token(&instance, &["--name", name, "--match", "den"]));
        crowd.join(who, target);
        crowd.until_live(who);
        assert_eq!(crowd.match_of(who), Some("den"));
    }
    // A token for any match, or for another one, does not know it by its name.
    for only in [vec!["--name", "eve"], vec!["--name", "eve", "--match", "match-1"]] {
        let eve = crowd.connect_with(token(&instance, &only));
        crowd.join(eve, named("den"));
        crowd.until("eve is refused", |crowd| crowd.refusal_of(eve).is_some());
        assert_eq!(crowd.refusal_of(eve), Some(Code::NoSuchMatch));
    }
}

#[test]
fn without_a_good_token_nobody_comes_in_and_everybody_else_plays_on() {
    let instance = guarded();
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.connect_with(token(&instance, &["--name", "ada"]));
    crowd.join(ada, JoinTarget::Any);
    crowd.until_live(ada);
    assert!(refused(&mut crowd, Credential::Name("bob".into())).contains("wants a token"));
    let Credential::Token(good) = token(&instance, &["--name", "bob"]) else { panic!("not a token") };
    let tampered = good.replacen("eyJ", "eyK", 1);
    assert_ne!(tampered, good);
    assert!(refused(&mut crowd, Credential::Token(tampered)).contains("not signed"));
    let other = instance.done(&["token", "key", "--out", "other.key"]);
    assert!(other.contains("other.key.pub"), "{other}");
    let foreign = instance.done(&["token", "issue", "--key", "other.key", "--name", "bob"]);
    assert!(refused(&mut crowd, Credential::Token(foreign.trim().into())).contains("not signed"));
    instance.done(&["token", "key", "--hs256", "--out", "secret.key"]);
    let secret = instance.done(&["token", "issue", "--key", "secret.key", "--name", "bob"]);
    assert!(refused(&mut crowd, Credential::Token(secret.trim().into())).contains("another algorithm"));
    assert!(refused(&mut crowd, Credential::Token("x".repeat(2048))).contains("not signed"));
    crowd.check_plays_on(&[ada]);
    instance.wait_for("each refusal is counted", |status| {
        let counters = ["fe_tokens_missing", "fe_tokens_bad", "fe_hellos_refused"].map(|name| counter(status, name));
        counters == [1, 4, 5]
    });
}

#[test]
fn a_key_that_others_can_read_or_that_signs_is_no_key_for_a_server() {
    let instance = guarded();
    let directory = instance.directory();
    let public = directory.join("open.pub");
    std::fs::copy(directory.join("tokens.key.pub"), &public).expect("a copy");
    std::fs::set_permissions(&public, PermissionsExt::from_mode(0o664)).expect("it is ours");
    for (key, words) in
        [("tokens.key", "half of a key that signs"), ("absent", "cannot read"), ("open.pub", "other users may write")]
    {
        let configuration = format!("[auth]\nmode = \"token\"\nkey = \"{key}\"\n");
        std::fs::write(directory.join("other.toml"), configuration).expect("a configuration file");
        let refused = instance.run(&["up", "--config", "other.toml", "--listen", "127.0.0.1:0"]);
        assert_eq!(refused.status.code(), Some(1));
        // The instance runs; whether the key serves is looked at before that.
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn the_key_that_verifies_is_in_no_environment_and_in_no_segment() {
    let prepare = |directory: &Path| {
        let mut make = Command::new(programs::server());
        let made = make.args(["token", "key", "--hs256", "--out", "secret.key"]).current_dir(directory).output();
        assert!(made.expect("a command").status.success());
    };
    let instance = Instance::configured("[auth]\nmode = \"token\"\nkey = \"secret.key\"\n", prepare, &[]);
    let secret = std::fs::read(instance.directory().join("secret.key")).expect("the secret");
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.connect_with(Credential::Token(instance.done(&["token", "issue", "--name", "ada"]).trim().into()));
    crowd.join(ada, JoinTarget::Any);
    crowd.until_live(ada);
    let part = &secret[..16];
    // Most of a segment is zeros, which are looked over page by page.
    let holds = |bytes: &[u8]| {
        let pages = (0..bytes.len()).step_by(4096).map(|at| &bytes[at..bytes.len().min(at + 4096 + part.len())]);
        pages.filter(|page| page[..] != [0; 4096 + 16][..page.len()]).any(|page| page.windows(part.len()).any(|at| at == part))
    };
    let mut looked_at = 0;
    for process in instance.status()["processes"].as_array().expect("a list of processes") {
        let environment = std::fs::read(format!("/proc/{}/environ", process["pid"])).expect("a process's environment");
        assert!(!holds(&environment), "{process}");
        looked_at += 1;
    }
    for segment in instance.segments() {
        assert!(!holds(&std::fs::read(Path::new("/dev/shm").join(&segment)).expect("a segment")), "{segment}");
        looked_at += 1;
    }
    assert!(looked_at >= 10, "{looked_at}");
}
