//! Roles that orgs make for themselves: names for sets of permissions.
//!
//! A membership names its role and nothing more. One whose role is not there permits nothing, so a role that is taken away
//! while somebody is given it leaves that member without permissions, never with those of another.
//!
//! Not here: the roles that every org has (`domain::tenancy`).

use clock::Timestamp;
use domain::permission::{Permission, Permissions};
use domain::tenancy::RoleName;
use domain::version::{Expected, RowVersion};
use ids::{AccountId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::wake::Wake;
use crate::{Store, StoreError, audit};

/// A role of an org's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRole {
    pub name: String,
    pub permissions: Permissions,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub version: RowVersion,
}

/// What became of a wish to take a role away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleDeletion {
    Done,
    NoSuchRole,
    /// Members have it.
    InUse,
    /// It is in another state than the wish was for.
    Stale,
}

struct Row {
    name: String,
    permissions: Vec<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
}

impl TryFrom<Row> for CustomRole {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let permissions = permissions(&row.name, &row.permissions)?;
        let Row { name, created_at, updated_at, version, .. } = row;
        let version = RowVersion { since: created_at, version };
        Ok(Self { name, permissions, created_at, updated_at, version })
    }
}

pub(crate) fn permissions(role: &str, names: &[String]) -> Result<Permissions, StoreError> {
    let parsed: Result<Permissions, _> = names.iter().map(|name| name.parse::<Permission>()).collect();
    parsed.map_err(StoreError::unreadable("roles", "permissions", role))
}

/// What a membership says that its account is, and what that permits.
pub(crate) fn of_member(
    account: AccountId,
    role: &str,
    permissions_of_custom: Option<Vec<String>>,
) -> Result<(RoleName, Permissions), StoreError> {
    let role: RoleName = role.parse().map_err(StoreError::unreadable("memberships", "role", account))?;
    let permissions = match &role {
        RoleName::BuiltIn(role) => role.permissions(),
        RoleName::Custom(name) => permissions(name, &permissions_of_custom.unwrap_or_default())?,
    };
    Ok((role, permissions))
}

impl Store {
    /// At most `limit`, by name, after the name `after`.
    pub async fn role_list(&self, org: OrgId, after: Option<&str>, limit: i64) -> Result<Vec<CustomRole>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "-- role_list
            SELECT name, permissions, created_at, updated_at, version FROM roles
            WHERE org_id = $1 AND ($2::text IS NULL OR name > $2) ORDER BY name LIMIT $3",
            org as OrgId,
            after,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("role_list"))?;
        rows.into_iter().map(CustomRole::try_from).collect()
    }

    pub async fn role_get(&self, org: OrgId, name: &str) -> Result<Option<CustomRole>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            "-- role_get
            SELECT name, permissions, created_at, updated_at, version FROM roles WHERE org_id = $1 AND name = $2",
            org as OrgId,
            name,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("role_get"))?;
        row.map(CustomRole::try_from).transpose()
    }

    /// What a role permits in the org. `None`: the org has no such role.
    pub async fn role_permissions(&self, org: OrgId, role: &RoleName) -> Result<Option<Permissions>, StoreError> {
        let name = match role {
            RoleName::BuiltIn(role) => return Ok(Some(role.permissions())),
            RoleName::Custom(name) => name,
        };
        let names = sqlx::query_scalar!(
            "-- role_permissions
            SELECT permissions FROM roles WHERE org_id = $1 AND name = $2",
            org as OrgId,
            name,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("role_permissions"))?;
        names.map(|names| permissions(name, &names)).transpose()
    }

    /// Makes a role, or changes what it permits. `None`: it is in another state than `expected`.
    pub async fn role_put(
        &self,
        org: OrgId,
        name: &str,
        permissions: Permissions,
        expected: &Expected,
        actor: &str,
    ) -> Result<Option<CustomRole>, StoreError> {
        let during = || StoreError::during("role_put");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if !expected.met_by(lock(&mut tx, org, name).await.map_err(during())?) {
            return Ok(None);
        }
        let names: Vec<String> = permissions.iter().map(|permission| permission.as_str().to_owned()).collect();
        let row = sqlx::query_as!(
            Row,
            "-- role_put
            INSERT INTO roles (org_id, name, permissions, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
            ON CONFLICT (org_id, name) DO UPDATE SET permissions = excluded.permissions, updated_at = excluded.updated_at,
                version = roles.version + 1
            RETURNING name, permissions, created_at, updated_at, version",
            org as OrgId,
            name,
            &names,
            self.sources.now(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        let (target, detail) = (format!("role:{name}"), json!({ "permissions": names }));
        audit::record(&mut tx, &self.sources, org, actor, "role.put", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(Some(row.try_into()?))
    }

    /// Takes a role away that no member has.
    pub async fn role_delete(
        &self,
        org: OrgId,
        name: &str,
        expected: &Expected,
        actor: &str,
    ) -> Result<RoleDeletion, StoreError> {
        let during = || StoreError::during("role_delete");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = lock(&mut tx, org, name).await.map_err(during())?;
        if found.is_some() && !expected.met_by(found) {
            return Ok(RoleDeletion::Stale);
        }
        let row = sqlx::query!(
            r#"-- role_delete
            WITH used AS (
                SELECT EXISTS (SELECT FROM memberships WHERE org_id = $1 AND role = $2) AS used
            ), deleted AS (
                DELETE FROM roles USING used WHERE org_id = $1 AND name = $2 AND NOT used.used RETURNING name
            )
            SELECT used AS "used!", EXISTS (SELECT FROM roles WHERE org_id = $1 AND name = $2) AS "known!",
                EXISTS (SELECT FROM deleted) AS "deleted!"
            FROM used"#,
            org as OrgId,
            name,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        if !row.deleted {
            return Ok(if row.known && row.used { RoleDeletion::InUse } else { RoleDeletion::NoSuchRole });
        }
        let target = format!("role:{name}");
        audit::record(&mut tx, &self.sources, org, actor, "role.delete", &target, json!({})).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(RoleDeletion::Done)
    }
}

/// Two who change a role at once come one after the other; two who make one are kept apart by an advisory lock, since
/// there is no row yet.
async fn lock(connection: &mut PgConnection, org: OrgId, name: &str) -> Result<Option<RowVersion>, sqlx::Error> {
    sqlx::query!(
        r#"-- role_lock_name
        SELECT pg_advisory_xact_lock(hashtextextended('role ' || $1::text || ' ' || $2, 0)) AS "locked!: ()""#,
        uuid::Uuid::from(org).to_string(),
        name,
    )
    .fetch_one(&mut *connection)
    .await?;
    let row = sqlx::query!(
        "-- role_lock
        SELECT created_at, version FROM roles WHERE org_id = $1 AND name = $2 FOR UPDATE",
        org as OrgId,
        name,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| RowVersion { since: row.created_at, version: row.version }))
}
