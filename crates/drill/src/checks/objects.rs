//! Row 2, object-store restore: every blob that the backup names is there with its size and hash, nothing is there
//! that it does not name, the rows name exactly these blobs, and every checkpoint opens.
//!
//! Not here: downloading artifacts as a user would (`artifacts`).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use archive::Manifest;
use archive::manifest::BlobEntry;
use ids::OrgId;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use walkdir::WalkDir;

use super::Inquiry;
use super::secrets::Verification;
use crate::backup::Backup;
use crate::report::{Code, ObjectCount};
use crate::said::{Heard, Key, Name, facts, say};

/// How a blob in the restored store compares with what the backup says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Same,
    Missing,
    Size(u64),
    Content,
    Unreadable(io::ErrorKind),
}

/// What the report shows of the object store.
pub(crate) async fn check(
    inquiry: &mut Inquiry,
    backup: &Backup,
    objects: &Path,
    database_url: &str,
) -> Vec<ObjectCount> {
    let (manifest, expected) = (&backup.manifest, backup.blobs.as_slice());
    let (blobs, folder) = (expected.to_vec(), objects.to_owned());
    let hashing = tokio::task::spawn_blocking(move || hash_all(&folder, &blobs));
    let seen = inquiry.learn("the blobs could not be read", hashing.await).unwrap_or_default();
    for (blob, seen) in expected.iter().zip(&seen) {
        judge_blob(inquiry, blob, seen);
    }
    judge_orphans(inquiry, expected, objects, backup.has_manifest());
    let named = rows_name(manifest, database_url).await;
    if let Some(named) = inquiry.learn("the rows that name blobs could not be read", named) {
        judge_skew(inquiry, expected, &named);
    }
    let prefixes = count_prefixes(expected, &seen);
    inquiry.record("prefix-counts", &prefixes);
    prefixes
}

/// A row that names a blob, as the probes `artifacts` and `checkpoints` give it.
#[derive(Debug, Deserialize)]
struct Naming {
    org_id: OrgId,
    #[serde(alias = "manifest_key")]
    blob_key: String,
}

/// Every key begins with its org: a row that names a blob of another one would serve it to strangers.
pub(crate) fn judge_owners(inquiry: &mut Inquiry, backup: &Backup) {
    for probe in ["artifacts", "checkpoints"] {
        let rows: Vec<Naming> = inquiry.learn("the rows that name blobs", backup.probe(probe)).unwrap_or_default();
        for row in rows {
            inquiry.expect(row.blob_key.starts_with(&format!("orgs/{}/", row.org_id)), Code::BlobForeign, || {
                say!("a row of {} of org {} names the blob {} of another", probe, row.org_id, Key::of(&row.blob_key))
            });
        }
    }
}

/// Adds what `cowork admin verify` said of the checkpoints; `expected` is how many the backup had.
pub(crate) fn judge_checkpoints(inquiry: &mut Inquiry, verification: Option<&Verification>, expected: u64) {
    let Some(verification) = verification else {
        inquiry.could_not("the checkpoints could not be opened", "`cowork admin verify` gave no answer");
        return;
    };
    let checkpoints = &verification.checkpoints;
    inquiry.expect(checkpoints.checked == expected, Code::CheckpointCount, || {
        say!("{} checkpoints were there to be opened, the backup had {}", checkpoints.checked, expected)
    });
    inquiry.held(usize::try_from(checkpoints.checked).unwrap_or(0).saturating_sub(checkpoints.failed.len()));
    for failed in &checkpoints.failed {
        inquiry.fault(
            Code::CheckpointUnopened,
            say!(
                "checkpoint {} of session {} does not open: {}",
                failed.checkpoint_id,
                failed.session_id,
                Heard::of(&failed.error)
            ),
        );
    }
}

fn judge_blob(inquiry: &mut Inquiry, blob: &BlobEntry, seen: &Seen) {
    let key = Key::of(&blob.key);
    let (code, sentence) = match seen {
        Seen::Same => return inquiry.held(1),
        Seen::Missing => (Code::BlobMissing, say!("blob {} is missing", key)),
        Seen::Size(size) => (Code::BlobSize, say!("blob {} has {} bytes, the backup had {}", key, size, blob.size)),
        Seen::Content => (Code::BlobContent, say!("blob {} has the right size, but its content was changed", key)),
        Seen::Unreadable(cause) => (Code::BlobUnreadable, say!("blob {} can't be read: {}", key, Heard::of(cause))),
    };
    inquiry.expect(false, code, || sentence);
}

