//! Leases: who may advance a session, and until when.
//!
//! `session_leases` is small and hot: a row exists only while its session has a command that can run. Claiming takes
//! rows that nobody holds and skips those that somebody else is just taking. The fencing token itself lives in
//! `sessions`, where every write under the lease compares it.
//!
//! A lease of an earlier generation is void at once: a restored system does not wait for workers that are gone.
//!
//! Not here: what is done under a lease (`turn`).

use std::collections::HashMap;

use clock::Timestamp;
use domain::command::Wish;
use domain::projection::Projection;
use domain::session::FencingToken;
use ids::{CheckpointId, CommandId, InstanceId, OrgId, ProjectSourceId, SessionId};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::command;
use crate::wake::Wake;
use crate::{Store, StoreError};

/// Rounds of one claim. Each meets only sessions that the one before did not put off.
const CLAIM_ROUNDS: u32 = 20;
/// Sessions that one round looks at to put them off: a backlog of an org over quota is behind the others' work after a few.
const PUT_OFF: i64 = 5_000;

/// Permission to advance one session until `expires_at`.
///
/// A claim, not a lock: by the time you look at it, it may have run out and somebody else may be at work. What makes a
/// late holder harmless is `token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub org: OrgId,
    pub session: SessionId,
    pub token: FencingToken,
    pub holder: InstanceId,
    pub expires_at: Timestamp,
}

/// A session as the holder of its lease finds it.
#[derive(Debug, Clone)]
pub struct Held {
    pub agent: String,
    pub last_sequence: i64,
    pub projection: Projection,
    pub checkpoint: Option<CheckpointId>,
    /// What the workspace begins with, without a checkpoint. `None`: an empty folder.
    pub project_source: Option<ProjectSourceId>,
    /// `None`: somebody else ended it; there is nothing to do but to release.
    pub next: Option<NextCommand>,
}

/// The command that a session carries out next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextCommand {
    pub command: CommandId,
    pub ordinal: i64,
    pub wish: Wish,
    /// How often a turn was started for it.
    pub attempt: i32,
    /// The span that wrote it (crate `traces`); `None`: it was not traced.
    pub traceparent: Option<String>,
    /// Whether its org may have quotas that were not asked yet.
    pub limited: bool,
}

struct LeaseRow {
    org_id: OrgId,
    session_id: SessionId,
    /// `None`: its org has used a quota up, and it was put off.
    fencing_counter: Option<i64>,
    held_until: Option<Timestamp>,
}

struct HeldRow {
    org: OrgId,
    session: SessionId,
    agent: String,
    last_sequence: i64,
    checkpoint: Option<CheckpointId>,
    project_source: Option<ProjectSourceId>,
    content: Json<serde_json::Value>,
    command_id: Option<CommandId>,
    ordinal: Option<i64>,
    kind: Option<String>,
    payload: Option<serde_json::Value>,
    attempt: Option<i32>,
    traceparent: Option<String>,
}

impl HeldRow {
    fn read(self) -> Result<Held, StoreError> {
        let projection = serde_json::from_value(self.content.0);
        let projection =
            projection.map_err(StoreError::unreadable("projections", "content", self.session.to_string()))?;
        let Self { command_id, ordinal, kind, payload, attempt, traceparent, .. } = self;
        // The claim has asked quotas.
        let next = command::read_next(command_id, ordinal, kind, payload, attempt, traceparent, false)?;
        let (agent, last_sequence) = (self.agent, self.last_sequence);
        let (checkpoint, project_source) = (self.checkpoint, self.project_source);
        Ok(Held { agent, last_sequence, projection, checkpoint, project_source, next })
    }
}

/// Leases as columns.
struct Keys {
    orgs: Vec<uuid::Uuid>,
    sessions: Vec<uuid::Uuid>,
    generations: Vec<i64>,
    counters: Vec<i64>,
}

