//! Triggers of a workflow that is there: one more, one less, another signing secret.
//!
//! Each change holds the workflow's row, so it comes before or after a call or a slot that is being fired, never in its midst. What
//! takes a secret out of force goes to the recovery ledger, a trigger's removal too: a restore that brings the trigger back brings none of
//! the secrets that somebody was shown.
//!
//! Not here: the secrets themselves, which are derived and stored nowhere (crate `secrets`).

use chrono::TimeDelta;
use clock::Timestamp;
use domain::schedule::{MAX_TRIGGERS, NewTrigger};
use ids::{OrgId, TriggerId, WorkflowId};
use serde_json::json;
use sqlx::PgConnection;

use super::{Trigger, TriggerSecret, insert, read};
use crate::outbox::{self, Effect};
use crate::workflow::lock;
use crate::{Store, StoreError, WorkflowError, audit};

impl Store {
    /// `secret_version` is that of the configured channel secret.
    pub async fn trigger_add(
        &self,
        org: OrgId,
        workflow: WorkflowId,
        new: &NewTrigger,
        secret_version: &str,
        actor: &str,
    ) -> Result<Trigger, WorkflowError> {
        let during = || StoreError::during("trigger_add");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        lock(&mut tx, org, workflow).await?;
        let there = count(&mut tx, org, workflow).await.map_err(during())?;
        if usize::try_from(there).is_ok_and(|there| there >= MAX_TRIGGERS) {
            return Err(WorkflowError::TooManyTriggers);
        }
        let trigger = insert(&mut tx, &self.sources, org, workflow, new, secret_version).await.map_err(during())?;
        self.trigger_audit(&mut tx, org, &trigger, actor, "trigger.create").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(trigger)
    }

    /// Its slots and runs stay; the ids of its calls are forgotten with its address.
    pub async fn trigger_remove(
        &self,
        org: OrgId,
        workflow: WorkflowId,
        trigger: TriggerId,
        actor: &str,
    ) -> Result<(), WorkflowError> {
        let during = || StoreError::during("trigger_remove");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        lock(&mut tx, org, workflow).await?;
        let found = find(&mut tx, org, workflow, trigger).await?;
        if let Some(secret) = &found.secret {
            self.void(&mut tx, org, trigger, secret.number + 1).await.map_err(during())?;
        }
        delete(&mut tx, org, trigger).await.map_err(during())?;
        self.trigger_audit(&mut tx, org, &found, actor, "trigger.remove").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(())
    }

    /// Gives a trigger that takes calls its next signing secret, under `secret_version` of the channel secret. The one before is void
    /// after `overlap`, those before it at once.
    pub async fn trigger_rotate_secret(
        &self,
        org: OrgId,
        workflow: WorkflowId,
        trigger: TriggerId,
        secret_version: &str,
        overlap: TimeDelta,
        actor: &str,
    ) -> Result<Trigger, WorkflowError> {
        let during = || StoreError::during("trigger_rotate_secret");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        lock(&mut tx, org, workflow).await?;
        let found = find(&mut tx, org, workflow, trigger).await?;
        let before = found.secret.clone().ok_or(WorkflowError::NotCalled)?;
        let secret = TriggerSecret { version: secret_version.to_owned(), number: before.number + 1 };
        let overlap_until = (overlap > TimeDelta::zero()).then(|| self.sources.now() + overlap);
        let overlaps = overlap_until.map(|until| (until, before.version.as_str()));
        set_secret(&mut tx, org, trigger, &secret, overlaps).await.map_err(during())?;
        // A restore knows of no overlap: it leaves the new secret alone in force.
        self.void(&mut tx, org, trigger, secret.number).await.map_err(during())?;
        let rotated = Trigger { secret: Some(secret), overlap_until, ..found };
        self.trigger_audit(&mut tx, org, &rotated, actor, "trigger.rotate_secret").await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(rotated)
    }

    /// Has the recovery ledger remember that secrets before `number` are void.
    async fn void(
        &self,
        connection: &mut PgConnection,
        org: OrgId,
        trigger: TriggerId,
        number: i32,
    ) -> Result<(), sqlx::Error> {
        outbox::insert(connection, &self.sources, &[Effect::TriggerSecretRotated { org, trigger, number }]).await
    }

    async fn trigger_audit(
        &self,
        connection: &mut PgConnection,
        org: OrgId,
        trigger: &Trigger,
        actor: &str,
        action: &str,
    ) -> Result<(), sqlx::Error> {
        let target = format!("trigger:{}", trigger.trigger_id);
        let mut detail = json!({"workflow_id": trigger.workflow_id, "kind": trigger.spec.kind()});
        if action == "trigger.rotate_secret" {
            detail["overlap_until"] = json!(trigger.overlap_until);
        }
        audit::record(connection, &self.sources, org, actor, action, &target, detail).await
    }
}

async fn count(connection: &mut PgConnection, org: OrgId, workflow: WorkflowId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- trigger_count
        SELECT count(*) AS "count!" FROM triggers WHERE org_id = $1 AND workflow_id = $2"#,
        org as OrgId,
        workflow as WorkflowId,
    )
    .fetch_one(connection)
    .await
}

/// Waits for a scheduler that holds it.
async fn find(
    connection: &mut PgConnection,
    org: OrgId,
    workflow: WorkflowId,
    trigger: TriggerId,
) -> Result<Trigger, WorkflowError> {
    let row = sqlx::query!(
        "-- trigger_find
        SELECT kind, spec, next_due_at, secret_version, secret_number, overlap_until FROM triggers
        WHERE org_id = $1 AND workflow_id = $2 AND trigger_id = $3 FOR UPDATE",
        org as OrgId,
        workflow as WorkflowId,
        trigger as TriggerId,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("trigger_find"))?
    .ok_or(WorkflowError::NoSuchTrigger)?;
    Ok(Trigger {
        trigger_id: trigger,
        workflow_id: workflow,
        spec: read(trigger, row.kind, row.spec)?,
        next_due_at: row.next_due_at,
        secret: row.secret_version.zip(row.secret_number).map(TriggerSecret::from),
        overlap_until: row.overlap_until,
    })
}

async fn set_secret(
    connection: &mut PgConnection,
    org: OrgId,
    trigger: TriggerId,
    secret: &TriggerSecret,
    overlaps: Option<(Timestamp, &str)>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- trigger_set_secret
        UPDATE triggers SET secret_version = $3, secret_number = $4, overlap_until = $5, overlap_version = $6
        WHERE org_id = $1 AND trigger_id = $2",
        org as OrgId,
        trigger as TriggerId,
        secret.version,
        secret.number,
        overlaps.map(|(until, _)| until),
        overlaps.map(|(_, version)| version),
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn delete(connection: &mut PgConnection, org: OrgId, trigger: TriggerId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- trigger_delete_calls
        DELETE FROM trigger_calls WHERE org_id = $1 AND trigger_id = $2",
        org as OrgId,
        trigger as TriggerId,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "-- trigger_delete
        DELETE FROM triggers WHERE org_id = $1 AND trigger_id = $2",
        org as OrgId,
        trigger as TriggerId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
