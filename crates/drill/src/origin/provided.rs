//! A database that somebody has restored already: a provider, or a tool that the drill does not know.
//!
//! The drill writes into it, so it must say of itself that it may be written to: its setting `cowork.drill_target` is what
//! the plan names as its mark. Nobody else may be connected to it.
//!
//! Not here: removing it. Whoever made it does.

use anyhow::{Context as _, bail};
use ids::BackupId;
use sqlx::{Connection as _, PgConnection};

use super::{Expected, Refusal, Restored, forbid_roles, settings};
use crate::copying;
use crate::plan::ProvidedSource;
use crate::rehearsal::{Aftermath, Means};
use crate::target::Target;

/// Refuses a database that is not marked, or that somebody uses. Only reads.
pub(super) async fn prove(source: &ProvidedSource, url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await.context("the provided database does not answer")?;
    let sql = "SELECT coalesce(current_setting('cowork.drill_target', true), ''),
        (SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()),
        pg_is_in_recovery()";
    let (mark, others, recovering): (String, i64, bool) = sqlx::query_as(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    if mark != source.mark.as_str() {
        bail!(
            "the provided database is not marked as this drill's target; whoever made it sets cowork.drill_target of \
             the database to the plan's mark"
        );
    }
    if others > 0 {
        bail!("{others} others are connected to the provided database; a drill's target has no users");
    }
    if recovering {
        bail!("the provided database is still in recovery");
    }
    Ok(())
}

pub(super) async fn restore(
    source: &ProvidedSource,
    url: String,
    means: &Means<'_>,
    aftermath: &Aftermath,
) -> anyhow::Result<Result<Restored, Refusal>> {
    let backup_id: BackupId = means.sources.id();
    forbid_roles(&url, backup_id, source.taken_at.0).await?;
    let settings = settings(means, aftermath, url)?;
    let target = Target::prepare(None, settings, &aftermath.secrets, means.executable)?;
    copying::copied(source.objects.clone(), target.settings.objects()).await?;
    let expected = Expected::Surveyed { backup_id, taken_at: source.taken_at.0, damage: None, doubt: None };
    Ok(Ok(Restored { target, expected, output: String::new() }))
}
