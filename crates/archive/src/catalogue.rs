//! The catalogue: what a database consists of besides rows, as sorted lines that can be compared as text.
//!
//! Columns with type, default and nullability, constraints, indexes, sequences, views, triggers, policies, functions,
//! types, extensions, grants, comments. Names of owners are left out: a restore gives everything to whoever restores.
//! What belongs to an extension is not listed; the extension is.
//!
//! Not here: where sequences stand. They move while a backup runs, so they have bounds of their own ([`sequences`]).

use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::digest;

const LINES: &str = include_str!("catalogue/lines.sql");
const SEQUENCES: &str = include_str!("catalogue/sequences.sql");

/// Reads the catalogue. Pins the connection ([`crate::digest::pin`]), for names are printed relative to its search path.
///
/// # Errors
/// If the server does not answer.
pub async fn lines(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    digest::pin(connection).await?;
    let mut lines: Vec<String> = sqlx::query_scalar(LINES).fetch_all(&mut *connection).await?;
    lines.sort_unstable();
    Ok(lines)
}

/// A sequence, and the next value that it would give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencePosition {
    pub schema: String,
    pub name: String,
    pub next: i64,
}

/// Where each sequence stands now, whatever the transaction's snapshot. Sorted by schema and name.
///
/// # Errors
/// If the server does not answer.
pub async fn sequences(connection: &mut PgConnection) -> Result<Vec<SequencePosition>, sqlx::Error> {
    let mut positions = Vec::new();
    for row in sqlx::query(SEQUENCES).fetch_all(&mut *connection).await? {
        let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
        let increment: i64 = row.try_get("increment")?;
        let relation: String = row.try_get("relation")?;
        let sql = format!("-- catalogue_sequence\nSELECT last_value, is_called FROM {relation}");
        let (last, called): (i64, bool) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
        let next = if called { last.saturating_add(increment) } else { last };
        positions.push(SequencePosition { schema, name, next });
    }
    Ok(positions)
}

/// The next value that one sequence would give; `None` if there is no such sequence.
///
/// # Errors
/// If the server does not answer.
pub async fn sequence_next(
    connection: &mut PgConnection,
    schema: &str,
    name: &str,
) -> Result<Option<i64>, sqlx::Error> {
    let found = sequences(connection).await?.into_iter().find(|at| at.schema == schema && at.name == name);
    Ok(found.map(|at| at.next))
}
