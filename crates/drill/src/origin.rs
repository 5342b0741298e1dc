//! Where a backup comes from and how it is restored: the ground that it needs is made ready, then it is put there.
//!
//! Whatever the kind, three things come out: a target with its database and its objects, what the checks compare with
//! ([`Expected`]), and what the tools said. A tool that says that the backup is broken is a verdict about the backup
//! ([`Refusal`]); one that could not run is none.
//!
//! Not here: judging what came back (`checks`), who made the backup (`rehearsal`, or the operator of a plan).

mod archive;
mod base_backup;
mod dump;
mod pages;
mod pgbackrest;
mod physical;
mod provided;
pub(crate) mod tool;

use clock::Timestamp;
use ids::BackupId;
use localpg::Cluster;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

pub(crate) use self::archive::OurArchive;
use crate::backup::Backup;
use crate::plan::{BaseBackupSource, DumpSource, PgBackRestSource, ProvidedSource};
use crate::rehearsal::{Aftermath, Means, start_target_cluster};
use crate::report::Code;
use crate::said::Sentence;
use crate::settings::Settings;
use crate::target::Target;

/// Where the backup is.
#[derive(Debug)]
pub(crate) enum Origin {
    /// Made by `cowork backup`.
    Archive(OurArchive),
    Dump(DumpSource),
    BaseBackup(BaseBackupSource),
    PgBackRest(PgBackRestSource),
    /// Restored by others, at this URL.
    Provided(ProvidedSource, String),
}

/// What a backup is restored onto.
#[derive(Debug)]
pub(crate) enum Ground {
    /// A private cluster with an empty database.
    Empty(Cluster),
    /// Nothing yet: the backup is a cluster.
    Nothing,
}

/// A backup that was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) target: Target,
    pub(crate) expected: Expected,
    /// What the tools that restored it printed.
    pub(crate) output: String,
}

/// What the checks can compare with.
#[derive(Debug)]
pub(crate) enum Expected {
    /// What the backup says of itself.
    Manifest(Box<Backup>),
    /// Nothing: what came back has to be surveyed.
    Surveyed {
        backup_id: BackupId,
        /// What the backup holds was committed by then.
        taken_at: Timestamp,
        /// What its own tools found wrong with it.
        damage: Option<Sentence>,
        /// What could not be looked at in it.
        doubt: Option<&'static str>,
    },
}

/// The backup is broken, say the tools that restore it.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Of the finding.
    pub(crate) code: Code,
    pub(crate) cause: Sentence,
    pub(crate) output: String,
}

/// The name of the target's database.
const DATABASE: &str = "cowork";

impl Origin {
    /// Makes ready what the backup is restored onto. Gives back the sentence that proves it. Writes nothing into a
    /// database that is not the drill's own.
    pub(crate) async fn prepare(&self, means: &Means<'_>, keep: bool) -> anyhow::Result<(Ground, &'static str)> {
        match self {
            Self::Archive(_) | Self::Dump(_) => {
                let cluster = start_target_cluster(means, keep).await?;
                cluster.create_database(DATABASE)?;
                Ok((Ground::Empty(cluster), "the target's database and object folder are empty"))
            }
            Self::BaseBackup(_) | Self::PgBackRest(_) => {
                Ok((Ground::Nothing, "the target's folder is empty; its server will listen on a private socket only"))
            }
            Self::Provided(source, url) => {
                provided::prove(source, url).await?;
                Ok((Ground::Nothing, "the provided database is marked as this drill's target, and nobody else uses it"))
            }
        }
    }

    /// Restores onto `ground`.
    pub(crate) async fn restore(
        &self,
        ground: Ground,
        means: &Means<'_>,
        aftermath: &Aftermath,
    ) -> anyhow::Result<Result<Restored, Refusal>> {
        match (self, ground) {
            (Self::Archive(archive), Ground::Empty(cluster)) => archive.restore(cluster, means, aftermath).await,
            (Self::Dump(source), Ground::Empty(cluster)) => dump::restore(source, cluster, means, aftermath).await,
            (Self::BaseBackup(source), _) => base_backup::restore(source, means, aftermath).await,
            (Self::PgBackRest(source), _) => pgbackrest::restore(source, means, aftermath).await,
            (Self::Provided(source, url), _) => provided::restore(source, url.clone(), means, aftermath).await,
            (Self::Archive(_) | Self::Dump(_), Ground::Nothing) => anyhow::bail!("the target has no cluster"),
        }
    }
}

/// Marks the database as one that no role may serve until its generation is begun, as `cowork restore` does; and with the
/// instant that it is as of, from which a recovery ledger is read.
async fn forbid_roles(url: &str, backup: BackupId, as_of: Timestamp) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let set = |name: &str, value: String| {
        format!("EXECUTE format('ALTER DATABASE %I SET {name} = %L', current_database(), '{value}');")
    };
    let pending = set("cowork.generation_pending", backup.to_string());
    let as_of = set("cowork.restored_as_of", as_of.to_rfc3339());
    let sql = format!("DO $$ BEGIN {pending} {as_of} END $$");
    connection.execute(AssertSqlSafe(sql)).await?;
    Ok(connection.close().await?)
}

/// A freshly loaded database knows nothing of its own sizes, and would plan badly until it notices.
async fn settle(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("ANALYZE").await?;
    Ok(connection.close().await?)
}

/// The target's folder around the database at `database_url`.
fn settings(means: &Means<'_>, aftermath: &Aftermath, database_url: String) -> anyhow::Result<Settings> {
    Ok(Settings {
        folder: means.work.folder("target")?,
        database_url,
        workspaces: aftermath.workspaces.clone(),
        redirect_to: Some(aftermath.sink.url("accept", "redirected")),
        lease: means.pace.lease,
        work_folder: means.work.path().to_owned(),
        search_path: means.search_path.to_owned(),
    })
}
