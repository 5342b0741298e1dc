//! Schemathesis, a program that makes requests from the description of an API and holds the answers to it: the PyPI package, run
//! by python beside the test.
//!
//! The package is installed once, below the target folder. A machine without python3, its venv or a registry fails the story:
//! whether the API is what it says is not known then.
//!
//! Not here: what it is told to leave out, with the reasons (`schemathesis/schemathesis.toml`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::binary;
use crate::told::{Told, told};

const VERSION: &str = "4.32.5";
const CONFIG: &str = include_str!("../schemathesis/schemathesis.toml");
const HOOKS: &str = include_str!("../schemathesis/hooks.py");

/// Holds the API at `url` to its description, as somebody with `token`. `ids` are things that are there, by the names that paths
/// have for them; half of the random requests are about them. What it notes goes to `folder`.
///
/// # Panics
/// If it can't be had.
#[must_use]
pub fn hold_to_its_description(url: &str, token: &str, ids: &[(&str, String)], folder: &Path) -> Told {
    let (config, hooks) = (folder.join("schemathesis.toml"), folder.join("hooks.py"));
    std::fs::write(&hooks, HOOKS).expect("a file can be written");
    let text = format!("hooks = {:?}\n{CONFIG}{}", hooks.display().to_string(), known(ids));
    std::fs::write(&config, text).expect("a file can be written");
    let mut command = Command::new(installed().join("bin/schemathesis"));
    command.arg("--no-color").arg("--config-file").arg(&config).arg("run").arg(format!("{url}/api/openapi.json"));
    command.args(["--header", &format!("Authorization: Bearer {token}"), "--phases", "examples,coverage,fuzzing"]);
    command.current_dir(folder);
    told(command)
}

fn known(ids: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, id) in ids {
        let _ = write!(text, "\n[dictionaries.{name}]\nvalues = [{id:?}]\n");
    }
    text.push_str("\n[parameters]\n");
    for (name, _) in ids {
        let _ = writeln!(text, "\"path.{name}\" = {{ dictionary = {name:?}, probability = 0.5 }}");
    }
    text
}

/// The folder with the package in it.
fn installed() -> PathBuf {
    let target = binary().parent().and_then(Path::parent).expect("the binary lies in a profile's folder").to_owned();
    let folder = target.join(format!("schemathesis-{VERSION}"));
    let ready = folder.join("ready");
    if !ready.exists() {
        ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder), "python3-venv");
        let package = format!("schemathesis=={VERSION}");
        ran(Command::new(folder.join("bin/pip")).args(["install", "--quiet", &package]), "a Python package index");
        std::fs::write(ready, "").expect("a file can be written");
    }
    folder
}

#[track_caller]
fn ran(command: &mut Command, needs: &str) {
    let done = command.output().expect("python3 is installed; `scripts/install test` does it");
    assert!(done.status.success(), "this needs {needs}: {}", String::from_utf8_lossy(&done.stderr));
}
