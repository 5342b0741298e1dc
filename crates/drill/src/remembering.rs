//! Beginning the restored system's generation, with what the lost one's recovery ledger remembers; and what the restore said
//! of that.
//!
//! The ledger is read where the lost system left it, and stays as it is. What the restore says goes into the report as its
//! word; no row is judged by it.
//!
//! Not here: looking whether it is true (`checks::standing`, `checks::scheduler`, `checks::gateway`).

use std::path::Path;

use anyhow::{Context as _, bail};
use clock::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::checks::postgres::OTHERS;
use crate::processes::Launcher;
use crate::report::{Known, LedgerFinding, LedgerUse, Lost, Remembered, TableCount};
use crate::said::{Heard, Name, say};

/// What `cowork admin generation start --json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Started {
    replay: Told,
}

/// Its part about the ledger.
#[derive(Debug, Deserialize)]
struct Told {
    ledger: LedgerUse,
    complete: bool,
    records: u64,
    segments: u64,
    bytes: u64,
    from: Option<Timestamp>,
    deliveries: Value,
    slots: Value,
    inbound_accepted: u64,
    interactions_used: u64,
    tokens_revoked: u64,
    members_removed: u64,
    keys_revoked: u64,
    channels_rotated: u64,
    channels_closed: u64,
    subjects_erased: u64,
    remembered: Value,
    lost: Lost,
    attention: Vec<String>,
    findings: Vec<Damaged>,
}

/// What it says is wrong with the ledger.
#[derive(Debug, Deserialize)]
struct Damaged {
    code: String,
    sentence: String,
    normal: bool,
}

/// Begins the generation of a drill. Gives back what it printed, and what it says that was remembered.
pub(crate) async fn begin(
    launcher: &Launcher,
    backup_id: &str,
    ledger: Option<&Path>,
) -> anyhow::Result<(String, Remembered)> {
    let ledger = ledger.map(|folder| folder.display().to_string());
    let mut arguments = vec!["admin", "generation", "start", "--environment", "drill", "--backup", backup_id, "--json"];
    if let Some(folder) = &ledger {
        arguments.extend(["--replay-from", folder]);
    }
    let done = launcher.run(&arguments).await?;
    if done.exit_code != Some(0) {
        bail!("`cowork admin generation start` failed: {}", done.stderr.trim());
    }
    let started: Started = serde_json::from_str(&done.stdout)
        .context("`cowork admin generation start` does not tell what it remembered")?;
    Ok((done.stdout + &done.stderr, started.replay.remembered()?))
}

impl Told {
    fn remembered(self) -> anyhow::Result<Remembered> {
        let count =
            |of: &Value, name: &str| of[name].as_u64().with_context(|| format!("the restore gives no count of {name}"));
        let (rows, others) = (&self.deliveries, &self.remembered);
        let known = Known {
            deliveries_sent: count(rows, "sent")? + count(others, "deliveries")?,
            deliveries_dead: count(rows, "dead")?,
            deliveries_held: count(rows, "unknown")? + count(others, "deliveries_unknown")?,
            deliveries_again: count(rows, "again")?,
            slots_fired: count(&self.slots, "fired")?,
            slots_unknown: count(&self.slots, "unknown")?,
            inbound_accepted: self.inbound_accepted,
            interactions_used: self.interactions_used,
            tokens_revoked: self.tokens_revoked,
            members_removed: self.members_removed,
            keys_revoked: self.keys_revoked,
            channels_rotated: self.channels_rotated,
            channels_closed: self.channels_closed,
            subjects_erased: self.subjects_erased,
        };
        Ok(Remembered {
            ledger: self.ledger,
            complete: self.complete,
            records: self.records,
            segments: self.segments,
            bytes: self.bytes,
            from: self.from,
            known,
            lost: self.lost,
            attention: self.attention.iter().map(|words| say!("{}", Heard::of(words))).collect(),
            findings: self.findings.iter().map(Damaged::repeated).collect(),
            seen: None,
        })
    }
}

impl Damaged {
    fn repeated(&self) -> LedgerFinding {
        let (code, sentence) = (Name::catalogued(&self.code), say!("{}", Heard::of(&self.sentence)));
        LedgerFinding { code, sentence, normal: self.normal }
    }
}

/// How many rows each table has now; `None`: it can't be counted, or is not ours.
pub(crate) async fn count(database_url: &str, counted: &[TableCount]) -> anyhow::Result<Vec<Option<i64>>> {
    let mut connection = PgConnection::connect(database_url).await?;
    let mut rows = Vec::new();
    for count in counted {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM \"{}\"", count.table.replace('"', "\"\"")));
        let own = count.group != OTHERS && count.restored_rows.is_some();
        rows.push(if own { sqlx::query_scalar(sql).fetch_one(&mut connection).await.ok() } else { None });
    }
    connection.close().await?;
    Ok(rows)
}

/// The counts of before, with what the replay added and took away. What was changed by others meanwhile is not in them.
pub(crate) fn with_replay(counted: &[TableCount], before: &[Option<i64>], after: &[Option<i64>]) -> Vec<TableCount> {
    let mut counts = counted.to_vec();
    for (count, (before, after)) in counts.iter_mut().zip(before.iter().zip(after)) {
        if let (Some(rows), Some(before), Some(after)) = (count.restored_rows, before, after) {
            count.restored_rows = rows.checked_add_signed(after - before);
        }
    }
    counts
}
