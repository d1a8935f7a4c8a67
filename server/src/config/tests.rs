//! The documented defaults, the sentences of errors, and what overrides what.

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ringfort.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file))?;
    config.validate()?;
    Ok(config)
}

/// Checks that `text` is refused with a sentence that has every one of `words`.
fn check_refused(text: &str, words: &[&str]) {
    let sentence = load(text).unwrap_err().to_string();
    for word in words {
        assert!(sentence.contains(word), "{word:?} is missing from {sentence:?}");
    }
}

/// The documented file with every commented-out key made real.
fn uncommented() -> String {
    let real = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with("[[") => rest.to_owned(),
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest.to_owned(),
        _ => line.to_owned(),
    };
    DEFAULTS_TOML.lines().map(|line| real(line) + "\n").collect()
}

#[test]
fn documented_defaults_are_the_defaults() {
    assert_eq!(toml::from_str::<Config>(DEFAULTS_TOML).unwrap(), Config::default());
    assert_eq!(load("").unwrap(), Config::default());
    Config::default().validate().unwrap();
}

#[test]
fn every_key_is_documented() {
    let text = uncommented();
    let config = load(&text).unwrap();
    let all: toml::Table = toml::from_str(&text).unwrap();
    let json: serde_json::Value = serde_json::from_str(&config.worker_json()).unwrap();
    for (key, value) in json.as_object().unwrap() {
        assert!(all.contains_key(key), "`{key}` is not documented");
        for inner in value.as_object().into_iter().flat_map(|table| table.keys()) {
            assert!(all[key].as_table().unwrap().contains_key(inner), "`{key}.{inner}` is not documented");
        }
    }
}

#[test]
fn errors_name_file_line_key_and_remedy() {
    check_refused("sims = 2\nfrontend = 2\n", &["ringfort.toml:2", "`frontend`", "unknown field", "config --defaults"]);
    check_refused("sims = \"two\"\n", &["ringfort.toml:1", "`sims`", "string"]);
    check_refused("[tls]\n\ncert = 5\n", &["ringfort.toml:3", "`tls.cert`"]);
    check_refused("[auth]\nmode = \"open\"\n", &["ringfort.toml:2", "`auth.mode`", "development"]);
    check_refused("[game]\ncapacity = 1.5\n", &["ringfort.toml:2", "`game.capacity`", "whole number or a string"]);
    check_refused("[tlss]\ncert = \"a\"\n", &["ringfort.toml:1", "tlss"]);
    check_refused("listen = \"nowhere\"\n", &["ringfort.toml:1", "`listen`"]);
    check_refused("sims = = 2\n", &["ringfort.toml:1"]);
}

#[test]
fn ranges_have_one_sentence() {
    check_refused("frontends = 17", &["`frontends` is 17; it must be from 1 to 16"]);
    check_refused("sims = 0", &["`sims` is 0"]);
    check_refused("tick_hz = 1000", &["`tick_hz` is 1000; it must be from 1 to 240"]);
    check_refused("arena_mib = 1", &["`arena_mib`"]);
    check_refused("snapshot_bytes = 1151", &["`snapshot_bytes` is 1151; it must be from 256 to 1150"]);
    check_refused("[interest]\nradius = 0", &["`interest.radius` is 0; it must be from 1 to 1048576"]);
    check_refused("[interest]\nentities = 2000000", &["`interest.entities` is 2000000"]);
    check_refused("inbox_mib = 1\nmax_matches = 128", &["`inbox_mib` is 1; it must be from 2"]);
    check_refused(&format!("[game]\nmap = \"{}\"", "x".repeat(600)), &["game options", "512"]);
    check_refused("[game]\n\"A b\" = 1", &["game option key"]);
    check_refused("matches = 6\nmax_matches = 5", &["`matches` is 6; it must be from 0 to 5"]);
    check_refused("[limits]\njoins = { per_second = 0, burst = 5 }", &["`limits.joins.per_second` is 0; it must be from 1"]);
    check_refused("[limits]\nbytes = { per_second = 9, burst = 1000 }", &["`limits.bytes.burst` is 1000; it must be from 2048"]);
    check_refused("[limits]\nconnections = 0", &["`limits.connections` is 0; it must be from 1 to 10000"]);
    check_refused("[limits]\njoins = { per_second = 1, bursts = 5 }", &["ringfort.toml:2", "`limits.joins`", "bursts"]);
    check_refused("instance = \"../x\"", &["instance name", "a-z"]);
    check_refused("[tls]\ncert = \"a.pem\"", &["`tls.cert` is set but `tls.key` is not"]);
    check_refused("[[match]]\nname = \"a\"\n[[match]]\nname = \"a\"", &["two matches", "\"a\""]);
    check_refused("[[match]]\nname = \"a b\"", &["match name"]);
}

#[test]
fn missing_file_is_named_only_when_asked_for() {
    let sentence = Config::load(Some(Path::new("/nonexistent/r.toml"))).unwrap_err().to_string();
    assert!(sentence.contains("/nonexistent/r.toml"), "{sentence}");
}

#[test]
fn flags_override_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ringfort.toml");
    std::fs::write(&file, "sims = 3\ninstance = \"file\"\n[game]\ncapacity = 8\nmap = \"a\"\n[[match]]\nname = \"x\"\n").unwrap();
    let flags = UpArgs {
        frontends: Some(5),
        matches: Some(2),
        game_options: vec![("capacity".into(), OptionValue::Number(9))],
        ..UpArgs::default()
    };
    let config = Config::effective(Some(&file), Some("flag"), &flags).unwrap();
    assert_eq!((config.instance.as_str(), config.frontends, config.sims), ("flag", 5, 3));
    let matches = config.initial_matches();
    assert_eq!(matches.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["match-1", "match-2"]);
    assert_eq!(matches[0].options["capacity"], OptionValue::Number(9));
    assert_eq!(matches[0].options["map"], OptionValue::Text("a".into()));
    assert_eq!(instance_name(None, Some(&file)).unwrap(), "file");
    assert_eq!(instance_name(Some("flag"), None).unwrap(), "flag");
}

#[test]
fn a_match_overrides_the_game() {
    let config = load("[game]\na = 1\nb = 2\n[[match]]\nname = \"x\"\noptions = { b = 3 }\n").unwrap();
    let options = &config.initial_matches()[0].options;
    assert_eq!((&options["a"], &options["b"]), (&OptionValue::Number(1), &OptionValue::Number(3)));
}

#[test]
fn tls_paths_are_relative_to_the_file() {
    let config = load("[tls]\ncert = \"a.pem\"\nkey = \"/k.pem\"\n").unwrap();
    assert!(config.tls.cert.unwrap().is_absolute());
    assert_eq!(config.tls.key.unwrap(), Path::new("/k.pem"));
}

#[test]
fn workers_receive_the_same_configuration() {
    let config = load(&uncommented()).unwrap();
    assert_eq!(Config::from_json(&config.worker_json()).unwrap(), config);
    assert!(Config::from_json("{\"sims\": 0}").is_err());
    assert!(Config::from_json("{\"nonsense\": 0}").is_err());
}
