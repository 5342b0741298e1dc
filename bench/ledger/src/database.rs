//! A private Postgres that keeps what was committed, with a system in it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use localpg::{Binaries, Cluster, Options};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use store::{Environment, Generation, Store};
use tempfile::TempDir;

use crate::processor::Processor;

/// Gone when it is dropped.
pub(crate) struct Database {
    cluster: Cluster,
    _folder: TempDir,
}

const NAME: &str = "cowork";

impl Database {
    #[expect(clippy::disallowed_methods, reason = "a program of its own finds Postgres' programs as a shell would")]
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cowork-bench-ledger-").tempdir()?;
        // Postgres runs as somebody else if this is root, and has to get in.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let binaries = Binaries::find(std::env::var_os("PATH").as_deref())?;
        let cluster = Cluster::temporary_with(&binaries, folder.path(), Options::safe())?;
        cluster.create_database(NAME)?;
        Ok(Self { cluster, _folder: folder })
    }

    /// With the tables, and a first generation.
    pub(crate) async fn system(&self, sources: clock::Sources) -> anyhow::Result<(Store, Generation)> {
        let store = Store::connect(&self.cluster.url(NAME), 20, sources).await?;
        store.migrate().await?;
        let generation = store.generation_initialise(Environment::Production).await?;
        Ok((store, generation))
    }

    /// Processor time of this process and of the server.
    pub(crate) fn processor(&self) -> Processor {
        Processor::now(self.cluster.pid())
    }

    /// Statements of the bench's own.
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.cluster.url(NAME)).await?)
    }

    pub(crate) async fn tell(&self, sql: String) -> anyhow::Result<()> {
        // Made here, of numbers and ids.
        self.connect().await?.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }
}
