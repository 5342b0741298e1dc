//! Turns: what is written while a command is carried out. Each write is one transaction that compares the fencing
//! token first.
//!
//! A turn begins (`turn_start`), tells what happens (`turn_append`, `turn_publish`) and ends (`turn_finish`). The end
//! acknowledges the command, records the checkpoint, meters, ends the run, wakes the gateway and gives the lease up:
//! all of it or nothing.
//!
//! Not here: carrying a command out (crate `worker`).

use clock::Timestamp;
use domain::command::CommandState;
use domain::event::TurnOutcome;
use ids::{CheckpointId, CommandId, OrgId, SessionId};
use sqlx::PgConnection;

use crate::artifact::{self, NewArtifact};
use crate::checkpoint::{self, NewCheckpoint};
use crate::event::{self, Append};
use crate::lease::{self, Lease, NextCommand};
use crate::usage::{self, UsageKind};
use crate::wake::Wake;
use crate::{Store, StoreError, command, run};

/// How a command ends.
#[derive(Debug, Clone)]
pub struct Finish<'a> {
    /// Its last events. None if it was refused.
    pub append: Append<'a>,
    pub command: CommandId,
    pub state: CommandState,
    /// One sentence for people.
    pub sentence: String,
    /// `None`: the command was refused, and the session is as it was.
    pub turn: Option<TurnOutcome>,
    /// `None`: nothing was saved, and the session keeps the one that it has.
    pub checkpoint: Option<NewCheckpoint>,
    pub input_tokens: i64,
    pub output_tokens: i64,
}

impl Store {
    /// Counts an attempt and appends the turn's first events.
    pub async fn turn_start(
        &self,
        lease: &Lease,
        append: &Append<'_>,
        command: &NextCommand,
    ) -> Result<(), StoreError> {
        let during = || StoreError::during("turn_start");
        let mut tx = self.pool.begin().await.map_err(during())?;
        event::append(&mut tx, lease, append, self.sources.now()).await?;
        sqlx::query!(
            "-- turn_start
            UPDATE commands SET attempt = $3 WHERE org_id = $1 AND command_id = $2",
            lease.org as OrgId,
            command.command as CommandId,
            command.attempt + 1,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Events(lease.session));
        Ok(())
    }

    /// Appends events in the middle of a turn.
    pub async fn turn_append(&self, lease: &Lease, append: &Append<'_>) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::during("turn_append"))?;
        event::append(&mut connection, lease, append, self.sources.now()).await?;
        self.wakes.tell(Wake::Events(lease.session));
        Ok(())
    }

    /// Appends events with the artifacts that they announce, whose blobs are durable.
    pub async fn turn_publish(
        &self,
        lease: &Lease,
        append: &Append<'_>,
        artifacts: &[NewArtifact],
    ) -> Result<(), StoreError> {
        let during = || StoreError::during("turn_publish");
        let mut tx = self.pool.begin().await.map_err(during())?;
        event::append(&mut tx, lease, append, self.sources.now()).await?;
        for new in artifacts {
            artifact::insert(&mut tx, &self.sources, lease.org, lease.session, new).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Events(lease.session));
        Ok(())
    }

    /// Ends a command. With another one to carry out the lease stays, and it is given back; else the lease is given up.
    pub async fn turn_finish(
        &self,
        lease: &Lease,
        finish: &Finish<'_>,
        artifacts: &[NewArtifact],
    ) -> Result<Option<NextCommand>, StoreError> {
        let during = || StoreError::during("turn_finish");
        let mut tx = self.pool.begin().await.map_err(during())?;
        let now = self.sources.now();
        event::append(&mut tx, lease, &finish.append, now).await?;
        for new in artifacts {
            artifact::insert(&mut tx, &self.sources, lease.org, lease.session, new).await.map_err(during())?;
        }
        if let Some(new) = &finish.checkpoint {
            let sequence = finish.append.last();
            checkpoint::insert(&mut tx, lease.org, lease.session, sequence, new, now).await.map_err(during())?;
        }
        let behind = self.settle(&mut tx, lease, finish, now).await.map_err(during())?;
        let next = command::next(&mut tx, lease.org, lease.session).await?;
        if next.is_none() {
            lease::end(&mut tx, lease).await?;
        }
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Events(lease.session));
        if behind {
            self.wakes.tell(Wake::Cursor);
        }
        Ok(next)
    }

    /// What hangs from the end of a command. The session's row is locked, and its token was compared. Says whether a
    /// thread is behind now.
    async fn settle(
        &self,
        connection: &mut PgConnection,
        lease: &Lease,
        finish: &Finish<'_>,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        command::finish(connection, lease.org, finish, now).await?;
        let Some(outcome) = finish.turn else { return Ok(false) };
        settle_session(connection, lease, finish, outcome).await?;
        if outcome == TurnOutcome::Aborted {
            command::aborts_heard(connection, lease.org, lease.session, now).await?;
        }
        if !outcome.waits() {
            let origin = command::origin(connection, lease.org, lease.session, finish.command).await?;
            run::finish(connection, lease.org, origin, outcome == TurnOutcome::Completed, now).await?;
        }
        self.meter(connection, lease.org, finish).await?;
        wake_gateway(connection, lease, now).await
    }

    async fn meter(&self, connection: &mut PgConnection, org: OrgId, finish: &Finish<'_>) -> Result<(), sqlx::Error> {
        let measures = [
            (UsageKind::Turns, 1),
            (UsageKind::InputTokens, finish.input_tokens),
            (UsageKind::OutputTokens, finish.output_tokens),
        ];
        for (kind, quantity) in measures {
            if quantity > 0 {
                usage::record(connection, &self.sources, org, finish.command.into(), kind, quantity).await?;
            }
        }
        Ok(())
    }
}

async fn settle_session(
    connection: &mut PgConnection,
    lease: &Lease,
    finish: &Finish<'_>,
    outcome: TurnOutcome,
) -> Result<(), sqlx::Error> {
    let blocked_on = match outcome {
        TurnOutcome::AwaitingApproval => Some("approval"),
        TurnOutcome::AwaitingAnswer => Some("answer"),
        _ => None,
    };
    sqlx::query!(
        "-- turn_settle
        UPDATE sessions SET blocked_on = $5, checkpoint_id = coalesce($6, checkpoint_id)
        WHERE org_id = $1 AND session_id = $2 AND generation = $3 AND fencing_counter = $4",
        lease.org as OrgId,
        lease.session as SessionId,
        lease.token.generation,
        lease.token.counter,
        blocked_on,
        finish.checkpoint.as_ref().map(|new| new.checkpoint) as Option<CheckpointId>,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn wake_gateway(connection: &mut PgConnection, lease: &Lease, now: Timestamp) -> Result<bool, sqlx::Error> {
    let woken = sqlx::query!(
        "-- turn_wake_gateway
        UPDATE delivery_cursors SET behind = true, updated_at = $3
        WHERE org_id = $1 AND session_id = $2 AND NOT behind",
        lease.org as OrgId,
        lease.session as SessionId,
        now,
    )
    .execute(connection)
    .await?;
    Ok(woken.rows_affected() > 0)
}
