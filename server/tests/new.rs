//! `ringfort new` makes a crate that builds and whose tests pass, without a network.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The target directory of the workspace: what the crate depends on is built there already.
fn target() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_ringfort")).parent().expect("a program lies in a directory");
    programs.parent().expect("of a target directory").to_owned()
}

#[test]
fn a_new_crate_builds_and_its_tests_pass() {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_ringfort")).args(["new", "my-game"]).current_dir(&directory).output().unwrap();
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(said.contains(&format!("my-game is made, with ringfort from {}", env!("CARGO_MANIFEST_DIR"))), "{said}");
    let root = directory.path().join("my-game");
    // The versions that this workspace is built with, so that nothing has to be downloaded.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    std::fs::copy(lock, root.join("Cargo.lock")).unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["test", "--offline"])
        .current_dir(&root)
        .env("CARGO_TARGET_DIR", target())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&cargo.stdout), String::from_utf8_lossy(&cargo.stderr));
    assert!(cargo.status.success() && out.contains("2 passed"), "{out}\n{err}");
    assert!(!err.contains("warning"), "an author begins without warnings: {err}");
}

#[test]
fn a_name_that_cargo_refuses_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_ringfort")).args(["new", "match"]).current_dir(&directory).output().unwrap();
    assert_eq!(made.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&made.stderr).contains("\"match\" can't name a crate"));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}
