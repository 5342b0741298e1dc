//! A real OpenID Connect provider: the npm package `oidc-provider`, run by node beside the test.
//!
//! A machine without node, npm or a registry fails the story: whether people can sign in is not known then.
//!
//! Not here: the provider itself (`provider/provider.mjs`), who visits its pages (`visitor`).

use std::path::Path;
use std::process::Command;

use crate::npm;
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
        node.args([client_id, client_secret, redirect_url]).current_dir(npm::installed(FOLDER, PACKAGE));
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
