//! Orgs: tenants. Every row but those of the installation belongs to one.
//!
//! Not here: who belongs to an org (`account`), what it used (`usage`), its data key (`org_key`).

use clock::{Sources, Timestamp};
use domain::plan::SELF_HOSTED;
use domain::version::{Expected, RowVersion};
use ids::{AccountId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::account::{Member, NewMember};
use crate::token::NewToken;
use crate::{ChangeError, Store, StoreError, account, audit, token};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Org {
    pub org_id: OrgId,
    pub name: String,
    pub created_at: Timestamp,
    pub version: RowVersion,
}

struct Row {
    org_id: OrgId,
    name: String,
    created_at: Timestamp,
    version: i64,
}

impl From<Row> for Org {
    fn from(Row { org_id, name, created_at, version }: Row) -> Self {
        Self { org_id, name, created_at, version: RowVersion { since: created_at, version } }
    }
}

/// What the first org of an installation begins with: somebody who can sign in.
#[derive(Debug)]
pub struct FirstOrg<'a> {
    pub name: &'a str,
    pub owner: NewMember,
    /// The token's account is the owner's, whatever this says.
    pub token: NewToken,
}

/// Writes the org and its subscription.
async fn insert(connection: &mut PgConnection, sources: &Sources, name: &str) -> Result<Org, sqlx::Error> {
    let row = Row { org_id: sources.id(), name: name.to_owned(), created_at: sources.now(), version: 1 };
    let org = Org::from(row);
    sqlx::query!(
        "-- org_insert
        WITH org AS (INSERT INTO orgs (org_id, name, created_at) VALUES ($1, $2, $3) RETURNING org_id)
        INSERT INTO subscriptions (org_id, plan, state, started_at) SELECT org_id, $4, 'active', $3 FROM org",
        org.org_id as OrgId,
        org.name,
        org.created_at,
        SELF_HOSTED,
    )
    .execute(connection)
    .await?;
    Ok(org)
}

impl Store {
    /// Creates an org that nobody belongs to yet. `name` has 1 to 200 characters.
    pub async fn org_create(&self, name: &str, actor: &str) -> Result<Org, StoreError> {
        let during = || StoreError::during("org_create");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let org = insert(&mut tx, &self.sources, name).await.map_err(during())?;
        let (target, detail) = (format!("org:{}", org.org_id), json!({ "name": name }));
        audit::record(&mut tx, &self.sources, org.org_id, actor, "org.create", &target, detail)
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(org)
    }

    /// Creates the first org with its owner and the owner's token, unless there is an org already: then `None`.
    pub async fn org_create_first(
        &self,
        first: FirstOrg<'_>,
        actor: &str,
    ) -> Result<Option<(Org, Member)>, StoreError> {
        let during = || StoreError::during("org_create_first");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        if !first_in_line(&mut tx).await.map_err(during())? {
            return Ok(None);
        }
        let org = insert(&mut tx, &self.sources, first.name).await.map_err(during())?;
        let added = account::insert(&mut tx, &self.sources, org.org_id, &first.owner).await.map_err(during())?;
        let owner = added.expect("the org is new, so it has no members");
        let new = NewToken { account: owner.account_id, ..first.token };
        token::insert(&mut tx, &self.sources, org.org_id, &new).await.map_err(during())?;
        record_first(&mut tx, &self.sources, &org, owner.account_id, actor).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Some((org, owner)))
    }

    pub async fn org_get(&self, org: OrgId) -> Result<Option<Org>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- org_get
            SELECT org_id AS "org_id: OrgId", name, created_at, version FROM orgs WHERE org_id = $1"#,
            org as OrgId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("org_get"))?;
        Ok(row.map(Org::from))
    }

    /// Gives an org another name, of 1 to 200 characters, if it is in the state that the change was made for. The same name once
    /// more writes nothing. Two orgs may have one name.
    pub async fn org_rename(
        &self,
        org: OrgId,
        name: &str,
        expected: &Expected,
        actor: &str,
    ) -> Result<Org, ChangeError> {
        let during = || StoreError::during("org_rename");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = lock(&mut tx, org).await.map_err(during())?.ok_or(ChangeError::NoSuch("org"))?;
        if !expected.met_by(Some(found.version)) {
            return Err(ChangeError::Stale("org"));
        }
        if found.name == name {
            return Ok(found);
        }
        let renamed = rename(&mut tx, org, name).await.map_err(during())?;
        let (target, detail) = (format!("org:{org}"), json!({ "before": found.name, "after": name }));
        audit::record(&mut tx, &self.sources, org, actor, "org.rename", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(renamed)
    }

    /// Oldest first.
    pub async fn org_list(&self, after: Option<OrgId>, limit: i64) -> Result<Vec<Org>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- org_list
            SELECT org_id AS "org_id: OrgId", name, created_at, version FROM orgs
            WHERE $1::uuid IS NULL OR org_id > $1 ORDER BY org_id LIMIT $2"#,
            after as Option<OrgId>,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("org_list"))?;
        Ok(rows.into_iter().map(Org::from).collect())
    }
}