/// A bucket that was copied after its rows were dumped has newer objects: without a manifest they are counted only.
fn judge_orphans(inquiry: &mut Inquiry, expected: &[BlobEntry], objects: &Path, manifest: bool) {
    let known: HashMap<&str, ()> = expected.iter().map(|blob| (blob.key.as_str(), ())).collect();
    let mut orphans = 0;
    for entry in WalkDir::new(objects.join("orgs")).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let key = entry.path().strip_prefix(objects).unwrap_or(entry.path()).display().to_string();
        if !known.contains_key(key.as_str()) {
            orphans += 1;
            if manifest {
                inquiry.fault(Code::BlobOrphan, say!("object {} is named by no row of the backup", Key::of(&key)));
            }
        }
    }
    inquiry.record("orphans", &facts!({"orphans": orphans}));
}

async fn rows_name(manifest: &Manifest, database_url: &str) -> Result<BTreeMap<String, (u64, String)>, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    let sql = sqlx::AssertSqlSafe(manifest.blobs.sql.clone());
    let rows: Vec<(String, i64, String)> = sqlx::query_as(sql).fetch_all(&mut connection).await?;
    Ok(rows.into_iter().map(|(key, size, sha256)| (key, (u64::try_from(size).unwrap_or(0), sha256))).collect())
}

fn judge_skew(inquiry: &mut Inquiry, expected: &[BlobEntry], named: &BTreeMap<String, (u64, String)>) {
    for blob in expected {
        inquiry.expect(named.get(&blob.key) == Some(&(blob.size, blob.sha256.clone())), Code::BlobUnnamed, || {
            say!("no row names blob {} as the backup did", Key::of(&blob.key))
        });
    }
    let known: HashMap<&str, ()> = expected.iter().map(|blob| (blob.key.as_str(), ())).collect();
    for key in named.keys().filter(|key| !known.contains_key(key.as_str())) {
        inquiry.fault(Code::BlobDangling, say!("a row names blob {}, which the backup does not have", Key::of(key)));
    }
}

/// Hashes every blob, on all cores.
fn hash_all(objects: &Path, expected: &[BlobEntry]) -> Vec<Seen> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; 256 * 1024];
        let mut seen = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(blob) = expected.get(index) else { return seen };
            seen.push((index, look_at(&objects.join(&blob.key), blob, &mut buffer)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    all.sort_unstable_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, seen)| seen).collect()
}

fn look_at(path: &Path, expected: &BlobEntry, buffer: &mut [u8]) -> Seen {
    match hash_file(path, buffer) {
        Ok((size, _)) if size != expected.size => Seen::Size(size),
        Ok((_, sha256)) if sha256 != expected.sha256 => Seen::Content,
        Ok(_) => Seen::Same,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Missing,
        Err(error) => Seen::Unreadable(error.kind()),
    }
}

fn hash_file(path: &Path, buffer: &mut [u8]) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    loop {
        let read = file.read(buffer)?;
        if read == 0 {
            return Ok((size, hex::encode(hasher.finalize())));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Sums up by the kind of object: the segment of the key after `orgs/ORG/gN/`.
fn count_prefixes(expected: &[BlobEntry], seen: &[Seen]) -> Vec<ObjectCount> {
    let mut counts: BTreeMap<&str, ObjectCount> = BTreeMap::new();
    for (blob, seen) in expected.iter().zip(seen) {
        let kind = blob.key.split('/').nth(3).unwrap_or("other");
        let count = counts.entry(kind).or_insert_with(|| nothing_of(kind));
        count.backup_objects += 1;
        count.backup_bytes += blob.size;
        if *seen == Seen::Same {
            count.restored_objects = count.restored_objects.map(|objects| objects + 1);
            count.restored_bytes = count.restored_bytes.map(|bytes| bytes + blob.size);
        }
    }
    counts.into_values().collect()
}

fn nothing_of(kind: &str) -> ObjectCount {
    ObjectCount {
        prefix: Name::catalogued(kind),
        backup_objects: 0,
        backup_bytes: 0,
        restored_objects: Some(0),
        restored_bytes: Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(key: &str, content: &[u8]) -> BlobEntry {
        BlobEntry { key: key.into(), size: content.len() as u64, sha256: hex::encode(Sha256::digest(content)) }
    }

    #[test]
    fn damage_to_a_blob_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("same", "abc"), ("short", "ab"), ("changed", "abd")] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let expected: Vec<_> = ["same", "short", "changed", "gone"].map(|key| blob(key, b"abc")).into();
        let seen = hash_all(folder.path(), &expected);
        assert_eq!(seen, [Seen::Same, Seen::Size(2), Seen::Content, Seen::Missing]);
    }
}
