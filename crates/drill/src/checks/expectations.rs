//! The numbers that a plan expects of the restored rows, as a part of row 1; and how old the backup may be.
//!
//! Each statement is one, runs in a read-only transaction, gives one whole number, and is ended after a while. The number
//! stands in the report; nothing else of the answer is kept.
//!
//! Not here: what else row 1 compares (`postgres`).

use chrono::TimeDelta;
use clock::Timestamp;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::Inquiry;
use crate::plan::{Expectation, Plan, Side};
use crate::report::Code;
use crate::said::{Fact, Name, Sentence, facts, say};

/// For one statement.
const LIMIT: &str = "SET LOCAL statement_timeout = '120s'";

/// Asks for every number. `manifest`: whether the backup has one, and so row 1 has more to go by.
pub(crate) async fn check(inquiry: &mut Inquiry, plan: &Plan, manifest: bool, database_url: &str) {
    let mut seen: Vec<Fact> = Vec::new();
    for expectation in &plan.expectations {
        let asked = ask(database_url, expectation).await;
        let what = say!("the expectation {}", Name::from(&expectation.name));
        let Some(number) = inquiry.learn(what, asked) else { continue };
        let holds =
            inquiry.expect(expectation.bounds.hold(number), Code::Expectation, || sentence(expectation, number));
        seen.push(facts!({"name": Name::from(&expectation.name), "number": number, "holds": holds}));
    }
    inquiry.record("expectations", &seen);
    if !manifest && plan.expectations.is_empty() {
        inquiry.could_not("the rows", "the backup has no manifest, and the plan expects nothing of them");
    }
    let side = |side| plan.expectations.iter().any(|expectation| expectation.side == Some(side));
    if plan.source.target_time().is_some() && !(side(Side::Before) && side(Side::After)) {
        inquiry
            .could_not("the instant", "the plan does not expect something from before it, and something from after it");
    }
}

/// A backup that is too old is a finding, whatever is in it.
pub(crate) fn check_age(inquiry: &mut Inquiry, plan: &Plan, taken_at: Timestamp, begun_at: Timestamp) {
    let (age, limit) = (begun_at - taken_at, TimeDelta::seconds(plan.thresholds.backup_age_s.into()));
    // The instant to recover to is chosen, and says nothing of how often backups are made.
    let judged = plan.source.target_time().is_none();
    if judged {
        inquiry.expect(age <= limit, Code::BackupStale, || {
            say!("the backup is {} s old, the plan allows {} s", age.num_seconds(), limit.num_seconds())
        });
    }
}

async fn ask(database_url: &str, expectation: &Expectation) -> Result<i64, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    let mut tx = connection.begin().await?;
    tx.execute("SET TRANSACTION READ ONLY").await?;
    tx.execute(LIMIT).await?;
    let number: i64 =
        sqlx::query_scalar(AssertSqlSafe(expectation.sql.as_str().to_owned())).fetch_one(&mut *tx).await?;
    tx.rollback().await?;
    connection.close().await?;
    Ok(number)
}

fn sentence(expectation: &Expectation, number: i64) -> Sentence {
    let name = Name::from(&expectation.name);
    let bounds = match (expectation.bounds.at_least, expectation.bounds.at_most) {
        (Some(least), Some(most)) if least == most => say!("{}", least),
        (least, most) => {
            let bound = |word: &'static str, bound: Option<i64>| bound.map(|bound| say!("{} {}", word, bound));
            let both = [bound("at least", least), bound("at most", most)];
            Sentence::join(&both.into_iter().flatten().collect::<Vec<_>>(), " and ")
        }
    };
    let side = match expectation.side {
        Some(Side::Before) => " (from before the instant)",
        Some(Side::After) => " (from after the instant)",
        None => "",
    };
    say!("{}{} is {}, the plan expects {}", name, side, number, bounds)
}
