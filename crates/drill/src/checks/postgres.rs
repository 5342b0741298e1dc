//! Row 1, Postgres restore: every table's count and digest against the manifest, the catalogue, the sequences, the wall between
//! tenants, and heap and indexes checked by the engine (`amcheck`).
//!
//! Not here: whether the rows make sense together; the later rows look at that.

use archive::catalogue::{self, SequencePosition};
use archive::digest::{self, TableDigest};
use archive::manifest::{Manifest, Table};
use archive::probe;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::Inquiry;
use crate::backup::Backup;
use crate::report::{Code, TableCount};
use crate::said::{Fact, Factual, Heard, Name, Sentence, facts, say};

/// Of a backup without a manifest: every table of this build's schema can be read whole, and the catalogue has what this
/// build's has. How many rows there should be only the plan can know.
pub(crate) fn check_surveyed(
    inquiry: &mut Inquiry,
    manifest: &Manifest,
    digests: &[Option<TableDigest>],
    catalogue: &[String],
) -> Vec<TableCount> {
    let mut counts = count_tables(manifest, digests);
    for count in &mut counts {
        inquiry.expect(count.restored_rows.is_some(), Code::DataUnreadable, || {
            say!("table {} can't be read to its end", count.table)
        });
        // Nobody knows what the backup had.
        count.backup_rows = count.restored_rows.unwrap_or(0);
        count.digest_equal = None;
        count.note = Some("counted after the restore: the backup has no manifest".into());
    }
    inquiry.record("table-counts", &counts);
    let missing = lacking(catalogue, &manifest.catalogue);
    // What an operator added is theirs.
    let added = manifest.catalogue.iter().filter(|line| catalogue.binary_search(line).is_err()).count();
    inquiry.record("catalogue", &facts!({"expected": catalogue.len(), "missing": missing, "added": added}));
    inquiry.held(catalogue.len() - missing.len());
    for line in missing {
        inquiry.fault(Code::CatalogueMissing, say!("the catalogue lacks what this build's schema has: {}", line));
    }
    counts
}

/// What the report shows of every table.
pub(crate) async fn check(
    inquiry: &mut Inquiry,
    manifest: &Manifest,
    digests: &[Option<TableDigest>],
    database_url: &str,
) -> Vec<TableCount> {
    let counts = count_tables(manifest, digests);
    inquiry.record("table-counts", &counts);
    for count in &counts {
        judge_table(inquiry, count);
    }
    let catalogue = inquiry.learn("the catalogue could not be read", read_catalogue(database_url).await);
    if let Some(lines) = catalogue {
        judge_catalogue(inquiry, &manifest.catalogue, &lines);
    }
    let sequences = read_sequences(database_url).await;
    if let Some(values) = inquiry.learn("the sequences could not be read", sequences) {
        judge_sequences(inquiry, manifest, &values);
    }
    counts
}

fn judge_table(inquiry: &mut Inquiry, count: &TableCount) {
    let name = &count.table;
    let same_count = inquiry.expect(count.restored_rows == Some(count.backup_rows), Code::TableCount, || {
        match count.restored_rows {
            Some(rows) => say!("table {} has {} rows, the backup had {}", name, rows, count.backup_rows),
            None => say!("table {} is missing or can't be read, the backup had {} rows", name, count.backup_rows),
        }
    });
    if same_count {
        inquiry.expect(count.digest_equal == Some(true), Code::TableDigest, || {
            say!("table {} has as many rows as the backup, but their content differs", name)
        });
    }
}

fn count_tables(manifest: &Manifest, digests: &[Option<TableDigest>]) -> Vec<TableCount> {
    let count = |(table, seen): (&Table, &Option<TableDigest>)| TableCount {
        table: Name::catalogued(&table.name),
        group: group_of(manifest, table),
        backup_rows: table.rows,
        restored_rows: seen.as_ref().map(|seen| seen.rows),
        digest_equal: seen.as_ref().map(|seen| seen.digest == table.digest),
        note: None,
    };
    manifest.tables.iter().zip(digests).map(count).collect()
}

/// The group of tables that are in none.
pub(crate) const OTHERS: &str = "other";

fn group_of(manifest: &Manifest, table: &Table) -> Name {
    let group = manifest.groups.iter().find(|group| group.tables.contains(&table.name));
    group.map_or_else(|| OTHERS.into(), |group| Name::catalogued(&group.name))
}

async fn read_catalogue(database_url: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    digest::pin(&mut connection).await?;
    catalogue::lines(&mut connection).await
}

/// The lines of one sorted catalogue that another lacks.
fn lacking(lines: &[String], other: &[String]) -> Vec<Name> {
    lines.iter().filter(|line| other.binary_search(line).is_err()).map(|line| Name::definition(line)).collect()
}

fn judge_catalogue(inquiry: &mut Inquiry, expected: &[String], seen: &[String]) {
    let (missing, added) = (lacking(expected, seen), lacking(seen, expected));
    inquiry.record("catalogue", &facts!({"expected": expected.len(), "missing": missing, "added": added}));
    inquiry.held(expected.len() - missing.len());
    for line in missing {
        inquiry.fault(Code::CatalogueMissing, say!("the catalogue lacks what the backup had: {}", line));
    }
    for line in added {
        inquiry.fault(Code::CatalogueAdded, say!("the catalogue has what the backup had not: {}", line));
    }
}

async fn read_sequences(database_url: &str) -> Result<Vec<SequencePosition>, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    catalogue::sequences(&mut connection).await
}