impl Keys {
    fn of(leases: &[Lease]) -> Self {
        Self {
            orgs: leases.iter().map(|lease| lease.org.into()).collect(),
            sessions: leases.iter().map(|lease| lease.session.into()).collect(),
            generations: leases.iter().map(|lease| lease.token.generation).collect(),
            counters: leases.iter().map(|lease| lease.token.counter).collect(),
        }
    }
}

impl Store {
    /// Takes at most `limit` sessions that have something to do and that nobody holds, until `expires_at`. Takes none
    /// if `generation` is not the current one: this worker belongs to a system that was restored since.
    ///
    /// Sessions of an org that has used a quota up are put off on the way, so that they are in nobody's.
    pub async fn lease_claim(
        &self,
        generation: i64,
        holder: InstanceId,
        expires_at: Timestamp,
        limit: i64,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut leases: Vec<Lease> = Vec::new();
        for _ in 0..CLAIM_ROUNDS {
            let free = limit - i64::try_from(leases.len()).unwrap_or(limit);
            let mut put_off: HashMap<OrgId, Timestamp> = HashMap::new();
            for row in self.lease_claim_some(generation, holder, expires_at, free).await? {
                if let Some(counter) = row.fencing_counter {
                    let token = FencingToken { generation, counter };
                    leases.push(Lease { org: row.org_id, session: row.session_id, token, holder, expires_at });
                } else {
                    put_off.extend(row.held_until.map(|until| (row.org_id, until)));
                }
            }
            if put_off.is_empty() {
                break;
            }
            self.lease_put_off(&put_off).await?;
        }
        Ok(leases)
    }

    async fn lease_claim_some(
        &self,
        generation: i64,
        holder: InstanceId,
        expires_at: Timestamp,
        limit: i64,
    ) -> Result<Vec<LeaseRow>, StoreError> {
        let now = self.sources.now();
        let rows = sqlx::query_file_as!(
            LeaseRow,
            "src/lease/lease_claim.sql",
            generation,
            holder as InstanceId,
            now,
            expires_at,
            limit,
            now.date_naive(),
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("lease_claim"))?;
        Ok(rows)
    }

    /// Of those that could be claimed next, puts off what belongs to these orgs, so that the next round meets others.
    async fn lease_put_off(&self, orgs: &HashMap<OrgId, Timestamp>) -> Result<(), StoreError> {
        let (orgs, until): (Vec<uuid::Uuid>, Vec<Timestamp>) =
            orgs.iter().map(|(org, until)| (uuid::Uuid::from(*org), *until)).unzip();
        sqlx::query!(
            "-- lease_put_off
            WITH next AS MATERIALIZED (
                SELECT org_id, session_id FROM session_leases
                WHERE wake_at <= $3 AND leased_until IS NULL ORDER BY wake_at LIMIT $4
            ), theirs AS (
                SELECT org_id, session_id, put_off.until
                FROM unnest($1::uuid[], $2::timestamptz[]) AS put_off (org_id, until)
                    JOIN next USING (org_id) JOIN session_leases USING (org_id, session_id)
                WHERE session_leases.wake_at <= $3 AND session_leases.leased_until IS NULL
                FOR NO KEY UPDATE OF session_leases SKIP LOCKED
            )
            UPDATE session_leases SET wake_at = theirs.until FROM theirs
            WHERE session_leases.org_id = theirs.org_id AND session_leases.session_id = theirs.session_id",
            &orgs,
            &until,
            self.sources.now(),
            PUT_OFF,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("lease_put_off"))?;
        Ok(())
    }

    /// Prolongs `leases` until `expires_at`. Gives back the sessions whose leases still stood; the others are lost.
    pub async fn lease_renew(&self, leases: &[Lease], expires_at: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        let Keys { orgs, sessions, generations, counters } = Keys::of(leases);
        sqlx::query_scalar!(
            r#"-- lease_renew
            WITH held AS MATERIALIZED (
                -- In the order in which ends of turns take them away, or two could wait for each other.
                SELECT org_id, session_id
                FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
                        AS held (org_id, session_id, generation, fencing_counter)
                    JOIN sessions USING (org_id, session_id, generation, fencing_counter)
                    JOIN session_leases USING (org_id, session_id)
                ORDER BY org_id, session_id
                FOR NO KEY UPDATE OF session_leases
            )
            UPDATE session_leases SET leased_until = $5
            FROM held
            WHERE session_leases.org_id = held.org_id AND session_leases.session_id = held.session_id
            RETURNING session_leases.session_id AS "session_id: SessionId""#,
            &orgs,
            &sessions,
            &generations,
            &counters,
            expires_at,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("lease_renew"))
    }

