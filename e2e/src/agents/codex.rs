//! `codex-acp`. It asks by `POST /v1/responses`.

use super::Setting;
use crate::npm;

const PACKAGE: &str = include_str!("../../agent/codex/package.json");
/// Changes with the version in `package.json`.
const FOLDER: &str = "codex-acp-0.16.0";

pub(super) fn setting() -> Setting {
    let folder = npm::installed(FOLDER, PACKAGE);
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let program = folder.join(format!("node_modules/@zed-industries/codex-acp-linux-{machine}/bin/codex-acp"));
    let overrides = [
        "model=\"gpt-5\"",
        "model_provider=\"cowork\"",
        "model_providers.cowork.name=\"cowork\"",
        "model_providers.cowork.base_url=\"{base_url}/v1\"",
        "model_providers.cowork.wire_api=\"responses\"",
        "approval_policy=\"never\"",
        "sandbox_mode=\"danger-full-access\"",
    ];
    let args = overrides.iter().flat_map(|it| ["-c".to_owned(), (*it).to_owned()]).collect();
    Setting { folder, program, args, env: Vec::new() }
}
