//! The second wall between tenants: row-level security in Postgres.
//!
//! The first wall is that every statement about tenants' rows names the org. The second is for the statement that forgets to:
//! work on tenants' rows steps down to [`ROLE`], which owns nothing, and says whose rows it is there for. A policy on each table
//! with an org (`migrations/*_ask_once_whose_rows.sql`) hides all others. A connection that says nothing sees no tenant's row.
//!
//! What is said travels with what goes to the server anyway: in the message that begins a transaction, or once on a
//! connection that then stays with the org ([`crate::connections`]).
//!
//! Orgs are crossed on purpose by claims, sweeps, sign-in (a token's hash is known before its org), operators' questions and
//! erasures: they ask for [`Reach::Everywhere`] by name. Migrations, generations and a restore's replay work as the owner of the
//! tables, whom policies do not bind.
//!
//! Not guaranteed: anything against somebody who can send SQL of their own. A login that owns the tables can step back up; one
//! that is only a member of [`ROLE`] can't, but can say another org. Accounts belong to no org, so no policy hides them.
//!
//! Not here: who may do what (`domain::tenancy`), the expression of the policies (the migration and `backup_spec/tenant_walls.sql`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use ids::OrgId;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Describe, Either, Error, Execute, Executor, PgConnection, PgExecutor, PgTransaction, Postgres,
    SqlStr,
};

use crate::connections::Connections;
use crate::{ConnectError, Store, StoreError};

/// What work on tenants' rows steps down to. One name for all databases of a server: it has no password and opens nothing by
/// itself.
pub const ROLE: &str = "cowork_runtime";

/// Whose rows a connection is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Org(OrgId),
    /// Crosses orgs on purpose.
    Everywhere,
}

impl Reach {
    /// As the policies read it.
    fn said(self) -> String {
        match self {
            Self::Org(org) => org.to_string(),
            Self::Everywhere => "*".to_owned(),
        }
    }
}

/// How a database keeps tenants apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walls {
    /// Whether this login steps down for its work on tenants' rows.
    pub stands: bool,
    /// Whether this login owns the tables or is a superuser, and so could step back up.
    pub owner: bool,
    /// What is missing at tables: `table: what`.
    pub gaps: Vec<String>,
}

/// Whether there is a wall for this process. Asked once: who raises one later starts roles anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wall(Arc<AtomicU8>);

const UNKNOWN: u8 = 0;
const STANDS: u8 = 1;
const ABSENT: u8 = 2;

const STANDS_SQL: &str = include_str!("wall/stands.sql");
const RAISE_SQL: &str = include_str!("wall/raise.sql");

impl Wall {
    pub(crate) async fn stands(&self, executor: impl PgExecutor<'_>) -> Result<bool, Error> {
        match self.0.load(Ordering::Acquire) {
            UNKNOWN => {
                let stands = sqlx::query_scalar(STANDS_SQL).bind(ROLE).fetch_one(executor).await?;
                self.0.store(if stands { STANDS } else { ABSENT }, Ordering::Release);
                Ok(stands)
            }
            known => Ok(known == STANDS),
        }
    }

    /// Says on a connection whose rows it is there for, until it is said again.
    pub(crate) async fn enter(connection: &mut PgConnection, reach: Reach) -> Result<(), Error> {
        let sql = format!("SET ROLE {ROLE}; SET cowork.org = '{}'", reach.said());
        // An org is letters, digits and dashes.
        connection.execute(AssertSqlSafe(sql)).await.map(drop)
    }
}

/// Carries single statements out, on a connection that is there for `reach`. What a statement answers is gathered before it is
/// given out, so it is for answers that are bounded.
#[derive(Debug)]
pub(crate) struct Through {
    connections: Connections,
    reach: Reach,
}

impl<'c> Executor<'c> for Through {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let gathered = async move {
            let mut lent = self.connections.lend(self.reach).await?;
            let answer: Vec<_> = lent.fetch_many(query).try_collect().await?;
            lent.done();
            Ok::<_, Error>(stream::iter(answer).map(Ok))
        };
        stream::once(gathered).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move {
            let mut lent = self.connections.lend(self.reach).await?;
            let row = lent.fetch_optional(query).await?;
            lent.done();
            Ok(row)
        }
        .boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        async move {
            let mut lent = self.connections.lend(self.reach).await?;
            let statement = lent.prepare_with(sql, parameters).await?;
            lent.done();
            Ok(statement)
        }
        .boxed()
    }

    /// The trait has it where statements are checked when they are compiled.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        async move {
            let mut lent = self.connections.lend(self.reach).await?;
            let described = lent.describe(sql).await?;
            lent.done();
            Ok(described)
        }
        .boxed()
    }
}

impl Store {
    /// Single statements about the rows of one org.
    pub(crate) fn of(&self, org: OrgId) -> Through {
        self.through(Reach::Org(org))
    }

    /// Single statements that cross orgs on purpose, or are about rows of none.
    pub(crate) fn everywhere(&self) -> Through {
        self.through(Reach::Everywhere)
    }

    fn through(&self, reach: Reach) -> Through {
        Through { connections: self.connections.clone(), reach }
    }

    /// A transaction about the rows of one org.
    pub(crate) async fn begin_of(&self, org: OrgId) -> Result<PgTransaction<'static>, Error> {
        self.begin(Reach::Org(org)).await
    }

    /// A transaction that crosses orgs on purpose.
    pub(crate) async fn begin_everywhere(&self) -> Result<PgTransaction<'static>, Error> {
        self.begin(Reach::Everywhere).await
    }

    async fn begin(&self, reach: Reach) -> Result<PgTransaction<'static>, Error> {
        if !self.wall.stands(&self.pool).await? {
            return self.pool.begin().await;
        }
        let begin = format!("BEGIN; SET LOCAL ROLE {ROLE}; SET LOCAL cowork.org = '{}'", reach.said());
        self.pool.begin_with(AssertSqlSafe(begin)).await
    }

    /// Makes [`ROLE`] and gives it what roles need, as far as this login may. Changes nothing where that is done.
    ///
    /// # Errors
    /// If the database does not answer, or somebody else owns its tables.
    pub async fn wall_raise(&self) -> Result<(), ConnectError> {
        let raised = self.pool.execute(RAISE_SQL).await;
        raised.map_err(ConnectError::Wall)?;
        self.wall.0.store(UNKNOWN, Ordering::Release);
        Ok(())
    }

    /// How this database keeps tenants apart, for an operator who asks.
    ///
    /// Not a checked statement: it is the one that goes into manifests.
    pub async fn walls(&self) -> Result<Walls, StoreError> {
        let during = || StoreError::during("walls");
        let stands = self.wall.stands(&self.pool).await.map_err(during())?;
        let gaps: Vec<(String, String)> = sqlx::query_as(include_str!("backup_spec/tenant_walls.sql"))
            .fetch_all(&self.pool)
            .await
            .map_err(during())?;
        let owner = sqlx::query_scalar(
            "-- walls_owner
            SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'orgs'::regclass",
        );
        let owner = owner.fetch_one(&self.pool).await.map_err(during())?;
        let gaps = gaps.into_iter().map(|(table, fault)| format!("{table}: {fault}")).collect();
        Ok(Walls { stands, owner, gaps })
    }
}

#[cfg(test)]
mod tests;
