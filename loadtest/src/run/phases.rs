//! `--file FILE.toml`: the flags of a run in a file, or of several that come one after the other.
//!
//! The keys are the flags' names. What stands above the phases is for all of them, a phase's own keys come after that, and flags of the
//! command line last.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::Parser;
use toml::{Table, Value};

use super::{RunArgs, RunError};

/// A run of a file.
#[derive(Debug)]
pub(super) struct Phase {
    /// What it is called.
    pub(super) name: String,
    pub(super) args: RunArgs,
}

/// The flags alone, as the command line would be read.
#[derive(Debug, Parser)]
#[command(name = "run", args_override_self = true, no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    args: RunArgs,
}

/// Keys that a phase cannot have: a run has one of each, however many phases.
const OF_ALL: [&str; 3] = ["json", "report", "file"];

/// Why a file is no scenario file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] std::io::Error),
    /// It is no TOML.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A value that no flag has.
    #[error("`{0}` is neither a number, a text, true, false, nor a list of numbers or texts")]
    Value(String),
    /// What stands at `phase` is no list of tables, or an empty one.
    #[error("phases are written as [[phase]]")]
    Phases,
    /// A name that is none.
    #[error("the `name` of a phase is a text")]
    Name,
    /// What cannot be one phase's.
    #[error("`{0}` cannot stand in a phase: it is for all of them, or for the command line")]
    NotOfPhase(String),
    /// A file that names another.
    #[error("a scenario file takes no flags from another: `file` is for the command line")]
    Nested,
    /// A flag that there is not, or a value that it does not take.
    #[error("phase \"{phase}\": {source}")]
    Flags {
        /// Which phase.
        phase: String,
        /// What clap says.
        source: Box<clap::Error>,
    },
}

/// The phases of a file, under these flags of the command line.
pub(super) fn read(path: &Path, command_line: &[OsString]) -> Result<Vec<Phase>, RunError> {
    let of_file = |source| RunError::File { path: path.into(), source: Box::new(source) };
    let text = fs::read_to_string(path).map_err(FileError::Read).map_err(of_file)?;
    parse(&text, &without_file(command_line)).map_err(of_file)
}

/// The run that these words ask for.
pub(super) fn flags(words: &[String]) -> Result<RunArgs, RunError> {
    let parsed =
        Flags::try_parse_from(words).map_err(|source| FileError::Flags { phase: "1".to_owned(), source: Box::new(source) });
    Ok(parsed.map_err(|source| RunError::File { path: "flags".into(), source: Box::new(source) })?.args)
}

/// The flags of this process's command line, behind the command's name.
pub(super) fn command_line() -> Vec<OsString> {
    std::env::args_os().skip(2).collect()
}

fn parse(text: &str, command_line: &[OsString]) -> Result<Vec<Phase>, FileError> {
    let mut common: Table = text.parse()?;
    let phases = match common.remove("phase") {
        None => vec![Table::new()],
        Some(Value::Array(phases)) if !phases.is_empty() => {
            let table = |phase| if let Value::Table(table) = phase { Ok(table) } else { Err(FileError::Phases) };
            phases.into_iter().map(table).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(FileError::Phases),
    };
    if common.contains_key("file") {
        return Err(FileError::Nested);
    }
    let mut read = Vec::new();
    for (at, mut phase) in phases.into_iter().enumerate() {
        if let Some(key) = OF_ALL.into_iter().find(|key| phase.contains_key(*key)) {
            return Err(FileError::NotOfPhase(key.to_owned()));
        }
        let name = match phase.remove("name").or_else(|| common.get("name").cloned()) {
            Some(Value::String(name)) => name,
            Some(_) => return Err(FileError::Name),
            None => (at + 1).to_string(),
        };
        let mut words = Vec::new();
        // Lists add up. Of the rest a phase's own counts, also where it takes back a flag that has no value.
        let holds = |key: &str, value: &Value| key != "name" && (value.is_array() || !phase.contains_key(key));
        for (key, value) in common.iter().filter(|(key, value)| holds(key, value)).chain(&phase) {
            flag(key, value, &mut words)?;
        }
        words.extend_from_slice(command_line);
        let flags =
            Flags::try_parse_from(words).map_err(|source| FileError::Flags { phase: name.clone(), source: Box::new(source) })?;
        read.push(Phase { name, args: flags.args });
    }
    Ok(read)
}

fn flag(key: &str, value: &Value, words: &mut Vec<OsString>) -> Result<(), FileError> {
    let name = format!("--{}", key.replace('_', "-"));
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(is) => {
            words.extend(is.then(|| name.into()));
            return Ok(());
        }
        Value::Array(values) if !values.iter().any(Value::is_array) => {
            return values.iter().try_for_each(|value| flag(key, value, words));
        }
        Value::Array(_) | Value::Table(_) | Value::Datetime(_) => return Err(FileError::Value(key.to_owned())),
    };
    // In one word, so that a value may begin with a dash.
    words.push(format!("{name}={text}").into());
    Ok(())
}

