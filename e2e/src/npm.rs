//! Packages of npm that stories need: installed once, below the target folder.
//!
//! A machine without npm or a registry fails the story: whether what it tells of works is not known then.
//!
//! Not here: running what was installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::binary;

/// The folder with the packages that `package` (a `package.json`) asks for. `name` changes with their versions, so that older ones are
/// not taken for them. Of tests that install them at once one is heard.
///
/// # Panics
/// If they can't be had.
pub(crate) fn installed(name: &str, package: &str) -> PathBuf {
    let target = binary().parent().and_then(Path::parent).expect("the binary lies in a profile's folder").to_owned();
    let folder = target.join(name);
    if folder.is_dir() {
        return folder;
    }
    let draft = target.join(format!("{name}.{}", std::process::id()));
    std::fs::create_dir_all(&draft).expect("a folder can be made");
    std::fs::write(draft.join("package.json"), package).expect("a file can be written");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(&draft);
    let done = npm.output().expect("npm is installed; `scripts/install test` does it");
    assert!(done.status.success(), "{name} can't be installed: {}", String::from_utf8_lossy(&done.stderr));
    if std::fs::rename(&draft, &folder).is_err() {
        std::fs::remove_dir_all(&draft).expect("a folder can be removed");
    }
    assert!(folder.is_dir(), "the target folder takes the package");
    folder
}
