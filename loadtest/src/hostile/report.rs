//! Attacks as JSON: the list of them, and how one ended.

use serde_json::{Value, json};

use super::attacks::{ATTACKS, Attack};
use super::peer::{Attacker, Outcome};

/// All attacks, with what is expected of the server.
pub(super) fn list() -> Value {
    let one = |attack: &Attack| {
        let Attack { name, about, counter, .. } = attack;
        json!({ "name": name, "about": about, "ends": ends(&attack.ends), "counter": counted(counter) })
    };
    ATTACKS.iter().map(one).collect()
}

fn counted(counter: &str) -> Option<&str> {
    Some(counter).filter(|counter| !counter.is_empty())
}

/// How an attack ended.
pub(super) fn outcome(attack: &Attack, attacker: &Attacker, outcome: &Outcome) -> Value {
    json!({
        "name": attack.name,
        "ended": ends(outcome),
        "expected": ends(&attack.ends),
        "packets": attacker.packets,
        "bytes": attacker.bytes,
    })
}

fn ends(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Closed(code) => code.name().to_owned(),
        Outcome::Refused => "refused".to_owned(),
        Outcome::Open => "open".to_owned(),
        Outcome::None => "none".to_owned(),
        Outcome::Other(what) => what.clone(),
    }
}
