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
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks { command: Vec::new(), url: None, token_file: None, timeout_s: 10, patience_s: 60 }
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

    /// Takes paths as relative to the configuration file's directory.
    pub(super) fn resolve(&mut self, directory: &Path) {
        if let Some(path) = &mut self.token_file {
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
}
