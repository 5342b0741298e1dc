//! A real OpenID Connect provider: the npm package `oidc-provider`, run by node beside the test.
//!
//! The package is installed once, below the target folder. A machine without node, npm or a registry fails the story: whether
//! people can sign in is not known then.
//!
//! Not here: the provider itself (`provider/provider.mjs`), who visits its pages (`visitor`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::binary;
use crate::running::Running;
use crate::wait::wait_for;

const PACKAGE: &str = include_str!("../provider/package.json");
const SCRIPT: &str = include_str!("../provider/provider.mjs");
/// Changes with the version in `package.json`, so that an older one is not taken for it.
const FOLDER: &str = "oidc-provider-8.8.1";

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Provider {
    _running: Running,
    issuer: String,
}

impl Provider {
    /// Starts one that knows one client. What it says goes to `folder`.
    ///
    /// # Panics
    /// If it can't be had, or does not start.
    #[must_use]
    pub fn start(folder: &Path, client_id: &str, client_secret: &str, redirect_url: &str) -> Self {
        let ready = folder.join("issuer");
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", SCRIPT, "--"]).arg(&ready);
        node.args([client_id, client_secret, redirect_url]).current_dir(installed());
        let mut running = Running::start(node, folder, "provider");
        let issuer = wait_for("the provider comes up", || {
            let ended = running.ended();
            assert!(ended.is_none(), "the provider ended with {ended:?}:\n{}", running.said());
            std::fs::read_to_string(&ready).ok()
        });
        Self { _running: running, issuer }
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// The folder with the package in it. Of tests that install it at once one is heard.
fn installed() -> PathBuf {
    let target = binary().parent().and_then(Path::parent).expect("the binary lies in a profile's folder").to_owned();
    let folder = target.join(FOLDER);
    if folder.is_dir() {
        return folder;
    }
    let draft = target.join(format!("{FOLDER}.{}", std::process::id()));
    std::fs::create_dir_all(&draft).expect("a folder can be made");
    std::fs::write(draft.join("package.json"), PACKAGE).expect("a file can be written");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(&draft);
    let done = npm.output().expect("npm is installed; `scripts/install test` does it");
    assert!(done.status.success(), "oidc-provider can't be installed: {}", String::from_utf8_lossy(&done.stderr));
    if std::fs::rename(&draft, &folder).is_err() {
        std::fs::remove_dir_all(&draft).expect("a folder can be removed");
    }
    assert!(folder.is_dir(), "the target folder takes the package");
    folder
}
