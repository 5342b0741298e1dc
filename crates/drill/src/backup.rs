//! The backup as the judge's source of expected values: its manifest, its recorded probes, its list of blobs.
//!
//! Not here: whether the backup's files are whole. `archive` verifies every one of them when it is opened.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use archive::Manifest;
use archive::manifest::BlobEntry;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// A backup that was opened and found whole.
#[derive(Debug)]
pub(crate) struct Backup {
    pub(crate) manifest: Manifest,
    pub(crate) blobs: Vec<BlobEntry>,
    pub(crate) standard: Standard,
    folder: PathBuf,
}

/// Where expected values come from.
#[derive(Debug)]
pub(crate) enum Standard {
    /// The manifest was made with the backup.
    Manifest,
    /// There was none: the manifest is a survey of what came back. Only the catalogue of this build is an expectation.
    Survey { catalogue: Vec<String> },
}

impl Backup {
    /// Reads the backup in `archive/backups/ID`.
    pub(crate) fn open(archive: &Path, backup_id: &str) -> anyhow::Result<Self> {
        let folder = archive.join("backups").join(backup_id);
        let text = std::fs::read(folder.join("manifest.json")).context("the manifest can't be read")?;
        let manifest: Manifest = serde_json::from_slice(&text).context("the manifest can't be understood")?;
        let backup = Self { manifest, blobs: Vec::new(), standard: Standard::Manifest, folder };
        let blobs = backup.lines("blobs.jsonl")?;
        Ok(Self { blobs, ..backup })
    }

    /// A survey, whose files are in `folder`.
    pub(crate) fn surveyed(manifest: Manifest, folder: PathBuf, catalogue: Vec<String>) -> anyhow::Result<Self> {
        let backup = Self { manifest, blobs: Vec::new(), standard: Standard::Survey { catalogue }, folder };
        let blobs = backup.lines("blobs.jsonl")?;
        Ok(Self { blobs, ..backup })
    }

    /// Whether the manifest was made with the backup.
    pub(crate) fn has_manifest(&self) -> bool {
        matches!(self.standard, Standard::Manifest)
    }

    /// The recorded answer of the probe `name`.
    pub(crate) fn probe<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Vec<T>> {
        let probe = self.manifest.probe(name).ok_or_else(|| anyhow!("the manifest has no probe {name}"))?;
        let recorded = probe.recorded.as_ref().ok_or_else(|| anyhow!("the probe {name} was not recorded"))?;
        self.lines(&recorded.file)
    }

    /// The SQL of the probe `name`.
    pub(crate) fn sql(&self, name: &str) -> anyhow::Result<&str> {
        let probe = self.manifest.probe(name).ok_or_else(|| anyhow!("the manifest has no probe {name}"))?;
        Ok(&probe.sql)
    }

    /// The digests of the database's dump and of the list of objects. A backup whose manifest names no such file is known
    /// by what the manifest says of its tables or blobs.
    pub(crate) fn digests(&self) -> anyhow::Result<[String; 2]> {
        let named =
            |path: &str| self.manifest.files.iter().find(|file| file.path == path).map(|file| file.sha256.clone());
        let tables = serde_json::to_vec(&self.manifest.tables)?;
        let blobs = serde_json::to_vec(&self.blobs)?;
        let database = named("database.dump").unwrap_or_else(|| attest::sha256_hex(&tables));
        Ok([database, named("blobs.jsonl").unwrap_or_else(|| attest::sha256_hex(&blobs))])
    }

    /// A file of JSON lines, checked against the hash that the manifest gives.
    fn lines<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Vec<T>> {
        let expected = self.manifest.files.iter().find(|file| file.path == path);
        let expected = expected.ok_or_else(|| anyhow!("the manifest names no file {path}"))?;
        let bytes = std::fs::read(self.folder.join(path)).with_context(|| format!("{path} can't be read"))?;
        if hex::encode(Sha256::digest(&bytes)) != expected.sha256 {
            bail!("{path} is not the file that the manifest names");
        }
        let lines = bytes.lines().map(|line| Ok(serde_json::from_str(&line?)?));
        lines.collect::<anyhow::Result<_>>().with_context(|| format!("{path} can't be understood"))
    }
}