    /// Reads what the holder of a lease needs to begin.
    pub async fn lease_load(&self, lease: &Lease) -> Result<Held, StoreError> {
        self.lease_load_all(std::slice::from_ref(lease)).await?.pop().unwrap_or(Err(StoreError::LeaseLost))
    }

    /// As [`Store::lease_load`], of several at once, in their order.
    pub async fn lease_load_all(&self, leases: &[Lease]) -> Result<Vec<Result<Held, StoreError>>, StoreError> {
        let Keys { orgs, sessions, generations, counters } = Keys::of(leases);
        let during = || StoreError::during("lease_load");
        let rows = sqlx::query_file_as!(HeldRow, "src/lease/load.sql", &orgs, &sessions, &generations, &counters)
            .fetch_all(self.everywhere())
            .await
            .map_err(during())?;
        let mut found: HashMap<(OrgId, SessionId), HeldRow> =
            rows.into_iter().map(|row| ((row.org, row.session), row)).collect();
        let held = leases.iter().map(|lease| found.remove(&(lease.org, lease.session)));
        Ok(held.map(|row| row.ok_or(StoreError::LeaseLost)?.read()).collect())
    }

    /// Gives a lease up that has nothing to do, so that its row is gone until there is. If there is something, the lease
    /// stays, and that is given back.
    pub async fn lease_end_idle(&self, lease: &Lease) -> Result<Option<NextCommand>, StoreError> {
        let during = || StoreError::during("lease_end_idle");
        let mut tx = self.begin_of(lease.org).await.map_err(during())?;
        fence(&mut tx, lease).await?;
        let next = command::next(&mut tx, lease.org, lease.session).await?;
        if next.is_none() {
            end(&mut tx, lease).await?;
        }
        tx.commit().await.map_err(during())?;
        Ok(next)
    }

    /// Gives a lease up so that anybody can go on from `wake_at`. Commands stay as they are.
    pub async fn lease_release(&self, lease: &Lease, wake_at: Timestamp) -> Result<(), StoreError> {
        let during = || StoreError::during("lease_release");
        let mut tx = self.begin_of(lease.org).await.map_err(during())?;
        fence(&mut tx, lease).await?;
        sqlx::query!(
            "-- lease_release
            UPDATE session_leases SET leased_until = NULL, holder = NULL, wake_at = $3
            WHERE org_id = $1 AND session_id = $2",
            lease.org as OrgId,
            lease.session as SessionId,
            wake_at,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(())
    }
}

/// Locks the session's row and compares the token.
async fn fence(connection: &mut PgConnection, lease: &Lease) -> Result<(), StoreError> {
    let current = sqlx::query!(
        "-- lease_fence
        SELECT 1 AS one FROM sessions
        WHERE org_id = $1 AND session_id = $2 AND generation = $3 AND fencing_counter = $4 FOR NO KEY UPDATE",
        lease.org as OrgId,
        lease.session as SessionId,
        lease.token.generation,
        lease.token.counter,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("lease_fence"))?;
    current.map(|_| ()).ok_or(StoreError::LeaseLost)
}

/// Takes the session's row out of the hot table, in a transaction that has locked the session and seen that nothing
/// can run.
async fn end(connection: &mut PgConnection, lease: &Lease) -> Result<(), StoreError> {
    sqlx::query!(
        "-- lease_end
        DELETE FROM session_leases WHERE org_id = $1 AND session_id = $2",
        lease.org as OrgId,
        lease.session as SessionId,
    )
    .execute(connection)
    .await
    .map_err(StoreError::during("lease_end"))?;
    Ok(())
}

#[cfg(test)]
mod tests;
