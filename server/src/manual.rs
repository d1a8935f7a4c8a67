//! Completions for shells and manual pages, made from the grammar of the command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::look::print;

/// Flags of `completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  ringfort completions bash\n  ringfort completions zsh")]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  ringfort man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Where to put the pages; it is made if it is not there
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// A page cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the manual pages cannot be written to {} ({source}); check that it is a directory of yours", directory.display())]
pub struct ManError {
    directory: PathBuf,
    source: io::Error,
}

/// Lines that `--help` shows as examples, of commands that have none of their own.
const EXAMPLES: &[&str] = &[
    "ringfort up",
    "ringfort up --instance arena --matches 4 --admin 9464",
    "ringfort down",
    "ringfort down --drain --timeout 600",
    "ringfort status",
    "ringfort status --json --watch 5",
    "ringfort matches list",
    "ringfort matches create arena --game-option capacity=8",
    "ringfort matches create duel --private --idle-minutes 10",
    "ringfort matches show arena --code",
    "ringfort matches resume arena",
    "ringfort matches end arena",
    "ringfort sessions kick arena ada",
    "ringfort sessions kick arena 4294967296 --id",
    "ringfort dead-letters list --match arena",
    "ringfort dead-letters show 3",
    "ringfort zones list",
    "ringfort zones move arena --to 2",
    "ringfort sims scale 4",
    "ringfort frontends scale 4",
    "ringfort drain sim 1",
    "ringfort drain frontend 1",
    "ringfort upgrade --binary ./server",
    "ringfort token key --out tokens.key",
    "ringfort token issue --name ada --match arena --minutes 5 --key tokens.key",
    "ringfort new my-game",
    "ringfort config --defaults",
    "ringfort fsck",
    "ringfort save night.ringfort",
    "ringfort entities arena --where 'hp.hp < 20' --limit 10",
    "ringfort inspect arena 7.1",
    "ringfort history arena 7.1",
    "ringfort diff arena 1200 1210",
    "ringfort roots arena",
    "ringfort events arena --follow",
    "ringfort schema --json",
    "ringfort explain",
    "ringfort explain --from night.ringfort",
    "ringfort processes --json",
    "ringfort sessions list",
    "ringfort sessions show 4294967296",
    "ringfort rings",
    "ringfort locks",
    "ringfort arena",
    "ringfort counters",
    "ringfort top",
    "ringfort top --from night.ringfort",
    "ringfort set arena 7.1 hp.hp 100",
];

/// The whole grammar, with an example of each command.
pub fn grammar() -> Command {
    exemplified(Cli::command(), "ringfort")
}

fn exemplified(mut command: Command, way: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    for name in &names {
        command = command.mut_subcommand(name, |below| exemplified(below, &format!("{way} {name}")));
    }
    if !names.is_empty() || command.get_after_help().is_some() {
        return command;
    }
    let of_command = |line: &&&str| line.strip_prefix(way).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    let lines: Vec<String> = EXAMPLES.iter().filter(of_command).map(|line| format!("  {line}")).collect();
    if lines.is_empty() { command } else { command.after_help(format!("Examples:\n{}", lines.join("\n"))) }
}

/// Prints the script for a shell.
pub fn completions(args: &CompletionsArgs) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar(), "ringfort", &mut script);
    print(&String::from_utf8_lossy(&script));
}

/// Writes a page for the program and for each of its commands. Returns how many.
pub fn man(args: &ManArgs) -> Result<usize, ManError> {
    let failed = |source| ManError { directory: args.directory.clone(), source };
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    let mut program = grammar();
    program.build();
    pages(&program, "ringfort", &args.directory).map_err(failed)
}

/// A page for a command and for each below it: `ringfort-matches-create.1`.
fn pages(command: &Command, name: &str, directory: &Path) -> io::Result<usize> {
    let mut page = Vec::new();
    // A page's title is the whole way to its command.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    clap_mangen::Man::new(command.clone().name(title)).render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)?;
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    shown.map(|below| pages(below, &format!("{name}-{}", below.get_name()), directory)).sum::<io::Result<usize>>().map(|n| n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// All commands that do something, with the way to them.
    fn leaves(command: &Command, way: &str, found: &mut Vec<(String, Command)>) {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
            let way = format!("{way} {}", below.get_name());
            if below.has_subcommands() {
                leaves(below, &way, found);
            } else {
                found.push((way, below.clone()));
            }
        }
    }

    #[test]
    fn every_command_has_an_example_that_parses() {
        let mut found = Vec::new();
        leaves(&grammar(), "ringfort", &mut found);
        assert!(found.len() > 15, "they are found");
        for (way, command) in found {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help.lines().map(str::trim).filter(|line| line.starts_with("ringfort ")).collect();
            assert!(!examples.is_empty(), "`{way} --help` shows no example");
            for example in examples {
                assert!(example.starts_with(&way), "{example} is one of `{way}`");
                let words = shell_words(example);
                Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }

    /// As a shell takes a line apart, as far as examples need that: by spaces, except between single quotes.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().expect("never empty").push(c),
            }
        }
        words
    }

    #[test]
    fn each_command_has_a_page_and_each_shell_a_script() {
        let directory = tempfile::tempdir().unwrap();
        let written = man(&ManArgs { directory: directory.path().join("man1") }).unwrap();
        let files = std::fs::read_dir(directory.path().join("man1")).unwrap().count();
        assert!(written == files && files > 20, "{written} {files}");
        let page = std::fs::read_to_string(directory.path().join("man1/ringfort-matches-create.1")).unwrap();
        assert!(page.contains("Create a match") && page.contains(".TH"), "{page}");
        assert!(!directory.path().join("man1/ringfort-worker.1").exists(), "what nobody types has no page");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut grammar(), "ringfort", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("log-level"), "{shell}");
        }
    }
}
