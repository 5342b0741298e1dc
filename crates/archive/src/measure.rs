//! Measuring the rows of a snapshot: a digest per table, an answer per recorded probe, on two connections at once.
//!
//! Not here: the ruler itself (`digest`, `probe`), nor which probes there are (`spec`).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};
use tokio::task::JoinSet;

use crate::backup::{BackupError, recorded};
use crate::manifest::{NotCompared, Probe, System, Table};
use crate::progress::{Progress, Step};
use crate::snapshot::Held;
use crate::spec::BackupSpec;
use crate::{digest, probe};

/// More would only make the dump slower.
const CONNECTIONS: usize = 2;
const TABLES: &str = include_str!("measure/tables.sql");

/// What was measured, in order of name.
pub(crate) struct Measured {
    pub(crate) tables: Vec<Table>,
    pub(crate) not_compared: Vec<NotCompared>,
    pub(crate) probes: Vec<Probe>,
}

#[derive(Debug)]
enum Job {
    Table(Table),
    Probe { probe: Probe, file: PathBuf },
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Tables are digested, probes answered.
    Rows,
    /// Tables are listed only: nobody needs digests that would be compared with themselves.
    Lists,
}

/// Measures everything that the snapshot shows.
pub(crate) async fn measure(
    held: &Held,
    (database_url, spec): (&str, &BackupSpec),
    system: &System,
    folder: &Path,
    depth: Depth,
    progress: Arc<dyn Progress>,
) -> Result<Measured, BackupError> {
    let share = async || held.share(database_url).await.map_err(BackupError::Unreachable);
    let mut first = share().await?;
    let (tables, not_compared) =
        tables(&mut first, spec, system.generation).await.map_err(BackupError::during("its tables were listed"))?;
    let mut measured = Measured { tables: Vec::new(), not_compared, probes: Vec::new() };
    let mut jobs = Vec::new();
    for spec in &spec.probes {
        let columns_of = spec.columns_of.clone();
        let probe = Probe { name: spec.name.clone(), sql: spec.sql.clone(), recorded: None, columns_of };
        match spec.recorded {
            true => jobs.push(Job::Probe { file: folder.join(format!("probes/{}.jsonl", spec.name)), probe }),
            false => measured.probes.push(probe),
        }
    }
    match depth {
        // Taken from the end: the longest tables first.
        Depth::Rows => jobs.extend(tables.into_iter().map(Job::Table)),
        Depth::Lists => measured.tables.extend(tables),
    }
    progress.begin(Step::Measure, jobs.len() as u64);
    let outcome = format!("{} tables and probes", jobs.len());
    let jobs = Arc::new(Mutex::new(jobs));
    let mut crew = JoinSet::new();
    crew.spawn(work(first, jobs.clone(), progress.clone()));
    for _ in 1..CONNECTIONS {
        crew.spawn(work(share().await?, jobs.clone(), progress.clone()));
    }
    while let Some(done) = crew.join_next().await {
        for job in done.expect("measuring does not panic")? {
            match job {
                Job::Table(table) => measured.tables.push(table),
                Job::Probe { probe, .. } => measured.probes.push(probe),
            }
        }
    }
    measured.tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    measured.probes.sort_by(|a, b| a.name.cmp(&b.name));
    progress.end(Step::Measure, &outcome);
    Ok(measured)
}

async fn work(
    mut connection: PgConnection,
    jobs: Arc<Mutex<Vec<Job>>>,
    progress: Arc<dyn Progress>,
) -> Result<Vec<Job>, BackupError> {
    let next = || jobs.lock().expect("no holder of this lock can panic").pop();
    let mut done = Vec::new();
    while let Some(job) = next() {
        done.push(match job {
            Job::Table(table) => Job::Table(measure_table(&mut connection, table).await?),
            Job::Probe { probe, file } => {
                Job::Probe { probe: record_probe(&mut connection, probe, &file).await?, file }
            }
        });
        progress.advance(Step::Measure, 1);
    }
    Ok(done)
}

async fn measure_table(connection: &mut PgConnection, table: Table) -> Result<Table, BackupError> {
    let seen = digest::table_digest(connection, &table.sql)
        .await
        .map_err(BackupError::during(format!("the table {} was digested", table.name)))?;
    Ok(Table { rows: seen.rows, bytes: seen.bytes, digest: seen.digest, ..table })
}

async fn record_probe(connection: &mut PgConnection, probe: Probe, file: &Path) -> Result<Probe, BackupError> {
    let mut out = BufWriter::new(File::create_new(file).map_err(BackupError::Write)?);
    let (mut count, mut hash) = (0, Sha256::new());
    let during = || BackupError::during(format!("the probe {} was answered", probe.name));
    let mut rows = probe::stream(connection, &probe.sql).await.map_err(during())?;
    while let Some(mut row) = rows.try_next().await.map_err(during())? {
        row.push('\n');
        out.write_all(row.as_bytes()).map_err(BackupError::Write)?;
        hash.update(&row);
        count += 1;
    }
    out.flush().map_err(BackupError::Write)?;
    drop(rows);
    let recorded = Some(recorded(&probe.name, count, hex::encode(hash.finalize())));
    Ok(Probe { recorded, ..probe })
}

/// The tables to digest, smallest first, and those whose rows are not compared.
async fn tables(
    connection: &mut PgConnection,
    spec: &BackupSpec,
    generation: i64,
) -> Result<(Vec<Table>, Vec<NotCompared>), sqlx::Error> {
    let (mut tables, mut not_compared) = (Vec::new(), Vec::new());
    for row in sqlx::query(TABLES).fetch_all(connection).await? {
        let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
        let skip = spec.not_compared.iter().find(|entry| entry.schema == schema && entry.name == name);
        if let Some(reason) = skip.map(|entry| entry.reason.clone()).or_else(|| built_in_reason(&row)) {
            not_compared.push(NotCompared { schema, name, reason });
            continue;
        }
        let filter = spec.filters.iter().find(|filter| schema == "public" && filter.table == name);
        let condition = filter.map(|filter| filter.condition.replace("{generation}", &generation.to_string()));
        let tail = condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        let (selected, relation): (String, String) = (row.try_get("selected")?, row.try_get("relation")?);
        tables.push(Table {
            sql: format!("SELECT {selected} FROM ONLY {relation}{tail}"),
            filter_reason: filter.map(|filter| filter.reason.clone()),
            columns: row.try_get("columns")?,
            digest: String::new(),
            schema,
            name,
            rows: 0,
            bytes: 0,
        });
    }
    Ok((tables, not_compared))
}

fn built_in_reason(row: &sqlx::postgres::PgRow) -> Option<String> {
    let unlogged = row.try_get::<bool, _>("unlogged").unwrap_or(false);
    unlogged.then(|| "unlogged: its rows are not in a dump".to_owned())
}
