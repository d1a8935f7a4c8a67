//! The programs under test, built by the cargo that runs the tests: a clean tree needs no other step.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The server, `ringfort`.
pub fn server() -> PathBuf {
    built().join("ringfort")
}

/// The load generator, `ringfort-loadtest`.
pub fn loadtest() -> PathBuf {
    built().join("ringfort-loadtest")
}

/// The folder of the programs, which are of the same profile as this test and newer than their sources.
fn built() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // target/PROFILE/deps/NAME-HASH
    let folder = test.parent().and_then(|deps| deps.parent()).expect("cargo puts tests into PROFILE/deps").to_owned();
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "ringfort", "-p", "ringfort-loadtest", "-p", "ringfort-peers", "--profile", profile]);
    command.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells a test of its own package would make build scripts believe that their package has changed.
    let of_this_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_this_package(name)) {
        command.env_remove(name);
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "the programs under test do not build");
    folder
}
