//! The manifest of a checkpoint: compressed JSON, sealed.
//!
//! There are two formats, with a line of its own at the beginning, which the seal covers: 1, of files and folders; and 2, which may also
//! name links, and what was left out. A manifest is written as 1 if it needs nothing of 2, so that workers of an older build go on
//! with it. Both are read for ever.
//!
//! What it says is checked before anything is written: a path must stay in the workspace and be there once, and what it lies in must be
//! a folder that was named before it, so never a link. Where a link leads is not looked at: nothing here follows one. The seal
//! makes a forged manifest impossible without the org's data key; these checks are for the day that the key is out.

use std::collections::HashSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{CheckpointName, LeftOut, OpenError, SaveError};
use crate::key::CheckpointKey;
use crate::objects::Blob;

/// No manifest is larger than this when decompressed: about 200,000 files.
const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// Bytes of a path, of a part of one, and of what a link leads to: no file system takes more.
const PATH_MAX: usize = 4_095;
const PART_MAX: usize = 255;

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    One,
    Two,
}

impl Format {
    /// The first bytes. A new format gets a new line.
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::One => b"cowork checkpoint 1\n",
            Self::Two => b"cowork checkpoint 2\n",
        }
    }

    /// Of a manifest, and what stands behind its line.
    fn of(bytes: &[u8]) -> Option<(Self, &[u8])> {
        [Self::One, Self::Two].into_iter().find_map(|format| Some((format, bytes.strip_prefix(format.magic())?)))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) sequence: i64,
    pub(super) state: Value,
    /// Sorted, so that a folder comes before what is in it.
    pub(super) folders: Vec<String>,
    pub(super) files: Vec<File>,
    /// Format 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<Link>,
    /// Format 2.
    #[serde(default, skip_serializing_if = "LeftOut::is_nothing")]
    pub(super) left_out: LeftOut,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    /// Below the workspace, with `/`.
    pub(super) path: String,
    /// Where it leads, as it says: anywhere.
    pub(super) target: String,
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

    /// # Errors
    /// If it could not be opened again.
    pub(super) fn seal(&self, key: &CheckpointKey, name: CheckpointName) -> Result<Vec<u8>, SaveError> {
        let json = serde_json::to_vec(self).expect("a manifest is plain data");
        if json.len() > MANIFEST_BYTES_MAX {
            return Err(SaveError::too_many());
        }
        let magic = self.format().magic();
        let compressed = zstd::bulk::compress(&json, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(SaveError::Compress)?;
        Ok([magic, &key.seal(&aad(magic, name), &compressed)].concat())
    }

    /// The oldest that has all that it says.
    fn format(&self) -> Format {
        if self.links.is_empty() && self.left_out.is_nothing() { Format::One } else { Format::Two }
    }

    pub(super) fn open(
        key: &CheckpointKey,
        name: CheckpointName,
        blob: &Blob,
        bytes: &[u8],
    ) -> Result<Self, OpenError> {
        let (format, sealed) = Format::of(bytes).ok_or_else(|| wrong("it is of another format"))?;
        let aad = aad(format.magic(), name);
        let compressed = key.open(&aad, sealed).ok_or_else(|| OpenError::Sealed(blob.key.clone()))?;
        let json = zstd::bulk::decompress(&compressed, MANIFEST_BYTES_MAX).map_err(wrong)?;
        let manifest: Self = serde_json::from_slice(&json).map_err(wrong)?;
        if format == Format::One && manifest.format() != format {
            return Err(wrong("it says more than its format has"));
        }
        manifest.check(name)?;
        Ok(manifest)
    }

    fn check(&self, name: CheckpointName) -> Result<(), OpenError> {
        let mut places = Places::default();
        for folder in &self.folders {
            places.take(folder)?;
            places.folders.insert(folder);
        }
        for path in self.files.iter().map(|file| &file.path).chain(self.links.iter().map(|link| &link.path)) {
            places.take(path)?;
        }
        let own = format!("orgs/{}/", name.org);
        if let Some(file) = self.files.iter().find(|file| !file.blob_key.starts_with(&own) || file.blob().is_none()) {
            return Err(wrong(format_args!("{:?} names no object of this org", file.path)));
        }
        match self.links.iter().find(|link| !may_be_led_to(&link.target)) {
            Some(link) => Err(wrong(format_args!("{:?} is a link to what no link leads to", link.path))),
            None => Ok(()),
        }
    }
}

/// The places of a workspace that are taken.
#[derive(Default)]
struct Places<'a> {
    taken: HashSet<&'a str>,
    folders: HashSet<&'a str>,
}

impl<'a> Places<'a> {
    fn take(&mut self, path: &'a str) -> Result<(), OpenError> {
        if !stays_inside(path) {
            return Err(wrong(format_args!("{path:?} leaves the workspace")));
        }
        if path.rsplit_once('/').is_some_and(|(folder, _)| !self.folders.contains(folder)) {
            return Err(wrong(format_args!("{path:?} lies in no folder that is named before it")));
        }
        if self.taken.insert(path) { Ok(()) } else { Err(wrong(format_args!("{path:?} is there twice"))) }
    }
}

fn wrong(why: impl std::fmt::Display) -> OpenError {
    OpenError::Manifest(why.to_string())
}

fn stays_inside(path: &str) -> bool {
    let plain =
        |part: &str| !part.is_empty() && part.len() <= PART_MAX && part != "." && part != ".." && !part.contains('\0');
    path.len() <= PATH_MAX
        && path.split('/').all(plain)
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn may_be_led_to(target: &str) -> bool {
    !target.is_empty() && target.len() <= PATH_MAX && !target.contains('\0')
}

fn aad(magic: &[u8], name: CheckpointName) -> Vec<u8> {
    let ids = [name.org.as_uuid(), name.session.as_uuid(), name.checkpoint.as_uuid()];
    ids.iter().fold(magic.to_vec(), |mut aad, id| {
        aad.extend(id.as_bytes());
        aad
    })
}
