//! `cowork keys`: which versions of the adapter key are needed, making another one the current one, and doing without an
//! older one.
//!
//! The adapter key is a secret that the configuration names. So a rotation is the operator's: this program says what is missing
//! for the next step, and refuses one that would leave a running role with something that it can't open. It never sees to
//! the configuration of other machines, and no command here makes, prints or stores a key.
//!
//! Works on the installation and not through its API, while the roles run or when none does.
//!
//! Not here: wrapping (`secrets`), what is written (`store::data_key`, `store::key_rotation`), opening everything
//! (`admin verify`).

mod inventory;
mod rewrap;
mod rotate;

use std::process::ExitCode;

use chrono::TimeDelta;
use clap::Subcommand;
use secrets::{Kms as _, LocalKms};
use store::InstanceKeys;

use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

pub(crate) use self::inventory::Inventory;

const ACTOR: &str = "role:admin";
/// A process beats every 5 s.
const ALIVE_WITHIN: TimeDelta = TimeDelta::seconds(15);

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Count what is sealed under which version of the adapter key
    Inventory(inventory::Args),
    /// Make the version that the configuration names as current the system's current one
    Rotate(rotate::Rotate),
    /// Wrap every data key that is under an older version anew, while the system runs; may be repeated
    Rewrap(rewrap::Rewrap),
}

impl Keys {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Inventory(inventory) => inventory.json,
            Self::Rotate(rotate) => rotate.json,
            Self::Rewrap(rewrap) => rewrap.json,
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        match self {
            Self::Inventory(inventory) => inventory.run(process).await,
            Self::Rotate(rotate) => rotate.run(process).await,
            Self::Rewrap(rewrap) => rewrap.run(process).await,
        }
    }
}

/// The KMS that the adapter key makes, whatever becomes of the other secrets.
fn kms(installation: &Installation) -> Result<LocalKms, Failure> {
    let kms = installation.kms_alone().map_err(|error| {
        let give = "Give secrets.adapter_key 32 bytes as base64 or hex, and each version once.";
        Failure::could_not("The adapter key can't be used.", error, give)
    })?;
    kms.ok_or_else(|| {
        Failure::could_not(
            "The adapter key has no value.",
            "a version that the configuration names can't be resolved",
            "Provide it where its reference says; `cowork admin verify` names each.",
        )
    })
}

/// Processes of this generation that are alive.
async fn living(installation: &Installation) -> Result<Vec<InstanceKeys>, Failure> {
    let generation = installation.generation_to_serve().await?.generation;
    let since = installation.store.sources().now() - ALIVE_WITHIN;
    Ok(installation.store.instance_keys(generation, since).await?)
}

/// Refuses if a living process could not open what is sealed under the configured version.
async fn everybody_opens(installation: &Installation, kms: &LocalKms) -> Result<(), Failure> {
    let version = kms.current_version();
    let living = living(installation).await?;
    let opens = |process: &&InstanceKeys| process.key_versions.iter().flatten().any(|known| known == version);
    let without: Vec<String> = living.iter().filter(|process| !opens(process)).map(named).collect();
    if without.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(
        format!("Running roles could not open what is under version {version}."),
        without.join(", "),
        format!("Name version {version} in their configuration, under `previous` at first, and start them again."),
    ))
}

fn named(process: &InstanceKeys) -> String {
    let known = process.key_versions.as_ref().map_or_else(|| "of an older release".to_owned(), |all| all.join(", "));
    format!("{} ({known})", process.roles.join("+"))
}
