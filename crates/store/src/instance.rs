//! Which processes are alive: a row each, with a heartbeat.
//!
//! The table is unlogged: after a crash of the database it is empty until the next heartbeats, and a backup carries
//! none of it. So it answers "who is there now" and nothing else.

use clock::Timestamp;
use ids::InstanceId;

use crate::{Store, StoreError};

/// A process that was started as one role or several.
#[derive(Debug, Clone)]
pub struct Instance {
    pub instance: InstanceId,
    pub roles: Vec<String>,
    pub generation: i64,
    pub started_at: Timestamp,
    /// Versions of the adapter key that it has, the one that it seals under first.
    pub key_versions: Vec<String>,
    /// Names of the agents that it can run. `None`: it is no worker.
    pub agents: Option<Vec<String>>,
}

/// An agent, and how many workers can run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedAgent {
    pub name: String,
    pub workers: i64,
}

/// What workers offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// By name.
    pub agents: Vec<OfferedAgent>,
    /// Workers of an older release, which don't say.
    pub silent: i64,
}

/// Which versions of the adapter key a process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceKeys {
    pub roles: Vec<String>,
    /// The one that it seals under comes first. `None`: an older release, which does not say.
    pub key_versions: Option<Vec<String>>,
}

/// How many processes of a role are alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleCount {
    pub role: String,
    pub instances: i64,
}

impl Store {
    /// Says that the process is alive.
    pub async fn instance_beat(&self, instance: &Instance) -> Result<(), StoreError> {
        sqlx::query!(
            "-- instance_beat
            INSERT INTO role_instances (instance_id, roles, generation, started_at, heartbeat_at, key_versions, agents)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (instance_id) DO UPDATE SET heartbeat_at = EXCLUDED.heartbeat_at",
            instance.instance as InstanceId,
            &instance.roles,
            instance.generation,
            instance.started_at,
            self.sources.now(),
            &instance.key_versions,
            instance.agents.as_deref(),
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("instance_beat"))?;
        Ok(())
    }

    /// Says that the process is gone, and forgets those that have been silent since `silent_since`.
    pub async fn instance_leave(&self, instance: InstanceId, silent_since: Timestamp) -> Result<(), StoreError> {
        sqlx::query!(
            "-- instance_leave
            DELETE FROM role_instances WHERE instance_id = $1 OR heartbeat_at < $2",
            instance as InstanceId,
            silent_since,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("instance_leave"))?;
        Ok(())
    }

    /// Processes of each role that belong to `generation` and were alive after `since`. Roles without any are absent.
    pub async fn instance_counts(&self, generation: i64, since: Timestamp) -> Result<Vec<RoleCount>, StoreError> {
        sqlx::query_as!(
            RoleCount,
            r#"-- instance_counts
            SELECT role AS "role!", count(*) AS "instances!" FROM role_instances, unnest(roles) AS role
            WHERE generation = $1 AND heartbeat_at > $2 GROUP BY role ORDER BY role"#,
            generation,
            since,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("instance_counts"))
    }

    /// The agents of workers that belong to `generation` and were alive after `since`.
    pub async fn instance_agents(&self, generation: i64, since: Timestamp) -> Result<Offer, StoreError> {
        let rows = sqlx::query!(
            r#"-- instance_agents
            SELECT agent AS "agent?", count(*) AS "workers!"
            FROM role_instances LEFT JOIN LATERAL unnest(agents) AS agent ON true
            WHERE generation = $1 AND heartbeat_at > $2 AND 'worker' = ANY (roles)
            GROUP BY agent ORDER BY agent"#,
            generation,
            since,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("instance_agents"))?;
        let mut offer = Offer::default();
        for row in rows {
            match row.agent {
                Some(name) => offer.agents.push(OfferedAgent { name, workers: row.workers }),
                None => offer.silent = row.workers,
            }
        }
        Ok(offer)
    }

    /// The keys of each process that belongs to `generation` and was alive after `since`.
    pub async fn instance_keys(&self, generation: i64, since: Timestamp) -> Result<Vec<InstanceKeys>, StoreError> {
        sqlx::query_as!(
            InstanceKeys,
            "-- instance_keys
            SELECT roles, key_versions FROM role_instances
            WHERE generation = $1 AND heartbeat_at > $2 ORDER BY started_at, instance_id",
            generation,
            since,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("instance_keys"))
    }
}
