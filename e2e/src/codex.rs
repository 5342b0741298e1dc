//! A real agent: the npm package `codex-acp`, which speaks ACP and asks a model of the OpenAI kind.
//!
//! Of those that were measured it starts fastest and takes the least memory; OpenCode's package is larger and its process five times
//! as large.
//!
//! Not here: the model that it asks (`model`).

use std::path::PathBuf;

use crate::npm;

const PACKAGE: &str = include_str!("../agent/package.json");
/// Changes with the version in `package.json`.
const FOLDER: &str = "codex-acp-0.16.0";

/// The agent called `codex`, as an operator configures it, and its model in the provider's place.
///
/// # Panics
/// If it can't be had.
#[must_use]
pub fn codex(model: &str) -> String {
    let (folder, program) = program();
    let value = |text: &str| format!("{text:?}");
    let overrides = [
        "model=\"gpt-5\"",
        "model_provider=\"cowork\"",
        "model_providers.cowork.name=\"cowork\"",
        "model_providers.cowork.base_url=\"{base_url}/v1\"",
        "model_providers.cowork.wire_api=\"responses\"",
        "approval_policy=\"never\"",
        "sandbox_mode=\"danger-full-access\"",
    ];
    let args: Vec<String> = overrides.iter().flat_map(|it| [value("-c"), value(it)]).collect();
    format!(
        "[worker.model_addresses]\nopenai = {model:?}\n\n[[worker.agents]]\nname = \"codex\"\ncommand = {program:?}\n\
         args = [{}]\nprovider = \"openai\"\nreadable = [{folder:?}]\n",
        args.join(", ")
    )
}

/// The package's folder, and its program for this machine.
fn program() -> (PathBuf, PathBuf) {
    let folder = npm::installed(FOLDER, PACKAGE);
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let program = folder.join(format!("node_modules/@zed-industries/codex-acp-linux-{machine}/bin/codex-acp"));
    assert!(program.is_file(), "the package has a program for this machine");
    (folder, program)
}
