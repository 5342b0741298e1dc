//! One reading of every table: each is digested (row 1), and the rows of events and projections are folded beside
//! (row 5), so that the largest table is read once.
//!
//! Which tables those are says the manifest (`columns_of` of the probes); the judge knows none by name.
//!
//! Not here: judging (`postgres`, `parity`).

use std::borrow::Cow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context as _, anyhow};
use archive::Manifest;
use archive::digest::{self, TableDigest};
use archive::manifest::Table;
use bytes::Bytes;
use sqlx::{Connection as _, PgConnection};

use super::parity::Read;

/// Lines that may wait to be folded: the reading goes no further ahead than this.
const AHEAD: usize = 1_024;

/// What was read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// In the manifest's order; `None`: the table could not be read.
    pub(crate) digests: Vec<Option<TableDigest>>,
    pub(crate) parity: anyhow::Result<Read>,
}

/// What a table's rows are folded as, and where the wanted columns stand in its lines.
#[derive(Debug, Clone)]
struct Wanted {
    kind: Kind,
    columns: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Events,
    Projections,
}

type Line = (Wanted, Bytes);

/// Reads every table of the manifest.
pub(crate) async fn read(manifest: &Manifest, database_url: &str) -> anyhow::Result<Reading> {
    let (lines, queue) = sync_channel::<Line>(AHEAD);
    let folding = tokio::task::spawn_blocking(move || fold(&queue));
    let wanted =
        [wanted(manifest, "session_events", Kind::Events), wanted(manifest, "session_projections", Kind::Projections)];
    let wanted = wanted.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut connection = PgConnection::connect(database_url).await?;
    let mut digests = Vec::with_capacity(manifest.tables.len());
    for table in &manifest.tables {
        let columns = wanted.iter().find(|(name, _)| *name == table.name).map(|(_, wanted)| wanted);
        let seen = read_table(&mut connection, table, columns, &lines).await;
        digests.push(match seen {
            Ok(seen) => Some(seen),
            // The statement failed: the table or a column is gone. The connection is of no further use.
            Err(sqlx::Error::Database(_)) => {
                connection = PgConnection::connect(database_url).await?;
                None
            }
            Err(other) => return Err(other.into()),
        });
    }
    drop(lines);
    Ok(Reading { digests, parity: folding.await.context("folding ended in disorder")? })
}

async fn read_table(
    connection: &mut PgConnection,
    table: &Table,
    wanted: Option<&Wanted>,
    lines: &SyncSender<Line>,
) -> Result<TableDigest, sqlx::Error> {
    let Some(wanted) = wanted else { return digest::table_digest(connection, &table.sql).await };
    digest::table_digest_with(connection, &table.sql, |line| {
        // The other side hangs up only when it has failed, and says so at the end. It never waits for this one, so a
        // full queue empties.
        let _ = tokio::task::block_in_place(|| lines.send((wanted.clone(), line)));
    })
    .await
}

/// The table that the probe `name` consists of, and where its columns are.
fn wanted<'a>(manifest: &'a Manifest, name: &str, kind: Kind) -> anyhow::Result<(&'a str, Wanted)> {
    let probe = manifest.probe(name).ok_or_else(|| anyhow!("the manifest has no probe {name}"))?;
    let of = probe.columns_of.as_ref().ok_or_else(|| anyhow!("the probe {name} names no table"))?;
    let table = manifest.table(&of.table).ok_or_else(|| anyhow!("the manifest has no table {}", of.table))?;
    let place = |column: &String| table.columns.iter().position(|known| known == column);
    let columns = of.columns.iter().map(place).collect::<Option<Vec<_>>>();
    let columns = columns.ok_or_else(|| anyhow!("table {} lacks a column that the probe {name} asks for", of.table))?;
    Ok((&of.table, Wanted { kind, columns }))
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
