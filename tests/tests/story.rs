//! The story of `docs/operations.md`, told to a real instance: each of its commands is run and must print what stands there.

use std::path::PathBuf;

use ringfort_tests::terminal::Terminal;
use ringfort_tests::{Instance, LOOK_AGAIN, PATIENCE};
use std::time::Instant;

const OPERATIONS: &str = include_str!("../../docs/operations.md");
/// What the troll of the story has when it is looked for: it digs 400 in a tick.
const SPOIL: f64 = 20_000.0;

/// A command of the story and what it prints there.
struct Step {
    words: Vec<String>,
    prints: Vec<String>,
}

/// The commands of the story's section, in their order.
fn steps() -> Vec<Step> {
    let from = OPERATIONS.find("## A match is slow").expect("the story has a heading");
    let section = OPERATIONS[from..].split("\n## ").next().expect("a section");
    let mut steps: Vec<Step> = Vec::new();
    for block in section.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            match (line.strip_prefix("$ ringfort "), steps.last_mut()) {
                (Some(command), _) => {
                    let words = command.split(' ').map(str::to_owned).collect();
                    steps.push(Step { words, prints: Vec::new() });
                }
                (None, Some(step)) => step.prints.push(line.to_owned()),
                (None, None) => panic!("nothing printed this: {line}"),
            }
        }
    }
    steps
}

/// A line by its words, numbers and times left out.
fn shape(line: &str) -> Vec<String> {
    let number =
        |word: &str| word.starts_with(|c: char| c.is_ascii_digit() || c == '-') && word.contains(|c: char| c.is_ascii_digit());
    line.split_whitespace().map(|word| if number(word) { "#".to_owned() } else { word.to_owned() }).collect()
}

/// Whether the words of a line of the story stand in a printed one, in their order: the story leaves out what is wide.
fn holds(printed: &str, told: &str) -> bool {
    let printed = shape(printed);
    let mut rest = printed.iter();
    shape(told).iter().all(|word| rest.any(|other| other == word))
}

/// Waits until a command prints something.
fn until(instance: &Instance, words: &[&str], wanted: impl Fn(&serde_json::Value) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !wanted(&instance.json(words)) {
        assert!(Instant::now() < until, "waited in vain: {}", instance.done(words));
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[test]
fn the_story_of_a_slow_match_goes_as_it_is_told() {
    let flags = ["--sims", "2", "--frontends", "1", "--matches", "2", "--hang-ms", "60000"];
    let instance = Instance::of(PathBuf::from(env!("CARGO_BIN_EXE_quarry")), "", |_| (), &flags);
    instance.done(&["matches", "create", "pit-3", "--game-option", "crooked=5"]);
    until(&instance, &["inspect", "pit-3", "4.1"], |told| told["fields"]["dig.spoil"].as_f64() > Some(SPOIL));

    let mut top = Terminal::start(&instance, &[]);
    top.until_shown(&["match-1", "match-2", "pit-3"]);
    top.press("q");
    assert_eq!(top.ended(), Some(0));

    let all = steps();
    assert!(all.len() >= 7, "the story has its commands");
    for Step { words, prints } in all {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if words == ["history", "pit-3", "4"] {
            // Both times it tells of as many ticks as there are; the second time those before the change have to have gone.
            let mended = instance.json(&["inspect", "pit-3", "4.1"])["fields"]["dig.crooked"] == false;
            let all_so = |told: &serde_json::Value| {
                let ticks = told["ticks"].as_array().map_or(&[][..], Vec::as_slice);
                let spoil = |tick: &serde_json::Value| {
                    tick["changes"].as_array().is_some_and(|all| all.iter().any(|c| c["field"] == "dig.spoil"))
                };
                !ticks.is_empty() && ticks.iter().all(|tick| spoil(tick) != mended)
            };
            until(&instance, &words, all_so);
        }
        let printed = instance.done(&words);
        for told in prints {
            assert!(printed.lines().any(|line| holds(line, &told)), "{words:?} does not print {told:?}, but:\n{printed}");
        }
    }
    let audit = instance.json(&["audit"]);
    let commands: Vec<&str> =
        audit["entries"].as_array().into_iter().flatten().filter_map(|line| line["command"].as_str()).collect();
    assert_eq!(commands, ["matches-create", "zones-move", "set"], "{audit:#}");
}