fn judge_sequences(inquiry: &mut Inquiry, manifest: &Manifest, positions: &[SequencePosition]) {
    for sequence in &manifest.sequences {
        let same = |seen: &&SequencePosition| (&seen.schema, &seen.name) == (&sequence.schema, &sequence.name);
        let value = positions.iter().find(same).map(|seen| seen.next);
        let bounds = sequence.next_at_least..=sequence.next_at_most;
        inquiry.expect(value.is_some_and(|value| bounds.contains(&value)), Code::SequenceValue, || {
            let would_give = value.map_or_else(|| "is missing".into(), |value| say!("would give {} next", value));
            say!(
                "sequence {} {}, the backup had {} to {}",
                Name::catalogued(&sequence.name),
                would_give,
                bounds.start(),
                bounds.end()
            )
        });
    }
}

/// A gap in the wall between tenants, as the probe names it.
#[derive(Debug, Deserialize)]
struct Gap {
    table_name: String,
    fault: String,
}

/// Whether tenants are kept apart. What must be there says the program, not the backup: one of a system that had lost a policy
/// agrees with itself.
pub(crate) async fn check_walls(inquiry: &mut Inquiry, backup: &Backup, database_url: &str) {
    let gaps = inquiry.learn("the wall between tenants could not be looked at", read_gaps(backup, database_url).await);
    let Some(gaps) = gaps else { return };
    let told: Vec<Sentence> =
        gaps.iter().map(|gap| say!("{}: {}", Name::catalogued(&gap.table_name), Heard::of(&gap.fault))).collect();
    inquiry.record("tenant-walls", &facts!({"gaps": told}));
    inquiry.held(usize::from(told.is_empty()));
    for gap in told {
        inquiry.fault(Code::TenantWall, say!("tenants are not kept apart at table {}", gap));
    }
}

async fn read_gaps(backup: &Backup, database_url: &str) -> anyhow::Result<Vec<Gap>> {
    let mut connection = PgConnection::connect(database_url).await?;
    let rows = probe::rows(&mut connection, backup.sql("tenant_walls")?).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row)?)).collect()
}

/// What `amcheck` said: relations that it looked at, and its complaints.
#[derive(Debug, Default)]
pub(crate) struct EngineCheck {
    heaps: usize,
    indexes: usize,
    complaints: Vec<Sentence>,
}

/// Lets Postgres verify every heap page and every index, with each heap row looked up in its indexes.
///
/// The extension lives in a schema of its own and in a transaction that is rolled back, so the target is left as it
/// was.
pub(crate) async fn engine_check(database_url: &str) -> Result<EngineCheck, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    let mut tx = connection.begin().await?;
    tx.execute("CREATE SCHEMA drill_amcheck; CREATE EXTENSION amcheck SCHEMA drill_amcheck").await?;
    let mut check = EngineCheck::default();
    let heaps: Vec<(String,)> = sqlx::query_as(HEAPS).fetch_all(&mut *tx).await?;
    for (heap,) in &heaps {
        let name = Name::catalogued(heap);
        check.heaps += 1;
        let sql = format!("SELECT format('block %s: %s', blkno, msg) FROM drill_amcheck.verify_heapam('{heap}')");
        let mut attempt = tx.begin().await?;
        let complaints: Result<Vec<(String,)>, _> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *attempt).await;
        match complaints {
            Ok(found) => {
                check.complaints.extend(found.iter().map(|(one,)| say!("table {}, {}", name, Heard::of(one))));
            }
            // A page that can't be read at all.
            Err(sqlx::Error::Database(said)) => {
                check.complaints.push(say!("table {}: {}", name, Heard::of(said.message())));
            }
            Err(other) => return Err(other),
        }
        attempt.rollback().await?;
    }
    let indexes: Vec<(String,)> = sqlx::query_as(INDEXES).fetch_all(&mut *tx).await?;
    for (index,) in &indexes {
        check.indexes += 1;
        let mut attempt = tx.begin().await?;
        let sql = format!("SELECT drill_amcheck.bt_index_check('{index}', true)");
        if let Err(sqlx::Error::Database(complaint)) = attempt.execute(AssertSqlSafe(sql)).await {
            check.complaints.push(say!("index {}: {}", Name::catalogued(index), Heard::of(complaint.message())));
        }
        attempt.rollback().await?;
    }
    tx.rollback().await?;
    Ok(check)
}

/// Names are quoted by the server, and come back as text that names the same relation.
const HEAPS: &str = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname = 'public' ORDER BY 1";
const INDEXES: &str = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_am a ON a.oid = c.relam
    WHERE c.relkind = 'i' AND c.relpersistence = 'p' AND a.amname = 'btree' AND n.nspname = 'public' ORDER BY 1";

impl Factual for EngineCheck {
    fn fact(&self) -> Fact {
        facts!({"heaps": self.heaps, "indexes": self.indexes, "complaints": self.complaints})
    }
}

pub(crate) fn judge_engine(inquiry: &mut Inquiry, engine: &EngineCheck) {
    inquiry.record("engine", engine);
    inquiry.held(engine.heaps + engine.indexes);
    for complaint in &engine.complaints {
        inquiry.fault(Code::EngineComplaint, say!("Postgres finds damage: {}", complaint));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_check_reads_heaps_and_indexes_of_ours_only() {
        assert!(super::HEAPS.contains("nspname = 'public'") && super::INDEXES.contains("nspname = 'public'"));
    }
}
