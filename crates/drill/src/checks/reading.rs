//! One reading of every table: each is digested (row 1), and the rows of events and projections are folded beside
//! (row 5), so that the largest table is read once. Large tables are read in two parts at the same time.
//!
//! Which tables those are says the manifest (`columns_of` of the probes); the judge knows none by name.
//!
//! Not here: judging (`postgres`, `parity`).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, anyhow};
use archive::Manifest;
use archive::digest::{self, Accumulator, TableDigest};
use archive::manifest::Table;
use bytes::Bytes;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::parity::Read;

/// Lines that may wait to be folded: the reading goes no further ahead than this.
const AHEAD: usize = 1_024;
/// Tables of more bytes are read in parts.
const LARGE: u64 = 32 << 20;
/// Connections that read at the same time, and parts of a large table.
const READERS: i64 = 2;

/// What was read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// In the manifest's order; `None`: the table could not be read.
    pub(crate) digests: Vec<Option<TableDigest>>,
    pub(crate) parity: anyhow::Result<Read>,
}

/// What a table's rows are folded as, and where the wanted columns stand in its lines.
#[derive(Debug)]
struct Wanted {
    kind: Kind,
    columns: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Events,
    Projections,
}

/// A statement that reads a table, or a part of one.
#[derive(Debug)]
struct Part {
    /// Place of the table in the manifest.
    table: usize,
    sql: String,
    wanted: Option<Arc<Wanted>>,
}

type Line = (Arc<Wanted>, Bytes);

/// Reads every table of the manifest.
pub(crate) async fn read(manifest: &Manifest, database_url: &str) -> anyhow::Result<Reading> {
    let (lines, queue) = sync_channel::<Line>(AHEAD);
    let folding = tokio::task::spawn_blocking(move || fold(&queue));
    let parts = Arc::new(Mutex::new(plan(manifest, database_url).await?));
    let reader = || tokio::spawn(read_parts(parts.clone(), database_url.to_owned(), lines.clone()));
    let (one, two) = tokio::join!(reader(), reader());
    drop(lines);
    let mut sums: Vec<Option<Accumulator>> = manifest.tables.iter().map(|_| Some(Accumulator::default())).collect();
    for (table, seen) in one.context("a reader ended in disorder")??.into_iter().chain(two??) {
        match (sums[table].as_mut(), seen) {
            (Some(sum), Some(seen)) => sum.absorb(&seen),
            (_, None) => sums[table] = None,
            (None, _) => {}
        }
    }
    let digests = sums.into_iter().map(|sum| sum.map(|sum| sum.finish())).collect();
    Ok(Reading { digests, parity: folding.await.context("folding ended in disorder")? })
}

/// The statements that read everything, the largest tables first.
async fn plan(manifest: &Manifest, database_url: &str) -> anyhow::Result<VecDeque<Part>> {
    let folded = [
        wanted(manifest, "session_events", Kind::Events)?,
        wanted(manifest, "session_projections", Kind::Projections)?,
    ];
    let mut connection = PgConnection::connect(database_url).await?;
    let mut tables: Vec<(usize, &Table)> = manifest.tables.iter().enumerate().collect();
    tables.sort_by_key(|(_, table)| std::cmp::Reverse(table.bytes));
    let mut parts = VecDeque::new();
    for (place, table) in tables {
        let wanted = folded.iter().find(|(name, _)| *name == table.name).map(|(_, wanted)| wanted.clone());
        for sql in statements(&mut connection, table).await? {
            parts.push_back(Part { table: place, sql, wanted: wanted.clone() });
        }
    }
    Ok(parts)
}

/// The manifest's statement for the table; for a large one that is read whole, one statement for each part of its pages.
async fn statements(connection: &mut PgConnection, table: &Table) -> anyhow::Result<Vec<String>> {
    if table.bytes < LARGE || table.filter_reason.is_some() {
        return Ok(vec![table.sql.clone()]);
    }
    let pages = "SELECT coalesce(pg_relation_size(to_regclass(format('%I.%I', $1, $2))), 0)
        / current_setting('block_size')::bigint";
    let pages = sqlx::query_scalar(AssertSqlSafe(pages)).bind(&table.schema).bind(&table.name);
    let pages: i64 = pages.fetch_one(connection).await?;
    let edge = |part: i64| pages * part / READERS;
    let part = |part: i64| match part + 1 {
        READERS => format!("{} WHERE ctid >= '({},0)'", table.sql, edge(part)),
        next => format!("{} WHERE ctid >= '({},0)' AND ctid < '({},0)'", table.sql, edge(part), edge(next)),
    };
    Ok((0..READERS).map(part).collect())
}

/// Takes parts until none is left. `None`: the statement failed, because the table or a column of it is gone.
async fn read_parts(
    parts: Arc<Mutex<VecDeque<Part>>>,
    database_url: String,
    lines: SyncSender<Line>,
) -> anyhow::Result<Vec<(usize, Option<Accumulator>)>> {
    let mut connection = PgConnection::connect(&database_url).await?;
    let mut done = Vec::new();
    loop {
        let next = parts.lock().expect("no holder of this lock can panic").pop_front();
        let Some(part) = next else { return Ok(done) };
        let seen = digest::accumulate(&mut connection, &part.sql, |line| {
            if let Some(wanted) = &part.wanted {
                hand_over(&lines, (wanted.clone(), line));
            }
        });
        done.push(match seen.await {
            Ok(seen) => (part.table, Some(seen)),
            Err(sqlx::Error::Database(_)) => {
                // The connection is of no further use.
                connection = PgConnection::connect(&database_url).await?;
                (part.table, None)
            }
            Err(other) => return Err(other.into()),
        });
    }
}

/// Waits only if the fold is far behind. It hangs up only when it has failed, and says so at its end.
fn hand_over(lines: &SyncSender<Line>, line: Line) {
    if let Err(TrySendError::Full(line)) = lines.try_send(line) {
        let _ = tokio::task::block_in_place(|| lines.send(line));
    }
}

/// The table that the probe `name` consists of, and where its columns are.
fn wanted<'a>(manifest: &'a Manifest, name: &str, kind: Kind) -> anyhow::Result<(&'a str, Arc<Wanted>)> {
    let probe = manifest.probe(name).ok_or_else(|| anyhow!("the manifest has no probe {name}"))?;
    let of = probe.columns_of.as_ref().ok_or_else(|| anyhow!("the probe {name} names no table"))?;
    let table = manifest.table(&of.table).ok_or_else(|| anyhow!("the manifest has no table {}", of.table))?;
    let place = |column: &String| table.columns.iter().position(|known| known == column);
    let columns = of.columns.iter().map(place).collect::<Option<Vec<_>>>();
    let columns = columns.ok_or_else(|| anyhow!("table {} lacks a column that the probe {name} asks for", of.table))?;
    Ok((&of.table, Arc::new(Wanted { kind, columns })))
}

fn fold(queue: &Receiver<Line>) -> anyhow::Result<Read> {
    let mut read = Read::default();
    for (wanted, line) in queue {
        let all = crate::copy_text::columns(&line);
        let pick = |place: &usize| all.get(*place).cloned().flatten();
        let columns: Vec<Option<Cow<'_, str>>> = wanted.columns.iter().map(pick).collect();
        match wanted.kind {
            Kind::Events => read.take_event(&columns)?,
            Kind::Projections => read.take_projection(&columns)?,
        }
    }
    read.finish();
    Ok(read)
}
