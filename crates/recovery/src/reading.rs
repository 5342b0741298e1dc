//! Reading the lost system's ledger into the notes of a replay.
//!
//! Not here: what the notes add up to (crate root).

use std::time::{Duration, Instant};

use clock::Timestamp;
use ledger::{BEFORE_SNAPSHOT, Entries, Finding, Reader, Tally};
use serde_json::{Value, json};
use store::Replay;

use crate::{Progress, RecoveryError, ms, notes};

/// Notes that are told at a time.
const BATCH: usize = 10_000;
/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What reading the ledger came to.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    from: Option<Timestamp>,
    tally: Tally,
    findings: Vec<Finding>,
    findings_unlisted: u64,
    took: Duration,
}

/// Notes everything from [`BEFORE_SNAPSHOT`] before the snapshot on.
pub(crate) async fn read(
    reader: &Reader,
    as_of: Option<Timestamp>,
    replay: &mut Replay,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Reading, RecoveryError> {
    let start = Instant::now();
    let from = as_of.map(|as_of| as_of - BEFORE_SNAPSHOT);
    let mut entries = reader.entries(from.unwrap_or(Timestamp::UNIX_EPOCH));
    let mut told = start;
    let mut batch = fill(&mut entries, &mut told, progress).await?;
    while batch.len() > 0 {
        // The database takes one while the next is read. Both are seen to their end: a copy that is left half way takes its
        // connection with it.
        let notes = batch.into_notes();
        let (noted, next) = tokio::join!(replay.note(&notes), fill(&mut entries, &mut told, progress));
        noted?;
        batch = next?;
    }
    let reading = Reading {
        from,
        tally: entries.tally(),
        findings: entries.findings().list().to_vec(),
        findings_unlisted: entries.findings().unlisted(),
        took: start.elapsed(),
    };
    refuse(&entries)?;
    progress(Progress::Read { records: reading.tally.records, took: reading.took });
    for finding in reading.findings.iter().filter(|finding| !finding.normal()) {
        progress(Progress::Finding(finding.sentence()));
    }
    Ok(reading)
}

/// The next [`BATCH`] notes; none at the end.
async fn fill(
    entries: &mut Entries,
    told: &mut Instant,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<notes::Batch, RecoveryError> {
    let mut batch = notes::Batch::default();
    while batch.len() < BATCH {
        let Some(some) = entries.next_many().await.map_err(RecoveryError::Unreadable)? else { break };
        some.into_iter().for_each(|entry| batch.add(entry));
        // What has been read ahead is at hand without waiting, and the copy beside this would stand still.
        tokio::task::yield_now().await;
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            progress(Progress::Reading { records: entries.tally().records, position: entries.position() });
        }
    }
    Ok(batch)
}

/// What makes it another ledger than the one that was meant. Whatever else is wrong is told, and does not stop a recovery.
fn refuse(entries: &Entries) -> Result<(), RecoveryError> {
    let stops = |finding: &&Finding| matches!(finding, Finding::AnotherSystem { .. } | Finding::NewerFormat { .. });
    match entries.findings().list().iter().find(stops) {
        None => Ok(()),
        Some(finding) => Err(RecoveryError::AnotherLedger(finding.sentence())),
    }
}

impl Reading {
    /// Whether nothing can be missing that the lost system wrote.
    pub(crate) fn is_whole(&self) -> bool {
        self.findings_unlisted == 0 && self.findings.iter().all(Finding::normal)
    }

    /// Adds what was read, and what was wrong with it, to the report.
    pub(crate) fn tell(&self, report: &mut Value) {
        report["from"] = json!(self.from);
        report["records"] = json!(self.tally.records);
        report["segments"] = json!(self.tally.segments);
        report["bytes"] = json!(self.tally.bytes);
        report["read_ms"] = json!(ms(self.took));
        report["findings"] = self
            .findings
            .iter()
            .map(|finding| json!({"code": finding.code(), "sentence": finding.sentence(), "normal": finding.normal()}))
            .collect();
        report["findings_unlisted"] = json!(self.findings_unlisted);
    }
}
