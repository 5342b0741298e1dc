//! `cowork restore`: a backup, given back to an empty database and an empty object folder; then the replay of what the recovery
//! ledger remembers, and a new generation, so that every lease and claim of the lost system is void.
//!
//! Without the new generation no role may start. `--no-start-generation` leaves that to `cowork admin generation start`,
//! for those who look at the restored rows first.
//!
//! Not here: how (crate `archive`), and the replay (`replay`); whether what came back is right (`cowork drill`).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use archive::{Backup, RestoreDone, RestoreError, RestoreRequest};
use clap::{Args, ValueEnum};
use recovery::Begun;
use serde_json::json;

use crate::archive::progress::Reporter;
use crate::archive::{not_whole, open, sentence, tools, unless_interrupted, unusable};
use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::replay::{LedgerArgs, Wanted, tell};

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    config: ConfigArgs,
    /// The archive's folder
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    /// Which backup: an id, or `latest`
    #[arg(long, value_name = "ID")]
    backup: String,
    /// What the restored system is; a drill's gateway reaches nobody but the recorder that its configuration names
    #[arg(long, value_enum)]
    environment: Environment,
    /// Leave the new generation to `cowork admin generation start`
    #[arg(long)]
    no_start_generation: bool,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether the outside world may be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Environment {
    Production,
    Drill,
}

impl From<Environment> for store::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self::Production,
            Environment::Drill => Self::Drill,
        }
    }
}

impl Restore {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let config = self.config.load(&process)?;
        // Before a private cluster is made for it.
        let archive = open(&process.working_directory.join(&self.archive))?;
        let backup = archive.resolve(&self.backup).and_then(|id| archive.read(id)).map_err(unusable)?;
        let installation = Installation::open(config, &process).await?;
        let done = self.restore(&installation, &backup, &process).await;
        installation.close().await;
        let (done, begun) = done?;
        self.tell(&backup, &done, begun.as_ref());
        Ok(ExitCode::SUCCESS)
    }

    async fn restore(
        &self,
        installation: &Installation,
        backup: &Backup,
        process: &Process,
    ) -> Result<(RestoreDone, Option<Begun>), Failure> {
        let wanted = Wanted { environment: self.environment, backup: backup.id(), ledger: &self.ledger };
        if !self.no_start_generation {
            // Before hours of copying, not after them.
            wanted.check(&installation.config, process, backup.manifest.system.system_id).await?;
        }
        let request = RestoreRequest {
            backup: backup.clone(),
            database_url: installation.database.url().to_owned(),
            objects: installation.config.objects.folder.clone(),
            tools: tools(process),
        };
        let done = unless_interrupted("restore", archive::restore(request, Reporter::new())).await?.map_err(failed)?;
        if self.no_start_generation {
            return Ok((done, None));
        }
        let begun = unless_interrupted("replay", wanted.begin(installation, process)).await??;
        // The grants are back; whoever restored may not be a member of the role yet.
        installation.store.wall_raise().await.map_err(|error| {
            let advice = "Run `cowork admin migrate` before roles are started.";
            Failure::could_not("The system is restored, and the wall between tenants was not raised.", error, advice)
        })?;
        Ok((done, Some(begun)))
    }

    fn tell(&self, backup: &Backup, done: &RestoreDone, begun: Option<&Begun>) {
        let manifest = &backup.manifest;
        if !self.json {
            let life = begun.map_or_else(
                || "No role may start before `cowork admin generation start`.".to_owned(),
                |begun| format!("It is in {}", tell(begun)),
            );
            return println!("Backup {} is restored. {life}", manifest.backup_id);
        }
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let answer = json!({
            "backup_id": manifest.backup_id,
            "taken_at": manifest.snapshot.taken_at,
            "backup_generation": manifest.system.generation,
            "generation": begun.map(|begun| begun.generation.generation),
            "environment": begun.map(|begun| begun.generation.environment.as_str()),
            "replay": begun.map(|begun| &begun.report),
            "tables": manifest.tables.len(),
            "rows": manifest.rows(),
            "blobs": done.blobs,
            "blob_bytes": done.blob_bytes,
            "verify_ms": ms(done.verify),
            "database_ms": ms(done.database),
            "objects_ms": ms(done.objects),
            "duration_ms": ms(done.total),
        });
        println!("{answer}");
    }
}

fn failed(error: RestoreError) -> Failure {
    match error {
        RestoreError::Backup(error) => not_whole(error),
        error => {
            let advice = sentence(error.advice());
            Failure::could_not("The backup was not restored.", error, advice)
        }
    }
}
