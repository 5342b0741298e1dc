//! A database per test.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use uuid::Uuid;

use crate::server::Server;
use crate::sources::system_sources;

/// Enough for tests that let several parties act at once; connections are opened as they are needed.
const MAX_CONNECTIONS: u32 = 16;

/// A fresh, empty database. Dropping it drops the database, whoever is still connected, also when the test panicked.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    options: PgConnectOptions,
    pool: PgPool,
    server: Server,
}

impl TestDatabase {
    /// Makes one, on the server named by `COWORK_TEST_POSTGRES`, else on a private one that this process' tests share.
    ///
    /// # Panics
    /// If there is no server, and none can be started.
    pub async fn create() -> Self {
        let server = tokio::task::spawn_blocking(Server::get).await.expect("a server to test on");
        let id: Uuid = system_sources().id();
        let name = format!("test_{}", id.simple());
        let admin = PgConnectOptions::from_str(&server.url()).expect("the server's url is one");
        run(&admin, format!("CREATE DATABASE {name} TEMPLATE template0")).await.expect("create a test database");
        let options = admin.database(&name);
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS).connect_lazy_with(options.clone());
        Self { name, options, pool, server }
    }

    /// Another one with the same rows. Whoever is connected to this one is cut off, and finds out with their next statement.
    ///
    /// # Panics
    /// If somebody connects all the time.
    pub async fn copy(&self) -> Self {
        let id: Uuid = system_sources().id();
        let name = format!("test_{}", id.simple());
        let admin = PgConnectOptions::from_str(&self.server.url()).expect("the server's url is one");
        let ours = &self.name;
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{ours}'");
        run(&admin, cut).await.expect("cut connections");
        run(&admin, format!("CREATE DATABASE {name} TEMPLATE {ours}")).await.expect("copy a test database");
        let options = admin.database(&name);
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS).connect_lazy_with(options.clone());
        Self { name, options, pool, server: self.server.clone() }
    }

    /// Its URL, for whatever takes one: sqlx, a role's configuration, Postgres' own tools.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_beside(&self.name)
    }

    /// The URL of another database of the same server.
    #[must_use]
    pub fn url_beside(&self, name: &str) -> String {
        match &self.server {
            Server::Private(cluster) => cluster.url(name),
            Server::Given(url) => with_database(url, name),
        }
    }

    #[must_use]
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    /// On a thread with a runtime of its own: the test's may be single-threaded, and blocked by this very call.
    fn drop(&mut self) {
        let admin = PgConnectOptions::from_str(&self.server.url()).unwrap_or_else(|_| self.options.clone());
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(&admin, statement))
        });
        // A panic here, while a test's own unwinds, would abort the whole process and hide what the test found.
        match dropped.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("the test database {} stays: {error}", self.name),
            Err(_) => eprintln!("the test database {} stays", self.name),
        }
    }
}

async fn run(server: &PgConnectOptions, statement: String) -> Result<(), sqlx::Error> {
    let mut connection: PgConnection = server.connect().await?;
    // The name in it is made above, of letters and digits.
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await
}

/// Replaces the path of a URL.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let authority_end = base.find("://").map_or(0, |at| at + 3);
    let base = base[authority_end..].find('/').map_or(base, |slash| &base[..authority_end + slash]);
    query.map_or_else(|| format!("{base}/{name}"), |query| format!("{base}/{name}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_turned_to_another_database() {
        assert_eq!(with_database("postgres://u@h/db?host=%2Ftmp", "t"), "postgres://u@h/t?host=%2Ftmp");
        assert_eq!(with_database("postgres://u:p@h:5432/db", "t"), "postgres://u:p@h:5432/t");
        assert_eq!(with_database("postgres://u@h", "t"), "postgres://u@h/t");
    }
}
