//! The judge's reading of a database on its own, for whoever measures what it costs: every table digested, every session's
//! events folded anew, and the result compared with what is stored. It is what a drill does for row 5, by the same code.
//!
//! Not here: what is compared (`checks`), the rest of a drill (`run`).

use std::path::Path;

use anyhow::{Context as _, bail};
use attest::{EvidenceFolder, RunKey};
use clock::Sources;

use crate::backup::Backup;
use crate::checks::{Inquiry, parity, reading};
use crate::report::{CheckId, Verdict};
use crate::rigging::Rigging;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reread {
    /// Events that were folded, of all sessions.
    pub events: i64,
    pub projections: usize,
    pub verdict: Verdict,
}

/// A backup whose database can be reread.
#[derive(Debug)]
pub struct Standard(Backup);

impl Standard {
    /// # Errors
    /// If the backup can't be read.
    pub fn open(archive: &Path, backup_id: &str) -> anyhow::Result<Self> {
        Backup::open(archive, backup_id).map(Self)
    }

    /// Reads the database, and judges its projections by this backup of it. `evidence` is an existing folder for what was seen.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn reread(&self, database_url: &str, evidence: &Path, sources: &Sources) -> anyhow::Result<Reread> {
        let evidence = EvidenceFolder::new(evidence, RunKey::unknown(sources.bytes()));
        let mut inquiry = Inquiry::begin(CheckId::SessionProjectionParity, sources, &evidence, &Rigging::default());
        let reading = reading::read(&self.0.manifest, database_url).await?;
        if reading.digests.iter().any(Option::is_none) {
            bail!("a table of the backup can't be read");
        }
        let read = reading.parity.context("events can't be folded")?;
        parity::judge(&mut inquiry, &self.0, &read);
        let verdict = inquiry.conclude("every projection is what its events add up to").verdict();
        Ok(Reread { events: read.events(), projections: read.projections(), verdict })
    }
}
