//! A backup of ours: `cowork restore` gives it back, its manifest says what must be there.
//!
//! Not here: reading the manifest (`backup`).

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use localpg::Cluster;
use serde::Deserialize;

use super::{DATABASE, Expected, Refusal, Restored, settings};
use crate::backup::Backup;
use crate::rehearsal::{Aftermath, Means};
use crate::report::Code;
use crate::said::{Heard, say};
use crate::target::Target;

/// What `cowork restore --json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Answer {
    backup_id: String,
}

/// A backup in an archive.
#[derive(Debug)]
pub(crate) struct OurArchive {
    pub(crate) folder: PathBuf,
    /// Or `latest`.
    pub(crate) backup_id: String,
}

impl OurArchive {
    pub(super) async fn restore(
        &self,
        cluster: Cluster,
        means: &Means<'_>,
        aftermath: &Aftermath,
    ) -> anyhow::Result<Result<Restored, Refusal>> {
        let settings = settings(means, aftermath, cluster.url(DATABASE))?;
        let target = Target::prepare(Some(cluster), settings, &aftermath.secrets, means.executable)?;
        let archive = self.folder.display().to_string();
        let arguments = ["restore", "--archive", &archive, "--backup", &self.backup_id, "--environment", "drill"];
        let done = target.launcher.run(&[arguments.as_slice(), &["--no-start-generation", "--json"]].concat()).await?;
        match done.exit_code {
            Some(0) => {
                let answer: Answer = serde_json::from_str(&done.stdout).context("`cowork restore` gave no JSON")?;
                let expected = Expected::Manifest(Box::new(Backup::open(&self.folder, &answer.backup_id)?));
                Ok(Ok(Restored { target, expected, output: done.stdout + &done.stderr }))
            }
            Some(1) => {
                let cause = say!("`cowork restore` refuses the backup: {}", Heard::of(done.stderr.trim()));
                Ok(Err(Refusal { code: Code::RestoreRefused, cause, output: done.stdout }))
            }
            _ => bail!("`cowork restore` could not run: {}", done.stderr.trim()),
        }
    }
}
