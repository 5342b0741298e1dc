//! Moving and hashing many blobs on a few threads.
//!
//! A backup reads each source object once: hashing and copying in one pass, then a rename into place, so that a blob
//! in the archive is always whole. A restore hashes the archive's blobs before it touches anything (`verify`), then
//! copies inside the kernel, which clones instead where the file system can.
//!
//! Blobs that the archive already has at the right size are not read again; `cowork archive verify` does that.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::layout::{Archive, make_folder};
use crate::manifest::BlobEntry;
use crate::progress::{Progress, Step};
use crate::reading;

/// Enough to keep a disk busy, few enough to leave the machine to the roles.
const THREADS: usize = 4;
const CHUNK: usize = 256 * 1024;
/// How many faults are named; the rest are counted.
const NAMED_MAX: usize = 20;

/// An object that is not what its row says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct BlobFault {
    /// The object's key, or its path in the archive.
    pub key: String,
    pub fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is missing")]
    Missing,
    #[error("has {found} bytes instead of {expected}")]
    Size { expected: u64, found: u64 },
    #[error("has another SHA-256")]
    Hash,
    #[error("{0}")]
    Unreadable(String),
    /// It climbs out of its folder, or is no relative path at all.
    #[error("is not a key")]
    Key,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// What is wrong with a set of blobs: how many, and the first of them in order of key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobFaults {
    pub count: usize,
    /// Bounded.
    pub first: Vec<BlobFault>,
}

impl BlobFaults {
    fn of(mut faults: Vec<BlobFault>) -> Self {
        faults.sort_by(|a, b| a.key.cmp(&b.key));
        let count = faults.len();
        faults.truncate(NAMED_MAX);
        Self { count, first: faults }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Display for BlobFaults {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for fault in &self.first {
            write!(out, "{separator}{fault}")?;
            separator = "; ";
        }
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(out, "; and {more} more"),
        }
    }
}

/// Copies what the snapshot names into the archive. Gives back how many were new.
pub(crate) async fn collect(
    objects: &Path,
    archive: &Archive,
    incoming: &Path,
    blobs: Arc<Vec<BlobEntry>>,
    progress: Arc<dyn Progress>,
) -> Result<usize, BlobFaults> {
    let (objects, archive, incoming) = (objects.to_owned(), archive.clone(), incoming.to_owned());
    let fresh = Arc::new(AtomicUsize::new(0));
    let counted = fresh.clone();
    each(blobs, move |place, blob| {
        if collect_one(&objects, &archive, &incoming.join(place.to_string()), blob)? {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        progress.advance(Step::CollectBlobs, blob.size);
        Ok(())
    })
    .await?;
    Ok(fresh.load(Ordering::Relaxed))
}

fn collect_one(objects: &Path, archive: &Archive, incoming: &Path, blob: &BlobEntry) -> Result<bool, Fault> {
    let source = object_path(objects, &blob.key)?;
    let target = archive.blob(&blob.sha256);
    let mut file = File::open(&source)?;
    check_size(blob.size, file.metadata()?.len())?;
    // A torn one, from a power cut before the flush, has another size: it is replaced.
    if std::fs::metadata(&target).is_ok_and(|kept| kept.len() == blob.size) {
        return Ok(false);
    }
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(incoming)?;
    let (size, sha256) = hash_through(&mut file, &mut copy)?;
    drop(copy);
    if let Err(fault) = check(blob, size, &sha256) {
        std::fs::remove_file(incoming)?;
        return Err(fault);
    }
    make_folder(target.parent().expect("a blob lies in a folder"))?;
    std::fs::rename(incoming, target)?;
    Ok(true)
}

/// Hashes the archive's copy of each blob, once however many keys share it.
pub(crate) async fn verify(
    archive: &Archive,
    blobs: &[BlobEntry],
    progress: Arc<dyn Progress>,
) -> Result<(), BlobFaults> {
    let archive = archive.clone();
    let mut seen = BTreeSet::new();
    let unique: Vec<BlobEntry> = blobs
        .iter()
        .filter(|blob| seen.insert((&blob.sha256, blob.size)))
        .map(|blob| BlobEntry { key: crate::layout::blob_path(&blob.sha256), ..blob.clone() })
        .collect();
    each(Arc::new(unique), move |_, blob| {
        let mut file = reading::open(&archive.blob(&blob.sha256))?;
        check_size(blob.size, file.metadata()?.len())?;
        let (size, sha256) = hash_through(&mut file, &mut io::sink())?;
        progress.advance(Step::Verify, size);
        check(blob, size, &sha256)
    })
    .await
}

/// Copies the archive's blobs to their keys in an empty object folder.
pub(crate) async fn place(
    archive: &Archive,
    objects: &Path,
    blobs: Arc<Vec<BlobEntry>>,
    progress: Arc<dyn Progress>,
) -> Result<(), BlobFaults> {
    let (archive, objects) = (archive.clone(), objects.to_owned());
    each(blobs, move |_, blob| {
        let target = object_path(&objects, &blob.key)?;
        let source = archive.blob(&blob.sha256);
        let copied = match std::fs::copy(&source, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(target.parent().expect("an object lies in a folder"))?;
                std::fs::copy(&source, &target)?
            }
            copied => copied?,
        };
        progress.advance(Step::PlaceBlobs, copied);
        check_size(blob.size, copied)
    })
    .await
}

