//! Probes: questions about the data, as SQL that stands in the manifest.
//!
//! A probe's answer is one JSON object per row, printed by the server (`row_to_json`) under the settings that
//! [`crate::digest::pin`] pins, so that two answers can be compared as text. Rows come in the order that the probe's
//! SQL asks for.

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::digest;

/// Asks, and gives every row: one JSON object each, without a line end.
///
/// # Errors
/// If the statement fails or the connection breaks.
pub async fn rows(connection: &mut PgConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    stream(connection, sql).await?.try_collect().await
}

/// As [`rows`], one at a time, for answers that are too long to hold.
///
/// # Errors
/// If the connection breaks; of the statement, the stream's items tell.
pub async fn stream<'c>(
    connection: &'c mut PgConnection,
    sql: &str,
) -> Result<BoxStream<'c, Result<String, sqlx::Error>>, sqlx::Error> {
    digest::pin(connection).await?;
    let statement = format!("SELECT row_to_json(answer)::text FROM (\n{sql}\n) AS answer");
    let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch(connection);
    Ok(rows.and_then(async |row| row.try_get::<String, _>(0)).boxed())
}
