//! The catalogue: what a database consists of besides rows, as sorted lines that can be compared as text.
//!
//! Columns with type, default and nullability, constraints, indexes, sequences, views, triggers, policies, functions,
//! types, extensions, grants, comments. Names of owners are left out: a restore gives everything to whoever restores.
//! What belongs to an extension is not listed; the extension is.
//!
//! Not here: where sequences stand. They move while a backup runs, so they have bounds of their own ([`sequences`]).

use std::collections::BTreeSet;

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

/// The roles that grants name, of a catalogue's lines. They belong to the cluster, so no dump brings them.
#[must_use]
pub fn grantees(lines: &[String]) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| grantee(line)).filter(|name| !matches!(*name, "PUBLIC" | "owner")).collect()
}

/// From `grant relation public.events to=NAME SELECT grantable=f`; a name may have spaces.
fn grantee(line: &str) -> Option<&str> {
    let (_, granted) = line.strip_prefix("grant ")?.rsplit_once(" to=")?;
    let (name_and_privilege, _) = granted.rsplit_once(" grantable=")?;
    Some(name_and_privilege.rsplit_once(' ')?.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grantee_is_known_by_its_name() {
        let lines = [
            "comment relation public.a to=nobody SELECT grantable=f",
            "grant relation public.a to=owner SELECT grantable=f",
            "grant relation public.a to=the readers SELECT grantable=t",
            "grant schema public to=PUBLIC USAGE grantable=f",
            "grant schema public to=cowork_runtime USAGE grantable=f",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(grantees(&lines).into_iter().collect::<Vec<_>>(), ["cowork_runtime", "the readers"]);
    }
}
