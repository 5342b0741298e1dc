//! Asks every law, and says what breaks it.
//!
//! Not here: the laws (`laws`), waiting for rest (`rest`).

use anyhow::Context as _;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, query_as, query_scalar};

use crate::laws::{LAWS, Law};

/// Of what breaks a law, so much is quoted.
const QUOTED: usize = 5;

/// A table's rows by their state.
const SEEN: &str = "SELECT string_agg(format('%s %s (%s)', total, what, states), '; ' ORDER BY what) FROM (
    SELECT what, sum(count) AS total, string_agg(format('%s %s', count, state), ', ' ORDER BY state) AS states FROM (
        SELECT 'commands' AS what, state, count(*) FROM commands GROUP BY state
        UNION ALL SELECT 'deliveries', state, count(*) FROM deliveries GROUP BY state
        UNION ALL SELECT 'slots', state, count(*) FROM slots GROUP BY state
        UNION ALL SELECT 'attempts', CASE payload->>'attempt' WHEN '1' THEN 'first' ELSE 'later' END, count(*)
            FROM events WHERE kind = 'turn_started' GROUP BY 2) AS counted
    GROUP BY what) AS summed";

/// A law that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) law: String,
    pub(crate) sentence: String,
    pub(crate) found: String,
}

impl Violation {
    pub(crate) fn new(law: &str, sentence: &str, found: impl Into<String>) -> Self {
        Self { law: law.to_owned(), sentence: sentence.to_owned(), found: found.into() }
    }

    pub(crate) fn line(&self) -> String {
        format!("{}: {}; found: {}", self.law, self.sentence, self.found)
    }
}

/// What is broken of all laws. The connection knows what was told (`outside`).
pub(crate) async fn ask(connection: &mut PgConnection) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for law in LAWS {
        let found = ask_one(connection, law).await;
        violations.extend(found.with_context(|| format!("asking the law {}", law.name))?);
    }
    Ok(violations)
}

/// What there was to see, in a sentence.
pub(crate) async fn seen(connection: &mut PgConnection) -> sqlx::Result<String> {
    query_scalar(SEEN).fetch_one(connection).await
}

async fn ask_one(connection: &mut PgConnection, law: &Law) -> sqlx::Result<Option<Violation>> {
    let violation = |found: String| Some(Violation::new(law.name, law.sentence, found));
    let of: i64 = query_scalar(law.of).fetch_one(&mut *connection).await?;
    if of == 0 {
        return Ok(violation("there was nothing to look at".to_owned()));
    }
    // Both parts are data of this program.
    let sql = format!(
        "WITH broken (what) AS ({})
         SELECT (SELECT count(*) FROM broken), ARRAY(SELECT coalesce(what, '?') FROM broken ORDER BY what LIMIT {QUOTED})",
        law.broken
    );
    let (count, quoted): (i64, Vec<String>) = query_as(AssertSqlSafe(sql)).fetch_one(connection).await?;
    Ok(if count == 0 { None } else { violation(format!("{count} of {of}, such as {}", quoted.join("; "))) })
}
