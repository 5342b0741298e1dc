//! A survey: what a manifest would say of a database that is there, without a backup of it.
//!
//! For whoever has restored a backup that came without a manifest. A survey says what there is to be asked, and never
//! what should be there: compared with the database that it was made of, it agrees perfectly. So no row is digested.
//!
//! Not here: judging.

use std::path::PathBuf;
use std::sync::Arc;

use clock::{Sources, Timestamp};
use uuid::Uuid;

use crate::backup::{self, BackupError};
use crate::catalogue;
use crate::manifest::{Blobs, FORMAT, Manifest, SecretVersion, Snapshot, VERSION};
use crate::measure::{self, Depth};
use crate::progress::Quiet;
use crate::snapshot::{self, Held};
use crate::spec::BackupSpec;

/// What to survey, and where the answers of its probes go.
#[derive(Debug, Clone)]
pub struct SurveyRequest {
    pub database_url: String,
    pub spec: BackupSpec,
    pub build: String,
    pub secrets: Vec<SecretVersion>,
    /// A new or empty folder, for `blobs.jsonl` and `probes/`.
    pub folder: PathBuf,
    /// What the backup holds was committed by then.
    pub taken_at: Timestamp,
    pub sources: Sources,
}

/// Surveys a database. Its tables are listed; their rows and digests are left at nothing.
///
/// # Errors
/// If it is not one of ours, of another schema, or can't be read.
pub async fn survey(request: SurveyRequest) -> Result<Manifest, BackupError> {
    std::fs::create_dir_all(request.folder.join("probes")).map_err(BackupError::Write)?;
    let SurveyRequest { database_url, spec, .. } = &request;
    let started_at = request.sources.now();
    let mut held = Held::take(database_url).await.map_err(BackupError::Unreachable)?;
    let system = backup::system(&mut held.connection, spec, &request.build).await?;
    let source = snapshot::source(&mut held.connection, &request.folder.join("none"))
        .await
        .map_err(BackupError::during("telling about itself"))?;
    let catalogue =
        catalogue::lines(&mut held.connection).await.map_err(BackupError::during("its catalogue was read"))?;
    let key_versions = backup::key_versions(&mut held.connection, &spec.key_versions).await?;
    let watermarks = backup::watermarks(&mut held.connection, &spec.watermarks).await?;
    let blobs = backup::list_blobs(&mut held.connection, &spec.blobs, &request.folder).await?;
    let positions = backup::sequences(&mut held.connection).await?;
    let measured =
        measure::measure(&held, (database_url, spec), &system, &request.folder, Depth::Lists, Arc::new(Quiet)).await?;
    let wal_lsn = held.wal_lsn.clone();
    let held_ms = held.release().await.map_err(BackupError::during("letting the snapshot go"))?;
    let bytes = blobs.iter().map(|blob| blob.size).sum();
    Ok(Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        backup_id: request.sources.id(),
        archive_id: Uuid::nil(),
        system,
        source,
        snapshot: Snapshot {
            taken_at: request.taken_at,
            wal_lsn,
            held_ms,
            started_at: request.taken_at,
            finished_at: started_at,
        },
        secrets: request.secrets,
        key_versions,
        groups: request.spec.groups,
        tables: measured.tables,
        not_compared: measured.not_compared,
        sequences: backup::bounds(positions.clone(), positions),
        catalogue,
        watermarks,
        probes: measured.probes,
        blobs: Blobs { sql: request.spec.blobs, count: blobs.len() as u64, bytes, prefixes: backup::prefixes(&blobs) },
        files: backup::files(&request.folder).map_err(BackupError::Write)?,
    })
}