fn without_file(command_line: &[OsString]) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut all = command_line.iter();
    while let Some(word) = all.next() {
        if word == "--file" {
            all.next();
        } else if !word.to_string_lossy().starts_with("--file=") {
            words.push(word.clone());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;

    const FILE: &str = r#"
scenario = "battle"
rate = 10
assert = ["clients.failed==0", "latency_ms.network.p99<100"]

[[phase]]
name = "calm"
clients = 500
duration = 20.5

[[phase]]
scenario = "storm"
churn_rate = 2
clients = 900
verify = true
reorder = false
"#;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn phases_have_what_stands_above_them_and_their_own() {
        let phases = parse(FILE, &[]).expect("a scenario file");
        let [calm, second] = phases.as_slice() else { panic!("{phases:?}") };
        assert_eq!((calm.name.as_str(), calm.args.scenario, calm.args.clients), ("calm", Scenario::Battle, 500));
        assert_eq!((calm.args.duration, calm.args.rate, calm.args.verify), (20.5, 10.0, false));
        assert_eq!((second.name.as_str(), second.args.scenario, second.args.clients), ("2", Scenario::Storm, 900));
        assert!(second.args.verify && second.args.churn_rate == 2.0 && !second.args.network.reorder);
        assert_eq!(second.args.assertions.len(), 2);
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let line = without_file(&words(&["--file", "a.toml", "--clients", "7", "--file=b.toml"]));
        assert_eq!(line, words(&["--clients", "7"]));
        let phases = parse(FILE, &line).expect("a scenario file");
        assert!(phases.iter().all(|phase| phase.args.clients == 7));
        assert_eq!(parse("clients = 3", &[]).expect("one phase")[0].args.clients, 3);
    }

    #[test]
    fn a_phase_takes_back_what_stands_above_it() {
        let file = "verify = true\nreorder = true\nclients = 9\nassert = [\"a<1\"]\njson = \"a.json\"\n\
            [[phase]]\nverify = false\nclients = 3\nassert = [\"b<1\"]\n[[phase]]\n";
        let phases = parse(file, &[]).expect("a scenario file");
        let told = |at: usize| {
            let args = &phases[at].args;
            (args.verify, args.network.reorder, args.clients, args.assertions.len(), args.json.is_some())
        };
        assert_eq!((told(0), told(1)), ((false, true, 3, 2, true), (true, true, 9, 1, true)));
    }

    #[test]
    fn what_is_no_flag_is_named() {
        let said = |text: &str| parse(text, &[]).expect_err("no scenario file").to_string();
        assert!(said("clinets = 3").contains("--clinets"));
        assert!(said("clients = 0").contains("a whole number from 1"));
        assert!(said("phase = 3").contains("[[phase]]"));
        assert!(said("clients = { a = 1 }").contains("`clients`"));
        assert!(said("[[phase]").contains("TOML"));
        assert!(said("phase = []").contains("[[phase]]"), "nothing to run is not a run that went well");
        assert!(said("[[phase]]\nname = 3").contains("`name`"));
        assert!(said("[[phase]]\njson = \"a\"").contains("`json`"));
        assert!(said("file = \"a\"").contains("`file`"));
        assert!(said("assert = [\"p99<fast\"]").contains("p99<fast"));
        assert!(said("loss = nan").contains("--loss") && said("verify = 3").contains("--verify"));
    }
}
