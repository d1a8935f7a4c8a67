//! `[hooks]`: who answers the game's requests and takes the matches' results.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check_range};
use crate::game::AskRules;
use crate::limits::{ASK_TIMEOUT_S_MAX, RESULT_PATIENCE_S_MAX};

/// `[hooks]`: a command, or an address, or neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Program and arguments of a hook that is kept running.
    pub command: Vec<String>,
    /// Address of a web hook.
    pub url: Option<String>,
    /// File with the web hook's bearer token.
    pub token_file: Option<PathBuf>,
    /// Seconds after which a request is given up.
    pub timeout_s: u32,
    /// Seconds for which a result waits for the hook.
    pub patience_s: u32,
    /// File for the results that no hook has taken.
    pub results: Option<PathBuf>,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks { command: Vec::new(), url: None, token_file: None, timeout_s: 10, patience_s: 60, results: None }
    }
}

impl Hooks {
    /// Whether anybody hears requests.
    pub fn is_some(&self) -> bool {
        !self.command.is_empty() || self.url.is_some()
    }

    /// What holds for the requests of a match with so many ticks a second.
    pub fn ask_rules(&self, tick_hz: u32) -> AskRules {
        AskRules { timeout_ticks: self.is_some().then(|| self.timeout_s.saturating_mul(tick_hz)) }
    }

    /// Where an instance's results go that no hook has taken: it outlives the machine's next start.
    pub fn results_file(&self, instance: &str) -> PathBuf {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let is_root = rustix::process::geteuid().is_root();
        let state = state_directory(variable("XDG_STATE_HOME"), variable("HOME"), is_root);
        self.results.clone().unwrap_or_else(|| state.join(instance).join("results.jsonl"))
    }

    /// Where an instance's inputs and commands go that were given up: beside its results.
    pub fn dead_letters_file(&self, instance: &str) -> PathBuf {
        self.results_file(instance).with_file_name("dead-letters.jsonl")
    }

    /// Where it is noted who has commanded what: beside its results.
    pub fn audit_file(&self, instance: &str) -> PathBuf {
        self.results_file(instance).with_file_name("audit.jsonl")
    }

    /// Takes paths as relative to the configuration file's directory.
    pub(super) fn resolve(&mut self, directory: &Path) {
        for path in [&mut self.token_file, &mut self.results].into_iter().flatten() {
            *path = directory.join(&path);
        }
        // A name without a slash is looked for in PATH.
        if let Some(program) = self.command.first_mut().filter(|program| program.contains('/')) {
            *program = directory.join(&program).to_string_lossy().into_owned();
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem| Err(ConfigError::Hooks { key, problem });
        if self.url.is_some() && !self.command.is_empty() {
            return wrong("url", "is set beside `hooks.command`; set one of the two");
        }
        if self.command.first().is_some_and(String::is_empty) {
            return wrong("command", "names no program; write it as [\"./hook.py\", \"argument\"]");
        }
        if self.url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            return wrong("url", "is no address; it begins with http:// or https://");
        }
        if self.token_file.is_some() && self.url.is_none() {
            return wrong("token_file", "is set without `hooks.url`; remove it, or set the address that it is for");
        }
        check_range("hooks.timeout_s", self.timeout_s, 1, ASK_TIMEOUT_S_MAX)?;
        check_range("hooks.patience_s", self.patience_s, 0, RESULT_PATIENCE_S_MAX)
    }
}

/// The directory for what is to last, of all instances of a user.
fn state_directory(state_home: Option<PathBuf>, home: Option<PathBuf>, is_root: bool) -> PathBuf {
    let state_home = state_home.filter(|path| path.is_absolute());
    let home = home.filter(|path| !is_root && path.is_absolute()).map(|home| home.join(".local/state"));
    state_home.or(home).unwrap_or_else(|| PathBuf::from("/var/lib")).join("ringfort")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_hook_is_refused_by_its_key() {
        let command = || vec!["./hook.py".to_owned()];
        let url = || Some("https://example.org".to_owned());
        let base = Hooks::default;
        for (hooks, key) in [
            (Hooks { command: command(), url: url(), ..base() }, "hooks.url"),
            (Hooks { command: vec![String::new()], ..base() }, "hooks.command"),
            (Hooks { url: Some("example.org".to_owned()), ..base() }, "hooks.url"),
            (Hooks { token_file: Some("token".into()), ..base() }, "hooks.token_file"),
            (Hooks { timeout_s: 0, ..base() }, "hooks.timeout_s"),
            (Hooks { patience_s: RESULT_PATIENCE_S_MAX + 1, ..base() }, "hooks.patience_s"),
        ] {
            let refusal = hooks.validate().expect_err("refused").to_string();
            assert!(refusal.contains(key), "{refusal}");
        }
        for hooks in
            [base(), Hooks { command: command(), ..base() }, Hooks { url: url(), token_file: Some("t".into()), ..base() }]
        {
            hooks.validate().expect("allowed");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file_and_names_are_not() {
        let mut hooks = Hooks { command: vec!["./hook.py".into()], token_file: Some("token".into()), ..Hooks::default() };
        hooks.resolve(Path::new("/etc/game"));
        assert_eq!((hooks.command[0].as_str(), hooks.token_file), ("/etc/game/./hook.py", Some("/etc/game/token".into())));
        let mut hooks = Hooks { command: vec!["python3".into(), "hook.py".into()], ..Hooks::default() };
        hooks.resolve(Path::new("/etc/game"));
        assert_eq!(hooks.command, ["python3", "hook.py"]);
    }

    #[test]
    fn without_a_hook_nobody_hears_requests() {
        assert_eq!(Hooks::default().ask_rules(20), AskRules { timeout_ticks: None });
        let hooks = Hooks { command: vec!["cat".into()], timeout_s: 3, ..Hooks::default() };
        assert_eq!(hooks.ask_rules(20), AskRules { timeout_ticks: Some(60) });
    }

    #[test]
    fn results_lie_where_the_next_start_of_the_machine_finds_them() {
        let some = |path: &str| Some(PathBuf::from(path));
        let directory = |state, home, is_root| state_directory(state, home, is_root).display().to_string();
        assert_eq!(directory(some("/state"), some("/home/ada"), false), "/state/ringfort");
        assert_eq!(directory(some("relative"), some("/home/ada"), false), "/home/ada/.local/state/ringfort");
        assert_eq!(directory(None, some("/root"), true), "/var/lib/ringfort");
        assert_eq!(directory(None, None, false), "/var/lib/ringfort");
        let mut hooks = Hooks { results: Some("results.jsonl".into()), ..Hooks::default() };
        hooks.resolve(Path::new("/etc/game"));
        assert_eq!(hooks.results_file("arena"), PathBuf::from("/etc/game/results.jsonl"));
        assert_eq!(hooks.dead_letters_file("arena"), PathBuf::from("/etc/game/dead-letters.jsonl"));
    }
}
