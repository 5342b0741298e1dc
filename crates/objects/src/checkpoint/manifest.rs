//! The manifest of a checkpoint: compressed JSON, sealed.
//!
//! What it says is checked before anything is written: a path must stay in the workspace and be there once. The seal
//! makes a forged manifest impossible without the org's data key; these checks are for the day that the key is out.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{CheckpointName, OpenError};
use crate::key::CheckpointKey;
use crate::objects::Blob;

/// The first bytes of a manifest. A new format gets a new line.
const MAGIC: &[u8] = b"cowork checkpoint 1\n";
/// No manifest is larger than this when decompressed: about 200,000 files.
const MANIFEST_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) sequence: i64,
    pub(super) state: Value,
    /// Sorted, so that a folder comes before what is in it.
    pub(super) folders: Vec<String>,
    pub(super) files: Vec<File>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Below the workspace, with `/`.
    pub(super) path: String,
    /// Permission bits.
    pub(super) mode: u32,
    /// Bytes of the file itself.
    pub(super) size: u64,
    pub(super) blob_key: String,
    /// Bytes of the object.
    pub(super) blob_size: u64,
    /// Of the object; lower-case hex.
    pub(super) blob_sha256: String,
}

impl File {
    pub(super) fn blob(&self) -> Option<Blob> {
        let sha256 = hex::decode(&self.blob_sha256).ok()?.try_into().ok()?;
        Some(Blob { key: self.blob_key.clone(), size: self.blob_size, sha256 })
    }

    /// What was seen to be whole if this file was: its object, under this org's key, with this length.
    pub(super) fn mark(&self, org: ids::OrgId) -> [u8; 32] {
        let said = format!("{org} {} {} {} {}", self.blob_key, self.blob_size, self.blob_sha256, self.size);
        Sha256::digest(said).into()
    }
}

impl Manifest {
    /// The objects that it names, each once, sorted by key.
    pub(super) fn blobs(&self) -> Vec<Blob> {
        let mut blobs: Vec<Blob> = self.files.iter().filter_map(File::blob).collect();
        blobs.sort_by(|a, b| a.key.cmp(&b.key));
        blobs.dedup();
        blobs
    }

    pub(super) fn seal(&self, key: &CheckpointKey, name: CheckpointName) -> std::io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self).expect("a manifest is plain data");
        let sealed = key.seal(&aad(name), &zstd::bulk::compress(&json, zstd::DEFAULT_COMPRESSION_LEVEL)?);
        Ok([MAGIC, &sealed].concat())
    }

    pub(super) fn open(
        key: &CheckpointKey,
        name: CheckpointName,
        blob: &Blob,
        bytes: &[u8],
    ) -> Result<Self, OpenError> {
        let sealed = bytes.strip_prefix(MAGIC).ok_or_else(|| wrong("it is of another format"))?;
        let compressed = key.open(&aad(name), sealed).ok_or_else(|| OpenError::Sealed(blob.key.clone()))?;
        let json = zstd::bulk::decompress(&compressed, MANIFEST_BYTES_MAX).map_err(wrong)?;
        let manifest: Self = serde_json::from_slice(&json).map_err(wrong)?;
        manifest.check(name)?;
        Ok(manifest)
    }

    fn check(&self, name: CheckpointName) -> Result<(), OpenError> {
        let mut taken = BTreeSet::new();
        let paths = self.folders.iter().chain(self.files.iter().map(|file| &file.path));
        for path in paths {
            if !stays_inside(path) {
                return Err(wrong(format_args!("{path:?} leaves the workspace")));
            }
            if !taken.insert(path.as_str()) {
                return Err(wrong(format_args!("{path:?} is there twice")));
            }
        }
        let own = format!("orgs/{}/", name.org);
        match self.files.iter().find(|file| !file.blob_key.starts_with(&own) || file.blob().is_none()) {
            Some(file) => Err(wrong(format_args!("{:?} names no object of this org", file.path))),
            None => Ok(()),
        }
    }
}

fn wrong(why: impl std::fmt::Display) -> OpenError {
    OpenError::Manifest(why.to_string())
}

fn stays_inside(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    path.split('/').all(plain) && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn aad(name: CheckpointName) -> Vec<u8> {
    let ids = [name.org.as_uuid(), name.session.as_uuid(), name.checkpoint.as_uuid()];
    ids.iter().fold(MAGIC.to_vec(), |mut aad, id| {
        aad.extend(id.as_bytes());
        aad
    })
}
