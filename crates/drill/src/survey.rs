//! Of a backup without a manifest: what came back is surveyed, so that there is something to ask, and the schema of this
//! build is made afresh, so that there is something to compare the catalogue with.
//!
//! A survey is no expectation. Rows are compared with the plan's numbers, objects with the rows that name them, events
//! with projections, the catalogue with the build's; their content is compared with nothing, and row 1 says so.
//!
//! Not here: the comparing (`checks`).

use anyhow::{Context as _, bail};
use archive::{BackupError, SurveyRequest, catalogue};
use clock::Timestamp;
use ids::BackupId;
use localpg::Cluster;
use sqlx::{Connection as _, PgConnection};

use crate::backup::Backup;
use crate::checks::{Inquiry, postgres};
use crate::options::Options;
use crate::proceedings::{Done, Halt, Name, Proceedings};
use crate::rehearsal::Means;
use crate::report::Code;
use crate::said::Sentence;
use crate::settings::{SecretValues, Settings};
use crate::target::Target;

const SURVEY: Name = Name::new("survey", "Survey what came back");

/// What is known of the backup.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) backup_id: BackupId,
    pub(crate) taken_at: Timestamp,
}

/// Surveys the target. Rows that can't be read are a finding of row 1, which is judged then; the drill ends.
pub(crate) async fn survey(
    proceedings: &mut Proceedings,
    options: &Options,
    means: &Means<'_>,
    (target, secrets): (&Target, &SecretValues),
    wanted: Wanted,
    mut rows: Inquiry,
) -> Result<(Backup, Inquiry), Halt> {
    let url = target.database_url();
    let surveyed = proceedings
        .stage(SURVEY, async |_| {
            let folder = means.work.folder("survey")?;
            let request = SurveyRequest {
                database_url: url.to_owned(),
                spec: options.plan.as_ref().context("only a plan has a backup without a manifest")?.spec.clone(),
                build: options.build.clone(),
                secrets: secrets.versions(),
                folder: folder.clone(),
                taken_at: wanted.taken_at,
                sources: means.sources.clone(),
            };
            let mut manifest = match archive::survey(request).await {
                Ok(manifest) => manifest,
                Err(error) => return Ok(Done::plain(Err(unreadable(error)?))),
            };
            manifest.backup_id = wanted.backup_id;
            let catalogue = catalogue_of_this_build(means, secrets).await?;
            Ok(Done::plain(Ok(Backup::surveyed(manifest, folder, catalogue)?)))
        })
        .await?;
    match surveyed {
        Ok(backup) => Ok((backup, rows)),
        Err((code, cause)) => {
            rows.fault(code, cause.clone());
            // What the engine finds says more.
            if let Ok(engine) = postgres::engine_check(url).await {
                postgres::judge_engine(&mut rows, &engine);
            }
            let judged = proceedings.judged(rows.conclude(""));
            let cause = judged.err().unwrap_or_else(|| anyhow::anyhow!(cause));
            Err(Halt::Stage { stage: SURVEY.title, cause })
        }
    }
}

/// What a survey that failed says of the backup; or the drill's own fault.
fn unreadable(error: BackupError) -> anyhow::Result<(Code, Sentence)> {
    let code = match &error {
        BackupError::NotOurs(_) => Code::NotOurs,
        BackupError::Schema { .. } => Code::OtherSchema,
        BackupError::Database { .. } => Code::DataUnreadable,
        _ => return Err(error.into()),
    };
    Ok((code, Sentence::about(&error.into())))
}

/// The catalogue of an empty system of this build.
async fn catalogue_of_this_build(means: &Means<'_>, secrets: &SecretValues) -> anyhow::Result<Vec<String>> {
    let (binaries, work) = (means.binaries.clone(), means.work.path().to_owned());
    let start = move || Cluster::temporary(&binaries, work.parent().unwrap_or(&work));
    let cluster = tokio::task::spawn_blocking(start).await?.context("a cluster for this build's schema")?;
    cluster.create_database("cowork")?;
    let settings = Settings {
        folder: means.work.folder("reference")?,
        database_url: cluster.url("cowork"),
        workspaces: means.work.folder("reference/workspaces")?,
        redirect_to: None,
        lease: means.pace.lease,
        work_folder: means.work.path().to_owned(),
        search_path: means.search_path.to_owned(),
    };
    let url = settings.database_url.clone();
    let reference = Target::prepare(Some(cluster), settings, secrets, means.executable)?;
    let migrated = reference.launcher.run(&["admin", "migrate"]).await?;
    if migrated.exit_code != Some(0) {
        bail!("this build's schema could not be made: {}", migrated.last_words());
    }
    let mut connection = PgConnection::connect(&url).await?;
    let lines = catalogue::lines(&mut connection).await?;
    connection.close().await?;
    tokio::task::spawn_blocking(move || drop(reference)).await?;
    Ok(lines)
}
