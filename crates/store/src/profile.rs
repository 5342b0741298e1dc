//! Profiles: presets of an org, under a name.
//!
//! A session or a workflow takes what its profile says when it is made, and keeps that: a profile that changes or goes away
//! changes nothing of what was made with it.
//!
//! Not here: taking something from one (`web`).

use clock::Timestamp;
use domain::details::Tags;
use domain::profile::ProfileName;
use domain::version::{Expected, RowVersion};
use ids::OrgId;
use serde_json::json;
use sqlx::PgConnection;

use crate::{ChangeError, Store, StoreError, audit};

/// What sessions and workflows begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub agent: String,
    /// Of sessions.
    pub tags: Tags,
    pub updated_at: Timestamp,
    pub version: RowVersion,
}

struct Row {
    name: String,
    agent: String,
    tags: Vec<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
}

impl TryFrom<Row> for Profile {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let tags = Tags::new(&row.tags).map_err(StoreError::unreadable("profiles", "tags", row.name.clone()))?;
        let Row { name, agent, created_at, updated_at, version, .. } = row;
        Ok(Self { name, agent, tags, updated_at, version: RowVersion { since: created_at, version } })
    }
}

impl Store {
    /// At most `limit`, by name, after the name `after`.
    pub async fn profile_list(&self, org: OrgId, after: Option<&str>, limit: i64) -> Result<Vec<Profile>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "-- profile_list
            SELECT name, agent, tags, created_at, updated_at, version FROM profiles
            WHERE org_id = $1 AND ($2::text IS NULL OR name > $2) ORDER BY name LIMIT $3",
            org as OrgId,
            after,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("profile_list"))?;
        rows.into_iter().map(Profile::try_from).collect()
    }

    pub async fn profile_get(&self, org: OrgId, name: &ProfileName) -> Result<Option<Profile>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "-- profile_get
            SELECT name, agent, tags, created_at, updated_at, version FROM profiles WHERE org_id = $1 AND name = $2",
            org as OrgId,
            name.as_str(),
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("profile_get"))?;
        row.map(Profile::try_from).transpose()
    }

    /// Makes a profile, or changes what it says.
    pub async fn profile_put(
        &self,
        org: OrgId,
        name: &ProfileName,
        agent: &str,
        tags: &Tags,
        expected: &Expected,
        actor: &str,
    ) -> Result<Profile, ChangeError> {
        let during = || StoreError::during("profile_put");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if !expected.met_by(lock(&mut tx, org, name).await.map_err(during())?) {
            return Err(ChangeError::Stale("profile"));
        }
        let row = sqlx::query_as!(
            Row,
            "-- profile_put
            INSERT INTO profiles (org_id, name, agent, tags, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)
            ON CONFLICT (org_id, name) DO UPDATE SET agent = excluded.agent, tags = excluded.tags,
                updated_at = excluded.updated_at, version = profiles.version + 1
            RETURNING name, agent, tags, created_at, updated_at, version",
            org as OrgId,
            name.as_str(),
            agent,
            tags.as_slice(),
            self.sources.now(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        let (target, detail) = (format!("profile:{}", name.as_str()), json!({"agent": agent, "tags": tags}));
        audit::record(&mut tx, &self.sources, org, actor, "profile.put", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(row.try_into()?)
    }

    /// Takes a profile away. What was made with it stays.
    pub async fn profile_delete(
        &self,
        org: OrgId,
        name: &ProfileName,
        expected: &Expected,
        actor: &str,
    ) -> Result<(), ChangeError> {
        let during = || StoreError::during("profile_delete");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = lock(&mut tx, org, name).await.map_err(during())?.ok_or(ChangeError::NoSuch("profile"))?;
        if !expected.met_by(Some(found)) {
            return Err(ChangeError::Stale("profile"));
        }
        sqlx::query!(
            "-- profile_delete
            DELETE FROM profiles WHERE org_id = $1 AND name = $2",
            org as OrgId,
            name.as_str(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        let target = format!("profile:{}", name.as_str());
        audit::record(&mut tx, &self.sources, org, actor, "profile.delete", &target, json!({}))
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(())
    }
}

/// Two who change a profile at once come one after the other, also two who make one: there is no row yet to lock then.
async fn lock(
    connection: &mut PgConnection,
    org: OrgId,
    name: &ProfileName,
) -> Result<Option<RowVersion>, sqlx::Error> {
    sqlx::query!(
        r#"-- profile_lock_name
        SELECT pg_advisory_xact_lock(hashtextextended('profile ' || $1::text || ' ' || $2, 0)) AS "locked!: ()""#,
        uuid::Uuid::from(org).to_string(),
        name.as_str(),
    )
    .fetch_one(&mut *connection)
    .await?;
    let row = sqlx::query!(
        "-- profile_lock
        SELECT created_at, version FROM profiles WHERE org_id = $1 AND name = $2 FOR UPDATE",
        org as OrgId,
        name.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| RowVersion { since: row.created_at, version: row.version }))
}
