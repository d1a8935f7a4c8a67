//! `ringfort new NAME`: a crate with a small game, a test of it and a configuration, that builds and runs as it is.
//!
//! The game is the one of the README (`examples/dots.rs`), so what an author begins with is what is compiled and tested here.

use std::io;
use std::path::{Path, PathBuf};

use crate::limits::NEW_NAME_BYTES_MAX;

/// The source of this package when it was built.
const SOURCE: &str = env!("CARGO_MANIFEST_DIR");
const GAME: &str = include_str!("../../examples/dots.rs");
const GAME_TESTS: &str = include_str!("tests.rs.txt");
const CONFIGURATION: &str = include_str!("ringfort.toml.txt");
const README: &str = include_str!("readme.md.txt");
/// Names that Cargo refuses for a program, or that would hide a crate that the game needs.
const TAKEN: [&str; 9] = ["ringfort", "test", "std", "core", "alloc", "proc_macro", "build", "deps", "examples"];
/// Words that cannot name a crate (The Rust Reference, "Keywords").
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut",
    "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "union",
];

/// Why there is no new crate. What was begun stays, so that nothing is removed that was not there before.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name breaks a rule.
    #[error(
        "\"{0}\" can't name a crate: begin with one of a-z, go on with a-z, 0-9, '-' and '_', {NEW_NAME_BYTES_MAX} characters at most, \
         and use no word of the language"
    )]
    Name(String),
    /// There is something of that name.
    #[error("{} is there already; choose another name, or another directory", .0.display())]
    Exists(PathBuf),
    /// `--path` names no source tree of Ringfort.
    #[error("{} is no source tree of Ringfort: name the directory of its repository", .0.display())]
    NoSource(PathBuf),
    /// The system refused.
    #[error("{} cannot be written: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the crate `name` in `directory`; `source` is Ringfort's source tree, if not the one that this program was built from. Returns
/// what to tell.
pub fn create(directory: &Path, name: &str, source: Option<&Path>) -> Result<String, NewError> {
    if !is_crate_name(name) {
        return Err(NewError::Name(name.to_owned()));
    }
    let source = match source {
        Some(given) => Some(source_in(given).ok_or_else(|| NewError::NoSource(given.to_owned()))?),
        None => source_in(Path::new(SOURCE)),
    };
    let root = directory.join(name);
    if root.symlink_metadata().is_ok() {
        return Err(NewError::Exists(root));
    }
    let make = |path: &Path| std::fs::create_dir_all(path).map_err(|source| NewError::Io { path: path.to_owned(), source });
    make(&root.join("src"))?;
    let write = |file: &str, text: &str| {
        let path = root.join(file);
        std::fs::write(&path, text).map_err(|source| NewError::Io { path, source })
    };
    write("Cargo.toml", &manifest(name, source.as_deref()))?;
    write("src/main.rs", &format!("{GAME}\n{GAME_TESTS}"))?;
    write("ringfort.toml", CONFIGURATION)?;
    write("README.md", &README.replace("{name}", name))?;
    write(".gitignore", "/target\n")?;
    let from = match &source {
        Some(source) => format!("with ringfort from {}", source.display()),
        None => format!("with ringfort {} from the registry", env!("CARGO_PKG_VERSION")),
    };
    Ok(format!(
        "{} is made, {from}\ntest it: cd {name} && cargo test\nrun it:  cd {name} && cargo run --release -- up\n",
        root.display()
    ))
}

fn is_crate_name(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let word = name.replace('-', "_");
    let taken = TAKEN.contains(&word.as_str()) || KEYWORDS.contains(&word.as_str());
    begins && name.len() <= NEW_NAME_BYTES_MAX && name.bytes().all(allowed) && !taken
}

/// This package's directory in a source tree: the tree itself, or its `server`.
fn source_in(tree: &Path) -> Option<PathBuf> {
    let is_ours = |directory: &PathBuf| {
        std::fs::read_to_string(directory.join("Cargo.toml")).is_ok_and(|text| text.contains("name = \"ringfort\"\n"))
    };
    [tree.to_owned(), tree.join("server")].into_iter().find(is_ours).and_then(|directory| directory.canonicalize().ok())
}

fn manifest(name: &str, source: Option<&Path>) -> String {
    let ringfort = match source {
        // As a TOML string, whatever the path has in it.
        Some(path) => format!("{{ path = {} }}", toml::Value::String(path.display().to_string())),
        None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
    };
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\nringfort = {ringfort}\n\n\
         # A workspace of its own, wherever it lies.\n[workspace]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_takes() {
        for name in ["a", "my-game", "game_2", "tag"] {
            assert!(is_crate_name(name), "{name}");
        }
        let long = "a".repeat(NEW_NAME_BYTES_MAX + 1);
        for name in ["", "2game", "-game", "Game", "my game", "../game", "match", "test", "ringfort", "jeu-été", long.as_str()]
        {
            assert!(!is_crate_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("game")).unwrap();
        let refused = create(directory.path(), "game", None).unwrap_err().to_string();
        assert!(refused.contains("is there already"), "{refused}");
        assert_eq!(std::fs::read_dir(directory.path().join("game")).unwrap().count(), 0);
        let refused = create(directory.path(), "other", Some(directory.path())).unwrap_err().to_string();
        assert!(refused.contains("no source tree of Ringfort"), "{refused}");
        assert!(!directory.path().join("other").exists());
    }

    #[test]
    fn without_a_source_tree_the_version_is_named() {
        let text = manifest("game", None);
        assert!(text.contains(&format!("ringfort = \"{}\"", env!("CARGO_PKG_VERSION"))), "{text}");
        let text = manifest("game", Some(Path::new("/a \"b\"/c")));
        let parsed: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(parsed["dependencies"]["ringfort"]["path"].as_str(), Some("/a \"b\"/c"));
    }
}
