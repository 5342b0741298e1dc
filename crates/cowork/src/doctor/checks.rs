//! What can be looked at without the database: secrets, objects, agents.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use config::Config;
use objects::{Objects, ObjectsError};
use uuid::Uuid;

use crate::failure::Failure;
use crate::process::Process;

/// Every secret has a value, and the adapter key is one.
pub(super) fn secrets(config: &Config, process: &Process) -> Result<String, Failure> {
    let configured = config.secret_references();
    let statuses = configured.statuses(&config.secret_reader(process.environment.clone()));
    let missing: Vec<String> = statuses
        .iter()
        .filter(|status| !status.resolved)
        .map(|status| format!("{} ({})", status.name, status.error.as_deref().unwrap_or("no value")))
        .collect();
    let provide = "Provide each of them where its reference says, or correct the reference.";
    if !missing.is_empty() {
        return Err(Failure::failed("Secrets have no value.", missing.join("; "), provide));
    }
    let resolved = configured.resolve_all(&config.secret_reader(process.environment.clone()));
    let resolved = resolved.map_err(|missing| Failure::failed("Secrets have no value.", missing, provide))?;
    resolved.kms(process.sources.clone()).map_err(|error| {
        let give = "Give secrets.adapter_key 32 bytes as base64 or hex, and each version once.";
        Failure::failed("The adapter key can't be used.", error, give)
    })?;
    Ok(format!("{} have a value", statuses.len()))
}

/// The folder is there, and what is written can be read and taken away again.
pub(super) async fn objects(config: &Config, process: &Process) -> Result<String, Failure> {
    let folder = &config.objects.folder;
    let advice = "Make the folder that objects.folder names and let the roles' account write there, or correct it.";
    if !folder.is_dir() {
        return Err(Failure::failed("The object store is not there.", "its folder does not exist", advice));
    }
    let tried = async {
        let objects = Objects::open_folder(folder)?;
        let key = format!("doctor/{}", process.sources.id::<Uuid>());
        let blob = objects.put(&key, "a doctor's probe".into()).await?;
        let read = objects.get_blob(&blob).await.map(drop);
        objects.delete(&key).await?;
        read
    };
    let tried: Result<(), ObjectsError> = tried.await;
    tried.map_err(|error| Failure::failed("The object store does not work.", error, advice))?;
    Ok("an object was written, read and taken away".into())
}

/// The programs of the agents that the configuration names are here. Whether they speak, and whether this kernel confines them, is
/// seen when they run.
pub(super) fn agents(config: &Config) -> Result<String, Failure> {
    let agents = &config.worker.agents;
    let missing = agents.iter().filter(|agent| !is_program(Path::new(&agent.command)));
    let missing: Vec<String> = missing.map(|agent| format!("{} ({})", agent.name, agent.command)).collect();
    if missing.is_empty() {
        return Ok(match agents.len() {
            0 => "none is configured besides scripted".into(),
            count => format!("the programs of {count} are here"),
        });
    }
    let advice = "Install them here, correct the command of each, or take them out of the configuration.";
    Err(Failure::failed("Agents have no program.", missing.join("; "), advice))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
