//! Making a version current, as far as a program can: writing down that it is, when everybody who runs agrees.

use std::process::ExitCode;

use clap::Args;
use ledger::Label;
use secrets::Kms as _;
use serde_json::json;
use store::InstanceKeys;

use super::{ACTOR, everybody_opens, inventory::Inventory, kms, living, named};
use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

/// What only the operator can do before this has something to write down.
const STEPS: &str = "Put 32 random bytes, as base64, where a new reference names them. Name them with a new version \
    under secrets.adapter_key.previous for every role and start each again; then name the new version as \
    secrets.adapter_key and the older one under `previous`, start each again, and repeat this command.";

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Rotate {
    pub(super) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let rotated = rotate(&installation).await;
        installation.close().await;
        let version = rotated?;
        if self.json {
            println!("{}", json!({"rotated_to": version}));
        } else {
            println!("Version {version} is the current one. `cowork keys rewrap` does without the older ones.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn rotate(installation: &Installation) -> Result<String, Failure> {
    let kms = kms(installation)?;
    let version = kms.current_version();
    if Label::new(version).is_none() {
        let detail = format!("{version:?} is not 1 to {} visible ASCII characters", Label::MAX);
        return Err(Failure::could_not("The version can't be made current.", detail, "Name it otherwise."));
    }
    let inventory = Inventory::of(installation).await?;
    if !inventory.missing().is_empty() {
        return Err(Failure::failed(
            "Something is sealed under a version that is not configured.",
            inventory.missing().join(", "),
            "Name it under secrets.adapter_key.previous first.",
        ));
    }
    // Before the first rotation nothing is written down, and what everything is sealed under is the current one.
    let nothing_new = inventory.rotated_to.is_none() && inventory.configured.len() == 1 && inventory.older().is_empty();
    if nothing_new || inventory.rotated_to.as_deref() == Some(version) {
        let detail =
            format!("version {version} is the current one already, and the only one that is configured as such");
        return Err(Failure::failed("There is nothing to rotate to.", detail, STEPS));
    }
    everybody_opens(installation, &kms).await?;
    everybody_seals(installation, version).await?;
    installation.store.key_rotate(version, ACTOR).await?;
    Ok(version.to_owned())
}

/// Refuses if a living process still seals under another version.
async fn everybody_seals(installation: &Installation, version: &str) -> Result<(), Failure> {
    let living = living(installation).await?;
    let seals = |process: &&InstanceKeys| {
        process.key_versions.as_ref().and_then(|all| all.first()).is_some_and(|first| first == version)
    };
    let others: Vec<String> = living.iter().filter(|process| !seals(process)).map(named).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(
        "Running roles seal under another version.",
        others.join(", "),
        format!("Name version {version} as current in their configuration and start them again."),
    ))
}
