//! Where a backup comes from and how it is restored: the ground that it needs is made ready, then it is put there.
//!
//! Whatever the kind, three things come out: a target with its database and its objects, the [`Backup`] that the checks
//! compare with, and what the tools said. A tool that says that the backup is broken is a verdict about the backup
//! ([`Refusal`]); one that could not run is none.
//!
//! Not here: judging what came back (`checks`), who made the backup (`rehearsal`).

mod archive;

use localpg::Cluster;

pub(crate) use self::archive::OurArchive;
use crate::backup::Backup;
use crate::rehearsal::{Aftermath, Means, start_target_cluster};
use crate::report::Code;
use crate::settings::Settings;
use crate::target::Target;

/// Where the backup is.
#[derive(Debug)]
pub(crate) enum Origin {
    /// Made by `cowork backup`.
    Archive(OurArchive),
}

/// What a backup is restored onto.
#[derive(Debug)]
pub(crate) enum Ground {
    /// A private cluster with an empty database.
    Empty(Cluster),
}

/// A backup that was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) target: Target,
    pub(crate) backup: Backup,
    /// What the tools that restored it printed.
    pub(crate) output: String,
}

/// The backup is broken, say the tools that restore it.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Of the finding.
    pub(crate) code: Code,
    pub(crate) cause: String,
    pub(crate) output: String,
}

/// The name of the target's database.
const DATABASE: &str = "cowork";

impl Origin {
    /// Makes ready what the backup is restored onto. Gives back the sentence that proves it.
    pub(crate) async fn prepare(&self, means: &Means<'_>, keep: bool) -> anyhow::Result<(Ground, &'static str)> {
        match self {
            Self::Archive(_) => {
                let cluster = start_target_cluster(means, keep).await?;
                cluster.create_database(DATABASE)?;
                Ok((Ground::Empty(cluster), "the target's database and object folder are empty"))
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
        }
    }
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
