//! Finding the binary: it lies beside the tests, in the same target folder.

use std::path::PathBuf;
use std::process::Command;

/// The `cowork` of this build.
///
/// # Panics
/// If it was not built. Cargo builds the binaries of a test's own package only.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().expect("a program lies in a folder");
    // Tests lie one below the binaries.
    let profile = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let found = profile.join("cowork");
    assert!(found.is_file(), "there is no {}; run `cargo build -p cowork` first", found.display());
    found
}

/// A call of it that knows nothing of the test's environment but where programs are.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test finds its server programs as a shell would")]
pub fn cowork(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}
