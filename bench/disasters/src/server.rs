//! Databases of lives: copies of one that has the tables and no rows.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Executor as _};
use testkit::TestDatabase;

use crate::copying::connect;

#[derive(Debug)]
pub(crate) struct Databases {
    template: TestDatabase,
    made: AtomicU64,
}

impl Databases {
    pub(crate) async fn prepare() -> anyhow::Result<Self> {
        let template = TestDatabase::create().await;
        let store = store::Store::connect(&template.url(), 1, testkit::system_sources()).await?;
        store.migrate().await?;
        store.close().await;
        let databases = Self { template, made: AtomicU64::new(0) };
        // A template must have no connections. The pool has closed its own; on a busy machine their servers end later.
        databases.cut_off(&databases.template.url()).await?;
        Ok(databases)
    }

    /// The URL of a new one.
    pub(crate) async fn fresh(&self) -> anyhow::Result<String> {
        let (template, number) = (self.template.name(), self.made.fetch_add(1, Ordering::Relaxed));
        let name = format!("{template}_{number}");
        self.tell(format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")).await?;
        Ok(self.template.url_beside(&name))
    }

    /// The URL of a new one without a table.
    pub(crate) async fn empty(&self) -> anyhow::Result<String> {
        let (template, number) = (self.template.name(), self.made.fetch_add(1, Ordering::Relaxed));
        let name = format!("{template}_{number}");
        self.tell(format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        Ok(self.template.url_beside(&name))
    }

    /// Ends every connection: what its clients had begun and not committed is gone.
    pub(crate) async fn cut_off(&self, url: &str) -> anyhow::Result<()> {
        let name = name(url)?;
        self.tell(format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"))
            .await
    }

    pub(crate) async fn drop(&self, url: &str) -> anyhow::Result<()> {
        self.tell(format!("DROP DATABASE {} WITH (FORCE)", name(url)?)).await
    }

    async fn tell(&self, sql: String) -> anyhow::Result<()> {
        let url = self.template.url_beside("postgres");
        // The names in it are made above, of letters and digits.
        connect(&url).await?.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }
}

/// Of the database that a URL leads to.
fn name(url: &str) -> anyhow::Result<String> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.get_database().context("a URL names no database")?.to_owned())
}