/// The file of an object.
pub(crate) fn object_path(folder: &Path, key: &str) -> Result<PathBuf, Fault> {
    let plain = Path::new(key).components().all(|part| matches!(part, Component::Normal(_)));
    if key.is_empty() || !plain || key.contains("//") || key.contains('\0') {
        Err(Fault::Key)
    } else {
        Ok(folder.join(key))
    }
}

fn check_size(expected: u64, found: u64) -> Result<(), Fault> {
    if expected == found { Ok(()) } else { Err(Fault::Size { expected, found }) }
}

fn check(blob: &BlobEntry, size: u64, sha256: &str) -> Result<(), Fault> {
    check_size(blob.size, size)?;
    if blob.sha256 == sha256 { Ok(()) } else { Err(Fault::Hash) }
}

/// Reads `from` to its end, writes what was read, and gives its length and SHA-256 (hex).
pub(crate) fn hash_through(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut buffer = vec![0; CHUNK];
    let (mut size, mut hash) = (0, Sha256::new());
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok((size, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
}

/// Does `work` for each blob. When the future is dropped, the threads stop after the blob that they are at, and the
/// drop waits for that: nobody writes into a folder that is being cleaned up.
async fn each(
    blobs: Arc<Vec<BlobEntry>>,
    work: impl Fn(usize, &BlobEntry) -> Result<(), Fault> + Send + Sync + 'static,
) -> Result<(), BlobFaults> {
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut crew = Crew::hire(&blobs, &Arc::new(work), &report);
    drop(report);
    let mut faults = Vec::new();
    while let Some(fault) = reports.recv().await {
        faults.push(fault);
    }
    crew.dismiss();
    if faults.is_empty() { Ok(()) } else { Err(BlobFaults::of(faults)) }
}

struct Crew {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    fn hire<W>(blobs: &Arc<Vec<BlobEntry>>, work: &Arc<W>, report: &mpsc::UnboundedSender<BlobFault>) -> Self
    where
        W: Fn(usize, &BlobEntry) -> Result<(), Fault> + Send + Sync + 'static,
    {
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let hire = |_| {
            let (blobs, work, report) = (blobs.clone(), work.clone(), report.clone());
            let (stop, next) = (stop.clone(), next.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(blob) = blobs.get(place) else { return };
                    if let Err(fault) = work(place, blob) {
                        // Nobody listens any more only if the work was given up.
                        let _ = report.send(BlobFault { key: blob.key.clone(), fault });
                    }
                }
            })
        };
        Self { threads: (0..THREADS.min(blobs.len())).map(hire).collect(), stop }
    }

    /// Waits for all; a panic of one is ours.
    fn dismiss(&mut self) {
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_not_leave_its_folder() {
        let folder = Path::new("/objects");
        for key in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a"] {
            assert_eq!(object_path(folder, key), Err(Fault::Key), "{key}");
        }
        assert_eq!(object_path(folder, "orgs/1/g1/x.manifest"), Ok(folder.join("orgs/1/g1/x.manifest")));
    }

    #[test]
    fn a_long_list_of_faults_is_bounded_and_counted() {
        let faults = (0..50).map(|n| BlobFault { key: format!("{n:02}"), fault: Fault::Missing }).collect();
        let faults = BlobFaults::of(faults);
        assert_eq!((faults.count, faults.first.len()), (50, NAMED_MAX));
        assert!(faults.to_string().starts_with("00: is missing; 01"));
        assert!(faults.to_string().ends_with("; and 30 more"));
    }
}
