//! OpenCode. It asks by `POST /v1/chat/completions`, and talks to itself over a port.

use serde_json::json;

use super::Setting;
use crate::npm;

/// The programs themselves: the package `opencode-ai` only finds them.
const PACKAGE: &str = include_str!("../../agent/opencode/package.json");
/// Changes with the version in `package.json`.
const FOLDER: &str = "opencode-1.18.33";

pub(super) fn setting() -> Setting {
    let folder = npm::installed(FOLDER, PACKAGE);
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64-baseline" };
    let program = folder.join(format!("node_modules/opencode-linux-{machine}/bin/opencode"));
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "options": { "baseURL": "{base_url}/v1", "apiKey": "none" },
        "models": { "stand-in": {} },
    });
    let config = json!({
        "provider": { "cowork": provider },
        "model": "cowork/stand-in",
        "small_model": "cowork/stand-in",
        "autoupdate": false,
        "share": "disabled",
    });
    let env = vec![("OPENCODE_CONFIG_CONTENT", config.to_string()), ("OPENCODE_DISABLE_MODELS_FETCH", "1".to_owned())];
    Setting { folder, program, args: ["acp", "--port", "{port}"].map(str::to_owned).to_vec(), env }
}
