//! Probes: questions about the data, as SQL that stands in the manifest.
//!
//! A probe's answer is one JSON object per row, printed by the server (`row_to_json`) under the settings that
//! [`crate::digest::pin`] pins, so that two answers can be compared as text. Rows come in the order that the probe's
//! SQL asks for.

use futures::TryStreamExt;
use futures::stream::BoxStream;
use sqlx::{AssertSqlSafe, PgConnection, Row};

/// Asks. Each item is one JSON object, without a line end.
///
/// The stream borrows the connection; on an error the connection is of no further use.
pub fn rows<'c>(connection: &'c mut PgConnection, sql: &str) -> BoxStream<'c, Result<String, sqlx::Error>> {
    let statement = format!("SELECT row_to_json(answer)::text FROM (\n{sql}\n) AS answer");
    let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch(connection);
    Box::pin(rows.and_then(async |row| row.try_get::<String, _>(0)))
}