async fn lock(connection: &mut PgConnection, org: OrgId) -> Result<Option<Org>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"-- org_lock
        SELECT org_id AS "org_id: OrgId", name, created_at, version FROM orgs WHERE org_id = $1 FOR NO KEY UPDATE"#,
        org as OrgId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Org::from))
}

async fn rename(connection: &mut PgConnection, org: OrgId, name: &str) -> Result<Org, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"-- org_rename
        UPDATE orgs SET name = $2, version = version + 1 WHERE org_id = $1
        RETURNING org_id AS "org_id: OrgId", name, created_at, version"#,
        org as OrgId,
        name,
    )
    .fetch_one(connection)
    .await?;
    Ok(row.into())
}

/// Waits for anybody else who is creating the first org, then says whether there is still none.
async fn first_in_line(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query!("-- org_create_first_lock\nLOCK TABLE orgs IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query!(
        r#"-- org_create_first
        SELECT NOT EXISTS (SELECT FROM orgs) AS "none!""#
    )
    .fetch_one(connection)
    .await?;
    Ok(row.none)
}

async fn record_first(
    connection: &mut PgConnection,
    sources: &Sources,
    org: &Org,
    owner: AccountId,
    actor: &str,
) -> Result<(), sqlx::Error> {
    let (org_id, target) = (org.org_id, format!("org:{}", org.org_id));
    let detail = json!({ "name": org.name, "owner": owner });
    audit::record(connection, sources, org_id, actor, "org.create", &target, detail).await
}

#[cfg(test)]
mod tests {
    use domain::tenancy::{Role, Scope};
    use testkit::TestDatabase;

    use super::*;

    #[tokio::test]
    async fn of_two_that_make_the_first_org_at_once_one_does() {
        let database = TestDatabase::create().await;
        let store = Store::from_pool(database.pool(), testkit::sources(1).1);
        store.migrate().await.unwrap();
        let owner = NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Owner.into() };
        let token = |byte| NewToken {
            account: AccountId::from(uuid::Uuid::nil()),
            name: "first".into(),
            hash: [byte; 32],
            prefix: "cow_abcd".into(),
            last_four: "abcd".into(),
            scopes: vec![Scope::Operator],
            expires_at: None,
        };
        let first = |byte| {
            store.org_create_first(FirstOrg { name: "A", owner: owner.clone(), token: token(byte) }, "role:test")
        };
        let (one, two) = tokio::join!(first(1), first(2));
        assert_eq!([one.unwrap().is_some(), two.unwrap().is_some()].iter().filter(|made| **made).count(), 1);
        assert_eq!(store.org_list(None, 10).await.unwrap().len(), 1);
    }
}
