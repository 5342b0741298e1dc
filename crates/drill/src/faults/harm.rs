//! What can be done to a backup in its archive.
//!
//! Damage that the hashes tell is one kind. The other is forged: the manifest is sealed again, so that every hash
//! agrees and only what was restored can tell.
//!
//! Not here: damage to a running system (`act`).

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::act::{Change, alter, replace};

/// One thing that is done to a backup.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Harm {
    /// A file of the backup, by its path in the backup's folder.
    File { path: &'static str, change: Change },
    /// The first blob of the archive, by name.
    Blob { change: Change },
    /// `archive.json`.
    Archive { change: Change },
    /// The whole backup.
    Gone,
    /// The dump of an earlier backup is put in, and the manifest sealed again.
    ForgeDump,
    /// The manifest names a secret more, and is sealed again.
    ForgeSecret,
    /// The list of objects of an earlier backup is put in, and the manifest sealed again.
    ForgeObjects,
}

/// A backup in an archive, and one that was made before it.
#[derive(Debug)]
pub(crate) struct Patient<'a> {
    pub(crate) archive: &'a Path,
    pub(crate) backup_id: &'a str,
    pub(crate) earlier: Option<&'a str>,
}

impl Patient<'_> {
    fn folder(&self) -> PathBuf {
        self.archive.join("backups").join(self.backup_id)
    }

    pub(crate) fn suffer(&self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::File { path, change } => alter(&self.folder().join(path), change),
            Harm::Blob { change } => alter(&self.first_blob()?, change),
            Harm::Archive { change } => alter(&self.archive.join("archive.json"), change),
            Harm::Gone => Ok(std::fs::remove_dir_all(self.folder())?),
            Harm::ForgeDump => self.take_over(&["database.dump"]),
            Harm::ForgeSecret => self.name_another_secret(),
            Harm::ForgeObjects => self.take_over(&["blobs.jsonl"]),
        }
    }

    fn first_blob(&self) -> anyhow::Result<PathBuf> {
        let blobs = walkdir::WalkDir::new(self.archive.join("blobs")).sort_by_file_name().into_iter().flatten();
        let first = blobs.map(walkdir::DirEntry::into_path).find(|path| path.is_file());
        first.context("the archive has no blob")
    }

    /// The files of the earlier backup whose paths begin with one of `prefixes` become this one's.
    fn take_over(&self, prefixes: &[&str]) -> anyhow::Result<()> {
        let earlier = self.archive.join("backups").join(self.earlier.context("there is no earlier backup")?);
        let text = std::fs::read(self.folder().join("manifest.json"))?;
        let mut manifest: Value = serde_json::from_slice(&text)?;
        for file in manifest["files"].as_array_mut().context("a manifest lists its files")? {
            let path = file["path"].as_str().unwrap_or_default().to_owned();
            if prefixes.iter().any(|prefix| path.starts_with(prefix)) {
                let bytes = std::fs::read(earlier.join(&path))?;
                file["size"] = json!(bytes.len());
                file["sha256"] = json!(hex::encode(Sha256::digest(&bytes)));
                replace(&self.folder().join(&path), &bytes)?;
            }
        }
        if prefixes.contains(&"blobs.jsonl") {
            let other: Value = serde_json::from_slice(&std::fs::read(earlier.join("manifest.json"))?)?;
            manifest["blobs"] = other["blobs"].clone();
        }
        self.seal(&serde_json::to_vec_pretty(&manifest)?)
    }

    fn name_another_secret(&self) -> anyhow::Result<()> {
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(self.folder().join("manifest.json"))?)?;
        let secrets = manifest["secrets"].as_array_mut().context("a manifest lists the secrets")?;
        secrets.push(json!({"name": "license", "version": "1"}));
        self.seal(&serde_json::to_vec_pretty(&manifest)?)
    }

    fn seal(&self, manifest: &[u8]) -> anyhow::Result<()> {
        let sum = format!("{}  manifest.json\n", hex::encode(Sha256::digest(manifest)));
        replace(&self.folder().join("manifest.json"), manifest)?;
        replace(&self.folder().join("manifest.sha256"), sum.as_bytes())
    }
}
