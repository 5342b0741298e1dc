//! What an archive has after a backup, noted; the oldest backup that could be restored, and whether the recovery ledger remembers all
//! that happened since.
//!
//! Whoever backs up is told, and so is `cowork doctor`, before a restore has to say that it forgot something.
//!
//! Not here: dropping what the ledger keeps no longer (`scheduler`), how old the newest may be (`doctor`), copies of an archive: nobody
//! knows of them.

use std::path::Path;

use ::archive::Manifest;
use chrono::TimeDelta;
use ids::SystemId;
use ledger::Reach;
use objects::Objects;
use store::NotedBackup;

use super::{open, unusable};
use crate::failure::Failure;
use crate::installation::Installation;

/// How long the ledger of this configuration is kept.
pub(crate) fn retention(config: &config::Ledger) -> TimeDelta {
    TimeDelta::days(config.retention_days.into())
}

/// Writes down that the archive took the backup `taken`, and how old its oldest of that system is.
pub(crate) async fn note(installation: &Installation, folder: &Path, taken: &Manifest) -> Result<(), Failure> {
    let (archive, system) = (open(folder)?, taken.system.system_id);
    // One that can't be read can't be restored. The oldest come first, so the others need not be read.
    let readable = archive.backups().map_err(unusable)?.into_iter().filter_map(|id| archive.read(id).ok());
    let mut ours = readable.map(|backup| backup.manifest).filter(|manifest| manifest.system.system_id == system);
    let now = installation.store.sources().now();
    let oldest = ours.next().map_or(now, |manifest| manifest.snapshot.taken_at);
    let unused_since = Reach::of_retention(retention(&installation.config.ledger), now).kept_from();
    let newest = NotedBackup {
        backup_id: taken.backup_id,
        generation: taken.system.generation,
        taken_at: taken.snapshot.taken_at,
    };
    installation.store.archive_note(archive.id(), newest, oldest, unused_since).await?;
    Ok(())
}

/// What is to be said of the oldest backup that is known.
///
/// # Errors
/// An answer if a restore from it would forget something; else that nobody could look.
pub(crate) async fn covered(installation: &Installation, system: SystemId) -> Result<String, Failure> {
    let Some(oldest) = installation.store.archive_oldest_backup().await? else {
        return Ok("no archive is known that took one".to_owned());
    };
    let days = installation.config.ledger.retention_days;
    let reach = reach(installation, system).await?;
    if reach.covers(oldest.taken_at) {
        return Ok(format!("the recovery ledger remembers everything since the oldest, of {}", oldest.taken_at));
    }
    Err(Failure::failed(
        "A restore from the oldest backup would forget what happened since.",
        format!(
            "archive {} has one of {}, and the recovery ledger is sure to tell everything from {} on",
            oldest.archive_id,
            oldest.taken_at,
            reach.kept_from()
        ),
        format!(
            "Take backups that are older away, or set ledger.retention_days, which is {days}, to more than the age of the \
             oldest you keep. What was dropped already does not come back; the next backup into that archive looks again."
        ),
    ))
}

async fn reach(installation: &Installation, system: SystemId) -> Result<Reach, Failure> {
    let config = &installation.config.ledger;
    let reach = Reach::of_retention(retention(config), installation.store.sources().now());
    // Opening it would make it.
    if !config.folder.is_dir() {
        return Ok(reach);
    }
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
        let advice = "Set ledger.folder to this system's ledger and let this account read there.";
        Failure::could_not("The recovery ledger can't be read.", error, advice)
    };
    let objects = Objects::open_folder(&config.folder).map_err(|error| unreadable(error.into()))?;
    reach.of_ledger(&objects, system).await.map_err(|error| unreadable(error.into()))
}
