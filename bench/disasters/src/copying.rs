//! A backup and its restore in little: the rows of one database as of one instant, put into another one.
//!
//! It stands for `cowork backup` and `cowork restore`, whose own tools would take a second each; the runs with real
//! processes use those. What a restore marks the database with is written here as the archive writes it.
//!
//! Not here: objects, which the lives of a lineage share, as they share their ledger.

use bytes::Bytes;
use clock::{Sources, Timestamp};
use futures::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

/// The rows of all tables.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) taken_at: Timestamp,
    tables: Vec<Table>,
    sequences: Vec<(String, i64)>,
}

#[derive(Debug, Clone)]
struct Table {
    name: String,
    columns: String,
    rows: Vec<Bytes>,
}

const TABLES: &str = "SELECT quote_ident(c.relname), string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname <> '_sqlx_migrations'
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY c.relname";
const SEQUENCES: &str = "SELECT quote_ident(sequencename), last_value FROM pg_sequences
    WHERE schemaname = 'public' AND last_value IS NOT NULL";

/// A connection of its own to `url`.
pub(crate) async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    Ok(url.parse::<PgConnectOptions>()?.connect().await?)
}

pub(crate) async fn take(url: &str, sources: &Sources) -> anyhow::Result<Snapshot> {
    let mut connection = connect(url).await?;
    let taken_at = sources.now();
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let names: Vec<(String, String)> = sqlx::query_as(TABLES).fetch_all(&mut connection).await?;
    let mut tables = Vec::with_capacity(names.len());
    for (name, columns) in names {
        let copy = format!("COPY {name} ({columns}) TO STDOUT (FORMAT binary)");
        let rows = connection.copy_out_raw(&copy).await?.try_collect().await?;
        tables.push(Table { name, columns, rows });
    }
    let sequences = sqlx::query_as(SEQUENCES).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(Snapshot { taken_at, tables, sequences })
}

/// Into a database that has the tables and no rows. Marks it as restored.
pub(crate) async fn give(snapshot: &Snapshot, url: &str) -> anyhow::Result<()> {
    let mut connection = connect(url).await?;
    connection.execute("BEGIN; SET LOCAL session_replication_role = replica").await?;
    for table in &snapshot.tables {
        let copy = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", table.name, table.columns);
        let mut into = connection.copy_in_raw(&copy).await?;
        for rows in &table.rows {
            into.send(rows.clone()).await?;
        }
        into.finish().await?;
    }
    for (sequence, last) in &snapshot.sequences {
        let set = format!("SELECT setval('{sequence}', {last})");
        connection.execute(AssertSqlSafe(set)).await?;
    }
    let mark = format!(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET cowork.restored_as_of = %L', current_database(), '{}'); \
         END $$; COMMIT",
        snapshot.taken_at.to_rfc3339()
    );
    connection.execute(AssertSqlSafe(mark)).await?;
    Ok(connection.close().await?)
}
